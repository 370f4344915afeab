// Package interop holds live conversations between this engine and software that nobody here wrote: Wire's CoreCrypto, ts-mls and, for Proteus, Wire's
// @wireapp/proteus, all of which run in Node.
// docs/interop.md is what came out.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// nodeDir holds the Node side: a script for each peer, and the lock file that says which packages they run.
const nodeDir = "node"

// installPeers installs the peers as the lock file has them, unless they are there already. It skips the test where there is no Node, and where the
// packages are not there and no registry can be reached.
func installPeers(t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NO INTEROP TESTS: %s is not installed, so the peers cannot run", program)
		}
	}
	lock, err := os.ReadFile(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	want := hex.EncodeToString(sum[:])
	marker := filepath.Join(nodeDir, "node_modules", ".installed")
	if have, err := os.ReadFile(marker); err == nil && string(have) == want {
		return
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline")
	install.Dir = nodeDir
	if out, err := install.CombinedOutput(); err != nil {
		for _, offline := range []string{"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ENOTCACHED"} {
			if bytes.Contains(out, []byte(offline)) {
				t.Skipf("NO INTEROP TESTS: the peers are not installed and no package registry can be reached (%s)", offline)
			}
		}
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.WriteFile(marker, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// node is a running peer. Its clients send their commits to the delivery service through it. It is safe for concurrent use.
type node struct {
	version string
	ds      *enginetest.DeliveryService
	ctx     context.Context

	writing sync.Mutex // apart from mu, so that a peer that does not read holds up no answers
	in      io.WriteCloser

	mu      sync.Mutex
	calls   int
	pending map[int]chan reply // nil when the peer has ended
}

// call is a line to the peer: a call, or the answer of the delivery service to a commit.
type call struct {
	ID     int    `json:"id,omitempty"`
	Op     string `json:"op,omitempty"`
	Client string `json:"client,omitempty"`
	Group  string `json:"group,omitempty"`

	Suite          uint16   `json:"suite,omitempty"`
	Suites         []uint16 `json:"suites,omitempty"`
	Policy         int      `json:"policy,omitempty"`
	Count          int      `json:"count,omitempty"`
	Kind           string   `json:"kind,omitempty"`
	Text           string   `json:"text,omitempty"`
	Member         string   `json:"member,omitempty"`
	Members        []string `json:"members,omitempty"`
	On             bool     `json:"on,omitempty"`
	Message        []byte   `json:"message,omitempty"`
	Welcome        []byte   `json:"welcome,omitempty"`
	GroupInfo      []byte   `json:"groupInfo,omitempty"`
	KeyPackage     []byte   `json:"keyPackage,omitempty"`
	KeyPackages    [][]byte `json:"keyPackages,omitempty"`
	ExternalSender []byte   `json:"externalSender,omitempty"`

	Session   conclave.SessionID   `json:"session,omitempty"`
	Sessions  []conclave.SessionID `json:"sessions,omitempty"`
	PreKey    uint16               `json:"preKey,omitempty"`
	Bundle    []byte               `json:"bundle,omitempty"`
	Plaintext []byte               `json:"plaintext"`
	Size      int                  `json:"size,omitempty"`

	DisplayName string   `json:"displayName,omitempty"`
	Handle      string   `json:"handle,omitempty"`
	Seconds     int      `json:"seconds,omitempty"`
	Certificate string   `json:"certificate,omitempty"` // or chain, in PEM
	URL         string   `json:"url,omitempty"`
	Step        string   `json:"step,omitempty"`
	Args        []string `json:"args,omitempty"`
	Body        []byte   `json:"body,omitempty"`
	Users       []string `json:"users,omitempty"`

	Answer  int    `json:"answer,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// reply is a line from the peer: the answer to a call, or a commit for the delivery service.
type reply struct {
	ID    int             `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error *peerError      `json:"error"`

	Send      int    `json:"send"`
	Client    string `json:"client"`
	Commit    []byte `json:"commit"`
	Welcome   []byte `json:"welcome"`
	GroupInfo []byte `json:"groupInfo"`
	Message   []byte `json:"message"`
}

// result is what the answers hold; each operation fills its own fields.
type result struct {
	Version     string
	KeyPackages [][]byte
	Message     []byte
	Key         []byte
	Outcome     string
	Text        string
	Sender      string
	Active      bool
	Released    []result
	Exists      bool
	Epoch       uint64
	Members     []string
	Exported    []byte

	Bundle             []byte
	Plaintext          []byte
	Messages           map[conclave.SessionID][]byte
	Own, Local, Remote string // fingerprints
	Nanoseconds        int64  // of an operation

	Points                         []string
	Dirty                          bool
	Expiration                     int64
	URLs                           []string
	Target, KeyAuth                string
	NewNonce, NewAccount, NewOrder string
	Enabled                        bool
	State                          string
	Identities                     []identity
	Users                          map[string][]identity
}

// peerError is an error of a peer. Code is CoreCrypto's name for it, the name of ts-mls's class, or the number of an error of Proteus.
type peerError struct {
	Code    string
	Message string
}

func (e *peerError) Error() string { return e.Code + ": " + e.Message }

var errPeerEnded = errors.New("the peer has ended")

// startNode starts a peer and stops it when the test ends.
func startNode(t *testing.T, script string, ds *enginetest.DeliveryService) *node {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", "--no-warnings", script)
	command.Dir = nodeDir
	var complaints bytes.Buffer
	command.Stderr = &complaints
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	n := &node{ds: ds, ctx: context.WithoutCancel(t.Context()), in: in, pending: make(map[int]chan reply)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.read(out)
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-ended
		_ = command.Wait()
		if complaints.Len() > 0 {
			t.Logf("%s: %s", script, complaints.Bytes())
		}
	})
	r, err := n.ask(call{Op: "version"})
	if err != nil {
		t.Fatal(err)
	}
	n.version = r.Version
	return n
}

// maxLine bounds a line of a peer in bytes.
const maxLine = 16 << 20

func (n *node) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var r reply
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // a peer's own chatter
		}
		if r.Send != 0 {
			go n.commit(r)
			continue
		}
		n.mu.Lock()
		waiting := n.pending[r.ID]
		delete(n.pending, r.ID)
		n.mu.Unlock()
		if waiting != nil {
			waiting <- r
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, waiting := range n.pending {
		close(waiting)
	}
	n.pending = nil
}

func (n *node) write(c call) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	_, err = n.in.Write(append(line, '\n'))
	return err
}

// ask makes a call and waits for its answer.
func (n *node) ask(c call) (result, error) {
	answer := make(chan reply, 1)
	n.mu.Lock()
	if n.pending == nil {
		n.mu.Unlock()
		return result{}, errPeerEnded
	}
	n.calls++
	c.ID = n.calls
	n.pending[c.ID] = answer
	n.mu.Unlock()
	if err := n.write(c); err != nil {
		return result{}, err
	}
	r, ok := <-answer
	if !ok {
		return result{}, errPeerEnded
	}
	if r.Error != nil {
		return result{}, r.Error
	}
	var made result
	return made, json.Unmarshal(r.OK, &made)
}

// do makes a call for a client. An operation that the peer does not have is errUnsupported.
func (n *node) do(op, client string, c call) (result, error) {
	c.Op, c.Client = op, client
	r, err := n.ask(c)
	if e, ok := errors.AsType[*peerError](err); ok && e.Code == "Unsupported" {
		name, _, _ := strings.Cut(n.version, " ")
		err = errUnsupported(name + ": " + e.Message)
	}
	return r, err
}

// commit carries a peer's commit to the delivery service and the verdict back.
func (n *node) commit(r reply) {
	answer := call{Answer: r.Send, Verdict: "refused"}
	id, epoch, err := addressOf(r.Commit)
	if err == nil {
		var v conclave.Verdict
		v, err = n.ds.Transport(conclave.ClientID(r.Client)).SendCommitBundle(n.ctx, conclave.CommitBundle{
			Conversation: id, Epoch: epoch, Commit: r.Commit, Welcome: r.Welcome, GroupInfo: r.GroupInfo, EncryptedMessage: r.Message, Hash: sha256.Sum256(r.Commit),
		})
		if v.Kind == conclave.VerdictAccepted {
			answer.Verdict = "accepted"
		}
		answer.Reason = v.Reason
	}
	if err != nil {
		answer.Reason = err.Error()
	}
	_ = n.write(answer) // a peer that has ended does not wait
}

// addressOf reads the conversation and epoch of a message.
func addressOf(message []byte) (conclave.ConversationID, uint64, error) {
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return "", 0, err
	}
	id, epoch, ok := m.GroupIDAndEpoch()
	if !ok {
		return "", 0, fmt.Errorf("a %v belongs to no epoch", m.WireFormat)
	}
	return conclave.ConversationID(id), epoch, nil
}
