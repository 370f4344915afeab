package mlsgroup

import (
	"maps"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// forgedGroup is one epoch of a group, with the secrets of all its members. It
// makes every message that a member or outsider could send, right or wrong, and
// applies none of the rules that the package is to apply. Its last member is
// us: the one whose Group judges the messages.
type forgedGroup struct {
	*forger
	members map[LeafIndex]*forgedClient
	tree    *RatchetTree
	context GroupContext
	encoded []byte // context
	epoch   *epochSecrets
	joiner  secret.Bytes
	tag     []byte // confirmation_tag
	interim []byte // interim_transcript_hash
	secrets secretTree
	psks    []preSharedKey
	sent    map[string]forgedProposal // by reference

	profile Profile
	now     *Group // our view of it, once we have one

	// The path that began the epoch, for its Welcome.
	committer LeafIndex
	path      []pathSecret
	// added by the commit that began the epoch.
	added map[LeafIndex]*KeyPackage
}

// forgedOptions are what a case wants to be wrong, or otherwise than usual, with
// a group from its beginning.
type forgedOptions struct {
	suite   CipherSuite                                   // the forger's if 0
	size    int                                           // members, 4 if 0
	leaf    func(i LeafIndex, l *LeafNode)                // before it is signed
	clients []*forgedClient                               // instead of new ones
	before  func(e *treeEdit)                             // all leaves are there
	path    forgedCommit                                  // of the path that alice began the epoch with
	noPath  bool                                          // no parent node is filled
	chain   func(root *ParentNode, sibling []byte) []byte // changes the root of a path of one node; returns alice's parent hash
	nodes   func(nodes map[NodeIndex]*treeNode)           // after all leaves and the path are there
	context func(gc *GroupContext)                        // before the tree is made, whose hash is not there yet
	hash    func(treeHash []byte) []byte                  // another tree hash
	joins   func(kp *KeyPackage)                          // our key package, after the tree has its leaf
	psks    []preSharedKey                                // mixed into the epoch
}

// us is our leaf in a group of four.
const us LeafIndex = 3

// group makes a group in epoch 5, which alice, leaf 0, began by adding us.
func (f *forger) group(o forgedOptions) *forgedGroup {
	f.t.Helper()
	if o.clients != nil {
		o.size = len(o.clients)
	}
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	if o.size == 0 {
		o.size = 4
	}
	g := &forgedGroup{forger: f, profile: ProfileRFC, members: map[LeafIndex]*forgedClient{}, added: map[LeafIndex]*KeyPackage{}, sent: map[string]forgedProposal{}}
	g.context = GroupContext{
		Version: ProtocolVersionMLS10, CipherSuite: CipherSuite(f.s.ID()), GroupID: []byte("room"), Epoch: 5,
		ConfirmedTranscriptHash: f.bytes(f.s.HashSize()),
	}
	if o.context != nil {
		o.context(&g.context)
	}
	e := (&RatchetTree{}).edit(f.s)
	last := LeafIndex(o.size - 1)
	for i := range LeafIndex(o.size) {
		var c *forgedClient
		if o.clients != nil {
			c = o.clients[i]
		} else {
			c = f.client(names[i])
		}
		g.members[i] = c
		kp := f.keyPackage(c, func(l *LeafNode) {
			if o.leaf != nil {
				o.leaf(i, l)
			}
		}, nil)
		_, err := e.add(kp.LeafNode)
		f.must(err)
		if i == last {
			g.added[i] = kp
			if o.joins != nil {
				o.joins(kp)
				f.signKeyPackage(kp, c)
			}
		}
	}
	if o.before != nil {
		o.before(e)
	}
	if o.noPath {
		g.tree = e.finish(nil)
	} else {
		p := g.newPath(e, o.path, 0, nil)
		g.tree, g.path = p.tree, p.secrets
	}
	if o.chain != nil {
		g.tree = f.retree(g.tree, func(nodes map[NodeIndex]*treeNode) {
			root, leaf := *nodes[1].parent, *nodes[0].leaf
			leaf.ParentHash = o.chain(&root, g.tree.node(2).hash)
			f.signLeaf(&leaf, g.members[0], g.context.GroupID, 0)
			nodes[1].parent, nodes[0].leaf = &root, &leaf
		})
	}
	if o.nodes != nil {
		g.tree = f.retree(g.tree, o.nodes)
	}
	g.context.TreeHash = g.tree.rootHash()
	if o.hash != nil {
		g.context.TreeHash = o.hash(g.context.TreeHash)
	}
	g.joiner, g.psks = f.bytes(f.s.HashSize()), o.psks
	g.begin()
	return g
}

// begin derives what follows from tree, context, joiner secret and PSKs.
func (g *forgedGroup) begin() {
	g.t.Helper()
	g.encoded = g.context.Marshal()
	pskSecret, err := newPSKSecret(g.s, g.psks)
	g.must(err)
	g.epoch = epochSecretsFromJoiner(g.s, g.joiner, pskSecret, g.encoded)
	g.tag = g.epoch.confirmationTag(g.s, g.context.ConfirmedTranscriptHash)
	g.interim = interimTranscriptHash(g.s, g.context.ConfirmedTranscriptHash, g.tag)
	g.secrets, _ = newSecretTree(g.epoch.encryption.Clone(), g.tree.LeafCount())
}

// forgedCommit says what is in a commit and what is wrong with it. The zero
// value is a good commit of alice: a path and no proposals.
type forgedCommit struct {
	from      LeafIndex
	external  *forgedClient // joins by the commit; from does not count
	proposals []ProposalOrRef
	psks      []preSharedKey // for the key schedule, in the order of the proposals
	noPath    bool
	private   bool // sent as a PrivateMessage

	first   secret.Bytes                    // path secret to start from
	keys    func([]UpdatePathNode)          // public keys, before parent hashes are made of them
	leaf    func(*LeafNode)                 // before it is signed
	signed  func(*LeafNode)                 // after
	path    func(*UpdatePath)               // after the encryption
	sealed  func(secret.Bytes) secret.Bytes // what is encrypted of each path secret
	content func(*FramedContent)            // before it is signed
	signer  *forgedClient                   // signs instead
	auth    func(*FramedContentAuth)        // signed, before the membership tag
	init    secret.Bytes                    // instead of the epoch's, for an external commit
}

type forgedPath struct {
	tree    *RatchetTree
	path    *UpdatePath
	commit  secret.Bytes
	secrets []pathSecret
}

// newPath is createPath with every part of it open to change. It ends the edit.
func (g *forgedGroup) newPath(e *treeEdit, c forgedCommit, sender LeafIndex, added []LeafIndex) forgedPath {
	g.t.Helper()
	client := g.members[sender]
	old := e.leaf(sender)
	if old == nil {
		e.place(sender, nil)
	}
	steps := filteredDirectPath(e, sender)
	if c.first == nil {
		c.first = g.bytes(g.s.HashSize())
	}
	secrets, commit, err := pathSecrets(g.s, steps, c.first)
	g.must(err)
	path := &UpdatePath{Nodes: make([]UpdatePathNode, len(steps))}
	for i := range steps {
		k := deriveNodeKey(g.s, secrets[i].secret)
		g.must(k.err)
		path.Nodes[i].EncryptionKey = k.public
	}
	if c.keys != nil {
		c.keys(path.Nodes)
	}
	parentHash := e.setPath(sender, steps, path.Nodes, inSequence)
	path.LeafNode = g.leafNode(client, func(l *LeafNode) {
		if old != nil {
			l.Capabilities, l.Extensions = old.Capabilities, old.Extensions
		}
		l.Source, l.Lifetime, l.ParentHash = LeafNodeSourceCommit, Lifetime{}, parentHash
		if c.leaf != nil {
			c.leaf(l)
		}
	})
	g.signLeaf(path.LeafNode, client, g.context.GroupID, sender)
	if c.signed != nil {
		c.signed(path.LeafNode)
	}
	e.node(sender.Node()).leaf = path.LeafNode
	tree := e.finish(nil)

	next := g.context
	next.Epoch++
	next.TreeHash = tree.rootHash()
	for i, step := range steps {
		for _, x := range tree.resolution(step.copath, added) {
			plain := secrets[i].secret
			if c.sealed != nil {
				plain = c.sealed(plain)
			}
			ct, err := encryptWithLabel(g.s, labelUpdatePathNode, next.Marshal())(tree.node(x).encryptionKey(), plain, g.bytes(g.s.SeedSize()))
			g.must(err)
			path.Nodes[i].changeCiphertexts(func(list []HPKECiphertext) []HPKECiphertext { return append(list, ct) })
		}
	}
	if c.path != nil {
		c.path(path)
	}
	return forgedPath{tree, path, commit, secrets}
}

// changeCiphertexts replaces the ciphertexts of a path's node.
func (n *UpdatePathNode) changeCiphertexts(change func([]HPKECiphertext) []HPKECiphertext) {
	var list []HPKECiphertext
	for i := range n.EncryptedPathSecret.Len() {
		list = append(list, n.EncryptedPathSecret.At(i))
	}
	n.EncryptedPathSecret = newHPKECiphertexts(change(list))
}

// forgedProposal is a proposal that was sent.
type forgedProposal struct {
	sender   Sender
	proposal *Proposal
}

// apply applies the proposals of c as far as they can be applied.
func (g *forgedGroup) apply(e *treeEdit, c forgedCommit) (extensions Extensions, added []LeafIndex, packages map[LeafIndex]*KeyPackage) {
	g.t.Helper()
	extensions, packages = g.context.Extensions, map[LeafIndex]*KeyPackage{}
	var list []forgedProposal
	for _, p := range c.proposals {
		if p.Proposal != nil {
			list = append(list, forgedProposal{Sender{Type: SenderTypeMember, LeafIndex: c.from}, p.Proposal})
		} else {
			list = append(list, g.sent[string(p.Reference)])
		}
	}
	for _, p := range list {
		if p.proposal.GroupContextExtensions != nil {
			extensions = p.proposal.GroupContextExtensions.Extensions
		}
	}
	for _, p := range list {
		if p.proposal.Update != nil {
			e.update(p.sender.LeafIndex, p.proposal.Update.LeafNode)
		}
	}
	for _, p := range list {
		if r := p.proposal.Remove; r != nil && e.leaf(r.Removed) != nil {
			e.remove(r.Removed)
		}
	}
	for _, p := range list {
		if p.proposal.Add != nil {
			i, err := e.add(p.proposal.Add.KeyPackage.LeafNode)
			g.must(err)
			added = append(added, i)
			packages[i] = p.proposal.Add.KeyPackage
		}
	}
	return extensions, added, packages
}

// commit makes a commit and the epoch that it begins.
func (g *forgedGroup) commit(c forgedCommit) (message []byte, next *forgedGroup) {
	g.t.Helper()
	next = &forgedGroup{forger: g.forger, profile: g.profile, members: maps.Clone(g.members), sent: map[string]forgedProposal{}, psks: c.psks}
	e := g.tree.edit(g.s)
	extensions, added, packages := g.apply(e, c)
	next.added = packages
	sender, signer := Sender{Type: SenderTypeMember, LeafIndex: c.from}, g.members[c.from]
	at := c.from
	if c.external != nil {
		sender, signer = Sender{Type: SenderTypeNewMemberCommit}, c.external
		var err error
		at, err = e.blankLeaf()
		g.must(err)
		next.members[at] = c.external
	}
	if c.signer != nil {
		signer = c.signer
	}
	next.committer = at
	next.context = g.context
	next.context.Extensions = extensions
	next.context.Epoch++

	commit := &Commit{Proposals: c.proposals}
	var commitSecret secret.Bytes
	if c.noPath {
		next.tree = e.finish(nil)
	} else {
		// The path is encrypted in the old group's context, extensions apart.
		during := *g
		during.context.Extensions = extensions
		during.members = next.members
		p := during.newPath(e, c, at, added)
		next.tree, next.path, commit.Path, commitSecret = p.tree, p.secrets, p.path, p.commit
	}
	next.context.TreeHash = next.tree.rootHash()
	for i := range next.tree.leafCount {
		if l := next.tree.Leaf(LeafIndex(i)); l == nil {
			delete(next.members, LeafIndex(i))
		} else if client := g.known[string(l.SignatureKey)]; client != nil {
			next.members[LeafIndex(i)] = client
		}
	}

	ac := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: g.context.GroupID, Epoch: g.context.Epoch, Sender: sender, ContentType: ContentTypeCommit, Commit: commit,
	}}
	if c.private {
		ac.WireFormat = WireFormatPrivateMessage
	}
	if c.content != nil {
		c.content(&ac.Content)
	}
	g.must(ac.sign(g.s, signer.signPriv, g.encoded))
	next.context.ConfirmedTranscriptHash = confirmedTranscriptHash(g.s, g.interim, ac)
	init := g.epoch.init
	if c.init != nil {
		init = c.init
	}
	next.joiner = newJoinerSecret(g.s, init, commitSecret, next.context.Marshal())
	next.begin()
	ac.Auth.ConfirmationTag = next.tag
	if c.auth != nil {
		c.auth(&ac.Auth)
	}
	if c.private {
		return g.privateMessage(ac, forgedPrivate{}), next
	}
	return g.publicMessage(ac, nil), next
}

// externalInit makes the proposal that an external commit begins with and the
// init secret that goes with it.
func (g *forgedGroup) externalInit() (*Proposal, secret.Bytes) {
	g.t.Helper()
	_, pub, err := g.epoch.externalKeyPair(g.s)
	g.must(err)
	kemOutput, init, err := newExternalInit(g.s, pub, g.bytes(g.s.SeedSize()))
	g.must(err)
	return &Proposal{Type: ProposalTypeExternalInit, ExternalInit: &ExternalInit{KEMOutput: kemOutput}}, init
}

// publicMessage frames signed content. The membership tag of a member's is
// right until edit changes it.
func (g *forgedGroup) publicMessage(ac *AuthenticatedContent, edit func(*PublicMessage)) []byte {
	m := &PublicMessage{Content: ac.Content, Auth: ac.Auth}
	if ac.Content.Sender.Type == SenderTypeMember {
		m.MembershipTag = g.s.MAC(nil, g.epoch.membership, ac.appendTBS(nil, g.encoded), ac.membershipMAC())
	}
	if edit != nil {
		edit(m)
	}
	return (&MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPublicMessage, PublicMessage: m}).Marshal()
}

// forgedPrivate is what may be otherwise in a PrivateMessage.
type forgedPrivate struct {
	padding []byte
	leaf    *LeafIndex // in the sender data and the secret tree
}

// privateMessage encrypts signed content of a member.
func (g *forgedGroup) privateMessage(ac *AuthenticatedContent, o forgedPrivate) []byte {
	g.t.Helper()
	c := &ac.Content
	d := senderData{leaf: c.Sender.LeafIndex}
	if o.leaf != nil {
		d.leaf = *o.leaf
	}
	copy(d.reuseGuard[:], g.bytes(4))
	st, err := g.secrets.send(g.s, d.leaf, ratchetOf(c.ContentType))
	g.must(err)
	g.secrets = st.next
	d.generation = st.key.generation
	m := &PrivateMessage{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: c.ContentType, AuthenticatedData: c.AuthenticatedData}
	plain := append(ac.Auth.append(c.appendBody(nil), c.ContentType), o.padding...)
	m.Ciphertext, err = g.s.SealAEAD(nil, st.key.key, guardedNonce(&st.key, d.reuseGuard), contentAAD(m), plain)
	g.must(err)
	g.must(sealSenderData(g.s, g.epoch.senderData, m, d))
	return (&MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPrivateMessage, PrivateMessage: m}).Marshal()
}

// contentAAD is PrivateContentAAD (RFC 9420 section 6.3.1).
func contentAAD(m *PrivateMessage) []byte {
	return appendOpaque(m.appendSenderDataAAD(nil), m.AuthenticatedData)
}

func guardedNonce(k *messageKey, guard [4]byte) secret.Bytes {
	nonce := k.nonce.Clone()
	for i, b := range guard {
		nonce[i] ^= b
	}
	return nonce
}

// content begins a message of a member; the caller fills in what it says.
func (g *forgedGroup) content(from LeafIndex, w WireFormat, t ContentType) *AuthenticatedContent {
	return &AuthenticatedContent{WireFormat: w, Content: FramedContent{
		GroupID: g.context.GroupID, Epoch: g.context.Epoch, Sender: Sender{Type: SenderTypeMember, LeafIndex: from}, ContentType: t,
	}}
}

// application makes an application message of a member.
func (g *forgedGroup) application(from LeafIndex, text string) []byte {
	g.t.Helper()
	ac := g.content(from, WireFormatPrivateMessage, ContentTypeApplication)
	ac.Content.Application = []byte(text)
	g.must(ac.sign(g.s, g.members[from].signPriv, g.encoded))
	return g.privateMessage(ac, forgedPrivate{})
}

// propose makes the PublicMessage of a proposal and remembers it by its
// reference. A sender that is no member signs with its own key.
func (g *forgedGroup) propose(sender Sender, signer *forgedClient, p *Proposal) (message []byte, ref ProposalOrRef) {
	g.t.Helper()
	ac := g.content(0, WireFormatPublicMessage, ContentTypeProposal)
	ac.Content.Sender, ac.Content.Proposal = sender, p
	g.must(ac.sign(g.s, signer.signPriv, g.encoded))
	r := ac.proposalRef(g.s)
	g.sent[string(r)] = forgedProposal{sender, p}
	return g.publicMessage(ac, nil), ProposalOrRef{Reference: r}
}

// proposeBy is propose of a member.
func (g *forgedGroup) proposeBy(from LeafIndex, p *Proposal) ([]byte, ProposalOrRef) {
	g.t.Helper()
	return g.propose(Sender{Type: SenderTypeMember, LeafIndex: from}, g.members[from], p)
}

// update makes an Update of a member, edited before it is signed.
func (g *forgedGroup) update(from LeafIndex, edit func(*LeafNode)) *Proposal {
	g.t.Helper()
	c := g.members[from]
	old := g.tree.Leaf(from)
	l := g.leafNode(c, func(l *LeafNode) {
		l.Capabilities, l.Extensions = old.Capabilities, old.Extensions
		l.Source, l.Lifetime = LeafNodeSourceUpdate, Lifetime{}
		if edit != nil {
			edit(l)
		}
	})
	g.signLeaf(l, c, g.context.GroupID, from)
	return &Proposal{Type: ProposalTypeUpdate, Update: &Update{LeafNode: l}}
}

func (g *forgedGroup) add(kp *KeyPackage) *Proposal {
	return &Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp}}
}

func (g *forgedGroup) remove(i LeafIndex) *Proposal {
	return &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: i}}
}

func (g *forgedGroup) extensions(es ...Extension) *Proposal {
	return &Proposal{Type: ProposalTypeGroupContextExtensions, GroupContextExtensions: &GroupContextExtensions{Extensions: es}}
}

// psk makes a proposal of an external PSK, its id edited.
func (g *forgedGroup) psk(id string, edit func(*PreSharedKeyID)) *Proposal {
	p := PreSharedKeyID{Type: PSKTypeExternal, ExternalID: []byte(id), Nonce: g.bytes(g.s.HashSize())}
	if edit != nil {
		edit(&p)
	}
	return &Proposal{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: p}}
}

// byValue lists proposals as a commit holds them.
func byValue(ps ...*Proposal) []ProposalOrRef {
	var list []ProposalOrRef
	for _, p := range ps {
		list = append(list, ProposalOrRef{Proposal: p})
	}
	return list
}

// forgedWelcome says what is wrong with a Welcome.
type forgedWelcome struct {
	info    func(*GroupInfo) // before it is signed
	signer  *forgedClient    // signs instead
	signed  func(*GroupInfo) // after
	noTree  bool             // no ratchet_tree extension
	psks    []PreSharedKeyID // named instead of the epoch's
	path    func(secret.Bytes) secret.Bytes
	welcome func(*Welcome)
	options func(*JoinOptions)
}

// groupInfo makes the epoch's GroupInfo, signed by its committer.
func (g *forgedGroup) groupInfo(w forgedWelcome) *GroupInfo {
	g.t.Helper()
	gi := &GroupInfo{GroupContext: g.context, ConfirmationTag: g.tag, Signer: g.committer}
	if !w.noTree {
		gi.Extensions = append(gi.Extensions, Extension{Type: ExtensionTypeRatchetTree, Body: g.tree.Marshal()})
	}
	if w.info != nil {
		w.info(gi)
	}
	signer := g.members[g.committer]
	if w.signer != nil {
		signer = w.signer
	}
	g.must(gi.sign(g.s, signer.signPriv))
	if w.signed != nil {
		w.signed(gi)
	}
	return gi
}

// welcome makes the Welcome for the members that the epoch's commit added.
func (g *forgedGroup) welcome(w forgedWelcome) *Welcome {
	g.t.Helper()
	pskSecret, err := newPSKSecret(g.s, g.psks)
	g.must(err)
	ids := w.psks
	if ids == nil {
		for _, p := range g.psks {
			ids = append(ids, p.id)
		}
	}
	var joiners []joiner
	for _, i := range slices.Sorted(maps.Keys(g.added)) {
		kp := g.added[i]
		ref, err := kp.Ref()
		g.must(err)
		j := joiner{ref: ref, initKey: kp.InitKey}
		for _, p := range g.path {
			if p.node == commonAncestor(g.committer, i) {
				j.pathSecret = p.secret
			}
		}
		if w.path != nil {
			j.pathSecret = w.path(j.pathSecret)
		}
		joiners = append(joiners, j)
	}
	out, err := sealWelcome(g.s, g.groupInfo(w), g.joiner, pskSecret, ids, joiners, g.rand, nil)
	g.must(err)
	if w.welcome != nil {
		w.welcome(out)
	}
	return out
}
