package actors

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// TestLateMessageOutlivesACrash lets a message that was sent before a crash come after
// one that was sent behind it, with as much of a block burnt as there can be.
func TestLateMessageOutlivesACrash(t *testing.T) {
	const usualWindow = 32
	w := newWorld(t, func(o *Options) { o.LeaseGenerations = true })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{bob.keyPackage()}})
	ask[messages.ConversationJoined](t, w.sys, bob.at(""), messages.ProcessWelcome{
		Message: w.service.last(conv).Welcome, Receive: mlsgroup.ReceiveConfig{OutOfOrder: usualWindow},
	})
	late := [][]byte{alice.encrypt(alice.at(conv), "0"), alice.encrypt(alice.at(conv), "1")}
	w.reopen() // writes nothing, as a crash does not
	for i := range usualWindow / 2 {
		text := fmt.Sprint("behind it ", i)
		bob.expectText(conv, alice.encrypt(alice.at(conv), text), text)
	}
	for i, m := range late {
		bob.expectText(conv, m, fmt.Sprint(i))
	}
}

// TestLease sends with leased generations, alone and many at once, and drops the
// sender's memory between and in the middle of blocks, as a crash would: a lone sender
// writes once a block, and no generation is used twice, or a receiver would refuse it.
func TestLease(t *testing.T) {
	var applied atomic.Int64
	w := newWorld(t, func(o *Options) {
		o.LeaseGenerations = true
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			applied.Add(1)
			return s.Apply(sets...)
		}
	})
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	var sent [][]byte
	say := func(n int) {
		for range n {
			sent = append(sent, alice.encrypt(alice.at(conv), fmt.Sprint(len(sent))))
		}
	}
	before := applied.Load()
	say(1 + 2*reserveBlock)
	if n := applied.Load() - before; n != 3 {
		t.Errorf("%d writes for %d messages, want 3", n, len(sent))
	}
	for _, n := range []int{1, 0, 5, reserveBlock - 1, reserveBlock, reserveBlock + 1} {
		w.reopen() // nothing is written when memory is dropped
		say(n)
		w.sys.passivate(0)
		say(n)
		// A transaction takes generations of the same block, and gives none back.
		tx := alice.begin()
		sent = append(sent, alice.encrypt(alice.in(conv, tx), fmt.Sprint(len(sent))))
		alice.abort(tx)
		say(1)
	}
	many := make([][]byte, 3*reserveBlock)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { many[i] = alice.encrypt(alice.at(conv), fmt.Sprint(len(sent)+i)) })
	}
	wg.Wait()
	for i, m := range append(sent, many...) {
		bob.expectText(conv, m, fmt.Sprint(i))
	}
	// In another epoch it begins anew.
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	bob.sync(conv)
	bob.expectText(conv, alice.encrypt(alice.at(conv), "next epoch"), "next epoch")
	w.reopen()
	bob.expectText(conv, alice.encrypt(alice.at(conv), "and on"), "and on")
}
