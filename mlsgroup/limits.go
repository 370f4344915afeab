package mlsgroup

// Every bound of this package on input from outside stands here. Lengths are in
// bytes, and a vector is also bounded by the message that holds it. The bounds
// are far above what any deployment needs; they keep a small message from
// becoming much memory or work.
const (
	// maxMessageLen bounds anything that is parsed. A GroupInfo with the tree
	// of 50,000 members with certificates fits.
	maxMessageLen = 1 << 28
	// maxGroupIDLen bounds a group id, which is part of every record.
	maxGroupIDLen = 1 << 12
	// maxExtensions bounds an extension list. It keeps the search for
	// duplicates cheap.
	maxExtensions = 64
	// maxCapabilityValues bounds each list of a Capabilities.
	maxCapabilityValues = 1 << 10
	// maxCertificates bounds the chain of an X.509 credential.
	maxCertificates = 32
	// maxExternalSenders bounds the external_senders extension.
	maxExternalSenders = 1 << 10
	// maxProposals bounds the proposals of a commit.
	maxProposals = 1 << 17
	// maxPathNodes bounds an update path: no tree is deeper.
	maxPathNodes = 32
	// maxPathCiphertexts bounds the ciphertexts for one path node.
	maxPathCiphertexts = 1 << 20
	// maxWelcomeSecrets bounds the joiners of one Welcome.
	maxWelcomeSecrets = 1 << 17
	// maxPSKs bounds the pre-shared keys of one commit or Welcome.
	maxPSKs = 1 << 10
	// maxUnmergedLeaves bounds a parent node's list.
	maxUnmergedLeaves = 1 << 20
	// maxLeafCount bounds the leaves of a tree, blanks counted.
	maxLeafCount LeafCount = 1 << 20
	// maxTreeNodes bounds the nodes of a ratchet_tree, blanks counted.
	maxTreeNodes = 2*int(maxLeafCount) - 1
	// maxEpoch bounds epochs, so that the next one always has a number.
	maxEpoch = 1<<63 - 1
)
