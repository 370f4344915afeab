package enrollment

import (
	"io"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/conclave-mls/conclave/internal/secret"
)

const (
	// maxDPoPLifetime is what step-ca takes at most; a backend takes five minutes.
	maxDPoPLifetime = time.Hour
	// clockDrift is by how much tokens are dated back.
	clockDrift = time.Hour
	// maxBackendNonce bounds the backend's nonce, in bytes.
	maxBackendNonce = 256
)

// dpopClaims is the content of a DPoP token: RFC 9449 with Wire's additions.
type dpopClaims struct {
	Audience  string  `json:"aud"`
	Challenge string  `json:"chal"`
	Expires   int64   `json:"exp"`
	Handle    string  `json:"handle"`
	Method    string  `json:"htm"`
	URL       string  `json:"htu"`
	IssuedAt  int64   `json:"iat"`
	ID        string  `json:"jti"`
	Name      string  `json:"name"`
	NotBefore int64   `json:"nbf"`
	Nonce     string  `json:"nonce"`
	Subject   string  `json:"sub"`
	Team      *string `json:"team"` // null without one
}

// CreateDPoPToken returns the token that the backend exchanges for an access token. The
// nonce is the backend's, from the header Replay-Nonce of its /clients/{device}/nonce. A
// lifetime of 30 seconds to two minutes leaves room for a clock that is ahead: backends
// refuse more than five minutes by their own clock. It may be called again until the
// DPoP challenge is answered, with a new nonce each time.
func (e *Enrollment) CreateDPoPToken(now time.Time, rand io.Reader, lifetime time.Duration, backendNonce string) (string, error) {
	if s := e.state.step; e.Waiting() || s != StepDPoPToken && s != StepAccessToken && s != StepDPoPChallenge {
		return "", e.misplaced(StepDPoPToken)
	}
	if lifetime < time.Second || lifetime > maxDPoPLifetime || backendNonce == "" || len(backendNonce) > maxBackendNonce || !isBase64URL(backendNonce) {
		return "", ErrToken
	}
	id, err := newUUID(rand)
	if err != nil {
		return "", err
	}
	c := dpopClaims{
		Audience: e.state.device.URL, Challenge: e.state.device.Token, URL: e.state.device.Target, Method: "POST",
		Subject: e.config.ClientID.URI(), Handle: e.config.handleURI(), Name: e.config.DisplayName,
		IssuedAt: now.Add(-clockDrift).Unix(), NotBefore: now.Add(-clockDrift).Unix(), Expires: now.Add(lifetime).Unix(),
		ID: id, Nonce: backendNonce,
	}
	if e.config.Team != "" {
		c.Team = &e.config.Team
	}
	token, err := e.accountKey.token("dpop+jwt", c)
	if err != nil {
		return "", err
	}
	next := e.state
	next.step, next.accessToken = StepAccessToken, nil
	e.settle(next)
	return token, nil
}

// AccessTokenURL returns where the backend takes the DPoP token, in the header DPoP of
// an empty POST. It is "" before the device's authorization is read.
func (e *Enrollment) AccessTokenURL() string { return e.state.device.Target }

// SetAccessToken hands in the backend's answer to the DPoP token. It may replace one
// while no request is out.
func (e *Enrollment) SetAccessToken(token string) error {
	if s := e.state.step; e.Waiting() || s != StepAccessToken && s != StepDPoPChallenge {
		return e.misplaced(StepAccessToken)
	}
	if err := checkToken(token); err != nil {
		return err
	}
	next := e.state
	next.accessToken, next.step = secret.Bytes(token), StepDPoPChallenge
	e.settle(next)
	return nil
}

// Authentication is what the user's sign-in needs.
type Authentication struct {
	// IdentityProvider is the issuer's URL, in production with its OAuth client id in
	// the query: strip the query before discovery.
	IdentityProvider string
	// KeyAuth and Audience are the values that the ID token has to carry as keyauth and
	// acme_aud.
	KeyAuth, Audience string
}

// Claims returns the parameter claims of the authorization request, in JSON (OpenID
// Connect Core section 5.5).
func (a Authentication) Claims() string {
	type value struct {
		Essential bool   `json:"essential"`
		Value     string `json:"value"`
	}
	type idToken struct {
		KeyAuth  value `json:"keyauth"`
		Audience value `json:"acme_aud"`
	}
	b, err := json.Marshal(struct {
		IDToken idToken `json:"id_token"`
	}{idToken{value{true, a.KeyAuth}, value{true, a.Audience}}})
	if err != nil {
		return "" // strings marshal
	}
	return string(b)
}

// Authentication returns what the user's sign-in needs. It is there from the end of the
// authorizations on, until the OIDC challenge is answered.
func (e *Enrollment) Authentication() (Authentication, error) {
	if s := e.state.step; s < StepDPoPToken || s > StepOIDCChallenge {
		return Authentication{}, e.misplaced(StepIDToken)
	}
	keyAuth, err := e.keyAuth(e.state.user)
	return Authentication{e.state.user.Target, keyAuth, e.state.user.URL}, err
}

// keyAuth binds a challenge to the account key (RFC 8555 section 8.1).
func (e *Enrollment) keyAuth(c Challenge) (string, error) {
	thumbprint, err := e.accountKey.thumbprint()
	return c.Token + "." + thumbprint, err
}

// SetIDToken hands in the ID token of the user's sign-in. It may replace one while no
// request is out.
func (e *Enrollment) SetIDToken(token string) error {
	if s := e.state.step; e.Waiting() || s != StepIDToken && s != StepOIDCChallenge {
		return e.misplaced(StepIDToken)
	}
	if err := checkToken(token); err != nil {
		return err
	}
	next := e.state
	next.idToken, next.step = secret.Bytes(token), StepOIDCChallenge
	e.settle(next)
	return nil
}

func hasQuery(url string) bool { return strings.ContainsAny(url, "?#") }
