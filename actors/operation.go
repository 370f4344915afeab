package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// perform carries out a request. Most go to one actor. Those that need several are
// sequences of steps of one transaction, the caller's or one of their own; they run
// on the caller's goroutine, where also the pure group steps are computed that need
// no actor's state, so that joining a large group holds up nobody.
func (s *System) perform(ctx context.Context, at place, id messages.ConversationID, r messages.Request) (messages.Reply, error) {
	if p := profileOf(r); p > messages.ProfileRFC9420 {
		return nil, fmt.Errorf("%w: profile %d", messages.ErrInvalidArgument, p)
	}
	if p := wirePolicyOf(r); p > messages.WirePolicyCiphertext {
		return nil, fmt.Errorf("%w: wire policy %d", messages.ErrInvalidArgument, p)
	}
	switch r := r.(type) {
	case messages.Finish, messages.Abort:
		if at.tx == nil {
			return nil, messages.ErrInvalidTransaction
		}
		return at.tx.end(newTask(ctx, r))
	case messages.Touch:
		return s.touch(ctx, at, r)
	case messages.ProcessWelcome:
		return s.within(ctx, at, func(at place) (messages.Reply, error) { return s.processWelcome(ctx, at, r) })
	case messages.JoinByExternalCommit:
		return s.within(ctx, at, func(at place) (messages.Reply, error) { return s.joinByExternalCommit(ctx, at, r) })
	case messages.ListConversations:
		return s.listConversations(ctx, at)
	case messages.InitClient, messages.ListClients, messages.GenerateKeypairs:
		return nil, fmt.Errorf("%w: %T goes to instance 0", messages.ErrInvalidArgument, r)
	}
	if id == "" {
		if reply, ok, err := s.proteus(ctx, at, r); ok {
			return reply, err
		}
		if reply, ok, err := s.endToEnd(ctx, at, r); ok {
			return reply, err
		}
		if reply, ok, err := s.enrollment(ctx, at, r); ok {
			return reply, err
		}
		return s.askClient(ctx, at, r)
	}
	switch r := r.(type) {
	case messages.ReadE2EIState:
		return s.readE2EIState(ctx, at, id)
	case messages.ReadIdentities:
		return s.readIdentities(ctx, at, id, r)
	case messages.CreateConversation:
		return s.within(ctx, at, func(at place) (messages.Reply, error) { return s.createConversation(ctx, at, id, r) })
	case messages.MarkAsChildOf:
		return s.within(ctx, at, func(at place) (messages.Reply, error) { return s.markAsChildOf(ctx, at, id, r) })
	case messages.SetCredential:
		return s.within(ctx, at, func(at place) (messages.Reply, error) { return s.setCredential(ctx, at, id, r) })
	case messages.ReadConversation, messages.ListMembers, messages.ExportSecret, messages.ExportGroupInfo:
		return s.readConversation(ctx, at, id, r)
	}
	return s.conversationStep(ctx, at, id, r)
}

// endToEnd carries out the requests of end-to-end identity that name no conversation.
// ok is false for others.
func (s *System) endToEnd(ctx context.Context, at place, r messages.Request) (reply messages.Reply, ok bool, err error) {
	switch r := r.(type) {
	case messages.RegisterTrustAnchor, messages.RemoveTrustAnchor, messages.RegisterIntermediate, messages.RegisterCRL:
		reply, err = s.askPKI(ctx, at, r)
	case messages.ReadPKI:
		reply = readPKI(at.client.trust(at.tx))
	case messages.SaveX509Credential:
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.saveX509Credential(ctx, at, r) })
	case messages.CheckCredentials:
		reply, err = s.checkCredentials(ctx, at)
	case messages.ListDistributionPoints:
		reply, err = s.listDistributionPoints(ctx, at)
	case messages.ReadGroupInfoState:
		reply, err = s.readGroupInfoState(at, r)
	case messages.Identify:
		reply = messages.Identified{Identity: identify(at.client.trust(at.tx), s.options.Now(), r.CipherSuite, &r.Credential, r.SignatureKey)}
	default:
		return nil, false, nil
	}
	return reply, true, err
}

// within runs a sequence of steps in the caller's transaction, or in one of its own
// that ends with it. One of its own that has to give way in a deadlock before it has
// sent anything is run again: the caller knows of no transaction.
func (s *System) within(ctx context.Context, at place, f func(at place) (messages.Reply, error)) (messages.Reply, error) {
	if at.tx != nil {
		return f(at)
	}
	for try := 1; ; try++ {
		reply, sent, err := s.alone(ctx, at, f)
		switch {
		case err != nil && s.gate.closed.Load() && (errors.Is(err, messages.ErrInvalidTransaction) || errors.Is(err, messages.ErrConflict)):
			return nil, messages.ErrClosed // it was aborted under our hands
		case errors.Is(err, messages.ErrConflict) && !sent && try < maxTries:
			continue
		}
		return reply, err
	}
}

// alone runs a sequence of steps in a transaction of its own, and tells whether a
// commit has left.
func (s *System) alone(ctx context.Context, at place, f func(at place) (messages.Reply, error)) (reply messages.Reply, sent bool, err error) {
	begun, err := newTask(ctx, messages.Begin{}).wait(at.client.coordinator)
	if err != nil {
		return nil, false, err
	}
	tx, ok := s.transactions.load(begun.(messages.TransactionBegun).Transaction)
	if !ok {
		return nil, false, messages.ErrInvalidTransaction
	}
	at.tx = tx
	err = safely(s.log, "operation", func() (err error) {
		reply, err = f(at)
		return err
	})
	if err != nil {
		_, _ = tx.end(newTask(context.WithoutCancel(ctx), messages.Abort{}))
		return nil, tx.sent.Load(), err
	}
	if _, err = tx.end(newTask(ctx, messages.Finish{})); err != nil {
		var failed *messages.TransactionFailed
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, tx.sent.Load(), err
	}
	return reply, tx.sent.Load(), nil
}

// touchConversation takes a conversation's guard and does nothing.
type touchConversation struct{ messages.Step }

// touch takes guards in the order of the ids, so that two transactions that touch
// first never wait for each other in a circle.
func (s *System) touch(ctx context.Context, at place, r messages.Touch) (messages.Reply, error) {
	if at.tx == nil {
		return nil, messages.ErrInvalidTransaction
	}
	for _, id := range slices.Sorted(slices.Values(r.Conversations)) {
		if _, err := s.askConversation(ctx, at, id, newTask(ctx, touchConversation{})); err != nil {
			return nil, err
		}
	}
	return messages.Touched{}, nil
}

// conversationStep asks the conversation. A step that needs an external pre-shared
// key which the transaction itself has put is taken again with it, as is a commit that
// needs a history client.
func (s *System) conversationStep(ctx context.Context, at place, id messages.ConversationID, r messages.Request) (messages.Reply, error) {
	var psks map[string]pskValue
	var made *history
	defer func() { made.wipe() }()
	for {
		t := newTask(ctx, r)
		t.psks, t.history = psks, made
		reply, err := s.askConversation(ctx, at, id, t)
		if err == nil {
			return reply, nil
		}
		var need *needsHistory
		if errors.As(err, &need) && made == nil {
			if made, err = s.newHistory(ctx, at, id, need); err != nil {
				return nil, err
			}
			continue
		}
		var missing *mlsgroup.PSKError
		if at.tx == nil || !errors.As(err, &missing) || missing.ID.Type != mlsgroup.PSKTypeExternal {
			return reply, err
		}
		if _, known := psks[string(missing.ID.ExternalID)]; known || len(psks) >= maxNeed {
			return reply, err
		}
		found, pskErr := s.askClient(ctx, at, readPSK{id: missing.ID.ExternalID})
		if pskErr != nil {
			return nil, pskErr
		}
		psk := found.(pskRead).psk
		if psk == nil {
			return reply, err
		}
		next := maps.Clone(psks) // the old one was given away
		if next == nil {
			next = make(map[string]pskValue)
		}
		next[string(psk.id)] = *psk
		psks = next
	}
}

// use finds a credential and keeps it from being removed while the transaction lasts.
func (s *System) use(ctx context.Context, at place, cs mlsgroup.CipherSuite, ref messages.CredentialRef) (*credentialRecord, error) {
	return s.useOf(ctx, at, useCredential{suite: cs, ref: ref})
}

// useOf is use of a credential of a certain type.
func (s *System) useOf(ctx context.Context, at place, which useCredential) (*credentialRecord, error) {
	reply, err := s.askClient(ctx, at, which)
	if err != nil {
		return nil, err
	}
	return reply.(credentialUsed).record, nil
}

// adopt gives a conversation its first group, or a Welcome's.
type adopt struct {
	messages.Step
	transition *mlsgroup.Transition
	credential *credentialRecord
	signer     *mlsgroup.Signer
	welcome    bool           // epoch events are for joins, not for creation
	spent      *keyPackageRef // that the Welcome uses up, nil for none
	points     []string       // new distribution points in the members' certificates
}

// adopted answers adopt.
type adopted struct {
	messages.Step
	released []messages.Released
}

func (s *System) createConversation(ctx context.Context, at place, id messages.ConversationID, r messages.CreateConversation) (messages.Reply, error) {
	credential, err := s.use(ctx, at, r.CipherSuite, r.Credential)
	if err != nil {
		return nil, err
	}
	cs := r.CipherSuite
	if cs == 0 {
		cs = credential.entry.CipherSuite
	}
	signer := credential.signer(cs)
	options := mlsgroup.GroupOptions{
		GroupID: []byte(id), Profile: at.client.profile(r.Profile), Receive: at.client.receive(r.Receive),
		BasicKeyChange: at.client.config.Load().keyChange, PrivateHandshakes: r.WirePolicy == messages.WirePolicyCiphertext,
	}
	if len(r.ExternalSenders) > 0 {
		options.Extensions = mlsgroup.Extensions{mlsgroup.ExternalSendersExtension(r.ExternalSenders)}
	}
	// The guard first: no group is made for an id that has one.
	if _, err := s.askConversation(ctx, at, id, newTask(ctx, requireAbsent{})); err != nil {
		return nil, err
	}
	transition, err := mlsgroup.NewGroup(at.client.input(at.tx, signer), options)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrInvalidArgument, err)
	}
	_, err = s.askConversation(ctx, at, id, newTask(ctx, adopt{transition: transition, credential: credential, signer: signer}))
	return messages.ConversationCreated{}, err
}

// requireAbsent takes the guard of a conversation that must have no group.
type requireAbsent struct{ messages.Step }

func (s *System) processWelcome(ctx context.Context, at place, r messages.ProcessWelcome) (messages.Reply, error) {
	welcome, err := readWelcome(r.Message)
	if err != nil {
		return nil, err
	}
	refs := make([]keyPackageRef, len(welcome.Secrets))
	for i := range welcome.Secrets {
		refs[i] = welcome.Secrets[i].NewMember
	}
	reply, err := s.askClient(ctx, at, takeKeyPackage{refs: refs})
	if err != nil {
		return nil, err
	}
	taken := reply.(keyPackageTaken)
	if taken.record.parsed.CipherSuite != welcome.CipherSuite {
		return nil, messages.ErrOrphanWelcome
	}
	signer := taken.credential.signer(welcome.CipherSuite)
	in := at.client.input(at.tx, signer)
	in.PSK = s.pskLookup(at, ctx)
	o := mlsgroup.JoinOptions{
		KeyPackage: taken.record.bundle(), Profile: at.client.profile(r.Profile), Receive: at.client.receive(r.Receive),
		BasicKeyChange: at.client.config.Load().keyChange, PrivateHandshakes: r.WirePolicy == messages.WirePolicyCiphertext,
	}
	if len(r.RatchetTree) > 0 {
		if o.RatchetTree, err = mlsgroup.ParseRatchetTree(r.RatchetTree); err != nil {
			return nil, fmt.Errorf("%w: ratchet tree: %w", messages.ErrInvalidMessage, err)
		}
	}
	transition, err := mlsgroup.Join(in, welcome, o)
	if err != nil {
		return nil, invalidMessage(err)
	}
	id := messages.ConversationID(transition.Next.GroupID())
	points := newPoints(at.client.trust(at.tx), memberCredentials(transition.Next))
	var spent *keyPackageRef
	if !taken.record.parsed.LastResort() {
		spent = &taken.record.ref
	}
	answer, err := s.askConversation(ctx, at, id, newTask(ctx, adopt{
		transition: transition, credential: taken.credential, signer: signer, welcome: true, spent: spent, points: points,
	}))
	if err != nil {
		return nil, err
	}
	// The conversation is staged; from here on the caller's context does not part it
	// from its key package.
	if spent != nil {
		if _, err := s.askClient(context.WithoutCancel(ctx), at, spendKeyPackage{ref: *spent}); err != nil {
			return nil, err
		}
	}
	return messages.ConversationJoined{
		Conversation: id, Epoch: transition.Next.Epoch(), Released: answer.(adopted).released, NewDistributionPoints: points,
	}, nil
}

// pskLookup finds external pre-shared keys as the transaction sees them.
func (s *System) pskLookup(at place, ctx context.Context) func(mlsgroup.PreSharedKeyID) (secret.Bytes, bool) {
	return func(id mlsgroup.PreSharedKeyID) (secret.Bytes, bool) {
		if id.Type != mlsgroup.PSKTypeExternal {
			return nil, false
		}
		reply, err := s.askClient(ctx, at, readPSK{id: id.ExternalID})
		if err != nil {
			return nil, false
		}
		psk := reply.(pskRead).psk
		if psk == nil {
			return nil, false
		}
		return psk.psk, true
	}
}

// join asks a conversation to send an external commit and to join by it.
type join struct {
	messages.Step
	info       *mlsgroup.GroupInfo
	tree       *mlsgroup.RatchetTree
	credential *credentialRecord
	signer     *mlsgroup.Signer
	profile    mlsgroup.Profile
	private    bool // the proposals and commits that follow
	receive    mlsgroup.ReceiveConfig
}

func (s *System) joinByExternalCommit(ctx context.Context, at place, r messages.JoinByExternalCommit) (messages.Reply, error) {
	info, err := readGroupInfo(r.GroupInfo)
	if err != nil {
		return nil, err
	}
	credential, err := s.use(ctx, at, info.GroupContext.CipherSuite, r.Credential)
	if err != nil {
		return nil, err
	}
	step := join{
		info: info, credential: credential, signer: credential.signer(info.GroupContext.CipherSuite),
		profile: at.client.profile(r.Profile), private: r.WirePolicy == messages.WirePolicyCiphertext, receive: at.client.receive(r.Receive),
	}
	if len(r.RatchetTree) > 0 {
		if step.tree, err = mlsgroup.ParseRatchetTree(r.RatchetTree); err != nil {
			return nil, fmt.Errorf("%w: ratchet tree: %w", messages.ErrInvalidMessage, err)
		}
	}
	return s.conversationStep(ctx, at, messages.ConversationID(info.GroupContext.GroupID), step)
}

// requireParent takes the guard of a conversation that must have a group.
type requireParent struct{ messages.Step }

// markAsChildOf keeps the parent from being wiped until the child is marked.
func (s *System) markAsChildOf(ctx context.Context, at place, id messages.ConversationID, r messages.MarkAsChildOf) (messages.Reply, error) {
	if r.Parent == id || r.Parent == "" {
		return nil, fmt.Errorf("%w: the parent of a conversation is another one", messages.ErrInvalidArgument)
	}
	if _, err := s.askConversation(ctx, at, r.Parent, newTask(ctx, requireParent{})); err != nil {
		return nil, err
	}
	return s.askConversation(ctx, at, id, newTask(ctx, r))
}

// rotate asks a conversation to commit a path with another credential.
type rotate struct {
	messages.Step
	credential *credentialRecord
	once       bool // not where the leaf carries it already
}

func (s *System) setCredential(ctx context.Context, at place, id messages.ConversationID, r messages.SetCredential) (messages.Reply, error) {
	which := useCredential{ref: r.Credential}
	if r.Credential == (messages.CredentialRef{}) {
		suite, err := s.suiteOf(ctx, at, id)
		if err != nil {
			return nil, err
		}
		which = useCredential{suite: suite, kind: mlsgroup.CredentialTypeX509}
	}
	credential, err := s.useOf(ctx, at, which)
	if err != nil {
		return nil, err
	}
	return s.conversationStep(ctx, at, id, rotate{credential: credential, once: r.Once})
}

// suiteOf returns the suite of a conversation that has a group.
func (s *System) suiteOf(ctx context.Context, at place, id messages.ConversationID) (mlsgroup.CipherSuite, error) {
	reply, err := s.askConversation(ctx, at, id, newTask(ctx, messages.ReadConversation{}))
	if err != nil {
		return 0, err
	}
	read := reply.(messages.ConversationRead)
	if !read.Exists {
		return 0, messages.ErrConversationNotFound
	}
	return read.CipherSuite, nil
}

// input is what group steps get from outside, but for the authentication service of a
// client.
func (s *System) input(signer *mlsgroup.Signer) mlsgroup.Input {
	return mlsgroup.Input{
		Rand: s.options.Rand, Now: s.options.Now(), Auth: s.options.Auth, Signer: signer, Do: s.options.Do,
	}
}

// input is System.input for a step of a client's transaction; nil is a single call.
func (c *client) input(tx *transaction, signer *mlsgroup.Signer) mlsgroup.Input {
	in := c.sys.input(signer)
	if in.Auth == nil {
		in.Auth = authentication{c.trust(tx), in.Now}
	}
	return in
}

// profileOf returns the profile that a request names.
func profileOf(r messages.Request) messages.Profile {
	switch r := r.(type) {
	case messages.CreateConversation:
		return r.Profile
	case messages.ProcessWelcome:
		return r.Profile
	case messages.JoinByExternalCommit:
		return r.Profile
	case messages.GenerateKeyPackages:
		return r.Profile
	case messages.ProposeJoin:
		return r.Profile
	}
	return messages.ProfileDefault
}

// wirePolicyOf returns the wire policy that a request names.
func wirePolicyOf(r messages.Request) messages.WirePolicy {
	switch r := r.(type) {
	case messages.CreateConversation:
		return r.WirePolicy
	case messages.ProcessWelcome:
		return r.WirePolicy
	case messages.JoinByExternalCommit:
		return r.WirePolicy
	}
	return messages.WirePolicyPlaintext
}

// profile resolves the profile of a conversation.
func (c *client) profile(p messages.Profile) mlsgroup.Profile {
	if p == messages.ProfileDefault {
		p = c.config.Load().profile
	}
	if p == messages.ProfileRFC9420 {
		return mlsgroup.ProfileRFC
	}
	return mlsgroup.ProfileWire
}

// receive resolves the receive settings of a conversation; what is still zero is
// mlsgroup's default.
func (c *client) receive(r mlsgroup.ReceiveConfig) mlsgroup.ReceiveConfig {
	if r == (mlsgroup.ReceiveConfig{}) {
		r = c.config.Load().receive
	}
	return r
}

func (k *keyPackageRecord) bundle() *mlsgroup.KeyPackageBundle {
	return &mlsgroup.KeyPackageBundle{KeyPackage: k.parsed, InitPrivate: k.initPrivate, LeafPrivate: k.leafPrivate}
}

// readWelcome reads a Welcome, bare or in an MLSMessage. The latter begins with
// version 1, which is no suite that a Welcome's first entry could follow.
func readWelcome(b []byte) (*mlsgroup.Welcome, error) {
	if m, err := mlsgroup.ParseMLSMessage(b); err == nil {
		if m.Welcome == nil {
			return nil, fmt.Errorf("%w: not a Welcome", messages.ErrInvalidMessage)
		}
		return m.Welcome, nil
	}
	w, err := mlsgroup.ParseWelcome(b)
	if err != nil {
		return nil, fmt.Errorf("%w: Welcome: %w", messages.ErrInvalidMessage, err)
	}
	return w, nil
}

// readGroupInfo reads a GroupInfo, bare as Wire's backend hands it out, or in an
// MLSMessage as it stands in a bundle.
func readGroupInfo(b []byte) (*mlsgroup.GroupInfo, error) {
	if m, err := mlsgroup.ParseMLSMessage(b); err == nil && m.GroupInfo != nil {
		return m.GroupInfo, nil
	}
	gi, err := mlsgroup.ParseGroupInfo(b)
	if err != nil {
		return nil, fmt.Errorf("%w: GroupInfo: %w", messages.ErrInvalidMessage, err)
	}
	return gi, nil
}
