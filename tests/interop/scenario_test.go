package interop

import (
	crand "crypto/rand"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// scenario is one row of the matrix.
type scenario struct {
	name string
	play func(*stage)
	// brief rows are played in every suite, the others in the quick ones only: what they try does not depend on the primitives.
	brief bool
}

// playedIn tells whether the scenario is played in a suite. P-256 stands for the NIST curves; P-521 and Curve448 take a peer in JavaScript a second an operation.
func (sc scenario) playedIn(suite conclave.CipherSuite) bool { return sc.brief || suite <= 3 }

// brief marks rows to be played in every suite.
func brief(rows []scenario) []scenario {
	for i := range rows {
		rows[i].brief = true
	}
	return rows
}

// either plays a scene with the engine's client in the first part, or the peer's.
func either(oursFirst bool, scene func(s *stage, first, second party)) func(*stage) {
	return func(s *stage) {
		ours, theirs := s.ours(), s.theirs()
		if oursFirst {
			scene(s, ours, theirs)
		} else {
			scene(s, theirs, ours)
		}
	}
}

// both makes the two rows of a scene that is played with either in the first part.
func both(ours, theirs string, scene func(s *stage, first, second party)) []scenario {
	return []scenario{{name: ours, play: either(true, scene)}, {name: theirs, play: either(false, scene)}}
}

// scenarios are the rows, in the order of the matrix.
var scenarios = slices.Concat(
	brief(both("we create and add them; texts both ways", "they create and add us; texts both ways", createAndAdd)),
	both("we add a third and a fourth", "they add a third and a fourth", addMore),
	brief(both("we update", "they update", update)),
	brief(both("we remove a member of theirs", "they remove a member of ours", remove)),
	brief(both("we join by external commit", "they join by external commit", externalJoin)),
	both("we lose our state and rejoin by external commit", "they lose their state and rejoin by external commit", rejoin),
	both("we propose an Add, they commit", "they propose an Add, we commit", proposeAdd),
	both("we propose a Remove, they commit", "they propose a Remove, we commit", proposeRemove),
	both("we propose an Update, they commit", "they propose an Update, we commit", proposeUpdate),
	both("we commit our own proposals", "they commit their own proposals", proposeAndCommit),
	both("our new client asks to be added, they commit", "their new client asks to be added, we commit", externalAdd),
	both("an external sender removes; we created, they commit", "an external sender removes; they created, we commit", externalRemove),
	both("our messages come in another order", "their messages come in another order", outOfOrder),
	both("a text and a commit of ours come twice", "a text and a commit of theirs come twice", twice),
	both("our messages come up to three epochs late", "their messages come up to three epochs late", late),
	both("our messages come before the commit of their epoch", "their messages come before the commit of their epoch", early),
	both("both commit, they lose", "both commit, we lose", race),
	both("they miss commits for good, notice and rejoin", "we miss commits for good, notice and rejoin", missed),
	both("we are removed and added again", "they are removed and added again", again),
	[]scenario{
		{name: "we change credential and signature key", play: rotate(true)},
		{name: "they change credential and signature key", play: rotate(false)},
	},
	[]scenario{
		{name: "we create; proposals and commits are encrypted", play: encrypted(true)},
		{name: "they create; proposals and commits are encrypted", play: encrypted(false)},
	},
	both("they follow our history client", "we follow their history client", history),
	[]scenario{
		{name: "they join a tree with a leaf merged above a node where it is not", play: func(s *stage) { mergedAbove(s, s.theirs()) }},
		{name: "we join a tree with a leaf merged above a node where it is not", play: func(s *stage) { mergedAbove(s, s.ours()) }},
		{name: "twenty random steps of up to six clients of both", play: func(s *stage) {
			founders := []party{s.ours(), s.theirs(), s.theirs()}
			s.ours()
			s.theirs()
			s.ours()
			s.random(20, founders...)
		}},
	},
)

func createAndAdd(s *stage, creator, other party) {
	s.found(creator, other)
	for range 3 {
		s.talk()
	}
}

func addMore(s *stage, adder, other party) {
	s.found(other, adder)
	third, fourth := s.ours(), s.theirs()
	s.add(adder, third)
	s.talk()
	s.add(adder, fourth)
	s.talk()
	for _, p := range []party{third, fourth, other, adder} {
		check(p.update(s.group))
		s.settle()
	}
	s.talk()
}

func update(s *stage, updater, other party) {
	s.found(other, updater)
	for range 3 {
		check(updater.update(s.group))
		s.settle()
		s.talk()
	}
	check(other.update(s.group))
	s.settle()
	s.talk()
}

// companion opens one more client of the implementation that a party is of.
func (s *stage) companion(p party) party {
	if _, ours := p.(*engineParty); ours {
		return s.ours()
	}
	return s.theirs()
}

func remove(s *stage, remover, other party) {
	third := s.companion(other)
	s.found(remover, other, third)
	check(remover.remove(s.group, other.ID()))
	s.settle()
	s.gone(other)
	s.talk()
	check(third.update(s.group))
	s.settle()
	s.talk()
}

func externalJoin(s *stage, joiner, other party) {
	third := s.companion(joiner)
	s.found(other, third)
	check(joiner.externalJoin(s.ds.GroupInfo(s.group)))
	s.settle()
	s.talk()
	check(other.update(s.group))
	s.settle()
	s.talk()
}

func rejoin(s *stage, loser, other party) {
	third := s.companion(loser)
	s.found(other, loser, third)
	check(loser.wipe(s.group))
	check(loser.externalJoin(s.ds.GroupInfo(s.group)))
	s.settle()
	if n := len(s.members()); n != 3 {
		fail("%d members after the rejoin, want 3", n)
	}
	s.talk()
}

// publish sends a proposal of a member to the others.
func (s *stage) publish(p party, o proposal) {
	s.ds.Send(p.ID(), s.group, must(p.propose(s.group, o)))
}

func proposeAdd(s *stage, proposer, committer party) {
	third := s.companion(committer)
	s.found(committer, proposer)
	s.publish(proposer, proposal{add: s.claim(third)[0]})
	s.settle()
	check(committer.commit(s.group))
	s.settle()
	s.talk()
}

func proposeRemove(s *stage, proposer, committer party) {
	third := s.companion(committer)
	s.found(committer, proposer, third)
	s.publish(proposer, proposal{remove: third.ID()})
	s.settle()
	check(committer.commit(s.group))
	s.settle()
	s.gone(third)
	s.talk()
}

func proposeUpdate(s *stage, proposer, committer party) {
	s.found(committer, proposer)
	s.publish(proposer, proposal{})
	s.settle()
	check(committer.commit(s.group))
	s.settle()
	s.talk()
	check(proposer.update(s.group))
	s.settle()
	s.talk()
}

func proposeAndCommit(s *stage, proposer, other party) {
	third, fourth := s.companion(other), s.companion(proposer)
	s.found(other, proposer, third)
	s.publish(proposer, proposal{remove: third.ID()})
	s.publish(proposer, proposal{add: s.claim(fourth)[0]})
	s.settle()
	check(proposer.commit(s.group))
	s.settle()
	s.gone(third)
	s.talk()
}

// tell hands a proposal that comes from outside to all members.
func (s *stage) tell(message []byte) {
	for _, p := range s.members() {
		r, err := p.decrypt(s.group, message)
		if err != nil {
			fail("%s: %w", s.nameOf(p), err)
		}
		if r.outcome != conclave.OutcomeProposal.String() {
			fail("%s took a proposal from outside for a %s", s.nameOf(p), r.outcome)
		}
	}
}

func externalAdd(s *stage, joiner, committer party) {
	third := s.companion(joiner)
	s.found(committer, third)
	epoch, _ := s.ds.Epoch(s.group)
	s.tell(must(joiner.externalAdd(s.group, epoch, s.ds.GroupInfo(s.group))))
	check(committer.commit(s.group))
	s.settle()
	s.talk()
}

func externalRemove(s *stage, creator, committer party) {
	signer, err := mlsgroup.NewSigner(crand.Reader, s.suite, basic("wire-server"))
	check(err)
	third := s.companion(creator)
	s.foundWith(creation{externalSender: signer.Public}, creator, committer, third)
	for _, p := range []party{creator, committer} {
		key, err := p.externalSender(s.group)
		if unsupported := errUnsupported(""); errors.As(err, &unsupported) {
			continue // a peer need not tell, as long as it obeys
		}
		check(err)
		if !slices.Equal(key, signer.Public) {
			fail("%s knows another external sender", s.nameOf(p))
		}
	}
	leaf := slices.Index(must(creator.state(s.group)).members, third.ID())
	epoch, _ := s.ds.Epoch(s.group)
	s.tell(must(mlsgroup.NewExternalProposal(mlsgroup.Input{Rand: crand.Reader, Signer: signer}, mlsgroup.ExternalProposalOptions{
		CipherSuite: s.suite, GroupID: []byte(s.group), Epoch: epoch,
		Proposal: &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: mlsgroup.LeafIndex(leaf)}},
	})))
	check(committer.commit(s.group))
	s.settle()
	s.gone(third)
	s.talk()
}

func outOfOrder(s *stage, sender, receiver party) {
	s.found(sender, receiver)
	window := 5
	if _, ours := receiver.(*engineParty); !ours {
		window = s.peer.window
	}
	for range 2 {
		var texts []string
		var sealed [][]byte
		for range window {
			text, m := s.seal(sender)
			texts, sealed = append(texts, text), append(sealed, m)
		}
		for i := range slices.Backward(sealed) {
			s.reads(receiver, sealed[i], texts[i])
		}
	}
	s.talk()
}

func twice(s *stage, sender, receiver party) {
	s.found(sender, receiver)
	text, sealed := s.seal(sender)
	s.reads(receiver, sealed, text)
	s.wantCode(s.refuses(receiver, sealed), "DuplicateMessage")

	check(sender.update(s.group))
	commit := s.take(receiver).Message
	must(receiver.decrypt(s.group, commit))
	s.wantCode(s.refuses(receiver, commit), "DuplicateMessage")
	s.settle()
	s.wantCode(s.refuses(receiver, sealed), "DuplicateMessage")

	check(receiver.update(s.group))
	s.settle()
	s.wantCode(s.refuses(receiver, commit), "StaleCommit")
	s.talk()
}

func late(s *stage, sender, receiver party) {
	s.found(sender, receiver)
	const epochs = 3
	var texts []string
	var sealed [][]byte
	for i := range epochs {
		text, m := s.seal(sender)
		texts, sealed = append(texts, text), append(sealed, m)
		if i%2 == 0 {
			check(sender.update(s.group))
		} else {
			check(receiver.update(s.group))
		}
		s.settle()
	}
	for i := range sealed {
		s.reads(receiver, sealed[i], texts[i])
	}
	s.talk()
}

func early(s *stage, sender, receiver party) {
	s.found(sender, receiver)
	check(sender.update(s.group))
	commit := s.take(receiver).Message
	text, sealed := s.seal(sender)
	_, err := receiver.decrypt(s.group, sealed)
	r := must(receiver.decrypt(s.group, commit))
	if err != nil { // one that keeps nothing gets it again
		s.wantCode(err, "BufferedFutureMessage")
		s.reads(receiver, sealed, text)
	} else if got := r.texts(); !slices.Equal(got, []string{text}) {
		fail("%s released %q, want %q", s.nameOf(receiver), got, text)
	}
	s.settle()
	s.talk()
}

func race(s *stage, winner, loser party) {
	third := s.companion(winner)
	s.found(loser, winner)
	check(winner.update(s.group))
	s.wantCode(loser.add(s.group, s.claim(third)...), "MessageRejected")
	s.settle()
	s.talk()
	s.add(loser, third)
	s.talk()
}

func missed(s *stage, sender, loser party) {
	third := s.companion(sender)
	s.found(sender, loser, third)
	for range 2 {
		check(sender.update(s.group))
		s.take(loser)
	}
	s.say(sender)
	_, err := s.next(loser)
	s.wantCode(err, "WrongEpoch")
	check(loser.externalJoin(s.ds.GroupInfo(s.group)))
	for _, p := range []party{sender, third} {
		for len(s.ds.Waiting(p.ID(), 1)) > 0 {
			must(s.next(p))
		}
	}
	s.settle()
	s.talk()
}

func again(s *stage, removed, other party) {
	third := s.companion(other)
	s.found(other, removed, third)
	for range 2 {
		check(other.remove(s.group, removed.ID()))
		s.settle()
		s.gone(removed)
		s.add(third, removed)
		s.talk()
	}
}

// rotate plays with clients of ours that allow it: in Wire's profile a change of key without a certificate is refused unless an option is set.
func rotate(oursRotate bool) func(*stage) {
	return func(s *stage) {
		allow := conclave.ClientOptions{BasicKeyChange: true}
		ours, theirs := s.oursWith(allow), s.theirs()
		if oursRotate {
			changeKey(s, ours, theirs, s.oursWith(allow))
		} else {
			changeKey(s, theirs, ours, s.oursWith(allow))
		}
	}
}

func changeKey(s *stage, rotator, other, third party) {
	s.found(other, rotator, third)
	check(rotator.rotate(s.group))
	s.settle()
	s.talk()
	check(rotator.update(s.group))
	s.settle()
	check(other.update(s.group))
	s.settle()
	s.talk()
}

// encrypted plays with a policy that all members have to choose alike in Wire's profile; RFC 9420 leaves it to each.
func encrypted(oursFirst bool) func(*stage) {
	return func(s *stage) {
		s.encrypted = true
		either(oursFirst, func(s *stage, creator, other party) {
			third, joiner := s.ours(), s.companion(creator)
			s.found(creator, other, third)
			for _, p := range []party{other, creator} {
				check(p.update(s.group))
				s.settle()
			}
			s.publish(third, proposal{})
			s.settle()
			check(other.commit(s.group))
			s.add(other, joiner)
			s.talk()
			check(creator.remove(s.group, other.ID()))
			s.settle()
			s.gone(other)
			s.talk()
		})(s)
	}
}

func history(s *stage, sharer, other party) {
	s.found(other, sharer)
	check(sharer.history(s.group, true))
	s.settle()
	if n := len(s.ds.Members(s.group)); n != 3 {
		fail("%d members with the history client, want 3", n)
	}
	s.talk()
	check(sharer.history(s.group, false))
	s.settle()
	s.talk()
}

// mergedAbove has somebody join a tree of eight leaves whose leaf 3 is unmerged at the root of the left half, and not at the root. Adds without a path do that,
// and an update from the right half.
func mergedAbove(s *stage, joiner party) {
	adder, fourth, fifth := s.theirs(), s.ours(), s.ours()
	s.found(adder, s.ours(), s.ours())
	check(adder.update(s.group))
	s.settle()
	s.add(adder, fourth)
	s.add(adder, fifth)
	check(fifth.update(s.group))
	s.settle()
	s.add(adder, joiner)
	for _, p := range []party{joiner, fourth, adder} {
		check(p.update(s.group))
		s.settle()
	}
	s.talk()
}

// seed chooses other random steps than those of the page; any has to work.
var seed = flag.Uint64("seed", 1, "seed of the random steps")

// random plays steps drawn from a fixed seed: whoever is outside is added or joins, whoever is inside removes, updates, proposes and talks.
func (s *stage) random(steps int, founders ...party) {
	r := rand.New(rand.NewPCG(*seed, uint64(s.suite)))
	s.found(founders[0], founders[1:]...)
	for step := range steps {
		inside := s.members()
		var outside []party
		for _, p := range s.sorted() {
			if !slices.Contains(inside, p) && s.peer.canJoin(p) {
				outside = append(outside, p)
			}
		}
		r.Shuffle(len(inside), func(i, j int) { inside[i], inside[j] = inside[j], inside[i] })
		actor := inside[0]
		switch drawn := r.IntN(10); {
		case drawn < 3 && len(outside) > 0:
			added := outside[:1+r.IntN(min(2, len(outside)))]
			s.addOnly(actor, added...)
		case drawn < 5 && len(inside) > 3:
			check(actor.remove(s.group, inside[1].ID()))
		case drawn < 6 && len(outside) > 0:
			check(outside[r.IntN(len(outside))].externalJoin(s.ds.GroupInfo(s.group)))
		case drawn < 8:
			check(actor.update(s.group))
		case len(inside) > 3:
			i := slices.IndexFunc(inside, func(p party) bool { _, ours := p.(*engineParty); return ours })
			if i < 0 {
				continue
			}
			s.publish(inside[i], proposal{})
			s.publish(inside[i], proposal{remove: inside[(i+1)%len(inside)].ID()})
			s.settle()
			check(inside[(i+2)%len(inside)].commit(s.group))
		}
		s.settle()
		if step%4 == 3 {
			s.talk()
		}
	}
}

// sorted lists all parties, ordered by id.
func (s *stage) sorted() []party {
	var all []party
	for _, p := range s.parties {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b party) int {
		if a.ID() < b.ID() {
			return -1
		}
		return 1
	})
	return all
}
