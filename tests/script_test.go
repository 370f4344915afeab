package tests

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var update = flag.Bool("update", false, "write what the scenario scripts print into them")

// TestScripts plays the scenarios in testdata/script. A scenario is a list of blocks: a command, a line of dashes, and what the command prints. It begins
// with a comment that tells the story. Run with -update to rewrite what is printed, and read the difference.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "script", "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d scripts, %v", len(names), err)
	}
	for i, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".txt")
		t.Run(base, func(t *testing.T) { playScript(t, name, extreme.Setting{}) })
		for _, x := range extreme.Over(uint64(i)) {
			t.Run(base+", "+x.Name, func(t *testing.T) { playScript(t, name, x) })
		}
	}
}

func playScript(t *testing.T, name string, x extreme.Setting) {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, dir: t.TempDir(), set: x, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*actor), settled: make(chan struct{}, 1024)}
	s.open()
	defer func() { _ = s.engine.Close() }()
	var played strings.Builder
	for block := range strings.SplitSeq(strings.TrimRight(string(b), "\n"), "\n\n") {
		command, _, _ := strings.Cut(block, "\n----")
		played.WriteString(command + "\n")
		if !strings.HasPrefix(command, "#") {
			played.WriteString("----\n" + s.play(command))
		}
		played.WriteString("\n")
	}
	got := strings.TrimRight(played.String(), "\n") + "\n"
	switch {
	case *update:
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	case got != string(b):
		t.Errorf("%s plays differently; run with -update and read the difference\n%s", name, firstDifference(string(b), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d: got  %s\n       want %s", i+1, strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""), strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""))
		}
	}
	return ""
}

// script is the world of one scenario: an engine on a real directory, and devices that do only what the scenario says.
type script struct {
	t       *testing.T
	dir     string
	set     extreme.Setting // what is printed must not depend on it
	engine  *conclave.Engine
	ds      *enginetest.DeliveryService
	devices map[conclave.ClientID]*actor
	settled chan struct{} // a value for each commit that is no longer in doubt
	out     strings.Builder
}

// actor is a device with the transaction it has open and the faults that await its next commits.
type actor struct {
	*enginetest.Device
	tx     *conclave.Tx
	faults *faults
	kept   []byte // the message "keep" has sealed
}

// faults is a queue that the scenario fills and the transport, from goroutines of the engine, empties.
type faults struct {
	mu   sync.Mutex
	next []enginetest.Fault
}

func (f *faults) take() enginetest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.next) == 0 {
		return enginetest.FaultNone
	}
	first := f.next[0]
	f.next = f.next[1:]
	return first
}

func (f *faults) set(list []enginetest.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = list
}

// calls are what an actor does alike inside and outside a transaction.
type calls interface {
	CreateConversation(context.Context, conclave.ConversationID, conclave.ConversationOptions) error
	AddMembers(context.Context, conclave.ConversationID, ...[]byte) (conclave.CommitMerged, error)
	RemoveMembers(context.Context, conclave.ConversationID, ...conclave.ClientID) (conclave.CommitMerged, error)
	UpdateKeyMaterial(context.Context, conclave.ConversationID) (conclave.CommitMerged, error)
	CommitPendingProposals(context.Context, conclave.ConversationID) (conclave.CommitMerged, error)
	EncryptMessage(context.Context, conclave.ConversationID, []byte) ([]byte, error)
	DecryptMessage(context.Context, conclave.ConversationID, []byte) (conclave.DecryptedMessage, error)
	ProcessWelcome(context.Context, []byte, conclave.JoinOptions) (conclave.Joined, error)
	JoinByExternalCommit(context.Context, []byte, conclave.JoinOptions) (conclave.Joined, error)
	ProposeAdd(context.Context, conclave.ConversationID, []byte) (conclave.ProposalBundle, error)
	ProposeRemove(context.Context, conclave.ConversationID, conclave.ClientID) (conclave.ProposalBundle, error)
	ProposeUpdate(context.Context, conclave.ConversationID) (conclave.ProposalBundle, error)
	SetData(context.Context, []byte) error
	Data(context.Context) ([]byte, error)
	WipeConversation(context.Context, conclave.ConversationID) error
	DropInDoubt(context.Context, conclave.ConversationID) (int, error)
}

func (a *actor) calls() calls {
	if a.tx != nil {
		return a.tx
	}
	return a.Client
}

func (s *script) open() {
	s.t.Helper()
	var err error
	o := extremely(s.set, conclave.Options{Key: bytes.Repeat([]byte{3}, conclave.KeySize), RetryPause: time.Millisecond})
	if s.engine, err = conclave.Open(s.set.Open(s.t.Context()), s.dir, o); err != nil {
		s.t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.devices)) {
		s.device(name)
	}
}

func (s *script) device(name conclave.ClientID) {
	s.t.Helper()
	a := &actor{faults: new(faults)}
	if old := s.devices[name]; old != nil {
		a.faults, a.kept = old.faults, old.kept
	}
	transport := s.ds.Transport(name)
	transport.Before = func(context.Context, conclave.CommitBundle) enginetest.Fault { return a.faults.take() }
	d, err := enginetest.Open(s.t.Context(), s.engine, s.ds, name, conclave.ClientOptions{
		Transport: transport,
		Observer:  conclave.Observer{CommitSettled: func(conclave.CommitSettled) { s.settled <- struct{}{} }},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	a.Device = d
	s.devices[name] = a
}

func (s *script) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// result prints ok or the error's code, as a program would see it.
func (s *script) result(ok string, err error) {
	var e *conclave.Error
	switch {
	case err == nil:
		s.print("%s", ok)
	case errors.As(err, &e):
		s.print("%s", string(e.Code))
	default:
		s.t.Fatal(err)
	}
}

// merged prints what a commit became.
func (s *script) merged(m conclave.CommitMerged, err error) {
	ok := fmt.Sprintf("epoch %d", m.Epoch)
	if err == nil && !m.Sent {
		ok = "nothing to commit"
	}
	s.result(ok, err)
	s.released(m.Released)
}

func (s *script) released(list []conclave.Released) {
	for _, r := range list {
		if r.Err != nil {
			s.result("", r.Err)
			continue
		}
		s.print("  released: %s", describe(r.Message))
	}
}

func describe(m conclave.DecryptedMessage) string {
	switch m.Outcome {
	case conclave.OutcomeText:
		return fmt.Sprintf("Text %q from %s", string(m.Plaintext), m.Sender.ClientID)
	case conclave.OutcomeProposal:
		return fmt.Sprintf("Proposal from %s", m.Sender.ClientID)
	case conclave.OutcomeCommit:
		text := fmt.Sprintf("Commit, epoch %d", m.Epoch)
		if m.Own {
			text += ", own"
		}
		if !m.IsActive {
			text += ", removed"
		}
		if len(m.Discarded) > 0 {
			text += fmt.Sprintf(", %d own proposals discarded", len(m.Discarded))
		}
		return text
	}
	return m.Outcome.String()
}

// play runs one command and returns what it printed.
func (s *script) play(command string) string {
	s.t.Helper()
	s.out.Reset()
	words := strings.Fields(command)
	play, ok := scriptCommands[words[0]]
	if !ok {
		s.t.Fatalf("no command %q", words[0])
	}
	play(s, words[1:])
	return s.out.String()
}

// actorAndRoom reads the two first arguments of most commands.
func (s *script) actorAndRoom(args []string) (*actor, conclave.ConversationID) {
	s.t.Helper()
	if len(args) < 2 || s.devices[conclave.ClientID(args[0])] == nil {
		s.t.Fatalf("arguments %q, want a client and a conversation first", args)
	}
	return s.devices[conclave.ClientID(args[0])], conclave.ConversationID(args[1])
}
