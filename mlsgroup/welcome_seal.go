package mlsgroup

import (
	"bytes"
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Sealing and opening a Welcome, and the signature of a GroupInfo (RFC 9420
// section 12.4.3).

// signed returns the bytes that the signature covers, SignContent with the
// GroupInfoTBS in it. It may have the tree in it and is encoded in its place.
func (gi *GroupInfo) signed() []byte {
	const prefix = labelPrefix + labelGroupInfoTBS
	b := appendOpaque(make([]byte, 0, 16+len(prefix)+gi.sizeHint()), []byte(prefix))
	return appendVector(b, gi.appendTBS)
}

// sign sets the signature of the GroupInfo, whose other fields are set.
func (gi *GroupInfo) sign(s *primitive.Suite, priv secret.Bytes) error {
	sig, err := s.Sign(priv, gi.signed())
	if err != nil {
		return err
	}
	gi.Signature = sig
	return nil
}

// verify checks the signature against the key of the signer's leaf.
func (gi *GroupInfo) verify(s *primitive.Suite, signatureKey []byte) error {
	if s.Verify(signatureKey, gi.signed(), gi.Signature) != nil {
		return CheckGroupInfoSignature.Errorf("signer %d", gi.Signer)
	}
	return nil
}

// joiner is a client that a Welcome is sealed to.
type joiner struct {
	ref        KeyPackageRef
	initKey    []byte
	pathSecret secret.Bytes // nil where the commit has no path
}

// sealWelcome seals a signed group info to the joiners. One seed for each is
// drawn from rand, in their order, before any work is handed to do, which may
// run it in parallel; a nil do runs it in sequence.
func sealWelcome(s *primitive.Suite, gi *GroupInfo, joinerSecret, pskSecret secret.Bytes, psks []PreSharedKeyID, joiners []joiner, rand io.Reader, do func(n int, f func(i int))) (*Welcome, error) {
	welcomeSecret := newWelcomeSecret(s, joinerSecret, pskSecret)
	defer welcomeSecret.Wipe()
	k := newMessageKey(s, welcomeSecret, nil)
	defer k.wipe()
	sealed := gi.append(make([]byte, 0, gi.sizeHint()+s.TagSize()))
	sealed, err := s.SealAEAD(sealed[:0], k.key, k.nonce, nil, sealed)
	if err != nil {
		return nil, err
	}
	seeds := make(secret.Bytes, len(joiners)*s.SeedSize())
	defer seeds.Wipe()
	if _, err := io.ReadFull(rand, seeds); err != nil {
		return nil, fmt.Errorf("mlsgroup: drawing random bytes: %w", err)
	}
	w := &Welcome{
		CipherSuite:        CipherSuite(s.ID()),
		Secrets:            make([]EncryptedGroupSecrets, len(joiners)),
		EncryptedGroupInfo: sealed,
	}
	// The context is the same for all and may be as large as the tree.
	encrypt := encryptWithLabel(s, labelWelcome, sealed)
	errs := make([]error, len(joiners))
	if do == nil {
		do = noDo
	}
	do(len(joiners), func(i int) {
		j := &joiners[i]
		gs := GroupSecrets{JoinerSecret: joinerSecret, PathSecret: j.pathSecret, PSKs: psks}
		plain := secret.Bytes(gs.append(make([]byte, 0, gs.sizeHint())))
		defer plain.Wipe()
		seed := seeds[i*s.SeedSize() : (i+1)*s.SeedSize()]
		e := &w.Secrets[i]
		e.NewMember = j.ref
		e.EncryptedGroupSecrets, errs[i] = encrypt(j.initKey, plain, seed)
	})
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("mlsgroup: sealing a welcome to joiner %d: %w", i, err)
		}
	}
	return w, nil
}

// openGroupSecrets opens the entry of a Welcome for the key package with the
// given reference and init key. The suite is the key package's. The caller
// wipes the secrets.
func openGroupSecrets(s *primitive.Suite, w *Welcome, ref KeyPackageRef, initPrivate secret.Bytes) (*GroupSecrets, error) {
	if uint16(w.CipherSuite) != s.ID() {
		return nil, CheckWelcomeSuite.Errorf("welcome of %v, key package of %v", w.CipherSuite, CipherSuite(s.ID()))
	}
	var entry *EncryptedGroupSecrets
	for i := range w.Secrets {
		if bytes.Equal(w.Secrets[i].NewMember, ref) {
			entry = &w.Secrets[i]
			break
		}
	}
	if entry == nil {
		return nil, CheckWelcomeKeyPackage.Errorf("none of %d entries", len(w.Secrets))
	}
	plain, err := decryptWithLabel(s, initPrivate, labelWelcome, w.EncryptedGroupInfo, entry.EncryptedGroupSecrets)
	if err != nil {
		return nil, err
	}
	// The result aliases plain, which nobody else holds.
	gs := new(GroupSecrets)
	if err := parse(plain, gs.read); err != nil {
		plain.Wipe()
		return nil, err
	}
	alone := 0
	for i := range gs.PSKs {
		id := &gs.PSKs[i]
		if id.Type == PSKTypeResumption && id.Usage != ResumptionPSKUsageApplication {
			alone++
		}
	}
	if alone > 1 {
		plain.Wipe()
		return nil, CheckResumptionPSKAlone.Errorf("%d of them", alone)
	}
	return gs, nil
}

// openWelcomeGroupInfo opens the group info of a Welcome once the PSKs of its
// group secrets are known. Its signature, which is by a leaf of the tree it
// describes, is not verified yet.
func openWelcomeGroupInfo(s *primitive.Suite, w *Welcome, joinerSecret, pskSecret secret.Bytes) (*GroupInfo, error) {
	welcomeSecret := newWelcomeSecret(s, joinerSecret, pskSecret)
	defer welcomeSecret.Wipe()
	k := newMessageKey(s, welcomeSecret, nil)
	defer k.wipe()
	b, err := s.OpenAEAD(nil, k.key, k.nonce, nil, w.EncryptedGroupInfo)
	if err != nil {
		return nil, err
	}
	gi := new(GroupInfo)
	if err := parse(b, gi.read); err != nil {
		return nil, err
	}
	if uint16(gi.GroupContext.CipherSuite) != s.ID() {
		return nil, CheckGroupInfoSuite.Errorf("group info of %v, key package of %v", gi.GroupContext.CipherSuite, CipherSuite(s.ID()))
	}
	return gi, nil
}
