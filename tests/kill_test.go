package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// killDir names the directory that this test binary, run as a child, should keep its engine in, and killSetting which of the extremes it sets it to.
const (
	killDir     = "CONCLAVE_TEST_ENGINE"
	killSetting = "CONCLAVE_TEST_SETTING"
)

var (
	killClients       = []conclave.ClientID{"alice", "bob", "carol", "dave"}
	killConversations = []conclave.ConversationID{"one", "two", "three"}
)

// TestKill kills a process in the middle of its work with SIGKILL, again and again, on a real disk. The delivery service and the witness live on outside.
// Each time the engine opens, everybody agrees, and no generation was used twice. Each child has its engine at another extreme.
func TestKill(t *testing.T) {
	length := 10 * time.Second
	if testing.Short() {
		length = 2 * time.Second
	}
	dir := t.TempDir()
	p := newParty(t, 1, mlsgroup.ProfileWire, killConversations...)
	p.begin(dir)
	rng := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end) || kills < 3; kills++ {
		handed := p.runChild(dir, kills, 30+rng.IntN(300))
		p.reopen(dir, handed)
		if t.Failed() {
			t.Fatalf("after %d kills", kills+1)
		}
	}
	generations, unread := p.witness.Observed()
	totals := p.ds.Totals()
	t.Logf("%d kills, %d commits, %d messages, %d generations seen, %d not", kills, totals.Epochs, totals.Messages, generations, unread)
	if generations < 10*kills {
		t.Errorf("only %d messages in %d runs", generations, kills)
	}
}

// begin makes the conversations.
func (p *party) begin(dir string) {
	p.t.Helper()
	ctx := p.t.Context()
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: partyKey})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, id := range killClients {
		p.open(e, id, nil, conclave.ReceiveConfig{})
	}
	for i, c := range p.conversations {
		founder := p.devices[killClients[i]]
		if err := founder.CreateConversation(ctx, c, conclave.ConversationOptions{}); err != nil {
			p.t.Fatal(err)
		}
		others := slices.DeleteFunc(slices.Clone(killClients), func(id conclave.ClientID) bool { return id == founder.ID() })
		if err := founder.Add(ctx, c, append(others, p.witness.ID())...); err != nil {
			p.t.Fatal(err)
		}
	}
	p.settle()
	if err := e.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// reopen opens what the killed process left, and checks it.
func (p *party) reopen(dir string, handed [][]byte) {
	p.t.Helper()
	e, err := conclave.Open(p.t.Context(), dir, conclave.Options{Key: partyKey, RetryPause: time.Millisecond})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, id := range killClients {
		p.open(e, id, nil, conclave.ReceiveConfig{})
	}
	p.settle()
	p.agree()
	for _, m := range handed {
		if err := p.witness.Observe(m); err != nil {
			p.t.Error(err)
		}
	}
	if err := e.Close(); err != nil {
		p.t.Error(err)
	}
}

// runChild runs a child until it has called the delivery service so many times, and kills it. It returns the messages the child was given by its engine.
func (p *party) runChild(dir string, setting, calls int) [][]byte {
	t := p.t
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, fmt.Sprint(killSetting, "=", setting))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &line{ds: p.ds, left: calls, kill: make(chan struct{})}
	server := rpc.NewServer()
	if err := server.RegisterName("Line", l); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); server.ServeConn(pipe{out, in}) }()
	select {
	case <-l.kill:
	case <-ended:
		t.Error("the child ended on its own")
	}
	_ = cmd.Process.Kill()
	<-ended
	_ = cmd.Wait() // it was killed
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handed
}

// pipe is a child's standard output and input.
type pipe struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipe) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p pipe) Close() error { return errors.Join(p.ReadCloser.Close(), p.w.Close()) }

// line is the delivery service as a child in another process reaches it. Its methods are net/rpc's.
type line struct {
	ds   *enginetest.DeliveryService
	kill chan struct{}

	mu     sync.Mutex
	left   int
	handed [][]byte
}

func (l *line) called() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left == 0 {
		close(l.kill)
	}
}

// Parcel is what goes over the line.
type Parcel struct {
	Client       conclave.ClientID
	Conversation conclave.ConversationID
	Bundle       conclave.CommitBundle
	Message      []byte
	Deliveries   []enginetest.Delivery
	Verdict      conclave.Verdict
	OK           bool
}

// Commit takes a commit.
func (l *line) Commit(in Parcel, out *Parcel) (err error) {
	defer l.called()
	out.Verdict, err = l.ds.Transport(in.Client).SendCommitBundle(context.Background(), in.Bundle)
	return err
}

// Send takes an application message.
func (l *line) Send(in Parcel, _ *Parcel) error {
	defer l.called()
	l.ds.Send(in.Client, in.Conversation, in.Message)
	return l.HandOut(in, nil)
}

// HandOut notes a message that a transaction has made and that may never be sent.
func (l *line) HandOut(in Parcel, _ *Parcel) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handed = append(l.handed, in.Message)
	return nil
}

// Waiting returns what waits for a client.
func (l *line) Waiting(in Parcel, out *Parcel) error {
	defer l.called()
	out.Deliveries = l.ds.Waiting(in.Client, 8)
	return nil
}

// Done forgets the oldest delivery of a client.
func (l *line) Done(in Parcel, _ *Parcel) error {
	l.ds.Done(in.Client, 1)
	return nil
}

// Claim claims a key package.
func (l *line) Claim(in Parcel, out *Parcel) error {
	claimed, err := l.ds.Claim(in.Client)
	if err == nil {
		out.Message, out.OK = claimed[0], true
	}
	return nil
}

// Publish publishes a key package.
func (l *line) Publish(in Parcel, _ *Parcel) error {
	l.ds.Publish(in.Client, conclave.KeyPackageEntry{KeyPackage: in.Message})
	return nil
}

// State returns the GroupInfo of a conversation and whether a client is a member.
func (l *line) State(in Parcel, out *Parcel) error {
	defer l.called()
	out.Message = l.ds.GroupInfo(in.Conversation)
	out.OK = slices.Contains(l.ds.Members(in.Conversation), in.Client)
	return nil
}

// TestKillChild is not a test of its own but what the children do: work until killed.
func TestKillChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return
	}
	if err := childWork(dir); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
}
