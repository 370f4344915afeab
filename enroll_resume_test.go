package conclave_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// TestEnrollFinalizedBefore loses the answer to a finalize at a server that takes none after it, as RFC 8555 has it (section 7.4), and the engine with it. The
// order is asked for, and nothing is ordered or certified again.
func TestEnrollFinalizedBefore(t *testing.T) {
	for name, killed := range map[string]bool{"lost answer": false, "killed": true} {
		for nonces, nonceless := range map[string]bool{"": false, ", refused without a nonce": true} { // which it need not bring (RFC 8555 section 6.5)
			t.Run(name+nonces, func(t *testing.T) { testEnrollFinalizedBefore(t, killed, nonceless) })
		}
	}
}

func testEnrollFinalizedBefore(t *testing.T, killed, nonceless bool) {
	o, fs := newOffice(t), crashfs.New()
	engine, err := conclave.OpenOn(t.Context(), fs, crashDir, crashOptions())
	must1(t, engine, err)
	finalized := 0
	o.Alter = func(r enrollment.Request, a *enrollment.Response) {
		if !strings.HasSuffix(r.URL, "/finalize") {
			return
		}
		if finalized++; finalized > 1 {
			nonce := a.Header["Replay-Nonce"]
			*a = acmetest.Problem(http.StatusForbidden, "orderNotReady", "the order is valid")
			if !nonceless {
				a.Header["Replay-Nonce"] = nonce
			}
		}
	}
	o.fail = func(_ string, before bool) error {
		if before || finalized != 1 {
			return nil
		}
		o.fail = nil
		if killed {
			engine.Kill()
		}
		return errKilled
	}
	_, err = o.client(engine, conclave.ClientOptions{NoCredential: true}).Enroll(t.Context(), o.options(), o.hooks())
	if killed == (err == nil) {
		t.Fatal(err)
	}
	if !killed {
		if err := engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o.resume(fs)
	if s := o.Stats(); s.Orders != 1 || finalized != 2 {
		t.Errorf("the server saw %+v, and %d times finalize", s, finalized)
	}
}

// TestEnrollCertificateNotBelieved gets a chain that leads to no trust anchor. The enrolment goes back to asking for the certificate, also in its journal: the
// next one, after a crash, asks for it and for nothing else.
func TestEnrollCertificateNotBelieved(t *testing.T) {
	o, fs := newOffice(t), crashfs.New()
	engine, err := conclave.OpenOn(t.Context(), fs, crashDir, crashOptions())
	must1(t, engine, err)
	o.Alter = func(r enrollment.Request, a *enrollment.Response) {
		if strings.Contains(r.URL, "/certificate/") { // without its intermediate
			a.Body = append(a.Body[:bytes.Index(a.Body, []byte("-----END"))], "-----END CERTIFICATE-----\n"...)
		}
	}
	_, err = o.client(engine, conclave.ClientOptions{NoCredential: true}).Enroll(t.Context(), o.options(), o.hooks())
	wantCode(t, err, conclave.CodeEnrollment)
	engine.Kill()

	o.Alter = nil
	engine, err = conclave.OpenOn(t.Context(), fs, crashDir, crashOptions())
	must1(t, engine, err)
	c, h := o.client(engine, conclave.ClientOptions{NoCredential: true}), o.hooks()
	var steps []string
	h.Progress = func(p conclave.EnrollProgress) {
		if !p.Resumed {
			t.Error("the enrolment is not resumed")
		}
		if p.Step != enrollment.StepNonce {
			steps = append(steps, p.Step.String())
		}
	}
	_, err = c.Enroll(t.Context(), o.options(), h)
	must1(t, steps, err)
	if got := strings.Join(steps, ", "); got != "certificate, issued" {
		t.Errorf("it goes on by %s", got)
	}
	if s := o.Stats(); s.Orders != 1 || s.Certificates != 1 {
		t.Errorf("the server saw %+v", s)
	}
	if found := certified(t, c); len(found) != 1 {
		t.Errorf("%d certificates, want 1", len(found))
	}
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
}
