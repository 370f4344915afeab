package actors

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// Requests of enrolments go to the actor of one, which is in enrollment_actor.go; what
// is stored, and the keys that exist already, are the client's actor's. What is asked
// of it for an enrolment's sake:
type (
	// readExisting finds the newest credential of a type. It answers credentialUsed.
	readExisting struct {
		messages.Step
		suite mlsgroup.CipherSuite
		typ   mlsgroup.CredentialType
	}
	// putEnrollment stores what is stashed. It answers stepDone.
	putEnrollment struct {
		messages.Step
		handle []byte
		state  secret.Bytes
	}
	// takeEnrollment deletes what is stashed, and answers enrollmentTaken.
	takeEnrollment struct {
		messages.Step
		handle []byte
	}
	enrollmentTaken struct {
		messages.Step
		state secret.Bytes
	}
	// dropJournal deletes a journal. It answers stepDone.
	dropJournal struct {
		messages.Step
		key []byte
	}
)

const (
	stashHandleSize  = 32
	enrollmentIDSize = 16
	// maxEnrollments bounds the enrolments in memory, of all clients: nothing but
	// their end frees them.
	maxEnrollments = 1 << 16
)

func stashGuard(handle []byte) string { return "enrollment " + string(handle) }

// enrollment carries out a request of enrolments, and answers false for others.
func (s *System) enrollment(ctx context.Context, at place, r messages.Request) (messages.Reply, bool, error) {
	var reply messages.Reply
	var err error
	switch r := r.(type) {
	case messages.BeginEnrollment:
		reply, err = s.beginEnrollment(ctx, at, r)
	case messages.StepEnrollment:
		reply, err = s.askEnrollment(ctx, place{client: at.client}, r.Enrollment, r)
	case messages.StashEnrollment:
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.stashEnrollment(ctx, at, r) })
	case messages.PopEnrollment:
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.popEnrollment(ctx, at, r) })
	case messages.InstallCertificate:
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.installCertificate(ctx, at, r) })
	case messages.EndEnrollment:
		reply, err = s.askEnrollment(ctx, place{client: at.client}, r.Enrollment, r)
		if errors.Is(err, messages.ErrEnrollmentNotFound) {
			reply, err = messages.EnrollmentEnded{}, nil
		}
	default:
		return nil, false, nil
	}
	return reply, true, err
}

func enrollmentKey(c *client, id messages.EnrollmentID) entryKey {
	return entryKey{c.instance, messages.ConversationID(id), entryEnrollment}
}

// askEnrollment sends a request to an enrolment that is in memory.
func (s *System) askEnrollment(ctx context.Context, at place, id messages.EnrollmentID, r messages.Request) (messages.Reply, error) {
	if at.tx != nil {
		if err := at.tx.enter(); err != nil {
			return nil, err
		}
		defer at.tx.leave()
	}
	e := s.find(enrollmentKey(at.client, id))
	if e == nil {
		return nil, messages.ErrEnrollmentNotFound
	}
	defer s.letGo(e)
	return e.ask(at, newTask(ctx, r))
}

// letGo releases the row of an enrolment. Whoever is the last to do so after its end
// drops it.
func (s *System) letGo(e *entry) {
	e.release()
	if e.over.Load() {
		s.dropNow(e)
	}
}

func (s *System) dropNow(e *entry) {
	for _, stopped := range s.drop(nil, e) {
		<-stopped
	}
}

// openEnrollment puts an enrolment into memory.
func (s *System) openEnrollment(ctx context.Context, at place, id messages.EnrollmentID, r openEnrollment) error {
	if at.tx != nil {
		if err := at.tx.enter(); err != nil {
			return err
		}
		defer at.tx.leave()
	}
	e := s.admit(ctx, at.client, enrollmentKey(at.client, id))
	defer s.letGo(e)
	_, err := e.ask(at, newTask(ctx, r))
	return err
}

func (s *System) newEnrollmentID() (messages.EnrollmentID, error) {
	id := make([]byte, enrollmentIDSize)
	err := s.draw(id)
	return messages.EnrollmentID(id), err
}

func (s *System) beginEnrollment(ctx context.Context, at place, r messages.BeginEnrollment) (messages.Reply, error) {
	if r.CipherSuite == 0 {
		r.CipherSuite = at.client.config.Load().suites[0]
	}
	if r.Rotation != nil {
		if err := checkRotation(r.Rotation, r.CipherSuite); err != nil {
			return nil, err
		}
	}
	if r.Journal {
		if !at.client.trust(at.tx).HasTrustAnchor() {
			return nil, messages.ErrPKIEnvironmentUnset // the end of it could not be stored
		}
		return s.beginJournal(ctx, at, r)
	}
	id, err := s.newEnrollmentID()
	if err != nil {
		return nil, err
	}
	made, err := s.newEnrollment(ctx, at, r)
	if err != nil {
		return nil, err
	}
	// It is no transaction's: that would only be needed if it took something away.
	err = s.openEnrollment(ctx, place{client: at.client}, id, openEnrollment{enrollment: made})
	if err != nil {
		made.Wipe()
		return nil, err
	}
	return messages.EnrollmentBegun{Enrollment: id}, nil
}

// newEnrollment makes an enrolment; the caller's goroutine computes its keys.
func (s *System) newEnrollment(ctx context.Context, at place, r messages.BeginEnrollment) (*enrollment.Enrollment, error) {
	client, err := clientid.Parse(string(at.client.id))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrInvalidClientID, err)
	}
	c := enrollment.Config{
		CipherSuite: uint16(r.CipherSuite), ClientID: client, DisplayName: r.DisplayName, Handle: r.Handle, Team: r.Team,
		Lifetime: r.Lifetime, Directory: r.Directory,
	}
	if r.Kind != messages.EnrollmentNew {
		typ := mlsgroup.CredentialTypeBasic
		if r.Kind == messages.EnrollmentRotation {
			typ = mlsgroup.CredentialTypeX509
		}
		reply, err := s.askClient(ctx, at, readExisting{suite: r.CipherSuite, typ: typ})
		if errors.Is(err, messages.ErrCredentialNotFound) {
			return nil, &messages.MissingExistingClient{CredentialType: typ}
		}
		if err != nil {
			return nil, err
		}
		existing := reply.(credentialUsed).record
		defer existing.private.Wipe()
		c.SignatureKey = existing.private
		if typ == mlsgroup.CredentialTypeX509 {
			if err := namesOf(&c, existing.entry.Credential); err != nil {
				return nil, err
			}
		}
	}
	made, err := enrollment.New(c, s.options.Rand)
	if err != nil && (errors.Is(err, enrollment.ErrConfig) || errors.Is(err, enrollment.ErrSuite)) {
		err = fmt.Errorf("%w: %w", messages.ErrInvalidArgument, err)
	}
	return made, err
}

func (s *System) stashEnrollment(ctx context.Context, at place, r messages.StashEnrollment) (messages.Reply, error) {
	handle := make([]byte, stashHandleSize)
	if err := s.draw(handle); err != nil {
		return nil, err
	}
	reply, err := s.askEnrollment(ctx, at, r.Enrollment, claimEnrollment{})
	if err != nil {
		return nil, err
	}
	// The enrolment is staged to end; the caller's context does not part it from its stash.
	state := reply.(enrollmentClaimed).state
	defer state.Wipe()
	if _, err := s.askClient(context.WithoutCancel(ctx), at, putEnrollment{handle: handle, state: state}); err != nil {
		s.unclaim(at, r.Enrollment)
		return nil, err
	}
	return messages.EnrollmentStashed{Handle: handle}, nil
}

func (s *System) popEnrollment(ctx context.Context, at place, r messages.PopEnrollment) (messages.Reply, error) {
	if len(r.Handle) != stashHandleSize {
		return nil, messages.ErrEnrollmentNotFound
	}
	id, err := s.newEnrollmentID()
	if err != nil {
		return nil, err
	}
	reply, err := s.askClient(ctx, at, takeEnrollment{handle: r.Handle})
	if err != nil {
		return nil, err
	}
	state := reply.(enrollmentTaken).state
	defer state.Wipe()
	// The stash is staged to go; the caller's context does not part it from the enrolment.
	ctx = context.WithoutCancel(ctx)
	if err := s.openStash(ctx, at, id, state); err != nil {
		// The transaction may go on, and must not take away what it has not opened. Where
		// this fails as well, it has been aborted.
		_, back := s.askClient(ctx, at, putEnrollment{handle: r.Handle, state: state})
		return nil, errors.Join(err, back)
	}
	return messages.EnrollmentBegun{Enrollment: id}, nil
}

func (s *System) openStash(ctx context.Context, at place, id messages.EnrollmentID, state secret.Bytes) error {
	popped, err := enrollment.Unmarshal(state)
	if err != nil {
		return fmt.Errorf("%w: enrollment: %w", messages.ErrCorrupt, err)
	}
	if err := s.openEnrollment(ctx, at, id, openEnrollment{enrollment: popped}); err != nil {
		popped.Wipe()
		return err
	}
	return nil
}

// unclaim gives an enrolment back that a step has claimed and then failed.
func (s *System) unclaim(at place, id messages.EnrollmentID) {
	if e := s.find(enrollmentKey(at.client, id)); e != nil {
		e.actor.send(unclaimEnrollment{at.tx})
		s.letGo(e)
	}
}

// journalID is the name of the one enrolment of a signature scheme that has a journal,
// and its place in the store.
func journalID(cs mlsgroup.CipherSuite) (messages.EnrollmentID, error) {
	suite, ok := primitive.Lookup(uint16(cs))
	if !ok {
		return "", fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, cs)
	}
	scheme := suite.SignatureScheme()
	return messages.EnrollmentID([]byte{byte(scheme >> 8), byte(scheme)}), nil
}

// beginJournal is openJournal until nobody comes between.
func (s *System) beginJournal(ctx context.Context, at place, r messages.BeginEnrollment) (messages.Reply, error) {
	for {
		reply, err := s.openJournal(ctx, at, r)
		if !errors.Is(err, errJournalChanged) {
			return reply, err
		}
	}
}

// openJournal resumes the enrolment in the journal if it is the one that is asked for,
// else begins one and writes it down: its account key exists before anything is sent.
func (s *System) openJournal(ctx context.Context, at place, r messages.BeginEnrollment) (messages.Reply, error) {
	id, err := journalID(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	if e := s.find(enrollmentKey(at.client, id)); e != nil {
		over := e.over.Load()
		s.letGo(e)
		if !over {
			return nil, messages.ErrEnrollmentRunning
		}
	}
	key, wanted := at.client.journalKey(id), purpose(r)
	found, err := s.store.GetMany(key)
	if err != nil {
		return nil, s.storeError(err)
	}
	defer clear(found[0])
	open := openEnrollment{journal: key, found: found[0], purpose: wanted}
	if found[0] != nil {
		kept, state, err := parseJournal(found[0])
		defer state.Wipe()
		if err != nil {
			return nil, err
		}
		if kept == wanted {
			open.enrollment, err = enrollment.Unmarshal(state)
			if err != nil {
				return nil, fmt.Errorf("%w: enrollment: %w", messages.ErrCorrupt, err)
			}
			open.enrollment.Retry()
			open.resumed = true
		}
	}
	if open.enrollment == nil {
		if open.enrollment, err = s.newEnrollment(ctx, at, r); err != nil {
			return nil, err
		}
	}
	if err := s.openEnrollment(ctx, place{client: at.client}, id, open); err != nil {
		open.enrollment.Wipe()
		return nil, err
	}
	return messages.EnrollmentBegun{Enrollment: id, Resumed: open.resumed}, nil
}

// purpose tells whether two enrolments are for the same.
func purpose(r messages.BeginEnrollment) [32]byte {
	w := newWriter(r.Size())
	w.uint8(uint8(r.Kind))
	w.uint16(uint16(r.CipherSuite))
	w.uint64(uint64(r.Lifetime))
	for _, text := range []string{r.DisplayName, r.Handle, r.Team, r.Directory} {
		w.bytes([]byte(text))
	}
	return sha256.Sum256(w.b)
}

// installCertificate stores the certificate, and with it ends the enrolment.
func (s *System) installCertificate(ctx context.Context, at place, r messages.InstallCertificate) (messages.Reply, error) {
	if !at.client.trust(at.tx).HasTrustAnchor() {
		return nil, messages.ErrPKIEnvironmentUnset
	}
	reply, err := s.askEnrollment(ctx, at, r.Enrollment, claimEnrollment{issue: true, chain: r.Chain})
	if err != nil {
		return nil, err
	}
	saved, err := s.saveIssued(context.WithoutCancel(ctx), at, r, reply.(enrollmentClaimed))
	if err != nil {
		s.unclaim(at, r.Enrollment)
		return nil, err
	}
	if r.First {
		at.tx.transport.Store(&r.Transport)
	}
	return saved, nil
}

// saveIssued stages the credential, and what happens together with it.
func (s *System) saveIssued(ctx context.Context, at place, r messages.InstallCertificate, claimed enrollmentClaimed) (messages.Reply, error) {
	issued := claimed.issued
	defer issued.SignatureKey.Wipe()
	cs := mlsgroup.CipherSuite(issued.CipherSuite)
	if r.Rotation != nil {
		if err := checkRotation(r.Rotation, cs); err != nil {
			return nil, err
		}
	}
	if r.First {
		switch _, err := s.use(ctx, at, cs, messages.CredentialRef{}); {
		case err == nil:
			return nil, messages.ErrClientAlreadyExists
		case !errors.Is(err, messages.ErrCredentialNotFound):
			return nil, err
		}
	}
	private := issued.SignatureKey.Clone()
	saved, err := s.perform(ctx, at, "", messages.SaveX509Credential{CipherSuite: cs, Chain: issued.Chain, SignaturePrivate: private})
	if err != nil {
		private.Wipe()
		return nil, err
	}
	if claimed.journal != nil {
		if _, err := s.askClient(ctx, at, dropJournal{key: claimed.journal}); err != nil {
			return nil, err
		}
	}
	if r.Rotation != nil {
		rotation := *r.Rotation
		rotation.Credential = saved.(messages.X509CredentialSaved).Credential.Ref
		if len(rotation.CipherSuites) == 0 {
			rotation.CipherSuites = []mlsgroup.CipherSuite{cs}
		}
		if _, err := s.perform(ctx, at, "", messages.PutRotation{Rotation: &rotation}); err != nil {
			return nil, err
		}
	}
	return saved, nil
}

// transport is the client's as the transaction sees it.
func (c *client) transport(tx *transaction) messages.Transport {
	if tx != nil {
		if staged := tx.transport.Load(); staged != nil {
			return *staged
		}
	}
	return c.config.Load().transport
}

// setTransport replaces the transport and nothing else.
func (c *client) setTransport(t messages.Transport) {
	for {
		old := c.config.Load()
		next := *old
		next.transport = t
		if c.config.CompareAndSwap(old, &next) {
			return
		}
	}
}

// namesOf fills in what a rotation leaves as the certificate has it.
func namesOf(c *enrollment.Config, credential mlsgroup.Credential) error {
	if len(credential.Certificates) == 0 {
		return fmt.Errorf("%w: credential without a certificate", messages.ErrCorrupt)
	}
	id, err := pki.ParseIdentity(credential.Certificates[0])
	if err != nil {
		return fmt.Errorf("%w: certificate: %w", messages.ErrCorrupt, err)
	}
	if c.DisplayName == "" {
		c.DisplayName = id.DisplayName
	}
	if c.Handle == "" {
		c.Handle = id.BareHandle()
	}
	return nil
}

// planEnrollment is plan for the requests of enrolments.
func (a *clientActor) planEnrollment(t *task) (needs []need, run func() (messages.Reply, error), ok bool) {
	switch r := t.request.(type) {
	case readExisting:
		return nil, func() (messages.Reply, error) {
			record, err := a.newest(t.tx, r.suite, r.typ)
			return credentialUsed{record: record}, err
		}, true
	case putEnrollment:
		return []need{{stashGuard(r.handle), true}}, func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			putEncoded(changes, a.client.stashKey(r.handle), r.state.Clone())
			return stepDone{}, a.keep(t.tx, changes)
		}, true
	case takeEnrollment:
		return []need{{stashGuard(r.handle), true}}, func() (messages.Reply, error) { return a.takeEnrollment(t.tx, r.handle) }, true
	case dropJournal:
		return nil, func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Delete(r.key)
			return stepDone{}, a.keep(t.tx, changes)
		}, true
	}
	return nil, nil, false
}

func (a *clientActor) takeEnrollment(tx *transaction, handle []byte) (messages.Reply, error) {
	key := a.client.stashKey(handle)
	value, err := a.get(tx, key)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, messages.ErrEnrollmentNotFound
	}
	r := readRecord(value)
	state := secret.Bytes(r.bytes()).Clone()
	if err := r.end("stashed enrollment"); err != nil {
		return nil, err
	}
	changes := new(store.ChangeSet)
	changes.Delete(key)
	return enrollmentTaken{state: state}, a.keep(tx, changes)
}

// newest finds the client's newest credential of a type for a suite's signature scheme.
func (a *clientActor) newest(tx *transaction, cs mlsgroup.CipherSuite, typ mlsgroup.CredentialType) (*credentialRecord, error) {
	all, err := a.credentials(tx)
	if err != nil {
		return nil, err
	}
	var found *credentialRecord
	for _, c := range all {
		if sameScheme(c.entry.CipherSuite, cs) && c.entry.Credential.Type == typ {
			found.wipe()
			found = c
			continue
		}
		c.private.Wipe()
	}
	if found == nil {
		return nil, messages.ErrCredentialNotFound
	}
	return found, nil
}

func (c *credentialRecord) wipe() {
	if c != nil {
		c.private.Wipe()
	}
}

// Records of enrolments: state, and before that of a journal its purpose.

const (
	enrollmentStash   = 1
	enrollmentJournal = 2
)

// stashKey hashes the handle: who has the disk cannot pop.
func (c *client) stashKey(handle []byte) []byte {
	sum := sha256.Sum256(handle)
	return append(c.keys.Enrollment(nil, []byte{enrollmentStash}), sum[:]...)
}

func (c *client) journalKey(id messages.EnrollmentID) []byte {
	return append(c.keys.Enrollment(nil, []byte{enrollmentJournal}), id...)
}

func parseJournal(b []byte) (purpose [32]byte, state secret.Bytes, err error) {
	r := readRecord(b)
	copy(purpose[:], r.take(uint64(len(purpose))))
	state = secret.Bytes(r.bytes()).Clone()
	return purpose, state, r.end("enrollment journal")
}
