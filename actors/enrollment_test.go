package actors

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// enrolled is a client whose id is of the form of Wire's.
const enrolled = "95fe7b1c-cfca-4ea5-9f0c-9e2b6f9f3a3d:123456@wire.example"

func (p *peer) beginEnrollment() messages.EnrollmentID {
	p.t.Helper()
	return ask[messages.EnrollmentBegun](p.t, p.sys, p.at(""), messages.BeginEnrollment{DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour}).Enrollment
}

// enrollmentRows counts the rows of enrolments in the routing table.
func (w *world) enrollmentRows() int {
	n := 0
	for _, e := range w.sys.conversations.all() {
		if e.key.kind == entryEnrollment {
			n++
		}
	}
	return n
}

// eavesdropper is a host that shows each letter before it is delivered.
type eavesdropper struct {
	host
	show func(letter)
}

type overheard struct {
	ref
	show func(letter)
}

func (h eavesdropper) spawn(r receiver) ref { return &overheard{h.host.spawn(r), h.show} }

func (o *overheard) send(l letter) {
	o.show(l)
	o.ref.send(l)
}

// TestEnrollmentLeavesTheTableBeforeItsEndIsKnown: Close asks each actor in the table
// for an answer once all calls are over, and an enrolment that stops gives none.
func TestEnrollmentLeavesTheTableBeforeItsEndIsKnown(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			const n = 50
			var sys atomic.Pointer[System]
			var left, heard atomic.Int64
			w := newWorld(t, func(o *Options) {
				o.host = func() host {
					return eavesdropper{h(), func(l letter) {
						end, ok := l.(settled)
						if !ok || sys.Load() == nil {
							return
						}
						for _, e := range sys.Load().conversations.all() {
							if e.actor == end.participant {
								left.Add(1)
							}
						}
						heard.Add(1)
					}}
				}
			})
			alice := w.peer(enrolled)
			sys.Store(w.sys)
			for range n {
				stashed := ask[messages.EnrollmentStashed](t, w.sys, alice.at(""), messages.StashEnrollment{Enrollment: alice.beginEnrollment()})
				tx := alice.begin()
				ask[messages.EnrollmentBegun](t, w.sys, alice.in("", tx), messages.PopEnrollment(stashed))
				alice.abort(tx)
			}
			if heard.Load() < 2*n {
				t.Errorf("%d ends were heard of %d", heard.Load(), 2*n)
			}
			if left.Load() > 0 || w.enrollmentRows() > 0 {
				t.Errorf("%d enrolments were in the table when their end was known, %d are now", left.Load(), w.enrollmentRows())
			}
		})
	}
}

// TestRefusedPopKeepsTheStash: what a transaction could not take into memory it does
// not take out of the store, though it goes on.
func TestRefusedPopKeepsTheStash(t *testing.T) {
	w := newWorld(t)
	alice := w.peer(enrolled)
	stashed := ask[messages.EnrollmentStashed](t, w.sys, alice.at(""), messages.StashEnrollment{Enrollment: alice.beginEnrollment()})
	pop := messages.PopEnrollment(stashed)
	tx := alice.begin()
	w.sys.enrollments.Add(maxEnrollments)
	wantError(t, alice.try(alice.in("", tx), pop), messages.ErrBusy)
	w.sys.enrollments.Add(-maxEnrollments)
	alice.finish(tx)
	if err := alice.try(alice.at(""), pop); err != nil {
		t.Error(err)
	}
}

// TestEndEnrollmentThatATransactionHasPopped ends it, and leaves its stash to the
// transaction.
func TestEndEnrollmentThatATransactionHasPopped(t *testing.T) {
	w := newWorld(t)
	alice := w.peer(enrolled)
	stashed := ask[messages.EnrollmentStashed](t, w.sys, alice.at(""), messages.StashEnrollment{Enrollment: alice.beginEnrollment()})
	pop := messages.PopEnrollment(stashed)
	for _, commit := range []bool{false, true} {
		tx := alice.begin()
		popped := ask[messages.EnrollmentBegun](t, w.sys, alice.in("", tx), pop)
		ask[messages.EnrollmentEnded](t, w.sys, alice.at(""), messages.EndEnrollment{Enrollment: popped.Enrollment})
		wantError(t, alice.try(alice.in("", tx), messages.StashEnrollment{Enrollment: popped.Enrollment}), messages.ErrEnrollmentNotFound)
		if commit {
			alice.finish(tx)
		} else {
			alice.abort(tx)
		}
		if n, counted := w.enrollmentRows(), w.sys.enrollments.Load(); n > 0 || counted > 0 {
			t.Errorf("%d rows and %d enrolments are left", n, counted)
		}
	}
	wantError(t, alice.try(alice.at(""), pop), messages.ErrEnrollmentNotFound)
}

// interruptedReader calls between once, after it has read a key and before it answers.
type interruptedReader struct {
	store.Reader
	key     []byte
	between func()
}

func (r *interruptedReader) GetMany(keys ...[]byte) ([][]byte, error) {
	values, err := r.Reader.GetMany(keys...)
	if f := r.between; f != nil && len(keys) == 1 && bytes.Equal(keys[0], r.key) {
		r.between = nil
		f()
	}
	return values, err
}

// TestEnrollmentJournalReadTooEarly: between an enrolment's look into the journal and
// its begin another begins and stops. There is one account key nevertheless.
func TestEnrollmentJournalReadTooEarly(t *testing.T) {
	reader := new(interruptedReader)
	w := newWorld(t, func(o *Options) { reader.Reader, o.read = o.Store, reader })
	alice := w.peer(enrolled)
	c, _ := w.sys.clients.load(alice.instance)
	id, err := journalID(1)
	if err != nil {
		t.Fatal(err)
	}
	at := place{client: c}
	open := func() (messages.EnrollmentBegun, error) {
		reply, err := w.sys.beginJournal(t.Context(), at, messages.BeginEnrollment{
			CipherSuite: 1, DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour, Directory: "https://ca.test/directory", Journal: true,
		})
		if err != nil {
			return messages.EnrollmentBegun{}, err
		}
		return reply.(messages.EnrollmentBegun), nil
	}
	var other messages.EnrollmentBegun
	reader.key = c.journalKey(id)
	reader.between = func() {
		if other, err = open(); err != nil {
			t.Error(err)
		}
		ask[messages.EnrollmentEnded](t, w.sys, alice.at(""), messages.EndEnrollment{Enrollment: other.Enrollment})
	}
	begun, err := open()
	if err != nil || other.Resumed || !begun.Resumed {
		t.Errorf("the first is resumed: %v, the second: %v, %v", other.Resumed, begun.Resumed, err)
	}
}

// cancelling is a source of randomness that ends a context when it is read.
type cancelling struct {
	cancel atomic.Pointer[context.CancelFunc]
}

func (c *cancelling) Read(p []byte) (int, error) {
	if cancel := c.cancel.Load(); cancel != nil {
		(*cancel)()
	}
	return rand.Read(p)
}

// TestEnrollmentThatWasNeverOpenedLeavesNoRow: the caller gives up while the keys are
// computed.
func TestEnrollmentThatWasNeverOpenedLeavesNoRow(t *testing.T) {
	r := new(cancelling)
	w := newWorld(t, func(o *Options) { o.Rand = r })
	alice := w.peer(enrolled)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.cancel.Store(&cancel)
	_, err := w.sys.Ask(ctx, alice.at(""), messages.BeginEnrollment{DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour})
	wantError(t, err, context.Canceled)
	if n := w.enrollmentRows(); n > 0 {
		t.Errorf("%d rows are left", n)
	}
}
