package stepca

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
)

// TestRefusal holds step-ca's refusals against the errors of the machine. Each has to come for the reason that it was provoked with.
func TestRefusal(t *testing.T) {
	w := newWorld(t)
	for _, x := range []struct {
		name   string
		reason string // in what step-ca says of the failed challenge
		// refused provokes the refusal and returns what the machine makes of it.
		refused func(ctx context.Context, e *enrollment.Enrollment, u *user) error
	}{
		{"ID token of another user", "claims in OIDC ID token don't match", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			return w.oidcWith(ctx, e, u, func(a *enrollment.Authentication, who *idpUser) { *who = w.newUser("mallory", u.name).login })
		}},
		{"ID token under another display name", "claims in OIDC ID token don't match", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			return w.oidcWith(ctx, e, u, func(a *enrollment.Authentication, who *idpUser) {
				*who = w.idp.register(u.login.username, "Somebody Else")
			})
		}},
		{"ID token for another account key", "keyAuthorization", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			return w.oidcWith(ctx, e, u, func(a *enrollment.Authentication, _ *idpUser) {
				token, _, _ := strings.Cut(a.KeyAuth, ".")
				a.KeyAuth = token + "." + strings.Repeat("A", 43)
			})
		}},
		{"ID token for another challenge", "acme_aud", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			return w.oidcWith(ctx, e, u, func(a *enrollment.Authentication, _ *idpUser) { a.Audience += "x" })
		}},
		{"access token of another enrolment", "failed validation", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			other := newEnrollment(t, w.config(u, 2))
			if err := w.driveTo(ctx, other, u, enrollment.StepDPoPToken); err != nil {
				return err
			}
			return w.dpopWith(ctx, e, u, func() (string, error) { return w.tokens(ctx, other, u) })
		}},
		{"access token of another backend", "invalid token key ID", func(ctx context.Context, e *enrollment.Enrollment, u *user) error {
			return w.dpopWith(ctx, e, u, func() (string, error) {
				key, err := newECDSA(elliptic.P256())()
				if err != nil {
					return "", err
				}
				ours := w.backend.setKey(key)
				defer w.backend.setKey(ours)
				return w.tokens(ctx, e, u)
			})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			u := w.newUser("victim", "Vic Tim")
			e := newEnrollment(t, w.config(u, 2))
			if err := x.refused(t.Context(), e, u); !errors.Is(err, enrollment.ErrChallengeInvalid) {
				t.Fatalf("error %v", err)
			}
			if reasons := w.ca.failures.take(); len(reasons) != 1 || !strings.Contains(reasons[0], x.reason) {
				t.Errorf("step-ca refused for %q", reasons)
			}
		})
	}
}

// oidcWith answers the OIDC challenge with the ID token of a sign-in that change has spoilt.
func (w *world) oidcWith(ctx context.Context, e *enrollment.Enrollment, u *user, change func(*enrollment.Authentication, *idpUser)) error {
	if err := w.driveTo(ctx, e, u, enrollment.StepIDToken); err != nil {
		return err
	}
	a, err := e.Authentication()
	if err != nil {
		return err
	}
	who := u.login
	change(&a, &who)
	token, err := login(ctx, who, a.IdentityProvider, a.KeyAuth, a.Audience)
	if err != nil {
		return err
	}
	if err := e.SetIDToken(token); err != nil {
		return err
	}
	return w.step(ctx, e, u)
}

// dpopWith answers the DPoP challenge with an access token that other has got.
func (w *world) dpopWith(ctx context.Context, e *enrollment.Enrollment, u *user, other func() (string, error)) error {
	if err := w.driveTo(ctx, e, u, enrollment.StepDPoPChallenge); err != nil {
		return err
	}
	token, err := other()
	if err != nil {
		return err
	}
	if err := e.SetAccessToken(token); err != nil {
		return err
	}
	return w.step(ctx, e, u)
}

// tokens gets an access token for the device's challenge.
func (w *world) tokens(ctx context.Context, e *enrollment.Enrollment, u *user) (string, error) {
	nonce, err := w.backendNonce(ctx, u)
	if err != nil {
		return "", err
	}
	dpop, err := e.CreateDPoPToken(time.Now(), rand.Reader, time.Minute, nonce)
	if err != nil {
		return "", err
	}
	return w.accessToken(ctx, u, dpop)
}

// TestProblems holds problem documents of step-ca against the errors of the machine.
func TestProblems(t *testing.T) {
	w := newWorld(t)
	for _, x := range []struct {
		name   string
		change func(*enrollment.Config, *user)
		at     enrollment.Step
		kind   string
	}{
		{"beyond the longest lifetime", func(c *enrollment.Config, _ *user) { c.Lifetime = 20 * 365 * 24 * time.Hour }, enrollment.StepFinalize, "serverInternal"},
		{"domain that the intermediate may not certify", func(c *enrollment.Config, u *user) {
			u.id.Domain = "evil.example"
			c.ClientID = u.id
		}, enrollment.StepFinalize, "serverInternal"},
	} {
		t.Run(x.name, func(t *testing.T) {
			u := w.newUser("problem", "Pro Blem")
			c := w.config(u, 1)
			x.change(&c, u)
			w.register(u)
			e := newEnrollment(t, c)
			err := w.driveTo(t.Context(), e, u, enrollment.StepIssued)
			problem := (*enrollment.Problem)(nil)
			if !errors.As(err, &problem) || e.Step() != x.at {
				t.Fatalf("at %v: %v", e.Step(), err)
			}
			if problem.Kind() != x.kind {
				t.Errorf("problem %v", problem)
			}
		})
	}
}

// TestBadNonce sends a request of every kind twice. step-ca takes the first and refuses the nonce of the second; the machine sees only the refusal, asks again
// with the nonce that came with it, and gets its certificate.
func TestBadNonce(t *testing.T) {
	w := newWorld(t)
	u := w.newUser("twice", "Twice Told")
	e := newEnrollment(t, w.config(u, 1))
	var refused []enrollment.Step
	for e.Step() != enrollment.StepIssued {
		// A second order would take the tokens of the first, and a challenge or an order that is settled cannot be told from one that somebody else has settled.
		at := e.Step()
		if !slices.Contains([]enrollment.Step{enrollment.StepAccount, enrollment.StepAuthorization, enrollment.StepOrderCheck, enrollment.StepCertificate}, at) ||
			slices.Contains(refused, at) {
			if err := w.step(t.Context(), e, u); err != nil {
				t.Fatal(err)
			}
			continue
		}
		request, err := e.Request(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.acme.Do(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		response, err := w.acme.Do(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if response.Status != 400 {
			t.Fatalf("%v: status %d", at, response.Status)
		}
		if _, err := e.Receive(time.Now(), response); err != nil {
			t.Fatal(err)
		}
		refused = append(refused, at)
	}
	if len(refused) != 4 {
		t.Errorf("refused at %v", refused)
	}
}
