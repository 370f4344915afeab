package conclave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// hasty makes the timers of an engine run out at once.
func hasty(o *conclave.Options) {
	conclave.SetAfterFunc(o, func(_ time.Duration, f func()) func() bool {
		f()
		return func() bool { return false }
	})
}

// hostileWorld is an office whose clients do not wait.
func hostileWorld(t *testing.T) (*office, *conclave.Client) {
	t.Helper()
	o, options := newOffice(t), conclave.Options{InMemory: true}
	// Hooks do not look at their context unless a test says so, and pauses are none.
	hasty(&options)
	e, err := conclave.Open(t.Context(), "", options)
	must1(t, e, err)
	t.Cleanup(func() { _ = e.Close() })
	return o, o.client(e, conclave.ClientOptions{NoCredential: true})
}

// TestEnrollHostileServer gives each thing that a server can do wrong its own error, and tells what is worth trying again from what is not.
func TestEnrollHostileServer(t *testing.T) {
	isOrder := func(r enrollment.Request) bool { return strings.HasSuffix(r.URL, "/new-order") }
	isChallenge := func(r enrollment.Request) bool { return strings.Contains(r.URL, "/challenge/") }
	isAuthz := func(r enrollment.Request) bool { return strings.Contains(r.URL, "/authz/") }
	isFinalize := func(r enrollment.Request) bool { return strings.HasSuffix(r.URL, "/finalize") }
	isCertificate := func(r enrollment.Request) bool { return strings.Contains(r.URL, "/certificate/") }
	replace := func(at func(enrollment.Request) bool, old, new string) func(*acmetest.World) {
		return func(w *acmetest.World) {
			w.Alter = func(r enrollment.Request, a *enrollment.Response) {
				if at(r) {
					a.Body = bytes.ReplaceAll(a.Body, []byte(old), []byte(new))
				}
			}
		}
	}
	alter := func(at func(enrollment.Request) bool, f func(*enrollment.Response)) func(*acmetest.World) {
		return func(w *acmetest.World) {
			w.Alter = func(r enrollment.Request, a *enrollment.Response) {
				if at(r) {
					f(a)
				}
			}
		}
	}
	certificate := func(f func(*x509.Certificate)) func(*acmetest.World) {
		return func(w *acmetest.World) { w.Certificate = f }
	}
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		must1(t, u, err)
		return u
	}
	var firstAuthz []byte
	for _, c := range []struct {
		name   string
		do     func(*acmetest.World)
		want   error
		code   conclave.Code
		orders int // that the server has got when the next, honest enrolment is done
	}{
		{"redirect", alter(isOrder, func(a *enrollment.Response) {
			a.Status, a.Header["Location"] = http.StatusFound, []string{"https://evil.example/order"}
		}), enrollment.ErrStatus, conclave.CodeEnrollment, 2},
		{"truncated", alter(isFinalize, func(a *enrollment.Response) { a.Body = a.Body[:len(a.Body)/2] }), enrollment.ErrMalformed, conclave.CodeEnrollment, 1},
		{"oversized", alter(isAuthz, func(a *enrollment.Response) {
			a.Body = append(a.Body, bytes.Repeat([]byte(" "), enrollment.MaxBody)...)
		}), enrollment.ErrTooLarge, conclave.CodeEnrollment, 1},
		{"a web page", alter(isChallenge, func(a *enrollment.Response) {
			a.Header["Content-Type"], a.Body = []string{"text/html"}, []byte("<html>")
		}), enrollment.ErrContentType, conclave.CodeEnrollment, 1},
		{"no nonce", alter(isOrder, func(a *enrollment.Response) { delete(a.Header, "Replay-Nonce") }), enrollment.ErrNonceMissing, conclave.CodeEnrollment, 6},
		{"swapped authorizations", func(w *acmetest.World) {
			w.Alter = func(r enrollment.Request, a *enrollment.Response) {
				if isAuthz(r) && firstAuthz == nil {
					firstAuthz = bytes.Clone(a.Body)
				} else if isAuthz(r) {
					a.Body = firstAuthz
				}
			}
		}, enrollment.ErrChallengeType, conclave.CodeEnrollmentRefused, 2},
		{"another handle", replace(isOrder, "alice_wire", "mallory"), enrollment.ErrWrongIdentifiers, conclave.CodeEnrollmentRefused, 2},
		{"another device", replace(isOrder, "!4c7@", "!4c8@"), enrollment.ErrWrongIdentifiers, conclave.CodeEnrollmentRefused, 2},
		{"invalid order", replace(isOrder, `"status":"pending"`, `"status":"invalid"`), enrollment.ErrOrderInvalid, conclave.CodeEnrollmentRefused, 2},
		{"failed challenge", replace(isChallenge, `"status":"valid"`, `"status":"invalid"`), enrollment.ErrChallengeInvalid, conclave.CodeEnrollmentRefused, 2},
		{"certificate for another key", certificate(func(c *x509.Certificate) {
			c.PublicKey = ed25519.PublicKey(bytes.Repeat([]byte{1}, 32))
		}), enrollment.ErrKeyMismatch, conclave.CodeCertificateMismatch, 2},
		{"certificate for another client", certificate(func(c *x509.Certificate) {
			c.URIs[1] = uri("wireapp://SvPfLlwBQi-6oddVRrkqpw%214c8@wire.example")
		}), enrollment.ErrClientIDMismatch, conclave.CodeCertificateMismatch, 2},
		{"certificate for another handle", certificate(func(c *x509.Certificate) { c.URIs[0] = uri("wireapp://%40mallory@wire.example") }), enrollment.ErrHandleMismatch, conclave.CodeCertificateMismatch, 2},
		{"certificate for another name", certificate(func(c *x509.Certificate) { c.Subject.CommonName = "Mallory" }), enrollment.ErrDisplayNameMismatch, conclave.CodeCertificateMismatch, 2},
		{"certificate for another domain", certificate(func(c *x509.Certificate) { c.Subject.Organization = []string{"evil.example"} }), enrollment.ErrDomainMismatch, conclave.CodeCertificateMismatch, 2},
		{"no certificate", alter(isCertificate, func(a *enrollment.Response) { a.Body = []byte("-----BEGIN") }), enrollment.ErrChain, conclave.CodeEnrollment, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, client := hostileWorld(t)
			c.do(o.World)
			_, err := client.Enroll(t.Context(), o.options(), o.hooks())
			if !errors.Is(err, c.want) || !conclaveIs(err, c.code) {
				t.Errorf("error %v (%s), want %v (%s)", err, codeIn(err), c.want, string(c.code))
			}
			o.Alter, o.Certificate = nil, nil
			if _, err := client.Enroll(t.Context(), o.options(), o.hooks()); err != nil {
				t.Errorf("when the server is honest again: %v", err)
			}
			if s := o.Stats(); s.Orders != c.orders {
				t.Errorf("%d orders, want %d", s.Orders, c.orders)
			}
		})
	}
}

func codeIn(err error) string {
	var e *conclave.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return "none"
}

// TestEnrollBadNonces enrols at a server that refuses good nonces at random, and gives up at one that refuses all.
func TestEnrollBadNonces(t *testing.T) {
	o, c := hostileWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	o.Intercept = func(r enrollment.Request) (enrollment.Response, bool) {
		if r.Method != http.MethodPost || rng.IntN(3) > 0 {
			return enrollment.Response{}, false
		}
		refused++
		return o.badNonce(), true
	}
	options := o.options()
	options.Attempts = 20
	if _, err := c.Enroll(t.Context(), options, o.hooks()); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); refused == 0 || s.Accounts != 1 || s.Orders != 1 {
		t.Errorf("%d nonces refused, the server saw %+v", refused, s)
	}

	o, c = hostileWorld(t)
	posts := 0
	o.Intercept = func(r enrollment.Request) (enrollment.Response, bool) {
		if r.Method != http.MethodPost {
			return enrollment.Response{}, false
		}
		posts++
		return o.badNonce(), true
	}
	_, err := c.Enroll(t.Context(), o.options(), o.hooks())
	var problem *enrollment.Problem
	if !errors.Is(err, enrollment.ErrNonceRefused) || !errors.As(err, &problem) || problem.Kind() != "badNonce" || posts > 10 {
		t.Errorf("after %d requests: %v", posts, err)
	}
}

func (o *office) badNonce() enrollment.Response {
	r := acmetest.Problem(http.StatusBadRequest, "badNonce", "JWS has an invalid anti-replay nonce")
	http.Header(r.Header).Set("Replay-Nonce", o.NewNonce())
	return r
}

// TestEnrollHanging has hooks that wait until their context ends, which an injected clock ends at once.
func TestEnrollHanging(t *testing.T) {
	for _, hook := range []string{"HTTPRequest", "Authenticate", "BackendNonce", "BackendAccessToken"} {
		t.Run(hook, func(t *testing.T) {
			o, c := hostileWorld(t)
			h, hung := o.hooks(), 0
			hang := func(ctx context.Context) error { hung++; <-ctx.Done(); return ctx.Err() }
			switch hook {
			case "HTTPRequest":
				h.HTTPRequest = func(ctx context.Context, _ enrollment.Request) (enrollment.Response, error) {
					return enrollment.Response{}, hang(ctx)
				}
			case "Authenticate":
				h.Authenticate = func(ctx context.Context, _ enrollment.Authentication) (string, error) { return "", hang(ctx) }
			case "BackendNonce":
				h.BackendNonce = func(ctx context.Context) (string, error) { return "", hang(ctx) }
			case "BackendAccessToken":
				h.BackendAccessToken = func(ctx context.Context, _ string) (string, error) { return "", hang(ctx) }
			}
			options, want := o.options(), 3
			options.Attempts = want
			if hook == "Authenticate" {
				want = 1
			}
			_, err := c.Enroll(t.Context(), options, h)
			wantCode(t, err, conclave.CodeHookTimeout)
			if hung != want {
				t.Errorf("it was tried %d times, want %d", hung, want)
			}
			if _, err := c.Enroll(t.Context(), o.options(), o.hooks()); err != nil {
				t.Errorf("when it answers again: %v", err)
			}
		})
	}
}

// TestEnrollSlowServer polls an order that the server takes its time for.
func TestEnrollSlowServer(t *testing.T) {
	o, c := hostileWorld(t)
	polls := 0
	o.Alter = func(r enrollment.Request, a *enrollment.Response) {
		if strings.Contains(r.URL, "/order/") && !strings.HasSuffix(r.URL, "/finalize") && polls < 5 {
			polls++
			a.Body = bytes.ReplaceAll(a.Body, []byte(`"status":"ready"`), []byte(`"status":"processing"`))
		}
	}
	if _, err := c.Enroll(t.Context(), o.options(), o.hooks()); err != nil || polls != 5 {
		t.Errorf("after %d polls: %v", polls, err)
	}
}

// TestEnrollFlakyHooks fails hooks now and then, before and after they did their work.
func TestEnrollFlakyHooks(t *testing.T) {
	o, c := hostileWorld(t)
	failed, calls := 0, 0
	o.fail = func(hook string, before bool) error {
		if hook == "Authenticate" {
			return nil // it is not asked twice
		}
		if calls++; calls%7 == 0 {
			failed++
			return errors.New("no line")
		}
		return nil
	}
	if _, err := c.Enroll(t.Context(), o.options(), o.hooks()); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); failed < 3 || s.Accounts != 1 || s.Certificates != 1 {
		t.Errorf("%d failures, the server saw %+v", failed, s)
	}
}
