package mlsgroup

import "fmt"

// ExtensionType is a registered extension type (RFC 9420 section 17.3).
type ExtensionType uint16

// Extension types of RFC 9420. In the Wire profile 0x000A means per-domain
// trust anchors instead.
const (
	ExtensionTypeApplicationID        ExtensionType = 0x0001
	ExtensionTypeRatchetTree          ExtensionType = 0x0002
	ExtensionTypeRequiredCapabilities ExtensionType = 0x0003
	ExtensionTypeExternalPub          ExtensionType = 0x0004
	ExtensionTypeExternalSenders      ExtensionType = 0x0005
	ExtensionTypeLastResort           ExtensionType = 0x000A
)

// Extension is one entry of an extension list, its content uninterpreted.
type Extension struct {
	Type ExtensionType
	Body []byte
}

// Extensions is an extension list: each type at most once, order kept.
type Extensions []Extension

// RequiredCapabilities is the content of ExtensionTypeRequiredCapabilities
// (RFC 9420 section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// ExternalSender is an entry of ExtensionTypeExternalSenders (RFC 9420 section
// 12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// find returns the body of the extension of type t.
func (es Extensions) find(t ExtensionType) ([]byte, bool) {
	for i := range es {
		if es[i].Type == t {
			return es[i].Body, true
		}
	}
	return nil, false
}

// sizeHint is no less than the encoded size.
func (es Extensions) sizeHint() int {
	n := 4
	for i := range es {
		n += 6 + len(es[i].Body)
	}
	return n
}

func (es Extensions) append(b []byte) []byte {
	return appendVector(b, func(b []byte) []byte {
		for i := range es {
			b = appendUint16(b, uint16(es[i].Type))
			b = appendOpaque(b, es[i].Body)
		}
		return b
	})
}

// read refuses a type that stands twice (RFC 9420 section 13.4).
func (es *Extensions) read(r *reader) {
	var list Extensions
	r.vector(maxExtensions, func(r *reader) {
		e := Extension{Type: ExtensionType(r.uint16()), Body: r.opaque()}
		if _, twice := list.find(e.Type); twice {
			r.failCheck(CheckExtensionTwice, "extension type 0x%04x", uint16(e.Type))
		}
		list = append(list, e)
	})
	*es = list
}

// equal tells whether both lists encode to the same bytes.
func (es Extensions) equal(other Extensions) bool {
	if len(es) != len(other) {
		return false
	}
	for i := range es {
		if es[i].Type != other[i].Type || string(es[i].Body) != string(other[i].Body) {
			return false
		}
	}
	return true
}

func (rc *RequiredCapabilities) append(b []byte) []byte {
	b = appendUint16s(b, rc.Extensions)
	b = appendUint16s(b, rc.Proposals)
	return appendUint16s(b, rc.Credentials)
}

func (rc *RequiredCapabilities) read(r *reader) {
	rc.Extensions = readUint16s[ExtensionType](r, maxCapabilityValues)
	rc.Proposals = readUint16s[ProposalType](r, maxCapabilityValues)
	rc.Credentials = readUint16s[CredentialType](r, maxCapabilityValues)
}

// Marshal returns the encoding.
func (rc *RequiredCapabilities) Marshal() []byte { return rc.append(nil) }

// Extension returns the extension with rc as its content.
func (rc *RequiredCapabilities) Extension() Extension {
	return Extension{Type: ExtensionTypeRequiredCapabilities, Body: rc.Marshal()}
}

// requiredCapabilities returns the content of the extension, or nil if the
// list has none.
func (es Extensions) requiredCapabilities() (*RequiredCapabilities, error) {
	body, ok := es.find(ExtensionTypeRequiredCapabilities)
	if !ok {
		return nil, nil
	}
	rc := new(RequiredCapabilities)
	if err := parse(body, rc.read); err != nil {
		return nil, fmt.Errorf("required_capabilities: %w", err)
	}
	return rc, nil
}

func (es *ExternalSender) append(b []byte) []byte {
	b = appendOpaque(b, es.SignatureKey)
	return es.Credential.append(b)
}

func (es *ExternalSender) read(r *reader) {
	es.SignatureKey = r.opaque()
	es.Credential.read(r)
}

// Marshal returns the encoding.
func (es *ExternalSender) Marshal() []byte { return es.append(nil) }

// ParseExternalSender reads an encoded ExternalSender. The result keeps no part
// of b.
func ParseExternalSender(b []byte) (*ExternalSender, error) {
	return parseClone(b, (*ExternalSender).read)
}

// ExternalSendersExtension returns the extension that lists the senders.
func ExternalSendersExtension(senders []ExternalSender) Extension {
	body := appendVector(nil, func(b []byte) []byte {
		for i := range senders {
			b = senders[i].append(b)
		}
		return b
	})
	return Extension{Type: ExtensionTypeExternalSenders, Body: body}
}

// externalSenders returns the content of the extension, nil if the list has
// none.
func (es Extensions) externalSenders() ([]ExternalSender, error) {
	body, ok := es.find(ExtensionTypeExternalSenders)
	if !ok {
		return nil, nil
	}
	var senders []ExternalSender
	err := parse(body, func(r *reader) {
		r.vector(maxExternalSenders, func(r *reader) {
			var s ExternalSender
			s.read(r)
			senders = append(senders, s)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("external_senders: %w", err)
	}
	return senders, nil
}
