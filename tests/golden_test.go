package tests

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var golden = flag.String("golden", "", "write a golden engine of the present formats to this new directory, e.g. testdata/golden/v2")

// goldenEngine is a directory as a crashed process left it, in every version that was ever released, and what its client still has to be able to do:
// read messages that are late, skipped, of the next epoch; settle a commit in doubt; join by a Welcome for a stored key package. It needs none of the
// official vectors.
type goldenEngine struct {
	// Texts that alice has not read, in the order in which she reads them now; then the commit that ends the epoch, which releases Early.
	Texts  []goldenText
	Commit []byte
	Early  string
	// Authenticator of the epoch that the commit begins, and of the conversation that Welcome is for.
	Authenticator        []byte
	Welcome              []byte
	WelcomeAuthenticator []byte
}

type goldenText struct {
	Message []byte
	Text    string
}

var goldenTime = time.Unix(1_770_000_000, 0)

func goldenOptions() conclave.Options {
	return conclave.Options{Key: partyKey, Now: func() time.Time { return goldenTime }, RetryPause: time.Hour}
}

// TestGolden opens the engines of all versions that were ever released.
func TestGolden(t *testing.T) {
	if *golden != "" {
		writeGolden(t, *golden)
	}
	dirs, err := filepath.Glob("testdata/golden/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no golden engines", err)
	}
	for _, dir := range dirs {
		for _, x := range []extreme.Setting{extreme.Of(0), extreme.Of(3)} {
			t.Run(filepath.Base(dir)+", "+x.Name, func(t *testing.T) { readGolden(t, dir, x) })
		}
	}
}

func readGolden(t *testing.T, dir string, x extreme.Setting) {
	ctx := t.Context()
	b, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g goldenEngine
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "engine")
	copyFiles(t, filepath.Join(dir, "engine"), state)
	e, err := conclave.Open(x.Open(ctx), state, extremely(x, goldenOptions()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	alice, err := e.Client(ctx, "alice", conclave.ClientOptions{Transport: deadLine{}})
	if err != nil {
		t.Fatal(err)
	}
	if alice.Created() || len(alice.InDoubt()) != 1 || alice.InDoubt()[0].Conversation != "room" {
		t.Errorf("created %t, in doubt %+v", alice.Created(), alice.InDoubt())
	}
	if data, err := alice.Data(ctx); err != nil || string(data) != "golden" {
		t.Errorf("data %q, %v", data, err)
	}
	if _, err := alice.EncryptMessage(ctx, "room", nil); !errors.Is(err, conclave.CodeCommitInDoubt) {
		t.Errorf("encrypt: %v", err)
	}
	for _, m := range g.Texts {
		if got, err := alice.DecryptMessage(ctx, "room", m.Message); err != nil || string(got.Plaintext) != m.Text {
			t.Errorf("read %q, %v, want %q", []byte(got.Plaintext), err, m.Text)
		}
	}
	got, err := alice.DecryptMessage(ctx, "room", g.Commit)
	if err != nil || got.Outcome != conclave.OutcomeCommit || len(got.Released) != 1 || string(got.Released[0].Message.Plaintext) != g.Early {
		t.Errorf("commit: %v, released %d, %v", got.Outcome, len(got.Released), err)
	}
	wantAuthenticator(t, alice, "room", g.Authenticator)
	if joined, err := alice.ProcessWelcome(ctx, g.Welcome, conclave.JoinOptions{}); err != nil || joined.Conversation != "later" {
		t.Errorf("joined %q, %v", joined.Conversation, err)
	}
	wantAuthenticator(t, alice, "later", g.WelcomeAuthenticator)
	for _, id := range []conclave.ConversationID{"room", "later"} {
		if _, err := alice.EncryptMessage(ctx, id, []byte("and on")); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func wantAuthenticator(t *testing.T, c *conclave.Client, id conclave.ConversationID, want []byte) {
	t.Helper()
	state, err := c.Conversation(id).State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !state.Exists || !state.EpochAuthenticator.Equal(want) || len(state.InDoubt) != 0 {
		t.Errorf("%s: epoch %d is another one, or %d commits are in doubt", id, state.Epoch, len(state.InDoubt))
	}
}

// deadLine is a transport that reaches nobody.
type deadLine struct{}

func (deadLine) SendCommitBundle(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	return conclave.Verdict{}, errors.New("the line is dead")
}

// copyFiles copies a directory, but for its lock.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "LOCK")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s exists: golden engines are kept for good", dir)
	}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(t.TempDir(), "engine")
	mine, err := conclave.Open(ctx, state, goldenOptions())
	must(err)
	o := goldenOptions()
	o.InMemory = true
	theirs, err := conclave.Open(ctx, "", o)
	must(err)
	defer func() { _ = theirs.Close() }()
	ds := enginetest.NewDeliveryService()
	devices := make(map[conclave.ClientID]*enginetest.Device)
	for id, e := range map[conclave.ClientID]*conclave.Engine{"alice": mine, "bob": theirs, "carol": theirs} {
		devices[id], err = enginetest.Open(ctx, e, ds, id, conclave.ClientOptions{})
		must(err)
	}
	alice, bob, carol := devices["alice"], devices["bob"], devices["carol"]
	receive := func(list ...*enginetest.Device) {
		t.Helper()
		for _, d := range list {
			events, err := d.Receive(ctx)
			must(err)
			for _, e := range events {
				must(e.Err)
			}
		}
	}
	var g goldenEngine
	say := func(d *enginetest.Device, text string) []byte {
		t.Helper()
		sealed, err := d.EncryptMessage(ctx, "room", []byte(text))
		must(err)
		g.Texts = append(g.Texts, goldenText{sealed, text})
		return sealed
	}

	must(alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}))
	must(alice.Add(ctx, "room", "bob", "carol"))
	receive(bob, carol)
	say(bob, "skipped, in an epoch that is over")
	_, err = alice.DecryptMessage(ctx, "room", say(bob, "read"))
	must(err)
	g.Texts = g.Texts[:1]
	_, err = bob.UpdateKeyMaterial(ctx, "room")
	must(err)
	receive(alice, carol)
	say(carol, "skipped")
	say(carol, "skipped as well")
	_, err = alice.DecryptMessage(ctx, "room", say(carol, "read"))
	must(err)
	g.Texts = g.Texts[:3]
	say(bob, "new")

	// Bob ends the epoch. Alice has read of the next one, and tries to end it herself.
	_, err = bob.UpdateKeyMaterial(ctx, "room")
	must(err)
	g.Commit = ds.Waiting("alice", 1)[0].Message
	g.Early = "early"
	early, err := bob.EncryptMessage(ctx, "room", []byte(g.Early))
	must(err)
	got, err := alice.DecryptMessage(ctx, "room", early)
	must(err)
	if got.Outcome != conclave.OutcomeBufferedFutureMessage {
		t.Fatalf("outcome %v", got.Outcome)
	}
	c, err := mine.Client(ctx, "alice", conclave.ClientOptions{Transport: deadLine{}})
	must(err)
	if _, err := c.UpdateKeyMaterial(ctx, "room"); !errors.Is(err, conclave.CodeCommitInDoubt) {
		t.Fatal(err)
	}
	must(c.SetData(ctx, []byte("golden")))
	must(c.PutPSK(ctx, []byte("id"), conclave.Secret("a pre-shared key")))
	g.Authenticator = authenticator(t, bob, "room")

	must(bob.CreateConversation(ctx, "later", conclave.ConversationOptions{}))
	must(bob.Add(ctx, "later", "alice"))
	g.Welcome = ds.Waiting("alice", 2)[1].Message
	g.WelcomeAuthenticator = authenticator(t, bob, "later")

	mine.Kill()
	copyFiles(t, state, filepath.Join(dir, "engine"))
	b, err := json.MarshalIndent(g, "", "\t")
	must(err)
	must(os.WriteFile(filepath.Join(dir, "golden.json"), append(b, '\n'), 0o644))
}

func authenticator(t *testing.T, d *enginetest.Device, id conclave.ConversationID) []byte {
	t.Helper()
	state, err := d.Conversation(id).State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state.EpochAuthenticator.Clone()
}
