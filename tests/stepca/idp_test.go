package stepca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// redirectURI is where the application waits for the authorisation code. Nobody listens there: the tests read it from the redirect, as an app's browser does.
const redirectURI = "http://127.0.0.1/callback"

// identityProvider is an OpenID Connect provider: discovery, keys, the authorisation code flow with PKCE, and the claims parameter (OpenID Connect Core,
// section 5.5), whose values it copies into the ID token. Users log in by HTTP basic authentication instead of a form.
type identityProvider struct {
	url    string
	signer jose.Signer
	keys   jose.JSONWebKeySet

	mu    sync.Mutex
	users map[string]idpUser // by user name
	codes map[string]grant   // codes not yet exchanged
}

type idpUser struct{ username, password, name string }

// grant is what an authorisation code stands for.
type grant struct {
	user      idpUser
	challenge string // PKCE, S256
	nonce     string
	claims    map[string]any // by the claims parameter
}

func startIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := jose.JSONWebKey{Key: key, KeyID: "1", Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	p := &identityProvider{
		signer: signer,
		keys:   jose.JSONWebKeySet{Keys: []jose.JSONWebKey{private.Public()}},
		users:  make(map[string]idpUser),
		codes:  make(map[string]grant),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.keys) })
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// register adds a user. The user name is the handle without the leading "@", with the domain.
func (p *identityProvider) register(username, name string) idpUser {
	u := idpUser{username: username, password: rand.Text(), name: name}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[username] = u
	return u
}

// metadata are the members of the discovery document that are used here.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims        bool     `json:"claims_parameter_supported"`
	PKCE          []string `json:"code_challenge_methods_supported"`
}

func (p *identityProvider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, metadata{
		Issuer:        p.url,
		Authorization: p.url + "/authorize",
		Token:         p.url + "/token",
		Keys:          p.url + "/keys",
		Algorithms:    []string{string(jose.ES256)},
		Claims:        true,
		PKCE:          []string{"S256"},
	})
}

// claimsRequest is the claims parameter.
type claimsRequest struct {
	IDToken map[string]claimRequest `json:"id_token"`
}

type claimRequest struct {
	Essential bool   `json:"essential"`
	Value     string `json:"value"`
}

func (p *identityProvider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	username, password, _ := r.BasicAuth()
	p.mu.Lock()
	defer p.mu.Unlock()
	user, ok := p.users[username]
	if !ok || password != user.password {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var requested claimsRequest
	switch {
	case q.Get("client_id") != oauthClient || q.Get("redirect_uri") != redirectURI:
		http.Error(w, "unknown client", http.StatusBadRequest) // never redirected to
		return
	case q.Get("response_type") != "code" || !strings.Contains(" "+q.Get("scope")+" ", " openid "),
		q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "",
		q.Get("claims") != "" && json.Unmarshal([]byte(q.Get("claims")), &requested) != nil:
		http.Redirect(w, r, redirectURI+"?"+url.Values{"error": {"invalid_request"}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
		return
	}
	g := grant{user: user, challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), claims: make(map[string]any)}
	for name, c := range requested.IDToken {
		g.claims[name] = c.Value
	}
	code := rand.Text()
	p.codes[code] = g
	http.Redirect(w, r, redirectURI+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *identityProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	g, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	if !ok || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("client_id") != oauthClient ||
		r.PostFormValue("redirect_uri") != redirectURI || pkceChallenge(r.PostFormValue("code_verifier")) != g.challenge {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	now := time.Now()
	idToken, err := jwt.Signed(p.signer).Claims(g.claims).Claims(map[string]any{
		"name":               g.user.name,
		"preferred_username": g.user.username,
		"nonce":              g.nonce,
	}).Claims(jwt.Claims{
		Issuer:   p.url,
		Subject:  g.user.username,
		Audience: jwt.Audience{oauthClient},
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(10 * time.Minute)),
	}).Serialize()
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"token_type": "Bearer", "access_token": rand.Text(), "id_token": idToken})
}

// pkceChallenge is the S256 transformation of RFC 7636.
func pkceChallenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// login is the application's half: it takes a user through the code flow at the identity provider named by the target of the OIDC challenge and returns the
// ID token, which holds the keyauth and the audience that the challenge demands.
func login(ctx context.Context, user idpUser, target, keyAuth, audience string) (string, error) {
	issuer, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	clientID := issuer.Query().Get("client_id")
	issuer.RawQuery = ""
	var m metadata
	if err := getJSON(ctx, issuer.String()+"/.well-known/openid-configuration", &m); err != nil {
		return "", err
	}
	claims, err := json.Marshal(claimsRequest{IDToken: map[string]claimRequest{
		"keyauth":  {Essential: true, Value: keyAuth},
		"acme_aud": {Essential: true, Value: audience},
	}})
	if err != nil {
		return "", err
	}
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	code, err := authorizationCode(ctx, user, state, m.Authorization+"?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {clientID},
		"redirect_uri":          {redirectURI},
		"scope":                 {"openid profile"},
		"state":                 {state},
		"nonce":                 {rand.Text()},
		"code_challenge":        {pkceChallenge(verifier)},
		"code_challenge_method": {"S256"},
		"claims":                {string(claims)},
	}.Encode())
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"client_id":     {clientID},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	return tokens.IDToken, doJSON(r, &tokens)
}

// authorizationCode logs the user in and reads the code from the redirect.
func authorizationCode(ctx context.Context, user idpUser, state, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	r.SetBasicAuth(user.username, user.password)
	response, err := http.DefaultTransport.RoundTrip(r) // does not follow redirects
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	to, err := response.Location()
	if err != nil {
		return "", fmt.Errorf("login: %s: %w", response.Status, err)
	}
	if to.Query().Get("state") != state {
		return "", errors.New("login: another state")
	}
	if code := to.Query().Get("code"); code != "" {
		return code, nil
	}
	return "", fmt.Errorf("login: %s", to.Query().Get("error"))
}

func getJSON(ctx context.Context, address string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return doJSON(r, v)
}

// doJSON sends a request and decodes the answer.
func doJSON(r *http.Request, v any) error {
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", r.Method, r.URL.Path, response.Status, text)
	}
	return json.NewDecoder(response.Body).Decode(v)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an application that has gone away learns nothing
}
