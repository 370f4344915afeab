package actors

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
)

// inMemory lists the conversations of a peer that are in memory.
func (p *peer) inMemory() []messages.ConversationID {
	var ids []messages.ConversationID
	for _, e := range p.sys.conversations.all() {
		if e.key.instance == p.instance {
			ids = append(ids, e.key.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestLeastRecentlyUsedGoes makes room and looks who is left.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, -1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	ids := []messages.ConversationID{"a", "b", "c", "d"}
	for _, id := range ids {
		alice.create(id)
		alice.add(id, bob)
	}
	w.emptyMemory()
	for _, id := range []messages.ConversationID{"c", "a", "d", "b", "c"} {
		alice.encrypt(alice.at(id), "touched")
	}
	tx := alice.begin()
	alice.encrypt(alice.in("a", tx), "in use")
	const each = restBytes + 8<<10 // without the tree
	w.rests(4 * each)
	w.sys.makeRoom(2*each + each/2)
	if got, want := alice.inMemory(), []messages.ConversationID{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("%v are in memory, want %v: one is in use, the other was used last", got, want)
	}
	alice.finish(tx)
	w.rests(2 * each)
}

// rests waits until the conversations hold so many bytes: an actor counts its own when
// it has answered.
func (w *world) rests(want int64) {
	w.t.Helper()
	for until := time.Now().Add(time.Minute); w.sys.resident.Load() != want; runtime.Gosched() {
		if time.Now().After(until) {
			w.t.Fatalf("%d bytes are in memory, want %d", w.sys.resident.Load(), want)
		}
	}
}

// TestStateBytesHold has several callers use many conversations under a bound: at no
// moment more is in memory than the bound and what they are using.
func TestStateBytesHold(t *testing.T) {
	const (
		callers, conversations = 8, 80
		each                   = restBytes + 16<<10 // at most: without the tree
		limit                  = 10 * each
	)
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, limit })
	alice, bob := w.peer("alice"), w.peer("bob")
	id := func(i int) messages.ConversationID { return messages.ConversationID(fmt.Sprint(i)) }
	for i := range conversations {
		alice.create(id(i))
		alice.add(id(i), bob)
	}
	w.emptyMemory() // of their trees
	var most atomic.Int64
	var callersDone sync.WaitGroup
	for caller := range callers {
		callersDone.Go(func() {
			for round := range 3 {
				for i := caller; i < conversations; i += callers {
					if _, err := w.sys.Ask(t.Context(), alice.at(id(i)), messages.EncryptMessage{Plaintext: fmt.Append(nil, round)}); err != nil {
						t.Error(err)
						return
					}
					for now := w.sys.resident.Load(); ; {
						if was := most.Load(); now <= was || most.CompareAndSwap(was, now) {
							break
						}
					}
				}
			}
		})
	}
	callersDone.Wait()
	if got := most.Load(); got > limit+callers*each {
		t.Errorf("%d bytes were in memory, %d is the bound and %d what was in use", got, limit, callers*each)
	}
	if len(w.sys.conversations.all()) == 0 {
		t.Error("nothing is left in memory")
	}
}

// TestRoom has a request wait for a pass of the sweeper that begins after it has come.
func TestRoom(t *testing.T) {
	s := &System{options: Options{StateBytes: 1}, crowded: make(chan struct{}, 1), room: room{next: make(chan struct{})}, background: t.Context()}
	s.resident.Store(1)
	s.room.wait(t.Context(), s) // there is room
	s.resident.Store(2)
	waiting := func() (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			s.room.wait(t.Context(), s)
		}()
		<-s.crowded
		return done
	}
	done := waiting()
	s.room.begin()(true)
	<-done

	earlier := s.room.begin()
	done = waiting()
	earlier(true)
	select {
	case <-done:
		t.Error("a pass that had begun before has let a request in")
	default:
	}
	s.room.begin()(true)
	<-done

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.room.wait(gone, s)
	<-s.crowded
	s.room.begin()(false)
	s.room.wait(t.Context(), s) // all is in use
}

// sweptHost is a host whose System drops what it can from memory before every letter:
// the sweeper, at the worst of times.
type sweptHost struct {
	host
	sys *System
}

type sweptRef struct {
	ref
	host *sweptHost
}

func (h *sweptHost) spawn(r receiver) ref { return sweptRef{h.host.spawn(r), h} }

func (r sweptRef) send(l letter) {
	if s := r.host.sys; s != nil && s.background.Err() == nil { // Close ends the sweeper first
		for _, e := range s.conversations.all() {
			s.drop(nil, e)
		}
	}
	r.ref.send(l)
}

// TestInDoubtStaysInMemory lets a commit in doubt settle by itself, however a call has
// left it, while conversations leave memory as soon as nothing holds them there.
func TestInDoubtStaysInMemory(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"a call": func(alice *peer) {
			wantErrorAs[*messages.CommitInDoubt](alice.t, alice.update(alice.at(conv)))
		},
		"a transaction that is aborted": func(alice *peer) {
			tx := alice.begin()
			wantErrorAs[*messages.CommitInDoubt](alice.t, alice.update(alice.in(conv, tx)))
			alice.abort(tx)
		},
		"a transaction that is finished": func(alice *peer) {
			tx := alice.begin()
			wantErrorAs[*messages.CommitInDoubt](alice.t, alice.update(alice.in(conv, tx)))
			alice.finish(tx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			swept := &sweptHost{host: newProtoHost()}
			w := newWorld(t, func(o *Options) {
				o.IdleAfter, o.StateBytes = -1, -1
				o.host = func() host { return swept }
			})
			swept.sys = w.sys
			alice := w.peer("alice")
			alice.create(conv)
			var left atomic.Bool
			w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
				if !left.Swap(true) {
					return messages.Verdict{}, errLost
				}
				return w.service.accept(b), nil
			})
			leave(alice)
			alice.awaitEpoch(1)
			alice.expectSettled(conv, 1)
		})
	}
}
