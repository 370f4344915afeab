package mlsgroup

import (
	"bytes"
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// JoinOptions says how to join by a Welcome.
type JoinOptions struct {
	// KeyPackage is the one that the Welcome is for.
	KeyPackage *KeyPackageBundle
	// Profile is required: nothing in a Welcome tells it.
	Profile Profile
	Receive ReceiveConfig
	// RatchetTree, where the Welcome's GroupInfo has none.
	RatchetTree *RatchetTree
	// Origin is the own group that the new one continues by reinitialization
	// or branching. A Welcome that needs one names it in a PreSharedKeyID; see
	// WelcomeOrigin.
	Origin *Group
	// BasicKeyChange and PrivateHandshakes as in GroupOptions.
	BasicKeyChange, PrivateHandshakes bool
}

// Join makes a group from a Welcome (RFC 9420 section 12.4.3.1). That no group
// of that id exists yet is for the caller to see. If the transition is carried
// out the caller deletes the key package, unless it is one of last resort.
//
// Errors a caller may want to tell apart: *CheckError, CheckWelcomeKeyPackage
// among them for a Welcome to others, *PSKError, and *Need of parts of
// JoinOptions.Origin.
func Join(in Input, w *Welcome, o JoinOptions) (*Transition, error) {
	if err := o.Profile.check(); err != nil {
		return nil, err
	}
	if o.KeyPackage == nil || o.KeyPackage.KeyPackage == nil {
		return nil, fmt.Errorf("mlsgroup: joining without a key package")
	}
	kp := o.KeyPackage.KeyPackage
	s, secrets, err := openWelcome(w, o.KeyPackage)
	if err != nil {
		return nil, err
	}
	defer secrets.wipe()
	link, err := welcomeLink(secrets.PSKs, o.Origin)
	if err != nil {
		return nil, err
	}
	psks, err := o.Origin.psks(&in, secrets.PSKs)
	if err != nil {
		return nil, err
	}
	pskSecret, err := newPSKSecret(s, psks)
	if err != nil {
		return nil, err
	}
	defer pskSecret.Wipe()
	gi, err := openWelcomeGroupInfo(s, w, secrets.JoinerSecret, pskSecret)
	if err == primitive.ErrOpen {
		err = fmt.Errorf("%w: group info of a Welcome", ErrDecrypt)
	}
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
	if gi.GroupContext.Epoch > maxEpoch {
		return nil, fmt.Errorf("mlsgroup: group in epoch %d", gi.GroupContext.Epoch)
	}
	own, err := findOwnLeaf(tree, kp.LeafNode)
	if err != nil {
		return nil, err
	}
	if t, missing := kp.LeafNode.Capabilities.unsupported(gi.GroupContext.Extensions); missing {
		return nil, CheckJoinerExtensions.Errorf("extension type 0x%04x of the group", uint16(t))
	}
	if err := gi.verifyTree(&in, s, tree); err != nil {
		return nil, err
	}
	if err := link.verify(&in, gi, tree); err != nil {
		return nil, err
	}

	leafPrivate := o.KeyPackage.LeafPrivate.Clone()
	// The path secret is taken over: it is not in secrets any more.
	pathSecret := secrets.PathSecret
	secrets.PathSecret = nil
	keys, err := tree.joinPath(s, own, leafPrivate, gi.Signer, pathSecret)
	if err != nil {
		return nil, err
	}
	h := &head{
		profile: o.Profile, receive: o.Receive.withDefaults(), basicKeyChange: o.BasicKeyChange, privateHandshakes: o.PrivateHandshakes,
		membership: membershipActive, own: own, signatureKey: kp.LeafNode.SignatureKey,
	}
	h.setContext(&gi.GroupContext)
	es := epochSecretsFromJoiner(s, secrets.JoinerSecret, pskSecret, h.encodedContext)
	if !es.verifyConfirmationTag(s, gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag) {
		es.wipe()
		return nil, CheckGroupInfoConfirmationTag.Errorf("epoch %d", gi.GroupContext.Epoch)
	}
	h.confirmationTag = bytes.Clone(gi.ConfirmationTag)
	h.interim = interimTranscriptHash(s, gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag)
	next, changes := newEpoch(s, h, tree, keys, es)
	return &Transition{Next: next, Changes: changes}, nil
}

// openWelcome opens the group secrets that are for a key package.
func openWelcome(w *Welcome, b *KeyPackageBundle) (*primitive.Suite, *GroupSecrets, error) {
	s, err := b.KeyPackage.CipherSuite.suite()
	if err != nil {
		return nil, nil, err
	}
	ref, err := b.KeyPackage.Ref()
	if err != nil {
		return nil, nil, err
	}
	secrets, err := openGroupSecrets(s, w, ref, b.InitPrivate)
	if err == primitive.ErrOpen || err == primitive.ErrKey {
		err = fmt.Errorf("%w: group secrets of a Welcome", ErrDecrypt)
	}
	return s, secrets, err
}

// wipe overwrites what is still part of gs.
func (gs *GroupSecrets) wipe() {
	gs.JoinerSecret.Wipe()
	gs.PathSecret.Wipe()
}

// WelcomeOrigin returns the id of the group that a Welcome continues by
// reinitialization or branching; ok is false if there is none.
func WelcomeOrigin(w *Welcome, b *KeyPackageBundle) (groupID []byte, ok bool, err error) {
	_, secrets, err := openWelcome(w, b)
	if err != nil {
		return nil, false, err
	}
	defer secrets.wipe()
	for i := range secrets.PSKs {
		if id := &secrets.PSKs[i]; id.continues() {
			return bytes.Clone(id.GroupID), true, nil
		}
	}
	return nil, false, nil
}

// continues tells whether the PSK links a group to the one it continues.
func (id *PreSharedKeyID) continues() bool {
	return id.Type == PSKTypeResumption && id.Usage != ResumptionPSKUsageApplication
}

// ratchetTree returns the hashed tree that a GroupInfo is about, from its
// extension or from outside, after comparing the tree hash.
func (gi *GroupInfo) ratchetTree(s *primitive.Suite, in *Input, outside *RatchetTree) (*RatchetTree, error) {
	tree := outside
	if body, ok := gi.Extensions.find(ExtensionTypeRatchetTree); ok {
		var err error
		if tree, err = ParseRatchetTree(body); err != nil {
			return nil, fmt.Errorf("ratchet_tree: %w", err)
		}
	}
	if tree == nil {
		return nil, CheckTreePresent.Errorf("neither in the GroupInfo nor given")
	}
	tree = tree.withHashes(s, in.Do)
	if !bytes.Equal(tree.rootHash(), gi.GroupContext.TreeHash) {
		return nil, CheckTreeHash.Errorf("the tree is another than that of the group context")
	}
	return tree, nil
}

// verifySigner verifies the signature of a GroupInfo.
func (gi *GroupInfo) verifySigner(s *primitive.Suite, tree *RatchetTree) error {
	signer := tree.Leaf(gi.Signer)
	if signer == nil {
		return CheckGroupInfoSigner.Errorf("leaf %d is blank", gi.Signer)
	}
	return gi.verify(s, signer.SignatureKey)
}

// verifyTree verifies the tree of a group that we join, each leaf included
// (RFC 9420 section 12.4.3.1). The time is not compared with lifetimes: members
// may be older than their key packages.
func (gi *GroupInfo) verifyTree(in *Input, s *primitive.Suite, tree *RatchetTree) error {
	if err := tree.verify(s); err != nil {
		return err
	}
	if err := checkCredentialTypes(tree); err != nil {
		return err
	}
	rules, err := leafRulesOf(s, &gi.GroupContext)
	if err != nil {
		return err
	}
	members := make([]newLeaf, 0, tree.MemberCount())
	for i, l := range tree.Members() {
		members = append(members, newLeaf{i, l})
	}
	if err := in.authenticateSenders(s, nil, gi.GroupContext.Extensions); err != nil {
		return err
	}
	return in.verifyLeaves(s, len(members), func(k int) ([]leafSignature, error) {
		m := members[k]
		if err := m.leaf.checkLifetimeTotal(in); err != nil {
			return nil, err
		}
		return rules.checkForm(m.leaf, m.i)
	}, func(k int) error {
		return in.authenticate(members[k].leaf, nil)
	})
}

// VerifyGroupInfo verifies a GroupInfo as somebody who is not in the group can,
// and returns its tree: the one it brings, or the one given where it brings none.
// running tells to compare Input.Now with the lifetimes of leaves that came by a
// key package, as when members are added. Errors a caller may want to tell apart:
// *CheckError.
func VerifyGroupInfo(in Input, gi *GroupInfo, tree *RatchetTree, running bool) (*RatchetTree, error) {
	s, err := gi.GroupContext.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	if gi.GroupContext.Version != ProtocolVersionMLS10 {
		return nil, fmt.Errorf("mlsgroup: group of version %d", gi.GroupContext.Version)
	}
	if tree, err = gi.ratchetTree(s, &in, tree); err != nil {
		return nil, err
	}
	if err := gi.verifySigner(s, tree); err != nil {
		return nil, err
	}
	if err := gi.verifyTree(&in, s, tree); err != nil {
		return nil, err
	}
	if running {
		for _, l := range tree.Members() {
			if err := l.checkLifetime(&in); err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

// findOwnLeaf returns the place of a leaf that is identical to the key
// package's.
func findOwnLeaf(tree *RatchetTree, own *LeafNode) (LeafIndex, error) {
	want := own.append(nil)
	for i, l := range tree.Members() {
		if bytes.Equal(l.EncryptionKey, own.EncryptionKey) && bytes.Equal(l.append(nil), want) {
			return i, nil
		}
	}
	return 0, CheckOwnLeaf.Errorf("not among %d members", tree.MemberCount())
}

// NewGroupInfo returns a GroupInfo of the current epoch, signed by us, in an
// encoded MLSMessage. extensions go after ratchet_tree, which withoutTree
// leaves out, and external_pub. Errors: *Need.
func (g *Group) NewGroupInfo(in Input, withoutTree bool, extensions Extensions) ([]byte, error) {
	if err := g.head.active(); err != nil {
		return nil, err
	}
	signer, err := g.signer(&in)
	if err != nil {
		return nil, err
	}
	if err := g.need(partTree); err != nil {
		return nil, err
	}
	gi, err := newGroupInfo(g.s, &g.head.context, g.head.secrets, g.head.confirmationTag, g.tree, g.head.own, signer.Private, withoutTree, extensions)
	if err != nil {
		return nil, err
	}
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatGroupInfo, GroupInfo: gi}
	return m.Marshal(), nil
}

// newGroupInfo makes and signs a GroupInfo. Wire's clients want ratchet_tree
// and external_pub in this order.
func newGroupInfo(s *primitive.Suite, gc *GroupContext, es *epochSecrets, tag []byte, tree *RatchetTree, signer LeafIndex,
	key secret.Bytes, withoutTree bool, extensions Extensions) (*GroupInfo, error) {
	priv, pub, err := es.externalKeyPair(s)
	if err != nil {
		return nil, err
	}
	priv.Wipe()
	gi := &GroupInfo{GroupContext: *gc, ConfirmationTag: tag, Signer: signer}
	if !withoutTree {
		gi.Extensions = append(gi.Extensions, Extension{Type: ExtensionTypeRatchetTree, Body: tree.Marshal()})
	}
	gi.Extensions = append(gi.Extensions, Extension{Type: ExtensionTypeExternalPub, Body: appendOpaque(nil, pub)})
	gi.Extensions = append(gi.Extensions, extensions...)
	if err := gi.Extensions.checkOwn(false); err != nil {
		return nil, err
	}
	return gi, gi.sign(s, key)
}
