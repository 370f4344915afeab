package conclave_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave"
)

// Past bugs of CoreCrypto in Proteus and history sharing, as tests; docs/corecrypto.md lists them.

// TestPitfallP1SessionsAreFound fills more sessions than a cache holds and finds each of them again in a new engine: they exist, decrypt and are deleted.
func TestPitfallP1SessionsAreFound(t *testing.T) {
	const n = 250
	ctx := t.Context()
	dir := t.TempDir()
	peer := openProteus(t, proteusEngine(t), "peer")
	open := func() (*proteusDevice, *conclave.Engine) {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		return openProteus(t, e, "device"), e
	}
	id := func(i int) conclave.SessionID { return conclave.SessionID(fmt.Sprintf("session %03d", i)) }
	d, e := open()
	bundle, err := d.LastResortPreKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := peer.SessionFromPreKey(ctx, id(i), bundle); err != nil {
			t.Fatal(err)
		}
		d.wantText(id(i), peer.encrypt(id(i), "first"), "first")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	d, e = open()
	for i := range n {
		if ok, err := d.SessionExists(ctx, id(i)); err != nil || !ok {
			t.Fatalf("%s exists: %t, %v", id(i), ok, err)
		}
		d.wantText(id(i), peer.encrypt(id(i), "second"), "second")
		if err := d.DeleteSession(ctx, id(i)); err != nil {
			t.Fatal(err)
		}
		if ok, err := d.SessionExists(ctx, id(i)); err != nil || ok {
			t.Fatalf("%s exists after it was deleted: %t, %v", id(i), ok, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPitfallP2BatchLeavesOutUnknown names sessions that do not exist.
func TestPitfallP2BatchLeavesOutUnknown(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(alice, "bob", bob)
	envelopes, err := alice.EncryptBatch(ctx, []conclave.SessionID{"nobody", "bob", "no one"}, []byte("x"))
	if err != nil || len(envelopes) != 1 {
		t.Fatalf("%d envelopes, %v", len(envelopes), err)
	}
	bob.wantText("alice", envelopes["bob"], "x")
}

// TestPitfallP3PreKeyIDs uses prekeys up and makes new ones: the lowest id that is free is taken, never that of the last resort.
func TestPitfallP3PreKeyIDs(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	bundles := make(map[uint16][]byte)
	for want := uint16(1); want <= 8; want++ {
		id, bundle, err := alice.NewPreKeyAuto(ctx)
		if err != nil || id != want {
			t.Fatalf("id %d, %v, want %d", id, err, want)
		}
		bundles[id] = bundle
	}
	if err := bob.SessionFromPreKey(ctx, "alice", bundles[5]); err != nil {
		t.Fatal(err)
	}
	alice.wantText("bob", bob.encrypt("alice", "x"), "x")
	for _, want := range []uint16{5, 9} {
		if id, _, err := alice.NewPreKeyAuto(ctx); err != nil || id != want {
			t.Errorf("id %d, %v, want %d", id, err, want)
		}
	}
}

// TestPitfallP4AbortKeepsPreKey aborts the transaction of a first message.
func TestPitfallP4AbortKeepsPreKey(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(bob, "alice", alice)
	first := bob.encrypt("alice", "x")
	no := errors.New("no")
	err := alice.client.Transaction(ctx, func(tx *conclave.Tx) error {
		if _, err := tx.Proteus().SessionFromMessage(ctx, "bob", first); err != nil {
			t.Error(err)
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	alice.wantText("bob", first, "x")
}

// TestPitfallP5SecondFirstMessage: a peer that has lost its session begins anew, and both go on.
func TestPitfallP5SecondFirstMessage(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	for _, round := range []string{"first", "second"} {
		meet(bob, "alice", alice) // in the place of what bob had
		alice.wantText("bob", bob.encrypt("alice", round), round)
		alice.wantText("bob", bob.encrypt("alice", round+" again"), round+" again")
		bob.wantText("alice", alice.encrypt("bob", "back "+round), "back "+round)
		alice.wantText("bob", bob.encrypt("alice", "on "+round), "on "+round)
	}
	if err := bob.DeleteSession(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
}

// TestPitfallP6ErrorCodes: every error of the protocol has a code of the facade and the number that Wire's clients know.
func TestPitfallP6ErrorCodes(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(alice, "bob", bob)
	first := alice.encrypt("bob", "x")
	bob.wantText("alice", first, "x")
	broken := alice.encrypt("bob", "y")
	broken[len(broken)-1] ^= 1
	for _, c := range []struct {
		name    string
		message []byte
		number  uint16
		code    conclave.Code
	}{
		{"nothing", nil, 501, conclave.CodeProteus},
		{"no message", []byte{0xa0}, 3, conclave.CodeProteus},
		{"a duplicate", first, 209, conclave.CodeDuplicateMessage},
		{"a forgery, its prekey used up", broken, 101, conclave.CodeProteus},
	} {
		_, err := bob.Decrypt(ctx, "alice", c.message)
		wantCode(t, err, c.code)
		if pe, ok := errors.AsType[*conclave.ProteusError](err); !ok || pe.Code() != c.number {
			t.Errorf("%s: %v, want number %d", c.name, err, c.number)
		}
	}
	_, err := bob.Decrypt(ctx, "nobody", first)
	wantCode(t, err, conclave.CodeSessionNotFound)
}

// TestPitfallP7InitTwice: the second Init finds the identity of the first, also in a new engine.
func TestPitfallP7InitTwice(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	var seen string
	for range 2 {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			own, err := openProteus(t, e, "device").Fingerprint(ctx)
			if err != nil || seen != "" && own != seen {
				t.Errorf("fingerprint %s, %v, before it was %s", own, err, seen)
			}
			seen = own
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPitfallP8ReloadSessions: the function that was lost is there, and loses nothing. TestAPIDocument holds all functions of the seeds.
func TestPitfallP8ReloadSessions(t *testing.T) {
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(alice, "bob", bob)
	bob.wantText("alice", alice.encrypt("bob", "before"), "before")
	if err := alice.ReloadSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob.wantText("alice", alice.encrypt("bob", "after"), "after")
}

// TestPitfallG14HistoryClientAfterItsCommit refuses the commit that brings a history client: the conversation stays where it was, and goes on.
func TestPitfallG14HistoryClientAfterItsCommit(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	alice, bob := w.sharer("alice", conclave.ClientOptions{}), w.sharer("bob", conclave.ClientOptions{})
	w.group("c", "alice", "bob")
	refusing, err := w.engine.Client(ctx, "alice", conclave.ClientOptions{Transport: refusal(make(chan struct{}, 1))})
	if err != nil {
		t.Fatal(err)
	}
	err = refusing.Transaction(ctx, func(tx *conclave.Tx) error {
		_, err := tx.EnableHistorySharing(ctx, "c")
		return err
	})
	wantCode(t, err, conclave.CodeMessageRejected)
	wantEpoch(t, alice.Device, "c", 1)
	alice.quiet(t)
	if on, err := refusing.IsHistorySharingEnabled(ctx, "c"); err != nil || on {
		t.Errorf("history sharing is on: %t, %v", on, err)
	}
	sealed, err := bob.EncryptMessage(ctx, "c", []byte("still here"))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, alice.Device, "c", sealed, "still here")
}
