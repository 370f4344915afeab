package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
)

// feed is a stream that a test writes while it is read.
type feed struct {
	mu     sync.Mutex
	more   *sync.Cond
	list   []conclave.Incoming
	closed bool
}

func newFeed(list ...conclave.Incoming) *feed {
	f := &feed{list: list}
	f.more = sync.NewCond(&f.mu)
	return f
}

func (f *feed) add(list ...conclave.Incoming) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, list...)
	f.more.Signal()
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.more.Signal()
}

func (f *feed) stream() iter.Seq[conclave.Incoming] {
	return func(yield func(conclave.Incoming) bool) {
		for {
			f.mu.Lock()
			for len(f.list) == 0 && !f.closed {
				f.more.Wait()
			}
			if len(f.list) == 0 {
				f.mu.Unlock()
				return
			}
			next := f.list[0]
			f.list = f.list[1:]
			f.mu.Unlock()
			if !yield(next) {
				return
			}
		}
	}
}

// seal encrypts n messages whose texts are their numbers.
func (w *world) seal(from conclave.ClientID, id conclave.ConversationID, n int) []conclave.Incoming {
	w.t.Helper()
	list := make([]conclave.Incoming, n)
	for i := range list {
		sealed, err := w.devices[from].EncryptMessage(w.t.Context(), id, fmt.Append(nil, i))
		if err != nil {
			w.t.Fatal(err)
		}
		list[i] = conclave.Incoming{Conversation: id, Message: sealed}
	}
	return list
}

// TestDecryptAllPastAHangingSend has a commit with a delivery service that does not answer, in a transaction that has staged something besides, so that
// the conversation cannot be read meanwhile. More of its messages come than are parked: they come back in order, those of others are read, and when the
// delivery service refuses at last, or nobody waits for it any longer, what came back is fed again, mixed with what is new.
func TestDecryptAllPastAHangingSend(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		testPastAHangingSend(t, conclave.Verdict{Kind: conclave.VerdictRefused, Reason: "too slow"}, nil, conclave.CodeMessageRejected)
	})
	t.Run("no answer", func(t *testing.T) {
		testPastAHangingSend(t, conclave.Verdict{}, context.DeadlineExceeded, conclave.CodeCommitInDoubt)
	})
}

func testPastAHangingSend(t *testing.T, verdict conclave.Verdict, failed error, code conclave.Code) {
	const parked, over, others = 1024, 40, 200
	w := newWorld(t, "alice")
	sent, hung := make(chan struct{}), make(chan struct{})
	var once sync.Once
	bob := w.open("bob", conclave.ClientOptions{})
	w.group("slow", "alice", "bob")
	w.group("quick", "alice", "bob")
	slow, quick := w.seal("alice", "slow", parked+over+2), w.seal("alice", "quick", others)
	late := slow[parked+over:]
	slow = slow[:parked+over]
	if _, err := w.engine.Client(t.Context(), "bob", conclave.ClientOptions{Transport: transportFunc(func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
		once.Do(func() { close(sent) }) // what is in doubt is sent again
		<-hung
		return verdict, failed
	})}); err != nil {
		t.Fatal(err)
	}
	var tx sync.WaitGroup
	tx.Go(func() {
		err := bob.Transaction(context.WithoutCancel(t.Context()), func(tx *conclave.Tx) error {
			if _, err := tx.EncryptMessage(t.Context(), "slow", []byte("staged")); err != nil {
				return err
			}
			_, err := tx.UpdateKeyMaterial(t.Context(), "slow")
			wantCode(t, err, code)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-sent

	f := newFeed(slow...)
	f.add(quick...)
	next := make(map[conclave.ConversationID]int)
	var back []conclave.Incoming
	for out, err := range bob.DecryptAll(t.Context(), f.stream()) {
		if err != nil {
			t.Fatalf("%s %d: %v", out.Conversation, out.Index, err)
		}
		if out.Message.Outcome == conclave.OutcomeBusy {
			if out.Conversation != "slow" || string(out.Returned) != string(slow[parked+len(back)].Message) {
				t.Fatalf("%s, message %d came back when %d was due", out.Conversation, out.Index, parked+len(back))
			}
			back = append(back, conclave.Incoming{Conversation: out.Conversation, Message: out.Returned})
			if len(back) == over+len(late) {
				f.add(back...)
				f.close()
			}
			continue
		}
		if got, want := string(out.Message.Plaintext), fmt.Sprint(next[out.Conversation]); got != want {
			t.Fatalf("%s: text %s came when %s was due", out.Conversation, got, want)
		}
		next[out.Conversation]++
		switch {
		case next["quick"] == others && out.Conversation == "quick":
			if next["slow"] != 0 || len(back) != over {
				t.Fatalf("%d of the slow conversation read and %d come back while the delivery service hangs", next["slow"], len(back))
			}
			close(hung)
		case next["slow"] == parked && out.Conversation == "slow":
			// There is room again, but what is new may not overtake what came back.
			slow = append(slow, late...)
			f.add(late...)
		}
	}
	tx.Wait()
	if next["slow"] != parked+over+len(late) {
		t.Errorf("%d of the slow conversation read, want %d", next["slow"], parked+over+len(late))
	}
}

// TestDecryptAllBringsTheVerdict has a delivery service that accepts a commit by sending it to all, its sender included, and by nothing else: the sender's
// call returns because the stream has brought its commit back.
func TestDecryptAllBringsTheVerdict(t *testing.T) {
	for _, before := range []int{0, 3} { // messages that come ahead of it
		w := newWorld(t, "alice", "bob")
		w.group("room", "alice", "bob")
		texts := w.seal("alice", "room", before+1)
		f := newFeed()
		bob, err := w.engine.Client(t.Context(), "bob", conclave.ClientOptions{Transport: transportFunc(func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
			f.add(texts[:before]...)
			f.add(conclave.Incoming{Conversation: "room", Message: b.Commit}, texts[before])
			<-ctx.Done() // which ends because the commit was settled
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Error("the send has timed out")
			}
			return conclave.Verdict{}, ctx.Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		var sender sync.WaitGroup
		sender.Go(func() {
			merged, err := bob.UpdateKeyMaterial(context.WithoutCancel(t.Context()), "room")
			if err != nil || merged.Epoch != 2 {
				t.Errorf("epoch %d, %v", merged.Epoch, err)
			}
			f.close()
		})
		commits, read := 0, 0
		for out, err := range bob.DecryptAll(t.Context(), f.stream()) {
			switch {
			case err != nil:
				t.Error(err)
			case out.Message.Own && out.Message.Outcome == conclave.OutcomeCommit:
				commits++
			case string(out.Message.Plaintext) == fmt.Sprint(read):
				read++
			}
		}
		sender.Wait()
		if commits != 1 || read != before+1 {
			t.Errorf("%d commits and %d texts, want 1 and %d", commits, read, before+1)
		}
	}
}

// TestDecryptAllWithoutRoom has an engine that takes one call at a time, and one call that lasts: all messages come back, and once there is room are fed
// again.
func TestDecryptAllWithoutRoom(t *testing.T) {
	w := newWorld(t, "alice")
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, MaxCalls: 1, SendTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	sent, hung := make(chan struct{}), make(chan struct{})
	bob, err := e.Client(t.Context(), "bob", conclave.ClientOptions{Transport: transportFunc(func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
		close(sent)
		<-hung
		return conclave.Verdict{Kind: conclave.VerdictRefused}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	kps, err := bob.GenerateKeyPackages(t.Context(), conclave.KeyPackageOptions{Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	var welcome []byte
	alice := w.open("alice", conclave.ClientOptions{})
	if _, err := w.engine.Client(t.Context(), "alice", conclave.ClientOptions{Transport: transportFunc(func(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
		welcome = b.Welcome
		return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
	})}); err != nil {
		t.Fatal(err)
	}
	if err := alice.CreateConversation(t.Context(), "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.AddMembers(t.Context(), "room", kps[0].KeyPackage); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.ProcessWelcome(t.Context(), welcome, conclave.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	const n = 50
	list := w.seal("alice", "room", n)
	var commit sync.WaitGroup
	commit.Go(func() {
		_, err := bob.UpdateKeyMaterial(context.WithoutCancel(t.Context()), "room")
		wantCode(t, err, conclave.CodeMessageRejected)
	})
	<-sent
	f := newFeed(list...)
	var back []conclave.Incoming
	read := 0
	for out, err := range bob.DecryptAll(t.Context(), f.stream()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case out.Message.Outcome == conclave.OutcomeBusy:
			if string(out.Returned) != string(list[len(back)].Message) {
				t.Fatalf("message %d came back when %d was due", out.Index, len(back))
			}
			if back = append(back, conclave.Incoming{Conversation: out.Conversation, Message: out.Returned}); len(back) == n {
				close(hung)
				commit.Wait()
				f.add(back...)
				f.close()
			}
		default:
			if got := string(out.Message.Plaintext); got != fmt.Sprint(read) {
				t.Fatalf("text %s came when %d was due", got, read)
			}
			read++
		}
	}
	if len(back) != n || read != n {
		t.Errorf("%d came back and %d were read, want %d", len(back), read, n)
	}
}
