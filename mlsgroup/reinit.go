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
