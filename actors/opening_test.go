package actors

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// TestShares: what is opened together is the part of one processor of all that waits or is
// being opened.
func TestShares(t *testing.T) {
	for _, c := range []struct{ most, waiting, taken, want int }{
		{1, 64, 0, 64},
		{1, 100, 0, maxShare},
		{2, 64, 0, 32},
		{2, 32, 32, 32},
		{2, 20, 40, 20},
		{2, 30, 10, 20},
		{2, 6, 0, 6},
		{2, 10, 0, minShare},
		{4, 64, 0, 16},
		{16, 64, 0, minShare},
		{2, 400, 64, maxShare},
	} {
		o := newOpeners(nil, 0)
		run := &opened{waiting: c.waiting}
		o.most, o.taken = c.most, c.taken
		for i := range c.waiting {
			o.waiting = append(o.waiting, opening{run: run, at: i})
		}
		share := o.take()
		if len(share) != c.want || share[0].at != 0 || o.taken != c.taken+c.want || len(o.waiting) != c.waiting-c.want || run.waiting != len(o.waiting) {
			t.Errorf("%+v: took %d from %d, %d taken, %d left", c, len(share), share[0].at, o.taken, len(o.waiting))
		}
		o.close()
	}
}

// TestOpenersCount: once nobody opens anything, nothing is counted as being opened.
func TestOpenersCount(t *testing.T) {
	w, alice, bob := pair(t)
	var sealed [][]byte
	for i := range 3 * maxShare {
		sealed = append(sealed, alice.encrypt(alice.at(conv), fmt.Sprint(i)))
	}
	for i, m := range ask[messages.MessagesDecrypted](t, w.sys, bob.at(conv), messages.DecryptMessages{Messages: sealed}).Messages {
		if m.Err != nil || string(m.Message.Plaintext) != fmt.Sprint(i) {
			t.Fatalf("message %d: %+v", i, m)
		}
	}
	o := w.sys.openers
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.working > 0 { // a worker may be about to look for more
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	if o.taken != 0 || len(o.waiting) != 0 {
		t.Errorf("%d messages are counted as being opened, %d wait", o.taken, len(o.waiting))
	}
}

// TestPanicWhileOpening: a message is not called invalid because opening it panics, and so
// it is not lost: nothing was done, and it may come again.
func TestPanicWhileOpening(t *testing.T) {
	o := newOpeners(zap.NewNop(), 0)
	defer o.close()
	for name, open := range map[string]func([]*mlsgroup.MessageKey) ([]*mlsgroup.Received, []error){"together": o.open, "apart": o.openApart} {
		_, errs := open([]*mlsgroup.MessageKey{new(mlsgroup.MessageKey), new(mlsgroup.MessageKey)})
		for _, err := range errs {
			_, err = new(conversation).refused(nil, nil, err, true)
			if !errors.Is(err, messages.ErrInternal) || errors.Is(err, messages.ErrInvalidMessage) {
				t.Errorf("%s: answered %v", name, err)
			}
		}
	}
}
