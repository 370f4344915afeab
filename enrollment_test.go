package conclave_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// walk takes an enrolment's steps as an application does that speaks to the servers itself.
type walk struct {
	t     *testing.T
	o     *office
	e     *conclave.Enrollment
	nonce string
}

// post sends what a request method has returned, and keeps the nonce of the answer.
func (w *walk) post(url string, body []byte, err error) enrollment.Response {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.o.Do(enrollment.Request{Method: http.MethodPost, URL: url, Header: enrollment.Header{"Content-Type": {"application/jose+json"}}, Body: body})
	if r.Status >= 300 {
		w.t.Fatalf("%s: %d %s", url, r.Status, r.Body)
	}
	w.nonce = http.Header(r.Header).Get("Replay-Nonce")
	return r
}

func must1[T any](t *testing.T, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// toToken goes to where the user has to sign in, and returns what the rest needs.
func (w *walk) toToken() (auth enrollment.Authorization, order string) {
	w.t.Helper()
	ctx, e := w.t.Context(), w.e
	directory, err := e.DirectoryResponse(ctx, w.o.Do(enrollment.Request{Method: http.MethodGet, URL: w.o.Directory()}).Body)
	must1(w.t, directory, err)
	w.nonce = http.Header(w.o.Do(enrollment.Request{Method: http.MethodHead, URL: directory.NewNonce}).Header).Get("Replay-Nonce")
	body, err := e.NewAccountRequest(ctx, w.nonce)
	account, err := e.NewAccountResponse(ctx, w.post(directory.NewAccount, body, err).Body)
	must1(w.t, account, err)
	body, err = e.NewOrderRequest(ctx, w.nonce)
	answer := w.post(directory.NewOrder, body, err)
	newOrder, err := e.NewOrderResponse(ctx, answer.Body)
	must1(w.t, newOrder, err)
	order = http.Header(answer.Header).Get("Location")
	var device enrollment.Authorization
	for _, url := range newOrder.Authorizations {
		body, err = e.NewAuthzRequest(ctx, url, w.nonce)
		authz, err := e.NewAuthzResponse(ctx, w.post(url, body, err).Body)
		if must1(w.t, authz, err); authz.Device {
			device = authz
		} else {
			auth = authz
		}
	}
	dpop, err := e.CreateDPoPToken(ctx, 30*time.Second, w.o.BackendNonce())
	must1(w.t, dpop, err)
	access, err := w.o.AccessToken(dpop)
	must1(w.t, access, err)
	body, err = e.NewDPoPChallengeRequest(ctx, access, w.nonce)
	if err := e.NewDPoPChallengeResponse(ctx, w.post(device.Challenge.URL, body, err).Body); err != nil {
		w.t.Fatal(err)
	}
	return auth, order
}

// toChain goes from there to the certificate.
func (w *walk) toChain(auth enrollment.Authorization, orderURL string) string {
	w.t.Helper()
	ctx, e := w.t.Context(), w.e
	token := w.o.Authenticate(auth.KeyAuth, auth.Challenge.URL, "Alice Smith", "alice_wire", "wire.example")
	body, err := e.NewOIDCChallengeRequest(ctx, token, w.nonce)
	if err := e.NewOIDCChallengeResponse(ctx, w.post(auth.Challenge.URL, body, err).Body); err != nil {
		w.t.Fatal(err)
	}
	body, err = e.CheckOrderRequest(ctx, orderURL, w.nonce)
	order, err := e.CheckOrderResponse(ctx, w.post(orderURL, body, err).Body)
	must1(w.t, order, err)
	body, err = e.FinalizeRequest(ctx, w.nonce)
	certificate, err := e.FinalizeResponse(ctx, w.post(order.Finalize, body, err).Body)
	must1(w.t, certificate, err)
	body, err = e.CertificateRequest(ctx, w.nonce)
	return string(w.post(certificate, body, err).Body)
}

var aliceEnrols = conclave.EnrollmentOptions{DisplayName: "Alice Smith", Handle: "alice_wire"}

// TestEnrollmentSteps walks through the steps of the seeds, to a client's first credential.
func TestEnrollmentSteps(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	chain := w.toChain(w.toToken())
	transport := always{make(chan []byte, 1)}
	saved, err := c.MLSInitOnly(t.Context(), e, chain, transport)
	if err != nil {
		t.Fatal(err)
	}
	if found := certified(t, c); len(found) != 1 || found[0].Ref != saved.Credential.Ref {
		t.Errorf("credentials %v", found)
	}
	_, err = e.CertificateRequest(t.Context(), w.o.NewNonce())
	wantCode(t, err, conclave.CodeEnrollmentNotFound)
	_, err = c.InstallCertificate(t.Context(), e, chain)
	wantCode(t, err, conclave.CodeEnrollmentNotFound)
	if err := e.Discard(t.Context()); err != nil {
		t.Error(err)
	}
	// The client can commit: it has the transport.
	if err := c.CreateConversation(t.Context(), "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateKeyMaterial(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	// A client has one first credential.
	e, err = c.NewEnrollment(t.Context(), aliceEnrols)
	w = &walk{t: t, o: o, e: must1(t, e, err)}
	chain = w.toChain(w.toToken())
	_, err = c.MLSInitOnly(t.Context(), e, chain, transport)
	wantCode(t, err, conclave.CodeClientAlreadyExists)
	if _, err = c.InstallCertificate(t.Context(), e, chain); err != nil {
		t.Errorf("after a refused first credential: %v", err)
	}
}

// TestEnrollmentOutOfOrder takes steps that are not due, which changes nothing.
func TestEnrollmentOutOfOrder(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	must1(t, e, err)
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"account":     func() error { _, err := e.NewAccountRequest(ctx, "bm9uY2U"); return err },
		"order":       func() error { _, err := e.NewOrderRequest(ctx, "bm9uY2U"); return err },
		"authz":       func() error { _, err := e.NewAuthzRequest(ctx, o.Directory(), "bm9uY2U"); return err },
		"DPoP":        func() error { _, err := e.CreateDPoPToken(ctx, time.Minute, "bm9uY2U"); return err },
		"challenge":   func() error { return e.NewDPoPChallengeResponse(ctx, []byte("{}")) },
		"OIDC":        func() error { return e.NewOIDCChallengeResponse(ctx, []byte("{}")) },
		"check":       func() error { _, err := e.CheckOrderResponse(ctx, []byte("{}")); return err },
		"finalize":    func() error { _, err := e.FinalizeRequest(ctx, "bm9uY2U"); return err },
		"certificate": func() error { _, err := e.CertificateRequest(ctx, "bm9uY2U"); return err },
		"install":     func() error { _, err := c.InstallCertificate(ctx, e, "chain"); return err },
	} {
		if err := call(); !conclaveIs(err, conclave.CodeOutOfOrderEnrollment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := &walk{t: t, o: o, e: e}
	w.toToken()
}

// TestPitfallE8StashIsTakenOnce stashes an enrolment while the user signs in, and takes it back after a restart.
func TestPitfallE8StashIsTakenOnce(t *testing.T) {
	o, fs := newOffice(t), crashfs.New()
	open := func() *conclave.Engine {
		e, err := conclave.OpenOn(t.Context(), fs, crashDir, crashOptions())
		return must1(t, e, err)
	}
	engine := open()
	c := o.client(engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	auth, order := w.toToken()

	refused := errors.New("the application changes its mind")
	var handle []byte
	stash := func(result error) error {
		return c.Transaction(t.Context(), func(tx *conclave.Tx) (err error) {
			if handle, err = tx.StashEnrollment(t.Context(), e); err != nil {
				return err
			}
			_, err = tx.StashEnrollment(t.Context(), e)
			wantCode(t, err, conclave.CodeEnrollmentNotFound)
			return result
		})
	}
	if err := stash(refused); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	_, err = c.PopEnrollment(t.Context(), handle)
	wantCode(t, err, conclave.CodeEnrollmentNotFound)
	if err := stash(nil); err != nil {
		t.Fatal(err)
	}
	if len(handle) != 32 {
		t.Errorf("a handle of %d bytes", len(handle))
	}
	wantCode(t, e.NewOIDCChallengeResponse(t.Context(), nil), conclave.CodeEnrollmentNotFound)
	engine.Kill()

	engine = open()
	defer func() { _ = engine.Close() }()
	c = o.client(engine, conclave.ClientOptions{NoCredential: true})
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		e, err := tx.PopEnrollment(t.Context(), handle)
		must1(t, e, err)
		_, err = tx.PopEnrollment(t.Context(), handle)
		wantCode(t, err, conclave.CodeEnrollmentNotFound)
		w.e = e
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	wantCode(t, w.e.NewOIDCChallengeResponse(t.Context(), nil), conclave.CodeEnrollmentNotFound)
	w.e, err = c.PopEnrollment(t.Context(), handle)
	if err != nil {
		t.Fatal(err)
	}
	for _, handle := range [][]byte{handle, nil, make([]byte, 32)} {
		_, err = c.PopEnrollment(t.Context(), handle)
		wantCode(t, err, conclave.CodeEnrollmentNotFound)
	}
	chain := w.toChain(auth, order)
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.InstallCertificate(t.Context(), w.e, chain)
		must1(t, chain, err)
		return refused
	})
	if found := certified(t, c); !errors.Is(err, refused) || len(found) != 0 {
		t.Fatalf("after an abort: %v, %v", err, found)
	}
	if _, err := c.InstallCertificate(t.Context(), w.e, chain); err != nil {
		t.Fatal(err)
	}
	if found := certified(t, c); len(found) != 1 {
		t.Errorf("credentials %v", found)
	}
}

// TestActivationEnrollment keeps the key of the Basic credential, and TestRotateEnrollment that of the certificate.
func TestActivationEnrollment(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{})
	basic, err := c.PublicKey(t.Context(), 1)
	must1(t, basic, err)
	e, err := c.NewActivationEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	saved, err := c.InstallCertificate(t.Context(), e, w.toChain(w.toToken()))
	if must1(t, saved, err); string(saved.Credential.SignatureKey) != string(basic) {
		t.Error("activation has another key")
	}
	_, err = c.NewActivationEnrollment(t.Context(), conclave.EnrollmentOptions{CipherSuite: 2, DisplayName: "Alice Smith", Handle: "alice_wire"})
	wantCode(t, err, conclave.CodeMissingExistingClient)
}

// TestRotateEnrollment takes names and key of the certificate.
func TestRotateEnrollment(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	first, err := c.Enroll(t.Context(), o.options(), o.hooks())
	must1(t, first, err)
	e, err := c.NewRotateEnrollment(t.Context(), conclave.EnrollmentOptions{})
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	second, err := c.InstallCertificate(t.Context(), e, w.toChain(w.toToken()))
	if must1(t, second, err); second.Credential.Ref != first.Credential.Ref {
		t.Error("rotation has another key")
	}
	if s := o.Stats(); s.Accounts != 2 {
		t.Errorf("%d account keys for two enrolments", s.Accounts)
	}
}

// TestEnrollmentCertificate refuses chains that are not the enrolment's, which stays as it is.
func TestEnrollmentCertificate(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	chain := w.toChain(w.toToken())
	other, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w = &walk{t: t, o: o, e: must1(t, other, err)}
	foreign := w.toChain(w.toToken())
	_, err = c.InstallCertificate(t.Context(), e, foreign)
	wantCode(t, err, conclave.CodeCertificateMismatch)
	_, err = c.InstallCertificate(t.Context(), e, "no PEM")
	wantCode(t, err, conclave.CodeEnrollment)
	elsewhere := &office{World: acmetest.New(time.Now), t: t}
	w = &walk{t: t, o: elsewhere}
	w.e, err = c.NewEnrollment(t.Context(), aliceEnrols)
	must1(t, w.e, err)
	_, err = c.InstallCertificate(t.Context(), w.e, w.toChain(w.toToken()))
	wantCode(t, err, conclave.CodeEnrollment) // of an authority that nobody trusts
	if _, err = c.InstallCertificate(context.WithoutCancel(t.Context()), e, chain); err != nil {
		t.Error(err)
	}
}
