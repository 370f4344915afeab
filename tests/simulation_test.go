package tests

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var seed = flag.Uint64("seed", 0, "play the simulation of this seed only")

// TestSimulation lets clients in several engines do everything there is to do at random, over a network that loses, repeats, delays and reorders, with
// engines that crash. In the end the network is good again, and the members of each conversation agree. Failing seeds are added to the list.
func TestSimulation(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	if testing.Short() {
		seeds = seeds[:2]
	}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, seed) })
	}
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
	counts  map[string]int
}

type simulatedEngine struct {
	dir        string
	stateBytes int64 // all conversations leave memory as soon as they rest, or none does
	engine     *conclave.Engine
}

func simulate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	var conversations []conclave.ConversationID
	for i := range 2 + rng.IntN(3) {
		conversations = append(conversations, conclave.ConversationID(fmt.Sprintf("room %d", i)))
	}
	s := &simulation{
		party: newParty(t, conversations...), rng: rng, home: make(map[conclave.ClientID]*simulatedEngine),
		network: make(map[conclave.ClientID][]enginetest.Delivery), counts: make(map[string]int),
	}
	s.ds.Echo = rng.IntN(2) == 0
	for i := range 1 + rng.IntN(3) {
		s.engines = append(s.engines, &simulatedEngine{dir: filepath.Join(t.TempDir(), fmt.Sprint(i)), stateBytes: int64((seed+uint64(i))%2)*2 - 1})
	}
	for i := range 4 + rng.IntN(4) {
		id := conclave.ClientID(fmt.Sprintf("client %d", i))
		s.clients = append(s.clients, id)
		s.home[id] = s.engines[rng.IntN(len(s.engines))]
	}
	for _, e := range s.engines {
		s.start(e)
	}
	s.found()
	for range 500 {
		s.step()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	s.heal()
	for _, e := range s.engines {
		if err := e.engine.Close(); err != nil {
			t.Error(err)
		}
	}
	generations, unread := s.witness.Observed()
	t.Logf("%d engines, %d clients, %d conversations: %v; %+v; %d generations seen, %d not",
		len(s.engines), len(s.clients), len(s.conversations), s.counts, s.ds.Totals(), generations, unread)
}

// start opens an engine and the clients who live in it.
func (s *simulation) start(e *simulatedEngine) {
	s.t.Helper()
	var err error
	if e.engine, err = conclave.Open(s.t.Context(), e.dir, conclave.Options{
		Key: partyKey, RetryPause: time.Millisecond, SendTimeout: 10 * time.Second, StateBytes: e.stateBytes,
	}); err != nil {
		s.t.Fatal(err)
	}
	for _, id := range s.clients {
		if s.home[id] == e {
			s.open(e.engine, id, s.weather(s.rng.Uint64()))
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

// step does one thing at random.
func (s *simulation) step() {
	s.t.Helper()
	id, c := s.anyClient(), s.anyConversation()
	for s.rng.IntN(4) > 0 && !slices.Contains(s.ds.Members(c), id) {
		id, c = s.anyClient(), s.anyConversation() // mostly a member
	}
	d := s.devices[id]
	what, err := "", error(nil)
	switch dice := s.rng.IntN(100); {
	case dice < 40:
		what, err = "receive", s.deliver(id)
	case dice < 60:
		what, err = "say", s.say(d, c)
	case dice < 67:
		what = "update"
		_, err = d.UpdateKeyMaterial(s.t.Context(), c)
	case dice < 77:
		what, err = "propose", s.propose(d, c)
	case dice < 82:
		what = "commit"
		_, err = d.CommitPendingProposals(s.t.Context(), c)
	case dice < 87:
		what, err = "change", s.change(d, c)
	case dice < 92:
		what, err = "transaction", s.transaction(d, c, s.anyConversation())
	case dice < 96:
		what, err = "join", s.join(d, c)
	default:
		what = "crash"
		e := s.home[id]
		e.engine.Kill()
		s.start(e)
	}
	s.counts[what]++
	var known *conclave.Error
	switch {
	case err == nil || conclave.IsIgnorable(err) || isAny(err, expected) || errors.Is(err, enginetest.ErrNoKeyPackage) || errors.Is(err, errChangedMind):
	case what != "receive" && isAny(err, []conclave.Code{conclave.CodeNotSent, conclave.CodeInvalidMessage, conclave.CodePendingProposalNotFound}):
	default:
		s.t.Errorf("%s: %s in %s: %v", what, id, c, err)
	}
	if errors.As(err, &known) {
		s.counts[string(known.Code)]++
	}
}

func (s *simulation) say(d *enginetest.Device, c conclave.ConversationID) error {
	sealed, err := d.EncryptMessage(s.t.Context(), c, []byte("hello"))
	if err != nil {
		return err
	}
	if err := s.witness.Observe(sealed); err != nil {
		s.t.Error(err)
	}
	s.ds.Send(d.ID(), c, sealed)
	return nil
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
	if err == nil {
		s.ds.Send(d.ID(), c, p.Message)
	}
	return err
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
		sealed       []byte
	}
	var made []message
	err := d.Client.Transaction(ctx, func(tx *conclave.Tx) error {
		made = nil
		for _, c := range []conclave.ConversationID{first, second, first} {
			sealed, err := tx.EncryptMessage(ctx, c, []byte("in a transaction"))
			if err != nil {
				return err
			}
			made = append(made, message{c, sealed})
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
		return tx.SetData(ctx, []byte(first+second))
	})
	if err == nil {
		for _, m := range made {
			s.ds.Send(d.ID(), m.conversation, m.sealed)
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

// heal delivers everything in order and waits until no commit is in doubt.
func (s *simulation) heal() {
	s.t.Helper()
	s.good.Store(true)
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for {
		quiet := true
		for _, id := range slices.Sorted(maps.Keys(s.devices)) {
			for s.fetch(id); len(s.network[id]) > 0; s.fetch(id) {
				quiet = false
				if err := s.deliver(id); err != nil && !conclave.IsIgnorable(err) && !isAny(err, harmless) {
					s.t.Errorf("%s: %v", id, err)
				}
			}
		}
		if !quiet {
			continue
		}
		doubts := 0
		for _, id := range s.clients {
			doubts += s.doubts(ctx, id)
		}
		if doubts == 0 {
			break
		}
		select {
		case <-s.settled:
		case <-ctx.Done():
			s.t.Fatalf("%d commits are still in doubt", doubts)
		}
	}
	s.party.settle()
	s.commitPending()
	s.rejoin()
	s.party.settle()
	s.agree()
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
			if _, err := d.JoinByExternalCommit(s.t.Context(), s.ds.GroupInfo(c), conclave.JoinOptions{}); err != nil {
				s.t.Errorf("%s joins %s again: %v", id, c, err)
			}
			s.party.settle()
		}
	}
}
