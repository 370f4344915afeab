package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var updateMatrix = flag.Bool("update", false, "write docs/interop.md instead of comparing it")

// matrixFile is what TestMatrix writes and compares.
const matrixFile = "../../docs/interop.md"

// peer is an implementation that we talk to, or several in one group.
type peer struct {
	name    string
	suites  []conclave.CipherSuite
	profile conclave.Profile // of our clients
	// window is how many messages it reads in reverse order.
	window int
	// codes tells that its errors have codes.
	codes bool
	// canJoin tells whether a client can join any group at any time.
	canJoin   func(party) bool
	scenarios []scenario
	// known are the scenarios that fail for a reason on its side.
	known []known
	// clock of peers whose scenarios move the time: they have an engine and processes of their own. Nil is the time of day.
	clock *clock

	scripts []string
	nodes   []*node
	engine  *conclave.Engine
	results [][]error // by scenario, then suite
}

// known is a failure of a peer that is expected, so that the day it ends is noticed.
type known struct {
	scenario string
	err      string // what the error's text contains
	because  string
}

// TestMatrix plays every scenario with every peer in every suite it has, and holds docs/interop.md against what came out. With -update it writes the page.
func TestMatrix(t *testing.T) {
	installPeers(t)
	ds := enginetest.NewDeliveryService()
	engine := openEngine(t, nil)
	running := make(map[string]*node)
	start := func(script string) *node {
		if running[script] == nil {
			running[script] = startNode(t, script, ds)
		}
		return running[script]
	}
	for _, p := range proteusPeers {
		p.node, p.results = start(p.script), make([]error, len(proteusScenarios))
	}
	for _, p := range peers {
		p.engine = engine
		if p.clock != nil {
			p.engine = openEngine(t, p.clock.now)
		}
		for _, script := range p.scripts {
			if p.clock != nil {
				p.nodes = append(p.nodes, startNode(t, script, ds))
			} else {
				p.nodes = append(p.nodes, start(script))
			}
		}
		p.results = make([][]error, len(p.scenarios))
		for i := range p.results {
			p.results[i] = make([]error, len(p.suites))
		}
	}
	var played sync.Map
	t.Run("play", func(t *testing.T) {
		for _, p := range proteusPeers {
			t.Run("Proteus_of_"+p.name, func(t *testing.T) {
				t.Parallel()
				p.play(t, engine)
			})
		}
		for number, p := range peers {
			t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				for column, suite := range p.suites {
					t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
						for row, sc := range p.scenarios {
							if !sc.playedIn(suite) {
								continue
							}
							t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
								s := &stage{
									ctx: t.Context(), engine: p.engine, ds: ds, peer: p, suite: suite, number: 100*number + row,
									group:   conclave.ConversationID(fmt.Sprintf("%s, scenario %d, suite %d", p.name, row, suite)),
									parties: make(map[conclave.ClientID]party), certificates: make(map[conclave.ClientID]*certificate), issued: make(map[conclave.ClientID]*certificate),
								}
								err := play(s, sc.play)
								p.results[row][column] = err
								played.Store([3]int{number, row, column}, true)
								judge(t, p.known, sc.name, err)
							})
						}
					})
				}
			})
		}
	})
	for _, p := range proteusPeers {
		if p.played < len(proteusScenarios) {
			return // a part of the matrix, chosen with -run
		}
	}
	for number, p := range peers {
		for row, sc := range p.scenarios {
			for column, suite := range p.suites {
				if _, ok := played.Load([3]int{number, row, column}); !ok && sc.playedIn(suite) {
					return
				}
			}
		}
	}
	if !t.Failed() {
		compareMatrix(t, renderMatrix())
	}
}

func openEngine(t *testing.T, now func() time.Time) *conclave.Engine {
	t.Helper()
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, SendTimeout: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// judge fails the test for a failure that is not known, and for one that is known and did not happen.
func judge(t *testing.T, all []known, scenario string, err error) {
	t.Helper()
	var unsupported errUnsupported
	k := knownOf(all, scenario)
	switch {
	case errors.As(err, &unsupported):
	case k == nil && err != nil:
		t.Error(err)
	case k != nil && err == nil:
		t.Errorf("works, although known to fail: %s", k.because)
	case k != nil && !strings.Contains(err.Error(), k.err):
		t.Errorf("%v, known to fail with %q", err, k.err)
	}
}

// knownOf returns what is known of a scenario, nil for nothing.
func knownOf(all []known, scenario string) *known {
	if i := slices.IndexFunc(all, func(k known) bool { return k.scenario == scenario }); i >= 0 {
		return &all[i]
	}
	return nil
}

func compareMatrix(t *testing.T, got string) {
	t.Helper()
	if *updateMatrix {
		if err := os.WriteFile(matrixFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		g, w := lineAt(gotLines, i), lineAt(wantLines, i)
		if g != w {
			t.Fatalf("docs/interop.md differs from what was seen, first in line %d (go test -run TestMatrix -update writes it):\nseen %s\npage %s", i+1, g, w)
		}
	}
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
