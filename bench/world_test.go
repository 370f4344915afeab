package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// openEngine opens an engine, in a directory of its own unless it is in memory.
func openEngine(b *testing.B, kind storeKind, leased bool, dir string) *conclave.Engine {
	b.Helper()
	o := conclave.Options{Key: make(conclave.Secret, store.KeySize), InMemory: kind == memory, LeaseGenerations: leased, IdleAfter: time.Minute}
	e, err := conclave.Open(b.Context(), dir, o)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// maxGroups bounds the groups of more than two members, which take long to make.
// More conversations than that are further clients of the engine in the same
// groups, each with a state of its own.
const maxGroups = 64

// groupsFor returns in how many groups the conversations of a cell are.
func groupsFor(members, conversations int) int {
	if members == 2 {
		return conversations
	}
	return min(conversations, maxGroups)
}

// maxClients is how many clients of an engine are in one group.
const maxClients = 8

// A base is a group as its founder, a peer, sees it after the one commit that
// added everybody. Fixtures take copies of it: a core group never changes.
type base struct {
	founder *peer
	welcome []byte
	tickets []*mlsgroup.KeyPackageBundle // one for each client of an engine
}

type baseKey struct {
	dialect
	members int
}

// bases are shared by the worlds of a run.
var bases = map[baseKey][]*base{}

// clients are who lives in the engines: the same in all.
var clients = map[dialect][]*identity{}

func clientsOf(d dialect) ([]*identity, error) {
	if clients[d] == nil {
		for i := range maxClients {
			p, err := newIdentity(d, fmt.Sprint("client ", i))
			if err != nil {
				return nil, err
			}
			clients[d] = append(clients[d], p)
		}
	}
	return clients[d], nil
}

// basesFor returns n bases.
func basesFor(k baseKey, n int) ([]*base, error) {
	have := bases[k]
	if len(have) >= n {
		return have[:n], nil
	}
	inside, err := clientsOf(k.dialect)
	if err != nil {
		return nil, err
	}
	inside = inside[:min(maxClients, k.members-1)]
	silent, err := leafPackages(k.dialect, k.members-1-len(inside))
	if err != nil {
		return nil, err
	}
	founder, err := newIdentity(k.dialect, "founder")
	if err != nil {
		return nil, err
	}
	more := make([]*base, n-len(have))
	err = forEach(len(more), func(i int) error {
		more[i], err = newBase(founder, conclave.ConversationID(fmt.Sprintf("%-10d%6d", k.members, len(have)+i)), inside, silent)
		return err
	})
	if err != nil {
		return nil, err
	}
	bases[k] = append(have, more...)
	return bases[k], nil
}

func newBase(founder *identity, id conclave.ConversationID, inside []*identity, silent []*mlsgroup.KeyPackage) (*base, error) {
	p, err := founder.found(id)
	if err != nil {
		return nil, err
	}
	g := new(base)
	all := make([]*mlsgroup.KeyPackage, 0, len(inside)+len(silent))
	for _, c := range inside {
		kp, err := c.keyPackage()
		if err != nil {
			return nil, err
		}
		g.tickets = append(g.tickets, kp)
		all = append(all, kp.KeyPackage)
	}
	next, commit, err := p.commit(false, addProposals(append(all, silent...)...)...)
	if err != nil {
		return nil, err
	}
	g.founder, g.welcome = next, commit.Welcome
	return g, nil
}

// A world is an engine whose clients are in groups with peers. Cells that differ
// in what they send only, or in how many conversations take part, share it.
type world struct {
	worldKey
	engine        *conclave.Engine
	clients       []*conclave.Client
	conversations []conversation
	// heap is the growth of the heap by the conversations so far, in bytes.
	heap uint64
}

type worldKey struct {
	dialect
	members int
	store   storeKind
	leased  bool
}

// A conversation is one group of one client of the engine, and the peer that sends
// to it and receives from it. Where several clients are in one group the peers are
// one member in several copies, of which each knows one client only.
type conversation struct {
	*peer
	number int
	sent   uint64 // messages the peer has made so far
	next   uint64 // the message the client expects
	client *conclave.Client
	id     conclave.ConversationID
}

var worlds = map[worldKey]*world{}

// worldOf returns the world of a cell with at least the cell's conversations.
func worldOf(b *testing.B, c cell) *world {
	b.Helper()
	k := worldKey{dialect{c.suite, c.rfc}, c.members, c.store, c.leased}
	w := worlds[k]
	if w == nil {
		w = &world{worldKey: k, engine: openEngine(b, c.store, c.leased, scratchDir(b))}
		worlds[k] = w
		atEnd = append(atEnd, w.engine.Close)
	}
	if len(w.conversations) < c.conversations {
		if err := w.grow(b.Context(), c.conversations); err != nil {
			b.Fatal(err)
		}
	}
	return w
}

// grow joins conversations until there are n.
func (w *world) grow(ctx context.Context, n int) error {
	groups, err := basesFor(baseKey{w.dialect, w.members}, groupsFor(w.members, n))
	if err != nil {
		return err
	}
	ids, err := clientsOf(w.dialect)
	if err != nil {
		return err
	}
	for i := len(w.clients); i <= (n-1)/len(groups); i++ {
		c, err := w.engine.Client(ctx, ids[i].id, conclave.ClientOptions{
			CipherSuites: []conclave.CipherSuite{conclave.CipherSuite(w.suite)}, NoCredential: true, Profile: w.profile(),
		})
		if err != nil {
			return err
		}
		w.clients = append(w.clients, c)
	}
	before := heapInUse()
	old := len(w.conversations)
	for i := old; i < n; i++ {
		founder := *groups[i%len(groups)].founder
		w.conversations = append(w.conversations, conversation{
			peer: &founder, number: i, client: w.clients[i/len(groups)], id: conclave.ConversationID(founder.group.GroupID()),
		})
	}
	const callers = 64
	joins := make(chan int)
	done := make(chan error)
	for range callers {
		go func() {
			var errs []error
			for i := range joins {
				errs = append(errs, w.join(ctx, &w.conversations[i], groups[i%len(groups)], ids[i/len(groups)], i/len(groups)))
			}
			done <- errors.Join(errs...)
		}()
	}
	for i := old; i < n; i++ {
		joins <- i
	}
	close(joins)
	for range callers {
		err = errors.Join(err, <-done)
	}
	if after := heapInUse(); after > before {
		w.heap += after - before
	}
	return err
}

func (w *world) join(ctx context.Context, c *conversation, g *base, id *identity, client int) error {
	if _, err := c.client.ImportKeyPackage(ctx, id.bundle(g.tickets[client])); err != nil {
		return err
	}
	_, err := c.client.ProcessWelcome(ctx, g.welcome, conclave.JoinOptions{})
	return err
}

// heapInUse returns the bytes of live objects.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the first leaves what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
