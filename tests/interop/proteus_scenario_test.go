package interop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/conclave-mls/conclave"
)

// proteusStage is where one scenario of Proteus plays.
type proteusStage struct {
	ctx     context.Context
	engine  *conclave.Engine
	node    *node
	title   string // of the scenario, so that no two share a device
	devices int
	preKeys uint16
	said    int
}

// proteusScenario is one row of the table.
type proteusScenario struct {
	name string
	play func(*proteusStage)
}

// proteusBoth makes the two rows of a scene that is played with either in the first part.
func proteusBoth(ours, theirs string, scene func(s *proteusStage, first, second proteusParty)) []proteusScenario {
	return []proteusScenario{
		{ours, func(s *proteusStage) { a, b := s.ours(), s.theirs(); scene(s, a, b) }},
		{theirs, func(s *proteusStage) { a, b := s.ours(), s.theirs(); scene(s, b, a) }},
	}
}

// proteusScenarios are the rows, in the order of the table.
var proteusScenarios = slices.Concat(
	proteusBoth("we begin by their prekey; texts of 0 B to 100 KiB both ways", "they begin by our prekey; texts of 0 B to 100 KiB both ways", beginAndTalk),
	proteusBoth("three of ours begin by their last resort prekey", "three of theirs begin by our last resort prekey", lastResort),
	[]proteusScenario{{"we begin by their signed prekey", func(s *proteusStage) {
		a, b := s.ours(), s.theirs()
		check(a.begin(b.name(), must(b.signedPreKey(1))))
		s.talk(a, b)
	}}},
	[]proteusScenario{{"both begin at once; what is late comes in the other's session", func(s *proteusStage) { s.beginAtOnce(s.ours(), s.theirs()) }}},
	proteusBoth("two thousand texts of both, some lost, late or twice; we begin", "two thousand texts of both, some lost, late or twice; they begin",
		func(s *proteusStage, a, b proteusParty) {
			s.begin(a, b)
			text, first := s.seal(a, b)
			s.reads(b, a, first, text) // else b has no session to write in
			s.storm(a, b)
		}),
	[]proteusScenario{{"two thousand texts of both, some lost, late or twice; both begin at once", func(s *proteusStage) {
		a, b := s.ours(), s.theirs()
		s.begin(a, b)
		s.begin(b, a)
		s.storm(a, b)
	}}},
	proteusBoth("a thousand of ours are late; one more is too many", "a thousand of theirs are late; one more is too many", gap),
	proteusBoth("all of ours comes twice", "all of theirs comes twice", allTwice),
	proteusBoth("ours come changed, then as they were", "theirs come changed, then as they were", changed),
	proteusBoth("we lose the session and begin anew", "they lose the session and begin anew", anew),
	proteusBoth("our first message comes when its prekey is used up", "their first message comes when its prekey is used up", usedUp),
	proteusBoth("another device of ours writes in a session", "another device of theirs writes in a session", impostor),
	proteusBoth("we encrypt one text for twenty devices of theirs", "they encrypt one text for twenty devices of ours", batch),
)

// ours opens a device of this engine.
func (s *proteusStage) ours() proteusParty {
	id := s.newName()
	c := must(s.engine.Client(s.ctx, conclave.ClientID(id), conclave.ClientOptions{}))
	d := &engineDevice{c.Proteus(), s.ctx, id}
	must(d.Init(s.ctx))
	return d
}

// theirs opens a device of the peer.
func (s *proteusStage) theirs() *peerDevice {
	d := &peerDevice{s.node, s.newName()}
	must(d.do("open", call{}))
	return d
}

// like opens another device of the same implementation.
func (s *proteusStage) like(p proteusParty) proteusParty {
	if _, ours := p.(*engineDevice); ours {
		return s.ours()
	}
	return s.theirs()
}

func (s *proteusStage) newName() conclave.SessionID {
	s.devices++
	return conclave.SessionID(fmt.Sprintf("%s, device %d", s.title, s.devices))
}

// begin has a begin a session with b by a prekey that nobody has used.
func (s *proteusStage) begin(a, b proteusParty) {
	s.preKeys++
	bundle := must(b.preKey(s.preKeys))
	check(a.begin(b.name(), bundle))
	if seen := must(a.bundleFingerprint(bundle)); seen != must(a.fingerprints(b.name())).remote {
		fail("the bundle has fingerprint %s, the session another", seen)
	}
}

// seal has a encrypt a text for b that nobody has said before.
func (s *proteusStage) seal(a, b proteusParty) (text, message []byte) {
	s.said++
	text = fmt.Appendf(nil, "text %d", s.said)
	return text, must(a.seal(b.name(), text))
}

// reads has b decrypt a message of a and wants a text.
func (s *proteusStage) reads(b, a proteusParty, message, want []byte) {
	got, err := b.unseal(a.name(), message)
	if err != nil {
		fail("%s: %w", b.name(), err)
	}
	if !bytes.Equal(got, want) {
		fail("%s read %q, want %q", b.name(), got, want)
	}
}

// refuses has b decrypt a message of a that it must not read.
func (s *proteusStage) refuses(b, a proteusParty, message []byte, numbers ...int) {
	_, err := b.unseal(a.name(), message)
	wantNumber(err, numbers...)
}

// talk sends texts to and fro and compares the fingerprints.
func (s *proteusStage) talk(a, b proteusParty) {
	for range 3 {
		text, message := s.seal(a, b)
		s.reads(b, a, message, text)
		text, message = s.seal(b, a)
		s.reads(a, b, message, text)
	}
	atA, atB := must(a.fingerprints(b.name())), must(b.fingerprints(a.name()))
	if len(atA.own) != 64 || atA.own == atB.own || atA != (fingerprints{atA.own, atA.own, atB.own}) || atB != (fingerprints{atB.own, atB.own, atA.own}) {
		fail("fingerprints %+v and %+v", atA, atB)
	}
}

func beginAndTalk(s *proteusStage, a, b proteusParty) {
	s.begin(a, b)
	for _, size := range []int{0, 1, 31, 32, 255, 256, 65_535, 65_536, 100 << 10} {
		text := bytes.Repeat([]byte{0xc3, 0x28}, size)[:size]
		s.reads(b, a, must(a.seal(b.name(), text)), text)
		if size%2 == 0 {
			s.reads(a, b, must(b.seal(a.name(), text)), text)
		}
	}
	s.talk(a, b)
}

func lastResort(s *proteusStage, a, b proteusParty) {
	bundle := must(b.preKey(conclave.LastResortPreKeyID))
	for _, one := range []proteusParty{a, s.like(a), s.like(a)} {
		check(one.begin(b.name(), bundle))
		s.talk(one, b)
	}
	if again := must(b.preKey(conclave.LastResortPreKeyID)); !bytes.Equal(again, bundle) {
		fail("the last resort prekey has changed")
	}
}

func (s *proteusStage) beginAtOnce(a, b proteusParty) {
	s.begin(a, b)
	s.begin(b, a)
	var texts, messages [2][][]byte
	for range 3 {
		for i, p := range []proteusParty{a, b} {
			text, message := s.seal(p, []proteusParty{b, a}[i])
			texts[i], messages[i] = append(texts[i], text), append(messages[i], message)
		}
	}
	for _, at := range []int{1, 0} { // the second message is the first to come
		s.reads(b, a, messages[0][at], texts[0][at])
		s.reads(a, b, messages[1][at], texts[1][at])
	}
	s.talk(a, b)
	s.reads(b, a, messages[0][2], texts[0][2])
	s.reads(a, b, messages[1][2], texts[1][2])
	s.talk(a, b)
}

const (
	stormTexts = 2000
	// stormDelay is the number of texts after which a late one comes. Devices keep five chains of a session, and it takes two texts to make a new one.
	stormDelay = 7
)

// storm sends texts of both, in turns of some, over a network that loses a twentieth, delays most and repeats a tenth. What comes first is read, what
// comes again is refused.
func (s *proteusStage) storm(a, b proteusParty) {
	type flight struct {
		to, from      proteusParty
		text, message []byte
		seen          *bool
	}
	r := rand.New(rand.NewPCG(*seed, stormTexts))
	from, to := a, b
	turn, lost, repeated := 0, 0, 0
	coming := make([][]flight, stormTexts+stormDelay+1) // by step
	for step := range coming {
		if step < stormTexts {
			if turn == 0 {
				from, to, turn = to, from, 1+r.IntN(12)
			}
			turn--
			text := make([]byte, r.IntN(300))
			for i := range text {
				text[i] = byte(r.Uint32())
			}
			f := flight{to, from, text, must(from.seal(to.name(), text)), new(bool)}
			copies := 1
			switch drawn := r.IntN(20); {
			case drawn == 0:
				copies = 0
				lost++
			case drawn < 3:
				copies = 2
			}
			for range copies {
				at := step + r.IntN(stormDelay+1)
				coming[at] = append(coming[at], f)
			}
		}
		r.Shuffle(len(coming[step]), func(i, j int) { coming[step][i], coming[step][j] = coming[step][j], coming[step][i] })
		for _, f := range coming[step] {
			if *f.seen {
				s.refuses(f.to, f.from, f.message, duplicateMessage, outdatedMessage)
				repeated++
				continue
			}
			s.reads(f.to, f.from, f.message, f.text)
			*f.seen = true
		}
	}
	if lost < stormTexts/40 || repeated < stormTexts/20 {
		fail("only %d texts were lost and %d repeated", lost, repeated)
	}
	s.talk(a, b)
}

func gap(s *proteusStage, a, b proteusParty) {
	const most = 1000
	s.begin(a, b)
	s.talk(a, b)
	var texts, messages [][]byte
	for range most + 2 {
		text, message := s.seal(a, b)
		texts, messages = append(texts, text), append(messages, message)
	}
	s.refuses(b, a, messages[most+1], tooDistantFuture)
	for i := range slices.Backward(messages[:most+1]) {
		if i%50 == 0 || i == most-1 {
			s.reads(b, a, messages[i], texts[i])
		}
	}
	s.reads(b, a, messages[most+1], texts[most+1])
	s.reads(b, a, messages[1], texts[1])
	s.talk(a, b)
}

func allTwice(s *proteusStage, a, b proteusParty) {
	s.begin(a, b)
	for range 3 {
		for range 3 { // first messages in the first round, since b has not answered
			text, message := s.seal(a, b)
			s.reads(b, a, message, text)
			s.refuses(b, a, message, duplicateMessage)
		}
		text, message := s.seal(b, a)
		s.reads(a, b, message, text)
	}
	s.talk(a, b)
}

func changed(s *proteusStage, a, b proteusParty) {
	s.begin(a, b)
	s.talk(a, b)
	for range 3 {
		text, message := s.seal(a, b)
		last := len(message) - 1
		message[last] ^= 1
		s.refuses(b, a, message, invalidSignature)
		message[last] ^= 1
		if _, err := b.unseal(a.name(), message[:last]); err == nil {
			fail("%s read a message that lacks its last byte", b.name())
		}
		s.reads(b, a, message, text)
		if _, err := b.unseal(a.name(), nil); err == nil {
			fail("%s read an empty message", b.name())
		}
	}
	s.talk(a, b)
}

func anew(s *proteusStage, loser, other proteusParty) {
	s.begin(loser, other)
	s.talk(loser, other)
	check(loser.forget(other.name()))
	text, message := s.seal(other, loser)
	s.refuses(loser, other, message, invalidMessage)
	s.begin(loser, other)
	s.talk(loser, other)
	if got, err := loser.unseal(other.name(), message); err == nil {
		fail("%s read %q of the session that it lost, sent as %q", loser.name(), got, text)
	}
	s.talk(loser, other)
}

func usedUp(s *proteusStage, a, b proteusParty) {
	s.begin(a, b)
	text, message := s.seal(a, b)
	s.reads(b, a, message, text)
	check(b.forget(a.name()))
	s.refuses(b, a, message, preKeyNotFound)
	s.begin(a, b)
	s.talk(a, b)
}

func impostor(s *proteusStage, a, b proteusParty) {
	s.begin(a, b)
	s.talk(a, b)
	third := s.like(a)
	s.begin(third, b)
	_, message := s.seal(third, b)
	s.refuses(b, a, message, remoteIdentityChanged)
	s.talk(a, b)
}

func batch(s *proteusStage, a, b proteusParty) {
	devices := []proteusParty{b}
	for range 19 {
		devices = append(devices, s.like(b))
	}
	names := []conclave.SessionID{"nobody"}
	for _, d := range devices {
		s.begin(a, d)
		names = append(names, d.name())
	}
	for range 2 {
		text := []byte("one text for all")
		messages := must(a.sealBatch(names, text))
		if len(messages) != len(devices) {
			fail("%d messages for %d devices", len(messages), len(devices))
		}
		for _, d := range devices {
			s.reads(d, a, messages[d.name()], text)
		}
	}
	s.talk(a, b)
}
