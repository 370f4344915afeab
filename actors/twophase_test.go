package actors

import (
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/store"
)

// dot is a participant of tests: a ref that swallows letters.
type dot struct{ _ byte }

func (*dot) send(letter)           {}
func (*dot) busy() bool            { return false }
func (*dot) stop() <-chan struct{} { return nil }

func TestTwoPhase(t *testing.T) {
	no := errors.New("no")
	a, b, late := ref(new(dot)), ref(&dot{1}), ref(&dot{2})
	type event func(m *twoPhase) order
	enlist := func(r ref) event { return func(m *twoPhase) order { return m.enlist(r) } }
	finish := func(m *twoPhase) order { return m.finish() }
	yes := func(r ref) event {
		return func(m *twoPhase) order { return m.vote(r, new(store.ChangeSet), nil) }
	}
	refuse := func(r ref) event { return func(m *twoPhase) order { return m.vote(r, nil, no) } }
	applied := func(m *twoPhase) order { return m.applied(nil, false) }
	unapplied := func(m *twoPhase) order { return m.applied(no, false) }
	unknown := func(m *twoPhase) order { return m.applied(no, true) }
	abort := func(m *twoPhase) order { return m.abort(no) }
	done := func(r ref) event { return func(m *twoPhase) order { return m.settled(r) } }

	type step struct {
		do    event
		want  order
		phase phase
	}
	for _, tc := range []struct {
		name   string
		steps  []step
		caused bool // the machine names a cause at the end
	}{
		{"nobody took part", []step{{finish, orderEnd, phaseEnded}}, false},
		{"one votes yes", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
			{yes(a), orderApply, phaseApplying}, {applied, orderSettle, phaseSettling}, {done(a), orderEnd, phaseEnded},
		}, false},
		{"two vote yes", []step{
			{enlist(a), orderNone, phaseOpen}, {enlist(b), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
			{yes(b), orderNone, phasePreparing}, {yes(a), orderApply, phaseApplying}, {applied, orderSettle, phaseSettling},
			{done(a), orderNone, phaseSettling}, {done(b), orderEnd, phaseEnded},
		}, false},
		{"enlisting twice counts once", []step{
			{enlist(a), orderNone, phaseOpen}, {enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
			{yes(a), orderApply, phaseApplying}, {applied, orderSettle, phaseSettling}, {done(a), orderEnd, phaseEnded},
		}, false},
		{"a vote counts once", []step{
			{enlist(a), orderNone, phaseOpen}, {enlist(b), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
			{yes(a), orderNone, phasePreparing}, {yes(a), orderNone, phasePreparing}, {yes(b), orderApply, phaseApplying},
		}, false},
		{"a vote of a stranger", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {yes(b), orderNone, phasePreparing},
		}, false},
		{"a vote before it was asked", []step{
			{enlist(a), orderNone, phaseOpen}, {yes(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
		}, false},
		{"one votes no", []step{
			{enlist(a), orderNone, phaseOpen}, {enlist(b), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing},
			{refuse(b), orderAbort, phaseAborting}, {yes(a), orderNone, phaseAborting},
			{done(a), orderNone, phaseAborting}, {done(b), orderEnd, phaseEnded},
		}, true},
		{"abort while open", []step{
			{enlist(a), orderNone, phaseOpen}, {abort, orderAbort, phaseAborting}, {finish, orderNone, phaseAborting},
			{done(a), orderEnd, phaseEnded},
		}, true},
		{"abort without participants", []step{{abort, orderEnd, phaseEnded}}, true},
		{"abort while preparing", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {abort, orderAbort, phaseAborting},
			{done(a), orderEnd, phaseEnded},
		}, true},
		{"abort comes too late once applying", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {yes(a), orderApply, phaseApplying},
			{abort, orderNone, phaseApplying}, {applied, orderSettle, phaseSettling}, {abort, orderNone, phaseSettling},
			{done(a), orderEnd, phaseEnded}, {abort, orderNone, phaseEnded},
		}, false},
		{"the store refuses", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {yes(a), orderApply, phaseApplying},
			{unapplied, orderAbort, phaseAborting}, {done(a), orderEnd, phaseEnded},
		}, true},
		{"the outcome is unknown: nobody is told", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {yes(a), orderApply, phaseApplying},
			{unknown, orderEnd, phaseEnded}, {done(a), orderNone, phaseEnded},
		}, true},
		{"a participant comes after the abort", []step{
			{enlist(a), orderNone, phaseOpen}, {abort, orderAbort, phaseAborting}, {enlist(late), orderAbort, phaseAborting},
			{done(a), orderNone, phaseAborting}, {done(late), orderEnd, phaseEnded},
		}, true},
		{"a participant comes after the end", []step{
			{abort, orderEnd, phaseEnded}, {enlist(late), orderAbort, phaseAborting}, {done(late), orderEnd, phaseEnded},
		}, true},
		{"finish twice", []step{
			{enlist(a), orderNone, phaseOpen}, {finish, orderPrepare, phasePreparing}, {finish, orderNone, phasePreparing},
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(twoPhase)
			for i, s := range tc.steps {
				if got := s.do(m); got != s.want || m.phase != s.phase {
					t.Fatalf("step %d: order %d in phase %v, want %d in %v", i, got, m.phase, s.want, s.phase)
				}
			}
			if (m.cause != nil) != tc.caused {
				t.Errorf("cause %v, want one: %v", m.cause, tc.caused)
			}
		})
	}
}

// TestTwoPhaseVotesKeepTheirOrder checks that the one batch holds the votes in the
// order of enlisting, whatever the order of voting.
func TestTwoPhaseVotesKeepTheirOrder(t *testing.T) {
	m := new(twoPhase)
	refs := []ref{new(dot), &dot{1}, &dot{2}}
	sets := []*store.ChangeSet{new(store.ChangeSet), new(store.ChangeSet), new(store.ChangeSet)}
	for _, r := range refs {
		m.enlist(r)
	}
	m.finish()
	for _, i := range []int{2, 0, 1} {
		m.vote(refs[i], sets[i], nil)
	}
	for i, got := range m.changes() {
		if got != sets[i] {
			t.Errorf("vote %d is not that of participant %d", i, i)
		}
	}
}
