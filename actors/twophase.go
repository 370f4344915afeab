package actors

import (
	"slices"

	"github.com/conclave-mls/conclave/store"
)

// twoPhase is the decision of one transaction, and nothing else: votes go in, orders
// come out. The transaction actor carries them out.
//
//	open ──finish──▶ preparing ──all yes──▶ applying ──applied──▶ settling ──all settled──▶ ended
//	  │                  │                      │
//	  │               no, error,                ├──refused by the store──▶ aborting
//	  └──abort──────▶ cancelled ──▶ aborting    └──outcome unknown──▶ ended
//	                                   └──all settled──▶ ended
//
// There is no prepared state on disk. The one store.Apply of all votes is the
// decision record, so what a crash leaves is decided by it alone:
//
//	crash in open, preparing      nothing of the transaction is on disk: it did not happen
//	crash in applying             the batch is on disk wholly, it happened; or not at all,
//	                              it did not. Nobody has been told either
//	crash in settling             it happened. Participants that were not told read their
//	                              records when they load
//	crash in aborting             it did not happen
//
// Commits that have left on their way are not the transaction's to take back: their
// participants have written what stands before they sent them, see inflight.go, and
// name it when they settle.
type twoPhase struct {
	phase        phase
	participants []participant
	outstanding  int   // votes or settlements to come
	cause        error // why it is aborted, or its outcome unknown
}

type participant struct {
	ref     ref
	asked   bool // an answer is to come
	changes *store.ChangeSet
}

type phase uint8

const (
	phaseOpen phase = iota
	phasePreparing
	phaseApplying
	phaseSettling
	phaseAborting
	phaseEnded
)

// String returns the phase's name.
func (p phase) String() string {
	return [...]string{"open", "preparing", "applying", "settling", "aborting", "ended"}[p]
}

// order is what the machine wants done next.
type order uint8

const (
	orderNone    order = iota
	orderPrepare       // ask every participant for its vote
	orderApply         // apply the changes of all votes, and say what came of it
	orderSettle        // tell every participant that it happened
	orderAbort         // tell every participant that it did not
	orderEnd           // answer whoever waits
)

// enlist adds a participant at its first touch. One that comes when the decision is
// over is told to abort at once: the step that touched it can no longer count. So is one
// that has aborted already and comes again, by a step that was behind.
func (t *twoPhase) enlist(r ref) order {
	i := t.index(r)
	again := i >= 0
	if again && (t.participants[i].asked || t.phase != phaseAborting && t.phase != phaseEnded) {
		return orderNone
	}
	if !again {
		i = len(t.participants)
		t.participants = append(t.participants, participant{ref: r})
	}
	if t.phase == phaseOpen {
		return orderNone
	}
	t.expect(i)
	if t.phase == phaseEnded {
		t.phase = phaseAborting
	}
	return orderAbort
}

func (t *twoPhase) finish() order {
	if t.phase != phaseOpen {
		return orderNone
	}
	t.phase = phasePreparing
	if len(t.participants) == 0 {
		return t.end()
	}
	t.expectAll()
	return orderPrepare
}

// vote takes a participant's vote: its changes, or why it cannot.
func (t *twoPhase) vote(r ref, changes *store.ChangeSet, err error) order {
	i := t.index(r)
	if t.phase != phasePreparing || i < 0 || !t.participants[i].asked {
		return orderNone
	}
	t.participants[i].asked = false
	t.outstanding--
	if err != nil {
		return t.abort(err)
	}
	t.participants[i].changes = changes
	if t.outstanding > 0 {
		return orderNone
	}
	t.phase = phaseApplying
	return orderApply
}

// changes returns the votes in the order in which the participants were enlisted.
func (t *twoPhase) changes() []*store.ChangeSet {
	sets := make([]*store.ChangeSet, len(t.participants))
	for i, p := range t.participants {
		sets[i] = p.changes
	}
	return sets
}

// applied takes the store's answer. unknown: the changes are on disk or not, and the
// store is dead; then nobody is told anything, and nothing is swapped or released.
// Who waits for one of the participants has been answered by System.fail.
func (t *twoPhase) applied(err error, unknown bool) order {
	switch {
	case t.phase != phaseApplying:
		return orderNone
	case err == nil:
		t.phase = phaseSettling
		t.expectAll()
		return orderSettle
	case unknown:
		t.cause = err
		return t.end()
	}
	t.phase = phasePreparing // the store did nothing: as a vote of no
	return t.abort(err)
}

// abort ends the transaction unless its decision has begun.
func (t *twoPhase) abort(cause error) order {
	if t.phase != phaseOpen && t.phase != phasePreparing {
		return orderNone
	}
	t.phase, t.cause = phaseAborting, cause
	if len(t.participants) == 0 {
		return t.end()
	}
	t.expectAll()
	return orderAbort
}

// settled takes a participant's word that it has done what it was told.
func (t *twoPhase) settled(r ref) order {
	i := t.index(r)
	if t.phase != phaseSettling && t.phase != phaseAborting || i < 0 || !t.participants[i].asked {
		return orderNone
	}
	t.participants[i].asked = false
	if t.outstanding--; t.outstanding > 0 {
		return orderNone
	}
	return t.end()
}

func (t *twoPhase) end() order {
	t.phase = phaseEnded
	return orderEnd
}

func (t *twoPhase) expect(i int) {
	t.participants[i].asked = true
	t.outstanding++
}

func (t *twoPhase) expectAll() {
	t.outstanding = 0
	for i := range t.participants {
		t.expect(i)
	}
}

func (t *twoPhase) index(r ref) int {
	return slices.IndexFunc(t.participants, func(p participant) bool { return p.ref == r })
}
