package tests

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var (
	seed  = flag.Uint64("seed", 1, "the first seed of the simulation")
	seeds = flag.Uint64("seeds", 0, "how many seeds to play; 0 is what a short run has")
	steps = flag.Int("steps", 150, "how many steps the simulation has before the network becomes good")
)

// TestSimulation lets twenty clients in several engines do everything there is to do at random, in one conversation or many, over a network that loses,
// repeats, delays and reorders, with engines that crash at any write and are set to the extremes. In the end the network is good again: the members of each
// conversation agree, and every client has read what it could, once. The long run is a thousand seeds:
//
//	go test ./tests -run TestSimulation -seeds 1000 -steps 400 -timeout 2h
func TestSimulation(t *testing.T) {
	count := *seeds
	switch {
	case count > 0:
	case testing.Short():
		count = 2
	default:
		count = 32
	}
	for n := *seed; n < *seed+count; n++ {
		if !extreme.Whole() {
			t.Run(fmt.Sprint(n), func(t *testing.T) { play(t, n, func(i uint64) extreme.Setting { return extreme.Of(n + i) }) })
			continue
		}
		for _, x := range extreme.Over(n) {
			t.Run(fmt.Sprintf("%d, %s", n, x.Name), func(t *testing.T) { play(t, n, func(uint64) extreme.Setting { return x }) })
		}
	}
}

// play runs a seed, with engines that are set as told.
func play(t *testing.T, n uint64, set func(engine uint64) extreme.Setting) {
	t.Parallel()
	defer func() {
		if t.Failed() {
			whole := ""
			if extreme.Whole() {
				whole = "CONCLAVE_EXTREMES=1 "
			}
			t.Logf("to play it again: %sgo test ./tests -run TestSimulation -seed %d -seeds 1 -steps %d", whole, n, *steps)
		}
	}()
	simulate(t, n, set)
}

// simulation is one run. Steps follow one another; what happens in the background is the engines' own.
type simulation struct {
	*party
	rng     *rand.Rand
	engines []*simulatedEngine
	home    map[conclave.ClientID]*simulatedEngine
	clients []conclave.ClientID
	network map[conclave.ClientID][]enginetest.Delivery // on its way to each client, oldest first
	good    atomic.Bool                                 // nothing is lost or reordered any more
	sent    map[[32]byte]*sentText                      // by the hash of the message
	readers map[conclave.ClientID]*reader
	missed  map[seat]bool // a commit or proposal was lost on the way, for good
	behind  map[seat]bool // the client has said that it misses something
	texts   int           // made so far
	streams bool          // in good weather, clients take what waits as a stream
	// In good weather: what has come too early for its client, whether anything else has come, and whether this is the last try.
	postponed map[conclave.ClientID][]enginetest.Delivery
	progress  bool
	last      bool
	counts    map[string]int
}

type simulatedEngine struct {
	dir    string
	set    extreme.Setting
	past   uint32 // epochs before the current one that its clients can still read
	engine *conclave.Engine
}

func simulate(t *testing.T, seed uint64, set func(engine uint64) extreme.Setting) {
	rng := rand.New(rand.NewPCG(seed, 0))
	rooms := 1
	if rng.IntN(2) == 0 {
		rooms = 2 + rng.IntN(5)
	}
	var conversations []conclave.ConversationID
	for i := range rooms {
		conversations = append(conversations, conclave.ConversationID(fmt.Sprintf("room %d", i)))
	}
	suite, profile := conclave.CipherSuite(mlsgroup.CipherSuiteX25519AES128Ed25519), mlsgroup.ProfileWire
	if rng.IntN(4) == 0 {
		suite = mlsgroup.CipherSuiteP256AES128P256
	}
	if rng.IntN(3) == 0 {
		profile = mlsgroup.ProfileRFC
	}
	s := &simulation{
		party: newParty(t, suite, profile, conversations...), rng: rng, home: make(map[conclave.ClientID]*simulatedEngine),
		network: make(map[conclave.ClientID][]enginetest.Delivery), sent: make(map[[32]byte]*sentText), readers: make(map[conclave.ClientID]*reader),
		missed: make(map[seat]bool), behind: make(map[seat]bool), counts: make(map[string]int),
		postponed: make(map[conclave.ClientID][]enginetest.Delivery),
	}
	s.ds.Echo, s.streams = rng.IntN(2) == 0, rng.IntN(2) == 0
	for i := range 1 + rng.IntN(3) {
		s.engines = append(s.engines, &simulatedEngine{dir: filepath.Join(t.TempDir(), fmt.Sprint(i)), set: set(uint64(i)), past: pastEpochs[(seed/2+uint64(i))%3]})
	}
	for i := range 20 {
		id := conclave.ClientID(fmt.Sprintf("client %d", i))
		s.clients = append(s.clients, id)
		s.home[id] = s.engines[rng.IntN(len(s.engines))]
		s.readers[id] = newReader()
	}
	for _, e := range s.engines {
		s.start(e)
	}
	s.found()
	for range *steps {
		s.step()
		if t.Failed() {
			return
		}
	}
	s.heal()
	for _, e := range s.engines {
		if err := e.engine.Close(); err != nil {
			t.Error(err)
		}
	}
	generations, unread := s.witness.Observed()
	t.Logf("suite %d, %v, %d engines, %d clients, %d conversations: %v; %+v; %d generations seen, %d not",
		suite, profile, len(s.engines), len(s.clients), len(s.conversations), s.counts, s.ds.Totals(), generations, unread)
}

// start opens an engine and the clients who live in it.
func (s *simulation) start(e *simulatedEngine) {
	s.t.Helper()
	var err error
	o := extremely(e.set, conclave.Options{Key: partyKey, RetryPause: time.Millisecond, SendTimeout: time.Minute})
	if e.engine, err = conclave.Open(e.set.Open(s.t.Context()), e.dir, o); err != nil {
		s.t.Fatal(err)
	}
	for _, id := range s.clients {
		if s.home[id] == e {
			s.open(e.engine, id, s.weather(s.rng.Uint64()), conclave.ReceiveConfig{PastEpochs: e.past})
		}
	}
}

// found creates the conversations, with the witness and some others in each.
func (s *simulation) found() {
	s.t.Helper()
	ctx := s.t.Context()
	s.good.Store(true)
	defer s.good.Store(false)
	for _, c := range s.conversations {
		founder := s.anyClient()
		if err := s.devices[founder].CreateConversation(ctx, c, conclave.ConversationOptions{}); err != nil {
			s.t.Fatal(err)
		}
		others := []conclave.ClientID{s.witness.ID()}
		for _, id := range s.clients {
			if id != founder && s.rng.IntN(3) > 0 {
				others = append(others, id)
			}
		}
		if err := s.devices[founder].Add(ctx, c, others...); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *simulation) anyClient() conclave.ClientID { return s.clients[s.rng.IntN(len(s.clients))] }

func (s *simulation) anyConversation() conclave.ConversationID {
	return s.conversations[s.rng.IntN(len(s.conversations))]
}

// step does one thing at random. The engine may crash meanwhile, or between two steps.
func (s *simulation) step() {
	s.t.Helper()
	id, c := s.anyClient(), s.anyConversation()
	for s.rng.IntN(4) > 0 && !slices.Contains(s.ds.Members(c), id) {
		id, c = s.anyClient(), s.anyConversation() // mostly a member
	}
	var what string
	var err error
	crashes := s.rng.IntN(25) == 0
	if crashes {
		s.counts["crash"]++
		s.crash(s.home[id], func() { what, err = s.act(id, c, true) })
	} else {
		what, err = s.act(id, c, false)
	}
	s.counts[what]++
	var known *conclave.Error
	switch {
	case err == nil || conclave.IsIgnorable(err) || isAny(err, expected) || errors.Is(err, enginetest.ErrNoKeyPackage) || errors.Is(err, errChangedMind):
	case isAny(err, stopped):
	case what != "receive" && isAny(err, []conclave.Code{conclave.CodeNotSent, conclave.CodeInvalidMessage, conclave.CodePendingProposalNotFound}):
	default:
		s.t.Errorf("%s: %s in %s, where the engine crashes (%t): %v", what, id, c, crashes, err)
	}
	if errors.As(err, &known) {
		s.counts[string(known.Code)]++
	}
}

// stopped are the codes of calls that the end of their engine has caught.
var stopped = []conclave.Code{
	conclave.CodeClosed, conclave.CodeStoreFailed, conclave.CodeOutcomeUnknown, conclave.CodeTransactionFailed, conclave.CodeInvalidTransaction, conclave.CodeCanceled,
}

// crash ends the engine during an action, at its first, second or third write from now on, or after it, and starts it again.
func (s *simulation) crash(e *simulatedEngine, action func()) {
	s.t.Helper()
	last := e.engine.Metrics().Applies + s.rng.Uint64N(3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		action()
	}()
	for e.engine.Metrics().Applies <= last && !isClosed(done) {
		runtime.Gosched()
	}
	e.engine.Kill()
	<-done
	s.start(e)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// act lets a client do one thing at random. Where its engine crashes it takes no stream, as what that has read is lost to the application then.
func (s *simulation) act(id conclave.ClientID, c conclave.ConversationID, crashes bool) (what string, err error) {
	d := s.devices[id]
	switch dice := s.rng.IntN(100); {
	case dice < 30 || dice < 45 && crashes:
		what, err = "receive", s.deliver(id)
		if in := (seat{id, c}); s.missed[in] && s.behind[in] {
			what, err = "rejoin", s.rejoinOne(d, c)
		}
	case dice < 45:
		what = "stream"
		s.stream(id)
	case dice < 65:
		what, err = "say", s.say(d, c)
	case dice < 72:
		what = "update"
		_, err = d.UpdateKeyMaterial(s.t.Context(), c)
	case dice < 80:
		what, err = "propose", s.propose(d, c)
	case dice < 85:
		what = "commit"
		_, err = d.CommitPendingProposals(s.t.Context(), c)
	case dice < 90:
		what, err = "change", s.change(d, c)
	case dice < 95:
		what, err = "transaction", s.transaction(d, c, s.anyConversation())
	default:
		what, err = "join", s.join(d, c)
	}
	return what, err
}

// rejoinOne lets a client who has missed a commit join anew.
func (s *simulation) rejoinOne(d *enginetest.Device, c conclave.ConversationID) error {
	_, err := d.JoinByExternalCommit(s.t.Context(), s.ds.GroupInfo(c), conclave.JoinOptions{})
	if err == nil {
		delete(s.missed, seat{d.ID(), c})
		delete(s.behind, seat{d.ID(), c})
	}
	return err
}

// newText makes a plaintext that no other is.
func (s *simulation) newText() string {
	s.texts++
	return fmt.Sprint("text-", s.texts)
}

// say lets a client say something, or some things at once.
func (s *simulation) say(d *enginetest.Device, c conclave.ConversationID) error {
	said := make([]struct {
		name   string
		sealed []byte
		err    error
	}, 1+s.rng.IntN(4))
	var all sync.WaitGroup
	for i := range said {
		m := &said[i]
		m.name = s.newText()
		all.Go(func() { m.sealed, m.err = d.EncryptMessage(s.t.Context(), c, []byte(m.name)) })
	}
	all.Wait()
	var err error
	for _, m := range said {
		if m.err != nil {
			err = m.err
			continue
		}
		if err := s.witness.Observe(m.sealed); err != nil {
			s.t.Error(err)
		}
		s.send(d.ID(), c, m.name, m.sealed)
	}
	return err
}

func (s *simulation) propose(d *enginetest.Device, c conclave.ConversationID) error {
	ctx := s.t.Context()
	var p conclave.ProposalBundle
	var err error
	switch s.rng.IntN(3) {
	case 0:
		p, err = d.ProposeRemove(ctx, c, s.anyClient())
	case 1:
		var kp [][]byte
		if kp, err = s.ds.Claim(s.anyClient()); err == nil {
			p, err = d.ProposeAdd(ctx, c, kp[0])
		}
	default:
		p, err = d.ProposeUpdate(ctx, c)
	}
	if err != nil {
		return err
	}
	if err := s.witness.Observe(p.Message); err != nil {
		s.t.Error(err)
	}
	s.ds.Send(d.ID(), c, p.Message)
	return nil
}

// change adds one who is no member, or removes one who is.
func (s *simulation) change(d *enginetest.Device, c conclave.ConversationID) error {
	ctx := s.t.Context()
	ids, err := d.ClientIDs(ctx, c)
	if err != nil {
		return err
	}
	other := s.anyClient()
	switch {
	case other == d.ID():
		return nil
	case slices.Contains(ids, other):
		_, err = d.RemoveMembers(ctx, c, other)
		return err
	}
	return d.Add(ctx, c, other)
}

// transaction speaks in two conversations, may commit in between, and may be aborted.
func (s *simulation) transaction(d *enginetest.Device, first, second conclave.ConversationID) error {
	ctx := s.t.Context()
	type message struct {
		conversation conclave.ConversationID
		name         string
		sealed       []byte
	}
	var made []message
	err := d.Client.Transaction(ctx, func(tx *conclave.Tx) error {
		made = nil
		for _, c := range []conclave.ConversationID{first, second, first} {
			name := s.newText()
			sealed, err := tx.EncryptMessage(ctx, c, []byte(name))
			if err != nil {
				return err
			}
			made = append(made, message{c, name, sealed})
			if err := s.witness.Observe(sealed); err != nil {
				s.t.Error(err)
			}
		}
		if s.rng.IntN(2) == 0 {
			if _, err := tx.UpdateKeyMaterial(ctx, second); err != nil {
				return err
			}
		}
		if s.rng.IntN(3) == 0 {
			return errChangedMind
		}
		return nil
	})
	if err == nil {
		for _, m := range made {
			s.send(d.ID(), m.conversation, m.name, m.sealed)
		}
	}
	return err
}

// join joins a conversation from outside, which the client may have a group of.
func (s *simulation) join(d *enginetest.Device, c conclave.ConversationID) error {
	if slices.Contains(s.ds.Members(c), d.ID()) && s.rng.IntN(4) > 0 {
		return nil
	}
	_, err := d.JoinByExternalCommit(s.t.Context(), s.ds.GroupInfo(c), conclave.JoinOptions{})
	return err
}

// heal delivers everything in order and waits until no commit is in doubt. Who has missed a commit is brought to say so, and joins anew.
func (s *simulation) heal() {
	s.t.Helper()
	s.good.Store(true)
	s.quiet()
	s.catchUp()
	s.party.settle()
	s.commitPending()
	s.catchUp() // who has missed a proposal is behind only when it is committed
	s.party.settle()
	s.rejoin()
	s.party.settle()
	s.agree()
	s.checkRecords()
}

// quiet delivers until nothing is on its way and no commit is in doubt.
func (s *simulation) quiet() {
	s.t.Helper()
	for {
		for s.deliverAll() {
		}
		doubts := 0
		for _, id := range s.clients {
			doubts += s.doubts(id)
		}
		if doubts == 0 {
			break
		}
		s.awaitSettled(doubts)
	}
	if err := s.witness.Receive(s.ds); err != nil {
		s.t.Error(err)
	}
}

// deliverAll delivers what is on its way, and tells whether there may be more. What comes too early waits for the rest; if nothing else comes any more it
// is delivered once more, for the last time.
func (s *simulation) deliverAll() bool {
	s.t.Helper()
	s.progress = false
	for _, id := range s.clients {
		for s.fetch(id); len(s.network[id]) > 0; s.fetch(id) {
			if s.streams {
				s.stream(id)
			} else if err := s.deliver(id); err != nil && !conclave.IsIgnorable(err) && !isAny(err, harmless) {
				s.t.Errorf("%s: %v", id, err)
			}
		}
	}
	if s.last || !s.progress && len(s.postponed) == 0 {
		return s.progress
	}
	for id, list := range s.postponed {
		s.network[id] = append(list, s.network[id]...)
	}
	clear(s.postponed)
	if s.progress {
		return true
	}
	s.last = true
	defer func() { s.last = false }()
	return s.deliverAll()
}

// catchUp lets those who have missed a commit join anew. Before that the conversation goes on for two epochs, so that each of them has to notice.
func (s *simulation) catchUp() {
	s.t.Helper()
	for _, c := range s.conversations {
		late, current := s.late(c)
		if len(late) == 0 {
			continue
		}
		for _, id := range late {
			if !s.missed[seat{id, c}] {
				s.t.Errorf("%s is behind in %s and has missed nothing", id, c)
			}
		}
		for range 2 {
			if current != nil {
				if err := s.commitNothing(current, c); err != nil {
					s.t.Errorf("%s commits in %s: %v", current.ID(), c, err)
				}
				s.quiet()
			}
		}
		for _, id := range late {
			if current != nil && !s.behind[seat{id, c}] {
				s.t.Errorf("%s is behind in %s and does not say so", id, c)
			}
			s.counts["caught up"]++
			if err := s.rejoinOne(s.devices[id], c); err != nil {
				s.t.Errorf("%s joins %s again: %v", id, c, err)
			}
			s.quiet()
		}
	}
}

// late returns the members whose group is in an epoch that is over, and one whose group is not.
func (s *simulation) late(c conclave.ConversationID) (late []conclave.ClientID, current *enginetest.Device) {
	s.t.Helper()
	epoch, _ := s.ds.Epoch(c)
	for _, id := range s.ds.Members(c) {
		d := s.devices[id]
		if d == nil {
			continue
		}
		state, err := d.Conversation(c).State(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case !state.Exists:
		case state.Epoch < epoch:
			late = append(late, id)
		default:
			current = d
		}
	}
	return late, current
}

// rejoin brings back by external commit those who are members and have no group: their Welcome was for a key package that is used up, or came while they
// still were in the conversation. That is what Wire's clients do.
func (s *simulation) rejoin() {
	s.t.Helper()
	for _, c := range s.conversations {
		for _, id := range s.ds.Members(c) {
			d := s.devices[id]
			if d == nil {
				continue
			}
			if exists, err := d.ConversationExists(s.t.Context(), c); err != nil || exists {
				continue
			}
			s.counts["rejoin"]++
			if err := s.rejoinOne(d, c); err != nil {
				s.t.Errorf("%s joins %s again: %v", id, c, err)
			}
			s.party.settle()
		}
	}
}
