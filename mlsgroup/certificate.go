package mlsgroup

// certificatePublicKey returns the subjectPublicKey bits of a DER certificate
// (RFC 5280 section 4.1), which is a signature key as a leaf holds it: the
// point of a NIST curve, or the key of an Edwards curve. Everything else in the
// certificate is for the authentication service.
func certificatePublicKey(der []byte) ([]byte, bool) {
	certificate, rest, ok := derElement(der, derSequence)
	if !ok || len(rest) > 0 {
		return nil, false
	}
	tbs, _, ok := derElement(certificate, derSequence)
	if !ok {
		return nil, false
	}
	if len(tbs) > 0 && tbs[0] == derVersion {
		if _, tbs, ok = derElement(tbs, derVersion); !ok {
			return nil, false
		}
	}
	// serialNumber, signature, issuer, validity, subject
	for _, tag := range [...]byte{derInteger, derSequence, derSequence, derSequence, derSequence} {
		if _, tbs, ok = derElement(tbs, tag); !ok {
			return nil, false
		}
	}
	info, _, ok := derElement(tbs, derSequence)
	if !ok {
		return nil, false
	}
	_, bits, ok := derElement(info, derSequence) // algorithm
	if !ok {
		return nil, false
	}
	key, rest, ok := derElement(bits, derBitString)
	if !ok || len(rest) > 0 || len(key) == 0 || key[0] != 0 { // bits unused in the last byte
		return nil, false
	}
	return key[1:], true
}

// Tags of DER (X.690 section 8.1.2).
const (
	derInteger   = 0x02
	derBitString = 0x03
	derSequence  = 0x30
	derVersion   = 0xa0
)

// derElement splits the first element off b, which must have the tag and a
// definite length in its shortest form.
func derElement(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 3 || size > len(b) || b[0] == 0 {
			return nil, nil, false
		}
		n = 0
		for _, x := range b[:size] {
			n = n<<8 | int(x)
		}
		if n < 0x80 {
			return nil, nil, false
		}
		b = b[size:]
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
