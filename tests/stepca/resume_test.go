package stepca

import (
	"context"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
)

// TestResume breaks Enroll off at each step in turn, first before and then after step-ca has answered. What is called again goes on where it stopped: step-ca
// knows of one account, and of no order more than the one whose answer was lost.
func TestResume(t *testing.T) {
	o := newOffice(t, 1)
	d := o.open("resumed", "Re Sumed", false)
	broken := errors.New("broken off")
	done := make(map[enrollment.Step]int) // how often a step was broken off
	for calls := 0; ; calls++ {
		var ended bool // one step a call
		h := d.hooks()
		send, authenticate := h.HTTPRequest, h.Authenticate
		h.HTTPRequest = func(ctx context.Context, r enrollment.Request) (response enrollment.Response, err error) {
			if ended {
				return response, broken
			}
			done[r.Step]++
			switch done[r.Step] {
			case 1:
				ended = true
				return response, broken
			case 2:
				ended = true
				if _, err := send(ctx, r); err != nil {
					return response, err
				}
				return response, broken
			}
			return send(ctx, r)
		}
		h.Authenticate = func(ctx context.Context, a enrollment.Authentication) (string, error) {
			if done[enrollment.StepIDToken]++; done[enrollment.StepIDToken] == 1 {
				return "", broken
			}
			return authenticate(ctx, a)
		}
		_, err := d.Enroll(t.Context(), conclave.EnrollOptions{EnrollmentOptions: d.wanted(), Kind: conclave.EnrollmentActivation, Attempts: 1}, h)
		if err == nil {
			break
		}
		if !errors.Is(err, broken) || calls > 40 {
			t.Fatalf("call %d: %v, after %v", calls, err, done)
		}
	}
	for _, at := range []enrollment.Step{
		enrollment.StepDirectory, enrollment.StepNonce, enrollment.StepAccount, enrollment.StepOrder, enrollment.StepAuthorization, enrollment.StepDPoPChallenge,
		enrollment.StepIDToken, enrollment.StepOIDCChallenge, enrollment.StepOrderCheck, enrollment.StepFinalize, enrollment.StepCertificate,
	} {
		if done[at] < 2 {
			t.Errorf("%v came %d times", at, done[at])
		}
	}
	for table, want := range map[string]int{"acme_accounts": 1, "acme_orders": 2} {
		if all, err := o.ca.records.List([]byte(table)); err != nil || len(all) != want {
			t.Errorf("%s: %d, %v, want %d", table, len(all), err, want)
		}
	}
	o.begin()
	if checked, err := d.CheckCredentials(t.Context()); err != nil || len(checked) != 1 || checked[0].Err != nil {
		t.Errorf("credentials %v, %v", checked, err)
	}
}
