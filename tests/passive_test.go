package tests

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/internal/race"
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
func TestPassiveClients(t *testing.T) {
	replayPassiveClients(t, enginetest.ReplayOptions{}, ownSetting)
}

// TestPassiveClientsReopened runs them again with the engine closed and opened between every two messages.
func TestPassiveClientsReopened(t *testing.T) {
	replayPassiveClients(t, enginetest.ReplayOptions{Reopen: true}, ownSetting)
}

// TestPassiveClientsExtreme runs them at extreme settings.
func TestPassiveClientsExtreme(t *testing.T) {
	replayPassiveClients(t, enginetest.ReplayOptions{}, extreme.Over)
}

// TestPassiveClientsTogether runs them with all messages of a case in one stream, each case at the opposite of the setting that it is at above.
func TestPassiveClientsTogether(t *testing.T) {
	replayPassiveClients(t, enginetest.ReplayOptions{Together: true}, func(n uint64) []extreme.Setting { return extreme.Over(n ^ 3) })
}

// ownSetting is the engine's own.
func ownSetting(uint64) []extreme.Setting { return []extreme.Setting{{Name: "own"}} }

// replayPassiveClients runs the nth case of each file at over(n).
func replayPassiveClients(t *testing.T, o enginetest.ReplayOptions, over func(n uint64) []extreme.Setting) {
	for _, name := range passiveFiles {
		t.Run(name, func(t *testing.T) {
			for i, p := range passiveClients(t, name) {
				for _, x := range over(uint64(i)) {
					o := o
					o.StateBytes, o.CacheBytes, o.LeaseGenerations = x.StateBytes, x.CacheBytes, x.LeaseGenerations
					if o != (enginetest.ReplayOptions{}) && testing.Short() && len(p.Epochs) > 20 {
						p.Epochs = p.Epochs[:20]
					}
					t.Run(fmt.Sprint(i, " ", x.Name), func(t *testing.T) {
						t.Parallel()
						if err := p.Replay(x.Open(t.Context()), filepath.Join(t.TempDir(), "state"), o); err != nil {
							t.Errorf("suite %d: %v", p.CipherSuite, err)
						}
					})
				}
			}
		})
	}
}
