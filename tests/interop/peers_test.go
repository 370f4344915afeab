package interop

import "github.com/conclave-mls/conclave"

const (
	barePublicKey = "it takes what external_pub holds for the bare key, without the length that RFC 9420 12.4.3.2 puts before it, so no GroupInfo of another implementation can be used"
	reusedLeaf    = "a member does not notice that a commit removes it when the same commit adds somebody, who takes its leaf"
	oneSender     = "it takes external_senders for one sender, where RFC 9420 12.1.8.1 has a vector of them"
)

// peers are the tables of the page.
var peers = []*peer{
	{
		name: "CoreCrypto", scripts: []string{"corecrypto.mjs"}, profile: conclave.ProfileWire, scenarios: scenarios,
		suites: []conclave.CipherSuite{1, 2, 3, 5, 7}, window: 2, codes: true, joins: true,
	},
	{
		name: "ts-mls", scripts: []string{"tsmls.mjs"}, profile: conclave.ProfileRFC9420, scenarios: scenarios,
		suites: []conclave.CipherSuite{1, 2, 3, 4, 5, 6, 7}, window: 5,
		known: []known{
			{"they join by external commit", "Invalid public key", barePublicKey},
			{"they lose their state and rejoin by external commit", "Invalid public key", barePublicKey},
			{"they miss commits for good, notice and rejoin", "Invalid public key", barePublicKey},
			{"we commit our own proposals", "No overlap between provided private keys and update path", reusedLeaf},
			{"an external sender removes; we created, they commit", "", oneSender},
		},
	},
	{
		name: "CoreCrypto and ts-mls", scripts: []string{"corecrypto.mjs", "tsmls.mjs"}, profile: conclave.ProfileWire, scenarios: mixed,
		suites: []conclave.CipherSuite{1, 2, 3, 5, 7},
	},
}
