package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/conclave-mls/conclave"
)

// Past bugs of CoreCrypto in its storage and its transactions, as tests; docs/corecrypto.md lists them.

// TestPitfallS2LoadErrorIsNotAbsence: a conversation that cannot be read is not one that does not exist, and nothing takes its place.
func TestPitfallS2LoadErrorIsNotAbsence(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	good := r.dump()
	// What a message of the room changes is a record of the room.
	r.decrypt(r.ada.say("hello"))
	touched := r.dump()
	r.advance(1)
	changed := r.dump()
	if err := r.engine.Damage(func(key, value string) string {
		if _, was := good[key]; was && touched[key] == good[key] && changed[key] != good[key] { // the head, among those
			return "nonsense"
		}
		return value
	}); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	ctx := t.Context()
	_, err := r.bob.ConversationExists(ctx, "room")
	wantCode(t, err, conclave.CodeCorrupt)
	before := r.dump()
	wantCode(t, r.bob.CreateConversation(ctx, "room", conclave.ConversationOptions{}), conclave.CodeCorrupt)
	if after := r.dump(); !maps.Equal(before, after) {
		t.Errorf("it was overwritten: %s", differences(before, after))
	}
}

// TestPitfallS3BufferedMessageSurvivesRestart: a message that came too early is there when its epoch comes, after any number of restarts.
func TestPitfallS3BufferedMessageSurvivesRestart(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.ahead(1)
	if got := r.decrypt(r.ada.say("early")); got.Outcome != conclave.OutcomeBufferedFutureMessage {
		t.Fatalf("outcome %v", got.Outcome)
	}
	r.reopen()
	r.reopen()
	if got := releasedTexts(r.catchUp()); !slices.Equal(got, []string{"early"}) {
		t.Errorf("released %q", got)
	}
	r.advance(1)
	if got := releasedTexts(r.catchUp()); len(got) != 0 {
		t.Errorf("released again: %q", got)
	}
}

// TestPitfallS4WipeEmptiesTheBuffer: what was kept for a conversation goes with it, and with a join that was given up.
func TestPitfallS4WipeEmptiesTheBuffer(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	r.ahead(1)
	r.decrypt(r.ada.say("for the one that is wiped"))
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	r.kept = nil
	r.found()
	r.ahead(1)
	if got := r.catchUp(); len(got) != 0 {
		t.Errorf("%d released of a conversation that was wiped", len(got))
	}

	r.joinAnew()
	r.ada.commit()
	if got := r.decrypt(r.ada.say("for the join that is given up")); got.Outcome != conclave.OutcomeUnmergedPendingGroup {
		t.Fatalf("outcome %v", got.Outcome)
	}
	if _, err := r.bob.DropInDoubt(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	joined, err := r.bob.JoinByExternalCommit(ctx, r.ada.groupInfo().Marshal(), conclave.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(joined.Released) != 0 {
		t.Errorf("%d released of a join that was given up", len(joined.Released))
	}
	r.ada.read(r.last().Commit)
	r.agree()
}

// TestPitfallS5StagedChangesKeepTheirOrder: what a transaction writes, deletes and writes again is there, and the transaction sees it at every step.
func TestPitfallS5StagedChangesKeepTheirOrder(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var kept []conclave.KeyPackageEntry
	var second conclave.CredentialEntry
	must(r.bob.Transaction(ctx, func(tx *conclave.Tx) error {
		exists := func(want bool) {
			t.Helper()
			if ok, err := tx.ConversationExists(ctx, "side"); err != nil || ok != want {
				t.Errorf("the conversation exists: %t, %v", ok, err)
			}
		}
		for range 2 {
			must(tx.CreateConversation(ctx, "side", conclave.ConversationOptions{}))
			exists(true)
			must(tx.WipeConversation(ctx, "side"))
			exists(false)
		}
		must(tx.CreateConversation(ctx, "side", conclave.ConversationOptions{}))

		made, err := tx.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 3})
		must(err)
		must(tx.DeleteKeyPackages(ctx, made[0].Ref, made[1].Ref, made[2].Ref))
		kept, err = tx.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 2})
		must(err)
		if n, err := tx.ValidKeyPackageCount(ctx, 1, 0); err != nil || n != 2 {
			t.Errorf("%d key packages, %v; want the 2 that were made last", n, err)
		}

		for _, data := range []string{"one", "", "two"} {
			must(tx.SetData(ctx, []byte(data)))
			if got, err := tx.Data(ctx); err != nil || string(got) != data {
				t.Errorf("data %q, %v; want %q", []byte(got), err, data)
			}
		}

		second, err = tx.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
		must(err)
		must(tx.RemoveCredential(ctx, second.Ref))
		if second, err = tx.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1}); err != nil {
			t.Fatal(err)
		}
		all, err := tx.Credentials(ctx)
		must(err)
		if len(all) != 2 {
			t.Errorf("%d credentials, want 2", len(all))
		}

		p, err := tx.ProposeUpdate(ctx, "side")
		must(err)
		must(tx.ClearPendingProposal(ctx, "side", p.Ref))
		_, err = tx.EncryptMessage(ctx, "side", []byte("nothing is pending"))
		return err
	}))
	r.reopen()
	if ok, err := r.bob.ConversationExists(ctx, "side"); err != nil || !ok {
		t.Errorf("the conversation exists: %t, %v", ok, err)
	}
	stored, err := r.bob.KeyPackages(ctx)
	must(err)
	if len(stored) != len(kept) || !slices.ContainsFunc(stored, func(k conclave.KeyPackageEntry) bool { return bytes.Equal(k.Ref, kept[0].Ref) }) {
		t.Errorf("%d key packages, want %d", len(stored), len(kept))
	}
	if data, err := r.bob.Data(ctx); err != nil || string(data) != "two" {
		t.Errorf("data %q, %v", []byte(data), err)
	}
	all, err := r.bob.Credentials(ctx)
	must(err)
	if len(all) != 2 || all[1].Ref != second.Ref {
		t.Errorf("credentials %v", all)
	}
}

// TestPitfallS6EventAfterItIsDurable: who is told of an epoch reads that epoch, and exports its secret; of one that was taken back nobody is told.
func TestPitfallS6EventAfterItIsDurable(t *testing.T) {
	type read struct {
		told, epoch uint64
		key         conclave.Secret
		err         error
	}
	var bob *conclave.Client
	events := make(chan read, 8)
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) {
		if e.Epoch < 2 {
			return // of joining
		}
		got := read{told: e.Epoch}
		if got.epoch, got.err = bob.ConversationEpoch(context.Background(), "room"); got.err == nil {
			got.key, got.err = bob.ExportSecretKey(context.Background(), "room", 32)
		}
		events <- got
	}}})
	bob = r.bob
	errStop := errors.New("stop")
	r.ahead(1)
	err := bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		if _, err := tx.DecryptMessage(t.Context(), "room", r.kept[0]); err != nil {
			t.Error(err)
		}
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	if err := bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.DecryptMessage(t.Context(), "room", r.kept[0])
		if len(events) != 0 {
			t.Error("told before it is durable")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	key, err := r.ada.g.Export("exporter", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	got := <-events
	if got.err != nil || got.told != 2 || got.epoch != 2 || !got.key.Equal(key) {
		t.Errorf("told of epoch %d, read %d, %v; same key: %t", got.told, got.epoch, got.err, got.key.Equal(key))
	}
	r.update()
	if got := <-events; got.err != nil || got.told != 3 || got.epoch != 3 {
		t.Errorf("told of epoch %d, read %d, %v", got.told, got.epoch, got.err)
	}
}

// TestPitfallS7TransactionsWait: transactions that want the same conversation wait for each other, and all succeed. That they do so in the order they came
// is TestGuardIsFair's.
func TestPitfallS7TransactionsWait(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	const count = 100
	sent := make([][]byte, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			if err := r.bob.Transaction(t.Context(), func(tx *conclave.Tx) (err error) {
				sent[i], err = tx.EncryptMessage(t.Context(), "room", []byte("mine"))
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := make(map[uint32]bool)
	for _, m := range sent {
		sealed, err := r.ada.g.OpenSenderData(m)
		if err != nil {
			t.Fatal(err)
		}
		seen[sealed.Generation()] = true
	}
	if len(seen) != count {
		t.Errorf("%d messages with %d generations", count, len(seen))
	}
}

// TestPitfallS8CancelledTransactionEnds: a caller that has gone leaves no transaction open.
func TestPitfallS8CancelledTransactionEnds(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	err := r.bob.Transaction(ctx, func(tx *conclave.Tx) error {
		if err := tx.SetData(ctx, []byte("dropped")); err != nil {
			return err
		}
		_, err := tx.Conversation(ctx, "room")
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if err := r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.EncryptMessage(t.Context(), "room", []byte("next"))
		return err
	}); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
	if data, err := r.bob.Data(t.Context()); err != nil || data != nil {
		t.Errorf("data %q, %v", []byte(data), err)
	}
}

// TestPitfallS9CallbackErrorIsTold: the error that ended a transaction is what the caller gets.
func TestPitfallS9CallbackErrorIsTold(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	inner := &innerError{"the application's own"}
	err := r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		if _, err := tx.UpdateKeyMaterial(t.Context(), "room"); err != nil {
			return err
		}
		return inner
	})
	if got, ok := errors.AsType[*innerError](err); !ok || got != inner {
		t.Errorf("error %v has lost its cause", err)
	}
	err = r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		_, err := tx.DecryptMessage(t.Context(), "room", []byte("nonsense"))
		return err
	})
	wantCode(t, err, conclave.CodeInvalidMessage)
}

type innerError struct{ text string }

func (e *innerError) Error() string { return e.text }

// TestPitfallS10AbortBurnsGenerations: a ciphertext that a transaction has handed out cannot be taken back, so its key is never used again, not even after
// a restart.
func TestPitfallS10AbortBurnsGenerations(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	seen := make(map[uint32]bool)
	generation := func(m []byte) uint32 {
		t.Helper()
		sealed, err := r.ada.g.OpenSenderData(m)
		if err != nil {
			t.Fatal(err)
		}
		return sealed.Generation()
	}
	for range 3 {
		tx, err := r.bob.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		lost, err := tx.EncryptMessage(ctx, "room", []byte("sent, and taken back"))
		if err != nil {
			t.Fatal(err)
		}
		seen[generation(lost)] = true
		if _, err := tx.Abort(ctx); err != nil {
			t.Fatal(err)
		}
		stays, err := r.bob.EncryptMessage(ctx, "room", []byte("something else"))
		if err != nil {
			t.Fatal(err)
		}
		seen[generation(stays)] = true
		r.ada.read(lost) // it may have been sent before the abort
		r.ada.read(stays)
		r.reopen()
	}
	if len(seen) != 6 {
		t.Errorf("6 messages with %d generations", len(seen))
	}
}

// TestPitfallS11ReadingWritesNothing: a conversation that is loaded and read is not written again.
func TestPitfallS11ReadingWritesNothing(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.decrypt(r.ada.say("hello"))
	r.reopen()
	before := r.dump()
	ctx := t.Context()
	room := r.bob.Conversation("room")
	if _, err := room.Members(ctx); err != nil {
		t.Error(err)
	}
	if _, err := room.ExportSecretKey(ctx, 32); err != nil {
		t.Error(err)
	}
	if _, err := room.ExportGroupInfo(ctx); err != nil {
		t.Error(err)
	}
	if err := r.bob.Transaction(ctx, func(tx *conclave.Tx) error {
		_, err := tx.Conversation(ctx, "room")
		return err
	}); err != nil {
		t.Error(err)
	}
	if after := r.dump(); !maps.Equal(before, after) {
		t.Errorf("reading has written: %s", differences(before, after))
	}
}

// TestPitfallS12DeletingNothingIsNoError: what is not there is deleted already.
func TestPitfallS12DeletingNothingIsNoError(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	for what, err := range map[string]error{
		"key package":    r.bob.DeleteKeyPackages(ctx, conclave.KeyPackageRef("unknown")),
		"no key package": r.bob.DeleteKeyPackages(ctx),
		"credential":     r.bob.RemoveCredential(ctx, conclave.CredentialRef{1}),
		"pre-shared key": r.bob.DeletePSK(ctx, []byte("unknown")),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPitfallS13SecondEngineIsRefused: one directory has one engine.
func TestPitfallS13SecondEngineIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := conclave.Options{Key: testKey}
	first, err := conclave.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conclave.Open(t.Context(), dir, o)
	wantCode(t, err, conclave.CodeDirectoryInUse)
	if _, err := first.Client(t.Context(), "alice", conclave.ClientOptions{}); err != nil {
		t.Errorf("the first one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := conclave.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := again.Client(t.Context(), "alice", conclave.ClientOptions{}); err != nil || c.Created() {
		t.Errorf("after the first one: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestPitfallS14DatabaseKey: keys of a wrong size and wrong keys are refused, and harm nothing.
func TestPitfallS14DatabaseKey(t *testing.T) {
	dir := t.TempDir()
	open := func(key []byte) (*conclave.Engine, error) {
		return conclave.Open(t.Context(), dir, conclave.Options{Key: key})
	}
	e, err := open(testKey)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := e.Client(t.Context(), "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.SetData(t.Context(), []byte("still there")); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]conclave.Code{0: conclave.CodeInvalidArgument, 31: conclave.CodeInvalidArgument, 33: conclave.CodeInvalidArgument, 32: conclave.CodeWrongKey} {
		_, err := open(bytes.Repeat([]byte{0xEE}, size))
		wantCode(t, err, want)
	}
	if e, err = open(testKey); err != nil {
		t.Fatal(err)
	}
	if alice, err = e.Client(t.Context(), "alice", conclave.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	if data, err := alice.Data(t.Context()); err != nil || string(data) != "still there" {
		t.Errorf("data %q, %v", []byte(data), err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestPitfallS15DelayOfZero: a delay of nothing is a delay, and not the same as none.
func TestPitfallS15DelayOfZero(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	got := r.decrypt(r.ada.propose(removeOf(tomsLeaf), public))
	if !got.HasCommitDelay || got.CommitDelay != 0 {
		t.Errorf("delay %t %v; bob is to commit at once", got.HasCommitDelay, got.CommitDelay)
	}
	got = r.decrypt(r.ada.propose(removeOf(bobsLeaf), public))
	if got.HasCommitDelay || got.CommitDelay != 0 {
		t.Errorf("delay %t %v; bob is not to commit his own removal", got.HasCommitDelay, got.CommitDelay)
	}
}

// TestPitfallS16KeptForLaterIsNoError: that a message was stored for later is no error, so a callback that passes on every error loses none.
func TestPitfallS16KeptForLaterIsNoError(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	careless := func(message []byte) error {
		return r.bob.Transaction(ctx, func(tx *conclave.Tx) error {
			_, err := tx.DecryptMessage(ctx, "room", message)
			return err
		})
	}
	r.ahead(1)
	if err := careless(r.ada.say("early")); err != nil {
		t.Fatal(err)
	}
	p := r.tom.propose(nil, public)
	r.ada.read(p)
	if got := releasedTexts(r.catchUp()); !slices.Equal(got, []string{"early"}) {
		t.Errorf("released %q", got)
	}
	if err := careless(r.ada.commit().Commit); err != nil { // of a proposal that has not come
		t.Fatal(err)
	}
	r.reopen()
	if got := r.decrypt(p); got.Epoch != 3 {
		t.Errorf("epoch %d: the commit was lost", got.Epoch)
	}
	r.agree()
}
