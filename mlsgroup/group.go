package mlsgroup

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Group is one member's view of one epoch of a group. It never changes: a step
// makes another Group, which shares all that stayed. Any part but the head may
// be absent; a step that lacks one answers with a *Need.
//
// A Group may be read by several goroutines at once. Its key material is wiped
// by whoever drops it for a later one, see Transition.Consumed.
type Group struct {
	s         *primitive.Suite
	head      *head
	tree      *RatchetTree    // nil: absent
	leaves    vec[loadedLeaf] // leaves that were loaded alone, for want of the tree
	path      *pathKeys       // nil: absent
	secrets   secretTree
	proposals *proposalCache // nil: absent
	signers   signers        // of recent messages
	// past epochs that can be read, from head.oldestPast on; nil: absent.
	past []*pastEpoch
	// resumption PSKs from head.oldestResumption on; nil: absent.
	resumption []secret.Bytes
}

// loadedLeaf is a leaf loaded without the tree; leaf is nil if it is blank.
type loadedLeaf struct{ leaf *LeafNode }

// Lineage identifies a state of a group among all that ever were.
type Lineage struct {
	Epoch                   uint64
	ConfirmedTranscriptHash []byte
}

// Equal tells whether both are the same state.
func (l Lineage) Equal(other Lineage) bool {
	return l.Epoch == other.Epoch && bytes.Equal(l.ConfirmedTranscriptHash, other.ConfirmedTranscriptHash)
}

// CipherSuite returns the group's suite.
func (g *Group) CipherSuite() CipherSuite { return g.head.context.CipherSuite }

// Profile returns the profile the group was created or joined with.
func (g *Group) Profile() Profile { return g.head.profile }

// ReceiveConfig returns the receive settings, defaults filled in.
func (g *Group) ReceiveConfig() ReceiveConfig { return g.head.receive }

// GroupID returns the group's id, which is not to be changed.
func (g *Group) GroupID() []byte { return g.head.context.GroupID }

// Epoch returns the current epoch.
func (g *Group) Epoch() uint64 { return g.head.context.Epoch }

// GroupContext returns the context of the epoch. Its slices are not to be
// changed.
func (g *Group) GroupContext() GroupContext { return g.head.context }

// OwnLeaf returns the index of the own leaf.
func (g *Group) OwnLeaf() LeafIndex { return g.head.own }

// SignatureKey returns the public signature key of the own leaf.
func (g *Group) SignatureKey() []byte { return g.head.signatureKey }

// MemberCount returns the number of members.
func (g *Group) MemberCount() int { return int(g.head.members) }

// What a group holds in memory, by measurement, in bytes: a group by its head with
// some ratchets, and for each leaf the tree.
const (
	groupBytes = 8 << 10
	leafBytes  = 1 << 10
)

// MemoryBytes estimates the memory that the group holds: little without its tree.
func (g *Group) MemoryBytes() int {
	n := groupBytes + len(g.signers.list)*g.s.VerificationKeyBytes()
	if g.tree != nil {
		n += int(g.head.leafCount) * leafBytes
	}
	return n
}

// Active tells whether the group can send.
func (g *Group) Active() bool { return g.head.membership == membershipActive }

// ReInit returns the ReInit proposal that ended the group, nil if none did.
func (g *Group) ReInit() *ReInit { return g.head.reInit }

// Removed tells whether a commit removed us.
func (g *Group) Removed() bool { return g.head.membership == membershipRemoved }

// Lineage identifies the state of the group.
func (g *Group) Lineage() Lineage {
	return Lineage{Epoch: g.head.context.Epoch, ConfirmedTranscriptHash: g.head.context.ConfirmedTranscriptHash}
}

// ConfirmationTag returns the confirmation tag of the epoch.
func (g *Group) ConfirmationTag() []byte { return g.head.confirmationTag }

// EpochAuthenticator returns the epoch authenticator (RFC 9420 section 8.7),
// nil if we were removed. The caller must not wipe it.
func (g *Group) EpochAuthenticator() secret.Bytes { return g.head.secrets.authenticator }

// Export derives n bytes for use outside of MLS (RFC 9420 section 8.5), at most
// 255 hashes. The caller wipes them.
func (g *Group) Export(label string, context []byte, n int) (secret.Bytes, error) {
	if g.head.membership == membershipRemoved {
		return nil, ErrInactive
	}
	return g.head.secrets.export(g.s, label, context, n)
}

// ResumptionPSK returns the resumption PSK of the current epoch or of a past
// one that is kept. The caller must not wipe it. Errors: *PSKError, *Need.
func (g *Group) ResumptionPSK(epoch uint64) (secret.Bytes, error) {
	h := g.head
	if epoch == h.context.Epoch && h.secrets.resumption != nil {
		return h.secrets.resumption, nil
	}
	if epoch >= h.oldestResumption && epoch < h.context.Epoch {
		if psk := g.resumption[epoch-h.oldestResumption]; psk != nil {
			return psk, nil
		}
		return nil, &Need{Parts: []Part{{kind: partResumption, epoch: epoch}}}
	}
	id := PreSharedKeyID{Type: PSKTypeResumption, Usage: ResumptionPSKUsageApplication, GroupID: h.context.GroupID, Epoch: epoch}
	return nil, &PSKError{ID: id}
}

// ExternalSenders returns the senders that may propose from outside.
func (g *Group) ExternalSenders() ([]ExternalSender, error) {
	return g.head.context.Extensions.externalSenders()
}

// RatchetTree returns the tree. Errors: *Need.
func (g *Group) RatchetTree() (*RatchetTree, error) {
	if err := g.need(partTree); err != nil {
		return nil, err
	}
	return g.tree, nil
}

// Members yields the members in the order of their leaves. Errors: *Need.
func (g *Group) Members() (iter.Seq2[LeafIndex, *LeafNode], error) {
	t, err := g.RatchetTree()
	if err != nil {
		return nil, err
	}
	return t.Members(), nil
}

// Member returns the leaf at i, nil if it is blank, from the tree or from the
// leaf alone. Errors: *Need.
func (g *Group) Member(i LeafIndex) (*LeafNode, error) {
	if g.tree != nil {
		return g.tree.Leaf(i), nil
	}
	if LeafCount(i) >= g.head.leafCount {
		return nil, nil
	}
	if l := g.leaves.get(uint32(i)); l != nil {
		return l.leaf, nil
	}
	return nil, &Need{Parts: []Part{{kind: partLeaf, leaf: i}}}
}

// PendingProposals returns the proposals that wait for a commit, in the order
// of their arrival. Errors: *Need.
func (g *Group) PendingProposals() ([]PendingProposal, error) {
	if err := g.need(partProposals); err != nil {
		return nil, err
	}
	list := make([]PendingProposal, 0, len(g.proposals.list))
	for _, p := range g.proposals.list {
		list = append(list, p.public(g.head.own))
	}
	return list, nil
}

// need returns a *Need with those of the parts that are absent.
func (g *Group) need(kinds ...partKind) error {
	var parts []Part
	for _, k := range kinds {
		if k == partTree && g.tree == nil || k == partPath && g.path == nil || k == partProposals && g.proposals == nil {
			parts = append(parts, Part{kind: k})
		}
	}
	if parts != nil {
		return &Need{Parts: parts}
	}
	return nil
}

// signer returns the own signature key after comparing it with the own leaf's.
func (g *Group) signer(in *Input) (*Signer, error) {
	signer, err := in.signer(g.CipherSuite())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(signer.Public, g.head.signatureKey) {
		return nil, errWrongKey
	}
	return signer, nil
}

// GroupOptions says what a new group is like.
type GroupOptions struct {
	GroupID []byte
	// Profile is required.
	Profile Profile
	Receive ReceiveConfig
	// Extensions of the group context. In the Wire profile
	// required_capabilities for Basic and X.509 credentials goes before them
	// unless it is among them.
	Extensions Extensions
	// Leaf says what the creator's leaf is like; of KeyPackageOptions the
	// lifetime, capabilities and leaf extensions matter.
	Leaf KeyPackageOptions
	// BasicKeyChange accepts, in the Wire profile, commits that change the
	// signature key of a member with a Basic credential. Wire's clients do; it
	// lets any member take over another's leaf.
	BasicKeyChange bool
	// PrivateHandshakes makes, in the Wire profile, PrivateMessages of the
	// proposals and commits of members, our own and those that are accepted of
	// others: Wire's ciphertext policy. All members have to choose the same. The
	// RFC profile sends them so in any case, and accepts both.
	PrivateHandshakes bool

	// exact keeps Extensions as they are: those of the group that the new one
	// continues.
	exact bool
}

// NewGroup makes a group with one member, in epoch 0 (RFC 9420 section 11), of
// the suite of Input.Signer. No message is to be sent.
func NewGroup(in Input, o GroupOptions) (*Transition, error) {
	if err := o.Profile.check(); err != nil {
		return nil, err
	}
	if in.Signer == nil {
		return nil, errNoSigner
	}
	signer, err := in.signer(in.Signer.CipherSuite)
	if err != nil {
		return nil, err
	}
	s, err := signer.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	if len(o.GroupID) > maxGroupIDLen {
		return nil, fmt.Errorf("mlsgroup: group id of %d bytes", len(o.GroupID))
	}
	extensions := o.Extensions
	if _, has := extensions.find(ExtensionTypeRequiredCapabilities); !has && !o.exact && o.Profile.rules().requireCredentials {
		rc := RequiredCapabilities{Credentials: []CredentialType{CredentialTypeBasic, CredentialTypeX509}}
		extensions = append(Extensions{rc.Extension()}, extensions...)
	}
	if err := extensions.checkOwn(true); err != nil {
		return nil, err
	}
	gc := GroupContext{
		Version: ProtocolVersionMLS10, CipherSuite: signer.CipherSuite, GroupID: bytes.Clone(o.GroupID), Extensions: extensions,
	}
	leafOptions := o.Leaf
	leafOptions.Profile = o.Profile
	leaf, leafPrivate, err := in.newKeyPackageLeaf(s, signer, &leafOptions)
	if err != nil {
		return nil, err
	}
	epochSecret, err := in.random(s.HashSize())
	if err != nil {
		return nil, err
	}
	defer epochSecret.Wipe()

	rules, err := leafRulesOf(s, &gc)
	if err != nil {
		return nil, err
	}
	if err := rules.check(leaf, 0); err != nil {
		return nil, err
	}
	if err := in.authenticate(leaf, nil); err != nil {
		return nil, err
	}
	if err := in.authenticateSenders(s, nil, extensions); err != nil {
		return nil, err
	}
	edit := new(RatchetTree).edit(s)
	if _, err := edit.add(leaf); err != nil {
		return nil, err
	}
	tree := edit.finish(in.Do)
	gc.TreeHash = tree.rootHash()

	es := epochSecretsFromEpoch(s, epochSecret)
	h := &head{
		profile: o.Profile, receive: o.Receive.withDefaults(), basicKeyChange: o.BasicKeyChange, privateHandshakes: o.PrivateHandshakes,
		membership: membershipActive, own: 0, signatureKey: leaf.SignatureKey,
	}
	h.setContext(&gc)
	h.confirmationTag = es.confirmationTag(s, nil)
	h.interim = interimTranscriptHash(s, nil, h.confirmationTag)
	keys := pathKeys{}.with(LeafIndex(0).Node(), leafPrivate)
	next, changes := newEpoch(s, h, tree, keys, es)
	return &Transition{Next: next, Changes: changes}, nil
}

// authenticateSenders asks the authentication service about external senders
// that are in next and not in old.
func (in *Input) authenticateSenders(s *primitive.Suite, old, next Extensions) error {
	senders, err := next.externalSenders()
	if err != nil {
		return err
	}
	known, err := old.externalSenders()
	if err != nil {
		return err
	}
	for i := range senders {
		es := &senders[i]
		if i < len(known) && bytes.Equal(known[i].append(nil), es.append(nil)) {
			continue
		}
		if err := s.CheckSignatureKey(es.SignatureKey); err != nil {
			return CheckSignatureKey.Errorf("external sender %d: %v", i, err)
		}
		if err := in.auth().ValidateCredential(&es.Credential, es.SignatureKey); err != nil {
			return CheckExternalSenderCredential.Errorf("external sender %d: %v", i, err)
		}
	}
	return nil
}
