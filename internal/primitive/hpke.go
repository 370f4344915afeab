package primitive

import (
	"github.com/conclave-mls/conclave/internal/secret"
)

// The HPKE of this file is RFC 9180 in base mode (section 5.1.1), for a single
// message a key, which is all MLS asks for.

const hpkeVersion = "HPKE-v1"

// labeledExtract is LabeledExtract of RFC 9180 section 4, to the start of out.
func (h hashKind) labeledExtract(out *[maxHashSize]byte, suiteID, salt []byte, label string, ikm []byte) {
	var buf [labelRoom]byte
	prefix := append(append(append(buf[:0], hpkeVersion...), suiteID...), label...)
	h.hmac(out, salt, prefix, ikm)
}

// labelRoom holds every prefix: a length, the version, a suite id, a label.
const labelRoom = 64

// labeledExpand is LabeledExpand of RFC 9180 section 4; it fills dst.
func (h hashKind) labeledExpand(dst, prk, suiteID []byte, label string, info ...[]byte) {
	var buf [labelRoom]byte
	prefix := append(buf[:0], byte(len(dst)>>8), byte(len(dst)))
	prefix = append(append(append(prefix, hpkeVersion...), suiteID...), label...)
	var parts [maxInfoParts][]byte
	parts[0] = prefix
	n := 1
	for _, p := range info {
		parts[n] = p
		n++
	}
	h.expand(dst, prk, parts[:n]...)
}

// hpkeContext is what KeySchedule of RFC 9180 section 5.1 leaves: for a message its
// key and nonce, or, where exports is set before, the exporter secret.
type hpkeContext struct {
	key      [maxKeySize]byte
	nonce    [nonceSize]byte
	exporter [maxHashSize]byte
	exports  bool
}

func (c *hpkeContext) wipe() { *c = hpkeContext{} }

// SealInfo is the info of a Seal, digested: what many seals under one info share.
// It belongs to the suite that made it and is not secret.
type SealInfo struct {
	pskID, info [maxHashSize]byte
}

// NewSealInfo digests an info, which costs as much as hashing it.
func (s *Suite) NewSealInfo(info []byte) *SealInfo {
	i := new(SealInfo)
	i.set(s, info)
	return i
}

func (i *SealInfo) set(s *Suite, info []byte) {
	s.hash.labeledExtract(&i.pskID, s.hpkeID[:], nil, "psk_id_hash", nil)
	s.hash.labeledExtract(&i.info, s.hpkeID[:], nil, "info_hash", info)
}

// schedule is KeySchedule of RFC 9180 section 5.1 in base mode, where psk and
// psk_id are empty.
func (s *Suite) schedule(c *hpkeContext, shared []byte, info *SealInfo) {
	var prk [maxHashSize]byte
	size, id := s.hash.size(), s.hpkeID[:]
	s.hash.labeledExtract(&prk, id, shared, "secret", nil)
	expand := func(dst []byte, label string) {
		mode := [1]byte{0}
		s.hash.labeledExpand(dst, prk[:size], id, label, mode[:], info.pskID[:size], info.info[:size])
	}
	if c.exports {
		expand(c.exporter[:size], "exp")
	} else {
		expand(c.key[:s.aead.keySize()], "key")
		expand(c.nonce[:], "base_nonce")
	}
	clear(prk[:])
}

// setupSender is SetupBaseS of RFC 9180 section 5.1.1.
func (s *Suite) setupSender(c *hpkeContext, pub []byte, info *SealInfo, seed secret.Bytes) (enc []byte, err error) {
	if len(seed) != s.seedSize {
		return nil, ErrLength
	}
	var shared [maxHashSize]byte
	defer clear(shared[:])
	if enc, err = s.kem.encapsulate(&shared, pub, seed); err != nil {
		return nil, err
	}
	s.schedule(c, shared[:s.hash.size()], info)
	return enc, nil
}

// setupReceiver is SetupBaseR of RFC 9180 section 5.1.1.
func (s *Suite) setupReceiver(c *hpkeContext, priv secret.Bytes, pub, enc, info []byte) error {
	var shared [maxHashSize]byte
	defer clear(shared[:])
	if err := s.kem.decapsulate(&shared, priv, pub, enc); err != nil {
		return err
	}
	var digest SealInfo
	digest.set(s, info)
	s.schedule(c, shared[:s.hash.size()], &digest)
	return nil
}

// DeriveKeyPair derives an encryption key pair from key material of any length
// (RFC 9180 section 7.1.3). The caller wipes priv.
func (s *Suite) DeriveKeyPair(ikm secret.Bytes) (priv secret.Bytes, pub []byte, err error) {
	priv, key, err := s.kem.derive(ikm)
	if err != nil {
		return nil, nil, err
	}
	defer key.wipe()
	return priv, key.public(), nil
}

// PublicKey returns the public key of an encryption private key. It fails with
// ErrKey.
func (s *Suite) PublicKey(priv secret.Bytes) ([]byte, error) {
	key, err := s.kem.private(priv)
	if err != nil {
		return nil, err
	}
	defer key.wipe()
	return key.public(), nil
}

// CheckPublicKey fails with ErrKey unless one can encrypt to pub: it has the
// right size and names a point of the curve, not one of small order.
func (s *Suite) CheckPublicKey(pub []byte) error {
	if len(pub) != s.kem.publicSize {
		return ErrKey
	}
	return s.kem.group.check(pub)
}

// Seal encrypts one message to pub (SealBase of RFC 9180 section 6.1). The seed
// is SeedSize random bytes that serve nothing else. It fails with ErrKey and
// ErrLength.
func (s *Suite) Seal(pub, info, aad, plaintext []byte, seed secret.Bytes) (enc, ciphertext []byte, err error) {
	var digest SealInfo
	digest.set(s, info)
	return s.SealWithInfo(pub, &digest, aad, plaintext, seed)
}

// SealWithInfo is [Suite.Seal] for a caller that seals to many under one info,
// which may be as large as a ratchet tree and is hashed once this way.
func (s *Suite) SealWithInfo(pub []byte, info *SealInfo, aad, plaintext []byte, seed secret.Bytes) (enc, ciphertext []byte, err error) {
	var c hpkeContext
	defer c.wipe()
	if enc, err = s.setupSender(&c, pub, info, seed); err != nil {
		return nil, nil, err
	}
	ciphertext, err = s.aead.seal(nil, c.key[:s.aead.keySize()], c.nonce[:], aad, plaintext)
	if err != nil {
		return nil, nil, err
	}
	return enc, ciphertext, nil
}

// Open decrypts what Seal encrypted to the public key of priv (OpenBase of RFC
// 9180 section 6.1). It fails with ErrKey, when priv or enc is malformed, and
// ErrOpen. The caller wipes the plaintext.
func (s *Suite) Open(priv secret.Bytes, enc, info, aad, ciphertext []byte) (secret.Bytes, error) {
	return s.OpenWithPublicKey(priv, nil, enc, info, aad, ciphertext)
}

// OpenWithPublicKey is [Suite.Open] for a caller that has the public key at
// hand, which saves computing it: a third of the time with X25519. A public key
// that is not the one of priv leads to ErrOpen.
func (s *Suite) OpenWithPublicKey(priv secret.Bytes, pub, enc, info, aad, ciphertext []byte) (secret.Bytes, error) {
	var c hpkeContext
	defer c.wipe()
	if err := s.setupReceiver(&c, priv, pub, enc, info); err != nil {
		return nil, err
	}
	return s.aead.open(nil, c.key[:s.aead.keySize()], c.nonce[:], aad, ciphertext)
}

// ExportSender sets up a context to pub and exports a secret of n bytes from it
// (SendExportBase of RFC 9180 section 6.2; external initialization of MLS). It
// fails with ErrKey and ErrLength.
func (s *Suite) ExportSender(pub, info, exporterContext []byte, n int, seed secret.Bytes) (enc []byte, exported secret.Bytes, err error) {
	if n < 0 || n > 255*s.hash.size() {
		return nil, nil, ErrLength
	}
	c := hpkeContext{exports: true}
	defer c.wipe()
	var digest SealInfo
	digest.set(s, info)
	if enc, err = s.setupSender(&c, pub, &digest, seed); err != nil {
		return nil, nil, err
	}
	return enc, s.export(&c, exporterContext, n), nil
}

// ExportReceiver returns what [Suite.ExportSender] exported (ReceiveExportBase
// of RFC 9180 section 6.2). It fails with ErrKey and ErrLength.
func (s *Suite) ExportReceiver(priv secret.Bytes, enc, info, exporterContext []byte, n int) (secret.Bytes, error) {
	if n < 0 || n > 255*s.hash.size() {
		return nil, ErrLength
	}
	c := hpkeContext{exports: true}
	defer c.wipe()
	if err := s.setupReceiver(&c, priv, nil, enc, info); err != nil {
		return nil, err
	}
	return s.export(&c, exporterContext, n), nil
}

// export is Export of RFC 9180 section 5.3.
func (s *Suite) export(c *hpkeContext, exporterContext []byte, n int) secret.Bytes {
	out := make(secret.Bytes, n)
	s.hash.labeledExpand(out, c.exporter[:s.hash.size()], s.hpkeID[:], "sec", exporterContext)
	return out
}
