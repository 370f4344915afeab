package main

import (
	"maps"
	"slices"

	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// externalJoin says how an actor joins from outside.
type externalJoin struct {
	joiner       string
	members      []string // who handle the commit, beside the one who gives the GroupInfo
	externalTree bool
	removePrior  bool
	psks         []*contract.PreSharedKey
}

func (r *run) externalJoin(giver string, j externalJoin) {
	r.t.Helper()
	info := r.actor(giver).groupInfo(j.externalTree)
	a := r.actor(j.joiner)
	joined := must[*contract.ExternalJoinResponse](r)(a.rpc.ExternalJoin(r.ctx(), &contract.ExternalJoinRequest{
		GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree, EncryptHandshake: r.encrypt, Identity: []byte(a.name), RemovePrior: j.removePrior, Psks: j.psks,
	}))
	a.state = joined.StateId
	for _, m := range r.all(append(j.members, giver)...) {
		m.handle(nil, joined.Commit, joined.EpochAuthenticator)
	}
}

// reInitStory says how a group is reinitialized. All members of the run's group take part.
type reInitStory struct {
	proposer, committer, welcomer string
	proposal                      []byte // of an external signer, where nobody else proposes
	groupID                       []byte
	suite                         uint32
	extensions                    []*contract.Extension
	forcePath, externalTree       bool
}

// members are the actors with a state, ordered by name.
func (r *run) members() []*actor {
	var list []*actor
	for _, name := range slices.Sorted(maps.Keys(r.actors)) {
		if r.actors[name].state != 0 {
			list = append(list, r.actors[name])
		}
	}
	return list
}

func (r *run) reInit(s reInitStory) {
	r.t.Helper()
	if s.proposer != "" {
		s.proposal = r.actor(s.proposer).propose(reInitTo(r.id("group"), s.suite, s.extensions))
	}
	committer, welcomer, members := r.actor(s.committer), r.actor(s.welcomer), r.members()
	made := must[*contract.CommitResponse](r)(committer.rpc.ReInitCommit(r.ctx(), &contract.CommitRequest{StateId: committer.state, ByReference: [][]byte{s.proposal}}))
	var keyPackages [][]byte
	ended := func(a *actor, h *contract.HandleReInitCommitResponse) {
		a.reInit = h.ReinitId
		if a != welcomer {
			keyPackages = append(keyPackages, h.KeyPackage)
		}
	}
	own := must[*contract.HandleReInitCommitResponse](r)(committer.rpc.HandlePendingReInitCommit(r.ctx(), &contract.HandlePendingCommitRequest{StateId: committer.state}))
	ended(committer, own)
	for _, m := range members {
		if m != committer {
			h := must[*contract.HandleReInitCommitResponse](r)(m.rpc.HandleReInitCommit(r.ctx(), &contract.HandleCommitRequest{
				StateId: m.state, Proposal: [][]byte{s.proposal}, Commit: made.Commit,
			}))
			m.agrees(h.EpochAuthenticator, own.EpochAuthenticator)
			ended(m, h)
		}
	}
	w := must[*contract.CreateSubgroupResponse](r)(welcomer.rpc.ReInitWelcome(r.ctx(), &contract.ReInitWelcomeRequest{
		ReinitId: welcomer.reInit, KeyPackage: keyPackages, ForcePath: s.forcePath, ExternalTree: s.externalTree,
	}))
	if (len(w.RatchetTree) > 0) != s.externalTree {
		r.t.Fatalf("a tree of %d bytes", len(w.RatchetTree))
	}
	welcomer.state = w.StateId
	for _, m := range members {
		if m != welcomer {
			j := must[*contract.JoinGroupResponse](r)(m.rpc.HandleReInitWelcome(r.ctx(), &contract.HandleReInitWelcomeRequest{
				ReinitId: m.reInit, Welcome: w.Welcome, RatchetTree: w.RatchetTree,
			}))
			m.agrees(j.EpochAuthenticator, w.EpochAuthenticator)
			m.state = j.StateId
		}
	}
	r.suite = s.suite
}

// branchStory says how a branch is made.
type branchStory struct {
	members                 []string // beside the one who makes it
	extensions              []*contract.Extension
	forcePath, externalTree bool
}

// branch leaves the actors in the new group and returns their states of the old one.
func (r *run) branch(maker string, s branchStory) map[string]uint32 {
	r.t.Helper()
	old := make(map[string]uint32)
	var keyPackages [][]byte
	for _, m := range r.all(s.members...) {
		keyPackages = append(keyPackages, m.makeKeyPackage(r.suite))
	}
	a := r.actor(maker)
	w := must[*contract.CreateSubgroupResponse](r)(a.rpc.CreateBranch(r.ctx(), &contract.CreateBranchRequest{
		StateId: a.state, GroupId: r.id("branch"), Extensions: s.extensions, KeyPackages: keyPackages, ForcePath: s.forcePath, ExternalTree: s.externalTree,
	}))
	if (len(w.RatchetTree) > 0) != s.externalTree {
		r.t.Fatalf("a tree of %d bytes", len(w.RatchetTree))
	}
	old[maker], a.state = a.state, w.StateId
	for _, m := range r.all(s.members...) {
		h := must[*contract.HandleBranchResponse](r)(m.rpc.HandleBranch(r.ctx(), &contract.HandleBranchRequest{
			StateId: m.state, TransactionId: m.transaction, Welcome: w.Welcome, RatchetTree: w.RatchetTree,
		}))
		m.agrees(h.EpochAuthenticator, w.EpochAuthenticator)
		old[m.name], m.state = m.state, h.StateId
	}
	return old
}

// addSigner makes an external signer and commits a proposal to add it.
func (a *actor) addSigner(name string, members ...string) {
	r := a.r
	r.t.Helper()
	signer := r.actor(name)
	made := must[*contract.CreateExternalSignerResponse](r)(signer.rpc.CreateExternalSigner(r.ctx(), &contract.CreateExternalSignerRequest{CipherSuite: r.suite, Identity: []byte(name)}))
	signer.signer = made.SignerId
	p := must[*contract.ProposalResponse](r)(a.rpc.AddExternalSigner(r.ctx(), &contract.AddExternalSignerRequest{StateId: a.state, ExternalSender: made.ExternalSender}))
	a.commit(commit{byReference: [][]byte{p.Proposal}, members: members})
}

// proposeFromOutside has an external signer propose, with what a member tells of the group.
func (a *actor) proposeFromOutside(index uint32, member *actor, d *contract.ProposalDescription) []byte {
	a.r.t.Helper()
	info := member.groupInfo(true)
	return must[*contract.ProposalResponse](a.r)(a.rpc.ExternalSignerProposal(a.r.ctx(), &contract.ExternalSignerProposalRequest{
		SignerId: a.signer, SignerIndex: index, GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree, Description: d,
	})).Proposal
}
