package interop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const pageBegin = `# Live conversations with other implementations

Written by ` + "`tests/interop`" + ` (` + "`go test -run TestMatrix -update`" + ` in that folder), which plays all of it against the real peers in Node and holds this page in
` + "`.ci/run`" + `, where there is Node and the peers' packages can be had. Every scenario ends with a text of every member to every other, and whenever all have processed what there
is, they compare epoch, member list and a secret of MLS's exporter. The delivery service takes one commit for each epoch, as Wire's does. *We* is this engine, *they* is the peer.
Where a key changes under a Basic credential, our clients have ` + "`ClientOptions.BasicKeyChange`" + `, without which they refuse it.

Certificates are X.509 credentials, which each side gets by its own enrolment from a CA in memory with keys of the suite's signature algorithm. Members compare all that
they read of each other: the conversation's state, and of everybody client id, status, thumbprint, handle, display name, domain, serial number, validity and certificate.
CRLs come from that CA, each side is told of the same new distribution points, and time is moved on both sides alike.

Peers: %s.

- **yes**: it works.
- **–**: there is no function for it; the number says whose API lacks it.
- **no**: it fails for the reason under the number.
- empty: not played. What the row tries does not depend on the primitives, and these take a peer in JavaScript too long.
`

const proteusBegin = `
## Proteus

Every scenario ends with texts to and fro, and both devices compare the fingerprints of both ends.

| scenario | CoreCrypto | @wireapp/proteus |
| --- | --- | --- |
`

// renderMatrix writes the page from the results.
func renderMatrix() string {
	var b strings.Builder
	var versions []string
	for _, p := range peers {
		for _, n := range p.nodes {
			if !slices.Contains(versions, n.version) {
				versions = append(versions, n.version)
			}
		}
	}
	for _, p := range proteusPeers {
		if !slices.Contains(versions, p.node.version) {
			versions = append(versions, p.node.version)
		}
	}
	fmt.Fprintf(&b, pageBegin, strings.Join(versions, ", "))
	var notes []string
	note := func(text string) int {
		i := slices.Index(notes, text)
		if i < 0 {
			i = len(notes)
			notes = append(notes, text)
		}
		return i + 1
	}
	cell := func(err error, peer string, k *known) {
		var unsupported errUnsupported
		switch {
		case err == nil:
			b.WriteString(" yes |")
		case errors.As(err, &unsupported):
			fmt.Fprintf(&b, " – (%d) |", note(string(unsupported)))
		default:
			fmt.Fprintf(&b, " no (%d) |", note(peer+": "+k.because))
		}
	}
	for _, p := range peers {
		fmt.Fprintf(&b, "\n## %s\n\n| scenario |", p.name)
		for _, suite := range p.suites {
			fmt.Fprintf(&b, " suite %d |", suite)
		}
		b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(p.suites)) + "\n")
		for row, sc := range p.scenarios {
			fmt.Fprintf(&b, "| %s |", sc.name)
			for column, suite := range p.suites {
				if !sc.playedIn(suite) {
					b.WriteString(" |")
					continue
				}
				cell(p.results[row][column], p.name, knownOf(p.known, sc.name))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(proteusBegin)
	for row, sc := range proteusScenarios {
		fmt.Fprintf(&b, "| %s |", sc.name)
		for _, p := range proteusPeers {
			cell(p.results[row], p.name, knownOf(p.known, sc.name))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Notes\n\n")
	for i, n := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, n)
	}
	return b.String()
}
