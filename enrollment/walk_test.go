package enrollment_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
)

// call is one call of the API, with arguments that are good if the step is right.
type call struct {
	name string
	do   func(w *world) error
}

func calls() []call {
	empty := []byte("{}")
	const nonce = "unused"
	return []call{
		{"Request", func(w *world) error { _, err := w.e.Request(w.now); return err }},
		{"Receive", func(w *world) error { _, err := w.e.Receive(w.now, enrollment.Response{}); return err }},
		{"CreateDPoPToken", func(w *world) error {
			_, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, backendNonce)
			return err
		}},
		{"SetAccessToken", func(w *world) error { return w.e.SetAccessToken("a.b.c") }},
		{"Authentication", func(w *world) error { _, err := w.e.Authentication(); return err }},
		{"SetIDToken", func(w *world) error { return w.e.SetIDToken("a.b.c") }},
		{"Issued", func(w *world) error { _, err := w.e.Issued(w.now, w.trust); return err }},
		{"Marshal", func(w *world) error { _, err := w.e.Marshal(); return err }},
		{"DirectoryResponse", func(w *world) error { _, err := w.e.DirectoryResponse(empty); return err }},
		{"NewAccountRequest", func(w *world) error { _, err := w.e.NewAccountRequest(nonce); return err }},
		{"NewAccountResponse", func(w *world) error { _, err := w.e.NewAccountResponse(empty); return err }},
		{"NewOrderRequest", func(w *world) error { _, err := w.e.NewOrderRequest(w.now, nonce); return err }},
		{"NewOrderResponse", func(w *world) error { _, err := w.e.NewOrderResponse(w.now, empty); return err }},
		{"NewAuthzRequest", func(w *world) error { _, err := w.e.NewAuthzRequest("https://ca.example/", nonce); return err }},
		{"NewAuthzResponse", func(w *world) error { _, err := w.e.NewAuthzResponse(w.now, empty); return err }},
		{"NewDPoPChallengeRequest", func(w *world) error { _, err := w.e.NewDPoPChallengeRequest("a.b.c", nonce); return err }},
		{"NewDPoPChallengeResponse", func(w *world) error { return w.e.NewDPoPChallengeResponse(empty) }},
		{"NewOIDCChallengeRequest", func(w *world) error { _, err := w.e.NewOIDCChallengeRequest("a.b.c", nonce); return err }},
		{"NewOIDCChallengeResponse", func(w *world) error { return w.e.NewOIDCChallengeResponse(empty) }},
		{"CheckOrderRequest", func(w *world) error { _, err := w.e.CheckOrderRequest("https://ca.example/", nonce); return err }},
		{"CheckOrderResponse", func(w *world) error { _, err := w.e.CheckOrderResponse(w.now, empty); return err }},
		{"FinalizeRequest", func(w *world) error { _, err := w.e.FinalizeRequest(w.now, nonce); return err }},
		{"FinalizeResponse", func(w *world) error { _, err := w.e.FinalizeResponse(w.now, empty); return err }},
		{"CertificateRequest", func(w *world) error { _, err := w.e.CertificateRequest(nonce); return err }},
		{"CertificateResponse", func(w *world) error { return w.e.CertificateResponse(w.now, empty) }},
	}
}

// place is somewhere that an enrollment can stand.
type place struct {
	name  string
	stash []byte
	// allowed are the calls that are not out of order there.
	allowed []string
}

// stepCalls are the calls of an application that does the HTTP, by step.
var stepCalls = map[enrollment.Step][2]string{
	enrollment.StepAccount:       {"NewAccountRequest", "NewAccountResponse"},
	enrollment.StepOrder:         {"NewOrderRequest", "NewOrderResponse"},
	enrollment.StepAuthorization: {"NewAuthzRequest", "NewAuthzResponse"},
	enrollment.StepDPoPChallenge: {"NewDPoPChallengeRequest", "NewDPoPChallengeResponse"},
	enrollment.StepOIDCChallenge: {"NewOIDCChallengeRequest", "NewOIDCChallengeResponse"},
	enrollment.StepOrderCheck:    {"CheckOrderRequest", "CheckOrderResponse"},
	enrollment.StepFinalize:      {"FinalizeRequest", "FinalizeResponse"},
	enrollment.StepCertificate:   {"CertificateRequest", "CertificateResponse"},
}

// places walks an enrollment and stops everywhere, also while responses are out.
func places(t *testing.T) (all []place) {
	w := newWorld(t, 1)
	stop := func(name string, under enrollment.Step) {
		allowed := []string{"Marshal"}
		at, waiting := w.e.Step(), w.e.Waiting()
		switch {
		case waiting:
			allowed = append(allowed, "Receive")
		case !ofApplication(at) && at != enrollment.StepIssued:
			allowed = append(allowed, "Request")
		}
		if at == enrollment.StepDirectory {
			allowed = append(allowed, "DirectoryResponse")
		}
		if at != enrollment.StepNonce || !waiting {
			if c := stepCalls[under]; c[0] != "" {
				allowed = append(allowed, c[0])
				if waiting {
					allowed = append(allowed, c[1])
				}
			}
		}
		switch under {
		case enrollment.StepDPoPToken:
			allowed = append(allowed, "CreateDPoPToken")
		case enrollment.StepAccessToken:
			allowed = append(allowed, "CreateDPoPToken", "SetAccessToken", "NewDPoPChallengeRequest")
		case enrollment.StepDPoPChallenge:
			if !waiting {
				allowed = append(allowed, "CreateDPoPToken", "SetAccessToken")
			}
		case enrollment.StepIDToken:
			allowed = append(allowed, "SetIDToken", "NewOIDCChallengeRequest")
		case enrollment.StepOIDCChallenge:
			if !waiting {
				allowed = append(allowed, "SetIDToken")
			}
		case enrollment.StepIssued:
			allowed = append(allowed, "Issued")
		}
		if under >= enrollment.StepDPoPToken && under <= enrollment.StepOIDCChallenge {
			allowed = append(allowed, "Authentication")
		}
		all = append(all, place{name, w.stash(), allowed})
	}
	under := enrollment.StepDirectory // as seen without the nonce
	for {
		if s := w.e.Step(); s != enrollment.StepNonce {
			under = s
		} else {
			under = enrollment.StepAccount
		}
		stop(w.e.Step().String(), under)
		switch at := w.e.Step(); {
		case at == enrollment.StepIssued:
			return all
		case at == enrollment.StepDPoPToken:
			_, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, backendNonce)
			w.must(err)
		case ofApplication(at):
			w.must(w.input())
		default:
			origin := w.stash()
			r, err := w.e.Request(w.now)
			w.must(err)
			stop(at.String()+", waiting", under)
			if r.Method == "POST" { // a lost response, and the nonce that comes next
				w.e.Retry()
				stop("nonce before "+at.String(), under)
				_, err = w.e.Request(w.now)
				w.must(err)
				stop("nonce before "+at.String()+", waiting", under)
			}
			w.e, err = enrollment.Unmarshal(origin)
			w.must(err)
			_, err = w.e.Request(w.now)
			w.must(err)
			_, err = w.e.Receive(w.now, w.ca.Do(r))
			w.must(err)
		}
	}
}

// TestPitfallE7EveryCallEverywhere makes every call at every place: those that do not belong fail
// with a StepError, and no failure changes anything.
func TestPitfallE7EveryCallEverywhere(t *testing.T) {
	w := newWorld(t, 1)
	all := places(t)
	if len(all) < 40 {
		t.Errorf("only %d places", len(all))
	}
	for _, p := range all {
		for _, c := range calls() {
			var err error
			w.e, err = enrollment.Unmarshal(p.stash)
			w.must(err)
			err = c.do(w)
			var step *enrollment.StepError
			if out := errors.As(err, &step); out == slices.Contains(p.allowed, c.name) {
				t.Errorf("%s at %s: %v", c.name, p.name, err)
			} else if out && !errors.Is(err, enrollment.ErrOutOfOrder) {
				t.Errorf("%s at %s: %v is not ErrOutOfOrder", c.name, p.name, err)
			}
			if err != nil {
				w.unchanged(p.stash)
			}
		}
	}
	w.e.Wipe()
	w.e.Wipe()
	for _, c := range calls() {
		if err := c.do(w); !errors.Is(err, enrollment.ErrOutOfOrder) {
			t.Errorf("%s after Wipe: %v", c.name, err)
		}
	}
	w.e.Retry()
}

// TestForeignURLs asks for authorizations and orders that the CA has not named.
func TestForeignURLs(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepAuthorization)
	before := w.stash()
	if _, err := w.e.NewAuthzRequest("https://ca.example/acme/wire/authz/other", "unused"); !errors.Is(err, enrollment.ErrURL) {
		t.Errorf("foreign authorization: %v", err)
	}
	w.unchanged(before)
	w.until(enrollment.StepOrderCheck)
	before = w.stash()
	for _, url := range []string{"", "order", "https://ca.example/acme/wire/order/other"} {
		if _, err := w.e.CheckOrderRequest(url, "unused"); !errors.Is(err, enrollment.ErrURL) {
			t.Errorf("order %q: %v", url, err)
		}
		w.unchanged(before)
	}
	c := testConfig(t, 1)
	c.Directory = ""
	var err error
	w.e, err = enrollment.New(c, w.rand)
	w.must(err)
	if _, err := w.e.Request(w.now); !errors.Is(err, enrollment.ErrURL) {
		t.Errorf("request without a directory: %v", err)
	}
}

// TestProblemToStepCall hands the body of an error to a step call.
func TestProblemToStepCall(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepAccount)
	_, err := w.e.NewAccountRequest("unused")
	w.must(err)
	before := w.stash()
	_, err = w.e.NewAccountResponse([]byte(`{"type":"urn:ietf:params:acme:error:badNonce","detail":"no"}`))
	var p *enrollment.Problem
	if !errors.As(err, &p) || p.Kind() != "badNonce" {
		t.Errorf("problem document: %v", err)
	}
	if _, err := w.e.NewAccountResponse(make([]byte, enrollment.MaxBody+1)); !errors.Is(err, enrollment.ErrTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	w.unchanged(before)
	if _, err := w.e.NewAccountRequest("another"); err != nil {
		t.Errorf("again with a fresh nonce: %v", err)
	}
}
