package mlsgroup

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// certificatePublicKey returns the subjectPublicKey bits of a DER certificate
// (RFC 5280 section 4.1), which is a signature key as a leaf holds it: the
// point of a NIST curve, or the key of an Edwards curve. Everything else in the
// certificate is for the authentication service.
func certificatePublicKey(der []byte) ([]byte, bool) {
	input := cryptobyte.String(der)
	var certificate, tbs, spki, key cryptobyte.String
	var unused uint8
	ok := input.ReadASN1(&certificate, asn1.SEQUENCE) && input.Empty() &&
		certificate.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.SkipASN1(asn1.SEQUENCE) && // subject
		tbs.ReadASN1(&spki, asn1.SEQUENCE) &&
		spki.SkipASN1(asn1.SEQUENCE) && // algorithm
		spki.ReadASN1(&key, asn1.BIT_STRING) && spki.Empty() &&
		key.ReadUint8(&unused) && unused == 0
	return key, ok
}
