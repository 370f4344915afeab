package interop

import (
	"context"
	"errors"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// party is one client of one implementation.
type party interface {
	ID() conclave.ClientID
	// publish makes key packages and gives them to the delivery service.
	publish(count int) error
	create(id conclave.ConversationID, o creation) error
	join(welcome []byte) error
	externalJoin(groupInfo []byte) error
	add(id conclave.ConversationID, keyPackages ...[]byte) error
	remove(id conclave.ConversationID, members ...conclave.ClientID) error
	update(id conclave.ConversationID) error
	commit(id conclave.ConversationID) error
	// rotate replaces credential and signature key.
	rotate(id conclave.ConversationID) error
	encrypt(id conclave.ConversationID, text string) ([]byte, error)
	decrypt(id conclave.ConversationID, message []byte) (received, error)
	propose(id conclave.ConversationID, p proposal) ([]byte, error)
	// externalAdd makes the proposal of a client to be added.
	externalAdd(id conclave.ConversationID, epoch uint64, groupInfo []byte) ([]byte, error)
	externalSender(id conclave.ConversationID) ([]byte, error)
	wipe(id conclave.ConversationID) error
	history(id conclave.ConversationID, on bool) error
	state(id conclave.ConversationID) (state, error)
}

type creation struct {
	externalSender []byte // its public key, nil for none
}

// proposal is what a member proposes: one of the fields, or an update of its own where none is set.
type proposal struct {
	add    []byte // a key package
	remove conclave.ClientID
}

// received is what became of a message.
type received struct {
	outcome  string // as conclave.Outcome prints it, and as CoreCrypto names it
	text     string
	active   bool
	released []received
}

// texts lists the texts of a message and of those it has released.
func (r received) texts() []string {
	var all []string
	if r.outcome == conclave.OutcomeText.String() {
		all = append(all, r.text)
	}
	for _, later := range r.released {
		all = append(all, later.texts()...)
	}
	return all
}

// state is what all members of an epoch have to agree on.
type state struct {
	exists   bool
	epoch    uint64
	members  []conclave.ClientID
	exported string // 32 bytes of the exporter
}

// errUnsupported is what a party answers where its implementation has no such function: which one, and what it lacks.
type errUnsupported string

func (e errUnsupported) Error() string { return string(e) }

// codeOf returns the name of an error, the same for the same thing in CoreCrypto and here.
func codeOf(err error) string {
	var ours *conclave.Error
	var theirs *peerError
	switch {
	case errors.As(err, &ours):
		return string(ours.Code)
	case errors.As(err, &theirs):
		return theirs.Code
	}
	return ""
}

// engineParty is a client of this engine.
type engineParty struct {
	*enginetest.Device
	ctx    context.Context
	suite  conclave.CipherSuite
	policy conclave.WirePolicy
	found  []string // distribution points, see discovered
}

func (p *engineParty) publish(count int) error { return p.Publish(p.ctx, count) }

func (p *engineParty) create(id conclave.ConversationID, o creation) error {
	options := conclave.ConversationOptions{CipherSuite: p.suite, WirePolicy: p.policy}
	if o.externalSender != nil {
		options.ExternalSenders = []conclave.ExternalSender{{SignatureKey: o.externalSender, Credential: basic("wire-server")}}
	}
	return p.CreateConversation(p.ctx, id, options)
}

func (p *engineParty) join(welcome []byte) error {
	r, err := p.ProcessWelcome(p.ctx, welcome, conclave.JoinOptions{WirePolicy: p.policy})
	p.found = append(p.found, r.NewDistributionPoints...)
	return err
}

func (p *engineParty) externalJoin(groupInfo []byte) error {
	r, err := p.JoinByExternalCommit(p.ctx, groupInfo, conclave.JoinOptions{WirePolicy: p.policy})
	p.found = append(p.found, r.NewDistributionPoints...)
	return err
}

func (p *engineParty) add(id conclave.ConversationID, keyPackages ...[]byte) error {
	r, err := p.AddMembers(p.ctx, id, keyPackages...)
	p.found = append(p.found, r.NewDistributionPoints...)
	return err
}

func (p *engineParty) remove(id conclave.ConversationID, members ...conclave.ClientID) error {
	_, err := p.RemoveMembers(p.ctx, id, members...)
	return err
}

func (p *engineParty) update(id conclave.ConversationID) error {
	_, err := p.UpdateKeyMaterial(p.ctx, id)
	return err
}

func (p *engineParty) commit(id conclave.ConversationID) error {
	_, err := p.CommitPendingProposals(p.ctx, id)
	return err
}

func (p *engineParty) rotate(id conclave.ConversationID) error {
	c, err := p.AddCredential(p.ctx, conclave.NewCredential{CipherSuite: p.suite})
	if err != nil {
		return err
	}
	_, err = p.SetCredential(p.ctx, id, c.Ref)
	return err
}

func (p *engineParty) encrypt(id conclave.ConversationID, text string) ([]byte, error) {
	return p.EncryptMessage(p.ctx, id, []byte(text))
}

func (p *engineParty) decrypt(id conclave.ConversationID, message []byte) (received, error) {
	m, err := p.DecryptMessage(p.ctx, id, message)
	if err != nil {
		return received{}, err
	}
	p.found = append(p.found, m.NewDistributionPoints...)
	return readDecrypted(m), nil
}

func readDecrypted(m conclave.DecryptedMessage) received {
	r := received{outcome: m.Outcome.String(), text: string(m.Plaintext), active: m.IsActive}
	for _, later := range m.Released {
		if later.Err == nil {
			r.released = append(r.released, readDecrypted(later.Message))
		}
	}
	return r
}

func (p *engineParty) propose(id conclave.ConversationID, o proposal) ([]byte, error) {
	var b conclave.ProposalBundle
	var err error
	switch {
	case o.add != nil:
		b, err = p.ProposeAdd(p.ctx, id, o.add)
	case o.remove != "":
		b, err = p.ProposeRemove(p.ctx, id, o.remove)
	default:
		b, err = p.ProposeUpdate(p.ctx, id)
	}
	return b.Message, err
}

func (p *engineParty) externalAdd(id conclave.ConversationID, epoch uint64, _ []byte) ([]byte, error) {
	made, err := p.NewExternalAddProposal(p.ctx, id, epoch, conclave.ExternalAddOptions{})
	return made.Message, err
}

func (p *engineParty) externalSender(id conclave.ConversationID) ([]byte, error) {
	return p.Conversation(id).ExternalSender(p.ctx)
}

func (p *engineParty) wipe(id conclave.ConversationID) error { return p.WipeConversation(p.ctx, id) }

func (p *engineParty) history(id conclave.ConversationID, on bool) error {
	share := p.Conversation(id).DisableHistorySharing
	if on {
		share = p.Conversation(id).EnableHistorySharing
	}
	_, err := share(p.ctx)
	return err
}

func (p *engineParty) state(id conclave.ConversationID) (state, error) {
	s, err := p.Conversation(id).State(p.ctx)
	if err != nil || !s.Exists {
		return state{}, err
	}
	members, err := p.ClientIDs(p.ctx, id)
	if err != nil {
		return state{}, err
	}
	exported, err := p.ExportSecretKey(p.ctx, id, 32)
	return state{exists: true, epoch: s.Epoch, members: members, exported: string(exported)}, err
}

// peerParty is a client of a peer.
type peerParty struct {
	*node
	id    conclave.ClientID
	suite conclave.CipherSuite
	// encrypted: its proposals and commits travel as PrivateMessages.
	encrypted bool
	found     []string // distribution points, see discovered
}

func (p *peerParty) ID() conclave.ClientID { return p.id }

// do makes a call for this client.
func (p *peerParty) do(op string, id conclave.ConversationID, c call) (result, error) {
	c.Group = string(id)
	if c.Policy = 1; p.encrypted {
		c.Policy = 2
	}
	r, err := p.node.do(op, string(p.id), c)
	p.found = append(p.found, r.Points...)
	return r, err
}

func (p *peerParty) publish(count int) error {
	r, err := p.do("keyPackages", "", call{Suite: uint16(p.suite), Count: count})
	for _, k := range r.KeyPackages {
		p.ds.Publish(p.id, conclave.KeyPackageEntry{KeyPackage: k})
	}
	return err
}

func (p *peerParty) create(id conclave.ConversationID, o creation) error {
	_, err := p.do("create", id, call{Suite: uint16(p.suite), ExternalSender: o.externalSender})
	return err
}

func (p *peerParty) join(welcome []byte) error {
	_, err := p.do("join", "", call{Welcome: welcome})
	return err
}

func (p *peerParty) externalJoin(groupInfo []byte) error {
	_, err := p.do("externalJoin", "", call{GroupInfo: groupInfo})
	return err
}

func (p *peerParty) add(id conclave.ConversationID, keyPackages ...[]byte) error {
	_, err := p.do("add", id, call{KeyPackages: keyPackages})
	return err
}

func (p *peerParty) remove(id conclave.ConversationID, members ...conclave.ClientID) error {
	c := call{}
	for _, m := range members {
		c.Members = append(c.Members, string(m))
	}
	_, err := p.do("remove", id, c)
	return err
}

func (p *peerParty) update(id conclave.ConversationID) error {
	_, err := p.do("update", id, call{})
	return err
}

func (p *peerParty) commit(id conclave.ConversationID) error {
	_, err := p.do("commit", id, call{})
	return err
}

func (p *peerParty) rotate(id conclave.ConversationID) error {
	_, err := p.do("rotate", id, call{})
	return err
}

func (p *peerParty) encrypt(id conclave.ConversationID, text string) ([]byte, error) {
	r, err := p.do("encrypt", id, call{Text: text})
	return r.Message, err
}

func (p *peerParty) decrypt(id conclave.ConversationID, message []byte) (received, error) {
	r, err := p.do("decrypt", id, call{Message: message})
	return readResult(r), err
}

func readResult(r result) received {
	made := received{outcome: r.Outcome, text: r.Text, active: r.Active}
	for _, later := range r.Released {
		made.released = append(made.released, readResult(later))
	}
	return made
}

func (p *peerParty) propose(id conclave.ConversationID, o proposal) ([]byte, error) {
	c := call{Kind: "update"}
	switch {
	case o.add != nil:
		c = call{Kind: "add", KeyPackage: o.add}
	case o.remove != "":
		c = call{Kind: "remove", Member: string(o.remove)}
	}
	r, err := p.do("propose", id, c)
	return r.Message, err
}

func (p *peerParty) externalAdd(id conclave.ConversationID, _ uint64, groupInfo []byte) ([]byte, error) {
	r, err := p.do("externalAdd", id, call{GroupInfo: groupInfo, Suite: uint16(p.suite)})
	return r.Message, err
}

func (p *peerParty) externalSender(id conclave.ConversationID) ([]byte, error) {
	r, err := p.do("externalSender", id, call{})
	return r.Key, err
}

func (p *peerParty) wipe(id conclave.ConversationID) error {
	_, err := p.do("wipe", id, call{})
	return err
}

func (p *peerParty) history(id conclave.ConversationID, on bool) error {
	_, err := p.do("history", id, call{On: on})
	return err
}

func (p *peerParty) state(id conclave.ConversationID) (state, error) {
	r, err := p.do("state", id, call{})
	s := state{exists: r.Exists, epoch: r.Epoch, exported: string(r.Exported)}
	for _, m := range r.Members {
		s.members = append(s.members, conclave.ClientID(m))
	}
	return s, err
}
