package actors

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// witnessed is the memory of an enrolment's keys that went by: in letters, and in what
// was written.
type witnessed struct {
	mu      sync.Mutex
	opened  []*enrollment.Enrollment
	stashed []secret.Bytes
	written [][]byte
}

func (s *witnessed) show(l letter) {
	t, ok := l.(*task)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r := t.request.(type) {
	case openEnrollment:
		s.opened = append(s.opened, r.enrollment)
	case putEnrollment:
		s.stashed = append(s.stashed, r.state)
	}
}

func (s *witnessed) last() *enrollment.Enrollment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[len(s.opened)-1]
}

// enrollmentWorld is a world with a client who can enrol.
func enrollmentWorld(t *testing.T) (*witnessed, *peer, func() messages.EnrollmentID) {
	t.Helper()
	seen := new(witnessed)
	w := newWorld(t, func(o *Options) {
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			seen.mu.Lock()
			for _, set := range sets {
				for op := range set.All() {
					if op.Kind == store.OpPut {
						seen.written = append(seen.written, op.Value)
					}
				}
			}
			seen.mu.Unlock()
			return s.Apply(sets...)
		}
		o.host = func() host { return eavesdropper{newProtoHost(), seen.show} }
	})
	alice := w.peer(enrolled)
	seen.written = nil
	c, _ := w.sys.clients.load(alice.instance)
	return seen, alice, func() messages.EnrollmentID {
		t.Helper()
		reply, err := w.sys.beginJournal(t.Context(), place{client: c}, messages.BeginEnrollment{
			CipherSuite: 1, DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour, Directory: "https://ca.test/directory", Journal: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return reply.(messages.EnrollmentBegun).Enrollment
	}
}

// TestEnrollmentKeysAreWiped looks at memory that held the keys of enrolments, after each
// way for them to end.
func TestEnrollmentKeysAreWiped(t *testing.T) {
	seen, alice, journalled := enrollmentWorld(t)
	w := alice.world
	over := func(what string, e *enrollment.Enrollment) {
		t.Helper()
		if e.Step() != enrollment.StepFinished {
			t.Errorf("%s: the enrolment is at %v, and holds its keys", what, e.Step())
		}
	}
	gone := func(what string, all ...[]byte) {
		t.Helper()
		if len(all) == 0 {
			t.Errorf("%s: nothing was seen", what)
		}
		for _, b := range all {
			if len(b) == 0 || wiped([][]byte{b}) != 1 {
				t.Errorf("%s: the keys are still in memory", what)
			}
		}
	}
	kept := func(id messages.EnrollmentID) secret.Bytes {
		t.Helper()
		c, _ := w.sys.clients.load(alice.instance)
		e := w.sys.find(enrollmentKey(c, id))
		defer w.sys.letGo(e)
		return e.actor.(*overheard).ref.(*protoRef).receiver.(*enrollmentActor).kept
	}
	advance := func(id messages.EnrollmentID) {
		t.Helper()
		ask[messages.EnrollmentStepped](t, w.sys, alice.at(""), messages.StepEnrollment{
			Enrollment: id, Run: func(e *enrollment.Enrollment, now time.Time, _ io.Reader) error { _, err := e.Request(now); return err },
		})
	}

	id := journalled()
	first := kept(id)
	advance(id)
	gone("what the journal held before", first)
	second := kept(id)
	if bytes.Equal(second, make([]byte, len(second))) {
		t.Fatal("what the journal holds is not there")
	}
	gone("what was written to the journal", seen.written...)
	ask[messages.EnrollmentEnded](t, w.sys, alice.at(""), messages.EndEnrollment{Enrollment: id})
	over("ended", seen.last())
	gone("what the journal held", second)

	plain := alice.beginEnrollment()
	stashed := ask[messages.EnrollmentStashed](t, w.sys, alice.at(""), messages.StashEnrollment{Enrollment: plain})
	over("stashed", seen.last())
	gone("what was stashed", seen.stashed[0])

	w.sys.enrollments.Add(maxEnrollments)
	wantError(t, alice.try(alice.at(""), messages.PopEnrollment(stashed)), messages.ErrBusy)
	over("popped, and refused", seen.last())
	begin := messages.BeginEnrollment{DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour}
	wantError(t, alice.try(alice.at(""), begin), messages.ErrBusy)
	over("begun, and refused", seen.last())
	w.sys.enrollments.Add(-maxEnrollments)

	id = journalled()
	last, state := seen.last(), kept(id)
	w.stop()
	over("closed", last)
	gone("what the journal held at the end", state)
}

// TestEnrollmentJournalGoesFirst: the journal is deleted before another enrolment can
// begin. Otherwise that one could go on from a journal that is about to go, and have
// none.
func TestEnrollmentJournalGoesFirst(t *testing.T) {
	var key []byte
	var rows func()
	deleted := 0
	w := newWorld(t, func(o *Options) {
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			for _, set := range sets {
				for op := range set.All() {
					if op.Kind == store.OpDelete && key != nil && bytes.Equal(op.Key, key) {
						deleted++
						rows()
					}
				}
			}
			return s.Apply(sets...)
		}
	})
	alice := w.peer(enrolled)
	c, _ := w.sys.clients.load(alice.instance)
	reply, err := w.sys.beginJournal(t.Context(), place{client: c}, messages.BeginEnrollment{
		CipherSuite: 1, DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour, Directory: "https://ca.test/directory", Journal: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := reply.(messages.EnrollmentBegun).Enrollment
	key = c.journalKey(id)
	rows = func() {
		e, ok := w.sys.conversations.load(enrollmentKey(c, id))
		if !ok || e.over.Load() || w.sys.enrollments.Load() != 1 {
			t.Error("the enrolment is over, and its journal is not")
		}
	}
	ask[messages.EnrollmentEnded](t, w.sys, alice.at(""), messages.EndEnrollment{Enrollment: id, Forget: true})
	if deleted != 1 {
		t.Errorf("the journal was deleted %d times", deleted)
	}
}
