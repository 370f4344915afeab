package actors

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// countingReader counts what is read below a prefix, by the byte that follows it: the
// kind of a record of a group.
type countingReader struct {
	store.Reader
	mu     sync.Mutex
	prefix []byte
	asked  map[byte]int // keys and ranges
	found  map[byte]int // records
}

func (r *countingReader) count(key []byte, found int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if suffix, ours := bytes.CutPrefix(key, r.prefix); r.prefix != nil && ours && len(suffix) > 0 {
		r.asked[suffix[0]]++
		r.found[suffix[0]] += found
	}
}

func (r *countingReader) GetMany(keys ...[]byte) ([][]byte, error) {
	values, err := r.Reader.GetMany(keys...)
	for i, v := range values {
		r.count(keys[i], min(1, len(v)))
	}
	return values, err
}

func (r *countingReader) Range(span store.Range) ([]store.Record, error) {
	records, err := r.Reader.Range(span)
	r.count(span.Low, len(records))
	return records, err
}

// watch begins to count anew, below the prefix of a conversation.
func (r *countingReader) watch(prefix []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prefix, r.asked, r.found = prefix, make(map[byte]int), make(map[byte]int)
}

// seen prints kinds of records: how often asked for, how many found.
func (r *countingReader) seen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	for _, kind := range slices.Sorted(maps.Keys(r.asked)) {
		fmt.Fprintf(&b, "%c %d/%d ", kind, r.asked[kind], r.found[kind])
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// prefixOf returns the prefix of the group's records of a conversation in memory.
func (p *peer) prefixOf(id messages.ConversationID) []byte {
	p.t.Helper()
	e, ok := p.sys.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		p.t.Fatal("the conversation has no actor")
	}
	c := e.actor.(*protoRef).receiver.(*conversation)
	return c.recordKey(c.state.incarnation, nil)
}

// emptyMemory drops all conversations and sessions from memory, once those that have just
// answered are at rest, and waits until those have stopped that the sweeper has dropped.
func (w *world) emptyMemory() {
	w.t.Helper()
	for until := time.Now().Add(time.Minute); len(w.sys.conversations.all()) > 0 || w.sys.resident.Load() != 0; runtime.Gosched() {
		if time.Now().After(until) {
			w.t.Fatalf("%d are in memory, and %d bytes", len(w.sys.conversations.all()), w.sys.resident.Load())
		}
		w.sys.makeRoom(0)
	}
}

// newCrowd makes a conversation of alice, bob and silent members, and returns what its
// actors read through.
func newCrowd(t *testing.T, members int) (reader *countingReader, w *world, alice, bob *peer) {
	t.Helper()
	reader = new(countingReader)
	w = newWorld(t, func(o *Options) {
		o.IdleAfter, o.StateBytes = -1, -1
		reader.Reader, o.read = o.Store, reader
	})
	alice, bob = w.peer("alice"), w.peer("bob")
	alice.create(conv)
	packages := [][]byte{bob.keyPackage()}
	for i := range members - 2 {
		signer, err := mlsgroup.NewSigner(w.options.Rand, 1, mlsgroup.BasicCredential(fmt.Appendf(nil, "silent %d", i)))
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := mlsgroup.NewKeyPackage(w.sys.input(signer), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, bundle.KeyPackage.Marshal())
	}
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: packages})
	ask[messages.ConversationJoined](t, w.sys, bob.at(""), messages.ProcessWelcome{Message: w.service.last(conv).Welcome})
	return reader, w, alice, bob
}

// TestColdMessageReadsNoTree counts the records that a message of a conversation of
// many members costs when the conversation is not in memory, the first of a sender in
// an epoch and a later one. The kinds: e messages kept for later, h head, n node, o
// proposals, r ratchet, s frontier of the secret tree, v own generations reserved.
func TestColdMessageReadsNoTree(t *testing.T) {
	reader, w, alice, bob := newCrowd(t, 1000)
	prefixes := map[*peer][]byte{alice: alice.prefixOf(conv), bob: bob.prefixOf(conv)}

	var sealed []byte
	cold := func(p *peer, step func(), want string) {
		t.Helper()
		w.emptyMemory()
		reader.watch(prefixes[p])
		step()
		if got := reader.seen(); got != want {
			t.Errorf("%s read %q, want %q", p.name, got, want)
		}
		reader.watch(nil)
	}
	cold(alice, func() { sealed = alice.encrypt(alice.at(conv), "first") }, "e 1/0 h 1/1 o 1/0 r 1/0 s 1/1 v 1/0")
	cold(bob, func() { bob.expectText(conv, sealed, "first") }, "e 1/0 h 1/1 n 1/1 r 1/0 s 1/1 v 1/0")
	cold(alice, func() { sealed = alice.encrypt(alice.at(conv), "second") }, "e 1/0 h 1/1 o 1/0 r 1/1 v 1/0")
	cold(bob, func() { bob.expectText(conv, sealed, "second") }, "e 1/0 h 1/1 n 1/1 r 1/1 v 1/0")
}

// TestColdCommitReadsTreeAtOnce counts the records that a commit costs when the
// conversation is not in memory: the nodes of the tree come in one range, however many.
// The kinds are as above, p the keys of the path, and u leaves unmerged at a node.
func TestColdCommitReadsTreeAtOnce(t *testing.T) {
	for _, tt := range []struct {
		members int
		want    string
	}{{10, "e 1/0 h 1/1 n 1/23 o 1/0 p 1/1 u 1/0 v 1/0"}, {100, "e 1/0 h 1/1 n 1/205 o 1/0 p 1/1 u 1/0 v 1/0"}} {
		reader, w, alice, bob := newCrowd(t, tt.members)
		prefix := bob.prefixOf(conv)
		ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.UpdateKeyMaterial{})
		w.emptyMemory()
		reader.watch(prefix)
		bob.decrypt(bob.at(conv), w.service.last(conv).Commit)
		if got := reader.seen(); got != tt.want {
			t.Errorf("of %d members: read %q, want %q", tt.members, got, tt.want)
		}
	}
}
