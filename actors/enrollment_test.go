package actors

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
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
				ask[messages.EnrollmentBegun](t, w.sys, alice.in("", tx), messages.PopEnrollment{Handle: stashed.Handle})
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
	pop := messages.PopEnrollment{Handle: stashed.Handle}
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
	pop := messages.PopEnrollment{Handle: stashed.Handle}
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
