package actors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// world is a small one: a store, a System, a delivery service, and clients.
type world struct {
	t       *testing.T
	store   *store.Store
	sys     *System
	options Options
	service *service
	peers   map[string]*peer
	profile messages.Profile
}

// peer is a client of the world, and an address of its own.
type peer struct {
	*world
	name     string
	instance messages.Instance
	read     map[messages.ConversationID]int // how much of the service's log it has seen
	events   chan messages.EpochChanged
}

const conv = messages.ConversationID("conversation")

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	s, err := store.Open("", store.Options{Key: make(secret.Bytes, store.KeySize), InMemory: true, CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s, service: newService(), peers: make(map[string]*peer)}
	if strings.Contains(t.Name(), "RFC") {
		w.profile = messages.ProfileRFC9420
	}
	w.options = Options{
		Store: s, Rand: rand.Reader, Now: time.Now, RetryPause: time.Millisecond, SendTimeout: time.Hour,
	}
	for _, f := range change {
		f(&w.options)
	}
	w.start()
	t.Cleanup(func() {
		w.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.sys, err = Start(w.options); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.sys.Close(ctx); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

// reopen starts another System over the same records, with the same clients.
func (w *world) reopen() {
	w.t.Helper()
	w.stop()
	w.start()
	for _, p := range w.peers {
		p.open()
	}
}

// peer opens a client.
func (w *world) peer(name string) *peer {
	w.t.Helper()
	p := &peer{world: w, name: name, read: make(map[messages.ConversationID]int), events: make(chan messages.EpochChanged, 1000)}
	w.peers[name] = p
	p.open()
	return p
}

func (p *peer) open() messages.ClientReady {
	p.t.Helper()
	ready := ask[messages.ClientReady](p.t, p.sys, messages.Address{}, messages.InitClient{
		ClientID: messages.ClientID(p.name), Transport: &connection{p.service, p.name},
		// Tests read in any order.
		Receive: mlsgroup.ReceiveConfig{OutOfOrder: 1000}, Profile: p.profile,
		Observer: messages.Observer{EpochChanged: func(e messages.EpochChanged) { p.events <- e }},
	})
	p.instance = ready.Instance
	return ready
}

func ask[R messages.Reply](t *testing.T, s *System, to messages.Address, r messages.Request) R {
	t.Helper()
	reply, err := s.Ask(context.Background(), to, r)
	if err != nil {
		t.Fatalf("%T: %v", r, err)
	}
	typed, ok := reply.(R)
	if !ok {
		t.Fatalf("%T was answered with %T", r, reply)
	}
	return typed
}

func (p *peer) at(id messages.ConversationID) messages.Address {
	return messages.Address{Instance: p.instance, Conversation: id}
}

func (p *peer) in(id messages.ConversationID, tx messages.TransactionID) messages.Address {
	return messages.Address{Instance: p.instance, Conversation: id, Transaction: tx}
}

func (p *peer) try(to messages.Address, r messages.Request) error {
	_, err := p.sys.Ask(context.Background(), to, r)
	return err
}

func (p *peer) begin() messages.TransactionID {
	p.t.Helper()
	return ask[messages.TransactionBegun](p.t, p.sys, p.at(""), messages.Begin{}).Transaction
}

func (p *peer) finish(tx messages.TransactionID) messages.Finished {
	p.t.Helper()
	return ask[messages.Finished](p.t, p.sys, p.in("", tx), messages.Finish{})
}

func (p *peer) abort(tx messages.TransactionID) messages.Aborted {
	p.t.Helper()
	return ask[messages.Aborted](p.t, p.sys, p.in("", tx), messages.Abort{})
}

func (p *peer) create(id messages.ConversationID) {
	p.t.Helper()
	ask[messages.ConversationCreated](p.t, p.sys, p.at(id), messages.CreateConversation{})
}

func (p *peer) keyPackage() []byte {
	p.t.Helper()
	return ask[messages.KeyPackagesGenerated](p.t, p.sys, p.at(""), messages.GenerateKeyPackages{Count: 1}).KeyPackages[0].KeyPackage
}

// add adds others to a conversation and lets them join.
func (p *peer) add(id messages.ConversationID, others ...*peer) {
	p.t.Helper()
	var packages [][]byte
	for _, o := range others {
		packages = append(packages, o.keyPackage())
	}
	ask[messages.CommitMerged](p.t, p.sys, p.at(id), messages.AddMembers{KeyPackages: packages})
	bundle := p.service.last(id)
	for _, o := range others {
		ask[messages.ConversationJoined](p.t, p.sys, o.at(""), messages.ProcessWelcome{Message: bundle.Welcome})
		o.read[id] = p.service.length(id)
	}
	p.read[id] = p.service.length(id)
}

func (p *peer) encrypt(to messages.Address, text string) []byte {
	p.t.Helper()
	return ask[messages.MessageEncrypted](p.t, p.sys, to, messages.EncryptMessage{Plaintext: []byte(text)}).Message
}

func (p *peer) decrypt(to messages.Address, message []byte) messages.MessageDecrypted {
	p.t.Helper()
	return ask[messages.MessageDecrypted](p.t, p.sys, to, messages.DecryptMessage{Message: message})
}

// expectText decrypts a message and compares.
func (p *peer) expectText(id messages.ConversationID, message []byte, want string) {
	p.t.Helper()
	got := p.decrypt(p.at(id), message)
	if got.Outcome != messages.OutcomeText || string(got.Plaintext) != want {
		p.t.Errorf("%s: got %v %q, want %q", p.name, got.Outcome, []byte(got.Plaintext), want)
	}
}

// sync processes what the service has accepted and this peer has not seen.
func (p *peer) sync(id messages.ConversationID) {
	p.t.Helper()
	for _, b := range p.service.since(id, p.read[id]) {
		p.read[id]++
		if _, err := p.sys.Ask(context.Background(), p.at(id), messages.DecryptMessage{Message: b.Commit}); err != nil && !messages.Ignorable(err) {
			p.t.Fatalf("%s: commit of epoch %d: %v", p.name, b.Epoch, err)
		}
	}
}

func (p *peer) state(id messages.ConversationID) messages.ConversationRead {
	p.t.Helper()
	return ask[messages.ConversationRead](p.t, p.sys, p.at(id), messages.ReadConversation{})
}

// awaitEpoch waits until the peer enters an epoch, and asks for nothing meanwhile.
func (p *peer) awaitEpoch(epoch uint64) {
	p.t.Helper()
	for {
		select {
		case e := <-p.events:
			if e.Epoch == epoch {
				return
			}
		case <-time.After(time.Minute):
			p.t.Fatalf("%s does not come to epoch %d", p.name, epoch)
		}
	}
}

// agree fails unless all are in one epoch with one secret.
func agree(t *testing.T, id messages.ConversationID, peers ...*peer) {
	t.Helper()
	first := peers[0].state(id)
	for _, p := range peers[1:] {
		got := p.state(id)
		if !got.Exists || got.Epoch != first.Epoch || !got.EpochAuthenticator.Equal(first.EpochAuthenticator) {
			t.Errorf("%s is in epoch %d, %s in %d, or they do not agree", p.name, got.Epoch, peers[0].name, first.Epoch)
		}
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func wantErrorAs[E error](t *testing.T, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Errorf("got error %v, want a %T", err, e)
	}
	return e
}

// service is a delivery service with one commit for each epoch.
type service struct {
	mu   sync.Mutex
	logs map[messages.ConversationID][]messages.CommitBundle
	// hook is asked first; a zero kind and a nil error leave it to the service.
	hook func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error)
	// status answers CommitStatus; nil means that it cannot say.
	status func(b [32]byte) (messages.Verdict, error)
	sent   []messages.CommitBundle // all that came, in order
	full   bool                    // takes no commit that it does not have
}

func newService() *service {
	return &service{logs: make(map[messages.ConversationID][]messages.CommitBundle)}
}

// connection is the service as one client sees it.
type connection struct {
	service *service
	from    string
}

func (c *connection) SendCommitBundle(ctx context.Context, b messages.CommitBundle) (messages.Verdict, error) {
	s := c.service
	s.mu.Lock()
	hook := s.hook
	s.sent = append(s.sent, b)
	s.mu.Unlock()
	if hook != nil {
		if v, err := hook(ctx, c.from, b); v.Kind != 0 || err != nil {
			return v, err
		}
	}
	return s.accept(b), nil
}

func (c *connection) CommitStatus(_ context.Context, id messages.ConversationID, epoch uint64, hash [32]byte) (messages.Verdict, error) {
	c.service.mu.Lock()
	status := c.service.status
	c.service.mu.Unlock()
	if status == nil {
		return messages.Verdict{}, errors.New("cannot say")
	}
	return status(hash)
}

// accept takes a commit if it is the first of its epoch, or the one that was.
func (s *service) accept(b messages.CommitBundle) messages.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[b.Conversation]
	for _, old := range log {
		if old.Hash == b.Hash {
			return messages.Verdict{Kind: messages.VerdictAccepted}
		}
		if old.Epoch == b.Epoch {
			return messages.Verdict{Kind: messages.VerdictRefused, Reason: fmt.Sprintf("epoch %d is over", b.Epoch)}
		}
	}
	if s.full {
		return messages.Verdict{Kind: messages.VerdictRefused, Reason: "full"}
	}
	s.logs[b.Conversation] = append(log, b)
	return messages.Verdict{Kind: messages.VerdictAccepted}
}

func (s *service) set(hook func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (s *service) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *service) setStatus(status func([32]byte) (messages.Verdict, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *service) since(id messages.ConversationID, n int) []messages.CommitBundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs[id][n:])
}

func (s *service) last(id messages.ConversationID) messages.CommitBundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[id]
	return log[len(log)-1]
}

func (s *service) length(id messages.ConversationID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.logs[id])
}

func (s *service) lastSent() messages.CommitBundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[len(s.sent)-1]
}

func (s *service) sends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}
