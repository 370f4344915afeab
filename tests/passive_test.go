package tests

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/conclave-mls/conclave/internal/race"
	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/internal/vectortest"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var passiveFiles = []string{"passive-client-welcome.json", "passive-client-handling-commit.json", "passive-client-random.json"}

// passiveClients reads a file of the official vectors, or skips the test where they are absent. Under the race detector suites 4 to 7 keep one case each.
func passiveClients(t *testing.T, name string) []enginetest.PassiveClient {
	t.Helper()
	all, err := enginetest.ReadPassiveClients(vectortest.File(t, "mls/"+name))
	if err != nil {
		t.Fatal(err)
	}
	if !race.Enabled {
		return all
	}
	var some []enginetest.PassiveClient
	seen := make(map[uint16]bool)
	for _, p := range all {
		if p.CipherSuite <= 3 || !seen[p.CipherSuite] {
			some = append(some, p)
		}
		seen[p.CipherSuite] = true
	}
	return some
}

// TestPassiveClients runs the official passive-client vectors through whole engines on real directories.
func TestPassiveClients(t *testing.T) { replayPassiveClients(t, 0, enginetest.ReplayOptions{}) }

// TestPassiveClientsReopened runs them again with the engine closed and opened between every two messages.
func TestPassiveClientsReopened(t *testing.T) {
	replayPassiveClients(t, 0, enginetest.ReplayOptions{Reopen: true})
}

// TestPassiveClientsPassivated runs them with one message a step and room for no conversation in memory, so that one is dropped whenever it is at rest.
func TestPassiveClientsPassivated(t *testing.T) {
	replayPassiveClients(t, step.One, enginetest.ReplayOptions{StateBytes: 1})
}

// TestPassiveClientsTogether runs them with all messages of a case in one stream and all conversations kept in memory: the largest batches there are.
func TestPassiveClientsTogether(t *testing.T) {
	replayPassiveClients(t, step.All, enginetest.ReplayOptions{Together: true, StateBytes: -1})
}

func replayPassiveClients(t *testing.T, b step.Bound, o enginetest.ReplayOptions) {
	for _, name := range passiveFiles {
		t.Run(name, func(t *testing.T) {
			for i, p := range passiveClients(t, name) {
				if o != (enginetest.ReplayOptions{}) && testing.Short() && len(p.Epochs) > 20 {
					p.Epochs = p.Epochs[:20]
				}
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					if err := p.Replay(step.With(t.Context(), b), filepath.Join(t.TempDir(), "state"), o); err != nil {
						t.Errorf("suite %d: %v", p.CipherSuite, err)
					}
				})
			}
		})
	}
}
