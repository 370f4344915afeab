package conclave_test

import (
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
)

// gatekeeper is a transport that keeps a commit until it is let go, and so a call in the engine.
type gatekeeper struct{ entered, leave chan struct{} }

func (g gatekeeper) SendCommitBundle(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	g.entered <- struct{}{}
	<-g.leave
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// TestEnrollBusy has another call fill the engine when the user signs in. One attempt does not get through, and leaves an enrolment that can be resumed; of more
// the second does, with the token that there is.
func TestEnrollBusy(t *testing.T) {
	const pause = 7 * time.Millisecond
	ctx, o, g := t.Context(), newOffice(t), gatekeeper{make(chan struct{}), make(chan struct{})}
	over := make(chan error, 1)
	empty := func() {
		g.leave <- struct{}{}
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	wait := func() {}
	settings := conclave.Options{InMemory: true, MaxCalls: 1, RetryPause: pause, SendTimeout: time.Hour}
	conclave.SetAfterFunc(&settings, func(d time.Duration, f func()) func() bool {
		if d == pause {
			wait()
			f()
		}
		return func() bool { return true }
	})
	e, err := conclave.Open(ctx, "", settings)
	must1(t, e, err)
	defer func() { _ = e.Close() }()
	c := o.client(e, conclave.ClientOptions{NoCredential: true})
	bob, err := e.Client(ctx, "bob", conclave.ClientOptions{Transport: g})
	must1(t, bob, err)
	if err := bob.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	h, asked := o.hooks(), 0
	signIn := h.Authenticate
	h.Authenticate = func(ctx context.Context, a enrollment.Authentication) (string, error) {
		asked++
		go func() {
			_, err := bob.UpdateKeyMaterial(context.WithoutCancel(ctx), "room")
			over <- err
		}()
		<-g.entered
		return signIn(ctx, a)
	}
	options := o.options()
	options.Attempts = 1
	_, err = c.Enroll(ctx, options, h)
	wantCode(t, err, conclave.CodeBusy)
	empty()

	wait, asked = empty, 0
	if _, err := c.Enroll(ctx, o.options(), h); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); s.Accounts != 1 || s.Orders != 1 || asked != 1 {
		t.Errorf("the user was asked %d times, the server saw %+v", asked, s)
	}
}
