package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

const (
	enrolled    = conclave.ClientID("4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example")
	enrolledURI = "wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@wire.example"
)

// office is where clients are enrolled.
type office struct {
	*acmetest.World
	t *testing.T
	// fail, if there is one, is asked before and after each call of a hook, and its error is the hook's.
	fail func(hook string, before bool) error
}

func newOffice(t *testing.T) *office { return &office{World: acmetest.New(time.Now), t: t} }

// client opens a client that trusts the office.
func (o *office) client(e *conclave.Engine, co conclave.ClientOptions) *conclave.Client {
	o.t.Helper()
	c, err := e.Client(o.t.Context(), enrolled, co)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := c.RegisterTrustAnchor(o.t.Context(), []byte(o.Root())); err != nil && !conclaveIs(err, conclave.CodeTrustAnchorAlreadyRegistered) {
		o.t.Fatal(err)
	}
	return c
}

func (o *office) options() conclave.EnrollOptions {
	return conclave.EnrollOptions{EnrollmentOptions: conclave.EnrollmentOptions{DisplayName: "Alice Smith", Handle: "alice_wire", Directory: o.Directory()}}
}

func (o *office) hooks() conclave.EnrollHooks {
	return conclave.EnrollHooks{
		HTTPRequest: func(_ context.Context, r enrollment.Request) (enrollment.Response, error) {
			return around(o, "HTTPRequest", func() (enrollment.Response, error) { return o.Do(r), nil })
		},
		Authenticate: func(_ context.Context, a enrollment.Authentication) (string, error) {
			return around(o, "Authenticate", func() (string, error) {
				return o.Authenticate(a.KeyAuth, a.Audience, "Alice Smith", "alice_wire", "wire.example"), nil
			})
		},
		BackendNonce: func(context.Context) (string, error) {
			return around(o, "BackendNonce", func() (string, error) { return o.BackendNonce(), nil })
		},
		BackendAccessToken: func(_ context.Context, dpop string) (string, error) {
			return around(o, "BackendAccessToken", func() (string, error) { return o.AccessToken(dpop) })
		},
	}
}

// around calls a hook between two chances to fail.
func around[T any](o *office, hook string, call func() (T, error)) (T, error) {
	var none T
	if o.fail != nil {
		if err := o.fail(hook, true); err != nil {
			return none, err
		}
	}
	result, err := call()
	if o.fail != nil {
		if err := o.fail(hook, false); err != nil {
			return none, err
		}
	}
	return result, err
}

// certified returns the client's X.509 credentials.
func certified(t *testing.T, c *conclave.Client) []conclave.CredentialEntry {
	t.Helper()
	found, err := c.FindCredentials(t.Context(), conclave.CredentialFilter{Type: mlsgroup.CredentialTypeX509})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEnroll enrols a client in one call, for each kind of key.
func TestEnroll(t *testing.T) {
	for _, suite := range []conclave.CipherSuite{1, 2, 3, 5, 7} {
		t.Run(fmt.Sprint(suite), func(t *testing.T) {
			o := newOffice(t)
			c := o.client(newWorld(t).engine, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{suite}})
			var steps []string
			h := o.hooks()
			h.Progress = func(p conclave.EnrollProgress) {
				if p.Attempt != 1 || p.Err != nil || p.Resumed {
					t.Errorf("event %v", p)
				}
				if p.Step != enrollment.StepNonce {
					steps = append(steps, p.Step.String())
				}
			}
			saved, err := c.Enroll(t.Context(), o.options(), h)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				"directory", "account", "order", "authorization", "authorization", "DPoP token", "DPoP challenge", "ID token", "OIDC challenge",
				"order check", "finalize", "certificate", "issued",
			}
			if !slices.Equal(steps, want) {
				t.Errorf("steps %q, want %q", steps, want)
			}
			found := certified(t, c)
			if len(found) != 1 || found[0].Ref != saved.Credential.Ref || found[0].CipherSuite != suite {
				t.Errorf("credentials %v, want the one of suite %d", found, suite)
			}
			if s := o.Stats(); s.Accounts != 1 || s.Orders != 1 || s.Certificates != 1 || s.BadNonces != 0 {
				t.Errorf("the server saw %+v", s)
			}
		})
	}
}

// TestEnrollKinds certifies a new key, that of the Basic credential, and that of the certificate.
func TestEnrollKinds(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{})
	basic, err := c.PublicKey(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	options := o.options()
	for _, step := range []struct {
		kind conclave.EnrollmentKind
		same bool // key as the one before
	}{{conclave.EnrollmentActivation, true}, {conclave.EnrollmentRotation, true}, {conclave.EnrollmentNew, false}} {
		options.Kind = step.kind
		saved, err := c.Enroll(t.Context(), options, o.hooks())
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(saved.Credential.SignatureKey, basic); same != step.same {
			t.Errorf("kind %d: the key is the same: %t, want %t", step.kind, same, step.same)
		}
	}
}

// TestEnrollArguments refuses what cannot be enrolled before anything is sent.
func TestEnrollArguments(t *testing.T) {
	o := newOffice(t)
	e := newWorld(t).engine
	c := o.client(e, conclave.ClientOptions{})
	try := func(want conclave.Code, change func(*conclave.EnrollOptions, *conclave.EnrollHooks)) {
		t.Helper()
		options, h := o.options(), o.hooks()
		change(&options, &h)
		_, err := c.Enroll(t.Context(), options, h)
		wantCode(t, err, want)
	}
	try(conclave.CodeInvalidArgument, func(_ *conclave.EnrollOptions, h *conclave.EnrollHooks) { h.Authenticate = nil })
	try(conclave.CodeInvalidArgument, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.Attempts = -1 })
	try(conclave.CodeInvalidArgument, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.Handle = "" })
	try(conclave.CodeInvalidArgument, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.CipherSuite = 4 })
	try(conclave.CodeInvalidArgument, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.CipherSuite = 99 })
	try(conclave.CodeInvalidArgument, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.Directory = "http://ca.example" })
	try(conclave.CodeMissingExistingClient, func(o *conclave.EnrollOptions, _ *conclave.EnrollHooks) { o.Kind = conclave.EnrollmentRotation })
	var missing *conclave.MissingExistingClient
	if _, err := c.NewRotateEnrollment(t.Context(), conclave.EnrollmentOptions{}); !errors.As(err, &missing) || missing.CredentialType != mlsgroup.CredentialTypeX509 {
		t.Errorf("rotation without a certificate: %v", err)
	}
	odd, err := e.Client(t.Context(), "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = odd.Enroll(t.Context(), o.options(), o.hooks())
	wantCode(t, err, conclave.CodePKIEnvironmentUnset)
	if _, err := odd.RegisterTrustAnchor(t.Context(), []byte(o.Root())); err != nil {
		t.Fatal(err)
	}
	_, err = odd.Enroll(t.Context(), o.options(), o.hooks())
	wantCode(t, err, conclave.CodeInvalidClientID)
	if o.Stats().Requests != 0 {
		t.Error("the server was asked")
	}
}

// TestEnrollOnce refuses a second enrolment beside the first, and resumes what another call has left.
func TestEnrollOnce(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{})
	h := o.hooks()
	ctx, cancel := context.WithCancel(t.Context())
	h.Authenticate = func(context.Context, enrollment.Authentication) (string, error) {
		_, err := c.Enroll(t.Context(), o.options(), o.hooks())
		wantCode(t, err, conclave.CodeEnrollmentRunning)
		cancel()
		return "", errors.New("the user has closed the window")
	}
	_, err := c.Enroll(ctx, o.options(), h)
	wantCode(t, err, conclave.CodeCanceled)
	h, asked := o.hooks(), 0
	h.Progress = func(p conclave.EnrollProgress) {
		asked++
		if asked == 1 && (!p.Resumed || p.Step != enrollment.StepIDToken) {
			t.Errorf("it goes on with %v, resumed: %t", p.Step, p.Resumed)
		}
	}
	if _, err := c.Enroll(t.Context(), o.options(), h); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); s.Accounts != 1 || s.Orders != 1 {
		t.Errorf("the server saw %+v", s)
	}
}

// TestEnrollOtherWish begins anew where the journal is of another enrolment.
func TestEnrollOtherWish(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{})
	h := o.hooks()
	h.Authenticate = func(context.Context, enrollment.Authentication) (string, error) { return "", errors.New("not now") }
	if _, err := c.Enroll(t.Context(), o.options(), h); err == nil {
		t.Fatal("enrolled without a user")
	}
	options := o.options()
	options.Expiry = 24 * time.Hour
	if _, err := c.Enroll(t.Context(), options, o.hooks()); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); s.Accounts != 2 || s.Orders != 2 || s.Certificates != 1 {
		t.Errorf("the server saw %+v", s)
	}
}
