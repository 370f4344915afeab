package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// pipes are the ends of a running bot's input and output.
type pipes struct {
	t      *testing.T
	in     io.WriteCloser
	lines  *json.Decoder
	engine *conclave.Engine
	ended  chan error
}

func start(t *testing.T, dir string) *pipes {
	t.Helper()
	engine, err := conclave.Open(t.Context(), dir, conclave.Options{Key: make(conclave.Secret, conclave.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	in, toBot := io.Pipe()
	fromBot, out := io.Pipe()
	p := &pipes{t, toBot, json.NewDecoder(fromBot), engine, make(chan error, 1)}
	go func() {
		p.ended <- run(context.WithoutCancel(t.Context()), engine, in, out)
		_ = out.Close()
	}()
	return p
}

func (p *pipes) stop() {
	p.t.Helper()
	_ = p.in.Close()
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
	if err := p.engine.Close(); err != nil {
		p.t.Error(err)
	}
}

func (p *pipes) put(l line) {
	p.t.Helper()
	if err := json.NewEncoder(p.in).Encode(l); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipes) next() (l line) {
	p.t.Helper()
	if err := p.lines.Decode(&l); err != nil {
		p.t.Fatalf("%v, the bot ended with %v", err, <-p.ended)
	}
	return l
}

// ask hands the bot a message of a chat and returns its answer there.
func (p *pipes) ask(protocol, chat string, message []byte) []byte {
	p.t.Helper()
	p.put(line{Protocol: protocol, Chat: chat, Message: message})
	l := p.next()
	if l.Protocol != protocol || l.Chat != chat {
		p.t.Fatalf("an answer in chat %q of %q", l.Chat, l.Protocol)
	}
	return l.Message
}

func TestEchobot(t *testing.T) {
	var complaints bytes.Buffer // written by the bot, read after it has ended
	log.SetOutput(&complaints)
	defer log.SetOutput(os.Stderr)
	ctx := t.Context()
	world, err := conclave.Open(ctx, "", conclave.Options{InMemory: true, SendTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = world.Close() }()
	ds := enginetest.NewDeliveryService()
	alice, err := enginetest.Open(ctx, world, ds, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Proteus().Init(ctx); err != nil {
		t.Fatal(err)
	}
	if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}

	talk := func(p *pipes, text string) {
		t.Helper()
		sealed, err := alice.EncryptMessage(ctx, "room", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := alice.DecryptMessage(ctx, "room", p.ask("mls", "room", sealed))
		if err != nil || string(answer.Plaintext) != text {
			t.Errorf("to %q in MLS the answer was %q, %v", text, []byte(answer.Plaintext), err)
		}
		p.put(line{Protocol: "mls", Chat: "room", Message: sealed}) // again: it says nothing
		if sealed, err = alice.Proteus().Encrypt(ctx, "bot", []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := alice.Proteus().Decrypt(ctx, "bot", p.ask("proteus", "alice", sealed))
		if err != nil || string(got) != text {
			t.Errorf("to %q in Proteus the answer was %q, %v", text, []byte(got), err)
		}
		p.put(line{Protocol: "proteus", Chat: "alice", Message: sealed})
	}

	dir := t.TempDir()
	bot := start(t, dir)
	first := bot.next()
	if _, err := alice.AddMembers(ctx, "room", first.KeyPackage); err != nil {
		t.Fatal(err)
	}
	if err := alice.Proteus().SessionFromPreKey(ctx, "bot", first.PreKey); err != nil {
		t.Fatal(err)
	}
	bot.put(line{Welcome: ds.Waiting("echobot", 1)[0].Message})
	if next := bot.next(); bytes.Equal(next.KeyPackage, first.KeyPackage) {
		t.Error("it offers a key package that is used up")
	}
	talk(bot, "hello")
	bot.put(line{Protocol: "smoke", Chat: "hill"})
	bot.put(line{Protocol: "mls", Chat: "nowhere", Message: []byte("x")})
	bot.put(line{Protocol: "proteus", Chat: "nobody", Message: []byte("x")})
	talk(bot, "still there?")
	bot.stop()

	bot = start(t, dir)
	if again := bot.next(); !bytes.Equal(again.PreKey, first.PreKey) {
		t.Error("a new life has another prekey")
	}
	talk(bot, "and now?")
	bot.stop()
	if n := strings.Count(complaints.String(), "\n"); n != 3 || !strings.Contains(complaints.String(), "smoke") {
		t.Errorf("it complained of %d lines, want 3:\n%s", n, complaints.String())
	}
}

// durable is an output that looks whether each key package it gets is stored for all to see.
type durable struct {
	t      *testing.T
	engine *conclave.Engine
	offers int
}

func (d *durable) Write(b []byte) (int, error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil || l.KeyPackage == nil {
		d.t.Errorf("it says %q, %v", b, err)
		return len(b), nil
	}
	bot, err := d.engine.Client(d.t.Context(), "echobot", conclave.ClientOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	stored, err := bot.KeyPackages(d.t.Context())
	if err != nil || !slices.ContainsFunc(stored, func(k conclave.KeyPackageEntry) bool { return bytes.Equal(k.KeyPackage, l.KeyPackage) }) {
		d.t.Errorf("offer %d is not among the %d key packages in store, %v", d.offers, len(stored), err)
	}
	d.offers++
	return len(b), nil
}

// TestOffersLast holds that a key package is said when it is durable, first and after a Welcome.
func TestOffersLast(t *testing.T) {
	ctx, ds := t.Context(), enginetest.NewDeliveryService()
	engine, err := conclave.Open(ctx, "", conclave.Options{InMemory: true, SendTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	out := &durable{t: t, engine: engine}
	if err := run(ctx, engine, strings.NewReader(""), out); err != nil {
		t.Fatal(err)
	}
	alice, err := enginetest.Open(ctx, engine, ds, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bot, err := engine.Client(ctx, "echobot", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := bot.KeyPackages(ctx)
	if err != nil || len(stored) != 1 {
		t.Fatalf("%d key packages, %v", len(stored), err)
	}
	if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.AddMembers(ctx, "room", stored[0].KeyPackage); err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	if err := json.NewEncoder(&in).Encode(line{Welcome: ds.Waiting("echobot", 1)[0].Message}); err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, engine, &in, out); err != nil || out.offers != 3 {
		t.Errorf("%d offers, want 3, %v", out.offers, err)
	}
}

// TestLength holds the program to a hundred lines.
func TestLength(t *testing.T) {
	b, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n > 100 {
		t.Errorf("main.go has %d lines", n)
	}
}
