package mlsgroup

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// The key schedule of RFC 9420 section 8. Group contexts come in as their
// encoding, which the group keeps, so that no step encodes one twice.

// externalInitLabel is the exporter context of external initialization, the
// one place where the RFC writes the whole label itself (RFC 9420 section 8.3).
const externalInitLabel = "MLS 1.0 external init secret"

// mustExpand is ExpandWithLabel for a length that the suite fixes, which every
// KDF gives. A refusal would be a broken suite of ours.
func mustExpand(s *primitive.Suite, sec secret.Bytes, label string, context []byte, n int) secret.Bytes {
	out, err := expandWithLabel(s, sec, label, context, n)
	if err != nil {
		panic("mlsgroup: a suite's KDF gives less than the suite needs")
	}
	return out
}

// mustDeriveSecret is DeriveSecret, whose length the suite fixes.
func mustDeriveSecret(s *primitive.Suite, sec secret.Bytes, label string) secret.Bytes {
	return mustExpand(s, sec, label, nil, s.HashSize())
}

// mustDeriveTreeSecret is DeriveTreeSecret (RFC 9420 section 9.1) for a length
// that the suite fixes.
func mustDeriveTreeSecret(s *primitive.Suite, sec secret.Bytes, label string, generation uint32, n int) secret.Bytes {
	var context [4]byte
	return mustExpand(s, sec, label, appendUint32(context[:0], generation), n)
}

// messageKey is the key and nonce of one generation of a ratchet, or another
// pair derived like it.
type messageKey struct {
	generation uint32
	key, nonce secret.Bytes // in one piece of memory
}

func (k *messageKey) wipe() {
	k.key.Wipe()
	k.nonce.Wipe()
}

// newMessageKey derives key and nonce from one secret, as ratchets, sender data
// and the group info of a Welcome all do, each with a context of its own.
func newMessageKey(s *primitive.Suite, sec secret.Bytes, context []byte) messageKey {
	n := s.KeySize()
	b := make(secret.Bytes, n+s.NonceSize())
	k := messageKey{key: b[:n:n], nonce: b[n:]}
	var space [128]byte
	for _, part := range [...]struct {
		label string
		dst   secret.Bytes
	}{{"key", k.key}, {"nonce", k.nonce}} {
		info := appendLabeled(appendUint16(space[:0], uint16(len(part.dst))), part.label, context)
		if err := s.ExpandInto(part.dst, sec, info); err != nil {
			panic("mlsgroup: a suite's KDF gives less than the suite needs")
		}
	}
	return k
}

// epochSecrets are the secrets of one epoch (RFC 9420 section 8, Table 4).
type epochSecrets struct {
	senderData    secret.Bytes // sender_data_secret
	encryption    secret.Bytes // encryption_secret, nil once the secret tree has it
	exporter      secret.Bytes // exporter_secret
	external      secret.Bytes // external_secret
	confirmation  secret.Bytes // confirmation_key
	membership    secret.Bytes // membership_key
	resumption    secret.Bytes // resumption_psk
	authenticator secret.Bytes // epoch_authenticator
	init          secret.Bytes // init_secret of the next epoch's key schedule
}

// wipe overwrites all of them.
func (es *epochSecrets) wipe() {
	for _, b := range es.fields() {
		b.Wipe()
	}
}

func (es *epochSecrets) fields() [9]secret.Bytes {
	return [...]secret.Bytes{
		es.senderData, es.encryption, es.exporter, es.external, es.confirmation,
		es.membership, es.resumption, es.authenticator, es.init,
	}
}

// newJoinerSecret mixes the commit secret into the init secret of the epoch
// before. A nil commitSecret means that the commit has no path and stands for
// the zero vector. groupContext is that of the new epoch.
func newJoinerSecret(s *primitive.Suite, initSecret, commitSecret secret.Bytes, groupContext []byte) secret.Bytes {
	if commitSecret == nil {
		commitSecret = make(secret.Bytes, s.HashSize())
	}
	prk := s.Extract(initSecret, commitSecret)
	defer prk.Wipe()
	return mustExpand(s, prk, "joiner", groupContext, s.HashSize())
}

// newMemberSecret mixes the PSKs into the joiner secret. A nil pskSecret stands
// for the zero vector. The welcome secret and the epoch secret derive from the
// result; the caller wipes it.
func newMemberSecret(s *primitive.Suite, joinerSecret, pskSecret secret.Bytes) secret.Bytes {
	if pskSecret == nil {
		pskSecret = make(secret.Bytes, s.HashSize())
	}
	return s.Extract(joinerSecret, pskSecret)
}

// newWelcomeSecret derives the secret that seals a Welcome's group info. The
// caller wipes it.
func newWelcomeSecret(s *primitive.Suite, joinerSecret, pskSecret secret.Bytes) secret.Bytes {
	member := newMemberSecret(s, joinerSecret, pskSecret)
	defer member.Wipe()
	return mustDeriveSecret(s, member, "welcome")
}

// newEpochSecrets runs the whole key schedule from one epoch to the next and
// returns the joiner secret as well, for the Welcome; the caller wipes it.
func newEpochSecrets(s *primitive.Suite, initSecret, commitSecret, pskSecret secret.Bytes, groupContext []byte) (*epochSecrets, secret.Bytes) {
	joiner := newJoinerSecret(s, initSecret, commitSecret, groupContext)
	return epochSecretsFromJoiner(s, joiner, pskSecret, groupContext), joiner
}

// epochSecretsFromJoiner is the part of the key schedule that a new member
// runs.
func epochSecretsFromJoiner(s *primitive.Suite, joinerSecret, pskSecret secret.Bytes, groupContext []byte) *epochSecrets {
	member := newMemberSecret(s, joinerSecret, pskSecret)
	defer member.Wipe()
	epoch := mustExpand(s, member, "epoch", groupContext, s.HashSize())
	defer epoch.Wipe()
	return epochSecretsFromEpoch(s, epoch)
}

// epochSecretsFromEpoch derives an epoch's secrets from its epoch_secret. A
// group's creator starts here with a random one (RFC 9420 section 11).
func epochSecretsFromEpoch(s *primitive.Suite, epochSecret secret.Bytes) *epochSecrets {
	return &epochSecrets{
		senderData:    mustDeriveSecret(s, epochSecret, "sender data"),
		encryption:    mustDeriveSecret(s, epochSecret, "encryption"),
		exporter:      mustDeriveSecret(s, epochSecret, "exporter"),
		external:      mustDeriveSecret(s, epochSecret, "external"),
		confirmation:  mustDeriveSecret(s, epochSecret, "confirm"),
		membership:    mustDeriveSecret(s, epochSecret, "membership"),
		resumption:    mustDeriveSecret(s, epochSecret, "resumption"),
		authenticator: mustDeriveSecret(s, epochSecret, "authentication"),
		init:          mustDeriveSecret(s, epochSecret, "init"),
	}
}

// confirmationTag authenticates the transcript of the epoch that es belongs to
// (RFC 9420 section 6.1).
func (es *epochSecrets) confirmationTag(s *primitive.Suite, confirmedTranscriptHash []byte) []byte {
	return s.MAC(nil, es.confirmation, confirmedTranscriptHash)
}

// verifyConfirmationTag tells, in constant time, whether tag is the epoch's.
// Which check a false answer fails depends on where the tag stood.
func (es *epochSecrets) verifyConfirmationTag(s *primitive.Suite, confirmedTranscriptHash, tag []byte) bool {
	return s.VerifyMAC(es.confirmation, tag, confirmedTranscriptHash)
}

// export is MLS-Exporter (RFC 9420 section 8.5). n comes from the application:
// the KDF gives at most 255 hashes.
func (es *epochSecrets) export(s *primitive.Suite, label string, context []byte, n int) (secret.Bytes, error) {
	if n < 0 || n > 255*s.HashSize() {
		return nil, fmt.Errorf("mlsgroup: %d bytes to export, at most %d possible", n, 255*s.HashSize())
	}
	derived := mustDeriveSecret(s, es.exporter, label)
	defer derived.Wipe()
	return expandWithLabel(s, derived, "exported", s.Hash(nil, context), n)
}

// externalKeyPair derives the key pair that outsiders join by (RFC 9420
// section 8). The caller wipes the private key.
func (es *epochSecrets) externalKeyPair(s *primitive.Suite) (priv secret.Bytes, pub []byte, err error) {
	return s.DeriveKeyPair(es.external)
}

// newExternalInit makes the init secret of an external commit and the KEM
// output that tells the group about it (RFC 9420 section 8.3). The seed is
// SeedSize random bytes.
func newExternalInit(s *primitive.Suite, externalPub []byte, seed secret.Bytes) (kemOutput []byte, initSecret secret.Bytes, err error) {
	return s.ExportSender(externalPub, nil, []byte(externalInitLabel), s.HashSize(), seed)
}

// openExternalInit finds the init secret of a received external commit.
func (es *epochSecrets) openExternalInit(s *primitive.Suite, kemOutput []byte) (secret.Bytes, error) {
	priv, _, err := es.externalKeyPair(s)
	if err != nil {
		return nil, err
	}
	defer priv.Wipe()
	return s.ExportReceiver(priv, kemOutput, nil, []byte(externalInitLabel), s.HashSize())
}
