package conclave

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/messages"
)

// EnrollOptions say what [Client.Enroll] wants certified, and how patient it is.
type EnrollOptions struct {
	EnrollmentOptions
	// Kind says whose key is certified: EnrollmentNew a new one, EnrollmentActivation and EnrollmentRotation that of the credential there is.
	Kind EnrollmentKind
	// HookTimeout ends the context of a call of HTTPRequest, BackendNonce or BackendAccessToken. 0 is 30 s.
	HookTimeout time.Duration
	// AuthenticateTimeout does so for Authenticate, which waits for a human. 0 is ten minutes.
	AuthenticateTimeout time.Duration
	// Attempts is how often a step is tried that fails for a reason that may pass. 0 is 5. The pauses between are those of [Options].RetryPause.
	Attempts int
}

// EnrollHooks are what Enroll asks of the application. All but Progress are needed. They are called one at a time, return when their context ends, and may be
// called again for the same thing: after an error, and after a restart.
type EnrollHooks struct {
	// HTTPRequest sends one request to the ACME server. It follows no redirect and reads at most [enrollment.MaxBody] bytes and one of the answer. Package
	// enrollment/acmehttp has one.
	HTTPRequest func(context.Context, enrollment.Request) (enrollment.Response, error)
	// Authenticate signs the user in at the identity provider and returns the ID token, with the two claims.
	Authenticate func(context.Context, enrollment.Authentication) (idToken string, err error)
	// BackendNonce fetches a nonce for the client's device from the backend.
	BackendNonce func(context.Context) (string, error)
	// BackendAccessToken exchanges a DPoP token for an access token at the backend.
	BackendAccessToken func(ctx context.Context, dpop string) (string, error)
	// Progress is told what happens. It may be nil.
	Progress func(EnrollProgress)
}

// EnrollProgress is an event of an enrolment.
type EnrollProgress struct {
	Step enrollment.Step // that begins
	// Attempt counts from 1; Err is what the one before failed with, if the step is tried again.
	Attempt int
	Err     error
	// Resumed tells that the enrolment goes on from where an earlier call has left it.
	Resumed bool
}

const (
	defaultHookTimeout         = 30 * time.Second
	defaultAuthenticateTimeout = 10 * time.Minute
	defaultAttempts            = 5
	defaultRetryPause          = 250 * time.Millisecond
	maxRetryPause              = time.Minute
	dpopLifetime               = 2 * time.Minute // outlives the two hooks that pass it on, at their limits
)

// Enroll gets the client a certificate and stores it as its newest credential, as [Tx.InstallCertificate] does. The trust anchor has to be registered.
//
// Each step is written down before its request leaves, with the keys. When Enroll fails for a reason that may pass, or the process ends, the next Enroll with
// the same options goes on where this one stopped, with the same keys; an enrolment that the server has given up is forgotten, and the next Enroll begins anew.
// Other options than those it was begun with replace it. [CodeEnrollmentRunning] while another call enrols the client for the signature scheme.
func (c *Client) Enroll(ctx context.Context, o EnrollOptions, h EnrollHooks) (SavedX509Credential, error) {
	return c.enroll(ctx, "Enroll", o, h, nil)
}

// enroll is Enroll that begins a rotation together with storing the credential.
func (c *Client) enroll(ctx context.Context, op string, o EnrollOptions, h EnrollHooks, rotation *messages.Rotation) (SavedX509Credential, error) {
	var none SavedX509Credential
	if h.HTTPRequest == nil || h.Authenticate == nil || h.BackendNonce == nil || h.BackendAccessToken == nil || o.Attempts < 0 || o.HookTimeout < 0 || o.AuthenticateTimeout < 0 {
		return none, wrap(op, "", fmt.Errorf("%w: a hook is missing or an option is negative", messages.ErrInvalidArgument))
	}
	setDefault(&o.HookTimeout, defaultHookTimeout)
	setDefault(&o.AuthenticateTimeout, defaultAuthenticateTimeout)
	setDefault(&o.Attempts, defaultAttempts)
	begin := o.begin(o.Kind)
	begin.Journal, begin.Rotation = true, rotation
	begun, err := ask[messages.EnrollmentBegun](ctx, c.scope, op, "", begin)
	if err != nil {
		return none, err
	}
	r := &enroller{client: c, op: op, options: o, hooks: h, rotation: rotation, id: begun.Enrollment, resumed: begun.Resumed, stale: begun.Resumed}
	return r.finish(ctx)
}

// finish is run that ends the enrolment in memory unless it has succeeded, also where a hook panics or ends its goroutine: the journal stays.
func (r *enroller) finish(ctx context.Context) (saved SavedX509Credential, err error) {
	returned := false
	defer func() {
		if returned && err == nil {
			return
		}
		end := messages.EndEnrollment{Enrollment: r.id, Forget: returned && hopeless(err)}
		_, ended := ask[messages.EnrollmentEnded](context.WithoutCancel(ctx), r.client.scope, r.op, "", end)
		err = wrap(r.op, "", errors.Join(err, ended))
	}()
	saved, err = r.run(ctx)
	returned = true
	return saved, err
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// enroller drives one enrolment, on the caller's goroutine. All that has to last is in the enrolment's actor.
type enroller struct {
	client   *Client
	op       string
	options  EnrollOptions
	hooks    EnrollHooks
	rotation *messages.Rotation
	id       messages.EnrollmentID
	resumed  bool
	// stale tells that the tokens which the enrolment holds are of an earlier run, or that of the device of an attempt that has failed: they may have expired.
	stale bool
	// failed counts the attempts that have failed since the enrolment came to this step, last is why. An attempt at a challenge may begin at an earlier one:
	// reached is the farthest.
	failed  int
	last    error
	reached enrollment.Step
}

// run takes one step after the other.
func (r *enroller) run(ctx context.Context) (SavedX509Credential, error) {
	for {
		var at enrollment.Step
		if err := r.on(ctx, func(e *enrollment.Enrollment, _ time.Time, _ io.Reader) error { at = e.Step(); return nil }); err != nil {
			return SavedX509Credential{}, err
		}
		if at != enrollment.StepNonce && at > r.reached { // a nonce is there for the step that failed
			if r.reached, r.failed, r.last = at, 0, nil; at == enrollment.StepDPoPToken {
				r.reached = enrollment.StepAccessToken // prove takes both
			}
		}
		r.report(at)
		var wait time.Duration
		var err error
		switch {
		case at == enrollment.StepIssued:
			return r.install(ctx)
		case at == enrollment.StepIDToken, at == enrollment.StepOIDCChallenge && r.stale:
			err = r.authenticate(ctx)
			r.stale = r.stale && err != nil
		case at == enrollment.StepDPoPToken, at == enrollment.StepAccessToken, at == enrollment.StepDPoPChallenge && r.stale:
			err = r.prove(ctx)
			r.stale = r.stale && err != nil
		default:
			wait, err = r.exchange(ctx)
			r.stale = r.stale || err != nil && r.reached >= enrollment.StepDPoPToken && r.reached <= enrollment.StepDPoPChallenge
		}
		if err != nil {
			if wait, err = r.giveUp(ctx, err); err != nil {
				return SavedX509Credential{}, err
			}
		}
		if err := r.pause(ctx, wait); err != nil {
			return SavedX509Credential{}, err
		}
	}
}

// on runs a step on the enrolment.
func (r *enroller) on(ctx context.Context, f func(e *enrollment.Enrollment, now time.Time, rand io.Reader) error) error {
	return r.holding(ctx, 0, f)
}

// holding is on of a step that holds so many bytes.
func (r *enroller) holding(ctx context.Context, held int, f func(e *enrollment.Enrollment, now time.Time, rand io.Reader) error) error {
	return r.admitted(ctx, func() error {
		_, err := ask[messages.EnrollmentStepped](ctx, r.client.scope, r.op, "", messages.StepEnrollment{Enrollment: r.id, Run: f, Held: held})
		return err
	})
}

// install stores the certificate.
func (r *enroller) install(ctx context.Context) (saved SavedX509Credential, err error) {
	err = r.admitted(ctx, func() (err error) {
		saved, err = ask[messages.X509CredentialSaved](ctx, r.client.scope, r.op, "", messages.InstallCertificate{Enrollment: r.id, Rotation: r.rotation})
		return err
	})
	return saved, err
}

// admitted calls the engine, and again while that is busy: neither a response nor the user's sign-in is to be asked for twice because it could not be handed in.
func (r *enroller) admitted(ctx context.Context, call func() error) error {
	for tried := 1; ; tried++ {
		err := call()
		if !errors.Is(err, messages.ErrBusy) || tried >= r.options.Attempts {
			return err
		}
		if stopped := r.pause(ctx, r.pauseAfter(tried)); stopped != nil {
			return errors.Join(stopped, err)
		}
	}
}

func (r *enroller) report(at enrollment.Step) {
	if r.hooks.Progress != nil {
		r.hooks.Progress(EnrollProgress{Step: at, Attempt: r.failed + 1, Err: r.last, Resumed: r.resumed})
	}
}

// exchange sends a request and takes the response. Where that fails, the response is given up, so that the step can be taken again.
func (r *enroller) exchange(ctx context.Context) (wait time.Duration, err error) {
	var request enrollment.Request
	err = r.on(ctx, func(e *enrollment.Enrollment, now time.Time, _ io.Reader) (err error) {
		request, err = e.Request(now)
		return err
	})
	if err != nil {
		return 0, err
	}
	var response enrollment.Response
	failed := r.within(ctx, r.options.HookTimeout, func(ctx context.Context) (err error) {
		response, err = r.hooks.HTTPRequest(ctx, request)
		return err
	})
	err = r.holding(context.WithoutCancel(ctx), len(response.Body), func(e *enrollment.Enrollment, now time.Time, _ io.Reader) (err error) {
		if failed == nil {
			wait, failed = e.Receive(now, response)
		}
		if failed != nil {
			e.Retry()
		}
		return nil
	})
	return wait, errors.Join(failed, err)
}

// prove has the backend confirm that the device is the user's.
func (r *enroller) prove(ctx context.Context) error {
	var nonce, dpop, access string
	err := r.within(ctx, r.options.HookTimeout, func(ctx context.Context) (err error) {
		nonce, err = r.hooks.BackendNonce(ctx)
		return err
	})
	if err != nil {
		return err
	}
	err = r.on(ctx, func(e *enrollment.Enrollment, now time.Time, rand io.Reader) (err error) {
		dpop, err = e.CreateDPoPToken(now, rand, dpopLifetime, nonce)
		return err
	})
	if err != nil {
		return err
	}
	err = r.within(ctx, r.options.HookTimeout, func(ctx context.Context) (err error) {
		access, err = r.hooks.BackendAccessToken(ctx, dpop)
		return err
	})
	if err != nil {
		return err
	}
	return r.on(ctx, func(e *enrollment.Enrollment, _ time.Time, _ io.Reader) error { return e.SetAccessToken(access) })
}

// authenticate has the user sign in.
func (r *enroller) authenticate(ctx context.Context) error {
	var what enrollment.Authentication
	err := r.on(ctx, func(e *enrollment.Enrollment, _ time.Time, _ io.Reader) (err error) {
		what, err = e.Authentication()
		return err
	})
	if err != nil {
		return err
	}
	var token string
	err = r.within(ctx, r.options.AuthenticateTimeout, func(ctx context.Context) (err error) {
		token, err = r.hooks.Authenticate(ctx, what)
		return err
	})
	var failed *hookError
	if errors.As(err, &failed) {
		failed.final = true // a user who has refused is not asked again
	}
	if err != nil {
		return err
	}
	return r.on(ctx, func(e *enrollment.Enrollment, _ time.Time, _ io.Reader) error { return e.SetIDToken(token) })
}

// within calls a hook with a context that ends after a time.
func (r *enroller) within(ctx context.Context, limit time.Duration, hook func(context.Context) error) error {
	limited, cancel := context.WithCancelCause(ctx)
	stop := r.client.engine.options.afterFunc(limit, func() { cancel(messages.ErrHookTimeout) })
	defer func() { stop(); cancel(nil) }()
	err := hook(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case context.Cause(limited) == messages.ErrHookTimeout:
		err = messages.ErrHookTimeout
	}
	return &hookError{err: err}
}

// pause waits.
func (r *enroller) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	over := make(chan struct{})
	stop := r.client.engine.options.afterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hookError is what a hook has failed with.
type hookError struct {
	err   error
	final bool
}

// Error implements error.
func (e *hookError) Error() string { return "enrollment: " + e.err.Error() }

// Unwrap returns the hook's error.
func (e *hookError) Unwrap() error { return e.err }

// giveUp returns the error of a step if it is not to be tried again, else how long to wait.
func (r *enroller) giveUp(ctx context.Context, err error) (time.Duration, error) {
	if ctx.Err() != nil || !passing(err) {
		return 0, err
	}
	if r.failed, r.last = r.failed+1, err; r.failed >= r.options.Attempts {
		return 0, err
	}
	return r.pauseAfter(r.failed), nil
}

// pauseAfter returns how long to wait after so many failures.
func (r *enroller) pauseAfter(failed int) time.Duration {
	pause := r.client.engine.options.RetryPause
	setDefault(&pause, defaultRetryPause)
	for range failed - 1 {
		pause = min(2*pause, maxRetryPause)
	}
	return pause
}

// passing tells whether the reason of an error may pass by itself.
func passing(err error) bool {
	var hook *hookError
	if errors.As(err, &hook) {
		return !hook.final
	}
	var problem *enrollment.Problem
	if errors.As(err, &problem) {
		return problem.Status >= 500 || problem.Kind() == "rateLimited" || errors.Is(err, enrollment.ErrNonceRefused)
	}
	var status *enrollment.StatusError
	if errors.As(err, &status) {
		return status.Status >= 500 || status.Status == 408 || status.Status == 429
	}
	return isAny(err, enrollment.ErrNonceMissing, enrollment.ErrNonceReused, enrollment.ErrContentType, enrollment.ErrTooLarge, enrollment.ErrMalformed)
}

// hopeless tells whether an enrolment cannot be brought to an end after an error.
func hopeless(err error) bool {
	var problem *enrollment.Problem
	if errors.As(err, &problem) {
		return !passing(err)
	}
	return isAny(err, badObject...) || isAny(err, badCertificate...)
}
