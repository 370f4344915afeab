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
	return func(context.Context, conclave.CommitBundle) enginetest.Fault {
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

// deliver lets a client receive one message: mostly the oldest on the network, sometimes a younger one. Application messages may be lost, anything may
// come again later. What the client cannot take yet stays on the network, as with a delivery service that is asked again.
func (s *simulation) deliver(id conclave.ClientID) error {
	s.fetch(id)
	list := s.network[id]
	if len(list) == 0 {
		return nil
	}
	i := 0
	if !s.good.Load() && s.rng.IntN(4) == 0 {
		i = s.rng.IntN(min(len(list), 6))
	}
	in := list[i]
	if !s.good.Load() && !in.Welcome && !in.Commit && isApplication(in.Message) && s.rng.IntN(10) == 0 {
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
		return nil
	}
	var err error
	d := s.devices[id]
	if in.Welcome {
		_, err = d.ProcessWelcome(s.t.Context(), in.Message, conclave.JoinOptions{})
	} else {
		_, err = d.DecryptMessage(s.t.Context(), in.Conversation, in.Message)
	}
	early := isAny(err, []conclave.Code{conclave.CodeWrongEpoch, conclave.CodeConversationNotFound, conclave.CodeConversationAlreadyExists})
	again := !s.good.Load() && s.rng.IntN(10) == 0
	if !early && !again || early && s.good.Load() {
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
	}
	if errors.Is(err, conclave.CodeWrongEpoch) {
		return nil
	}
	return err
}
