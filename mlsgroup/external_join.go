package mlsgroup

import (
	"bytes"
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// ExternalJoinOptions says how to join by an external commit.
type ExternalJoinOptions struct {
	// Profile is required: nothing in a GroupInfo tells it.
	Profile Profile
	Receive ReceiveConfig
	// RatchetTree, where the GroupInfo has none.
	RatchetTree *RatchetTree
	// Leaf says what the own leaf is like; of KeyPackageOptions the
	// capabilities and leaf extensions matter.
	Leaf KeyPackageOptions
	// Remove names an earlier leaf of ours to be removed. Without it the leaf
	// with our signature key is, if there is one, and in the Wire profile the
	// one with our credential, or with one that Own says is ours. Nil says so
	// of none.
	Remove *LeafIndex
	Own    func(c *Credential) bool
	// PSKs to inject, nonces left out.
	PSKs []PreSharedKeyID
	// AuthenticatedData that goes with the commit, readable by all.
	AuthenticatedData []byte
	// WithoutRatchetTree leaves the tree out of the new GroupInfo.
	WithoutRatchetTree bool
	// BasicKeyChange and PrivateHandshakes as in GroupOptions.
	BasicKeyChange, PrivateHandshakes bool
}

// JoinByExternalCommit makes the commit by which we join the group of a
// GroupInfo (RFC 9420 section 12.4.3.2), with the credential of Input.Signer.
// We are in when it is accepted: then Merge, on a nil Group, gives the state.
// Errors a caller may want to tell apart: *CheckError, *PSKError.
func JoinByExternalCommit(in Input, gi *GroupInfo, o ExternalJoinOptions) (*OwnCommit, error) {
	if err := o.Profile.check(); err != nil {
		return nil, err
	}
	s, err := gi.GroupContext.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	signer, err := in.signer(gi.GroupContext.CipherSuite)
	if err != nil {
		return nil, err
	}
	tree, externalPub, capabilities, err := o.verify(&in, gi, s, signer)
	if err != nil {
		return nil, err
	}

	// Randomness: the external init, then nonces, then the path.
	seed, err := in.random(s.SeedSize())
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	kemOutput, initSecret, err := newExternalInit(s, externalPub, seed)
	if err != nil {
		return nil, CheckExternalPub.Errorf("%v", err)
	}
	defer initSecret.Wipe()
	b := &commitBuild{
		s: s, in: &in, base: &gi.GroupContext, encodedBase: gi.GroupContext.append(nil), initSecret: initSecret,
		interim: interimTranscriptHash(s, gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag),
		sender:  Sender{Type: SenderTypeNewMemberCommit}, authenticatedData: o.AuthenticatedData, wireFormat: WireFormatPublicMessage,
		framingKey: signer.Private, infoKey: signer.Private, withoutTree: o.WithoutRatchetTree,
	}
	if err := o.apply(b, tree, signer, kemOutput); err != nil {
		return nil, err
	}
	b.withJoinerPath(signer, capabilities, o.Leaf.LeafExtensions)
	out, err := b.build()
	if err != nil {
		return nil, err
	}
	return o.ownCommit(b, out, signer)
}

// verify checks that the group can be joined, by us, and returns what that takes: the
// tree, the key that outsiders encrypt to, and the capabilities of the own leaf.
func (o *ExternalJoinOptions) verify(in *Input, gi *GroupInfo, s *primitive.Suite, signer *Signer) (*RatchetTree, []byte, Capabilities, error) {
	var c Capabilities
	gc := &gi.GroupContext
	if gc.Version != ProtocolVersionMLS10 || gc.Epoch >= maxEpoch {
		return nil, nil, c, fmt.Errorf("mlsgroup: group of version %d in epoch %d", gc.Version, gc.Epoch)
	}
	externalPub, err := gi.externalPub()
	if err != nil {
		return nil, nil, c, err
	}
	tree, err := gi.ratchetTree(s, in, o.RatchetTree)
	if err != nil {
		return nil, nil, c, err
	}
	if err := gi.verifySigner(s, tree); err != nil {
		return nil, nil, c, err
	}
	// It costs little, the tree much.
	if c, err = o.capabilities(gc, signer); err != nil {
		return nil, nil, c, err
	}
	return tree, externalPub, c, gi.verifyTree(in, s, tree)
}

// capabilities returns those of the leaf, once everything that we bring along can
// be in the group.
func (o *ExternalJoinOptions) capabilities(gc *GroupContext, signer *Signer) (Capabilities, error) {
	c := o.Profile.capabilities()
	if o.Leaf.Capabilities != nil {
		c = *o.Leaf.Capabilities
	}
	if err := c.checkOwn(); err != nil {
		return c, err
	}
	if err := o.Leaf.LeafExtensions.checkOwn(false); err != nil {
		return c, err
	}
	if greaseValue(uint16(signer.Credential.Type)) {
		return c, CheckGREASE.Errorf("credential type 0x%04x", uint16(signer.Credential.Type))
	}
	if t, missing := c.unsupported(gc.Extensions); missing {
		return c, CheckJoinerExtensions.Errorf("extension type 0x%04x of the group", uint16(t))
	}
	return c, nil
}

// externalPub returns the key that outsiders encrypt to.
func (gi *GroupInfo) externalPub() ([]byte, error) {
	body, ok := gi.Extensions.find(ExtensionTypeExternalPub)
	if !ok {
		return nil, CheckExternalPub.Errorf("no external_pub extension")
	}
	var pub []byte
	if err := parse(body, func(r *reader) { pub = r.opaque() }); err != nil {
		return nil, fmt.Errorf("external_pub: %w", err)
	}
	return pub, nil
}

// apply fills in what the commit says, applied to the tree, and whose leaf is ours.
func (o *ExternalJoinOptions) apply(b *commitBuild, tree *RatchetTree, signer *Signer, kemOutput []byte) error {
	proposals, replaced, err := o.proposals(b.in, b.s.HashSize(), kemOutput, tree, signer)
	if err != nil {
		return err
	}
	entries, listed := make([]ProposalOrRef, len(proposals)), make([]listedProposal, len(proposals))
	for i, p := range proposals {
		entries[i] = ProposalOrRef{Proposal: p}
		listed[i] = listedProposal{proposal: p, sender: b.sender}
	}
	rules := &listRules{gc: b.base, tree: tree, nonceSize: b.s.HashSize(), external: true}
	list, err := rules.sort(listed)
	if err != nil {
		return err
	}
	var nobody *Group
	if b.psks, err = nobody.psks(b.in, list.psks); err != nil {
		return err
	}
	if b.applied, err = list.apply(b.in, rules, tree, true); err != nil {
		return err
	}
	b.proposals, b.replaced = entries, replaced
	b.committer, err = b.applied.edit.blankLeaf()
	return err
}

// proposals returns what the commit consists of, and the leaf that it removes, nil
// for none.
func (o *ExternalJoinOptions) proposals(in *Input, nonceSize int, kemOutput []byte, tree *RatchetTree, signer *Signer) (list []*Proposal, replaced *LeafNode, err error) {
	list = append(list, &Proposal{Type: ProposalTypeExternalInit, ExternalInit: &ExternalInit{KEMOutput: kemOutput}})
	if i, ok := o.earlierLeaf(tree, signer); ok {
		replaced = tree.Leaf(i)
		list = append(list, &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: i}})
	}
	for _, id := range o.PSKs {
		if id.Nonce, err = in.random(nonceSize); err != nil {
			return nil, nil, err
		}
		list = append(list, &Proposal{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: id}})
	}
	return list, replaced, nil
}

// earlierLeaf finds the leaf that the joiner had before.
func (o *ExternalJoinOptions) earlierLeaf(tree *RatchetTree, signer *Signer) (LeafIndex, bool) {
	if o.Remove != nil {
		return *o.Remove, true
	}
	for i, l := range tree.Members() {
		if bytes.Equal(l.SignatureKey, signer.Public) {
			return i, true
		}
	}
	if o.Profile.rules().pathKeySigns {
		for i, l := range tree.Members() {
			if l.Credential.Equal(&signer.Credential) || o.Own != nil && o.Own(&l.Credential) {
				return i, true
			}
		}
	}
	return 0, false
}

// withJoinerPath gives the commit a path, with a new leaf of ours.
func (b *commitBuild) withJoinerPath(signer *Signer, capabilities Capabilities, extensions Extensions) {
	b.leaf = func(encryptionKey, parentHash []byte) (*LeafNode, error) {
		leaf := &LeafNode{
			EncryptionKey: encryptionKey, SignatureKey: signer.Public, Credential: signer.Credential, Capabilities: capabilities,
			Source: LeafNodeSourceCommit, ParentHash: parentHash, Extensions: extensions,
		}
		if b.replaced != nil {
			if err := b.in.checkResync(leaf, b.replaced); err != nil {
				return nil, err
			}
		}
		return leaf, leaf.sign(b.s, signer, b.base.GroupID, b.committer)
	}
}

// ownCommit is the commit as a message, and what it makes of us once it is accepted.
func (o *ExternalJoinOptions) ownCommit(b *commitBuild, out *builtCommit, signer *Signer) (*OwnCommit, error) {
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPublicMessage}
	var err error
	if m.PublicMessage, err = sealPublicMessage(b.s, out.ac, nil, b.encodedBase); err != nil {
		return nil, err
	}
	h := &head{
		profile: o.Profile, receive: o.Receive.withDefaults(), basicKeyChange: o.BasicKeyChange, privateHandshakes: o.PrivateHandshakes,
		membership: membershipActive, own: b.committer, signatureKey: signer.Public,
	}
	c := b.own(out, h, m.Marshal())
	c.next, c.After = newEpoch(b.s, h, out.tree, out.keys, out.secrets)
	c.effect = &CommitEffect{
		Epoch: c.Epoch, Committer: b.committer, External: true, Added: []Member{{b.committer, out.path.LeafNode}},
	}
	if b.replaced != nil {
		c.effect.Removed = []Member{{b.applied.list.removes[0], b.replaced}}
	}
	return c, nil
}
