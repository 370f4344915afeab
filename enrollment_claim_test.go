package conclave_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
)

// TestRefusedInstallKeepsTheEnrollment: a transaction that goes on after a refused first credential does not end the enrolment.
func TestRefusedInstallKeepsTheEnrollment(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	chain := w.toChain(w.toToken())
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.MLSInitOnly(t.Context(), e, chain, always{make(chan []byte, 1)})
		wantCode(t, err, conclave.CodeClientAlreadyExists)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.MLSInitOnly(t.Context(), e, chain, always{make(chan []byte, 1)})
		wantCode(t, err, conclave.CodeClientAlreadyExists)
		_, err = tx.InstallCertificate(t.Context(), e, chain)
		return err
	})
	if found := certified(t, c); err != nil || len(found) != 1 {
		t.Errorf("after a refusal: %v, %d certificates", err, len(found))
	}
	_, err = c.InstallCertificate(t.Context(), e, chain)
	wantCode(t, err, conclave.CodeEnrollmentNotFound)
}

// TestAbortedFirstCredentialLeavesNoTransport: inside the transaction there is the transport, after an abort there is none.
func TestAbortedFirstCredentialLeavesNoTransport(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	chain := w.toChain(w.toToken())
	refused := errors.New("the application changes its mind")
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.MLSInitOnly(t.Context(), e, chain, always{make(chan []byte, 1)})
		must1(t, chain, err)
		if err := tx.CreateConversation(t.Context(), "inside", conclave.ConversationOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := tx.UpdateKeyMaterial(t.Context(), "inside"); err != nil {
			t.Errorf("in the transaction: %v", err)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if _, err := c.InstallCertificate(t.Context(), e, chain); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateConversation(t.Context(), "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = c.UpdateKeyMaterial(t.Context(), "room")
	wantCode(t, err, conclave.CodeTransportNotProvided)
}

// TestCorrectedChainIsTaken: a chain without its intermediate is refused, and a whole one taken after it.
func TestCorrectedChainIsTaken(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
	e, err := c.NewEnrollment(t.Context(), aliceEnrols)
	w := &walk{t: t, o: o, e: must1(t, e, err)}
	chain := w.toChain(w.toToken())
	leaf, _, _ := strings.Cut(chain, "-----END CERTIFICATE-----")
	_, err = c.InstallCertificate(t.Context(), e, leaf+"-----END CERTIFICATE-----\n")
	wantCode(t, err, conclave.CodeEnrollment)
	refused := errors.New("the application changes its mind")
	err = c.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.InstallCertificate(t.Context(), e, chain)
		return errors.Join(err, refused)
	})
	if !errors.Is(err, refused) || conclaveIs(err, conclave.CodeEnrollment) {
		t.Fatalf("the whole chain: %v", err)
	}
	if _, err = c.InstallCertificate(t.Context(), e, "no PEM"); err == nil {
		t.Error("a chain that is none was taken for the one before it")
	}
	if _, err = c.InstallCertificate(t.Context(), e, chain); err != nil {
		t.Errorf("the whole chain: %v", err)
	}
}
