package enrollment_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

var suites = []uint16{1, 2, 3, 5, 7}

// TestEnroll drives the machine through all steps, for all kinds of key, and stashes it
// after each.
func TestEnroll(t *testing.T) {
	for _, suite := range suites {
		w := newWorld(t, suite)
		var steps []enrollment.Step
		for w.e.Step() != enrollment.StepIssued {
			steps = append(steps, w.e.Step())
			if err := w.advance(); err != nil {
				t.Fatalf("suite %d at %v: %v", suite, w.e.Step(), err)
			}
			stash := w.stash()
			var err error
			if w.e, err = enrollment.Unmarshal(stash); err != nil {
				t.Fatalf("suite %d at %v: %v", suite, steps, err)
			}
			w.unchanged(stash)
		}
		want := []enrollment.Step{
			enrollment.StepDirectory, enrollment.StepNonce, enrollment.StepAccount, enrollment.StepOrder, enrollment.StepAuthorization,
			enrollment.StepAuthorization, enrollment.StepDPoPToken, enrollment.StepDPoPChallenge, enrollment.StepIDToken,
			enrollment.StepOIDCChallenge, enrollment.StepOrderCheck, enrollment.StepFinalize, enrollment.StepCertificate,
		}
		if !slices.Equal(steps, want) {
			t.Errorf("suite %d: steps %v, want %v", suite, steps, want)
		}
		issued, err := w.e.Issued(w.now, w.trust)
		w.must(err)
		checkIssued(t, w, suite, issued)
		w.e.Wipe()
		if !bytes.Equal(issued.SignatureKey, make([]byte, len(issued.SignatureKey))) {
			t.Error("Wipe left the key")
		}
		if w.e.Step() != enrollment.StepFinished {
			t.Errorf("at %v after Wipe", w.e.Step())
		}
	}
}

func checkIssued(t *testing.T, w *world, suite uint16, issued enrollment.Issued) {
	t.Helper()
	if issued.CipherSuite != suite || issued.ClientID != testConfig(t, suite).ClientID || len(issued.Chain) != 2 {
		t.Errorf("suite %d: issued %v", suite, issued)
	}
	id, err := pki.ParseIdentity(issued.Chain[0])
	w.must(err)
	if !bytes.Equal(id.PublicKey, issued.PublicKey) || !bytes.Equal(id.PublicKey, w.e.SignaturePublicKey()) || id.BareHandle() != "alice_wire" {
		t.Errorf("suite %d: identity %v", suite, id)
	}
}

// TestStepCalls drives the same protocol as CoreCrypto's callers do: each nonce is the
// application's.
func TestStepCalls(t *testing.T) {
	for _, suite := range suites {
		w := newWorld(t, suite)
		issued, err := w.stepCalls(t)
		w.must(err)
		checkIssued(t, w, suite, issued)
	}
}

// caller is an application that does the HTTP.
type caller struct {
	w     *world
	nonce string
}

func (c *caller) post(url string, body []byte, err error) []byte {
	c.w.t.Helper()
	c.w.must(err)
	r := c.w.ca.Do(enrollment.Request{Method: "POST", URL: url, Header: enrollment.Header{"Content-Type": {"application/jose+json"}}, Body: body})
	c.nonce = r.Header["Replay-Nonce"][0]
	if r.Status/100 != 2 {
		c.w.t.Fatalf("POST %s: %d %s", url, r.Status, r.Body)
	}
	return r.Body
}

func (w *world) stepCalls(t *testing.T) (enrollment.Issued, error) {
	t.Helper()
	e, c := w.e, &caller{w: w}
	directory, err := e.DirectoryResponse(w.ca.Do(enrollment.Request{Method: "GET", URL: caDirectory}).Body)
	w.must(err)
	c.nonce = w.ca.Do(enrollment.Request{Method: "HEAD", URL: directory.NewNonce}).Header["Replay-Nonce"][0]

	body, err := e.NewAccountRequest(c.nonce)
	account, err := e.NewAccountResponse(c.post(directory.NewAccount, body, err))
	w.must(err)
	if account == "" {
		t.Error("no URL of the account")
	}

	body, err = e.NewOrderRequest(w.now, c.nonce)
	order, err := e.NewOrderResponse(w.now, c.post(directory.NewOrder, body, err))
	w.must(err)
	orderURL := order.Finalize[:len(order.Finalize)-len("/finalize")] // as the header Location has it

	var device, user enrollment.Authorization
	for _, url := range []string{order.Authorizations[1], order.Authorizations[0]} {
		body, err = e.NewAuthzRequest(url, c.nonce)
		if url == order.Authorizations[1] {
			// The other one has to wait for the response.
			if _, err := e.NewAuthzRequest(order.Authorizations[0], c.nonce+"x"); !errors.Is(err, enrollment.ErrOutOfOrder) {
				t.Errorf("both authorizations at once: %v", err)
			}
		}
		a, err := e.NewAuthzResponse(w.now, c.post(url, body, err))
		w.must(err)
		if a.Device {
			device = a
		} else {
			user = a
		}
	}
	dpop, err := e.CreateDPoPToken(w.now, w.rand, 30*time.Second, w.ca.BackendNonce())
	w.must(err)
	access, err := w.ca.AccessToken(dpop)
	w.must(err)
	body, err = e.NewDPoPChallengeRequest(access, c.nonce)
	w.must(e.NewDPoPChallengeResponse(c.post(device.Challenge.URL, body, err)))

	id, err := w.idToken(enrollment.Authentication{IdentityProvider: user.Challenge.Target, KeyAuth: user.KeyAuth, Audience: user.Challenge.URL})
	w.must(err)
	body, err = e.NewOIDCChallengeRequest(id, c.nonce)
	w.must(e.NewOIDCChallengeResponse(c.post(user.Challenge.URL, body, err)))

	body, err = e.CheckOrderRequest(orderURL, c.nonce)
	ready, err := e.CheckOrderResponse(w.now, c.post(orderURL, body, err))
	w.must(err)
	body, err = e.FinalizeRequest(w.now, c.nonce)
	certificate, err := e.FinalizeResponse(w.now, c.post(ready.Finalize, body, err))
	w.must(err)
	body, err = e.CertificateRequest(c.nonce)
	chain := c.post(certificate, body, err)
	w.must(e.CertificateResponse(w.now, chain))
	if _, err := e.CertificateRequest(c.nonce); !errors.Is(err, enrollment.ErrOutOfOrder) {
		t.Errorf("second certificate request: %v", err)
	}
	return e.Issued(w.now, w.trust)
}

// TestBadNonce lets the CA refuse nonces at each step: once is forgiven, twice is not.
func TestBadNonce(t *testing.T) {
	probe := newWorld(t, 1)
	for probe.e.Step() != enrollment.StepIssued {
		at := probe.e.Step()
		probe.must(probe.advance())
		if ofApplication(at) || at == enrollment.StepDirectory || at == enrollment.StepNonce {
			continue
		}
		w := newWorld(t, 1)
		w.until(at)
		w.ca.ForgetNonces()
		w.must(w.advance())
		if w.e.Step() != at || w.e.Waiting() {
			t.Errorf("after a bad nonce: at %v, want %v again", w.e.Step(), at)
		}
		w.until(enrollment.StepIssued) // the retry works

		w = newWorld(t, 1)
		w.until(at)
		w.ca.ForgetNonces()
		w.must(w.advance())
		w.ca.ForgetNonces()
		r, err := w.e.Request(w.now)
		w.must(err)
		before := w.stash()
		_, err = w.e.Receive(w.now, w.ca.Do(r))
		var p *enrollment.Problem
		if !errors.Is(err, enrollment.ErrNonceRefused) || !errors.As(err, &p) || p.Kind() != "badNonce" || p.Step != at {
			t.Errorf("second bad nonce at %v: %v", at, err)
		}
		w.unchanged(before)
		w.e.Retry()
		w.until(enrollment.StepIssued)
	}
}

// TestLostResponses loses every response once, after the CA has acted on the request.
func TestLostResponses(t *testing.T) {
	w := newWorld(t, 2)
	for w.e.Step() != enrollment.StepIssued {
		if ofApplication(w.e.Step()) {
			w.must(w.input())
			continue
		}
		at := w.e.Step()
		r, err := w.e.Request(w.now)
		w.must(err)
		w.ca.Do(r)
		stash := w.stash()
		w.e, err = enrollment.Unmarshal(stash) // a restart
		w.must(err)
		if !w.e.Waiting() || w.e.Step() != at {
			t.Errorf("after a restart: at %v, want %v", w.e.Step(), at)
		}
		w.e.Retry()
		if w.e.Step() == enrollment.StepNonce {
			w.must(w.advance())
		}
		w.must(w.advance())
	}
	if _, err := w.e.Issued(w.now, w.trust); err != nil {
		t.Error(err)
	}
	if n := w.ca.Stats().Accounts; n != 1 {
		t.Errorf("%d accounts for one enrollment", n)
	}
}

// TestBadNonceAtEachStep lets one enrollment meet a refused nonce at every step: the
// forgiveness comes anew.
func TestBadNonceAtEachStep(t *testing.T) {
	w := newWorld(t, 1)
	refused := 0
	for w.e.Step() != enrollment.StepIssued {
		if at := w.e.Step(); !ofApplication(at) && at != enrollment.StepDirectory && at != enrollment.StepNonce {
			w.ca.ForgetNonces()
			w.must(w.advance())
			refused++
		}
		w.must(w.advance())
	}
	if refused != 9 {
		t.Errorf("%d nonces refused, want 9", refused)
	}
}

// TestTokensMayBeReplaced hands in a second token at both challenges, with a stash between.
func TestTokensMayBeReplaced(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepDPoPChallenge)
	w.must(w.e.SetAccessToken("old.old.old"))
	w.ca.ForgetNonces()
	w.must(w.advance())
	_, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, backendNonce)
	w.must(err)
	w.e, err = enrollment.Unmarshal(w.stash())
	w.must(err)
	w.until(enrollment.StepIDToken)
	w.must(w.e.SetIDToken("old.old.old"))
	w.must(w.e.SetIDToken("older.old.old"))
	a, err := w.e.Authentication()
	w.must(err)
	id, err := w.idToken(a)
	w.must(err)
	w.must(w.e.SetIDToken(id))
	w.until(enrollment.StepIssued)
}
