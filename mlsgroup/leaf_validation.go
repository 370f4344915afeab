package mlsgroup

import (
	"bytes"
	"slices"
	"time"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// Validation of leaves (RFC 9420 section 7.3), in three parts: what concerns
// one leaf, what concerns new leaves among all leaves of a tree, and what the
// authentication service has to say.

// leafRules is what every leaf of a group is measured against.
type leafRules struct {
	s          *primitive.Suite
	suite      CipherSuite
	version    ProtocolVersion
	groupID    []byte
	extensions Extensions            // of the group context
	required   *RequiredCapabilities // among them, nil if there are none
}

// leafRulesOf takes the rules from a group context.
func leafRulesOf(s *primitive.Suite, gc *GroupContext) (*leafRules, error) {
	required, err := gc.Extensions.requiredCapabilities()
	if err != nil {
		return nil, err
	}
	return &leafRules{
		s: s, suite: gc.CipherSuite, version: gc.Version, groupID: gc.GroupID,
		extensions: gc.Extensions, required: required,
	}, nil
}

// check verifies one leaf, to stand at i, but for its credential, its lifetime
// and its source. The signature comes last because it costs most.
func (r *leafRules) check(l *LeafNode, i LeafIndex) error {
	signatures, err := r.checkForm(l, i)
	if err != nil {
		return err
	}
	return verifySignatures(r.s, signatures)
}

// checkForm is check but for the signature, which it returns.
func (r *leafRules) checkForm(l *LeafNode, i LeafIndex) ([]leafSignature, error) {
	if err := r.compatible(l); err != nil {
		return nil, err
	}
	if err := l.checkForm(r.s); err != nil {
		return nil, err
	}
	return []leafSignature{l.signature(r.groupID, i)}, nil
}

// compatible verifies that the client behind the leaf can be in the group.
func (r *leafRules) compatible(l *LeafNode) error {
	if !slices.Contains(l.Capabilities.Versions, r.version) || !slices.Contains(l.Capabilities.CipherSuites, r.suite) {
		return CheckLeafVersionSuite.Errorf("version %d or suite %v is not listed", r.version, r.suite)
	}
	if !l.Capabilities.meets(r.required) {
		return CheckRequiredCapabilities.Errorf("a required capability is not listed")
	}
	if t, missing := l.Capabilities.unsupported(r.extensions); missing {
		return CheckLeafGroupExtensions.Errorf("extension type 0x%04x of the group is not listed", uint16(t))
	}
	return nil
}

// checkForm verifies what a leaf says of itself, whatever group it is in, but for
// its signature and signature key.
func (l *LeafNode) checkForm(s *primitive.Suite) error {
	if !l.Capabilities.credential(l.Credential.Type) {
		return CheckLeafCredentialType.Errorf("credential type %d is not listed", l.Credential.Type)
	}
	if t, missing := l.Capabilities.unsupported(l.Extensions); missing {
		return CheckLeafExtensions.Errorf("extension type 0x%04x is not listed", uint16(t))
	}
	if err := s.CheckPublicKey(l.EncryptionKey); err != nil {
		return CheckEncryptionKey.Errorf("%v", err)
	}
	return l.Credential.checkKey(l.SignatureKey)
}

// checkKey verifies that an X.509 credential is about the key (RFC 9420 section
// 5.3).
func (c *Credential) checkKey(signatureKey []byte) error {
	if c.Type != CredentialTypeX509 {
		return nil
	}
	if len(c.Certificates) == 0 {
		return CheckX509PublicKey.Errorf("no certificate")
	}
	key, ok := certificatePublicKey(c.Certificates[0])
	if !ok {
		return CheckX509PublicKey.Errorf("malformed certificate")
	}
	if !bytes.Equal(key, signatureKey) {
		return CheckX509PublicKey.Errorf("the certificate is for another key")
	}
	return nil
}

// sign makes the signature of a leaf that is to stand at i.
func (l *LeafNode) sign(s *primitive.Suite, signer *Signer, groupID []byte, i LeafIndex) error {
	sig, err := signWithLabel(s, signer.Private, labelLeafNodeTBS, l.appendTBS(nil, groupID, i))
	l.Signature = sig
	return err
}

// checkLifetime verifies the lifetime of a leaf that we are about to send.
func (l *LeafNode) checkLifetime(in *Input) error {
	if l.Source != LeafNodeSourceKeyPackage {
		return nil
	}
	now := in.Now.Unix()
	if now < 0 || uint64(now) < l.Lifetime.NotBefore || uint64(now) > l.Lifetime.NotAfter {
		return CheckLifetime.Errorf("valid from %d to %d, now %d", l.Lifetime.NotBefore, l.Lifetime.NotAfter, now)
	}
	return l.checkLifetimeTotal(in)
}

// checkLifetimeTotal verifies the length of the lifetime, which every leaf of a
// key package has to keep to, whoever sends it and whenever it is looked at.
func (l *LeafNode) checkLifetimeTotal(in *Input) error {
	if l.Source != LeafNodeSourceKeyPackage || in.MaxLifetime <= 0 {
		return nil
	}
	if n, most := l.Lifetime.NotAfter-l.Lifetime.NotBefore, uint64(in.MaxLifetime/time.Second); l.Lifetime.NotAfter < l.Lifetime.NotBefore || n > most {
		return CheckLifetimeTotal.Errorf("from %d to %d, at most %d seconds", l.Lifetime.NotBefore, l.Lifetime.NotAfter, most)
	}
	return nil
}

// newLeaf is a leaf that a commit brings into a tree, and its place.
type newLeaf struct {
	i    LeafIndex
	leaf *LeafNode
}

// checkAmong verifies what new leaves have to fulfil among all leaves of the
// tree they are now part of: keys that no other member has, and credential
// types that all members support.
func checkAmong(t *RatchetTree, leaves []newLeaf) error {
	if len(leaves) == 0 {
		return nil
	}
	at := make(map[string]LeafIndex, 2*len(leaves)) // encryption and signature keys, told apart by a byte
	var types []CredentialType                      // of new leaves
	signature, encryption := make([][]byte, 0, len(leaves)), make([][]byte, 0, len(leaves))
	for _, n := range leaves {
		if j, twice := at["s"+string(n.leaf.SignatureKey)]; twice {
			return CheckSignatureKeyUnique.Errorf("leaves %d and %d", j, n.i)
		}
		if j, twice := at["e"+string(n.leaf.EncryptionKey)]; twice {
			return CheckEncryptionKeyUnique.Errorf("leaves %d and %d", j, n.i)
		}
		at["s"+string(n.leaf.SignatureKey)] = n.i
		at["e"+string(n.leaf.EncryptionKey)] = n.i
		signature = append(signature, n.leaf.SignatureKey)
		encryption = append(encryption, n.leaf.EncryptionKey)
		if !slices.Contains(types, n.leaf.Credential.Type) {
			types = append(types, n.leaf.Credential.Type)
		}
	}
	var inUse []CredentialType // of all leaves
	signatureSet, encryptionSet := newKeySet(signature...), newKeySet(encryption...)
	for i, l := range t.Members() {
		if signatureSet.has(l.SignatureKey) && at["s"+string(l.SignatureKey)] != i {
			return CheckSignatureKeyUnique.Errorf("leaves %d and %d", i, at["s"+string(l.SignatureKey)])
		}
		if encryptionSet.has(l.EncryptionKey) && at["e"+string(l.EncryptionKey)] != i {
			return CheckEncryptionKeyUnique.Errorf("leaves %d and %d", i, at["e"+string(l.EncryptionKey)])
		}
		if !slices.Contains(inUse, l.Credential.Type) {
			inUse = append(inUse, l.Credential.Type)
		}
		for _, ct := range types {
			if !l.Capabilities.credential(ct) {
				return CheckCredentialTypeSupported.Errorf("leaf %d does not list credential type %d", i, ct)
			}
		}
	}
	for _, n := range leaves {
		for _, ct := range inUse {
			if !n.leaf.Capabilities.credential(ct) {
				return CheckCredentialTypesInUse.Errorf("leaf %d does not list credential type %d", n.i, ct)
			}
		}
	}
	return nil
}

// checkCredentialTypes verifies that every member of a tree supports every
// credential type in use.
func checkCredentialTypes(t *RatchetTree) error {
	var inUse []CredentialType
	for _, l := range t.Members() {
		if !slices.Contains(inUse, l.Credential.Type) {
			inUse = append(inUse, l.Credential.Type)
		}
	}
	for i, l := range t.Members() {
		for _, ct := range inUse {
			if !l.Capabilities.credential(ct) {
				return CheckCredentialTypeSupported.Errorf("leaf %d does not list credential type %d", i, ct)
			}
		}
	}
	return nil
}

// authenticate asks the authentication service about a leaf that enters the
// group, old being the one it replaces or nil.
func (in *Input) authenticate(l, old *LeafNode) error {
	if old != nil && old.Credential.Equal(&l.Credential) && bytes.Equal(old.SignatureKey, l.SignatureKey) {
		return nil
	}
	if err := in.auth().ValidateCredential(&l.Credential, l.SignatureKey); err != nil {
		return CheckCredential.Errorf("%v", err)
	}
	if old != nil && !old.Credential.Equal(&l.Credential) {
		if err := in.auth().ValidSuccessor(&old.Credential, &l.Credential); err != nil {
			return CheckCredentialSuccessor.Errorf("%v", err)
		}
	}
	return nil
}
