package mlsgroup

import (
	"bytes"
	"fmt"
	"time"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// KeyPackage is what a client publishes so that others can add it to groups
// (RFC 9420 section 10).
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte
	LeafNode    *LeafNode
	Extensions  Extensions
	Signature   []byte
}

// KeyPackageRef is the hash reference of a KeyPackage (RFC 9420 section 5.2).
type KeyPackageRef []byte

// appendTBS appends all fields but the signature, which are the KeyPackageTBS.
func (kp *KeyPackage) appendTBS(b []byte) []byte {
	b = appendUint16(b, uint16(kp.Version))
	b = appendUint16(b, uint16(kp.CipherSuite))
	b = appendOpaque(b, kp.InitKey)
	b = kp.LeafNode.append(b)
	return kp.Extensions.append(b)
}

func (kp *KeyPackage) append(b []byte) []byte {
	return appendOpaque(kp.appendTBS(b), kp.Signature)
}

func (kp *KeyPackage) read(r *reader) {
	kp.Version = ProtocolVersion(r.uint16())
	kp.CipherSuite = CipherSuite(r.uint16())
	kp.InitKey = r.opaque()
	kp.LeafNode = new(LeafNode)
	kp.LeafNode.read(r)
	kp.Extensions.read(r)
	kp.Signature = r.opaque()
}

// Marshal returns the encoding, without an MLSMessage around it.
func (kp *KeyPackage) Marshal() []byte { return kp.append(nil) }

// ParseKeyPackage reads an encoded KeyPackage without an MLSMessage around it.
// The result keeps no part of b.
func ParseKeyPackage(b []byte) (*KeyPackage, error) { return parseClone(b, (*KeyPackage).read) }

// LastResort tells whether the key package may be used many times (RFC 9420
// section 16.8). In the Wire profile the mark means something else.
func (kp *KeyPackage) LastResort() bool {
	_, ok := kp.Extensions.find(ExtensionTypeLastResort)
	return ok
}

// CheckExtensionSupport fails with ErrUnsupportedExtension unless every one of
// the types is among the key package's own extensions. What its client can do
// in a group is another matter: that is in LeafNode.Capabilities.
func (kp *KeyPackage) CheckExtensionSupport(required ...ExtensionType) error {
	for _, t := range required {
		if _, ok := kp.Extensions.find(t); !ok {
			return fmt.Errorf("%w: type 0x%04x", ErrUnsupportedExtension, uint16(t))
		}
	}
	return nil
}

// Lifetimes of key packages that NewKeyPackage makes.
const (
	// DefaultLifetime is how long a key package is valid unless told otherwise.
	DefaultLifetime = 84 * 24 * time.Hour
	// lifetimeMargin is how far in the past validity begins, for clocks that
	// are behind ours.
	lifetimeMargin = time.Hour
)

// KeyPackageOptions says what a new key package is like.
type KeyPackageOptions struct {
	// Profile of the groups it is for. Required.
	Profile Profile
	// Lifetime from Input.Now. Zero means DefaultLifetime.
	Lifetime time.Duration
	// Capabilities, nil for what the profile supports. Values of GREASE may be
	// among them.
	Capabilities *Capabilities
	// LeafExtensions and Extensions of the leaf and the key package. Types that
	// are not default ones have to be listed in Capabilities.
	LeafExtensions Extensions
	Extensions     Extensions
	// LastResort marks the key package as one that may be used again and again.
	// Not possible in the Wire profile, to whose clients the mark says
	// something else.
	LastResort bool
}

// KeyPackageBundle is a key package with its private keys. The signature key is
// the Signer's and not part of it.
type KeyPackageBundle struct {
	KeyPackage  *KeyPackage
	InitPrivate secret.Bytes
	LeafPrivate secret.Bytes
}

// Wipe overwrites the private keys.
func (b *KeyPackageBundle) Wipe() {
	b.InitPrivate.Wipe()
	b.LeafPrivate.Wipe()
}

// keyPackageBundleVersion is the first byte of a stored KeyPackageBundle.
const keyPackageBundleVersion = 1

// Marshal returns the stored form, which holds key material.
func (b *KeyPackageBundle) Marshal() secret.Bytes {
	out := b.KeyPackage.append([]byte{keyPackageBundleVersion})
	out = appendOpaque(out, b.InitPrivate)
	return appendOpaque(out, b.LeafPrivate)
}

// ParseKeyPackageBundle reads what Marshal wrote. The result keeps no part of
// b.
func ParseKeyPackageBundle(b []byte) (*KeyPackageBundle, error) {
	return parseClone(b, func(kb *KeyPackageBundle, r *reader) {
		if v := r.uint8(); r.err == nil && v != keyPackageBundleVersion {
			r.fail("key package bundle of version %d", v)
		}
		kb.KeyPackage = new(KeyPackage)
		kb.KeyPackage.read(r)
		kb.InitPrivate = r.opaque()
		kb.LeafPrivate = r.opaque()
	})
}

// NewKeyPackage makes a key package for the suite and credential of
// Input.Signer.
func NewKeyPackage(in Input, o KeyPackageOptions) (*KeyPackageBundle, error) {
	if err := o.Profile.check(); err != nil {
		return nil, err
	}
	if in.Signer == nil {
		return nil, errNoSigner
	}
	signer, err := in.signer(in.Signer.CipherSuite)
	if err != nil {
		return nil, err
	}
	s, err := signer.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	if o.LastResort {
		if !o.Profile.rules().lastResort {
			return nil, fmt.Errorf("mlsgroup: no last resort key packages in profile %v", o.Profile)
		}
		c := o.Profile.capabilities()
		if o.Capabilities != nil {
			c = *o.Capabilities
		}
		if !c.extension(ExtensionTypeLastResort) {
			c.Extensions = append(c.Extensions[:len(c.Extensions):len(c.Extensions)], ExtensionTypeLastResort)
		}
		o.Capabilities = &c
		o.Extensions = append(o.Extensions[:len(o.Extensions):len(o.Extensions)], Extension{Type: ExtensionTypeLastResort})
	}
	if err := o.Extensions.checkOwn(false); err != nil {
		return nil, err
	}

	bundle := new(KeyPackageBundle)
	kp := &KeyPackage{Version: ProtocolVersionMLS10, CipherSuite: signer.CipherSuite, Extensions: o.Extensions}
	if bundle.InitPrivate, kp.InitKey, err = in.newKeyPair(s); err != nil {
		return nil, err
	}
	if kp.LeafNode, bundle.LeafPrivate, err = in.newKeyPackageLeaf(s, signer, &o); err != nil {
		return nil, err
	}
	if kp.Signature, err = signWithLabel(s, signer.Private, labelKeyPackageTBS, kp.appendTBS(nil)); err != nil {
		return nil, err
	}
	if err := kp.checkForm(s); err != nil {
		return nil, err
	}
	if err := verifySignatures(s, kp.signatures()); err != nil {
		return nil, err
	}
	bundle.KeyPackage = kp
	return bundle, nil
}

// newKeyPair draws an HPKE key pair.
func (in *Input) newKeyPair(s *primitive.Suite) (secret.Bytes, []byte, error) {
	ikm, err := in.random(s.HashSize())
	if err != nil {
		return nil, nil, err
	}
	defer ikm.Wipe()
	return s.DeriveKeyPair(ikm)
}

// newKeyPackageLeaf makes the leaf of a key package, which a group's creator
// has too, with a fresh encryption key.
func (in *Input) newKeyPackageLeaf(s *primitive.Suite, signer *Signer, o *KeyPackageOptions) (*LeafNode, secret.Bytes, error) {
	capabilities := o.Profile.capabilities()
	if o.Capabilities != nil {
		capabilities = *o.Capabilities
	}
	if err := capabilities.checkOwn(); err != nil {
		return nil, nil, err
	}
	if err := o.LeafExtensions.checkOwn(false); err != nil {
		return nil, nil, err
	}
	if greaseValue(uint16(signer.Credential.Type)) {
		return nil, nil, CheckGREASE.Errorf("credential type 0x%04x", uint16(signer.Credential.Type))
	}
	lifetime := o.Lifetime
	if lifetime <= 0 {
		lifetime = DefaultLifetime
	}
	notBefore, notAfter := in.Now.Add(-lifetimeMargin).Unix(), in.Now.Add(lifetime).Unix()
	if notBefore < 0 || notAfter < notBefore {
		return nil, nil, fmt.Errorf("mlsgroup: no lifetime from %v on", in.Now)
	}
	priv, pub, err := in.newKeyPair(s)
	if err != nil {
		return nil, nil, err
	}
	l := &LeafNode{
		EncryptionKey: pub, SignatureKey: signer.Public, Credential: signer.Credential, Capabilities: capabilities,
		Source: LeafNodeSourceKeyPackage, Lifetime: Lifetime{uint64(notBefore), uint64(notAfter)}, Extensions: o.LeafExtensions,
	}
	if err := l.sign(s, signer, nil, 0); err != nil {
		return nil, nil, err
	}
	return l, priv, l.checkForm(s)
}

// checkForm verifies what a key package says of itself (RFC 9420 sections 10 and
// 10.1). Signatures, credential and lifetime are the caller's.
func (kp *KeyPackage) checkForm(s *primitive.Suite) error {
	l := kp.LeafNode
	if l.Source != LeafNodeSourceKeyPackage {
		return CheckLeafSourceKeyPackage.Errorf("source %d", l.Source)
	}
	if t, missing := l.Capabilities.unsupported(kp.Extensions); missing {
		return CheckKeyPackageExtensions.Errorf("extension type 0x%04x is not listed", uint16(t))
	}
	if err := s.CheckPublicKey(kp.InitKey); err != nil {
		return CheckInitKey.Errorf("%v", err)
	}
	if bytes.Equal(kp.InitKey, l.EncryptionKey) {
		return CheckInitKeyDistinct.Errorf("init key and encryption key are the same")
	}
	return l.checkForm(s)
}

// Validate verifies a key package as far as that needs no group: form, both
// signatures, credential and lifetime.
func (kp *KeyPackage) Validate(in Input) error {
	s, err := kp.CipherSuite.suite()
	if err != nil {
		return err
	}
	if kp.Version != ProtocolVersionMLS10 {
		return CheckKeyPackageVersion.Errorf("version %d", kp.Version)
	}
	if err := kp.checkForm(s); err != nil {
		return err
	}
	if err := verifySignatures(s, kp.signatures()); err != nil {
		return err
	}
	if err := kp.LeafNode.checkLifetime(&in); err != nil {
		return err
	}
	return in.authenticate(kp.LeafNode, nil)
}

// checkFor verifies a key package that is to be added to the group, but for its
// signatures, credential and lifetime (RFC 9420 section 10.1).
func (kp *KeyPackage) checkFor(r *leafRules) error {
	if kp.Version != r.version {
		return CheckKeyPackageVersion.Errorf("version %d in a group of version %d", kp.Version, r.version)
	}
	if kp.CipherSuite != r.suite {
		return CheckKeyPackageSuite.Errorf("suite %v in a group of suite %v", kp.CipherSuite, r.suite)
	}
	if err := r.compatible(kp.LeafNode); err != nil {
		return err
	}
	return kp.checkForm(r.s)
}
