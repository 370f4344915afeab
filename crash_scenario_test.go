package conclave_test

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"

	"github.com/conclave-mls/conclave"
)

const (
	red   = conclave.ConversationID("red")
	blue  = conclave.ConversationID("blue")
	green = conclave.ConversationID("green") // created late
)

var colours = []conclave.ConversationID{red, blue, green}

// people are the clients of the scenario, in the order in which they first act.
var people = []conclave.ClientID{"alice", "bob", "carol", "dave", "erin"}

// scenario is what a crash interrupts: two conversations, every way to change them, and transactions over both that end in every way.
func (w *crashWorld) scenario() {
	for _, s := range []struct {
		step string
		play func()
	}{
		{"open", w.playOpen},
		{"create", w.playCreate},
		{"talk", w.playTalk},
		{"add", w.playAdd},
		{"update", w.playUpdate},
		{"propose", w.playPropose},
		{"join", w.playJoin},
		{"rejoin", w.playRejoin},
		{"transaction", w.playTransaction},
		{"abort", w.playAbort},
		{"transaction with commit", w.playTransactionWithCommit},
		{"abort with commit", w.playAbortWithCommit},
		{"abort after commit", w.playAbortAfterCommit},
		{"many commits", w.playManyCommits},
		{"conflict", w.playConflict},
		{"remove", w.playRemove},
		{"talk again", w.playTalk},
	} {
		w.mu.Lock()
		w.step = s.step
		w.mu.Unlock()
		s.play()
		for _, e := range w.settle() {
			if e.Err != nil && !conclave.IsIgnorable(e.Err) {
				w.t.Fatalf("%s: %s: %v", w.step, e.client, e.Err)
			}
		}
		w.agree(colours...)
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// must takes a call that commits: it lands when it returns.
func (w *crashWorld) must(err error) {
	w.t.Helper()
	w.landed()
	if err != nil {
		w.t.Fatalf("%s: %v", w.step, err)
	}
}

func (w *crashWorld) playOpen() {
	for _, id := range people {
		w.device(id)
	}
}

func (w *crashWorld) playCreate() {
	ctx := w.t.Context()
	alice, bob := w.devices["alice"], w.devices["bob"]
	w.must(alice.CreateConversation(ctx, red, conclave.ConversationOptions{}))
	w.must(alice.Add(ctx, red, "bob", "carol", w.witness.ID()))
	w.must(bob.CreateConversation(ctx, blue, conclave.ConversationOptions{}))
	w.must(bob.Add(ctx, blue, "alice", w.witness.ID()))
}

func (w *crashWorld) playTalk() {
	for _, id := range colours {
		for _, from := range w.ds.Members(id) {
			if from != w.witness.ID() {
				w.say(from, id, "hello")
				w.say(from, id, "and again")
			}
		}
	}
}

func (w *crashWorld) playAdd() {
	w.must(w.devices["alice"].Add(w.t.Context(), red, "dave"))
	w.say("alice", red, "welcome")
}

func (w *crashWorld) playUpdate() {
	_, err := w.devices["bob"].UpdateKeyMaterial(w.t.Context(), red)
	w.must(err)
	w.say("bob", red, "fresh")
}

func (w *crashWorld) playPropose() {
	ctx := w.t.Context()
	p, err := w.devices["carol"].ProposeUpdate(ctx, red)
	w.must(err)
	w.ds.Send("carol", red, p.Message)
	w.settle()
	_, err = w.devices["alice"].CommitPendingProposals(ctx, red)
	w.must(err)
}

func (w *crashWorld) playJoin() {
	_, err := w.devices["erin"].JoinByExternalCommit(w.t.Context(), w.ds.GroupInfo(red), conclave.JoinOptions{})
	w.must(err)
	w.say("erin", red, "here I am")
}

// playRejoin joins a conversation anew that the client still has a group of.
func (w *crashWorld) playRejoin() {
	w.say("carol", red, "before")
	w.mu.Lock()
	w.step = "join"
	w.mu.Unlock()
	_, err := w.devices["carol"].JoinByExternalCommit(w.t.Context(), w.ds.GroupInfo(red), conclave.JoinOptions{})
	w.must(err)
	w.say("carol", red, "after")
}

// try opens the books of a transaction of alice's, which reads two messages of bob's, one in each conversation. what names the data it sets, or is empty
// for one that will be aborted. With sent the one in red precedes a commit there.
func (w *crashWorld) try(what string, sent bool) {
	inRed, inBlue := w.say("bob", red, "in red"), w.say("bob", blue, "in blue")
	w.mu.Lock()
	defer w.mu.Unlock()
	epoch, _ := w.ds.Epoch(red)
	w.ledger = ledger{client: "alice", done: w.ledger.done, trying: what, reads: [][]byte{inRed, inBlue}, epoch: epoch}
	if sent {
		w.ledger.reads, w.ledger.sent = w.ledger.reads[1:], inRed
	}
}

// ended closes the books; done tells that the transaction was finished.
func (w *crashWorld) ended(done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying = nil
	if done {
		for _, m := range append(w.ledger.reads, w.ledger.sent) {
			w.answered[delivery{"alice", sha256.Sum256(m)}] = true
		}
		w.ledger.done = w.ledger.trying
	}
	w.ledger.trying, w.ledger.reads, w.ledger.sent = "", nil, nil
}

// body is what alice's transactions do: read both messages, answer both, commit between if asked to, and set data.
func (w *crashWorld) body(tx *conclave.Tx, commit bool, data string) error {
	ctx := w.t.Context()
	for _, in := range w.ds.Waiting("alice", 2) {
		if _, err := tx.DecryptMessage(ctx, in.Conversation, in.Message); err != nil {
			return err
		}
	}
	say := func(id conclave.ConversationID, text string) error {
		sealed, err := tx.EncryptMessage(ctx, id, []byte(text))
		if err == nil {
			w.handOut(sealed)
		}
		return err
	}
	if err := errors.Join(say(red, "one"), say(red, "two"), say(blue, "three")); err != nil {
		return err
	}
	if commit {
		if _, err := tx.UpdateKeyMaterial(ctx, red); err != nil {
			return err
		}
		if err := say(red, "four"); err != nil {
			return err
		}
	}
	return tx.SetData(ctx, []byte(data))
}

func (w *crashWorld) playTransaction() {
	w.try("one", false)
	w.must(w.devices["alice"].Transaction(w.t.Context(), func(tx *conclave.Tx) error { return w.body(tx, false, "one") }))
	w.ended(true)
	w.ds.Done("alice", 2)
}

var errTakenBack = errors.New("taken back")

func (w *crashWorld) playAbort() {
	w.try("", false)
	err := w.devices["alice"].Transaction(w.t.Context(), func(tx *conclave.Tx) error {
		return errors.Join(w.body(tx, false, "aborted"), errTakenBack)
	})
	if !errors.Is(err, errTakenBack) {
		w.t.Fatalf("%s: %v", w.step, err)
	}
	w.ended(false)
	w.reads(map[conclave.ConversationID]bool{red: true, blue: true})
}

// reads checks of which conversations alice can read the message that an aborted transaction has read.
func (w *crashWorld) reads(want map[conclave.ConversationID]bool) {
	w.t.Helper()
	for _, in := range w.ds.Waiting("alice", 2) {
		_, err := w.devices["alice"].DecryptMessage(w.t.Context(), in.Conversation, in.Message)
		if got := err == nil; got != want[in.Conversation] || !got && !errors.Is(err, conclave.CodeDuplicateMessage) {
			w.t.Errorf("%s: the message in %s: %v, want it to be read: %t", w.step, in.Conversation, err, want[in.Conversation])
		}
		w.mu.Lock()
		w.answered[delivery{"alice", sha256.Sum256(in.Message)}] = true
		w.mu.Unlock()
	}
	w.ds.Done("alice", 2)
}

func (w *crashWorld) playTransactionWithCommit() {
	w.try("two", true)
	w.must(w.devices["alice"].Transaction(w.t.Context(), func(tx *conclave.Tx) error { return w.body(tx, true, "two") }))
	w.ended(true)
	w.ds.Done("alice", 2)
}

// playAbortWithCommit aborts a transaction whose commit was accepted: what it did in red up to the commit stands.
func (w *crashWorld) playAbortWithCommit() {
	w.try("", true)
	err := w.devices["alice"].Transaction(w.t.Context(), func(tx *conclave.Tx) error {
		return errors.Join(w.body(tx, true, "aborted"), errTakenBack)
	})
	failed, ok := errors.AsType[*conclave.TransactionFailed](err)
	if !ok || len(failed.Final) != 1 || failed.Final[0].Conversation != red || !failed.Final[0].Merged || !errors.Is(err, errTakenBack) {
		w.t.Fatalf("%s: %v", w.step, err)
	}
	w.ended(false)
	w.reads(map[conclave.ConversationID]bool{red: false, blue: true})
}

// playAbortAfterCommit aborts a transaction that has entered the next epoch by another member's commit and spoken there. Alice enters that epoch again.
func (w *crashWorld) playAbortAfterCommit() {
	ctx := w.t.Context()
	_, err := w.devices["bob"].UpdateKeyMaterial(ctx, red)
	w.must(err)
	err = w.devices["alice"].Transaction(ctx, func(tx *conclave.Tx) error {
		for _, in := range w.ds.Waiting("alice", 1) {
			if _, err := tx.DecryptMessage(ctx, in.Conversation, in.Message); err != nil {
				return err
			}
		}
		for range 3 {
			sealed, err := tx.EncryptMessage(ctx, red, []byte("in the next epoch"))
			if err != nil {
				return err
			}
			w.handOut(sealed)
		}
		return errTakenBack
	})
	if !errors.Is(err, errTakenBack) {
		w.t.Fatalf("%s: %v", w.step, err)
	}
	w.settle()
	w.say("alice", red, "in the next epoch, for good")
}

// playManyCommits creates a conversation and commits in it and in two others, all in one transaction, which is aborted: each commit stands.
func (w *crashWorld) playManyCommits() {
	ctx := w.t.Context()
	keyPackages, err := w.ds.Claim("bob", w.witness.ID())
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.devices["alice"].Transaction(ctx, func(tx *conclave.Tx) error {
		if err := tx.CreateConversation(ctx, green, conclave.ConversationOptions{}); err != nil {
			return err
		}
		for _, commit := range []func() (conclave.CommitMerged, error){
			func() (conclave.CommitMerged, error) { return tx.AddMembers(ctx, green, keyPackages...) },
			func() (conclave.CommitMerged, error) { return tx.UpdateKeyMaterial(ctx, blue) },
			func() (conclave.CommitMerged, error) { return tx.UpdateKeyMaterial(ctx, red) },
			func() (conclave.CommitMerged, error) { return tx.UpdateKeyMaterial(ctx, green) },
		} {
			_, err := commit()
			w.landed()
			if err != nil {
				return err
			}
			for _, id := range colours {
				sealed, err := tx.EncryptMessage(ctx, id, []byte("taken back"))
				if err != nil {
					return err
				}
				w.handOut(sealed)
			}
		}
		return errTakenBack
	})
	failed, ok := errors.AsType[*conclave.TransactionFailed](err)
	if !ok || len(failed.Final) != 4 {
		w.t.Fatalf("%s: %v", w.step, err)
	}
}

// playConflict lets alice commit in an epoch that bob has ended.
func (w *crashWorld) playConflict() {
	ctx := w.t.Context()
	_, err := w.devices["bob"].UpdateKeyMaterial(ctx, red)
	w.must(err)
	_, err = w.devices["alice"].UpdateKeyMaterial(ctx, red)
	w.landed()
	if !errors.Is(err, conclave.CodeMessageRejected) {
		w.t.Fatalf("%s: %v", w.step, err)
	}
	w.say("alice", red, "still in the old epoch")
}

func (w *crashWorld) playRemove() {
	_, err := w.devices["alice"].RemoveMembers(w.t.Context(), red, "dave")
	w.must(err)
	w.settle()
	if ok, err := w.devices["dave"].ConversationExists(w.t.Context(), red); err != nil || ok {
		w.t.Errorf("%s: dave still has it: %t, %v", w.step, ok, err)
	}
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
