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
	if !s.answered(id, in, err) {
		s.network[id] = slices.Delete(slices.Clone(list), i, i+1)
	}
	if errors.Is(err, conclave.CodeWrongEpoch) {
		return nil
	}
	return err
}

// stream lets a client take what waits for it as one stream, up to the next Welcome. In bad weather it is not all, and two of them have changed places.
func (s *simulation) stream(id conclave.ClientID) {
	s.fetch(id)
	list := slices.Clone(s.network[id])
	n := slices.IndexFunc(list, func(in enginetest.Delivery) bool { return in.Welcome })
	if n < 0 {
		n = len(list)
	}
	if n == 0 {
		if err := s.deliver(id); err != nil && !conclave.IsIgnorable(err) && !isAny(err, expected) {
			s.t.Errorf("%s: %v", id, err)
		}
		return
	}
	if !s.good.Load() {
		n = 1 + s.rng.IntN(n)
		i, j := s.rng.IntN(min(n, 6)), s.rng.IntN(min(n, 6))
		list[i], list[j] = list[j], list[i]
	}
	errs := make([]error, n)
	heard := 0
	for out, err := range s.devices[id].DecryptAll(s.t.Context(), func(yield func(conclave.Incoming) bool) {
		for _, in := range list[:n] {
			if !yield(conclave.Incoming{Conversation: in.Conversation, Message: in.Message}) {
				return
			}
		}
	}) {
		heard++
		errs[out.Index] = err
		s.readers[id].heard = append(s.readers[id].heard, enginetest.Event{Message: out.Message}.Texts()...)
	}
	if heard != n {
		s.t.Errorf("%s has heard of %d of %d messages", id, heard, n)
	}
	var stay []enginetest.Delivery
	for i, in := range list[:n] {
		if err := errs[i]; err != nil && !conclave.IsIgnorable(err) && !isAny(err, expected) && !isAny(err, harmless) && !errors.Is(err, conclave.CodeWrongEpoch) {
			s.t.Errorf("%s in %s, in a stream: %v", id, in.Conversation, err)
		}
		if s.answered(id, in, errs[i]) {
			stay = append(stay, in)
		}
	}
	s.counts["streamed"] += n
	s.network[id] = append(stay, list[n:]...)
}

// answered notes what a client made of a delivery, and tells whether it stays on the network.
func (s *simulation) answered(id conclave.ClientID, in enginetest.Delivery, err error) (stays bool) {
	if isAny(err, stopped) { // it is not known what became of it, so it comes again
		return true
	}
	good := s.good.Load()
	application := !in.Welcome && !in.Commit && isApplication(in.Message)
	if application && err == nil {
		s.opened(id, in)
	}
	if errors.Is(err, conclave.CodeWrongEpoch) {
		s.behind[seat{id, in.Conversation}] = true
	}
	early := isAny(err, []conclave.Code{conclave.CodeWrongEpoch, conclave.CodeConversationNotFound, conclave.CodeConversationAlreadyExists})
	again := !good && s.rng.IntN(10) == 0
	switch {
	case early && good && !s.last:
		s.postponed[id] = append(s.postponed[id], in)
		return false
	case !early && !again || early && (good || s.rng.IntN(20) == 0):
		s.progress = true
		if application && (good || !early) { // what is early and not tried again is lost on the way
			s.took(id, in, err)
		}
		if early && !in.Welcome && !application { // a commit, or a proposal that a commit refers to
			s.missed[seat{id, in.Conversation}] = true
		}
		return false
	}
	return true
}
