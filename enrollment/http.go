package enrollment

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Bounds of what a CA can make us hold. Its own are far below.
const (
	// MaxBody is how long a response's body may be, in bytes. A transport may stop
	// reading one byte later.
	MaxBody = 64 << 10

	maxURL     = 2048
	maxNonce   = 256
	spentLimit = 16 // nonces remembered; the CA remembers them all
)

// Request is one HTTP request to the CA. Redirects are not followed.
type Request struct {
	Step   Step // what it is for
	Method string
	URL    string
	Header Header
	Body   secret.Bytes // a signed JWS, which may hold a token that opens doors
}

// Response is the answer to a [Request]. Body holds at most one byte more than
// [MaxBody].
type Response struct {
	Status int
	Header Header
	Body   []byte
}

// Header holds the fields of a request or response. The case of names does not matter.
// A [net/http.Header] converts to it.
type Header map[string][]string

// values returns all values of a field, whatever the case of its name.
func (h Header) values(name string) []string {
	var all []string
	for key, values := range h {
		if strings.EqualFold(key, name) {
			all = append(all, values...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// one returns the value of a field, "" if it is absent. Two different ones are an error.
func (h Header) one(name string) (string, error) {
	switch all := h.values(name); len(all) {
	case 0:
		return "", nil
	case 1:
		return all[0], nil
	default:
		return "", malformed("several values of header " + name)
	}
}

// mediaType returns the media type without its parameters, in lower case.
func (h Header) mediaType() (string, error) {
	v, err := h.one("Content-Type")
	v, _, _ = strings.Cut(v, ";")
	return strings.ToLower(strings.TrimSpace(v)), err
}

// retryAfter returns how long the CA wants us to wait, between a second and a minute.
func (h Header) retryAfter() time.Duration {
	v, err := h.one("Retry-After")
	seconds, parse := strconv.Atoi(v)
	if err != nil || parse != nil {
		seconds = 1 // a date, or nothing
	}
	return time.Duration(min(max(seconds, 1), 60)) * time.Second
}

// checkNonce takes what RFC 8555 section 6.5.1 calls a nonce and was not used before.
func (s *state) checkNonce(nonce string) error {
	switch {
	case nonce == "":
		return ErrNonceMissing
	case len(nonce) > maxNonce || !isBase64URL(nonce):
		return malformed("nonce")
	case slices.Contains(s.spent, nonce):
		return ErrNonceReused
	}
	return nil
}

// freshNonce returns the nonce that came with a response.
func (s *state) freshNonce(h Header) (string, error) {
	nonce, err := h.one("Replay-Nonce")
	if err != nil {
		return "", err
	}
	return nonce, s.checkNonce(nonce)
}

// take marks a nonce as used. The slice is a new one, for copies of the state share it.
func (s *state) take(nonce string) {
	first := max(0, len(s.spent)+1-spentLimit)
	s.spent = append(slices.Clone(s.spent[first:]), nonce)
	s.nonce = ""
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// checkURL takes absolute URLs of the given schemes that a request can be sent to.
func checkURL(s string, schemes ...string) error {
	if len(s) > maxURL {
		return fmt.Errorf("%w: URL", ErrTooLarge)
	}
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Contains(s, "#") {
		return malformed("URL")
	}
	return nil
}

// checkACME takes URLs of the CA, which are all https (RFC 8555 section 6.1).
func checkACME(urls ...string) error {
	for _, u := range urls {
		if err := checkURL(u, "https"); err != nil {
			return err
		}
	}
	return nil
}
