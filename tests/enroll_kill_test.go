package tests

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// enrollDir names the directory of the engine in which this test binary, run as a child, should enrol a client.
const enrollDir = "CONCLAVE_TEST_ENROLL"

const (
	enrolling    = conclave.ClientID("4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example")
	enrollingURI = "wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@wire.example"
)

// TestEnrollKill kills a process that enrols with SIGKILL, on a real disk, once at each thing that it asks of the world outside: before that has heard of it, and
// before the answer comes. Another process goes on, with the same account key and the same order, and the certificate is installed.
func TestEnrollKill(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5 // odd, so that calls and answers take turns
	}
	kills, answers := 0, 0
	for at := 1; ; at += stride {
		o := &desk{world: acmetest.New(time.Now), killAt: at, killed: make(chan struct{}), dead: make(chan struct{}), done: make(chan int, 1)}
		dir := t.TempDir()
		if o.runChild(t, dir) {
			break
		}
		kills++
		if at%2 == 0 {
			answers++
		}
		before := o.world.Stats()
		what := fmt.Sprintf("killed at %s %s", map[bool]string{true: "the answer to", false: "the call of"}[at%2 == 0], o.at)
		next := &desk{world: o.world, dead: make(chan struct{}), done: make(chan int, 1)}
		if !next.runChild(t, dir) {
			t.Fatalf("%s: the next process is not done", what)
		}
		if n := <-next.done; n != 1 {
			t.Errorf("%s: %d certificates are installed, want 1", what, n)
		}
		s, orders := o.world.Stats(), 1
		if at%2 == 0 && strings.HasSuffix(o.at, "/new-order") {
			orders = 2 // nobody but the server knows of the first
		}
		if s.Devices[enrollingURI] != 1 || s.Accounts != 1 || s.Orders != orders || s.Certificates != 1 {
			t.Errorf("%s: the server saw %+v, before the kill %+v", what, s, before)
		}
		if t.Failed() {
			return
		}
	}
	if kills < 28/stride {
		t.Errorf("only %d kills", kills)
	}
	if answers < kills/2 {
		t.Errorf("only %d of %d kills were between a call and its answer", answers, kills)
	}
}

// desk is the world outside as a child in another process reaches it: ACME server, identity provider and backend. Its methods are net/rpc's.
type desk struct {
	world  *acmetest.World
	killAt int           // the call, or answer, that the child does not live to see; 0: none
	killed chan struct{} // closed when it has come to that
	dead   chan struct{} // closed when the child is
	done   chan int      // the certificates of a child that has come to its end

	mu    sync.Mutex
	calls int
	at    string // where it was killed
}

// runChild runs a child until it has come to its end or to its death, and tells which.
func (o *desk) runChild(t *testing.T, dir string) (over bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestEnrollKillChild$")
	cmd.Env = append(os.Environ(), enrollDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Desk", o); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); server.ServeConn(pipe{out, in}) }()
	select {
	case <-o.killed:
		_ = cmd.Process.Kill()
	case <-ended:
		over = true
	}
	err = cmd.Wait()
	close(o.dead) // whoever it waited for may go
	<-ended
	if over && err != nil {
		t.Fatalf("the child: %v", err)
	}
	return over
}

// turn comes twice in each call: before it is heard, and before it is answered.
func (o *desk) turn(what string) error {
	o.mu.Lock()
	o.calls++
	last := o.calls == o.killAt
	if last {
		o.at = what
	}
	o.mu.Unlock()
	if !last {
		return nil
	}
	close(o.killed)
	<-o.dead
	return errors.New("dead")
}

func (o *desk) around(what string, call func() error) error {
	if err := o.turn(what); err != nil {
		return err
	}
	return errors.Join(call(), o.turn(what))
}

// Form is what goes over a desk.
type Form struct {
	Method, URL, Text, Other string
	Status, Count            int
	Header                   map[string][]string
	Body                     []byte
}

// Root returns the trust anchor and the server's directory.
func (o *desk) Root(_ Form, out *Form) error {
	out.Text, out.URL = o.world.Root(), o.world.Directory()
	return nil
}

// HTTP sends a request to the ACME server.
func (o *desk) HTTP(in Form, out *Form) error {
	return o.around(in.Method+" "+in.URL, func() error {
		r := o.world.Do(enrollment.Request{Method: in.Method, URL: in.URL, Header: in.Header, Body: in.Body})
		out.Status, out.Header, out.Body = r.Status, r.Header, r.Body
		return nil
	})
}

// SignIn signs the user in.
func (o *desk) SignIn(in Form, out *Form) error {
	return o.around("the identity provider", func() error {
		out.Text = o.world.Authenticate(in.Text, in.Other, "Alice Smith", "alice_wire", "wire.example")
		return nil
	})
}

// Nonce fetches a nonce of the backend.
func (o *desk) Nonce(_ Form, out *Form) error {
	return o.around("the backend's nonce", func() error {
		out.Text = o.world.BackendNonce()
		return nil
	})
}

// Token fetches an access token of the backend.
func (o *desk) Token(in Form, out *Form) error {
	return o.around("the backend's token", func() (err error) {
		out.Text, err = o.world.AccessToken(in.Text)
		return err
	})
}

// Done takes how many certificates a child has in the end.
func (o *desk) Done(in Form, _ *Form) error {
	o.done <- in.Count
	return nil
}

// TestEnrollKillChild is not a test of its own but what the children of TestEnrollKill do.
func TestEnrollKillChild(t *testing.T) {
	dir := os.Getenv(enrollDir)
	if dir == "" {
		return
	}
	if err := enrollChild(dir, rpc.NewClient(pipe{os.Stdin, os.Stdout})); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
	os.Exit(0) // nothing more may be said on standard output
}

// enrollChild enrols a client unless it has a certificate.
func enrollChild(dir string, desk *rpc.Client) error {
	ctx := context.Background()
	ask := func(method string, in Form) (out Form, err error) {
		err = desk.Call("Desk."+method, in, &out)
		return out, err
	}
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: partyKey})
	if err != nil {
		return err
	}
	c, err := e.Client(ctx, enrolling, conclave.ClientOptions{NoCredential: true})
	if err != nil {
		return err
	}
	world, err := ask("Root", Form{})
	if err != nil {
		return err
	}
	if _, err := c.RegisterTrustAnchor(ctx, []byte(world.Text)); err != nil && !errors.Is(err, conclave.CodeTrustAnchorAlreadyRegistered) {
		return err
	}
	certificates := func() int {
		found, listed := c.FindCredentials(ctx, conclave.CredentialFilter{Type: mlsgroup.CredentialTypeX509})
		err = errors.Join(err, listed)
		return len(found)
	}
	if certificates() == 0 {
		_, err = c.Enroll(ctx, conclave.EnrollOptions{
			EnrollmentOptions: conclave.EnrollmentOptions{DisplayName: "Alice Smith", Handle: "alice_wire", Directory: world.URL},
		}, conclave.EnrollHooks{
			HTTPRequest: func(_ context.Context, r enrollment.Request) (enrollment.Response, error) {
				out, err := ask("HTTP", Form{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body})
				return enrollment.Response{Status: out.Status, Header: out.Header, Body: out.Body}, err
			},
			Authenticate: func(_ context.Context, a enrollment.Authentication) (string, error) {
				out, err := ask("SignIn", Form{Text: a.KeyAuth, Other: a.Audience})
				return out.Text, err
			},
			BackendNonce: func(context.Context) (string, error) {
				out, err := ask("Nonce", Form{})
				return out.Text, err
			},
			BackendAccessToken: func(_ context.Context, dpop string) (string, error) {
				out, err := ask("Token", Form{Text: dpop})
				return out.Text, err
			},
		})
	}
	n := certificates()
	if err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	_, err = ask("Done", Form{Count: n})
	return err
}
