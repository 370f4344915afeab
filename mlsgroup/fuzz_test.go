package mlsgroup

import (
	"bytes"
	"testing"
)

// One fuzz target for each wire type: no input may panic, and what parses must
// be written as the bytes it was read from.

func fuzzWireType(f *testing.F, name string, seeds ...[]byte) {
	w, ok := wireTypes[name]
	if !ok {
		f.Fatalf("no wire type %s", name)
	}
	f.Add([]byte{})
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := w.parse(in)
		if err == nil && !bytes.Equal(in, out) {
			t.Errorf("%s: read %x, wrote %x", name, in, out)
		}
	})
}

// vectorSeeds takes the first messages of messages.json under the given names.
func vectorSeeds(f *testing.F, names ...string) [][]byte {
	var seeds [][]byte
	for i, v := range vectors[map[string]hexBytes](f, "messages.json") {
		if i == 4 {
			break
		}
		for _, name := range names {
			seeds = append(seeds, v[name])
		}
	}
	return seeds
}

func fuzzLeaf() *LeafNode {
	return &LeafNode{
		EncryptionKey: make([]byte, 32), SignatureKey: make([]byte, 32), Credential: BasicCredential([]byte("a")),
		Capabilities: Capabilities{Versions: []ProtocolVersion{1}, CipherSuites: []CipherSuite{1}, Credentials: []CredentialType{1}},
		Source:       LeafNodeSourceCommit, ParentHash: make([]byte, 32), Signature: make([]byte, 64),
	}
}

func FuzzMLSMessage(f *testing.F) {
	fuzzWireType(f, "MLSMessage", vectorSeeds(f, "mls_welcome", "mls_group_info", "mls_key_package",
		"public_message_application", "public_message_proposal", "public_message_commit", "private_message")...)
}

func FuzzPublicMessage(f *testing.F) {
	var seeds [][]byte
	for _, s := range vectorSeeds(f, "public_message_application", "public_message_proposal", "public_message_commit") {
		seeds = append(seeds, s[4:])
	}
	fuzzWireType(f, "PublicMessage", seeds...)
}

func FuzzPrivateMessage(f *testing.F) {
	for _, s := range vectorSeeds(f, "private_message") {
		f.Add(s[4:])
	}
	fuzzWireType(f, "PrivateMessage")
}

func FuzzAuthenticatedContent(f *testing.F) {
	c := AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: []byte("g"), Sender: Sender{Type: SenderTypeMember}, ContentType: ContentTypeApplication}}
	fuzzWireType(f, "AuthenticatedContent", c.append(nil))
}

func FuzzFramedContent(f *testing.F) {
	c := FramedContent{Sender: Sender{Type: SenderTypeExternal, Index: 1}, ContentType: ContentTypeProposal,
		Proposal: &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: 3}}}
	fuzzWireType(f, "FramedContent", c.append(nil))
}

func FuzzFramedContentAuth(f *testing.F) {
	fuzzWireType(f, "FramedContentAuth", []byte{1, 2, 1, 3})
}

func FuzzSender(f *testing.F) {
	fuzzWireType(f, "Sender", []byte{1, 0, 0, 0, 0}, []byte{2, 0, 0, 0, 1}, []byte{3}, []byte{4})
}

func FuzzWelcome(f *testing.F) {
	for _, s := range vectorSeeds(f, "mls_welcome") {
		f.Add(s[4:])
	}
	fuzzWireType(f, "Welcome")
}

func FuzzEncryptedGroupSecrets(f *testing.F) {
	fuzzWireType(f, "EncryptedGroupSecrets", []byte{1, 2, 1, 3, 1, 4})
}

func FuzzGroupSecrets(f *testing.F) {
	fuzzWireType(f, "GroupSecrets", vectorSeeds(f, "group_secrets")...)
}

func FuzzGroupInfo(f *testing.F) {
	for _, s := range vectorSeeds(f, "mls_group_info") {
		f.Add(s[4:])
	}
	fuzzWireType(f, "GroupInfo")
}

func FuzzGroupContext(f *testing.F) {
	gc := GroupContext{Version: 1, CipherSuite: 1, GroupID: []byte("g"), TreeHash: make([]byte, 32)}
	fuzzWireType(f, "GroupContext", gc.append(nil))
}

func FuzzKeyPackage(f *testing.F) {
	for _, s := range vectorSeeds(f, "mls_key_package") {
		f.Add(s[4:])
	}
	fuzzWireType(f, "KeyPackage")
}

func FuzzLeafNode(f *testing.F) { fuzzWireType(f, "LeafNode", fuzzLeaf().append(nil)) }

func FuzzParentNode(f *testing.F) {
	p := ParentNode{EncryptionKey: make([]byte, 32), UnmergedLeaves: []LeafIndex{1, 2}}
	fuzzWireType(f, "ParentNode", p.append(nil))
}

func FuzzCapabilities(f *testing.F) {
	fuzzWireType(f, "Capabilities", fuzzLeaf().Capabilities.append(nil))
}

func FuzzCredential(f *testing.F) {
	x509 := X509Credential([][]byte{{1}, {2, 3}})
	fuzzWireType(f, "Credential", []byte{0, 1, 1, 'a'}, x509.append(nil), []byte{0x0a, 0x0a, 0})
}

func FuzzExtensions(f *testing.F) { fuzzWireType(f, "Extensions", []byte{6, 0, 1, 0, 0, 2, 0}) }

func FuzzRequiredCapabilities(f *testing.F) {
	fuzzWireType(f, "RequiredCapabilities", []byte{0, 0, 4, 0, 1, 0, 2})
}

func FuzzExternalSender(f *testing.F) {
	fuzzWireType(f, "ExternalSender", []byte{1, 9, 0, 1, 1, 'a'})
}

func FuzzCommit(f *testing.F) { fuzzWireType(f, "Commit", vectorSeeds(f, "commit")...) }

func FuzzUpdatePath(f *testing.F) {
	p := UpdatePath{LeafNode: fuzzLeaf(), Nodes: []UpdatePathNode{{EncryptionKey: make([]byte, 32),
		EncryptedPathSecret: newHPKECiphertexts([]HPKECiphertext{{KEMOutput: []byte{1}, Ciphertext: []byte{2}}})}}}
	fuzzWireType(f, "UpdatePath", p.append(nil))
}

func FuzzUpdatePathNode(f *testing.F) {
	fuzzWireType(f, "UpdatePathNode", []byte{1, 1, 4, 1, 2, 1, 3})
}

func FuzzHPKECiphertext(f *testing.F) { fuzzWireType(f, "HPKECiphertext", []byte{1, 2, 1, 3}) }

func FuzzProposal(f *testing.F) {
	fuzzWireType(f, "Proposal", []byte{0, 3, 0, 0, 0, 1}, []byte{0, 6, 1, 1}, []byte{0, 7, 0})
}

func FuzzProposalOrRef(f *testing.F) {
	fuzzWireType(f, "ProposalOrRef", []byte{1, 0, 3, 0, 0, 0, 1}, []byte{2, 1, 7})
}

func FuzzPreSharedKeyID(f *testing.F) {
	fuzzWireType(f, "PreSharedKeyID", []byte{1, 1, 'p', 0}, []byte{2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
}
