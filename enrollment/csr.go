package enrollment

import (
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// The object identifiers of a CSR. There is no common name in it: the CA would take it
// for a host.
var (
	oidOrganization     = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidDisplayName      = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 3, 1, 241}
	oidExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidAlternativeName  = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// certificateRequest returns the CSR, signed with the signature key (RFC 2986). It is
// written by hand: the standard library would choose the string types, and its own order.
func (e *Enrollment) certificateRequest() ([]byte, error) {
	public, err := e.signatureKey.publicKey()
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	names, err := e.alternativeNames()
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0) // version 1
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			addAttribute(b, oidOrganization, e.config.ClientID.Domain)
			addAttribute(b, oidDisplayName, e.config.DisplayName)
		})
		b.AddBytes(spki)
		b.AddASN1(der.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidExtensionRequest)
				b.AddASN1(der.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oidAlternativeName)
							b.AddASN1OctetString(names)
						})
					})
				})
			})
		})
	})
	info, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	signature, err := e.signatureKey.suite.Sign(e.signatureKey.private, info)
	if err != nil {
		return nil, err
	}
	b = cryptobyte.Builder{}
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(info)
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(algorithmOf(e.signatureKey.suite).signature)
		})
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// alternativeNames returns the URIs of client and handle. A builder writes the ! as it is.
func (e *Enrollment) alternativeNames() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, uri := range []string{e.config.ClientID.URI(), e.config.handleURI()} {
			b.AddASN1(der.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
		}
	})
	return b.Bytes()
}

// addAttribute writes a relative distinguished name of one UTF8String.
func addAttribute(b *cryptobyte.Builder, id asn1.ObjectIdentifier, value string) {
	b.AddASN1(der.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			b.AddASN1(der.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
		})
	})
}
