package actors

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// TestStepBehindTheAbort lets a step of a transaction come to a conversation that has
// already been told of its abort: it keeps the guard from nobody.
func TestStepBehindTheAbort(t *testing.T) {
	l := new(latch)
	told := make(chan struct{}, 2)
	w, alice, _ := pair(t, func(o *Options) {
		o.host = func() host {
			return &sendHost{newProtoHost(), func(_ messages.ConversationID, sent letter) {
				switch sent := sent.(type) {
				case *task:
					if _, ok := sent.request.(messages.EncryptMessage); ok && sent.tx != nil {
						l.pass()
					}
				case abort:
					told <- struct{}{}
				}
			}}
		}
	})
	tx := alice.begin()
	ask[messages.Touched](t, w.sys, alice.in("", tx), messages.Touch{Conversations: []messages.ConversationID{conv}})
	l.arm()
	step, aborted := make(chan error, 1), make(chan error, 1)
	go func() { step <- alice.try(alice.in(conv, tx), messages.EncryptMessage{Plaintext: []byte("late")}) }()
	<-l.reached
	go func() { aborted <- alice.try(alice.in("", tx), messages.Abort{}) }()
	<-told
	for alice.row(conv).refs.Load() > 1 { // the transaction's
		runtime.Gosched()
	}
	close(l.open)
	<-step
	if err := <-aborted; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := w.sys.Ask(ctx, alice.at(conv), messages.EncryptMessage{Plaintext: []byte("after")}); err != nil {
		t.Errorf("after the abort: %v", err)
	}
}

// TestFinishBetween asks for the end of a transaction while the first of two actors stages
// its part of a certificate chain: both parts are there, or none is.
func TestFinishBetween(t *testing.T) {
	const name = "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example"
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.host = func() host {
			return eavesdropper{newProtoHost(), func(sent letter) {
				if sent, ok := sent.(*task); ok {
					if _, ok := sent.request.(registerChain); ok {
						l.pass()
					}
				}
			}}
		}
	})
	alice := w.peer(name)
	authority := pkitest.New(t, 1, "wire.example", time.Now())
	ask[messages.TrustAnchorRegistered](t, w.sys, alice.at(""), messages.RegisterTrustAnchor{Certificate: authority.Root})
	basic := ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials[0]
	issued := authority.IssueFor(t, pkitest.Leaf{ClientID: name}, basic.SignatureKey, time.Now())
	id := alice.begin()
	tx, _ := w.sys.transactions.load(id)
	l.arm()
	saved, finished := make(chan error, 1), make(chan error, 1)
	go func() {
		saved <- alice.try(alice.in("", id), messages.SaveX509Credential{CipherSuite: 1, Chain: issued.Chain})
	}()
	<-l.reached
	go func() { finished <- alice.try(alice.in("", id), messages.Finish{}) }()
	for tx.steps.Load()&stepsClosed == 0 {
		runtime.Gosched()
	}
	close(l.open)
	if err := <-saved; err != nil {
		t.Error(err)
	}
	if err := <-finished; err != nil {
		t.Error(err)
	}
	x509 := 0
	for _, c := range ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials {
		if c.Credential.Type == mlsgroup.CredentialTypeX509 {
			x509++
		}
	}
	if n := len(ask[messages.PKIRead](t, w.sys, alice.at(""), messages.ReadPKI{}).Intermediates); n != 1 || x509 != 1 {
		t.Errorf("%d intermediates and %d certificates, want 1 of each", n, x509)
	}
}
