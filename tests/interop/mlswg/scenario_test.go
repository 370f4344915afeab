package main

import (
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// scenario is a story that a runner of the working group tells.
type scenario struct {
	name string
	// engine: an engine offers all calls that the story makes, whoever of the actors lives in one.
	engine bool
	play   func(r *run)
}

// someExtensions are required_capabilities and external_senders, both empty.
var someExtensions = []*contract.Extension{
	{ExtensionType: uint32(mlsgroup.ExtensionTypeRequiredCapabilities), ExtensionData: []byte{0, 0, 0}},
	{ExtensionType: uint32(mlsgroup.ExtensionTypeExternalSenders), ExtensionData: []byte{0}},
}

var scenarios = []scenario{
	{"welcome", true, func(r *run) {
		r.create("alice")
		p := r.actor("alice").propose(add(r.actor("bob").makeKeyPackage(r.suite)))
		r.actor("alice").commit(commit{byReference: [][]byte{p}, joiners: []string{"bob"}})
		r.agree("alice", "bob")
	}},
	{"welcome with path secret", true, func(r *run) {
		r.create("alice")
		r.actor("alice").commit(commit{byValue: []*contract.ProposalDescription{add(r.actor("bob").makeKeyPackage(r.suite))}, joiners: []string{"bob"}, forcePath: true})
		r.agree("alice", "bob")
	}},
	{"welcome with external tree", false, func(r *run) {
		r.create("alice")
		p := r.actor("alice").propose(add(r.actor("bob").makeKeyPackage(r.suite)))
		r.actor("alice").commit(commit{byReference: [][]byte{p}, joiners: []string{"bob"}, externalTree: true})
		r.agree("alice", "bob")
	}},
	{"welcome with PSK", true, func(r *run) {
		r.create("alice")
		p := r.actor("alice").propose(add(r.actor("bob").makeKeyPackage(r.suite)))
		id, _ := r.installPSK("alice", "bob")
		r.actor("alice").commit(commit{byReference: [][]byte{p, r.actor("alice").propose(externalPSK(id))}, joiners: []string{"bob"}})
		r.agree("alice", "bob")
	}},
	{"external join", true, func(r *run) {
		r.create("alice", "bob", "carol")
		r.externalJoin("alice", externalJoin{joiner: "dave", members: []string{"bob", "carol"}})
		r.agree("alice", "bob", "carol", "dave")
	}},
	{"external join with PSK", true, func(r *run) {
		r.create("alice")
		id, psk := r.installPSK("alice")
		r.externalJoin("alice", externalJoin{joiner: "bob", psks: []*contract.PreSharedKey{{PskId: id, PskSecret: psk}}})
		r.agree("alice", "bob")
	}},
	{"external join with external tree", false, func(r *run) {
		r.create("alice")
		r.externalJoin("alice", externalJoin{joiner: "bob", externalTree: true})
		r.agree("alice", "bob")
	}},
	{"external join that removes the prior", true, func(r *run) {
		r.create("alice")
		r.externalJoin("alice", externalJoin{joiner: "bob"})
		r.externalJoin("alice", externalJoin{joiner: "bob", removePrior: true})
		r.agree("alice", "bob")
	}},
	{"application messages out of order and across epochs", true, func(r *run) {
		r.create("alice", "bob")
		alice, bob := r.actor("alice"), r.actor("bob")
		one, two, three := alice.protect("1"), alice.protect("2"), alice.protect("3")
		bob.reads(two, "2")
		bob.reads(one, "1")
		alice.commit(commit{members: []string{"bob"}})
		four, five := alice.protect("4"), alice.protect("5")
		bob.reads(five, "5")
		bob.reads(three, "3")
		bob.reads(four, "4")
		if _, err := bob.rpc.Unprotect(r.ctx(), &contract.UnprotectRequest{StateId: bob.state, Ciphertext: three}); err == nil {
			r.t.Error("a message was read twice")
		}
		r.agree("alice", "bob")
	}},
	{"empty commit", true, func(r *run) {
		r.create("alice", "bob")
		r.actor("bob").commit(commit{members: []string{"alice"}})
		r.agree("alice", "bob")
	}},
	{"add", true, func(r *run) {
		r.create("alice", "bob")
		alice, bob := r.actor("alice"), r.actor("bob")
		for i, forcePath := range []bool{true, false} {
			names := [][]string{{"carol", "dave", "erin"}, {"frank", "grace", "heidi"}}[i]
			byReference := [][]byte{
				alice.propose(add(r.actor(names[0]).makeKeyPackage(r.suite))),
				bob.propose(add(r.actor(names[1]).makeKeyPackage(r.suite))),
			}
			c := commit{byReference: byReference, joiners: names, forcePath: forcePath, members: []string{"bob"}}
			c.byValue = append(c.byValue, add(r.actor(names[2]).makeKeyPackage(r.suite)))
			if i == 1 {
				c.members = append(c.members, "carol", "dave", "erin")
			}
			alice.commit(c)
		}
		r.agree("alice", "bob", "carol", "frank", "grace", "heidi")
	}},
	{"remove", true, func(r *run) {
		r.create("alice", "bob", "carol", "dave", "erin")
		byReference := [][]byte{r.actor("alice").propose(remove("carol")), r.actor("bob").propose(remove("dave"))}
		r.actor("alice").commit(commit{byReference: byReference, byValue: []*contract.ProposalDescription{remove("erin")}, members: []string{"bob"}})
		r.agree("alice", "bob")
	}},
	{"update", true, func(r *run) {
		r.create("alice", "bob", "carol")
		p := r.actor("bob").proposeUpdate()
		r.actor("alice").commit(commit{byReference: [][]byte{p}, members: []string{"bob", "carol"}})
		r.agree("alice", "bob", "carol")
	}},
	{"group context extensions", false, func(r *run) {
		r.create("alice", "bob")
		alice, bob := r.actor("alice"), r.actor("bob")
		alice.commit(commit{byReference: [][]byte{alice.propose(contextExtensions(someExtensions))}, members: []string{"bob"}})
		alice.commit(commit{byReference: [][]byte{bob.propose(contextExtensions(nil))}, members: []string{"bob"}})
		alice.commit(commit{byValue: []*contract.ProposalDescription{contextExtensions(someExtensions[:1])}, members: []string{"bob"}})
		r.agree("alice", "bob")
	}},
	{"external PSKs", false, func(r *run) {
		r.create("alice", "bob")
		alice, bob := r.actor("alice"), r.actor("bob")
		one, _ := r.installPSK("alice", "bob")
		two, _ := r.installPSK("alice", "bob")
		three, _ := r.installPSK("alice", "bob")
		for _, forcePath := range []bool{true, false} {
			alice.commit(commit{
				byReference: [][]byte{alice.propose(externalPSK(one)), bob.propose(externalPSK(two))},
				byValue:     []*contract.ProposalDescription{externalPSK(three)}, members: []string{"bob"}, forcePath: forcePath,
			})
		}
		r.agree("alice", "bob")
	}},
	{"resumption PSKs", false, func(r *run) {
		r.create("alice", "bob")
		alice, bob := r.actor("alice"), r.actor("bob")
		alice.commit(commit{members: []string{"bob"}})
		alice.commit(commit{members: []string{"bob"}})
		alice.commit(commit{
			byReference: [][]byte{alice.propose(resumptionPSK(1)), bob.propose(resumptionPSK(2))},
			byValue:     []*contract.ProposalDescription{resumptionPSK(3)}, members: []string{"bob"},
		})
		r.agree("alice", "bob")
	}},
	{"all proposals together", false, func(r *run) {
		r.create("alice", "bob", "carol", "dave")
		alice, bob := r.actor("alice"), r.actor("bob")
		one, _ := r.installPSK("alice", "bob")
		two, _ := r.installPSK("alice", "bob")
		byReference := [][]byte{
			bob.proposeUpdate(), bob.propose(add(r.actor("erin").makeKeyPackage(r.suite))), alice.propose(remove("carol")),
			bob.propose(contextExtensions(someExtensions)), alice.propose(externalPSK(one)), bob.propose(resumptionPSK(1)),
		}
		alice.commit(commit{
			byReference: byReference, // erin cannot join: a new member has no key of epoch 1
			byValue:     []*contract.ProposalDescription{remove("dave"), externalPSK(two), resumptionPSK(1)},
			members:     []string{"bob"},
		})
		r.agree("alice", "bob")
	}},
	{"a commit that lost", true, func(r *run) {
		r.create("alice", "bob", "carol")
		alice, bob := r.actor("alice"), r.actor("bob")
		must[*contract.CommitResponse](r)(alice.rpc.Commit(r.ctx(), &contract.CommitRequest{StateId: alice.state}))
		bob.commit(commit{members: []string{"alice", "carol"}})
		alice.commit(commit{members: []string{"bob", "carol"}})
		r.agree("alice", "bob", "carol")
	}},
	{"reinit", false, func(r *run) {
		r.create("alice", "bob", "carol", "dave")
		r.reInit(reInitStory{proposer: "alice", committer: "bob", welcomer: "carol", suite: r.suite})
		r.agree("alice", "bob", "carol", "dave")
	}},
	{"reinit to another suite", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.reInit(reInitStory{proposer: "alice", committer: "bob", welcomer: "carol", suite: r.suite%7 + 1})
		r.agree("alice", "bob", "carol")
	}},
	{"reinit with extensions and path", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.reInit(reInitStory{proposer: "alice", committer: "bob", welcomer: "carol", suite: r.suite, extensions: someExtensions, forcePath: true})
		r.agree("alice", "bob", "carol")
	}},
	{"reinit by one actor with external tree", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.reInit(reInitStory{proposer: "alice", committer: "alice", welcomer: "alice", suite: r.suite, externalTree: true})
		r.agree("alice", "bob", "carol")
	}},
	{"branch", false, func(r *run) {
		r.create("alice", "bob", "carol", "dave")
		old := r.branch("alice", branchStory{members: []string{"bob", "dave"}})
		r.agree("alice", "bob", "dave")
		for name, state := range old {
			r.actor(name).state = state
		}
		r.agree("alice", "bob", "carol", "dave") // the old group lives on
	}},
	{"branch with extensions", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.branch("alice", branchStory{members: []string{"bob", "carol"}, extensions: someExtensions})
		r.agree("alice", "bob", "carol")
	}},
	{"branch with external tree", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.branch("bob", branchStory{members: []string{"alice", "carol"}, externalTree: true})
		r.agree("alice", "bob", "carol")
	}},
	{"branch with path", false, func(r *run) {
		r.create("alice", "bob", "carol")
		r.branch("alice", branchStory{members: []string{"bob", "carol"}, forcePath: true})
		r.agree("alice", "bob", "carol")
	}},
	{"new member proposes itself", true, func(r *run) {
		r.create("alice", "bob")
		carol := r.actor("carol")
		p := must[*contract.NewMemberAddProposalResponse](r)(carol.rpc.NewMemberAddProposal(r.ctx(), &contract.NewMemberAddProposalRequest{
			GroupInfo: r.actor("alice").groupInfo(false).GroupInfo, Identity: []byte("carol"),
		}))
		if len(p.InitPriv) == 0 || len(p.EncryptionPriv) == 0 || len(p.SignaturePriv) == 0 {
			r.t.Error("a private key is missing")
		}
		carol.transaction = p.TransactionId
		r.actor("alice").commit(commit{byReference: [][]byte{p.Proposal}, members: []string{"bob"}, joiners: []string{"carol"}})
		r.agree("alice", "bob", "carol")
	}},
	{"external signers", false, func(r *run) {
		r.create("alice", "bob", "carol")
		alice := r.actor("alice")
		alice.addSigner("first", "bob", "carol")
		alice.addSigner("second", "bob", "carol")
		psk, _ := r.installPSK("alice", "bob", "carol")
		for _, d := range []*contract.ProposalDescription{externalPSK(psk), resumptionPSK(2)} {
			p := r.actor("second").proposeFromOutside(1, alice, d)
			alice.commit(commit{byReference: [][]byte{p}, members: []string{"bob", "carol"}})
		}
		both := [][]byte{
			r.actor("first").proposeFromOutside(0, alice, remove("carol")),
			r.actor("second").proposeFromOutside(1, alice, add(r.actor("dave").makeKeyPackage(r.suite))),
		}
		alice.commit(commit{byReference: both, members: []string{"bob"}, joiners: []string{"dave"}})
		p := r.actor("first").proposeFromOutside(0, alice, contextExtensions(someExtensions[:1]))
		alice.commit(commit{byReference: [][]byte{p}, members: []string{"bob", "dave"}})
		r.agree("alice", "bob", "dave")
	}},
	{"external signer reinitializes", false, func(r *run) {
		r.create("alice", "bob", "carol")
		alice := r.actor("alice")
		alice.addSigner("signer", "bob", "carol")
		story := reInitStory{committer: "alice", welcomer: "bob", suite: r.suite%7 + 1, extensions: someExtensions[:1], forcePath: true, groupID: r.id("group")}
		story.proposal = r.actor("signer").proposeFromOutside(0, alice, reInitTo(story.groupID, story.suite, story.extensions))
		r.reInit(story)
		r.agree("alice", "bob", "carol")
	}},
}
