package enrollment

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/conclave-mls/conclave/internal/secret"
)

const (
	dpopChallenge = "wire-dpop-01"
	oidcChallenge = "wire-oidc-01"

	minChallengeToken = 16 // bytes after decoding: 128 bits (RFC 8555 section 8.1)
	maxChallengeToken = 512
	maxToken          = 24 << 10 // of JWTs: an access token holds a DPoP token
)

var base64URL = base64.RawURLEncoding.Strict()

// Challenge is what the CA wants proven: that the device is the user's, or who the user
// is.
type Challenge struct {
	URL   string
	Token string
	// Target is where the proof comes from: the backend's endpoint for access tokens, or
	// the identity provider.
	Target string
}

// Authorization is what the CA wants for one of the two identifiers.
type Authorization struct {
	Challenge Challenge
	// Device tells the device's authorization from the user's.
	Device bool
	// KeyAuth is what the ID token has to carry; "" for the device.
	KeyAuth string
}

// challengeDocument is the form on the wire.
type challengeDocument struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	URL    string `json:"url"`
	Token  string `json:"token"`
	Target string `json:"target"`
}

// acceptAuthorization goes by the identifier's type: the CA may list the two in any order.
func acceptAuthorization(e *Enrollment, next *state, r reply) error {
	d, err := decode[struct {
		Status     string              `json:"status"`
		Identifier identifier          `json:"identifier"`
		Challenges []challengeDocument `json:"challenges"`
		Expires    string              `json:"expires"`
	}](r.body)
	if err != nil {
		return err
	}
	if len(d.Challenges) != 1 {
		return malformed("authorization without its one challenge")
	}
	c := d.Challenges[0]
	to := &next.device
	switch (identifier{d.Identifier.Type, c.Type}) {
	case identifier{deviceIdentifier, dpopChallenge}:
	case identifier{userIdentifier, oidcChallenge}:
		to = &next.user
	default:
		return ErrChallengeType
	}
	if to.URL != "" {
		return ErrChallengeType // the other one is missing
	}
	if !e.config.names(d.Identifier) {
		return ErrWrongIdentifiers
	}
	expires, err := unixTime(d.Expires)
	if err != nil {
		return err
	}
	if expires != 0 && expires < r.now.Unix() {
		return ErrAuthorizationExpired
	}
	if err := checkAuthorizationStatus(d.Status); err != nil {
		return err
	}
	challenge := Challenge{URL: c.URL, Token: c.Token, Target: c.Target}
	if err := challenge.check(to == &next.device); err != nil {
		return err
	}
	*to = challenge
	next.read[next.asked] = true
	if next.read[0] && next.read[1] {
		if next.device.URL == next.user.URL {
			return malformed("one challenge for two")
		}
		next.step = StepDPoPToken
	}
	return nil
}

func checkAuthorizationStatus(status string) error {
	switch status {
	case "pending":
		return nil
	case "invalid":
		return ErrAuthorizationInvalid
	case "revoked":
		return ErrAuthorizationRevoked
	case "deactivated":
		return ErrAuthorizationDeactivated
	case "expired":
		return ErrAuthorizationExpired
	case "valid":
		return ErrObjectStatus
	default:
		return malformed("authorization status")
	}
}

// check looks at what a challenge needs later. The URL of the backend goes into the DPoP
// token, which has it without query (RFC 9449 section 4.2).
func (c *Challenge) check(device bool) error {
	if len(c.Token) > maxChallengeToken {
		return fmt.Errorf("%w: challenge token", ErrTooLarge)
	}
	token, err := base64URL.DecodeString(c.Token)
	if err != nil || !isBase64URL(c.Token) {
		return ErrChallengeToken
	}
	if len(token) < minChallengeToken {
		return ErrChallengeEntropy
	}
	if err := checkACME(c.URL); err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	if err := checkURL(c.Target, "https", "http"); err != nil {
		return fmt.Errorf("challenge target: %w", err)
	}
	if device && hasQuery(c.Target) {
		return malformed("query in the target of a DPoP challenge")
	}
	return nil
}

// checkToken takes a JWT in compact form by its looks; what it says is for the CA.
func checkToken(token string) error {
	dots := 0
	for i := range len(token) {
		if token[i] == '.' {
			dots++
		} else if !isBase64URL(token[i : i+1]) {
			return ErrToken
		}
	}
	if token == "" || len(token) > maxToken || dots != 2 {
		return ErrToken
	}
	return nil
}

func dpopPayload(_ *Enrollment, s *state, _ time.Time) ([]byte, error) {
	return tokenPayload("access_token", s.accessToken)
}

func oidcPayload(_ *Enrollment, s *state, _ time.Time) ([]byte, error) {
	return tokenPayload("id_token", s.idToken)
}

func tokenPayload(member string, token secret.Bytes) ([]byte, error) {
	return json.Marshal(map[string]string{member: string(token)})
}

func acceptDPoPChallenge(_ *Enrollment, next *state, r reply) error {
	if err := checkChallenge(r.body, dpopChallenge, &next.device); err != nil {
		return err
	}
	next.accessToken, next.step = nil, StepIDToken
	return nil
}

func acceptOIDCChallenge(_ *Enrollment, next *state, r reply) error {
	if err := checkChallenge(r.body, oidcChallenge, &next.user); err != nil {
		return err
	}
	next.idToken, next.step = nil, StepOrderCheck
	return nil
}

// checkChallenge reads the answer to a proof. A failed one comes with status 200.
func checkChallenge(body []byte, kind string, want *Challenge) error {
	c, err := decode[challengeDocument](body)
	if err != nil {
		return err
	}
	if c.Type != kind || c.URL != "" && c.URL != want.URL || c.Token != "" && c.Token != want.Token {
		return ErrChallengeType
	}
	switch c.Status {
	case "valid":
		return nil
	case "processing":
		return ErrChallengeProcessing
	case "invalid":
		return ErrChallengeInvalid
	case "pending", "":
		return ErrObjectStatus
	default:
		return malformed("challenge status")
	}
}
