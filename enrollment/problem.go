package enrollment

import (
	"errors"
	"strconv"
	"strings"
)

const (
	problemPrefix = "urn:ietf:params:acme:error:"
	maxDetail     = 1024
)

// Problem is an ACME problem document (RFC 8555 section 6.7): the CA's own words. step-ca
// is sparing with them and keeps the reason in its log.
type Problem struct {
	Step   Step
	Status int    // of HTTP, 0 if the application did not hand it in
	Type   string // such as urn:ietf:params:acme:error:malformed
	Detail string
}

// Kind returns the type without the prefix of ACME's registry, "" if it is of another.
func (p *Problem) Kind() string {
	kind, ok := strings.CutPrefix(p.Type, problemPrefix)
	if !ok {
		return ""
	}
	return kind
}

// Error names the step and quotes the CA.
func (p *Problem) Error() string {
	return "enrollment: the CA refuses " + p.Step.String() + ": " + strconv.Quote(p.Type) + ": " + strconv.Quote(p.Detail)
}

// isBadNonce tells whether the CA wants the same request with the nonce it has just sent
// (RFC 8555 section 6.5).
func isBadNonce(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Kind() == "badNonce"
}

// isOrderNotReady tells whether the CA refuses to finalize an order whose status is
// another than ready (RFC 8555 section 7.4).
func isOrderNotReady(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Kind() == "orderNotReady"
}

// problemDocument is the form on the wire.
type problemDocument struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// readProblem returns the error of a response with an unexpected status: a [Problem] if
// the body is one, else a [StatusError].
func readProblem(at Step, response Response) error {
	media, err := response.Header.mediaType()
	if err == nil && (media == mediaProblem || media == "") {
		if p := parseProblem(at, response.Status, response.Body); p != nil {
			return p
		}
	}
	return &StatusError{at, response.Status}
}

// parseProblem returns nil if the body is no problem document.
func parseProblem(at Step, status int, body []byte) *Problem {
	d, err := decode[problemDocument](body)
	if err != nil || d.Type == "" || len(d.Type) > maxURL {
		return nil
	}
	if len(d.Detail) > maxDetail {
		d.Detail = strings.ToValidUTF8(d.Detail[:maxDetail], "") + "…"
	}
	return &Problem{Step: at, Status: status, Type: d.Type, Detail: d.Detail}
}
