package actors

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

type keyPackageRef = mlsgroup.KeyPackageRef

// takeKeyPackage finds the first of some references that is stored, and keeps it to
// the transaction. It answers keyPackageTaken, or ErrOrphanWelcome.
type takeKeyPackage struct {
	messages.Step
	refs []keyPackageRef
}

type keyPackageTaken struct {
	messages.Step
	record     *keyPackageRecord
	credential *credentialRecord
}

// spendKeyPackage deletes a key package that has done its work.
type spendKeyPackage struct {
	messages.Step
	ref keyPackageRef
}

// readPSK reads an external pre-shared key as the transaction sees it. It answers
// pskRead, whose psk is nil where there is none.
type readPSK struct {
	messages.Step
	id []byte
}

type pskRead struct {
	messages.Step
	psk *pskValue
}

// planKeyPackage is plan for the requests of key packages.
func (a *clientActor) planKeyPackage(t *task, w *work) (ok bool, err error) {
	switch r := t.request.(type) {
	case messages.GenerateKeyPackages:
		w.run = func() (messages.Reply, error) { return a.generateKeyPackages(t.tx, r) }
		return true, a.planSigning(t.tx, w, &r.CipherSuite, &r.Credential)
	case messages.ProposeJoin:
		w.run = func() (messages.Reply, error) { return a.proposeJoin(t.tx, r) }
		return true, a.planSigning(t.tx, w, &r.CipherSuite, &r.Credential)
	case messages.ImportKeyPackage:
		kp, err := readKeyPackage(r.KeyPackage)
		if err != nil {
			return true, err
		}
		w.needs = []need{{credentialGuard(refOf(kp.LeafNode.SignatureKey)), true}}
		w.run = func() (messages.Reply, error) { return a.importKeyPackage(t.tx, r, kp) }
	case messages.ListKeyPackages:
		w.run = func() (messages.Reply, error) { return a.listKeyPackages(t.tx) }
	case messages.CountKeyPackages:
		w.run = func() (messages.Reply, error) { return a.countKeyPackages(t.tx, r) }
	case messages.DeleteKeyPackages:
		for _, ref := range r.Refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, r.Refs) }
	case messages.DeleteStaleKeyPackages:
		refs, err := a.staleKeyPackages(t.tx, r.CipherSuite)
		if err != nil {
			return true, err
		}
		for _, ref := range refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, refs) }
	case takeKeyPackage:
		record, err := a.findKeyPackage(t.tx, r.refs)
		if err != nil {
			return true, err
		}
		w.needs = []need{{keyPackageGuard(record.ref), true}, {credentialGuard(record.credential), false}}
		w.run = func() (messages.Reply, error) { return a.takeKeyPackage(t.tx, record.ref) }
	case spendKeyPackage:
		w.run = func() (messages.Reply, error) {
			_, err := a.deleteKeyPackages(t.tx, []keyPackageRef{r.ref})
			return stepDone{}, err
		}
	default:
		return false, nil
	}
	return true, nil
}

// planSigning resolves the suite and the credential with which a request makes key packages,
// zero being the client's own choice, and lets it share the credential's guard.
func (a *clientActor) planSigning(tx *transaction, w *work, cs *mlsgroup.CipherSuite, ref *messages.CredentialRef) error {
	if *cs == 0 {
		*cs = a.client.config.Load().suites[0]
	}
	record, err := a.credential(tx, *cs, *ref, 0)
	if err != nil {
		return err
	}
	defer record.wipe()
	*ref = record.entry.Ref
	w.needs = []need{{credentialGuard(*ref), false}}
	return nil
}

func (a *clientActor) keyPackages(tx *transaction) ([]*keyPackageRecord, error) {
	records, err := a.list(tx, a.client.keys.KeyPackage(nil, nil))
	if err != nil {
		return nil, err
	}
	all := make([]*keyPackageRecord, len(records))
	for i, rec := range records {
		if all[i], err = parseKeyPackageRecord(rec.Value); err != nil {
			return nil, err
		}
		all[i].initPrivate.Wipe()
		all[i].leafPrivate.Wipe()
	}
	return all, nil
}

func (a *clientActor) listKeyPackages(tx *transaction) (messages.Reply, error) {
	all, err := a.keyPackages(tx)
	if err != nil {
		return nil, err
	}
	reply := messages.KeyPackagesListed{}
	for _, k := range all {
		reply.KeyPackages = append(reply.KeyPackages, k.entry())
	}
	return reply, nil
}

func (a *clientActor) countKeyPackages(tx *transaction, r messages.CountKeyPackages) (messages.Reply, error) {
	all, err := a.keyPackages(tx)
	if err != nil {
		return nil, err
	}
	n, now := 0, a.sys.options.Now()
	for _, k := range all {
		e := k.entry()
		if e.CipherSuite == r.CipherSuite && (r.CredentialType == 0 || k.parsed.LeafNode.Credential.Type == r.CredentialType) &&
			e.NotBefore.Before(now) && now.Before(e.NotAfter) {
			n++
		}
	}
	return messages.KeyPackagesCounted{Count: n}, nil
}

func (a *clientActor) deleteKeyPackages(tx *transaction, refs []keyPackageRef) (messages.Reply, error) {
	changes := new(store.ChangeSet)
	for _, ref := range refs {
		if len(ref) == 0 || len(ref) > 64 {
			return nil, fmt.Errorf("%w: key package reference of %d bytes", messages.ErrInvalidArgument, len(ref))
		}
		changes.Delete(a.client.keyPackageKey(ref))
	}
	return messages.KeyPackagesDeleted{}, a.keep(tx, changes)
}

// staleKeyPackages returns those of a suite's signature scheme that the newest X.509
// credential of the scheme did not make.
func (a *clientActor) staleKeyPackages(tx *transaction, cs mlsgroup.CipherSuite) ([]keyPackageRef, error) {
	credentials, err := a.credentials(tx)
	if err != nil {
		return nil, err
	}
	var newest *credentialRecord
	for _, c := range credentials {
		c.private.Wipe()
		if c.entry.Credential.Type == mlsgroup.CredentialTypeX509 && sameScheme(c.entry.CipherSuite, cs) {
			newest = c
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%w: no X.509 credential for %v", messages.ErrCredentialNotFound, cs)
	}
	packages, err := a.keyPackages(tx)
	if err != nil {
		return nil, err
	}
	var refs []keyPackageRef
	for _, k := range packages {
		if sameScheme(k.parsed.CipherSuite, cs) && !k.parsed.LeafNode.Credential.Equal(&newest.entry.Credential) {
			refs = append(refs, k.ref)
		}
	}
	return refs, nil
}

// findKeyPackage returns the first reference that is stored.
func (a *clientActor) findKeyPackage(tx *transaction, refs []keyPackageRef) (*keyPackageRecord, error) {
	keys := make([][]byte, len(refs))
	for i, ref := range refs {
		keys[i] = a.client.keyPackageKey(ref)
	}
	values, err := a.reader(tx).GetMany(keys...)
	if err != nil {
		return nil, a.sys.storeError(err)
	}
	for _, value := range values {
		if value != nil {
			return parseKeyPackageRecord(value)
		}
	}
	return nil, messages.ErrOrphanWelcome
}

// takeKeyPackage reads it again, now that nobody else can spend it.
func (a *clientActor) takeKeyPackage(tx *transaction, ref keyPackageRef) (messages.Reply, error) {
	record, err := a.findKeyPackage(tx, []keyPackageRef{ref})
	if err != nil {
		return nil, err
	}
	credential, err := a.credential(tx, 0, record.credential, 0)
	if err != nil {
		return nil, err
	}
	return keyPackageTaken{record: record, credential: credential}, nil
}

// importKeyPackage stores a key package that was made elsewhere, and its credential
// unless there is one of that key: an X.509 one, or one that can sign where what comes
// cannot, is not to be lost.
func (a *clientActor) importKeyPackage(tx *transaction, r messages.ImportKeyPackage, kp *mlsgroup.KeyPackage) (messages.Reply, error) {
	suite, ok := primitive.Lookup(uint16(kp.CipherSuite))
	if !ok {
		return nil, fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, kp.CipherSuite)
	}
	public := kp.LeafNode.SignatureKey
	if r.SignaturePrivate != nil {
		if own, err := suite.SignaturePublicKey(r.SignaturePrivate); err != nil || !bytes.Equal(public, own) {
			return nil, fmt.Errorf("%w: signature key is not the key package's", messages.ErrWrongCredential)
		}
	}
	for _, pair := range []struct {
		private []byte
		public  []byte
	}{{r.InitPrivate, kp.InitKey}, {r.LeafPrivate, kp.LeafNode.EncryptionKey}} {
		if public, err := suite.PublicKey(pair.private); err != nil || !bytes.Equal(public, pair.public) {
			return nil, fmt.Errorf("%w: private key is not the key package's", messages.ErrInvalidArgument)
		}
	}
	ref, err := kp.Ref()
	if err != nil {
		return nil, err
	}
	created, err := a.created(tx)
	if err != nil {
		return nil, err
	}
	credential := &credentialRecord{private: r.SignaturePrivate, entry: messages.CredentialEntry{
		Ref: refOf(public), CipherSuite: kp.CipherSuite, Credential: kp.LeafNode.Credential, SignatureKey: public, CreatedAt: created,
	}}
	stored, err := a.get(tx, a.client.credentialKey(credential.entry.Ref))
	if err != nil {
		return nil, err
	}
	if stored != nil {
		old, err := parseCredentialRecord(stored)
		if err != nil {
			return nil, err
		}
		defer old.private.Wipe()
		if credential.entry = old.entry; credential.private == nil {
			credential.private = old.private
		}
	}
	record := &keyPackageRecord{
		ref: ref, credential: credential.entry.Ref, keyPackage: kp.Marshal(), parsed: kp,
		initPrivate: r.InitPrivate, leafPrivate: r.LeafPrivate,
	}
	changes := new(store.ChangeSet)
	putSecret(changes, a.client.credentialKey(credential.entry.Ref), credential.marshal())
	putSecret(changes, a.client.keyPackageKey(ref), record.marshal())
	return messages.KeyPackageImported{KeyPackage: record.entry()}, a.keep(tx, changes)
}

// readKeyPackage reads a key package, bare or in an MLSMessage. The first two bytes
// of both are version 1; the next two are a wire format, 5, or a suite, and suite 5
// has init keys so long that the one never parses as the other.
func readKeyPackage(b []byte) (*mlsgroup.KeyPackage, error) {
	if len(b) >= 4 && mlsgroup.WireFormat(binary.BigEndian.Uint16(b[2:])) == mlsgroup.WireFormatKeyPackage {
		if m, err := mlsgroup.ParseMLSMessage(b); err == nil {
			return m.KeyPackage, nil
		}
	}
	kp, err := mlsgroup.ParseKeyPackage(b)
	if err != nil {
		return nil, fmt.Errorf("%w: key package: %w", messages.ErrInvalidMessage, err)
	}
	return kp, nil
}

// ValidateKeyPackage reads a key package that another client has published, bare or in
// an MLSMessage, and verifies what can be known of it outside of any group, by the
// trust of a client; 0 is nobody's. Whoever adds it verifies it again, against the
// group.
func (s *System) ValidateKeyPackage(instance messages.Instance, b []byte) (*mlsgroup.KeyPackage, error) {
	kp, err := readKeyPackage(b)
	if err != nil {
		return nil, err
	}
	in := s.input(nil)
	if c, ok := s.clients.load(instance); ok {
		in = c.input(nil, nil)
	}
	if err := kp.Validate(in); err != nil {
		return nil, fmt.Errorf("%w: key package: %w", messages.ErrInvalidMessage, err)
	}
	return kp, nil
}

// generateKeyPackages makes key packages with one credential.
func (a *clientActor) generateKeyPackages(tx *transaction, r messages.GenerateKeyPackages) (messages.Reply, error) {
	if r.Count < 1 || r.Count > maxGenerate {
		return nil, fmt.Errorf("%w: %d key packages", messages.ErrInvalidArgument, r.Count)
	}
	if r.Lifetime < 0 {
		return nil, fmt.Errorf("%w: lifetime of %v", messages.ErrInvalidArgument, r.Lifetime)
	}
	credential, err := a.credential(tx, r.CipherSuite, r.Credential, 0)
	if err != nil {
		return nil, err
	}
	defer credential.private.Wipe()
	options := mlsgroup.KeyPackageOptions{
		Profile: a.client.profile(r.Profile), Lifetime: r.Lifetime, LastResort: r.LastResort,
		Capabilities: r.Capabilities, LeafExtensions: r.LeafExtensions, Extensions: r.Extensions,
	}
	if options.LastResort && options.Profile == mlsgroup.ProfileWire {
		return nil, fmt.Errorf("%w: no last resort in the profile of Wire, whose clients take the mark for another", messages.ErrInvalidArgument)
	}
	records := make([]*keyPackageRecord, r.Count)
	errs := make([]error, r.Count)
	a.sys.options.Do(r.Count, func(i int) {
		in := a.client.input(tx, credential.signer(r.CipherSuite))
		in.Do = nil // the key packages are what is done at once
		records[i], errs[i] = newKeyPackageRecord(in, options, credential.entry.Ref)
	})
	reply := messages.KeyPackagesGenerated{}
	changes := new(store.ChangeSet)
	for i, k := range records {
		if errs[i] != nil {
			return nil, outboundError(errs[i])
		}
		putSecret(changes, a.client.keyPackageKey(k.ref), k.marshal())
		k.initPrivate.Wipe()
		k.leafPrivate.Wipe()
		reply.KeyPackages = append(reply.KeyPackages, k.entry())
	}
	return reply, a.keep(tx, changes)
}

// proposeJoin makes the proposal to add this client to a conversation, and stores the
// key package in it, without which its Welcome would be an orphan.
func (a *clientActor) proposeJoin(tx *transaction, r messages.ProposeJoin) (messages.Reply, error) {
	if len(r.Conversation) == 0 || len(r.Conversation) > maxName {
		return nil, fmt.Errorf("%w: conversation id of %d bytes", messages.ErrInvalidArgument, len(r.Conversation))
	}
	credential, err := a.credential(tx, r.CipherSuite, r.Credential, 0)
	if err != nil {
		return nil, err
	}
	defer credential.private.Wipe()
	in := a.client.input(tx, credential.signer(r.CipherSuite))
	record, err := newKeyPackageRecord(in, mlsgroup.KeyPackageOptions{Profile: a.client.profile(r.Profile)}, credential.entry.Ref)
	if err != nil {
		return nil, err
	}
	message, err := mlsgroup.NewMemberProposal(in, []byte(r.Conversation), r.Epoch, record.parsed)
	if err != nil {
		return nil, err
	}
	changes := new(store.ChangeSet)
	putSecret(changes, a.client.keyPackageKey(record.ref), record.marshal())
	record.initPrivate.Wipe()
	record.leafPrivate.Wipe()
	return messages.JoinProposed{Message: message, KeyPackage: record.ref}, a.keep(tx, changes)
}

func newKeyPackageRecord(in mlsgroup.Input, o mlsgroup.KeyPackageOptions, credential messages.CredentialRef) (*keyPackageRecord, error) {
	bundle, err := mlsgroup.NewKeyPackage(in, o)
	if err != nil {
		return nil, err
	}
	ref, err := bundle.KeyPackage.Ref()
	if err != nil {
		return nil, err
	}
	return &keyPackageRecord{
		ref: ref, credential: credential, keyPackage: bundle.KeyPackage.Marshal(), parsed: bundle.KeyPackage,
		initPrivate: bundle.InitPrivate, leafPrivate: bundle.LeafPrivate,
	}, nil
}
