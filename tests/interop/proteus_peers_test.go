package interop

import (
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
)

// proteusPeer is an implementation of Proteus, a column of its table.
type proteusPeer struct {
	name   string
	script string
	known  []known

	node    *node
	results []error // by scenario
	played  int
}

var proteusPeers = []*proteusPeer{
	{name: "CoreCrypto", script: "corecrypto.mjs"},
	{name: "@wireapp/proteus", script: "proteus.mjs"},
}

// play plays all scenarios of Proteus with a peer.
func (p *proteusPeer) play(t *testing.T, engine *conclave.Engine) {
	for row, sc := range proteusScenarios {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			s := &proteusStage{ctx: t.Context(), engine: engine, node: p.node, title: p.name + ", " + sc.name}
			err := play(s, sc.play)
			p.results[row] = err
			p.played++
			judge(t, p.known, sc.name, err)
		})
	}
}
