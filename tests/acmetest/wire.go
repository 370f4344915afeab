package acmetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// device is what a DPoP token claims.
type device struct {
	Subject, Audience, Method, Target, Nonce, Challenge, Handle, Name, ID string
	Team                                                                  *string
	IssuedAt, NotBefore, Expiry                                           int64
}

// UnmarshalJSON wants every claim there, under its own name; that of a team may be null.
func (d *device) UnmarshalJSON(b []byte) error {
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(b, &claims); err != nil {
		return err
	}
	for name, to := range map[string]any{
		"sub": &d.Subject, "aud": &d.Audience, "htm": &d.Method, "htu": &d.Target, "nonce": &d.Nonce, "chal": &d.Challenge, "handle": &d.Handle,
		"name": &d.Name, "jti": &d.ID, "team": &d.Team, "iat": &d.IssuedAt, "nbf": &d.NotBefore, "exp": &d.Expiry,
	} {
		if err := json.Unmarshal(claims[name], to); err != nil {
			return errors.New("claim " + name)
		}
	}
	return nil
}

// access is what an access token claims.
type access struct {
	Issuer       string       `json:"iss"`
	Audience     string       `json:"aud"`
	ClientID     string       `json:"client_id"`
	Nonce        string       `json:"nonce"`
	Challenge    string       `json:"chal"`
	Confirmation confirmation `json:"cnf"`
	Proof        string       `json:"proof"`
	Expiry       int64        `json:"exp"`
	Scope        string       `json:"scope"`
}

type confirmation struct {
	KeyID string `json:"kid"`
}

// person is what an id token claims.
type person struct {
	KeyAuth  string `json:"keyauth"`
	Audience string `json:"acme_aud"`
	Name     string `json:"name"`
	Handle   string `json:"preferred_username"`
	Expiry   int64  `json:"exp"`
}

// BackendNonce is the backend's nonce for a device.
func (w *World) BackendNonce() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	nonce := w.id()
	w.backendNonce[nonce] = true
	return nonce
}

// AccessToken is what the backend gives for a DPoP token.
func (w *World) AccessToken(dpop string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var d device
	h, key, err := readJWT(dpop, nil, &d)
	if err != nil {
		return "", fmt.Errorf("client-token-bad-signature: %w", err)
	}
	now := w.Now()
	switch {
	case h.Type != "dpop+jwt":
		return "", errors.New("client-token-type-error")
	case !w.backendNonce[d.Nonce]:
		return "", errors.New("client-token-bad-nonce")
	case d.Method != "POST":
		return "", errors.New("client-token-bad-method")
	case d.Target != w.tokenURL(d.Subject):
		return "", errors.New("dpop-htu-mismatch")
	case len(d.ID) != 36:
		return "", errors.New("client-token-jti-missing")
	case time.Unix(d.IssuedAt, 0).After(now) || time.Unix(d.NotBefore, 0).After(now) || !time.Unix(d.Expiry, 0).After(now):
		return "", errors.New("client-token-exp-too-small")
	case time.Unix(d.Expiry, 0).After(now.Add(5 * time.Minute)):
		return "", errors.New("client-token-exp-too-large")
	}
	delete(w.backendNonce, d.Nonce)
	return token("at+jwt", w.backendKey, access{
		Issuer: d.Target, Audience: d.Audience, ClientID: d.Subject, Nonce: d.Nonce, Challenge: d.Challenge,
		Confirmation: confirmation{key.thumbprint()}, Proof: dpop, Expiry: now.Add(6 * time.Minute).Unix(), Scope: "wire_client_id",
	}), nil
}

// Authenticate logs a user in and returns the id token.
func (w *World) Authenticate(keyAuth, audience, name, handle, domain string) string {
	return token("JWT", w.providerKey, person{
		KeyAuth: keyAuth, Audience: audience, Name: name, Handle: "wireapp://%40" + handle + "@" + domain, Expiry: w.Now().Add(time.Hour).Unix(),
	})
}

// judgeDevice judges the answer to a device's challenge.
func (w *World) judgeDevice(o *order, z *authorization, payload []byte) error {
	var given struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(payload, &given); err != nil {
		return err
	}
	var a access
	if _, _, err := readJWT(given.Token, func(header) *jwk { return publicJWK(w.backendKey.Public()) }, &a); err != nil {
		return fmt.Errorf("access token: %w", err)
	}
	var d device
	_, key, err := readJWT(a.Proof, nil, &d)
	if err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	thumbprint, now := o.account.key.thumbprint(), w.Now()
	switch {
	case a.Issuer != z.target, a.Audience != z.challenge, a.ClientID != o.device.ClientID, a.Confirmation.KeyID != thumbprint, a.Scope != "wire_client_id":
		return errors.New("access token")
	case key.thumbprint() != thumbprint:
		return errors.New("key of the proof")
	case d.Target != z.target, d.Audience != z.challenge, d.Subject != o.device.ClientID, d.Handle != o.device.Handle, d.Name != o.device.Name:
		return errors.New("proof")
	case d.Nonce != a.Nonce, d.Challenge != a.Challenge, d.Challenge != z.token:
		return errors.New("challenge")
	case !time.Unix(a.Expiry, 0).After(now) || !time.Unix(d.Expiry, 0).After(now):
		return errors.New("expired")
	}
	return nil
}

// judgeUser judges the answer to a user's challenge.
func (w *World) judgeUser(o *order, z *authorization, payload []byte) error {
	var given struct {
		Token string `json:"id_token"`
	}
	if err := json.Unmarshal(payload, &given); err != nil {
		return err
	}
	var p person
	if _, _, err := readJWT(given.Token, func(header) *jwk { return publicJWK(w.providerKey.Public()) }, &p); err != nil {
		return fmt.Errorf("id token: %w", err)
	}
	switch {
	case p.KeyAuth != z.token+"."+o.account.key.thumbprint():
		return errors.New("keyauth")
	case p.Audience != z.challenge:
		return errors.New("acme_aud")
	case p.Name != o.user.Name || p.Handle != o.user.Handle:
		return errors.New("another user")
	case !time.Unix(p.Expiry, 0).After(w.Now()):
		return errors.New("expired")
	}
	return nil
}
