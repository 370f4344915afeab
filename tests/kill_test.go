package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// TestKilledProcess runs an engine in a child process, with two members who talk and update, and kills it again and again with the operating system's own
// means. The delivery service lives here and sees what a real one would. In the end the members agree, and no key was used twice: a message that is
// processed for the first time is never a duplicate.
func TestKilledProcess(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	post := &postOffice{ds: enginetest.NewDeliveryService(), attempts: make(map[conclave.ClientID]int)}
	for round := range rounds {
		runKilledChild(t, dir, post, round, 40+rand.IntN(200))
		if len(post.failures) > 0 {
			t.Fatalf("round %d: %q", round, post.failures)
		}
	}

	ctx := t.Context()
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: childKey, RetryPause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	settled := make(chan struct{}, 1024)
	devices := make(map[conclave.ClientID]*enginetest.Device)
	for _, id := range childClients {
		if devices[id], err = enginetest.Open(ctx, e, post.ds, id, conclave.ClientOptions{
			Observer: conclave.Observer{CommitSettled: func(conclave.CommitSettled) { settled <- struct{}{} }},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range childClients {
		for {
			if _, err := devices[id].Receive(ctx); err != nil {
				t.Fatal(err)
			}
			state, err := devices[id].Conversation("room").State(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(state.InDoubt) == 0 || state.InDoubt[0].Refused {
				break
			}
			<-settled
		}
	}
	for _, id := range childClients {
		if _, err := devices[id].Receive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := enginetest.Agree(ctx, post.ds, "room", devices); err != nil {
		t.Error(err)
	}
	if totals := post.ds.Totals(); totals.Epochs == 0 || totals.Messages == 0 {
		t.Errorf("the children did nothing: %+v", totals)
	}
}

var (
	childKey     = bytes.Repeat([]byte{9}, conclave.KeySize)
	childClients = []conclave.ClientID{"alice", "bob"}
)

const childDirectory = "CONCLAVE_TEST_CHILD_DIRECTORY"

// TestMain is the child process where the environment says so.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		if err := killedChild(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// pipes is a connection made of the two ends of a process.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// runKilledChild starts a child and kills it after so many calls of the delivery service.
func runKilledChild(t *testing.T, dir string, post *postOffice, round, calls int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDirectory+"="+dir, "CONCLAVE_TEST_CHILD_SEED="+strconv.Itoa(round))
	var complaint bytes.Buffer
	child.Stderr = &complaint
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	enough := post.after(calls)
	server := rpc.NewServer()
	if err := server.RegisterName("Post", post); err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends when the child's end of the pipe closes
		server.ServeConn(pipes{out, in})
		close(ended)
	}()
	select {
	case <-enough:
	case <-ended:
	}
	_ = child.Process.Kill()
	<-ended
	_ = child.Wait()
	if complaint.Len() > 0 {
		t.Fatalf("the child complains: %s", complaint.String())
	}
}

// postOffice is the delivery service as the children see it, through a pipe.
type postOffice struct {
	mu       sync.Mutex
	ds       *enginetest.DeliveryService
	attempts map[conclave.ClientID]int // how often the oldest delivery was handed out
	failures []string
	left     int
	enough   chan struct{}
}

func (p *postOffice) after(calls int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.enough = calls, make(chan struct{})
	return p.enough
}

func (p *postOffice) count() {
	if p.left--; p.left == 0 {
		close(p.enough)
	}
}

// Parcel is an argument or result of the calls below; each uses the fields it needs.
type Parcel struct {
	Client   conclave.ClientID
	Bundle   conclave.CommitBundle
	Verdict  conclave.Verdict
	Delivery enginetest.Delivery
	Waiting  bool
	Messages [][]byte
	Code     string
}

// Commit takes a commit bundle.
func (p *postOffice) Commit(in Parcel, out *Parcel) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Verdict, err = p.ds.Transport(in.Client).SendCommitBundle(context.Background(), in.Bundle)
	p.count()
	return err
}

// Send takes an application message.
func (p *postOffice) Send(in Parcel, _ *Parcel) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ds.Send(in.Client, "room", in.Messages[0])
	p.count()
	return nil
}

// Publish takes key packages, Claim hands one out.
func (p *postOffice) Publish(in Parcel, _ *Parcel) error {
	for _, k := range in.Messages {
		p.ds.Publish(in.Client, conclave.KeyPackageEntry{KeyPackage: k})
	}
	return nil
}

// Claim hands out a key package of a client.
func (p *postOffice) Claim(in Parcel, out *Parcel) (err error) {
	out.Messages, err = p.ds.Claim(in.Client)
	return err
}

// Next hands out the oldest delivery for a client.
func (p *postOffice) Next(in Parcel, out *Parcel) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if waiting := p.ds.Waiting(in.Client, 1); len(waiting) > 0 {
		out.Waiting, out.Delivery = true, waiting[0]
		p.attempts[in.Client]++
	}
	p.count()
	return nil
}

// Done is told what became of it.
func (p *postOffice) Done(in Parcel, _ *Parcel) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.attempts[in.Client] == 1
	p.attempts[in.Client] = 0
	p.ds.Done(in.Client, 1)
	switch conclave.Code(in.Code) {
	case "", conclave.CodeMessageEpochTooOld: // the other side has not received for some epochs
	case conclave.CodeDuplicateMessage, conclave.CodeStaleCommit, conclave.CodeConversationAlreadyExists, conclave.CodeOrphanWelcome:
		if first {
			p.failures = append(p.failures, fmt.Sprintf("%s has never seen it: %s", in.Client, in.Code))
		}
	default:
		p.failures = append(p.failures, fmt.Sprintf("%s: %s", in.Client, in.Code))
	}
	p.count()
	return nil
}

// childTransport carries commits through the pipe.
type childTransport struct {
	post *rpc.Client
	id   conclave.ClientID
}

// SendCommitBundle implements conclave.Transport.
func (t childTransport) SendCommitBundle(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	var out Parcel
	err := t.post.Call("Post.Commit", Parcel{Client: t.id, Bundle: b}, &out)
	return out.Verdict, err
}

// killedChild is the child process: it works until it is killed.
func killedChild(ctx context.Context, dir string) error {
	seed, err := strconv.ParseUint(os.Getenv("CONCLAVE_TEST_CHILD_SEED"), 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	post := rpc.NewClient(pipes{os.Stdin, os.Stdout})
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: childKey, RetryPause: time.Millisecond})
	if err != nil {
		return err
	}
	var clients []*conclave.Client
	for _, id := range childClients {
		c, err := e.Client(ctx, id, conclave.ClientOptions{Transport: childTransport{post, id}})
		if err != nil {
			return err
		}
		clients = append(clients, c)
		made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
		if err != nil {
			return err
		}
		if err := post.Call("Post.Publish", Parcel{Client: id, Messages: [][]byte{made[0].KeyPackage}}, new(Parcel)); err != nil {
			return err
		}
	}
	if err := childFound(ctx, clients[0], post); err != nil {
		return err
	}
	for {
		c := clients[random.IntN(len(clients))]
		var err error
		switch dice := random.IntN(100); {
		case dice < 45:
			var sealed []byte
			if sealed, err = c.EncryptMessage(ctx, "room", fmt.Append(nil, random.Uint64())); err == nil {
				err = post.Call("Post.Send", Parcel{Client: c.ID(), Messages: [][]byte{sealed}}, new(Parcel))
			}
		case dice < 60:
			_, err = c.UpdateKeyMaterial(ctx, "room")
		default:
			err = childReceive(ctx, c, post)
		}
		if err != nil && !errors.Is(err, conclave.CodeMessageRejected) && !errors.Is(err, conclave.CodeCommitInDoubt) && !errors.Is(err, conclave.CodeConversationNotFound) {
			return err
		}
	}
}

// childFound creates the conversation where an earlier life has not.
func childFound(ctx context.Context, alice *conclave.Client, post *rpc.Client) error {
	exists, err := alice.ConversationExists(ctx, "room")
	if err != nil {
		return err
	}
	if !exists {
		if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
			return err
		}
	}
	state, err := alice.Conversation("room").State(ctx)
	if err != nil || state.Epoch > 0 || len(state.InDoubt) > 0 {
		return err
	}
	var out Parcel
	if err := post.Call("Post.Claim", Parcel{Client: "bob"}, &out); err != nil {
		return err
	}
	_, err = alice.AddMembers(ctx, "room", out.Messages[0])
	return err
}

func childReceive(ctx context.Context, c *conclave.Client, post *rpc.Client) error {
	var next Parcel
	if err := post.Call("Post.Next", Parcel{Client: c.ID()}, &next); err != nil || !next.Waiting {
		return err
	}
	var err error
	if next.Delivery.Welcome {
		_, err = c.ProcessWelcome(ctx, next.Delivery.Message, conclave.JoinOptions{})
	} else {
		_, err = c.DecryptMessage(ctx, "room", next.Delivery.Message)
	}
	code := ""
	if e, ok := errors.AsType[*conclave.Error](err); ok {
		code = string(e.Code)
	}
	return post.Call("Post.Done", Parcel{Client: c.ID(), Code: code}, new(Parcel))
}
