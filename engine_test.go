package conclave_test

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var testKey = bytes.Repeat([]byte{7}, conclave.KeySize)

func TestOpen(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	_, err = conclave.Open(ctx, dir, conclave.Options{Key: testKey})
	wantCode(t, err, conclave.CodeDirectoryInUse)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	_, err = e.Client(ctx, "alice", conclave.ClientOptions{})
	wantCode(t, err, conclave.CodeClosed)

	_, err = conclave.Open(ctx, dir, conclave.Options{Key: bytes.Repeat([]byte{8}, conclave.KeySize)})
	wantCode(t, err, conclave.CodeWrongKey)
	for _, o := range []conclave.Options{{}, {Key: testKey[:31]}, {Key: testKey, MaxCalls: -1}, {Key: testKey, SendTimeout: -1}} {
		_, err = conclave.Open(ctx, dir, o)
		wantCode(t, err, conclave.CodeInvalidArgument)
	}
	_, err = conclave.Open(ctx, "", conclave.Options{Key: testKey})
	wantCode(t, err, conclave.CodeInvalidArgument)
	if e, err = conclave.Open(ctx, dir, conclave.Options{Key: testKey}); err != nil {
		t.Fatalf("after the refused ones: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenClient(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	for _, created := range []bool{true, false} {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.Client(ctx, "alice", conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		if c.ID() != "alice" || c.Engine() != e || c.Created() != created || len(c.InDoubt()) != 0 {
			t.Errorf("client %q created %t in doubt %d, want alice %t 0", c.ID(), c.Created(), len(c.InDoubt()), created)
		}
		for suite, size := range map[conclave.CipherSuite]int{1: 32, 2: 65, 3: 32} {
			if key, err := c.PublicKey(ctx, suite); err != nil || len(key) != size {
				t.Errorf("suite %d: public key of %d bytes, %v; want %d", suite, len(key), err, size)
			}
		}
		_, err = c.PublicKey(ctx, 7)
		wantCode(t, err, conclave.CodeCredentialNotFound)
		if ids, err := e.Clients(ctx); err != nil || len(ids) != 1 || ids[0] != "alice" {
			t.Errorf("clients %q, %v; want alice", ids, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRandomBytes(t *testing.T) {
	w := newWorld(t)
	a, err := w.engine.RandomBytes(32)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.engine.RandomBytes(32)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != 32 || bytes.Equal(a, b) {
		t.Errorf("%x then %x, want two different ones of 32 bytes", a, b)
	}
	for _, length := range []int{-1, 1<<20 + 1} {
		_, err := w.engine.RandomBytes(length)
		wantCode(t, err, conclave.CodeInvalidArgument)
	}
}

// TestKill opens the directory again after a crash and goes on.
func TestKill(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	w := &world{t: t, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*enginetest.Device)}
	reopen := func() {
		var err error
		if w.engine, err = conclave.Open(ctx, dir, conclave.Options{Key: testKey}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []conclave.ClientID{"alice", "bob"} {
			w.open(name, conclave.ClientOptions{})
		}
	}
	reopen()
	w.group("room", "alice", "bob")
	w.engine.Kill()
	_, err := w.devices["alice"].EncryptMessage(ctx, "room", []byte("lost"))
	if err == nil {
		t.Error("a killed engine encrypts")
	}

	reopen()
	if err := w.devices["alice"].Say(ctx, "room", []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if got := w.settle()["bob"]; len(got) != 1 || got[0] != "still here" {
		t.Errorf("bob read %q", got)
	}
	w.agree("room")
	if err := w.engine.Close(); err != nil {
		t.Error(err)
	}
}
