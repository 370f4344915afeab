package enrollment

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// maxName bounds display name, handle, domain and team, in bytes.
const maxName = 512

// Config says what certificate is wanted. It does not change once the enrollment runs.
type Config struct {
	CipherSuite uint16 // 1, 2, 3, 5 or 7
	ClientID    clientid.ID
	DisplayName string
	// Handle is the bare handle, without domain, @ or scheme. One that stands in a
	// certificate is a URI: see BareHandle of package pki's Identity.
	Handle string
	// Team is the team's id as the backend knows it, "" for none.
	Team string
	// Lifetime is how long the certificate shall be valid, in whole seconds that fit 32 bits.
	// The CA may grant less.
	Lifetime time.Duration
	// Directory is where the CA's directory is. An application that does the HTTP step
	// by step leaves it empty.
	Directory string
	// SignatureKey is the private key to be certified, as package mlsgroup keeps it. Nil
	// makes a new one. The enrollment has its own copy.
	SignatureKey secret.Bytes
}

// New returns an enrollment at its first step, with an account key of its own. It fails
// with [ErrConfig], [ErrSuite] or [ErrRandom].
func New(c Config, rand io.Reader) (*Enrollment, error) {
	suite, err := c.check()
	if err != nil {
		return nil, err
	}
	e := &Enrollment{config: c, state: state{step: StepDirectory}}
	if e.accountKey, err = newKeyPair(suite, rand); err != nil {
		return nil, err
	}
	if c.SignatureKey == nil {
		e.signatureKey, err = newKeyPair(suite, rand)
	} else {
		e.signatureKey, err = readKeyPair(suite, c.SignatureKey.Clone())
	}
	if err != nil {
		e.accountKey.private.Wipe()
		return nil, err
	}
	e.config.SignatureKey = nil
	return e, nil
}

// check returns the suite's primitives if an enrollment can be made of the config.
func (c *Config) check() (*primitive.Suite, error) {
	suite, ok := lookupSuite(c.CipherSuite)
	if !ok {
		return nil, ErrSuite
	}
	if id, err := clientid.Parse(c.ClientID.String()); err != nil || id != c.ClientID || !isName(c.ClientID.Domain) || !isHost(c.ClientID.Domain) {
		return nil, fmt.Errorf("%w: client id", ErrConfig)
	}
	if !isName(c.DisplayName) {
		return nil, fmt.Errorf("%w: display name", ErrConfig)
	}
	if !isName(c.Handle) || strings.HasPrefix(c.Handle, "@") || strings.HasPrefix(c.Handle, uriScheme) {
		return nil, fmt.Errorf("%w: handle", ErrConfig)
	}
	if c.Team != "" && !isName(c.Team) {
		return nil, fmt.Errorf("%w: team", ErrConfig)
	}
	if c.Lifetime < time.Second || c.Lifetime > math.MaxUint32*time.Second || c.Lifetime%time.Second != 0 {
		return nil, fmt.Errorf("%w: lifetime", ErrConfig)
	}
	if c.Directory != "" {
		if err := checkACME(c.Directory); err != nil {
			return nil, fmt.Errorf("%w: directory: %w", ErrConfig, err)
		}
	}
	return suite, nil
}

// isName takes text that can stand in a certificate and in JSON.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// isHost takes domains that stand in a URI as they are.
func isHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isUnreserved(c) {
			return false
		}
	}
	return true
}

// newUUID returns a random UUID (RFC 9562 section 5.4).
func newUUID(rand io.Reader) (string, error) {
	var u clientid.UUID
	if _, err := io.ReadFull(rand, u[:]); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRandom, err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String(), nil
}

// uriScheme begins the URIs of clients and handles.
const uriScheme = "wireapp://"

// handleURI returns the handle as orders, tokens and certificates write it.
func (c *Config) handleURI() string {
	return uriScheme + escape("@"+c.Handle) + "@" + c.ClientID.Domain
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// escape percent-encodes all but the unreserved characters of RFC 3986.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if isUnreserved(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}
