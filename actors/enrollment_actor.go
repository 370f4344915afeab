package actors

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// enrollmentActor owns one enrolment: its machine with the keys and the nonce, and its
// journal if it has one. It is in memory from beginning to end, and nobody waits at it
// for a transaction: one that has taken it, to store its certificate or to stash it,
// hides it from all others until it is settled. So nobody who has seen that transaction
// elsewhere finds the enrolment as it was before.
type enrollmentActor struct {
	sys        *System
	client     *client
	entry      *entry
	enrollment *enrollment.Enrollment // nil: not begun, or over
	// tx has popped or claimed the enrolment and is not decided; nil: nobody.
	tx      *transaction
	popped  bool // by tx: its abort ends the enrolment
	claimed bool // by tx: its success ends the enrolment
	journal []byte
	purpose [32]byte
	kept    secret.Bytes // what the journal holds
}

// What the System asks of an enrolment.
type (
	// openEnrollment gives the actor its enrolment. As a step of a transaction it
	// comes into being with that. It answers stepDone.
	openEnrollment struct {
		messages.Step
		enrollment *enrollment.Enrollment
		journal    []byte // nil: none
		found      []byte // what the caller has read in the journal; nil: nothing
		purpose    [32]byte
		resumed    bool
	}
	// claimEnrollment ends the enrolment if the transaction succeeds. It answers
	// enrollmentClaimed.
	claimEnrollment struct {
		messages.Step
		issue bool   // the certificate is wanted, else the state
		chain string // of the certificate; empty: the enrolment has received it
	}
	enrollmentClaimed struct {
		messages.Step
		state   secret.Bytes
		issued  enrollment.Issued // its key is the receiver's
		journal []byte
	}
	// unclaimEnrollment takes a claim back: what was to take the enrolment's place has
	// not been staged, and the transaction may go on without it.
	unclaimEnrollment struct{ tx *transaction }
)

func (unclaimEnrollment) letter() {}

// errJournalChanged: the journal is not what the caller has read.
var errJournalChanged = errors.New("enrollment: the journal has changed")

func newEnrollmentActor(s *System, c *client, e *entry) *enrollmentActor {
	return &enrollmentActor{sys: s, client: c, entry: e}
}

func (a *enrollmentActor) receive(l letter) {
	err := safely(a.sys.log, "enrollment", func() error { a.handle(l); return nil })
	if t, ok := l.(*task); ok && err != nil {
		a.finish() // nobody knows what it holds; the journal does
		t.answer(nil, err)
	}
}

func (a *enrollmentActor) handle(l letter) {
	switch l := l.(type) {
	case *task:
		if !a.sys.turnAway(l) {
			l.answer(a.serve(l))
		}
	case prepare:
		l.tx.actor.send(vote{participant: a.entry.actor})
	case settle:
		a.settled(l.tx, a.claimed)
	case abort:
		a.settled(l.tx, a.popped)
	case unclaimEnrollment:
		if a.tx == l.tx {
			a.claimed = false
		}
	case closeActor:
		if l.closed != nil {
			close(l.closed)
		}
	}
}

func (a *enrollmentActor) stopped() {
	if a.enrollment != nil {
		a.enrollment.Wipe()
		a.kept.Wipe()
	}
}

func (a *enrollmentActor) serve(t *task) (messages.Reply, error) {
	if r, ok := t.request.(openEnrollment); ok {
		return a.open(t, r)
	}
	if a.enrollment == nil || a.claimed || a.tx != nil && t.tx != nil && t.tx != a.tx {
		return nil, messages.ErrEnrollmentNotFound
	}
	switch r := t.request.(type) {
	case messages.StepEnrollment:
		return a.step(r)
	case claimEnrollment:
		return a.claim(t, r)
	case messages.EndEnrollment:
		return messages.EnrollmentEnded{}, a.end(r.Forget)
	}
	return nil, fmt.Errorf("%w: %T is no request of an enrollment", messages.ErrInvalidArgument, t.request)
}

func (a *enrollmentActor) open(t *task, r openEnrollment) (messages.Reply, error) {
	if a.enrollment != nil || a.tx != nil {
		return nil, messages.ErrEnrollmentRunning
	}
	if r.journal != nil {
		// Another may have run from beginning to end since the caller has looked.
		now, err := a.sys.store.GetMany(r.journal)
		if err != nil {
			return nil, a.sys.storeError(err)
		}
		changed := !bytes.Equal(now[0], r.found)
		clear(now[0])
		if changed {
			return nil, errJournalChanged
		}
	}
	a.entry.hold()
	a.entry.over.Store(false)
	if a.sys.enrollments.Add(1) > maxEnrollments {
		a.over()
		return nil, messages.ErrBusy
	}
	a.enrollment, a.journal, a.purpose = r.enrollment, r.journal, r.purpose
	if err := a.keep(); err != nil {
		a.enrollment = nil // the caller's again
		a.over()
		return nil, err
	}
	if t.tx != nil {
		a.popped = true
		a.enlist(t.tx)
	}
	return stepDone{}, nil
}

// enlist makes the actor a participant.
func (a *enrollmentActor) enlist(tx *transaction) {
	if a.tx == nil {
		a.tx = tx
		a.entry.hold()
		tx.actor.send(enlisted{a.entry.actor})
	}
}

// step runs a step, and makes what it has changed durable before its answer leaves.
func (a *enrollmentActor) step(r messages.StepEnrollment) (messages.Reply, error) {
	err := r.Run(a.enrollment, a.sys.options.Now(), a.sys.options.Rand)
	if kept := a.keep(); kept != nil {
		return nil, kept
	}
	return messages.EnrollmentStepped{}, err
}

// keep brings the journal up to date.
func (a *enrollmentActor) keep() error {
	if a.journal == nil {
		return nil
	}
	state, err := a.enrollment.Marshal()
	if err != nil {
		return err
	}
	if bytes.Equal(state, a.kept) {
		state.Wipe()
		return nil
	}
	w := newWriter(len(a.purpose) + len(state))
	w.fixed(a.purpose[:])
	w.bytes(state)
	changes := new(store.ChangeSet)
	changes.Put(a.journal, w.b)
	clear(w.b)
	err = a.sys.apply(changes)
	changes.Wipe()
	if err != nil {
		state.Wipe()
		return err
	}
	a.kept.Wipe()
	a.kept = state
	return nil
}

// claim hands out what the transaction stores in the place of the enrolment.
func (a *enrollmentActor) claim(t *task, r claimEnrollment) (messages.Reply, error) {
	claimed := enrollmentClaimed{journal: a.journal}
	var err error
	if r.issue {
		claimed.issued, err = a.issued(t.tx, r.chain)
	} else {
		claimed.state, err = a.enrollment.Marshal()
	}
	if err != nil {
		return nil, err
	}
	a.claimed = true
	a.enlist(t.tx)
	return claimed, nil
}

// issued returns the certificate, which has to be one that the transaction trusts, and a
// copy of its key.
func (a *enrollmentActor) issued(tx *transaction, chain string) (enrollment.Issued, error) {
	now := a.sys.options.Now()
	if chain != "" {
		a.enrollment.RejectCertificate() // of a transaction that was aborted
		if err := a.enrollment.CertificateResponse(now, []byte(chain)); err != nil {
			return enrollment.Issued{}, err
		}
	}
	issued, err := a.enrollment.Issued(now, a.client.trust(tx))
	if errors.Is(err, enrollment.ErrUntrusted) {
		// Another chain may do, for example one with its intermediates.
		a.enrollment.RejectCertificate()
		return enrollment.Issued{}, errors.Join(err, a.keep())
	}
	issued.SignatureKey = issued.SignatureKey.Clone()
	return issued, err
}

// end forgets the enrolment at once, also one that a transaction has popped: its stash
// goes with the transaction or stays. The journal is gone before another can begin.
func (a *enrollmentActor) end(forget bool) error {
	var err error
	if forget && a.journal != nil {
		changes := new(store.ChangeSet)
		changes.Delete(a.journal)
		err = a.sys.apply(changes)
	}
	a.finish()
	return err
}

// settled hears the end of the transaction.
func (a *enrollmentActor) settled(tx *transaction, over bool) {
	if a.tx == tx {
		a.tx, a.popped, a.claimed = nil, false, false
		if over {
			a.finish()
		}
		a.release()
	}
	tx.actor.send(settled{participant: a.entry.actor})
}

// finish wipes the enrolment.
func (a *enrollmentActor) finish() {
	if a.enrollment != nil {
		a.enrollment.Wipe()
		a.kept.Wipe()
		a.enrollment, a.kept = nil, nil
		a.over()
	}
}

// over lets the row be dropped.
func (a *enrollmentActor) over() {
	a.sys.enrollments.Add(-1)
	a.entry.over.Store(true)
	a.release()
}

// release is letGo for the actor itself, which cannot wait for its own end. Its row is
// gone before anybody hears what it says next, as to an actor that is stopping nobody
// may send: Close waits for the answer of each that is in the table.
func (a *enrollmentActor) release() {
	a.entry.release()
	if !a.entry.over.Load() {
		return
	}
	stops := a.sys.drop(nil, a.entry)
	if len(stops) == 0 {
		return // others hold it
	}
	a.sys.goroutines.Add(1)
	go func() { // ends with the actors; Close waits for it
		defer a.sys.goroutines.Done()
		for _, stopped := range stops {
			<-stopped
		}
	}()
}
