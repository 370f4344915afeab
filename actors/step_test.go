package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// postman is a host that tells of each letter when it is in the mailbox.
type postman struct {
	host
	tell func(letter)
}

type posted struct {
	ref
	tell func(letter)
}

func (h postman) spawn(r receiver) ref { return &posted{h.host.spawn(r), h.tell} }

func (p *posted) send(l letter) {
	p.ref.send(l)
	p.tell(l)
}

// TestStep lets calls come while the disk is busy with one before them. They are written
// together, or each alone where a step takes one.
func TestStep(t *testing.T) {
	const calls = 10
	for b, writes := range map[step.Bound]int64{0: 2, step.All: 2, 4: 4, step.One: 1 + calls} {
		var applied, sent atomic.Int64
		busy, goOn := make(chan struct{}), make(chan struct{})
		var slow atomic.Bool
		w := newWorld(t, func(o *Options) {
			o.Step = b
			s := o.Store
			o.apply = func(sets ...*store.ChangeSet) error {
				applied.Add(1)
				if slow.Swap(false) {
					close(busy)
					<-goOn
				}
				return s.Apply(sets...)
			}
			o.host = func() host {
				return postman{newProtoHost(), func(l letter) {
					if m, ok := l.(*task); ok {
						if _, ok := m.request.(messages.EncryptMessage); ok {
							sent.Add(1)
						}
					}
				}}
			}
		})
		alice, bob := w.peer("alice"), w.peer("bob")
		alice.create(conv)
		alice.add(conv, bob)
		applied.Store(0)
		slow.Store(true)
		var all sync.WaitGroup
		said := make(chan []byte, 1+calls)
		say := func() { said <- alice.encrypt(alice.at(conv), "text") }
		all.Go(say)
		<-busy
		for range calls {
			all.Go(say)
		}
		for sent.Load() < 1+calls {
			runtime.Gosched()
		}
		close(goOn)
		all.Wait()
		close(said)
		if n := applied.Load(); n != writes {
			t.Errorf("bound %d: %d writes, want %d", b, n, writes)
		}
		for m := range said {
			bob.expectText(conv, m, "text")
		}
	}
}
