package mlsgroup

import "bytes"

// Groups that continue others (RFC 9420 sections 11.2 and 11.3).

// groupLink is what a Welcome says about the group that the new one continues.
// A nil link says nothing.
type groupLink struct {
	origin *Group
	usage  ResumptionPSKUsage
}

// welcomeLink finds the link among the PSKs of a Welcome and holds it against
// the group that the caller takes it for.
func welcomeLink(psks []PreSharedKeyID, origin *Group) (*groupLink, error) {
	for i := range psks {
		id := &psks[i]
		if !id.continues() {
			continue
		}
		if origin == nil || !bytes.Equal(origin.GroupID(), id.GroupID) {
			return nil, &PSKError{ID: *id}
		}
		if id.Usage == ResumptionPSKUsageReInit {
			if origin.head.reInit == nil {
				return nil, CheckReInitProposed.Errorf("the group did not end with a ReInit")
			}
			if id.Epoch != origin.Epoch() {
				return nil, CheckReInitPSK.Errorf("PSK of epoch %d, the group ended in epoch %d", id.Epoch, origin.Epoch())
			}
		}
		return &groupLink{origin: origin, usage: id.Usage}, nil
	}
	if origin != nil && origin.head.reInit != nil {
		return nil, CheckReInitPSK.Errorf("no PSK of the old group")
	}
	return nil, nil
}

// verify holds the new group against the one it continues. Errors: *Need of
// parts of the old group.
func (l *groupLink) verify(in *Input, gi *GroupInfo, tree *RatchetTree) error {
	if l == nil {
		return nil
	}
	gc, old := &gi.GroupContext, l.origin.GroupContext()
	if gc.Epoch != 1 {
		return CheckSuccessorEpoch.Errorf("epoch %d", gc.Epoch)
	}
	if err := l.origin.need(partTree); err != nil {
		return err
	}
	if l.usage == ResumptionPSKUsageBranch {
		if gc.Version != old.Version || gc.CipherSuite != old.CipherSuite {
			return CheckBranchParameters.Errorf("version %d, suite %v", gc.Version, gc.CipherSuite)
		}
		if i, ok := in.subset(tree, l.origin.tree); !ok {
			return CheckBranchMembers.Errorf("leaf %d is not of the old group", i)
		}
		return nil
	}
	if err := l.origin.head.reInit.matches(gc); err != nil {
		return err
	}
	if i, ok := in.subset(l.origin.tree, tree); !ok {
		return CheckReInitMembers.Errorf("leaf %d of the old group is missing", i)
	}
	return nil
}

// matches holds a group context against the ReInit that announced it.
func (ri *ReInit) matches(gc *GroupContext) error {
	if gc.Version != ri.Version || gc.CipherSuite != ri.CipherSuite || !bytes.Equal(gc.GroupID, ri.GroupID) || !gc.Extensions.equal(ri.Extensions) {
		return CheckReInitParameters.Errorf("version, suite, group id or extensions are not those of the ReInit")
	}
	return nil
}

// subset tells whether every member of a is one of b, as the authentication
// service sees it; if not, i is one who is not.
func (in *Input) subset(a, b *RatchetTree) (i LeafIndex, ok bool) {
	auth := in.auth()
	same := make(map[string]struct{}, b.MemberCount())
	for _, l := range b.Members() {
		same[string(l.Credential.append(nil))] = struct{}{}
	}
members:
	for i, l := range a.Members() {
		if _, equal := same[string(l.Credential.append(nil))]; equal {
			continue
		}
		for _, other := range b.Members() {
			if auth.ValidSuccessor(&other.Credential, &l.Credential) == nil {
				continue members
			}
		}
		return i, false
	}
	return 0, true
}

// SuccessorOptions says how to make a group that continues another.
type SuccessorOptions struct {
	// KeyPackages of the members, ours not among them. For a reinitialization
	// they have to cover all members of the old group.
	KeyPackages []*KeyPackage
	// GroupID and Extensions of a branch. A reinitialized group has those of
	// the ReInit. Extensions nil means those of the old group.
	GroupID    []byte
	Extensions Extensions
	// Leaf of ours, as in GroupOptions.
	Leaf KeyPackageOptions
	// OmitPath leaves the path out of the first commit.
	OmitPath bool
	// WithoutRatchetTree leaves the tree out of Welcome and GroupInfo.
	WithoutRatchetTree bool
}

// Successor is a group that continues another, in epoch 1.
type Successor struct {
	// Transition to the new group, all of its records included.
	Transition *Transition
	// Welcome for its members, an encoded MLSMessage, and its GroupInfo.
	Welcome   []byte
	GroupInfo []byte
}

// ReInitialize makes the group that the committed ReInit has announced (RFC
// 9420 section 11.2). Any one member does. Input.Signer is for the new group's
// suite. The profile and receive settings are the old group's. Errors: *Need of
// parts of g.
func (g *Group) ReInitialize(in Input, o SuccessorOptions) (*Successor, error) {
	ri := g.head.reInit
	if ri == nil {
		return nil, CheckReInitProposed.Errorf("the group did not end with a ReInit")
	}
	if err := g.need(partTree); err != nil {
		return nil, err
	}
	o.GroupID, o.Extensions = ri.GroupID, ri.Extensions
	if in.Signer == nil || in.Signer.CipherSuite != ri.CipherSuite {
		return nil, CheckReInitParameters.Errorf("a signature key of suite %v is needed", ri.CipherSuite)
	}
	n, gi, err := g.succeed(&in, &o, ResumptionPSKUsageReInit, g.Epoch())
	if err != nil {
		return nil, err
	}
	if err := ri.matches(&gi.GroupContext); err != nil {
		return nil, err
	}
	if i, ok := in.subset(g.tree, n.Transition.Next.tree); !ok {
		return nil, CheckReInitMembers.Errorf("leaf %d of the old group is missing", i)
	}
	return n, nil
}

// Branch makes a group of some of g's members (RFC 9420 section 11.3), of the
// same suite. Errors: *Need of parts of g.
func (g *Group) Branch(in Input, o SuccessorOptions) (*Successor, error) {
	if g.head.membership == membershipRemoved {
		return nil, ErrInactive
	}
	if err := g.need(partTree); err != nil {
		return nil, err
	}
	if in.Signer == nil || in.Signer.CipherSuite != g.CipherSuite() {
		return nil, CheckBranchParameters.Errorf("a signature key of suite %v is needed", g.CipherSuite())
	}
	if o.Extensions == nil {
		o.Extensions = g.head.context.Extensions
	}
	n, _, err := g.succeed(&in, &o, ResumptionPSKUsageBranch, g.Epoch())
	if err != nil {
		return nil, err
	}
	if i, ok := in.subset(n.Transition.Next.tree, g.tree); !ok {
		return nil, CheckBranchMembers.Errorf("leaf %d is not of the old group", i)
	}
	return n, nil
}

// succeed makes a group and its first commit, which adds the members and
// injects a PSK of the old group. Nobody else can commit in that epoch, so the
// commit counts at once.
func (g *Group) succeed(in *Input, o *SuccessorOptions, usage ResumptionPSKUsage, epoch uint64) (*Successor, *GroupInfo, error) {
	created, err := NewGroup(*in, GroupOptions{
		GroupID: o.GroupID, Profile: g.head.profile, Receive: g.head.receive, BasicKeyChange: g.head.basicKeyChange,
		PrivateHandshakes: g.head.privateHandshakes, Extensions: o.Extensions, Leaf: o.Leaf, exact: true,
	})
	if err != nil {
		return nil, nil, err
	}
	options := CommitOptions{ForcePath: !o.OmitPath, OmitPath: o.OmitPath, WithoutRatchetTree: o.WithoutRatchetTree}
	for _, kp := range o.KeyPackages {
		options.Proposals = append(options.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp}})
	}
	options.Proposals = append(options.Proposals, Proposal{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: PreSharedKeyID{
		Type: PSKTypeResumption, Usage: usage, GroupID: g.GroupID(), Epoch: epoch,
	}}})
	// The first epoch exists nowhere else, so a PrivateMessage would be for
	// nobody.
	if created.Next.head.takesHandshake(WireFormatPublicMessage) {
		options.WireFormat = WireFormatPublicMessage
	}
	c, err := created.Next.commit(in, &options, g, usage)
	if err != nil {
		return nil, nil, err
	}
	merged, err := created.Next.Merge(c)
	if err != nil {
		return nil, nil, err
	}
	merged.Changes = append(created.Changes, merged.Changes...)
	gi, err := ParseMLSMessage(c.Bundle.GroupInfo)
	if err != nil {
		return nil, nil, err
	}
	return &Successor{Transition: merged, Welcome: c.Bundle.Welcome, GroupInfo: c.Bundle.GroupInfo}, gi.GroupInfo, nil
}
