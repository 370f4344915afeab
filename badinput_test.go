package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// badWorld is a world to be treated badly: alice, who gets it all, in "room" with bob; carol, whom she was about to add; and dave, who is invited.
type badWorld struct {
	*world
	sends   int // commits that have left alice, carol or dave
	samples map[string][]byte
}

// newBadWorld makes the world and a good sample of everything that goes in as bytes.
func newBadWorld(t *testing.T) *badWorld {
	t.Helper()
	e, err := conclave.OpenOn(t.Context(), vfs.NewMem(), crashDir, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	w := &badWorld{world: &world{t: t, engine: e, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*enginetest.Device)}}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []conclave.ClientID{"alice", "bob", "carol", "dave"} {
		w.open(name, conclave.ClientOptions{})
	}
	w.group("room", "alice", "bob")
	ctx := t.Context()
	bob := w.devices["bob"]
	sealed, err := bob.EncryptMessage(ctx, "room", []byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	keyPackages, err := w.ds.Claim("carol")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(bob.CreateConversation(ctx, "side", conclave.ConversationOptions{}))
	must(bob.Add(ctx, "side", "dave"))
	w.samples = map[string][]byte{
		"application message": sealed,
		"key package":         keyPackages[0],
		"Welcome":             w.ds.Waiting("dave", 1)[0].Message,
		"GroupInfo":           w.ds.GroupInfo("side"),
	}
	w.ds.Done("dave", 1)
	p, err := bob.ProposeUpdate(ctx, "room")
	must(err)
	w.samples["proposal"] = p.Message
	must(bob.ClearPendingProposal(ctx, "room", p.Ref))
	_, err = bob.UpdateKeyMaterial(ctx, "room")
	must(err)
	w.samples["commit"] = w.ds.Waiting("alice", 1)[0].Message
	for _, d := range w.devices {
		d.Transport.Before = func(context.Context, conclave.CommitBundle) enginetest.Fault {
			w.sends++
			return enginetest.FaultNone
		}
	}
	return w
}

func (w *badWorld) dump() map[string]string {
	w.t.Helper()
	all, err := w.engine.Dump()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// entry is a way in for bytes.
type entry struct {
	name   string
	sample string // what it takes
	call   func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error)
}

var entries = []entry{
	{"DecryptMessage", "application message", decryptEntry},
	{"DecryptMessage", "proposal", decryptEntry},
	{"DecryptMessage", "commit", decryptEntry},
	{"ProcessWelcome", "Welcome", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		_, err := w.devices["dave"].ProcessWelcome(ctx, b, conclave.JoinOptions{})
		return 0, err
	}},
	{"JoinByExternalCommit", "GroupInfo", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		_, err := w.devices["carol"].JoinByExternalCommit(ctx, b, conclave.JoinOptions{})
		return 0, err
	}},
	{"AddMembers", "key package", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		_, err := w.devices["bob"].AddMembers(ctx, "room", b)
		return 0, err
	}},
	{"ProposeAdd", "key package", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		_, err := w.devices["bob"].ProposeAdd(ctx, "room", b)
		return 0, err
	}},
	{"ImportKeyPackage", "key package", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		_, err := w.devices["alice"].ImportKeyPackage(ctx, conclave.KeyPackageBundle{
			KeyPackage: b, InitPrivate: make(conclave.Secret, 32), LeafPrivate: make(conclave.Secret, 32), SignaturePrivate: make(conclave.Secret, 32),
		})
		return 0, err
	}},
	{"DecryptMessage in a transaction", "application message", func(ctx context.Context, w *badWorld, b []byte) (out conclave.Outcome, err error) {
		err = w.devices["alice"].Transaction(ctx, func(tx *conclave.Tx) error {
			got, err := tx.DecryptMessage(ctx, "room", b)
			out = got.Outcome
			return err
		})
		return out, err
	}},
	{"DecryptAll", "application message", func(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
		one := slices.Values([]conclave.Incoming{{Conversation: "room", Message: b}})
		for got, err := range w.devices["alice"].DecryptAll(ctx, one) {
			return got.Message.Outcome, err
		}
		return 0, nil
	}},
}

func decryptEntry(ctx context.Context, w *badWorld, b []byte) (conclave.Outcome, error) {
	got, err := w.devices["alice"].DecryptMessage(ctx, "room", b)
	return got.Outcome, err
}

// typed are the codes that bad bytes may get. Which one it is says what is wrong with them.
var typed = []conclave.Code{
	conclave.CodeInvalidMessage, conclave.CodeInvalidArgument, conclave.CodeDuplicateMessage, conclave.CodeWrongEpoch, conclave.CodeStaleCommit, conclave.CodeStaleProposal,
	conclave.CodeMessageEpochTooOld, conclave.CodeOrphanWelcome, conclave.CodeWrongCredential, conclave.CodeCredentialNotFound, conclave.CodeConversationAlreadyExists,
	conclave.CodeSelfCommitIgnored,
}

// TestBadBytes gives every entry point truncated, extended, changed and random bytes. Each gets a typed error and leaves no trace; afterwards the good
// ones do their work.
func TestBadBytes(t *testing.T) {
	w := newBadWorld(t)
	ctx := t.Context()
	for _, e := range entries {
		good := w.samples[e.sample]
		before := w.dump()
		buffered := 0
		for what, bad := range badBytes(good, testing.Short()) {
			got, err := e.call(ctx, w, bad)
			switch {
			case err == nil && got.Buffered():
				buffered++ // only a flipped epoch makes one, which cannot be told before that epoch comes
			case err == nil:
				t.Errorf("%s takes a %s %s (outcome %v)", e.name, e.sample, what, got)
			case !slices.ContainsFunc(typed, func(c conclave.Code) bool { return errors.Is(err, c) }):
				t.Errorf("%s of a %s %s: error %v has no fitting code", e.name, e.sample, what, err)
			}
		}
		after := w.dump()
		if buffered == 0 && !maps.Equal(before, after) {
			t.Errorf("%s of a bad %s has changed records: %s", e.name, e.sample, differences(before, after))
		}
		if buffered > 8 {
			t.Errorf("%s has kept %d bad messages", e.name, buffered)
		}
	}
	if w.sends != 0 {
		t.Errorf("%d commits have left", w.sends)
	}

	wantText(t, w.devices["alice"], "room", w.samples["application message"], "good")
	w.settle()
	w.agree("room")
	if _, err := w.devices["dave"].ProcessWelcome(ctx, w.samples["Welcome"], conclave.JoinOptions{}); err != nil {
		t.Errorf("the good Welcome: %v", err)
	}
	if _, err := w.devices["carol"].JoinByExternalCommit(ctx, w.samples["GroupInfo"], conclave.JoinOptions{}); err != nil {
		t.Errorf("the good GroupInfo: %v", err)
	}
	w.settle()
	w.agree("side")
	if _, err := w.devices["bob"].AddMembers(ctx, "room", w.samples["key package"]); err != nil {
		t.Errorf("the good key package: %v", err)
	}
	w.settle()
	w.agree("room")
}

// badBytes makes bad ones of good bytes, named by what is wrong with them.
func badBytes(good []byte, short bool) func(yield func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		rng := rand.New(rand.NewPCG(1, uint64(len(good))))
		step := 1 + len(good)/400
		if short {
			step = 1 + len(good)/40
		}
		for n := 0; n < len(good); n += step {
			if !yield("truncated", good[:n]) {
				return
			}
			flipped := bytes.Clone(good)
			flipped[n] ^= 1 << rng.IntN(8)
			if !yield("with a flipped bit", flipped) {
				return
			}
		}
		for _, n := range []int{1, 2, 3, 4, 16, 300, 70_000} {
			random := make([]byte, n)
			for i := range random {
				random[i] = byte(rng.Uint32())
			}
			if !yield("that is random", random) {
				return
			}
			if !yield("followed by more", append(bytes.Clone(good), random...)) {
				return
			}
			if n > 4 {
				copy(random, good[:4]) // the beginning of a message
				if !yield("that is random from its fifth byte", random) {
					return
				}
			}
		}
		for i := 4; i < len(good) && i < 64; i++ { // a length that promises a gigabyte
			long := bytes.Clone(good[:i])
			if !yield("with a monstrous length", append(long, 0xbf, 0xff, 0xff, 0xff, 1, 2, 3)) {
				return
			}
		}
		yield("of 20 MiB", append(bytes.Clone(good), make([]byte, 20<<20)...))
	}
}

func differences(before, after map[string]string) string {
	gone, come, changed := 0, 0, 0
	for k, v := range before {
		if got, ok := after[k]; !ok {
			gone++
		} else if got != v {
			changed++
		}
	}
	for k := range after {
		if _, ok := before[k]; !ok {
			come++
		}
	}
	return fmt.Sprintf("%d gone, %d new, %d changed", gone, come, changed)
}
