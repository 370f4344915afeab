package actors

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := w.sys.Ask(ctx, alice.at(conv), messages.EncryptMessage{Plaintext: []byte("after")}); err != nil {
		t.Errorf("after the abort: %v", err)
	}
}
