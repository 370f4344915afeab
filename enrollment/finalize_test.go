package enrollment_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
)

// notReady is what a CA answers to the second of two requests to finalize an order (RFC
// 8555 section 7.4): its status is not ready any more.
func notReady(r *enrollment.Response) {
	*r = enrollment.Response{Status: 403, Header: r.Header, Body: []byte(`{"type":"urn:ietf:params:acme:error:orderNotReady"}`)}
	r.Header["Content-Type"] = []string{"application/problem+json"}
}

// TestFinalizeTwice loses the answer to a finalize. Where the CA takes none after it, the
// order is asked for, and the certificate is there or comes.
func TestFinalizeTwice(t *testing.T) {
	for _, processing := range []int{0, 3} {
		for _, nonceless := range []bool{false, true} { // an error response need not bring one (RFC 8555 section 6.5)
			t.Run(fmt.Sprintf("%d processing, nonceless %t", processing, nonceless), func(t *testing.T) { testFinalizeTwice(t, processing, nonceless) })
		}
	}
}

func testFinalizeTwice(t *testing.T, processing int, nonceless bool) {
	w := newWorld(t, 1)
	w.until(enrollment.StepFinalize)
	r, err := w.e.Request(w.now)
	w.must(err)
	w.ca.Do(r) // lost
	w.e.Retry()
	w.until(enrollment.StepFinalize) // the lost answer had the nonce
	r, err = w.e.Request(w.now)
	w.must(err)
	response := w.ca.Do(r)
	notReady(&response)
	response.Header["Retry-After"] = []string{"5"}
	next := enrollment.StepOrderCheck
	if nonceless {
		delete(response.Header, "Replay-Nonce")
		next = enrollment.StepNonce
	}
	if wait, err := w.e.Receive(w.now, response); err != nil || wait != 5*time.Second || w.e.Step() != next {
		t.Fatalf("wait %v, at %v: %v", wait, w.e.Step(), err)
	}
	if w.e, err = enrollment.Unmarshal(w.stash()); err != nil { // the process may end there
		t.Fatal(err)
	}
	w.until(enrollment.StepOrderCheck)
	for range processing {
		r, err := w.e.Request(w.now)
		w.must(err)
		response := w.ca.Do(r)
		set("status", "processing")(&response)
		if wait, err := w.e.Receive(w.now, response); err != nil || wait == 0 || w.e.Step() != enrollment.StepOrderCheck {
			t.Fatalf("wait %v, at %v: %v", wait, w.e.Step(), err)
		}
	}
	w.must(w.advance())
	if w.e.Step() != enrollment.StepCertificate {
		t.Errorf("a valid order leads to %v", w.e.Step())
	}
	w.until(enrollment.StepIssued)
	if _, err := w.e.Issued(w.now, w.trust); err != nil {
		t.Error(err)
	}
}

// TestFinalizeTwiceBadNonce has the refusal bring a nonce that cannot be one, or was one before: the refusal stays an error.
func TestFinalizeTwiceBadNonce(t *testing.T) {
	for what, nonces := range map[string]func(spent string) []string{
		"used before": func(spent string) []string { return []string{spent} },
		"malformed":   func(string) []string { return []string{"no nonce!"} },
		"two":         func(string) []string { return []string{"b25l", "dHdv"} },
	} {
		w := newWorld(t, 1)
		w.until(enrollment.StepFinalize)
		r, err := w.e.Request(w.now)
		w.must(err)
		response := w.ca.Do(r)
		notReady(&response)
		response.Header["Replay-Nonce"] = nonces(readJWS(t, r.Body).protected["nonce"].(string))
		var problem *enrollment.Problem
		if _, err := w.e.Receive(w.now, response); !errors.As(err, &problem) || !w.e.Waiting() || w.e.Step() != enrollment.StepFinalize {
			t.Errorf("%s: at %v: %v", what, w.e.Step(), err)
		}
	}
}

// TestFinalizeTakesTime lets the CA work at the order (RFC 8555 section 7.4).
func TestFinalizeTakesTime(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepFinalize)
	r, err := w.e.Request(w.now)
	w.must(err)
	response := w.ca.Do(r)
	set("status", "processing")(&response)
	if wait, err := w.e.Receive(w.now, response); err != nil || wait != time.Second || w.e.Step() != enrollment.StepOrderCheck {
		t.Fatalf("wait %v, at %v: %v", wait, w.e.Step(), err)
	}
	w.must(w.advance())
	if w.e.Step() != enrollment.StepCertificate {
		t.Errorf("a valid order leads to %v", w.e.Step())
	}
	w.until(enrollment.StepIssued)
}

// TestFinalizeForEver goes to and fro with a CA that says of the order that it is ready
// and of the finalize that it is not, but not for ever.
func TestFinalizeForEver(t *testing.T) {
	for what, answer := range map[string]struct {
		tell func(*enrollment.Response)
		want error
	}{
		"processing": {set("status", "processing"), enrollment.ErrOrderNotReady},
		"not ready":  {notReady, nil},
	} {
		w := newWorld(t, 1)
		w.until(enrollment.StepOrderCheck)
		ready := set("status", "ready")
		for turns, err := 0, error(nil); ; turns++ {
			if turns > 200 {
				t.Fatalf("%s: for ever", what)
			}
			var r enrollment.Request
			r, err = w.e.Request(w.now)
			w.must(err)
			response := w.ca.Do(r)
			if tell := answer.tell; r.Step == enrollment.StepFinalize {
				tell(&response)
			} else if r.Step == enrollment.StepOrderCheck {
				ready(&response)
			}
			if _, err = w.e.Receive(w.now, response); err == nil {
				continue
			}
			var problem *enrollment.Problem
			if answer.want != nil && !errors.Is(err, answer.want) || answer.want == nil && (!errors.As(err, &problem) || problem.Kind() != "orderNotReady") {
				t.Errorf("%s: %v", what, err)
			}
			break
		}
	}
}

// TestRejectedCertificate takes an issued certificate back. What is marshalled then is read
// again, and the certificate comes once more.
func TestRejectedCertificate(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepIssued)
	w.e.RejectCertificate()
	var err error
	w.e, err = enrollment.Unmarshal(w.stash())
	w.must(err)
	if !w.e.Waiting() || w.e.Step() != enrollment.StepCertificate {
		t.Errorf("it is at %v, waiting: %t", w.e.Step(), w.e.Waiting())
	}
	w.e.Retry()
	w.until(enrollment.StepIssued)
}
