package conclave_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// agingWorld is a hostileWorld whose clock goes only when it is put forward.
func agingWorld(t *testing.T) (o *office, c *conclave.Client, forward func(time.Duration)) {
	t.Helper()
	at := time.Now()
	now := func() time.Time { return at }
	o = &office{World: acmetest.New(now), t: t}
	options := conclave.Options{InMemory: true, Now: now}
	hasty(&options)
	e, err := conclave.Open(t.Context(), "", options)
	must1(t, e, err)
	t.Cleanup(func() { _ = e.Close() })
	return o, o.client(e, conclave.ClientOptions{NoCredential: true}), func(d time.Duration) { at = at.Add(d) }
}

// TestEnrollStaleProof loses requests at the DPoP challenge, or for a nonce before it, for longer than a proof lasts.
func TestEnrollStaleProof(t *testing.T) {
	for _, lost := range []enrollment.Step{enrollment.StepDPoPChallenge, enrollment.StepNonce} {
		t.Run(lost.String(), func(t *testing.T) {
			o, c, forward := agingWorld(t)
			h, proofs, failed := o.hooks(), 0, 0
			send, prove := h.HTTPRequest, h.BackendAccessToken
			h.BackendAccessToken = func(ctx context.Context, dpop string) (string, error) {
				proofs++
				return prove(ctx, dpop)
			}
			h.HTTPRequest = func(ctx context.Context, r enrollment.Request) (enrollment.Response, error) {
				if proofs > 0 && (failed == 0 && r.Step == enrollment.StepDPoPChallenge || failed > 0 && failed < 3 && r.Step == lost) {
					failed++
					forward(time.Minute)
					return enrollment.Response{}, errors.New("no line")
				}
				return send(ctx, r)
			}
			if _, err := c.Enroll(t.Context(), o.options(), h); err != nil {
				t.Fatal(err)
			}
			if s := o.Stats(); s.Orders != 1 || failed != 3 || proofs < 2 {
				t.Errorf("%d failures, %d proofs, the server saw %+v", failed, proofs, s)
			}
		})
	}
}

// TestEnrollSlowProof has the backend and the server take a device's proof just before the hooks' time is over.
func TestEnrollSlowProof(t *testing.T) {
	o, c, forward := agingWorld(t)
	h := o.hooks()
	send, prove := h.HTTPRequest, h.BackendAccessToken
	h.BackendAccessToken = func(ctx context.Context, dpop string) (string, error) {
		forward(30 * time.Second)
		return prove(ctx, dpop)
	}
	h.HTTPRequest = func(ctx context.Context, r enrollment.Request) (enrollment.Response, error) {
		if r.Step == enrollment.StepDPoPChallenge {
			forward(30 * time.Second)
		}
		return send(ctx, r)
	}
	if _, err := c.Enroll(t.Context(), o.options(), h); err != nil {
		t.Fatal(err)
	}
}

// TestEnrollStaleSignIn resumes when the ID token has expired.
func TestEnrollStaleSignIn(t *testing.T) {
	o, c, forward := agingWorld(t)
	h := o.hooks()
	send := h.HTTPRequest
	h.HTTPRequest = func(ctx context.Context, r enrollment.Request) (enrollment.Response, error) {
		if r.Step == enrollment.StepOIDCChallenge {
			return enrollment.Response{}, errors.New("no line")
		}
		return send(ctx, r)
	}
	if _, err := c.Enroll(t.Context(), o.options(), h); err == nil {
		t.Fatal("enrolled without a line")
	}
	forward(61 * time.Minute)
	if _, err := c.Enroll(t.Context(), o.options(), o.hooks()); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); s.Orders != 1 || s.Certificates != 1 {
		t.Errorf("the server saw %+v", s)
	}
}

// TestEnrollChallengeAttempts gives up at a server that never takes the answer to the DPoP challenge, however often the device proves itself.
func TestEnrollChallengeAttempts(t *testing.T) {
	for name, answer := range map[string]func(o *office) enrollment.Response{
		"bad nonce":    func(o *office) enrollment.Response { return o.badNonce() },
		"server error": func(o *office) enrollment.Response { return enrollment.Response{Status: http.StatusBadGateway} },
	} {
		t.Run(name, func(t *testing.T) {
			o, c, _ := agingWorld(t)
			h, tried := o.hooks(), 0
			send := h.HTTPRequest
			h.HTTPRequest = func(ctx context.Context, r enrollment.Request) (enrollment.Response, error) {
				if r.Step != enrollment.StepDPoPChallenge {
					return send(ctx, r)
				}
				if tried++; tried > 20 {
					return enrollment.Response{Status: http.StatusForbidden}, nil
				}
				return answer(o), nil
			}
			options := o.options()
			options.Attempts = 4
			_, err := c.Enroll(t.Context(), options, h)
			if err == nil || tried < 4 || tried > 8 {
				t.Errorf("it was tried %d times, %v", tried, err)
			}
		})
	}
}
