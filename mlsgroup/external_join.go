package mlsgroup

import (
	"bytes"
	"fmt"
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
	gc := &gi.GroupContext
	s, err := gc.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	signer, err := in.signer(gc.CipherSuite)
	if err != nil {
		return nil, err
	}
	if gc.Version != ProtocolVersionMLS10 || gc.Epoch >= maxEpoch {
		return nil, fmt.Errorf("mlsgroup: group of version %d in epoch %d", gc.Version, gc.Epoch)
	}
	externalPub, err := gi.externalPub()
	if err != nil {
		return nil, err
	}
	tree, err := gi.ratchetTree(s, &in, o.RatchetTree)
	if err != nil {
		return nil, err
	}
	if err := gi.verifySigner(s, tree); err != nil {
		return nil, err
	}
	capabilities, err := o.capabilities(gc, signer)
	if err != nil {
		return nil, err
	}
	if err := gi.verifyTree(&in, s, tree); err != nil {
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
	proposals, replaced, err := o.proposals(&in, s.HashSize(), kemOutput, tree, signer)
	if err != nil {
		return nil, err
	}
	entries, listed := make([]ProposalOrRef, len(proposals)), make([]listedProposal, len(proposals))
	for i, p := range proposals {
		entries[i] = ProposalOrRef{Proposal: p}
		listed[i] = listedProposal{proposal: p, sender: Sender{Type: SenderTypeNewMemberCommit}}
	}

	rules := &listRules{gc: gc, tree: tree, nonceSize: s.HashSize(), external: true}
	list, err := rules.sort(listed)
	if err != nil {
		return nil, err
	}
	var nobody *Group
	psks, err := nobody.psks(&in, list.psks)
	if err != nil {
		return nil, err
	}
	applied, err := list.apply(&in, rules, tree, true)
	if err != nil {
		return nil, err
	}
	own, err := applied.edit.blankLeaf()
	if err != nil {
		return nil, err
	}
	b := &commitBuild{
		s: s, in: &in, base: gc, encodedBase: gc.append(nil), initSecret: initSecret,
		interim: interimTranscriptHash(s, gc.ConfirmedTranscriptHash, gi.ConfirmationTag),
		sender:  Sender{Type: SenderTypeNewMemberCommit}, committer: own,
		proposals: entries, applied: applied, psks: psks, authenticatedData: o.AuthenticatedData, wireFormat: WireFormatPublicMessage,
		replaced: replaced, framingKey: signer.Private, infoKey: signer.Private, withoutTree: o.WithoutRatchetTree,
		leaf: func(encryptionKey, parentHash []byte) (*LeafNode, error) {
			leaf := &LeafNode{
				EncryptionKey: encryptionKey, SignatureKey: signer.Public, Credential: signer.Credential, Capabilities: capabilities,
				Source: LeafNodeSourceCommit, ParentHash: parentHash, Extensions: o.Leaf.LeafExtensions,
			}
			if replaced != nil {
				if err := in.checkResync(leaf, replaced); err != nil {
					return nil, err
				}
			}
			return leaf, leaf.sign(s, signer, gc.GroupID, own)
		},
	}
	out, err := b.build()
	if err != nil {
		return nil, err
	}
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPublicMessage}
	if m.PublicMessage, err = sealPublicMessage(s, out.ac, nil, b.encodedBase); err != nil {
		return nil, err
	}
	h := &head{
		profile: o.Profile, receive: o.Receive.withDefaults(), basicKeyChange: o.BasicKeyChange, privateHandshakes: o.PrivateHandshakes,
		membership: membershipActive, own: own, signatureKey: signer.Public,
	}
	c := b.own(out, h, m.Marshal())
	c.next, c.After = newEpoch(s, h, out.tree, out.keys, out.secrets)
	c.effect = &CommitEffect{
		Epoch: c.Epoch, Committer: own, External: true, Added: []Member{{own, out.path.LeafNode}},
	}
	if replaced != nil {
		c.effect.Removed = []Member{{list.removes[0], replaced}}
	}
	return c, nil
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
