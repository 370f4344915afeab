package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// stage is where one scenario plays: one conversation of one suite, and the parties that have been called on.
type stage struct {
	ctx     context.Context
	engine  *conclave.Engine
	ds      *enginetest.DeliveryService
	peer    *peer
	suite   conclave.CipherSuite
	group   conclave.ConversationID
	number  int // of the scenario, so that no two share a client
	parties map[conclave.ClientID]party
	said    int
	// encrypted: proposals and commits travel as PrivateMessages.
	encrypted bool
	// certificates are what members' leaves are to show, nil for a Basic credential; issued are those of the newest credentials.
	certificates, issued map[conclave.ClientID]*certificate
}

// failure is what check throws; the runner of a scenario catches it.
type failure struct{ err error }

// check ends the scenario where there is an error.
func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func fail(format string, args ...any) { check(fmt.Errorf(format, args...)) }

func must[T any](v T, err error) T {
	check(err)
	return v
}

// play runs a scenario and returns what ended it early.
func play[S any](s S, scene func(S)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = f.err
		}
	}()
	scene(s)
	return nil
}

// newID makes a client id as Wire's clients have it.
func (s *stage) newID() conclave.ClientID {
	return conclave.ClientID(fmt.Sprintf("%08x-0000-4000-8000-%012x:%x@"+homeDomain, s.number, uint16(s.suite), len(s.parties)+1))
}

// ours opens a client of this engine.
func (s *stage) ours() party { return s.oursWith(conclave.ClientOptions{}) }

func (s *stage) oursWith(o conclave.ClientOptions) party {
	o.CipherSuites, o.Profile = []conclave.CipherSuite{s.suite}, s.peer.profile
	d, err := enginetest.Open(s.ctx, s.engine, s.ds, s.newID(), o)
	check(err)
	p := &engineParty{Device: d, ctx: s.ctx, suite: s.suite}
	if s.encrypted {
		p.policy = conclave.WirePolicyCiphertext
	}
	s.parties[p.ID()] = p
	return p
}

// theirs opens a client of the peer.
func (s *stage) theirs() party { return s.theirsOf(s.peer.nodes[0]) }

func (s *stage) theirsOf(n *node) party { return s.open(n, "") }

// theirsWithout opens a client of the peer that has no credential yet.
func (s *stage) theirsWithout() party { return s.open(s.peer.nodes[0], "new") }

func (s *stage) open(n *node, kind string) party {
	p := &peerParty{node: n, id: s.newID(), suite: s.suite, encrypted: s.encrypted}
	_, err := p.do("open", "", call{Suites: []uint16{uint16(s.suite)}, Kind: kind})
	check(err)
	s.parties[p.id] = p
	return p
}

// add has one party add others, and everybody follow.
func (s *stage) add(p party, others ...party) {
	s.addOnly(p, others...)
	s.settle()
}

func (s *stage) addOnly(p party, others ...party) {
	check(p.add(s.group, s.claim(others...)...))
}

// claim takes a key package of each, which publish one where none is left.
func (s *stage) claim(others ...party) [][]byte {
	ids := make([]conclave.ClientID, len(others))
	for i, o := range others {
		if ids[i] = o.ID(); s.ds.KeyPackagesLeft(ids[i]) == 0 {
			check(o.publish(1))
		}
	}
	return must(s.ds.Claim(ids...))
}

// found makes the first party create the conversation and add the others.
func (s *stage) found(creator party, others ...party) {
	s.foundWith(creation{}, creator, others...)
}

func (s *stage) foundWith(o creation, creator party, others ...party) {
	check(creator.create(s.group, o))
	s.add(creator, others...)
	s.talk()
}

// next takes what waits longest for a party and has it process it.
func (s *stage) next(p party) (received, error) {
	in := s.take(p)
	if in.Welcome {
		return received{outcome: "Welcome", active: true}, p.join(in.Message)
	}
	return p.decrypt(in.Conversation, in.Message)
}

// take takes what waits longest for a party, away from it.
func (s *stage) take(p party) enginetest.Delivery {
	waiting := s.ds.Waiting(p.ID(), 1)
	if len(waiting) == 0 {
		fail("nothing waits for %s", s.nameOf(p))
	}
	s.ds.Done(p.ID(), 1)
	return waiting[0]
}

// nameOf says whose client a party is.
func (s *stage) nameOf(p party) string {
	if _, ours := p.(*engineParty); ours {
		return "our client"
	}
	return "their client"
}

// settle has everybody process what waits, until nothing does, and compares all members. It returns the texts each has read.
func (s *stage) settle() map[conclave.ClientID][]string {
	texts := make(map[conclave.ClientID][]string)
	for _, id := range slices.Sorted(maps.Keys(s.parties)) {
		for len(s.ds.Waiting(id, 1)) > 0 {
			r, err := s.next(s.parties[id])
			if err != nil {
				fail("%s: %w", s.nameOf(s.parties[id]), err)
			}
			texts[id] = append(texts[id], r.texts()...)
		}
	}
	s.agree()
	return texts
}

// agree compares epoch, members and an exported secret of all members.
func (s *stage) agree() {
	epoch, begun := s.ds.Epoch(s.group)
	if !begun {
		return
	}
	var first *state
	for _, id := range s.ds.Members(s.group) {
		p := s.parties[id]
		if p == nil {
			continue // a history client
		}
		at := must(p.state(s.group))
		at.members = slices.DeleteFunc(at.members, conclave.ClientID.History) // which not all of them list
		switch {
		case !at.exists || at.epoch != epoch:
			fail("%s is in epoch %d (exists: %t), the delivery service in %d", s.nameOf(p), at.epoch, at.exists, epoch)
		case first == nil:
			first = &at
		case at.exported != first.exported:
			fail("%s exports another secret in epoch %d", s.nameOf(p), epoch)
		case !slices.Equal(at.members, first.members):
			fail("%s lists other members in epoch %d: %q and %q", s.nameOf(p), epoch, at.members, first.members)
		}
	}
}

// say has a party send a text and returns the text.
func (s *stage) say(p party) string {
	text, sealed := s.seal(p)
	s.ds.Send(p.ID(), s.group, sealed)
	return text
}

// seal has a party encrypt a text that nobody has said before.
func (s *stage) seal(p party) (text string, sealed []byte) {
	s.said++
	text = fmt.Sprintf("text %d", s.said)
	return text, must(p.encrypt(s.group, text))
}

// members lists the members that are parties, ordered by id.
func (s *stage) members() []party {
	var all []party
	for _, id := range s.ds.Members(s.group) {
		if p := s.parties[id]; p != nil {
			all = append(all, p)
		}
	}
	return all
}

// talk has every member say something and wants every other to read it.
func (s *stage) talk() {
	want := make(map[conclave.ClientID][]string)
	members := s.members()
	for _, p := range members {
		text := s.say(p)
		for _, other := range members {
			if other.ID() != p.ID() {
				want[other.ID()] = append(want[other.ID()], text)
			}
		}
	}
	got := s.settle()
	for _, p := range members {
		if !slices.Equal(got[p.ID()], want[p.ID()]) {
			fail("%s read %q, want %q", s.nameOf(p), got[p.ID()], want[p.ID()])
		}
	}
}

// gone wants a party to have been told that it is no member any more.
func (s *stage) gone(p party) {
	if at := must(p.state(s.group)); at.exists {
		fail("%s was removed and still has the conversation", s.nameOf(p))
	}
}

// reads has a party decrypt a message and wants a text.
func (s *stage) reads(p party, sealed []byte, want string) {
	r, err := p.decrypt(s.group, sealed)
	if err != nil {
		fail("%s: %w", s.nameOf(p), err)
	}
	if got := r.texts(); !slices.Equal(got, []string{want}) {
		fail("%s read %q, want %q", s.nameOf(p), got, want)
	}
}

// refuses has a party decrypt a message that it must not read again.
func (s *stage) refuses(p party, sealed []byte) error {
	r, err := p.decrypt(s.group, sealed)
	if err == nil {
		fail("%s processed a message for the second time: %s", s.nameOf(p), r.outcome)
	}
	return err
}

// wantCode wants an error to be of a code. ts-mls has classes of errors and no codes, so any error of it will do.
func (s *stage) wantCode(err error, codes ...string) {
	var theirs *peerError
	switch {
	case err == nil:
		fail("no error, want %s", codes)
	case errors.As(err, &theirs) && !s.peer.codes:
	case !slices.Contains(codes, codeOf(err)):
		fail("error %w, want %s", err, codes)
	}
}

// basic returns a Basic credential.
func basic(identity string) conclave.Credential {
	return conclave.Credential{Type: mlsgroup.CredentialTypeBasic, Identity: []byte(identity)}
}
