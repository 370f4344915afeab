package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

const other = messages.ConversationID("other conversation")

// crash starts a new System over the records as they are, and leaves the old one
// where it stands; it is closed when the test is over.
func (w *world) crash() {
	w.t.Helper()
	dead := w.sys
	w.t.Cleanup(func() { _ = dead.Close(context.Background()) })
	w.start()
	for _, p := range w.peers {
		p.open()
	}
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.peer("alice"), w.peer("bob")
	for _, id := range []messages.ConversationID{conv, other} {
		alice.create(id)
		alice.add(id, bob)
	}
	one, two := alice.encrypt(alice.at(conv), "one"), alice.encrypt(alice.at(other), "two")
	for _, end := range []string{"abort", "crash", "finish", "done"} {
		tx := bob.begin()
		read := func() error {
			if err := bob.try(bob.in(conv, tx), messages.DecryptMessage{Message: one}); err != nil {
				return err
			}
			if err := bob.try(bob.in(other, tx), messages.DecryptMessage{Message: two}); err != nil {
				return err
			}
			return bob.try(bob.in("", tx), messages.SetData{Data: []byte("seen")})
		}
		if end == "done" {
			wantError(t, read(), messages.ErrDuplicateMessage)
			bob.abort(tx)
			break
		}
		if err := read(); err != nil {
			t.Fatalf("before %s: %v", end, err)
		}
		if got := ask[messages.DataRead](t, w.sys, bob.at(""), messages.ReadData{}); got.Data != nil {
			t.Errorf("before %s: the data blob is visible outside of the transaction", end)
		}
		switch end {
		case "abort":
			bob.abort(tx)
		case "crash":
			w.crash()
		case "finish":
			bob.finish(tx)
		}
	}
	if got := ask[messages.DataRead](t, w.sys, bob.at(""), messages.ReadData{}); string(got.Data) != "seen" {
		t.Errorf("data %q", []byte(got.Data))
	}
}

func TestTransactionSeesItself(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	tx := alice.begin()
	ask[messages.ConversationCreated](t, w.sys, alice.in(conv, tx), messages.CreateConversation{})
	if alice.state(conv).Exists {
		t.Error("a staged conversation is visible outside")
	}
	if !ask[messages.ConversationRead](t, w.sys, alice.in(conv, tx), messages.ReadConversation{}).Exists {
		t.Error("a staged conversation is not visible inside")
	}
	wantError(t, alice.try(alice.in(conv, tx), messages.CreateConversation{}), messages.ErrConversationAlreadyExists)
	ask[messages.PSKPut](t, w.sys, alice.in("", tx), messages.PutPSK{ID: []byte("id"), PSK: []byte("psk")})
	added := ask[messages.CredentialAdded](t, w.sys, alice.in("", tx), messages.AddCredential{CipherSuite: 1})
	kp := ask[messages.KeyPackagesGenerated](t, w.sys, alice.in("", tx), messages.GenerateKeyPackages{Count: 2, Credential: added.Credential.Ref})
	count := func(to messages.Address) int {
		return ask[messages.KeyPackagesCounted](t, w.sys, to, messages.CountKeyPackages{CipherSuite: 1}).Count
	}
	if in, out := count(alice.in("", tx)), count(alice.at("")); in != 2 || out != 0 {
		t.Errorf("%d key packages inside, %d outside, want 2 and 0", in, out)
	}
	ask[messages.KeyPackagesDeleted](t, w.sys, alice.in("", tx), messages.DeleteKeyPackages{Refs: []mlsgroup.KeyPackageRef{kp.KeyPackages[0].Ref}})
	if in := count(alice.in("", tx)); in != 1 {
		t.Errorf("%d key packages after one was deleted, want 1", in)
	}
	alice.finish(tx)
	if !alice.state(conv).Exists || count(alice.at("")) != 1 {
		t.Error("what was staged is not there after Finish")
	}
}

// TestAbortBurnsGenerations: messages handed out by a transaction that came to
// nothing, and those made later, use different keys.
func TestAbortBurnsGenerations(t *testing.T) {
	for _, end := range []string{"abort", "crash", "passivated"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(t)
			alice, bob := w.peer("alice"), w.peer("bob")
			alice.create(conv)
			alice.add(conv, bob)
			// In the next epoch too, which the transaction enters and leaves again.
			if err := bob.update(bob.at(conv)); err != nil {
				t.Fatal(err)
			}
			commit := w.service.last(conv).Commit
			texts := map[string][]byte{}
			for round := range 3 {
				tx := alice.begin()
				for i := range 3 {
					text := fmt.Sprintf("epoch 1, round %d, message %d", round, i)
					texts[text] = alice.encrypt(alice.in(conv, tx), text)
				}
				alice.decrypt(alice.in(conv, tx), commit)
				for i := range 3 {
					text := fmt.Sprintf("epoch 2, round %d, message %d", round, i)
					texts[text] = alice.encrypt(alice.in(conv, tx), text)
				}
				switch end {
				case "crash":
					w.crash()
				case "passivated":
					alice.abort(tx)
					w.sys.passivate(0)
				default:
					alice.abort(tx)
				}
				if got := alice.state(conv).Epoch; got != 1 {
					t.Fatalf("epoch %d after an abort, want 1", got)
				}
				text := fmt.Sprintf("epoch 1, after round %d", round)
				texts[text] = alice.encrypt(alice.at(conv), text)
			}
			alice.decrypt(alice.at(conv), commit)
			texts["at last"] = alice.encrypt(alice.at(conv), "at last")
			for _, text := range slices.Sorted(mapKeys(texts)) {
				got, err := w.sys.Ask(context.Background(), bob.at(conv), messages.DecryptMessage{Message: texts[text]})
				if err != nil {
					t.Errorf("%s: %v", text, err)
					continue
				}
				if plaintext := got.(messages.MessageDecrypted).Plaintext; string(plaintext) != text {
					t.Errorf("%s: got %q", text, []byte(plaintext))
				}
			}
		})
	}
}

func mapKeys(m map[string][]byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestDeadlockHasOneVictim(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.host = h })
			alice := w.peer("alice")
			ids := []messages.ConversationID{"a", "b", "c"}
			txs := make([]messages.TransactionID, len(ids))
			for i, id := range ids {
				alice.create(id)
				txs[i] = alice.begin()
				alice.encrypt(alice.in(id, txs[i]), "mine")
			}
			errs := make([]error, len(ids))
			var wg sync.WaitGroup
			for i := range ids {
				wg.Add(1)
				go func() {
					defer wg.Done()
					// Each wants what the next one holds.
					err := alice.try(alice.in(ids[(i+1)%len(ids)], txs[i]), messages.EncryptMessage{Plaintext: []byte("yours")})
					if err == nil {
						err = alice.try(alice.in("", txs[i]), messages.Finish{})
					}
					errs[i] = err
				}()
			}
			// The victim's guard is free at once, so the two others get through.
			wg.Wait()
			victims := 0
			for i, err := range errs {
				if err == nil {
					continue
				}
				victims++
				wantError(t, err, messages.ErrConflict)
				wantError(t, alice.try(alice.in(ids[i], txs[i]), messages.EncryptMessage{}), messages.ErrConflict)
				wantError(t, alice.try(alice.in("", txs[i]), messages.Finish{}), messages.ErrConflict)
				wantError(t, alice.try(alice.in("", txs[i]), messages.Finish{}), messages.ErrInvalidTransaction)
			}
			if victims != 1 {
				t.Errorf("%d victims of one circle, want 1", victims)
			}
		})
	}
}

// TestVictimDoesNotFinish asks for the end of a deadlock's victim when its step has been told
// of that, and the transaction not yet: nothing of it happens.
func TestVictimDoesNotFinish(t *testing.T) {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.host = func() host {
			return eavesdropper{newProtoHost(), func(sent letter) {
				if _, ok := sent.(doom); ok {
					l.pass()
				}
			}}
		}
	})
	alice := w.peer("alice")
	alice.create(conv)
	alice.create(other)
	elder, victim := alice.begin(), alice.begin()
	alice.encrypt(alice.in(other, elder), "held")
	ask[messages.ProposalCreated](t, w.sys, alice.in(conv, victim), messages.ProposeUpdate{})
	l.arm()
	waits := make(chan error, 1)
	go func() { waits <- alice.try(alice.in(conv, elder), messages.EncryptMessage{}) }()
	wantError(t, alice.try(alice.in(other, victim), messages.EncryptMessage{}), messages.ErrConflict)
	<-l.reached
	tx := alice.transaction(victim)
	finished := make(chan error, 1)
	go func() { finished <- alice.try(alice.in("", victim), messages.Finish{}) }()
	for tx.steps.Load()&stepsClosed == 0 {
		runtime.Gosched()
	}
	for _, to := range []ref{tx.actor, alice.row(conv).actor, tx.actor} { // a vote would come and be counted
		pass(to)
	}
	close(l.open)
	wantError(t, <-finished, messages.ErrConflict)
	if err := <-waits; err != nil {
		t.Error(err)
	}
	if n := len(alice.state(conv).PendingProposals); n != 0 {
		t.Errorf("%d proposals of the victim are pending", n)
	}
	alice.finish(elder)
}

// TestManyTransactions: pairs of messages, of two conversations each, are read by
// many transactions at once; some are aborted, some give way to others. Each pair is
// read wholly or not at all.
func TestManyTransactions(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.peer("alice"), w.peer("bob")
	const conversations, workers, rounds = 5, 8, 12
	var ids []messages.ConversationID
	for i := range conversations {
		id := messages.ConversationID(fmt.Sprintf("conversation %d", i))
		ids = append(ids, id)
		alice.create(id)
		alice.add(id, bob)
	}
	type item struct {
		id      messages.ConversationID
		message []byte
	}
	// Pairs of messages that bob reads in one transaction, or not at all.
	var pairs [][2]item
	for i := range workers * rounds {
		a, b := ids[i%conversations], ids[(i*3+1)%conversations]
		if a == b {
			b = ids[(i+1)%conversations]
		}
		pairs = append(pairs, [2]item{{a, alice.encrypt(alice.at(a), fmt.Sprint("a", i))}, {b, alice.encrypt(alice.at(b), fmt.Sprint("b", i))}})
	}
	read := make([]bool, len(pairs))
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := worker; i < len(pairs); i += workers {
				for {
					tx, err := w.sys.Ask(context.Background(), bob.at(""), messages.Begin{})
					if err != nil {
						t.Error(err)
						return
					}
					id := tx.(messages.TransactionBegun).Transaction
					err = bob.try(bob.in(pairs[i][0].id, id), messages.DecryptMessage{Message: pairs[i][0].message})
					if err == nil {
						err = bob.try(bob.in(pairs[i][1].id, id), messages.DecryptMessage{Message: pairs[i][1].message})
					}
					if err == nil && i%3 != 0 {
						err = bob.try(bob.in("", id), messages.Finish{})
						read[i] = err == nil
						if err == nil {
							break
						}
					} else if abortErr := bob.try(bob.in("", id), messages.Abort{}); abortErr != nil {
						t.Errorf("abort: %v", abortErr)
					}
					if err == nil {
						break // aborted on purpose
					}
					if !errors.Is(err, messages.ErrConflict) {
						t.Errorf("pair %d: %v", i, err)
						return
					}
				}
			}
		}()
	}
	wg.Wait()
	for i, p := range pairs {
		for _, m := range p {
			err := bob.try(bob.at(m.id), messages.DecryptMessage{Message: m.message})
			if read[i] && !errors.Is(err, messages.ErrDuplicateMessage) {
				t.Errorf("pair %d was read, yet %s opens it again: %v", i, m.id, err)
			}
			if !read[i] && err != nil {
				t.Errorf("pair %d was not read, yet %s does not open it: %v", i, m.id, err)
			}
		}
	}
}

func TestTouchTakesGuardsInOrder(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	ids := []messages.ConversationID{"x", "y", "z"}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			begun, err := w.sys.Ask(context.Background(), alice.at(""), messages.Begin{})
			if err != nil {
				t.Error(err)
				return
			}
			tx := begun.(messages.TransactionBegun).Transaction
			mine := slices.Clone(ids)
			if i%2 == 0 {
				slices.Reverse(mine)
			}
			if err := alice.try(alice.in("", tx), messages.Touch{Conversations: mine}); err != nil {
				t.Errorf("touch: %v", err)
			}
			if err := alice.try(alice.in("", tx), messages.Finish{}); err != nil {
				t.Errorf("finish: %v", err)
			}
		}()
	}
	wg.Wait()
}

// TestCommitInTransaction: what a commit that has left makes final, whatever becomes
// of its transaction.
func TestCommitInTransaction(t *testing.T) {
	type want struct {
		epoch    uint64
		merged   bool // Final says so
		final    int
		readable bool // the message read before the commit can be read again
	}
	for _, tc := range []struct {
		name   string
		hook   func(w *world) hook
		finish bool
		err    error
		want   want
	}{
		{"accepted, abort", func(*world) hook { return nil }, false, nil, want{2, true, 1, false}},
		{"accepted, finish", func(*world) hook { return nil }, true, nil, want{2, true, 1, false}},
		{"refused, abort", func(*world) hook { return refused }, false, &messages.MessageRejected{}, want{1, false, 0, true}},
		{"refused, finish", func(*world) hook { return refused }, true, &messages.MessageRejected{}, want{1, false, 0, false}},
		{"in doubt, abort", func(w *world) hook { return w.lost(false) }, false, &messages.CommitInDoubt{}, want{1, false, 1, false}},
		{"in doubt, finish", func(w *world) hook { return w.lost(false) }, true, &messages.CommitInDoubt{}, want{1, false, 1, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, alice, bob := pair(t)
			bob.create(other)
			message := alice.encrypt(alice.at(conv), "before the commit")
			w.service.set(tc.hook(w))
			tx := bob.begin()
			bob.decrypt(bob.in(conv, tx), message)
			ask[messages.ConversationWiped](t, w.sys, bob.in(other, tx), messages.WipeConversation{})
			if err := bob.update(bob.in(conv, tx)); (err == nil) != (tc.err == nil) {
				t.Fatalf("update: %v", err)
			}
			var final []messages.FinalConversation
			if tc.finish {
				final = bob.finish(tx).Final
			} else {
				final = bob.abort(tx).Final
			}
			check := func(when string) {
				t.Helper()
				if got := bob.state(conv).Epoch; got != tc.want.epoch {
					t.Errorf("%s: epoch %d, want %d", when, got, tc.want.epoch)
				}
				if got := bob.state(other).Exists; got == tc.finish {
					t.Errorf("%s: the other conversation exists: %v", when, got)
				}
			}
			if len(final) != tc.want.final || len(final) == 1 && (final[0].Merged != tc.want.merged || final[0].Conversation != conv) {
				t.Errorf("final %+v, want %d, merged %v", final, tc.want.final, tc.want.merged)
			}
			check("after the end")
			w.reopen()
			check("reopened")
			err := bob.try(bob.at(conv), messages.DecryptMessage{Message: message})
			if tc.want.readable && err != nil {
				t.Errorf("reading again: %v", err)
			}
			if !tc.want.readable {
				wantError(t, err, messages.ErrDuplicateMessage)
			}
		})
	}
}

// TestCrashWhileSending: the process dies between the write before the send and the
// verdict. What the transaction had staged before the commit stands.
func TestCrashWhileSending(t *testing.T) {
	for _, taken := range []bool{false, true} {
		w, alice, bob := pair(t)
		message := alice.encrypt(alice.at(conv), "before the commit")
		arrived, hold := make(chan messages.CommitBundle, 2), make(chan struct{})
		w.service.set(func(ctx context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
			if taken {
				w.service.accept(b)
			}
			arrived <- b
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return messages.Verdict{}, errLost
		})
		tx := bob.begin()
		bob.decrypt(bob.in(conv, tx), message)
		result := make(chan error, 1)
		go func() { result <- bob.update(bob.in(conv, tx)) }()
		<-arrived
		w.crash()
		wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: message}), messages.ErrDuplicateMessage)
		if got := bob.state(conv); got.Epoch != 1 || len(got.InDoubt) != 1 {
			t.Errorf("epoch %d, %d in doubt", got.Epoch, len(got.InDoubt))
		}
		w.service.set(nil)
		bob.encryptWhenSettled()
		bob.expectSettled(conv, 2)
		alice.sync(conv)
		agree(t, conv, alice, bob)
		close(hold)
		<-result
	}
}

// TestCallback: what the transport's callback may do with its context.
func TestCallback(t *testing.T) {
	for _, single := range []bool{true, false} {
		w, alice, bob := pair(t)
		bob.create(other)
		message := alice.encrypt(alice.at(conv), "read in the callback")
		w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
			tx := messages.TransactionFrom(ctx)
			if tx == 0 || tx.OfSend() != single {
				t.Errorf("the callback's context carries transaction %d", tx)
			}
			if got := bob.decrypt(bob.in(conv, tx), message); string(got.Plaintext) != "read in the callback" {
				t.Errorf("read %q", []byte(got.Plaintext))
			}
			if got := ask[messages.ConversationRead](t, w.sys, bob.in(conv, tx), messages.ReadConversation{}); got.Epoch != 1 {
				t.Errorf("epoch %d in the callback, want 1", got.Epoch)
			}
			for _, r := range []messages.Request{
				messages.EncryptMessage{}, messages.ProposeUpdate{}, messages.UpdateKeyMaterial{}, messages.WipeConversation{},
			} {
				wantError(t, bob.try(bob.in(conv, tx), r), messages.ErrSending)
			}
			wantError(t, bob.try(bob.in("", tx), messages.Begin{}), messages.ErrTransactionOpen)
			// Another conversation is free.
			bob.encrypt(bob.in(other, tx), "elsewhere")
			return messages.Verdict{}, nil
		})
		to := bob.at(conv)
		if !single {
			to.Transaction = bob.begin()
		}
		if err := bob.update(to); err != nil {
			t.Fatal(err)
		}
		if !single {
			bob.abort(to.Transaction)
		}
		bob.expectSettled(conv, 2)
		// What the callback read stands with the commit that was accepted.
		wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: message}), messages.ErrDuplicateMessage)
		alice.sync(conv)
		agree(t, conv, alice, bob)
	}
}

// TestCallbackLosesRace: the callback processes the commit that has won.
func TestCallbackLosesRace(t *testing.T) {
	for _, finish := range []bool{true, false} {
		w, alice, bob := pair(t)
		if err := alice.update(alice.at(conv)); err != nil {
			t.Fatal(err)
		}
		w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
			bob.decrypt(bob.in(conv, messages.TransactionFrom(ctx)), w.service.last(conv).Commit)
			return messages.Verdict{Kind: messages.VerdictRetry}, nil
		})
		tx := bob.begin()
		wantErrorAs[*messages.MessageRejected](t, bob.update(bob.in(conv, tx)))
		w.service.set(refused)
		if finish {
			bob.finish(tx)
			bob.expectSettled(conv, 2)
		} else {
			bob.abort(tx)
			if got := bob.state(conv).Epoch; got != 1 {
				t.Errorf("epoch %d after an abort, want 1", got)
			}
			bob.sync(conv)
			bob.expectSettled(conv, 2)
		}
		agree(t, conv, alice, bob)
	}
}

// TestStageIsNotStale: while a transaction's commit is with the delivery service and
// nothing else is staged, single calls go on; the transaction's end must not take
// their work back.
func TestStageIsNotStale(t *testing.T) {
	for _, finish := range []bool{true, false} {
		w, alice, bob := pair(t)
		if err := alice.update(alice.at(conv)); err != nil {
			t.Fatal(err)
		}
		w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
			bob.sync(conv)
			return messages.Verdict{Kind: messages.VerdictRefused}, nil
		})
		tx := bob.begin()
		wantErrorAs[*messages.MessageRejected](t, bob.update(bob.in(conv, tx)))
		if finish {
			bob.finish(tx)
		} else {
			bob.abort(tx)
		}
		bob.expectSettled(conv, 2)
		agree(t, conv, alice, bob)
		alice.expectText(conv, bob.encrypt(bob.at(conv), "still here"), "still here")
	}
}

// TestCreationBeforeACommitInDoubt reads and lists a conversation while its creation, which
// stands before a commit in doubt, is written, its transaction having been aborted.
func TestCreationBeforeACommitInDoubt(t *testing.T) {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.RetryPause = maxResendPause
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error { return l.apply(s, nil, sets...) }
	})
	alice := w.peer("alice")
	tx := alice.begin()
	ask[messages.ConversationCreated](t, w.sys, alice.in(conv, tx), messages.CreateConversation{})
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.in(conv, tx)))
	l.arm()
	aborted := make(chan error, 1)
	go func() { aborted <- alice.try(alice.in("", tx), messages.Abort{}) }()
	<-l.reached
	if reply, ok, err := w.sys.readView(place{client: alice.client()}, conv, messages.ReadConversation{}); ok {
		t.Errorf("read while it is written: %+v, %v", reply, err)
	}
	listed := make(chan messages.Reply, 1)
	go func() {
		reply, err := w.sys.Ask(context.Background(), alice.at(""), messages.ListConversations{})
		if err != nil {
			t.Error(err)
		}
		listed <- reply
	}()
	for range 100 { // it has its chance to be wrong
		pass(alice.client().actor)
	}
	if len(listed) != 0 {
		t.Error("listed while it is written")
	}
	close(l.open)
	if err := <-aborted; err != nil {
		t.Fatal(err)
	}
	reply, _ := within(t, "the list", listed).(messages.ConversationsListed)
	if !slices.Equal(reply.Conversations, []messages.ConversationID{conv}) {
		t.Errorf("listed: %q", reply.Conversations)
	}
	if !alice.state(conv).Exists {
		t.Error("it does not exist")
	}
	if ids := alice.client().unsettled.Load(); ids != nil {
		t.Errorf("still unsettled: %q", *ids)
	}
}

// TestTwoCommitsInDoubt: a transaction leaves two behind in one conversation, an own
// commit and a join beside it. What it had staged before the later one is kept.
func TestTwoCommitsInDoubt(t *testing.T) {
	for i := range 16 { // the records lie in the order of hashes
		w, alice, bob := pair(t, func(o *Options) { o.RetryPause = maxResendPause })
		bob.create("first")
		bob.create("second")
		info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
		w.service.set(w.lost(false))
		tx := bob.begin()
		ask[messages.MarkedAsChild](t, w.sys, bob.in(conv, tx), messages.MarkAsChildOf{Parent: "first"})
		wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.in("", tx), messages.JoinByExternalCommit{GroupInfo: info}))
		ask[messages.MarkedAsChild](t, w.sys, bob.in(conv, tx), messages.MarkAsChildOf{Parent: "second"})
		wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
		if i%2 == 0 {
			bob.abort(tx)
		} else {
			w.crash()
		}
		if s := bob.state(conv); s.Parent != "second" {
			t.Fatalf("run %d: child of %q", i, s.Parent)
		}
	}
}

// TestAcceptedBesideDoubt: what a transaction has made final by a commit stays, whatever
// preceded a join of it that is still in doubt.
func TestAcceptedBesideDoubt(t *testing.T) {
	for _, end := range []func(*world, *peer, messages.TransactionID){
		func(_ *world, bob *peer, tx messages.TransactionID) { bob.finish(tx) },
		func(_ *world, bob *peer, tx messages.TransactionID) { bob.abort(tx) },
		func(w *world, _ *peer, _ messages.TransactionID) { w.crash() },
	} {
		w, alice, bob := pair(t, func(o *Options) { o.RetryPause = maxResendPause })
		if err := alice.update(alice.at(conv)); err != nil {
			t.Fatal(err)
		}
		info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
		tx := bob.begin()
		bob.decrypt(bob.in(conv, tx), w.service.last(conv).Commit)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.in("", tx), messages.JoinByExternalCommit{GroupInfo: info}))
		w.service.set(nil)
		if err := bob.update(bob.in(conv, tx)); err != nil {
			t.Fatal(err)
		}
		final := bob.state(conv).Epoch
		end(w, bob, tx)
		if got := bob.state(conv).Epoch; got != final {
			t.Errorf("in epoch %d again, not %d", got, final)
		}
	}
}

// TestWelcomeBesideDoubt: a Welcome in a transaction drops a join that is in doubt, also
// where only what preceded another commit says so.
func TestWelcomeBesideDoubt(t *testing.T) {
	for i := range 12 { // the records lie in the order of hashes
		for _, wiped := range []bool{false, true} { // in the same transaction
			w, alice, bob := pair(t, func(o *Options) { o.RetryPause = maxResendPause })
			info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
			ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
			ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{bob.keyPackage()}})
			welcome := w.service.last(conv).Welcome
			w.service.set(w.lost(false))
			leave := func(to messages.Address) {
				ask[messages.ConversationWiped](t, w.sys, to, messages.WipeConversation{})
			}
			var tx messages.TransactionID
			if wiped {
				tx = bob.begin()
				leave(bob.in(conv, tx))
				wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.in("", tx), messages.JoinByExternalCommit{GroupInfo: info}))
			} else {
				leave(bob.at(conv))
				wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
				tx = bob.begin()
			}
			ask[messages.ConversationJoined](t, w.sys, bob.in("", tx), messages.ProcessWelcome{Message: welcome})
			wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
			if i%2 == 0 {
				bob.abort(tx)
			} else {
				w.crash()
			}
			if s := bob.state(conv); !s.Exists || len(s.InDoubt) != 1 || s.InDoubt[0].Join {
				t.Fatalf("run %d, wiped %v: exists: %v, in doubt: %+v", i, wiped, s.Exists, s.InDoubt)
			}
		}
	}
}

// TestFinalNamesOnce: the end of a transaction names a commit once, with what became of it.
func TestFinalNamesOnce(t *testing.T) {
	want := func(t *testing.T, got []messages.FinalConversation, merged bool) {
		t.Helper()
		if len(got) != 1 || got[0].Merged != merged {
			t.Errorf("named %+v, want one, merged: %v", got, merged)
		}
	}
	t.Run("settled later", func(t *testing.T) {
		w, _, bob := pair(t)
		tx := bob.begin()
		w.service.set(w.lost(true))
		wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
		w.service.set(nil)
		bob.encrypt(bob.in(conv, tx), "which settles it")
		want(t, bob.finish(tx).Final, true)
	})
	t.Run("not merged", func(t *testing.T) {
		var refuse atomic.Bool
		w := newWorld(t, func(o *Options) {
			o.RetryPause = maxResendPause
			s := o.Store
			o.apply = func(sets ...*store.ChangeSet) error {
				if refuse.Swap(false) {
					return store.ErrTooLarge
				}
				return s.Apply(sets...)
			}
		})
		alice := w.peer("alice")
		alice.create(conv)
		tx := alice.begin()
		w.service.set(func(context.Context, string, messages.CommitBundle) (messages.Verdict, error) {
			refuse.Store(true)
			return messages.Verdict{}, nil
		})
		if err := alice.update(alice.in(conv, tx)); err == nil {
			t.Fatal("merged")
		}
		failed := wantErrorAs[*messages.TransactionFailed](t, alice.try(alice.in("", tx), messages.Finish{}))
		want(t, failed.Final, false)
	})
}
