package interop

import (
	"strings"

	"github.com/conclave-mls/conclave"
)

const (
	barePublicKey = "it takes what external_pub holds for the bare key, without the length that RFC 9420 12.4.3.2 puts before it, so no GroupInfo of another implementation can be used"
	reusedLeaf    = "a member does not notice that a commit removes it when the same commit adds somebody, who takes its leaf"
	sameUnmerged  = "it wants all nodes above an unmerged leaf to have the same unmerged leaves, where RFC 9420 12.4.3.1 asks it of the nodes below the one that lists the leaf"
	oneSender     = "it takes external_senders for one sender, where RFC 9420 12.1.8.1 has a vector of them"
)

// peers are the tables of the page.
var peers = []*peer{
	{
		name: "CoreCrypto", scripts: []string{"corecrypto.mjs"}, profile: conclave.ProfileWire, scenarios: scenarios,
		suites: []conclave.CipherSuite{1, 2, 3, 5, 7}, window: 2, codes: true, canJoin: func(party) bool { return true },
	},
	{
		name: "CoreCrypto with certificates", scripts: []string{"corecrypto.mjs"}, profile: conclave.ProfileWire, scenarios: certifiedScenarios,
		suites: []conclave.CipherSuite{1, 2, 5, 7}, codes: true, canJoin: func(party) bool { return true }, clock: new(clock),
	},
	{
		name: "ts-mls", scripts: []string{"tsmls.mjs"}, profile: conclave.ProfileRFC9420, scenarios: scenarios,
		suites: []conclave.CipherSuite{1, 2, 3, 4, 5, 6, 7}, window: 5, canJoin: notTSMLS,
		known: []known{
			{"they join by external commit", "DeserializeError", barePublicKey},
			{"they lose their state and rejoin by external commit", "DeserializeError", barePublicKey},
			{"they miss commits for good, notice and rejoin", "DeserializeError", barePublicKey},
			{"we commit our own proposals", "No overlap between provided private keys and update path", reusedLeaf},
			{"they join a tree with a leaf merged above a node where it is not", "non-blank intermediate node", sameUnmerged},
			{"an external sender removes; we created, they commit", "Could not decode ExternalSender", oneSender},
		},
	},
	{
		name: "CoreCrypto and ts-mls", scripts: []string{"corecrypto.mjs", "tsmls.mjs"}, profile: conclave.ProfileWire, scenarios: mixed,
		suites: []conclave.CipherSuite{1, 2, 3, 5, 7}, canJoin: notTSMLS,
	},
}

// notTSMLS tells whether a client is none of ts-mls's, which cannot join every tree, as its table shows.
func notTSMLS(p party) bool {
	theirs, ok := p.(*peerParty)
	return !ok || !strings.HasPrefix(theirs.version, "ts-mls")
}
