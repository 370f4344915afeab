package stepca

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// backend has the two endpoints of a Wire backend that enrolment needs: a nonce, and an access token for a DPoP token that answers it.
type backend struct {
	url string

	mu      sync.Mutex
	key     crypto.Signer             // signs access tokens; step-ca knows the public part of the first
	devices map[string]*backendDevice // by device id in hexadecimal
}

// backendDevice is what the backend knows of a device and its user.
type backendDevice struct {
	bearer  string // authenticates the user
	subject string // the client id as a URI
	handle  string // as a URI
	name    string
	nonce   string // the one handed out last, until it is used
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	key, err := newECDSA(elliptic.P256())()
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{key: key, devices: make(map[string]*backendDevice)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /clients/{device}/nonce", b.nonce) // answers HEAD as well
	mux.HandleFunc("POST /clients/{device}/access-token", b.accessToken)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// publicKey returns the key of access tokens in PEM.
func (b *backend) publicKey(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(b.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// setKey changes the key that access tokens are signed with and returns the one before.
func (b *backend) setKey(key crypto.Signer) crypto.Signer {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.key
	b.key = key
	return before
}

// register adds a device and returns what its user authenticates with.
func (b *backend) register(device string, d backendDevice) (bearer string) {
	d.bearer = rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.devices[device] = &d
	return d.bearer
}

// device finds the device of a request of its user. The caller holds mu.
func (b *backend) device(r *http.Request) (*backendDevice, bool) {
	d, ok := b.devices[r.PathValue("device")]
	return d, ok && r.Header.Get("Authorization") == "Bearer "+d.bearer
}

func (b *backend) nonce(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.device(r)
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	d.nonce = base64.RawURLEncoding.EncodeToString(nonce[:])
	w.Header().Set("Replay-Nonce", d.nonce)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
	}
}

// dpopClaims are the members of the DPoP token.
type dpopClaims struct {
	jwt.Claims
	Method    string  `json:"htm"`
	URI       string  `json:"htu"`
	Nonce     string  `json:"nonce"`
	Challenge string  `json:"chal"`
	Handle    string  `json:"handle"`
	Name      string  `json:"name"`
	Team      *string `json:"team"`
}

// accessTokenClaims are the members of the access token that jwt.Claims lacks.
type accessTokenClaims struct {
	ClientID     string       `json:"client_id"`
	Nonce        string       `json:"nonce"`
	Challenge    string       `json:"chal"`
	Confirmation confirmation `json:"cnf"`
	Proof        string       `json:"proof"`
	Version      int          `json:"api_version"`
	Scope        string       `json:"scope"`
}

type confirmation struct {
	KeyID string `json:"kid"`
}

func (b *backend) accessToken(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.device(r)
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	proof := r.Header.Get("DPoP")
	claims, key, err := d.verify(proof, b.url+r.URL.Path)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"label": err.Error()})
		return
	}
	d.nonce = ""
	token, err := b.sign(proof, claims, key)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"label": "internal-error"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"token": token, "type": "DPoP", "expires_in": 300})
}

// verify does the checks of a Wire backend on a DPoP token and returns its claims and its key. Errors are the backend's labels.
func (d *backendDevice) verify(proof, uri string) (*dpopClaims, *jose.JSONWebKey, error) {
	token, err := jwt.ParseSigned(proof, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.ES384, jose.ES512})
	if err != nil {
		return nil, nil, errors.New("client-token-parse-error")
	}
	header := token.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return nil, nil, errors.New("client-token-type-error")
	}
	key := header.JSONWebKey
	if key == nil || !key.IsPublic() {
		return nil, nil, errors.New("client-token-parse-error")
	}
	var c dpopClaims
	if err := token.Claims(key, &c); err != nil {
		return nil, nil, errors.New("client-token-bad-signature")
	}
	now := time.Now()
	for _, check := range []struct {
		passed bool
		label  string
	}{
		{c.Subject == d.subject, "client-token-bad-client-id"},
		{d.nonce != "" && c.Nonce == d.nonce, "client-token-bad-nonce"},
		{c.ID != "", "client-token-jti-missing"},
		{c.Challenge != "", "client-token-chal-missing"},
		{c.IssuedAt != nil, "client-token-iat-missing"},
		{c.NotBefore != nil && !c.NotBefore.Time().After(now.Add(time.Second)), "not-yet-valid"},
		{c.Expiry != nil, "client-token-exp-missing"},
		{c.Expiry.Time().After(now), "client-token-exp-too-small"},
		{!c.Expiry.Time().After(now.Add(5 * time.Minute)), "client-token-exp-too-large"},
		{!c.IssuedAt.Time().After(now.Add(time.Second)), "client-token-bad-iat"},
		{c.Method == http.MethodPost, "dpop-htm-mismatch"},
		{c.URI == uri, "dpop-htu-mismatch"},
		{c.Handle == d.handle, "dpop-handle-mismatch"},
		{c.Name == d.name, "dpop-display-name-mismatch"},
		{c.Team == nil, "dpop-team-mismatch"},
	} {
		if !check.passed {
			return nil, nil, errors.New(check.label)
		}
	}
	return &c, key, nil
}

// sign makes the access token for a DPoP token that was verified.
func (b *backend) sign(proof string, c *dpopClaims, key *jose.JSONWebKey) (string, error) {
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: b.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("at+jwt"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:    c.URI,
		Subject:   c.Subject,
		Audience:  c.Audience,
		IssuedAt:  jwt.NewNumericDate(now.Add(-time.Hour)),
		NotBefore: jwt.NewNumericDate(now.Add(-time.Hour)),
		Expiry:    jwt.NewNumericDate(now.Add(6 * time.Minute)),
		ID:        rand.Text(),
	}).Claims(accessTokenClaims{
		ClientID:     c.Subject,
		Nonce:        c.Nonce,
		Challenge:    c.Challenge,
		Confirmation: confirmation{KeyID: base64.RawURLEncoding.EncodeToString(thumbprint)},
		Proof:        proof,
		Version:      5,
		Scope:        "wire_client_id",
	}).Serialize()
}

// nonceFor is the application's half: it asks for a backend nonce.
func (b *backend) nonceFor(ctx context.Context, device, bearer string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, b.url+"/clients/"+device+"/nonce", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	nonce := response.Header.Get("Replay-Nonce")
	if response.StatusCode != http.StatusOK || nonce == "" {
		return "", errors.New("backend nonce: " + response.Status)
	}
	return nonce, nil
}

// accessTokenFor is the application's half: it trades a DPoP token for an access token.
func (b *backend) accessTokenFor(ctx context.Context, device, bearer, dpop string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/clients/"+device+"/access-token", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("DPoP", dpop)
	var answer struct {
		Token string `json:"token"`
	}
	return answer.Token, doJSON(r, &answer)
}
