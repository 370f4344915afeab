package enrollment_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/conclave-mls/conclave/enrollment"
)

const (
	backendOrigin = "https://backend.test"
	issuer        = "https://idp.test/realm?client_id=wireapp"
	// backendNonce is what the backend says it gave the device.
	backendNonce = "WE88EvOBzbqGerznM-2P_A"
)

var signatureAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.ES384, jose.ES512}

// target returns where the device of a client id gets access tokens.
func target(clientID string) string {
	_, device, _ := strings.Cut(clientID, "!")
	device, _, _ = strings.Cut(device, "@")
	return backendOrigin + "/clients/" + device + "/access-token"
}

func (ca *testCA) challengeDocument(o *order, which, status string) map[string]string {
	d := map[string]string{
		"type": "wire-dpop-01", "status": status, "token": o.token(which),
		"url": acme + "/challenge/" + o.id + "-" + which, "target": target(o.device.ClientID),
	}
	if which == "user" {
		d["type"], d["target"] = "wire-oidc-01", issuer
	}
	return d
}

func (ca *testCA) authorization(a *account, which string) enrollment.Response {
	i := identifier{"wireapp-device", a.order.deviceText}
	if which == "user" {
		i = identifier{"wireapp-user", a.order.userText}
	}
	return ca.json(200, "", map[string]any{
		"identifier": i, "status": "pending", "wildcard": false, "expires": a.order.from.Add(24 * time.Hour).Format(time.RFC3339),
		"challenges": []map[string]string{ca.challengeDocument(a.order, which, "pending")},
	})
}

// challenge judges a proof. A wrong one is status 200 and "invalid", like step-ca's.
func (ca *testCA) challenge(a *account, which string, payload []byte) enrollment.Response {
	var p struct {
		AccessToken string `json:"access_token"`
		IDToken     string `json:"id_token"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return ca.problem(400, "malformed")
	}
	done, err := &a.order.dpop, error(nil)
	if which == "device" {
		err = ca.checkAccessToken(a, p.AccessToken)
	} else {
		done, err = &a.order.oidc, ca.checkIDToken(a, p.IDToken)
	}
	status := "valid"
	if err != nil && !*done {
		status = "invalid"
	}
	*done = *done || err == nil
	return ca.json(200, "", ca.challengeDocument(a.order, which, status))
}

// dpop holds the claims of a DPoP token.
type dpop struct {
	Audience, Challenge, Handle, Method, URL, ID, Name, Nonce, Subject string
	Team                                                               *string
	Expires, IssuedAt, NotBefore                                       int64
}

// UnmarshalJSON wants every claim there, under its own name.
func (d *dpop) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	for name, to := range map[string]any{
		"aud": &d.Audience, "chal": &d.Challenge, "handle": &d.Handle, "htm": &d.Method, "htu": &d.URL, "jti": &d.ID, "name": &d.Name,
		"nonce": &d.Nonce, "sub": &d.Subject, "team": &d.Team, "exp": &d.Expires, "iat": &d.IssuedAt, "nbf": &d.NotBefore,
	} {
		if err := json.Unmarshal(raw[name], to); err != nil {
			return errors.New("claim " + name)
		}
	}
	return nil
}

// accessToken holds the claims of the backend's token that the CA looks at.
type accessToken struct {
	Issuer       string            `json:"iss"`
	Audience     string            `json:"aud"`
	ClientID     string            `json:"client_id"`
	Nonce        string            `json:"nonce"`
	Challenge    string            `json:"chal"`
	Confirmation map[string]string `json:"cnf"`
	Proof        string            `json:"proof"`
	Scope        string            `json:"scope"`
	Expires      int64             `json:"exp"`
}

// AccessToken is the backend: it takes a DPoP token for an access token, or says what is
// wrong with it, in the backend's labels.
func (ca *testCA) AccessToken(token string) (string, error) {
	jws, err := jose.ParseSignedCompact(token, signatureAlgorithms)
	if err != nil {
		return "", errors.New("client-token-parse-error")
	}
	header := jws.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" || header.JSONWebKey == nil {
		return "", errors.New("client-token-type-error")
	}
	payload, err := jws.Verify(header.JSONWebKey)
	if err != nil {
		return "", errors.New("client-token-bad-signature")
	}
	var d dpop
	if err := json.Unmarshal(payload, &d); err != nil {
		return "", errors.New("client-token-parse-error: " + err.Error())
	}
	now := ca.Now().Unix()
	switch {
	case d.Nonce != backendNonce:
		return "", errors.New("client-token-bad-nonce")
	case d.Method != "POST":
		return "", errors.New("dpop-htm-mismatch")
	case d.URL != target(d.Subject):
		return "", errors.New("dpop-htu-mismatch")
	case d.Expires <= now:
		return "", errors.New("client-token-exp-too-small")
	case d.Expires > now+300:
		return "", errors.New("client-token-exp-too-large")
	case d.IssuedAt > now, d.NotBefore > now:
		return "", errors.New("not-yet-valid")
	case len(d.ID) != 36:
		return "", errors.New("client-token-jti-missing")
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return ca.sign("at+jwt", accessToken{
		Issuer: d.URL, Audience: d.Audience, ClientID: d.Subject, Nonce: d.Nonce, Challenge: d.Challenge, Proof: token,
		Confirmation: map[string]string{"kid": base64.RawURLEncoding.EncodeToString(sum)}, Scope: "wire_client_id", Expires: now + 360,
	})
}

// IDToken is the identity provider: whoever asks is the user.
func (ca *testCA) IDToken(a enrollment.Authentication) (string, error) {
	if a.IdentityProvider != issuer {
		return "", errors.New("unknown issuer")
	}
	var claims struct {
		IDToken map[string]struct {
			Essential bool   `json:"essential"`
			Value     string `json:"value"`
		} `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(a.Claims()), &claims); err != nil {
		return "", err
	}
	out := map[string]string{"iss": "https://idp.test/realm", "aud": "wireapp"}
	for name, c := range claims.IDToken {
		out[name] = c.Value
	}
	return ca.sign("JWT", out)
}

func (ca *testCA) sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: ca.backend}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// checkAccessToken does what step-ca does with the pair of tokens.
func (ca *testCA) checkAccessToken(a *account, token string) error {
	var t accessToken
	if err := ca.read(token, &t); err != nil {
		return err
	}
	jws, err := jose.ParseSignedCompact(t.Proof, signatureAlgorithms)
	if err != nil {
		return err
	}
	payload, err := jws.Verify(a.key)
	if err != nil {
		return err
	}
	var d dpop
	if err := json.Unmarshal(payload, &d); err != nil {
		return err
	}
	o, now := a.order, ca.Now().Unix()
	want := ca.challengeDocument(o, "device", "")
	if !slices.Equal(
		[]string{t.Issuer, t.Audience, t.ClientID, t.Nonce, t.Challenge, t.Confirmation["kid"], t.Scope, d.Audience, d.URL, d.Subject, d.Challenge, d.Handle, d.Name},
		[]string{want["target"], want["url"], o.device.ClientID, d.Nonce, want["token"], a.thumbprint, "wire_client_id", want["url"], want["target"], o.device.ClientID, want["token"], o.device.Handle, o.device.Name},
	) || t.Expires < now || d.Expires < now {
		return errors.New("claims")
	}
	return nil
}

func (ca *testCA) checkIDToken(a *account, token string) error {
	var t struct {
		KeyAuth  string `json:"keyauth"`
		Audience string `json:"acme_aud"`
	}
	if err := ca.read(token, &t); err != nil {
		return err
	}
	want := ca.challengeDocument(a.order, "user", "")
	if t.KeyAuth != want["token"]+"."+a.thumbprint || t.Audience != want["url"] {
		return errors.New("claims")
	}
	return nil
}

// read verifies a token that sign has made.
func (ca *testCA) read(token string, v any) error {
	jws, err := jose.ParseSignedCompact(token, signatureAlgorithms)
	if err != nil {
		return err
	}
	payload, err := jws.Verify(ca.backend.Public())
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, v)
}
