package tests

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// weather decides what goes wrong with commits on their way.
func (s *simulation) weather(seed uint64) weather {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(_ context.Context, b conclave.CommitBundle) enginetest.Fault {
		if err := s.witness.Observe(b.Commit); err != nil {
			s.t.Error(err)
		}
		if s.good.Load() {
			return enginetest.FaultNone
		}
		mu.Lock()
		defer mu.Unlock()
		switch rng.IntN(20) {
		case 0:
			return enginetest.FaultLoseRequest
		case 1, 2:
			return enginetest.FaultLoseAnswer
		case 3:
			return enginetest.FaultNotSent
		case 4:
			return enginetest.FaultRetry
		case 5:
			return enginetest.FaultRefuse
		}
		return enginetest.FaultNone
	}
}

// fetch moves what the delivery service has for a client onto the network.
func (s *simulation) fetch(id conclave.ClientID) {
	waiting := s.ds.Waiting(id, 1<<20)
	s.ds.Done(id, len(waiting))
	s.network[id] = append(s.network[id], waiting...)
}

// seat is a client in a conversation.
type seat struct {
	client       conclave.ClientID
	conversation conclave.ConversationID
}

// deliver lets a client receive one message: mostly the oldest on the network, sometimes a younger one. Application messages may be lost, now and then a
// commit is, and anything may come again later. What the client cannot take yet stays on the network, as with a delivery service that is asked again.
func (s *simulation) deliver(id conclave.ClientID) error {
	s.fetch(id)
	list := s.network[id]
	if len(list) == 0 {
		return nil
	}
	good := s.good.Load()
	i := 0
	if !good && s.rng.IntN(4) == 0 {
		i = s.rng.IntN(min(len(list), 6))
	}
	in := list[i]
	application := !in.Welcome && !in.Commit && isApplication(in.Message)
	switch {
	case good:
	case application && s.rng.IntN(10) == 0:
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
		return nil
	case in.Commit && s.rng.IntN(60) == 0:
		s.missed[seat{id, in.Conversation}] = true
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
		return nil
	}
	_, err := received(s.t.Context(), s.devices[id], in)
	if isAny(err, stopped) { // it is not known what became of it, so it comes again
		return err
	}
	if application && err == nil {
		s.opened(id, in)
	}
	early := isAny(err, []conclave.Code{conclave.CodeWrongEpoch, conclave.CodeConversationNotFound, conclave.CodeConversationAlreadyExists})
	again := !good && s.rng.IntN(10) == 0
	switch {
	case early && good && !s.last:
		s.postponed[id] = append(s.postponed[id], in)
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
	case !early && !again || early && (good || s.rng.IntN(20) == 0):
		s.progress = true
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
		if application && (good || !early) { // what is early and not tried again is lost on the way
			s.took(id, in, err)
		}
		if early && !in.Welcome && !application { // a commit, or a proposal that a commit refers to
			s.missed[seat{id, in.Conversation}] = true
		}
	}
	if errors.Is(err, conclave.CodeWrongEpoch) {
		s.behind[seat{id, in.Conversation}] = true
		return nil
	}
	return err
}
