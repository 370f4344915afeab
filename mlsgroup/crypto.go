package mlsgroup

import (
	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// The labelled constructions of RFC 9420 sections 5.1, 5.2 and 8 over the bare
// primitives of a suite. Every signature, encryption and derivation of this
// package goes through this file, with a label of its own, so that no output of
// one can be taken for another.

const labelPrefix = "MLS 1.0 "

// Labels of signatures (RFC 9420 section 17.6).
const (
	labelFramedContentTBS = "FramedContentTBS"
	labelLeafNodeTBS      = "LeafNodeTBS"
	labelKeyPackageTBS    = "KeyPackageTBS"
	labelGroupInfoTBS     = "GroupInfoTBS"
)

// Labels of public key encryption (RFC 9420 section 17.7).
const (
	labelUpdatePathNode = "UpdatePathNode"
	labelWelcome        = "Welcome"
)

// Labels of hash references, prefix included (RFC 9420 section 5.2).
const (
	labelKeyPackageRef = labelPrefix + "KeyPackage Reference"
	labelProposalRef   = labelPrefix + "Proposal Reference"
)

// appendLabeled appends SignContent, EncryptContext or another struct of the
// form {label<V>; content<V>}.
func appendLabeled(b []byte, label string, content []byte) []byte {
	b = appendVarint(b, len(labelPrefix)+len(label))
	b = append(append(b, labelPrefix...), label...)
	return appendOpaque(b, content)
}

// labeled is appendLabeled into new memory of the right size.
func labeled(label string, content []byte) []byte {
	b := make([]byte, 0, 8+len(labelPrefix)+len(label)+len(content))
	return appendLabeled(b, label, content)
}

// signWithLabel is SignWithLabel (RFC 9420 section 5.1.2).
func signWithLabel(s *primitive.Suite, priv secret.Bytes, label string, content []byte) ([]byte, error) {
	return s.Sign(priv, labeled(label, content))
}

// verifyWithLabel is VerifyWithLabel (RFC 9420 section 5.1.2). Its error is
// primitive.ErrSignature; the caller says which check failed.
func verifyWithLabel(s *primitive.Suite, pub []byte, label string, content, signature []byte) error {
	return s.Verify(pub, labeled(label, content), signature)
}

// encryptWithLabel is EncryptWithLabel (RFC 9420 section 5.1.3). The seed is
// SeedSize fresh random bytes.
func encryptWithLabel(s *primitive.Suite, pub []byte, label string, context, plaintext []byte, seed secret.Bytes) (HPKECiphertext, error) {
	kemOutput, ciphertext, err := s.Seal(pub, labeled(label, context), nil, plaintext, seed)
	return HPKECiphertext{KEMOutput: kemOutput, Ciphertext: ciphertext}, err
}

// decryptWithLabel is DecryptWithLabel (RFC 9420 section 5.1.3).
func decryptWithLabel(s *primitive.Suite, priv secret.Bytes, label string, context []byte, c HPKECiphertext) (secret.Bytes, error) {
	return s.Open(priv, c.KEMOutput, labeled(label, context), nil, c.Ciphertext)
}

// expandWithLabel is ExpandWithLabel (RFC 9420 section 8). It fails when n is
// negative or more than 255 * Nh.
func expandWithLabel(s *primitive.Suite, sec secret.Bytes, label string, context []byte, n int) (secret.Bytes, error) {
	var space [128]byte
	info := appendUint16(space[:0], uint16(n))
	info = appendLabeled(info, label, context)
	return s.Expand(sec, info, n)
}

// deriveSecret is DeriveSecret (RFC 9420 section 8).
func deriveSecret(s *primitive.Suite, sec secret.Bytes, label string) (secret.Bytes, error) {
	return expandWithLabel(s, sec, label, nil, s.HashSize())
}

// deriveTreeSecret is DeriveTreeSecret (RFC 9420 section 9).
func deriveTreeSecret(s *primitive.Suite, sec secret.Bytes, label string, generation uint32, n int) (secret.Bytes, error) {
	var context [4]byte
	return expandWithLabel(s, sec, label, appendUint32(context[:0], generation), n)
}

// refHash is RefHash (RFC 9420 section 5.2); the label includes its prefix.
func refHash(s *primitive.Suite, label string, value []byte) []byte {
	b := appendVarint(make([]byte, 0, 8+len(label)), len(label))
	b = append(b, label...)
	b = appendVarint(b, len(value))
	return s.Hash(nil, b, value)
}

// Ref returns the hash reference of the key package under its own suite (RFC
// 9420 section 5.2).
func (kp *KeyPackage) Ref() (KeyPackageRef, error) {
	s, err := kp.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	return refHash(s, labelKeyPackageRef, kp.append(nil)), nil
}

// proposalRef returns the hash reference of the proposal that ac carries.
func (ac *AuthenticatedContent) proposalRef(s *primitive.Suite) ProposalRef {
	return refHash(s, labelProposalRef, ac.append(nil))
}
