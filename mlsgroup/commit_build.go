package mlsgroup

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// commitBuild is RFC 9420 section 12.4.1 from the applied proposals on, the
// same for a member's commit and an external one.
type commitBuild struct {
	s  *primitive.Suite
	in *Input
	// The epoch that the commit ends.
	base        *GroupContext
	encodedBase []byte
	interim     []byte
	initSecret  secret.Bytes // of the key schedule: the epoch's, or the external one
	// What the commit says.
	sender            Sender
	committer         LeafIndex
	proposals         []ProposalOrRef
	applied           *appliedProposals
	psks              []preSharedKey
	authenticatedData []byte
	wireFormat        WireFormat
	// The path; leaf is nil where the commit has none. It makes the committer's
	// new leaf, signed.
	leaf     func(encryptionKey, parentHash []byte) (*LeafNode, error)
	replaced *LeafNode // the leaf that the path's takes the place of
	keys     pathKeys  // the committer's before the commit
	// Who signs the framing and who the GroupInfo.
	framingKey, infoKey secret.Bytes
	// The GroupInfo.
	withoutTree         bool
	groupInfoExtensions Extensions
}

// builtCommit is the outcome of a commitBuild: everything but the protection of
// the message.
type builtCommit struct {
	ac        *AuthenticatedContent
	context   GroupContext
	interim   []byte
	tree      *RatchetTree
	keys      pathKeys
	secrets   *epochSecrets
	path      *UpdatePath
	welcome   *Welcome // nil without Adds
	groupInfo *GroupInfo
}

func (b *commitBuild) build() (*builtCommit, error) {
	s, a := b.s, b.applied
	gc := *b.base
	gc.Epoch++
	gc.Extensions = a.extensions
	path, err := b.path(gc)
	if err != nil {
		return nil, err
	}
	defer path.wipe()
	defer path.CommitSecret.Wipe()
	out := &builtCommit{tree: path.Tree, keys: path.Keys, path: path.Path}
	fresh := a.fresh
	if out.path != nil {
		fresh = append(fresh[:len(fresh):len(fresh)], newLeaf{b.committer, out.path.LeafNode})
	}
	if err := a.checkTree(out.tree, fresh); err != nil {
		return nil, err
	}
	gc.TreeHash = out.tree.rootHash()

	out.ac = &AuthenticatedContent{WireFormat: b.wireFormat, Content: FramedContent{
		GroupID: gc.GroupID, Epoch: b.base.Epoch, Sender: b.sender, AuthenticatedData: b.authenticatedData,
		ContentType: ContentTypeCommit, Commit: &Commit{Proposals: b.proposals, Path: out.path},
	}}
	// It is signed, hashed and sent: encoding it once is enough.
	out.ac.Content.commit = out.ac.Content.Commit.append(make([]byte, 0, out.ac.Content.sizeHint()))
	if err := out.ac.sign(s, b.framingKey, b.encodedBase); err != nil {
		return nil, err
	}
	gc.ConfirmedTranscriptHash = confirmedTranscriptHash(s, b.interim, out.ac)
	out.context = gc

	pskSecret, err := newPSKSecret(s, b.psks)
	if err != nil {
		return nil, err
	}
	defer pskSecret.Wipe()
	es, joinerSecret := newEpochSecrets(s, b.initSecret, path.CommitSecret, pskSecret, gc.append(nil))
	defer joinerSecret.Wipe()
	out.secrets = es
	out.ac.Auth.ConfirmationTag = es.confirmationTag(s, gc.ConfirmedTranscriptHash)
	out.interim = interimTranscriptHash(s, gc.ConfirmedTranscriptHash, out.ac.Auth.ConfirmationTag)

	out.groupInfo, err = newGroupInfo(s, &gc, es, out.ac.Auth.ConfirmationTag, out.tree, b.committer, b.infoKey, b.withoutTree, b.groupInfoExtensions)
	if err != nil {
		return nil, err
	}
	if len(a.added) == 0 {
		return out, nil
	}
	joiners, err := b.joiners(path)
	if err != nil {
		return nil, err
	}
	out.welcome, err = sealWelcome(s, out.groupInfo, joinerSecret, pskSecret, a.list.psks, joiners, b.in.Rand, b.in.Do)
	return out, err
}

// path makes the path of the commit that leads to the given context, and without one
// only the new tree with the keys that the committer keeps in it.
func (b *commitBuild) path(next GroupContext) (*createdPath, error) {
	a := b.applied
	if b.leaf == nil {
		tree := a.edit.finish(b.in.Do)
		return &createdPath{sender: b.committer, Tree: tree, Keys: b.keys.prune(tree)}, nil
	}
	return a.edit.createPath(pathOptions{
		Sender: b.committer, Exclude: a.added, Rand: b.in.Rand, Do: b.in.Do,
		Leaf: func(encryptionKey, parentHash []byte) (*LeafNode, error) {
			leaf, err := b.leaf(encryptionKey, parentHash)
			if err != nil {
				return nil, err
			}
			if err := a.rules.check(leaf, b.committer); err != nil {
				return nil, err
			}
			return leaf, b.in.authenticate(leaf, b.replaced)
		},
		Context: func(treeHash []byte) ([]byte, error) {
			next.TreeHash = treeHash
			return next.append(nil), nil
		},
	})
}

// joiners returns those whom the commit adds, in its order.
func (b *commitBuild) joiners(path *createdPath) ([]joiner, error) {
	a := b.applied
	joiners := make([]joiner, len(a.added))
	return joiners, b.in.doErr(len(joiners), func(k int) error {
		kp := a.list.adds[k]
		ref, err := kp.Ref()
		joiners[k] = joiner{ref: ref, initKey: kp.InitKey, pathSecret: path.secretFor(a.added[k])}
		return err
	})
}

// own makes the OwnCommit of a built commit, whose message was protected.
func (b *commitBuild) own(out *builtCommit, h *head, message []byte) *OwnCommit {
	h.setContext(&out.context)
	h.confirmationTag, h.interim = out.ac.Auth.ConfirmationTag, out.interim
	c := &OwnCommit{
		Bundle:          CommitBundle{Commit: message},
		Hash:            hashCommit(message),
		GroupID:         h.context.GroupID,
		Epoch:           out.context.Epoch,
		ConfirmationTag: h.confirmationTag,
	}
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatGroupInfo, GroupInfo: out.groupInfo}
	c.Bundle.GroupInfo = m.Marshal()
	if out.welcome != nil {
		m = MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatWelcome, Welcome: out.welcome}
		c.Bundle.Welcome = m.Marshal()
	}
	return c
}

// CommitOptions says what to commit. The zero value commits the pending
// proposals.
type CommitOptions struct {
	// Proposals to commit by value, of any type but Update and ExternalInit.
	// The nonce of a PreSharedKey may be left out.
	Proposals []Proposal
	// WithoutPending leaves out the proposals that wait. Without it all that
	// make a valid list are committed by reference.
	WithoutPending bool
	// ForcePath makes a path in the Wire profile, which otherwise has one only
	// where it must; OmitPath leaves it out in the RFC profile, where it may be.
	ForcePath bool
	OmitPath  bool
	// Leaf changes the own leaf, which takes a path. Nil changes nothing but
	// the encryption key, if there is a path.
	Leaf *LeafChange
	// AuthenticatedData that goes with the message, readable by all.
	AuthenticatedData []byte
	// Message is application data, if not nil, that is sealed as the first message
	// of the epoch that the commit begins, and is to be delivered if the commit is.
	Message secret.Bytes
	// WireFormat of the commit; 0 for the profile's.
	WireFormat WireFormat
	// WithoutRatchetTree leaves the tree out of Welcome and GroupInfo. New
	// members then have to get it elsewhere.
	WithoutRatchetTree bool
	// GroupInfoExtensions go into the GroupInfo after those of ours.
	GroupInfoExtensions Extensions
}

// Commit makes a commit of ours and what follows if it is accepted. The group
// does not change by that, except that a commit in a PrivateMessage uses up a
// generation of the own handshake ratchet: OwnCommit.Before then has the
// transition that is to be written before the commit leaves.
//
// Errors a caller may want to tell apart: *CheckError, *PSKError, ErrInactive,
// *Need.
func (g *Group) Commit(in Input, o CommitOptions) (*OwnCommit, error) {
	return g.commit(&in, &o, nil, 0)
}

// commit is Commit, which may also be the first commit of a group that
// continues another, in whose name PSKs of the given usage stand.
func (g *Group) commit(in *Input, o *CommitOptions, origin *Group, usage ResumptionPSKUsage) (*OwnCommit, error) {
	h, profile := g.head, g.head.profile.rules()
	if err := h.active(); err != nil {
		return nil, err
	}
	if h.context.Epoch >= maxEpoch {
		return nil, fmt.Errorf("mlsgroup: no epoch after %d", h.context.Epoch)
	}
	signer, err := g.signer(in)
	if err != nil {
		return nil, err
	}
	format, err := g.handshakeFormat(o.WireFormat)
	if err != nil {
		return nil, err
	}
	needSecrets := error(nil)
	if format == WireFormatPrivateMessage {
		_, err := g.secrets.generation(h.own, handshakeRatchet)
		needSecrets = secretError(err, g.Epoch())
	}
	if err := needBoth(g.need(partTree, partPath, partProposals), needSecrets); err != nil {
		return nil, err
	}

	rules := &listRules{gc: &h.context, tree: g.tree, nonceSize: g.s.HashSize(), committer: h.own, usage: usage}
	swept, err := g.sweep(in, o)
	if err != nil {
		return nil, err
	}
	list, err := rules.sort(swept.listed)
	if err != nil {
		return nil, err
	}
	pskOwner := g
	if origin != nil {
		pskOwner = origin
	}
	psks, err := pskOwner.psks(in, list.psks)
	if err != nil {
		return nil, err
	}
	applied, err := list.apply(in, rules, g.tree, true)
	if err != nil {
		return nil, err
	}

	b := &commitBuild{
		s: g.s, in: in, base: &h.context, encodedBase: h.encodedContext, interim: h.interim, initSecret: h.secrets.init,
		sender: Sender{Type: SenderTypeMember, LeafIndex: h.own}, committer: h.own,
		proposals: swept.entries, applied: applied, psks: psks, authenticatedData: o.AuthenticatedData, wireFormat: format,
		replaced: g.tree.Leaf(h.own), keys: *g.path, framingKey: signer.Private, infoKey: signer.Private,
		withoutTree: o.WithoutRatchetTree, groupInfoExtensions: o.GroupInfoExtensions,
	}
	nh, nextSigner := h.next(), signer
	if list.pathRequired() || o.ForcePath || o.Leaf != nil || swept.ownUpdate || !profile.omitPath && !o.OmitPath {
		if nextSigner, err = b.withPath(h, o.Leaf, signer); err != nil {
			return nil, err
		}
		nh.signatureKey = nextSigner.Public
	}
	out, err := b.build()
	if err != nil {
		return nil, err
	}
	sealed, err := g.seal(in, out.ac)
	if err != nil {
		return nil, err
	}
	if list.reInit != nil {
		nh.membership, nh.reInit = membershipEnded, list.reInit
	}
	c := b.own(out, nh, sealed.Outbound.Message)
	if sealed.Outbound.Encrypted {
		c.Before = sealed
	}
	c.Base = g.Lineage()
	begun, begin := beginEpoch(g.s, nh, out.tree, out.keys, out.secrets)
	if o.Message != nil {
		with := *in
		with.Signer = nextSigner
		if c.Bundle.Message, begun, begin, err = begun.sealFirst(with, o.Message, begin); err != nil {
			return nil, err
		}
	}
	c.next, c.past = begun, g.newPastEpoch(out.tree)
	c.After = append(begin, epochRecords(g.tree, out.tree, *g.path, out.keys)...)
	c.effect = g.effect(applied, h.own, false, out.path)
	return c, nil
}

// withPath gives the commit of a member a path, with a leaf that is changed as told.
// It returns who signs from then on.
func (b *commitBuild) withPath(h *head, change *LeafChange, signer *Signer) (*Signer, error) {
	next := signer
	if change != nil && change.Signer != nil {
		next = change.Signer
		if err := h.checkKeyChange(b.replaced, next); err != nil {
			return nil, err
		}
	}
	b.leaf = func(encryptionKey, parentHash []byte) (*LeafNode, error) {
		leaf, _, err := change.apply(b.replaced, signer, encryptionKey)
		if err != nil {
			return nil, err
		}
		leaf.Source, leaf.ParentHash = LeafNodeSourceCommit, parentHash
		return leaf, leaf.sign(b.s, next, h.context.GroupID, h.own)
	}
	b.infoKey = next.Private
	if h.profile.rules().pathKeySigns {
		b.framingKey = next.Private
	}
	return next, nil
}

// sealFirst makes the first application message of an epoch that has just been made,
// of which begin is the records. It returns the group after it, and its records: the
// root of the secret tree, which the message has split, is not among them any more.
func (g *Group) sealFirst(in Input, plaintext secret.Bytes, begin []Change) ([]byte, *Group, []Change, error) {
	t, err := g.Encrypt(in, plaintext, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	begin = slices.DeleteFunc(begin, func(ch Change) bool {
		if len(ch.Key) == 0 || recordKind(ch.Key[0]) != recordSecret {
			return false
		}
		ch.Value.Wipe()
		return true
	})
	for _, b := range t.Consumed {
		b.Wipe() // nobody has seen the group that it was of
	}
	return t.Outbound.Message, t.Next, append(begin, t.Changes...), nil
}

// checkKeyChange refuses, in the Wire profile, what members of that profile
// would refuse of us: see Group.sender.
func (h *head) checkKeyChange(old *LeafNode, next *Signer) error {
	if !h.profile.rules().pathKeySigns || bytes.Equal(old.SignatureKey, next.Public) || next.Credential.Type == CredentialTypeX509 {
		return nil
	}
	if h.basicKeyChange && next.Credential.Equal(&old.Credential) {
		return nil
	}
	return CheckCredentialSuccessor.Errorf("a signature key changes without a certificate")
}
