package mlsgroup

import (
	"bytes"
	"errors"
	"testing"
)

// wireType is one wire type of the package for the tests that treat all alike:
// parse reads b to its end and encodes what it read.
type wireType struct {
	name  string
	parse func(b []byte) ([]byte, error)
}

func wireTypeOf[T any](name string, read func(*T, *reader), enc func(*T, []byte) []byte) wireType {
	return wireType{name, func(b []byte) ([]byte, error) {
		var x T
		if err := parse(b, func(r *reader) { read(&x, r) }); err != nil {
			return nil, err
		}
		return enc(&x, nil), nil
	}}
}

// authOfCommit lets FramedContentAuth, whose form depends on a content type,
// stand in the table.
type authOfCommit struct{ FramedContentAuth }

var wireTypes = map[string]wireType{}

func init() {
	for _, w := range []wireType{
		wireTypeOf("MLSMessage", (*MLSMessage).read, (*MLSMessage).append),
		wireTypeOf("PublicMessage", (*PublicMessage).read, (*PublicMessage).append),
		wireTypeOf("PrivateMessage", (*PrivateMessage).read, (*PrivateMessage).append),
		wireTypeOf("AuthenticatedContent", (*AuthenticatedContent).read, (*AuthenticatedContent).append),
		wireTypeOf("FramedContent", (*FramedContent).read, (*FramedContent).append),
		wireTypeOf("FramedContentAuth", func(a *authOfCommit, r *reader) { a.read(r, ContentTypeCommit) },
			func(a *authOfCommit, b []byte) []byte { return a.append(b, ContentTypeCommit) }),
		wireTypeOf("Sender", (*Sender).read, (*Sender).append),
		wireTypeOf("Welcome", (*Welcome).read, (*Welcome).append),
		wireTypeOf("EncryptedGroupSecrets", (*EncryptedGroupSecrets).read, (*EncryptedGroupSecrets).append),
		wireTypeOf("GroupSecrets", (*GroupSecrets).read, (*GroupSecrets).append),
		wireTypeOf("GroupInfo", (*GroupInfo).read, (*GroupInfo).append),
		wireTypeOf("GroupContext", (*GroupContext).read, (*GroupContext).append),
		wireTypeOf("KeyPackage", (*KeyPackage).read, (*KeyPackage).append),
		wireTypeOf("LeafNode", (*LeafNode).read, (*LeafNode).append),
		wireTypeOf("ParentNode", (*ParentNode).read, (*ParentNode).append),
		wireTypeOf("Capabilities", (*Capabilities).read, (*Capabilities).append),
		wireTypeOf("Credential", (*Credential).read, (*Credential).append),
		wireTypeOf("Extensions", (*Extensions).read, func(es *Extensions, b []byte) []byte { return es.append(b) }),
		wireTypeOf("RequiredCapabilities", (*RequiredCapabilities).read, (*RequiredCapabilities).append),
		wireTypeOf("ExternalSender", (*ExternalSender).read, (*ExternalSender).append),
		wireTypeOf("Commit", (*Commit).read, (*Commit).append),
		wireTypeOf("UpdatePath", (*UpdatePath).read, (*UpdatePath).append),
		wireTypeOf("UpdatePathNode", (*UpdatePathNode).read, (*UpdatePathNode).append),
		wireTypeOf("HPKECiphertext", (*HPKECiphertext).read, (*HPKECiphertext).append),
		wireTypeOf("Proposal", (*Proposal).read, (*Proposal).append),
		wireTypeOf("ProposalOrRef", (*ProposalOrRef).read, (*ProposalOrRef).append),
		wireTypeOf("PreSharedKeyID", (*PreSharedKeyID).read, (*PreSharedKeyID).append),
	} {
		wireTypes[w.name] = w
	}
}

// bareProposal reads a proposal of a known type without its type in front, as
// messages.json has them.
func bareProposal(t ProposalType, b []byte) ([]byte, error) {
	full, err := wireTypes["Proposal"].parse(append(appendUint16(nil, uint16(t)), b...))
	if err != nil {
		return nil, err
	}
	return full[2:], nil
}

func TestMessagesVectors(t *testing.T) {
	proposals := map[string]ProposalType{
		"add_proposal":                      ProposalTypeAdd,
		"update_proposal":                   ProposalTypeUpdate,
		"remove_proposal":                   ProposalTypeRemove,
		"pre_shared_key_proposal":           ProposalTypePreSharedKey,
		"re_init_proposal":                  ProposalTypeReInit,
		"external_init_proposal":            ProposalTypeExternalInit,
		"group_context_extensions_proposal": ProposalTypeGroupContextExtensions,
	}
	types := map[string]string{
		"mls_welcome": "MLSMessage", "mls_group_info": "MLSMessage", "mls_key_package": "MLSMessage",
		"public_message_application": "MLSMessage", "public_message_proposal": "MLSMessage",
		"public_message_commit": "MLSMessage", "private_message": "MLSMessage",
		"group_secrets": "GroupSecrets", "commit": "Commit",
	}
	for i, v := range vectors[map[string]hexBytes](t, "messages.json") {
		for name, want := range v {
			var got []byte
			var err error
			if pt, ok := proposals[name]; ok {
				got, err = bareProposal(pt, want)
			} else if wt, ok := types[name]; ok {
				got, err = wireTypes[wt].parse(want)
			} else if name == "ratchet_tree" {
				continue // read by the tests of RatchetTree
			} else {
				t.Fatalf("unknown kind of message %q", name)
			}
			if err != nil {
				t.Errorf("%d %s: %v", i, name, err)
			} else if !bytes.Equal(got, want) {
				t.Errorf("%d %s: read and written again it differs", i, name)
			}
		}
	}
}

func TestDeserializationVectors(t *testing.T) {
	type vector struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int      `json:"length"`
	}
	for _, v := range vectors[vector](t, "deserialization.json") {
		r := reader{b: v.Header}
		if got := r.varint(); got != v.Length || r.done() != nil {
			t.Errorf("%x: got %d (%v), want %d", []byte(v.Header), got, r.err, v.Length)
		}
		if got := appendVarint(nil, v.Length); !bytes.Equal(got, v.Header) {
			t.Errorf("%d: got %x, want %x", v.Length, got, []byte(v.Header))
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	long := bytes.Repeat([]byte{0}, 1<<14)
	for _, tt := range []struct {
		name string
		typ  string
		in   []byte
		want error
	}{
		{"prefix 11", "HPKECiphertext", []byte{0xc0, 0, 0, 0}, CheckVectorLengthPrefix},
		{"two bytes for 1", "HPKECiphertext", []byte{0x40, 0x01, 0, 0}, CheckVectorLengthMinimal},
		{"four bytes for 64", "HPKECiphertext", append([]byte{0x80, 0, 0, 64}, long[:66]...), CheckVectorLengthMinimal},
		{"more declared than there", "HPKECiphertext", []byte{0xbf, 0xff, 0xff, 0xff, 0}, ErrDecode},
		{"cut short", "HPKECiphertext", []byte{1}, ErrDecode},
		{"left over", "HPKECiphertext", []byte{0, 0, 0}, ErrDecode},
		{"presence byte 2", "Commit", []byte{0, 2}, CheckOptionalPresence},
		{"unknown proposal", "Proposal", []byte{0x0a, 0x0a, 0}, &UnknownProposalTypeError{0x0a0a}},
		{"extension twice", "Extensions", []byte{6, 0, 1, 0, 0, 1, 0}, CheckExtensionTwice},
		{"unmerged leaves out of order", "ParentNode", []byte{0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1}, CheckUnmergedSorted},
		{"unmerged leaf twice", "ParentNode", []byte{0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 2}, CheckUnmergedSorted},
		{"other version", "MLSMessage", []byte{0, 2, 0, 2}, ErrDecode},
		{"other wire format", "MLSMessage", []byte{0, 1, 0, 9}, ErrDecode},
		{"odd list of values", "Capabilities", []byte{1, 0, 0, 0, 0, 0}, ErrDecode},
		{"sender type", "Sender", []byte{5}, ErrDecode},
		{"PSK type", "PreSharedKeyID", []byte{3, 0}, ErrDecode},
		{"PSK usage", "PreSharedKeyID", []byte{2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ErrDecode},
		{"ProposalOrRef type", "ProposalOrRef", []byte{3, 0}, ErrDecode},
		{"too many certificates", "Credential", append([]byte{0, 2, maxCertificates + 1}, long[:maxCertificates+1]...), ErrDecode},
	} {
		_, err := wireTypes[tt.typ].parse(tt.in)
		var unknown *UnknownProposalTypeError
		if errors.As(tt.want, &unknown) {
			var got *UnknownProposalTypeError
			if !errors.As(err, &got) || *got != *unknown || !errors.Is(err, ErrDecode) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
			continue
		}
		if !errors.Is(err, tt.want) || !errors.Is(err, ErrDecode) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// GREASE values (RFC 9420 section 13.5) survive reading and writing.
func TestUnknownValuesAreKept(t *testing.T) {
	leaf := &LeafNode{
		EncryptionKey: []byte("e"), SignatureKey: []byte("s"),
		Credential: Credential{Type: 0x2a2a, Opaque: []byte("who")},
		Capabilities: Capabilities{
			Versions: []ProtocolVersion{1, 0x3a3a}, CipherSuites: []CipherSuite{1, 0x4a4a},
			Extensions: []ExtensionType{0x5a5a}, Proposals: []ProposalType{0x6a6a}, Credentials: []CredentialType{1, 0x7a7a},
		},
		Source:     LeafNodeSourceUpdate,
		Extensions: Extensions{{Type: 0x8a8a, Body: []byte("x")}},
		Signature:  []byte("sig"),
	}
	b := leaf.Marshal()
	got, err := ParseLeafNode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Marshal(), b) {
		t.Errorf("got %+v, want %+v", got, leaf)
	}
	if got.Credential.Type != 0x2a2a || string(got.Credential.Opaque) != "who" || got.Capabilities.Proposals[0] != 0x6a6a {
		t.Errorf("unknown values lost: %+v", got)
	}
}

// What Parse returns is the caller's own: the input may be used again.
func TestParseKeepsNoInput(t *testing.T) {
	b := (&Credential{Type: CredentialTypeBasic, Identity: []byte("alice")}).Marshal()
	c, err := ParseCredential(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(c.Identity) != "alice" {
		t.Errorf("identity is now %q", c.Identity)
	}
}
