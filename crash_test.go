package conclave_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// fate is what the delivery service made of a commit that had left when the power was cut.
type fate int

const (
	fateAccepted   fate = iota // it was accepted; sending it again is answered. Or there was none
	fateNoAnswer               // it was accepted, and sending it again is not answered: what comes from the others has to settle it
	fateNeverCame              // it has not arrived
	fateRefused                // it has not arrived, and another member's commit ends its epoch
	fateRefusedNow             // it has not arrived, and arriving now it is refused without a reason that settles anything
)

func (f fate) String() string {
	return [...]string{"accepted", "no answer", "never came", "another won", "refused"}[f]
}

// TestCrash cuts the power before every change of the disk while the scenario runs, opens the engine again on what is left, and lets everybody go on, for
// every fate that a commit under way can have met. Each run is at another extreme.
func TestCrash(t *testing.T) {
	for i, echo := range []bool{false, true} {
		for j, percent := range []int{0, 50} {
			stride := 1 // of cuts with no commit under way
			if second := echo == (percent == 0); second && testing.Short() {
				continue
			} else if second || testing.Short() {
				stride = 9
			}
			t.Run(fmt.Sprintf("echo=%t/unsynced=%d%%", echo, percent), func(t *testing.T) {
				extreme.Run(t, uint64(2*i+j), func(t *testing.T, x extreme.Setting) { testCrash(t, x, echo, percent, stride) })
			})
		}
	}
}

func testCrash(t *testing.T, x extreme.Setting, echo bool, percent, stride int) {
	cuts := crashRun(t, x, echo, percent)
	if len(cuts) < 100 {
		t.Fatalf("only %d cuts", len(cuts))
	}
	checked := make(map[fate]int)
	for i, c := range cuts {
		if c.flying == nil {
			if i%stride == 0 {
				checked[fateAccepted]++
				c.check(t, x, fateAccepted)
			}
			continue
		}
		fates := []fate{fateAccepted, fateNoAnswer}
		switch {
		case c.flying.leaving && c.flying.join:
			fates = []fate{fateNeverCame, fateRefused} // a join that is refused is given up
		case c.flying.leaving:
			fates = []fate{fateNeverCame, fateRefused, fateRefusedNow}
		}
		for _, f := range fates {
			checked[f]++
			c.check(t, x, f)
		}
		if t.Failed() {
			return
		}
	}
	for f := fateAccepted; f <= fateRefusedNow; f++ {
		if checked[f] < 5 {
			t.Errorf("only %d cuts whose commit's fate is %q", checked[f], f)
		}
	}
	t.Logf("%d cuts, checked by fate: %v", len(cuts), checked)
}

// crashRun plays the scenario and returns the cuts.
func crashRun(t *testing.T, x extreme.Setting, echo bool, percent int) []*cut {
	t.Helper()
	ds := enginetest.NewDeliveryService()
	ds.Echo = echo
	witness, err := enginetest.NewWitness(ds, "witness", 1, mlsgroup.ProfileWire, len(colours))
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{mem: crashfs.New(), percent: percent, rng: rand.New(rand.NewPCG(1, uint64(percent)))}
	w := newCrashWorld(t, errorfs.Wrap(c.mem, c), x, ds, witness)
	w.cutter = c
	w.open()
	c.watch(w)
	w.scenario()
	c.watch(nil)
	w.close()
	for _, m := range w.handed {
		if err := witness.Observe(m); err != nil {
			t.Errorf("without any crash: %v", err)
		}
	}
	return c.cuts
}

// check opens the engine on what a cut left and lets everybody go on.
func (c *cut) check(t *testing.T, x extreme.Setting, f fate) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Fatalf("cut before %v of %s, step %q, commit under way %t, fate %q", c.op.Kind, c.op.Path, c.step, c.flying != nil, f)
		}
	}()
	fs := crashfs.New()
	if ok, err := vfs.Clone(c.fs, fs, "state", "state"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	w := newCrashWorld(t, fs, x, c.ds.Clone(nil), c.witness.Clone())
	w.step, w.ledger = c.step, c.ledger
	w.open()
	defer w.close()

	happened, left := w.checkData()
	var events []event
	if f != fateAccepted && f != fateNeverCame {
		events = w.settleWithout(c.flying, f)
	}
	for _, id := range people {
		w.device(id)
	}
	events = append(events, w.await()...)
	w.checkEvents(events, c.answered, happened, left)
	w.exchange(c.handed)
}

// checkData reads what the transaction under way has set, and tells whether it has happened, and whether its commit has left or may have.
func (w *crashWorld) checkData() (happened, left bool) {
	w.t.Helper()
	if w.ledger.client == "" {
		return false, false
	}
	c := w.silent(w.ledger.client)
	got, err := c.Data(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	state, err := c.Conversation(red).State(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	left = state.Epoch > w.ledger.epoch || len(state.InDoubt) > 0
	happened = w.ledger.trying != "" && string(got) == w.ledger.trying
	if !happened && string(got) != w.ledger.done {
		w.t.Errorf("data is %q, want %q or %q", got, w.ledger.done, w.ledger.trying)
	}
	return happened, left
}

// settleWithout lets the others act while the sender of the commit under way cannot reach the delivery service.
func (w *crashWorld) settleWithout(flying *flight, f fate) []event {
	w.t.Helper()
	ctx := w.t.Context()
	sender := w.silent(flying.from)
	state, err := sender.Conversation(flying.conversation).State(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	doubted := slices.ContainsFunc(state.InDoubt, func(d conclave.CommitInDoubt) bool { return !d.Refused })
	if doubted && !flying.join && f != fateNoAnswer {
		_, err := sender.EncryptMessage(ctx, flying.conversation, []byte("no"))
		wantCode(w.t, err, conclave.CodeCommitInDoubt)
	}
	for _, id := range people {
		if id != flying.from {
			w.device(id)
		}
	}
	events := w.settle()
	other := w.other(flying)
	switch {
	case other == "":
	case f == fateNoAnswer:
		w.say(other, flying.conversation, "of the epoch in doubt")
		w.devices[flying.from] = &enginetest.Device{Client: sender, Delivery: w.ds}
		events = append(events, w.settle()...)
		after, err := sender.Conversation(flying.conversation).State(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if epoch, _ := w.ds.Epoch(flying.conversation); after.Epoch != epoch || !after.Exists {
			w.t.Errorf("%s has not settled by what the others sent: epoch %d of %d", flying.from, after.Epoch, epoch)
		}
	case f == fateRefused:
		if _, err := w.devices[other].UpdateKeyMaterial(ctx, flying.conversation); err != nil {
			w.t.Errorf("the commit of another: %v", err)
		}
	case f == fateRefusedNow && doubted:
		events = append(events, w.refuseNow(flying)...)
	}
	return events
}

// refuseNow has the sender try again and be refused without a reason: the commit stays in doubt, and messages can be read meanwhile.
func (w *crashWorld) refuseNow(flying *flight) []event {
	w.t.Helper()
	ctx := w.t.Context()
	refused := make(chan struct{}, 1)
	c, err := w.engine.Client(ctx, flying.from, conclave.ClientOptions{Observer: w.observer(), Transport: refusal(refused)})
	if err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-refused:
	case <-time.After(time.Minute):
		w.t.Error("the commit in doubt is not sent again")
	}
	state, err := c.Conversation(flying.conversation).State(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.ContainsFunc(state.InDoubt, func(d conclave.CommitInDoubt) bool { return !d.Refused }) {
		w.t.Error("a refusal of a resend has settled the commit")
	}
	return nil
}

// refusal refuses everything and tells so.
type refusal chan<- struct{}

func (r refusal) SendCommitBundle(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	select {
	case r <- struct{}{}:
	default:
	}
	return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: "no"}, nil
}

// other returns a member of the conversation besides the sender of the commit under way, who has a group of it.
func (w *crashWorld) other(flying *flight) conclave.ClientID {
	for _, id := range w.ds.Members(flying.conversation) {
		if d := w.devices[id]; d != nil && id != flying.from {
			if ok, err := d.ConversationExists(w.t.Context(), flying.conversation); err == nil && ok {
				return id
			}
		}
	}
	return ""
}

// await lets everybody process everything until no commit is in doubt. A join that was beaten is given up and made anew.
func (w *crashWorld) await() []event {
	w.t.Helper()
	ctx := w.t.Context()
	var events []event
	for {
		events = append(events, w.settle()...)
		doubts := 0
		for id, d := range w.devices {
			for _, in := range w.doubts(d.Client) {
				epoch, _ := w.ds.Epoch(in.Conversation)
				if !in.Join || epoch == in.Epoch || slices.Contains(w.ds.Members(in.Conversation), id) {
					doubts++
					continue
				}
				if _, err := d.JoinByExternalCommit(ctx, w.ds.GroupInfo(in.Conversation), conclave.JoinOptions{}); err != nil {
					w.t.Errorf("%s joins anew: %v", id, err)
				}
			}
		}
		if doubts == 0 {
			return append(events, w.settle()...)
		}
		select {
		case <-w.settled:
		case <-time.After(time.Minute): // the work before it may take its time
			w.t.Errorf("%d commits are still in doubt", doubts)
			return events
		}
	}
}

// doubts lists the commits of a client that hold up sending.
func (w *crashWorld) doubts(c *conclave.Client) []conclave.CommitInDoubt {
	w.t.Helper()
	var all []conclave.CommitInDoubt
	ids, err := c.Conversations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range c.InDoubt() { // one that is not there yet
		if !slices.Contains(ids, d.Conversation) {
			ids = append(ids, d.Conversation)
		}
	}
	for _, id := range ids {
		state, err := c.Conversation(id).State(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range state.InDoubt {
			if !d.Refused {
				all = append(all, d)
			}
		}
	}
	return all
}

// checkEvents checks what became of the messages that waited: nothing fails that should not, what was answered is not given out again, and of the
// transaction under way all was read or nothing.
func (w *crashWorld) checkEvents(events []event, answered map[delivery]bool, happened, left bool) {
	w.t.Helper()
	for _, e := range events {
		gone := errors.Is(e.Err, conclave.CodeConversationNotFound) && !slices.Contains(w.ds.Members(e.Delivery.Conversation), e.client)
		again := errors.Is(e.Err, conclave.CodeConversationAlreadyExists) || errors.Is(e.Err, conclave.CodeOrphanWelcome)
		if e.Err != nil && !conclave.IsIgnorable(e.Err) && !gone && !again {
			w.t.Errorf("%s in %s (welcome %t, commit %t): %v", e.client, e.Delivery.Conversation, e.Delivery.Welcome, e.Delivery.Commit, e.Err)
		}
		text := e.Err == nil && e.Message.Outcome == conclave.OutcomeText
		if text && answered[delivery{e.client, sha256.Sum256(e.Delivery.Message)}] {
			w.t.Errorf("%s reads a message of %s again", e.client, e.Delivery.Conversation)
		}
		if e.client != w.ledger.client {
			continue
		}
		for _, m := range w.ledger.reads {
			if slices.Equal(m, e.Delivery.Message) && text == happened {
				w.t.Errorf("the transaction has happened: %t, and its message in %s could be read: %t, %v", happened, e.Delivery.Conversation, text, e.Err)
			}
		}
		if slices.Equal(w.ledger.sent, e.Delivery.Message) && text == left {
			w.t.Errorf("the transaction's commit has left: %t, and what it read before could be read: %t, %v", left, text, e.Err)
		}
	}
}

// commitPending commits what is pending, so that everybody can speak.
func (w *crashWorld) commitPending(id conclave.ConversationID) {
	w.t.Helper()
	for _, member := range w.ds.Members(id) {
		if d := w.devices[member]; d != nil {
			if _, err := d.CommitPendingProposals(w.t.Context(), id); err != nil {
				w.t.Errorf("%s commits what is pending in %s: %v", member, id, err)
			}
			w.settle()
		}
	}
}

// exchange lets every member of every conversation say something that all others read, and has the witness look at all that was ever handed out.
func (w *crashWorld) exchange(handed [][]byte) {
	w.t.Helper()
	w.agree(colours...)
	for _, id := range colours {
		w.commitPending(id)
	}
	want := make(map[conclave.ClientID]int)
	for _, id := range colours {
		members := w.ds.Members(id)
		for _, from := range members {
			if from == w.witness.ID() {
				continue
			}
			w.say(from, id, "after the crash")
			for _, to := range members {
				if to != from && to != w.witness.ID() {
					want[to]++
				}
			}
		}
	}
	got := make(map[conclave.ClientID]int)
	for _, e := range w.settle() {
		if e.Err == nil && e.Message.Outcome == conclave.OutcomeText && string(e.Message.Plaintext) == "after the crash" {
			got[e.client]++
		}
	}
	for id, n := range want {
		if got[id] != n {
			w.t.Errorf("%s has read %d messages after the crash, want %d", id, got[id], n)
		}
	}
	for _, m := range handed {
		if err := w.witness.Observe(m); err != nil {
			w.t.Error(err)
		}
	}
}
