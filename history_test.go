package conclave_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// sharer is a device whose application hears of history clients.
type sharer struct {
	*enginetest.Device
	created chan conclave.HistoryClientCreated
}

func (w *world) sharer(name conclave.ClientID, o conclave.ClientOptions) sharer {
	created := make(chan conclave.HistoryClientCreated, 16)
	o.Observer.HistoryClientCreated = func(e conclave.HistoryClientCreated) { created <- e }
	return sharer{w.open(name, o), created}
}

func (s sharer) event(t *testing.T) conclave.HistoryClientCreated {
	t.Helper()
	select {
	case e := <-s.created:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no history client was told of")
		return conclave.HistoryClientCreated{}
	}
}

// quiet fails the test if there is an event, which an epoch event behind it would have followed.
func (s sharer) quiet(t *testing.T) {
	t.Helper()
	select {
	case e := <-s.created:
		t.Errorf("%s was told of %s", s.ID(), e.ClientID)
	default:
	}
}

// reader opens a history client in an engine of its own, and lets it join.
func (w *world) reader(secret []byte) *conclave.Client {
	w.t.Helper()
	e, err := conclave.Open(w.t.Context(), "", conclave.Options{InMemory: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = e.Close() })
	c, err := e.HistoryClient(w.t.Context(), secret, conclave.ClientOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.read(c)
	return c
}

// read lets a history client process what waits for it and returns the texts.
func (w *world) read(c *conclave.Client) []string {
	w.t.Helper()
	events, err := (&enginetest.Device{Client: c, Delivery: w.ds}).Receive(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		if e.Err != nil {
			w.t.Fatal(e.Err)
		}
		texts = append(texts, e.Texts()...)
	}
	return texts
}

// TestHistorySharing follows a conversation from its first history client to its last: members get each secret once, and who has one reads from its epoch on.
func TestHistorySharing(t *testing.T) {
	for _, cs := range []conclave.CipherSuite{1, 2} {
		w := newWorld(t)
		ctx := t.Context()
		o := conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{cs}}
		alice, bob, carol := w.sharer("alice", o), w.sharer("bob", o), w.sharer("carol", o)
		w.group("c", "alice", "bob", "carol")

		merged, err := alice.EnableHistorySharing(ctx, "c")
		if err != nil || !merged.Sent || merged.Epoch != 2 {
			t.Fatalf("%+v, %v", merged, err)
		}
		first := alice.event(t)
		if first.Conversation != "c" || first.Epoch != 2 || !strings.HasPrefix(string(first.ClientID), "history-client:") {
			t.Errorf("event %+v", first)
		}
		texts := w.settle()
		for _, name := range []conclave.ClientID{"bob", "carol"} {
			if len(texts[name]) != 1 || texts[name][0] != string(first.Secret) {
				t.Errorf("%s was not sent the secret", name)
			}
		}
		history := w.reader(first.Secret)
		if history.ID() != first.ClientID {
			t.Errorf("the history client is %s, want %s", history.ID(), first.ClientID)
		}
		if err := carol.Say(ctx, "c", []byte("for later")); err != nil {
			t.Fatal(err)
		}
		if got := w.read(history); len(got) != 1 || got[0] != "for later" {
			t.Errorf("the history client reads %q", got)
		}
		_, err = history.EncryptMessage(ctx, "c", []byte("I am nobody"))
		wantCode(t, err, conclave.CodeCredentialNotFound)
		_, err = history.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
		if err == nil {
			t.Error("a history client signs key packages")
		}
		for _, d := range w.devices {
			if on, err := d.IsHistorySharingEnabled(ctx, "c"); err != nil || !on {
				t.Errorf("%s: enabled %t, %v", d.ID(), on, err)
			}
			if ids, err := d.ClientIDs(ctx, "c"); err != nil || len(ids) != 3 {
				t.Errorf("%s: client ids %q, %v", d.ID(), ids, err)
			}
		}
		if merged, err := bob.EnableHistorySharing(ctx, "c"); err != nil || merged.Sent || merged.Epoch != 2 {
			t.Errorf("for a second time: %+v, %v", merged, err)
		}
		// Nobody goes, so the history client stays.
		if _, err := bob.UpdateKeyMaterial(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		bob.quiet(t)

		// Carol goes, proposed by one and committed by another: a new secret, that she does not get.
		removal, err := alice.ProposeRemove(ctx, "c", "carol")
		if err != nil {
			t.Fatal(err)
		}
		w.ds.Send("alice", "c", removal.Message)
		w.settle()
		if _, err := bob.CommitPendingProposals(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		second := bob.event(t)
		if second.ClientID == first.ClientID || second.Epoch != 4 {
			t.Errorf("event %+v after %+v", second, first)
		}
		texts = w.settle()
		if len(texts["alice"]) != 1 || texts["alice"][0] != string(second.Secret) || len(texts["carol"]) != 0 {
			t.Errorf("alice has %d texts, carol %d", len(texts["alice"]), len(texts["carol"]))
		}
		w.read(history)
		if exists, err := history.ConversationExists(ctx, "c"); err != nil || exists {
			t.Errorf("the old history client is a member: %t, %v", exists, err)
		}
		next := w.reader(second.Secret)
		members, err := alice.Conversation("c").Members(ctx)
		if err != nil || len(members) != 3 {
			t.Errorf("%d members, %v; want alice, bob and one history client", len(members), err)
		}

		if merged, err := alice.DisableHistorySharing(ctx, "c"); err != nil || !merged.Sent {
			t.Errorf("%+v, %v", merged, err)
		}
		w.settle()
		w.read(next)
		if exists, err := next.ConversationExists(ctx, "c"); err != nil || exists {
			t.Errorf("the last history client is a member: %t, %v", exists, err)
		}
		if merged, err := bob.DisableHistorySharing(ctx, "c"); err != nil || merged.Sent {
			t.Errorf("for a second time: %+v, %v", merged, err)
		}
		if _, err := bob.RemoveMembers(ctx, "c", "alice"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		for _, s := range []sharer{alice, bob, carol} {
			s.quiet(t)
		}
		w.agree("c")
	}
}

// wrapping is a transport whose application packs history secrets.
type wrapping struct {
	*enginetest.Transport
	err error
}

func (wr wrapping) PrepareHistorySecret(_ context.Context, id conclave.ConversationID, s conclave.Secret) (conclave.Secret, error) {
	return append([]byte("history of "+string(id)+": "), s...), wr.err
}

// TestPrepareHistorySecret has the application pack the secret, and then fail to: nothing is sent and nothing has changed.
func TestPrepareHistorySecret(t *testing.T) {
	w := newWorld(t, "bob")
	ctx := t.Context()
	open := func(err error) *enginetest.Device {
		transport := w.ds.Transport("alice")
		c, openErr := w.engine.Client(ctx, "alice", conclave.ClientOptions{Transport: wrapping{transport, err}})
		if openErr != nil {
			t.Fatal(openErr)
		}
		return &enginetest.Device{Client: c, Delivery: w.ds, Transport: transport}
	}
	alice := open(errors.New("no paper"))
	if err := alice.CreateConversation(ctx, "c", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Add(ctx, "c", "bob"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	_, err := alice.EnableHistorySharing(ctx, "c")
	wantCode(t, err, conclave.CodeNotSent)
	wantEpoch(t, alice, "c", 1)
	alice = open(nil)
	if _, err := alice.EnableHistorySharing(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	texts := w.settle()["bob"]
	if len(texts) != 1 || !strings.HasPrefix(texts[0], "history of c: ") {
		t.Fatalf("bob has %d texts", len(texts))
	}
	w.reader([]byte(strings.TrimPrefix(texts[0], "history of c: ")))
}

// TestHistoryInDoubt loses the answer to the commit that brings a history client, and then the engine: when the commit is settled the application is told,
// once, of the same client as the members.
func TestHistoryInDoubt(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	ds := enginetest.NewDeliveryService()
	transport := ds.Transport("alice")
	created := make(chan conclave.HistoryClientCreated, 4)
	observer := conclave.Observer{HistoryClientCreated: func(e conclave.HistoryClientCreated) { created <- e }}
	open := func() *conclave.Engine {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey, RetryPause: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	alice, err := enginetest.Open(ctx, e, ds, "alice", conclave.ClientOptions{Transport: transport, Observer: observer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enginetest.Open(ctx, e, ds, "bob", conclave.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := alice.CreateConversation(ctx, "c", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Add(ctx, "c", "bob"); err != nil {
		t.Fatal(err)
	}
	lose := true
	transport.Before = func(context.Context, conclave.CommitBundle) enginetest.Fault {
		if lose {
			lose = false
			return enginetest.FaultLoseAnswer
		}
		return enginetest.FaultHang // nothing settles it in this run
	}
	_, err = alice.EnableHistorySharing(ctx, "c")
	wantCode(t, err, conclave.CodeCommitInDoubt)
	select {
	case <-created:
		t.Error("the application was told of what is in doubt")
	default:
	}
	e.Kill()

	transport = ds.Transport("alice")
	e = open()
	defer func() { _ = e.Close() }()
	if alice, err = enginetest.Open(ctx, e, ds, "alice", conclave.ClientOptions{Transport: transport, Observer: observer}); err != nil {
		t.Fatal(err)
	}
	bob, err := enginetest.Open(ctx, e, ds, "bob", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var told conclave.HistoryClientCreated
	select {
	case told = <-created:
	case <-time.After(time.Minute):
		t.Fatal("the application was not told")
	}
	events, err := bob.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		texts = append(texts, e.Texts()...)
	}
	if len(texts) != 1 || !bytes.Equal([]byte(texts[0]), told.Secret) {
		t.Errorf("bob has %d texts, none of which need be the secret", len(texts))
	}
	// The message that went with the commit has used its key: the next one uses another.
	if err := alice.Say(ctx, "c", []byte("after it")); err != nil {
		t.Fatal(err)
	}
	if events, err = bob.Receive(ctx); err != nil || len(events) != 1 || len(events[0].Texts()) != 1 {
		t.Errorf("bob got %+v, %v", events, err)
	}
	if len(created) != 0 {
		t.Error("the application was told twice")
	}
}

// TestHistorySecret: what is no secret of a history client opens none.
func TestHistorySecret(t *testing.T) {
	w := newWorld(t, "alice")
	signer := newExternalSigner(t, 1)
	signer.Credential = mlsgroup.BasicCredential([]byte("mallory"))
	bundle, err := mlsgroup.NewKeyPackage(mlsgroup.Input{Rand: rand.Reader, Now: time.Now(), Signer: signer}, mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"nothing": nil, "noise": []byte("noise"), "another client's": bundle.Marshal()} {
		if _, err := w.engine.HistoryClient(t.Context(), secret, conclave.ClientOptions{}); !errors.Is(err, conclave.CodeInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if clients, err := w.engine.Clients(t.Context()); err != nil || len(clients) != 1 {
		t.Errorf("clients %q, %v", clients, err)
	}
}
