package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-mls/conclave"
)

// load is the world of "engine load": one engine, its clients, and the conversations made so far.
type load struct {
	options loadOptions
	began   time.Time
	phase   atomic.Pointer[string]
	made    atomic.Int64 // conversations

	engine  *conclave.Engine
	post    post
	clients []*conclave.Client
	silent  [][]byte // key packages of members that never act
	rooms   []*room

	measured atomic.Pointer[measurement] // of the phase
	window   atomic.Pointer[measurement] // of the moment, in the steady phase
}

func (l *load) enter(phase string) { l.phase.Store(&phase) }

// operation is a kind of call that is measured.
type operation int

const (
	opEncrypt operation = iota
	opDecrypt
	opCommit
	opProcess
	opCreate
	opAdd
	opJoin
	operations
)

func (op operation) String() string {
	return [operations]string{"encrypt", "decrypt", "commit", "process a commit", "create", "add", "join"}[op]
}

// measurement holds the durations of one phase or one window of it.
type measurement struct {
	began time.Time
	ops   [operations]histogram
}

func newMeasurement() *measurement { return &measurement{began: time.Now()} }

// time measures a call, where something is being measured.
func (l *load) time(op operation, call func() error) error {
	began := time.Now()
	err := call()
	took := time.Since(began)
	for _, m := range []*measurement{l.measured.Load(), l.window.Load()} {
		if m != nil && err == nil {
			m.ops[op].record(took)
		}
	}
	return err
}

// post is a delivery service that accepts every commit and holds it for the conversation that waits for it. The members of a conversation take turns, so there
// is at most one.
type post struct{ bundles sync.Map }

// SendCommitBundle implements [conclave.Transport].
func (p *post) SendCommitBundle(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	p.bundles.Store(b.Conversation, b)
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

func (p *post) take(id conclave.ConversationID) (conclave.CommitBundle, error) {
	v, ok := p.bundles.LoadAndDelete(id)
	b, isBundle := v.(conclave.CommitBundle)
	if !ok || !isBundle {
		return b, fmt.Errorf("no commit was sent in %s", id)
	}
	return b, nil
}

// room is a conversation under load. Only one goroutine at a time works on it.
type room struct {
	id      conclave.ConversationID
	number  int
	members int
	active  []*conclave.Client // the members that act
	random  *rand.Rand
	sent    uint64
	text    []byte // the last one sent
}

// open opens the engine, its clients, and the key packages of members that never act.
func (l *load) open(ctx context.Context, dir string, key conclave.Secret) (err error) {
	o := conclave.Options{Key: key, InMemory: l.options.store == storeMemory, NoSync: l.options.store == storeUnsynced, IdleAfter: -1, StateBytes: -1}
	o.SendTimeout = 24 * time.Hour // the post answers at once, however long a busy machine takes over it
	if l.options.state > 0 {
		o.StateBytes = int64(l.options.state) << 20
	}
	if l.engine, err = conclave.Open(ctx, dir, o); err != nil {
		return err
	}
	l.clients = make([]*conclave.Client, l.options.clients)
	suites := []conclave.CipherSuite{conclave.CipherSuite(l.options.suite)}
	err = parallel(ctx, len(l.clients), func(i int) (err error) {
		l.clients[i], err = l.engine.Client(ctx, conclave.ClientID(fmt.Sprintf("client %05d", i)), conclave.ClientOptions{CipherSuites: suites, Transport: &l.post})
		return err
	})
	if err != nil {
		return err
	}
	most := 0
	for _, n := range l.options.members {
		most = max(most, n)
	}
	return l.makeSilent(ctx, most-l.options.mix.readers()-1)
}

// makeSilent makes key packages in an engine of their own, whose private keys go with it.
func (l *load) makeSilent(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	e, err := conclave.Open(ctx, "", conclave.Options{InMemory: true})
	if err != nil {
		return err
	}
	l.silent = make([][]byte, n)
	err = parallel(ctx, n, func(i int) error {
		c, err := e.Client(ctx, conclave.ClientID(fmt.Sprintf("silent %05d", i)), conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{conclave.CipherSuite(l.options.suite)}})
		if err != nil {
			return err
		}
		made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
		if err == nil {
			l.silent[i] = made[0].KeyPackage
		}
		return err
	})
	return errors.Join(err, e.Close())
}

// grow makes conversations until there are n.
func (l *load) grow(ctx context.Context, n int) error {
	first := len(l.rooms)
	for i := first; i < n; i++ {
		random := rand.New(rand.NewPCG(l.options.seed, uint64(i)))
		r := &room{number: i, id: conclave.ConversationID(fmt.Sprintf("load %08d", i)), members: l.options.members[i%len(l.options.members)], random: random}
		start := random.IntN(len(l.clients))
		for k := range l.options.mix.readers() + 1 {
			r.active = append(r.active, l.clients[(start+k)%len(l.clients)])
		}
		l.rooms = append(l.rooms, r)
	}
	return parallel(ctx, n-first, func(i int) error {
		if err := l.found(ctx, l.rooms[first+i]); err != nil {
			return err
		}
		l.made.Add(1)
		return nil
	})
}

// found creates a conversation and adds all members in one commit.
func (l *load) found(ctx context.Context, r *room) error {
	founder := r.active[0]
	if err := l.time(opCreate, func() error { return founder.CreateConversation(ctx, r.id, conclave.ConversationOptions{}) }); err != nil {
		return err
	}
	others := append([][]byte(nil), l.silent[:r.members-len(r.active)]...)
	for _, c := range r.active[1:] {
		made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
		if err != nil {
			return err
		}
		others = append(others, made[0].KeyPackage)
	}
	if len(others) == 0 {
		return nil
	}
	err := l.time(opAdd, func() error {
		_, err := founder.AddMembers(ctx, r.id, others...)
		return err
	})
	if err != nil {
		return err
	}
	bundle, err := l.post.take(r.id)
	if err != nil {
		return err
	}
	for _, c := range r.active[1:] {
		err := l.time(opJoin, func() error {
			_, err := c.ProcessWelcome(ctx, bundle.Welcome, conclave.JoinOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// step lets one member say something or commit, and the others hear of it.
func (l *load) step(ctx context.Context, r *room) error {
	who := r.random.IntN(len(r.active))
	if r.random.Float64() < l.options.mix.commitShare() {
		return l.commit(ctx, r, who)
	}
	return l.say(ctx, r, who)
}

func (l *load) say(ctx context.Context, r *room, who int) error {
	r.write(l.options.sizes[r.random.IntN(len(l.options.sizes))])
	var sealed []byte
	err := l.time(opEncrypt, func() (err error) {
		sealed, err = r.active[who].EncryptMessage(ctx, r.id, r.text)
		return err
	})
	if err != nil {
		return err
	}
	return l.hear(ctx, r, who, sealed)
}

// hear lets all members but the sender decrypt a message and compares what they get with the text that was sent.
func (l *load) hear(ctx context.Context, r *room, who int, sealed []byte) error {
	for i, c := range r.active {
		if i == who {
			continue
		}
		var got conclave.DecryptedMessage
		err := l.time(opDecrypt, func() (err error) {
			got, err = c.DecryptMessage(ctx, r.id, sealed)
			return err
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(got.Plaintext, r.text) {
			return fmt.Errorf("%s decrypted another text in %s than was sent; please report this with the flags you gave", c.ID(), r.id)
		}
	}
	return nil
}

// write makes the next text: which conversation, the how manieth, and bytes that depend on both.
func (r *room) write(size int) {
	r.sent++
	r.text = binary.BigEndian.AppendUint64(r.text[:0], uint64(r.number))
	r.text = binary.BigEndian.AppendUint64(r.text, r.sent)
	for word := r.random.Uint64(); len(r.text) < size; word = word*6364136223846793005 + 1442695040888963407 {
		r.text = binary.LittleEndian.AppendUint64(r.text, word)
	}
	r.text = r.text[:size]
}

func (l *load) commit(ctx context.Context, r *room, who int) error {
	err := l.time(opCommit, func() error {
		_, err := r.active[who].UpdateKeyMaterial(ctx, r.id)
		return err
	})
	if err != nil {
		return err
	}
	bundle, err := l.post.take(r.id)
	if err != nil {
		return err
	}
	for i, c := range r.active {
		if i == who {
			continue
		}
		var got conclave.DecryptedMessage
		err := l.time(opProcess, func() (err error) {
			got, err = c.DecryptMessage(ctx, r.id, bundle.Commit)
			return err
		})
		if err != nil {
			return err
		}
		if got.Outcome != conclave.OutcomeCommit {
			return fmt.Errorf("%s took a commit in %s for something else; please report this with the flags you gave", c.ID(), r.id)
		}
	}
	return nil
}

// agree compares the states that the members of a conversation have of it.
func (r *room) agree(ctx context.Context) error {
	var first conclave.ConversationState
	for i, c := range r.active {
		state, err := c.Conversation(r.id).State(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			first = state
		} else if state.Epoch != first.Epoch || !state.EpochAuthenticator.Equal(first.EpochAuthenticator) {
			return fmt.Errorf("members of %s do not agree on epoch %d; please report this with the flags you gave", r.id, first.Epoch)
		}
	}
	return nil
}
