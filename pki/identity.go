package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/conclave-mls/conclave/internal/clientid"
)

// Identity is what a leaf certificate says of its device.
type Identity struct {
	// ClientID is the device, from one of the URIs among the alternative names. Its String is the identity in MLS.
	ClientID clientid.ID
	// PublicKey is the certified key as it stands in a leaf node (RFC 9420 section 5.1.1).
	PublicKey []byte
	X509Identity
}

// X509Identity is what a certificate says of its device beside the client id, for those who look at it.
type X509Identity struct {
	// Handle is the user's handle as the URI in the certificate, such as wireapp://%40alice_wire@example.com; see [Identity.BareHandle].
	Handle string
	// DisplayName is the subject's common name.
	DisplayName string
	// Domain is the subject's organisation.
	Domain string
	// Certificate is the leaf in PEM.
	Certificate string
	// SerialNumber is the hexadecimal of the serial number's DER content, a leading zero byte included.
	SerialNumber string
	// NotBefore and NotAfter bound the validity, both included, in UTC.
	NotBefore, NotAfter time.Time
}

// ParseIdentity reads the identity in a leaf certificate and believes it: nothing is verified.
func ParseIdentity(leaf []byte) (*Identity, error) {
	c, err := parseCertificate(leaf)
	if err != nil {
		return nil, err
	}
	return identityOf(c)
}

func identityOf(c *x509.Certificate) (*Identity, error) {
	id := &Identity{PublicKey: publicKey(c), X509Identity: X509Identity{
		DisplayName:  c.Subject.CommonName,
		Certificate:  EncodePEM(c.Raw),
		SerialNumber: serialText(c.SerialNumber),
		NotBefore:    c.NotBefore.UTC(),
		NotAfter:     c.NotAfter.UTC(),
	}}
	if n := len(c.Subject.Organization); n > 0 {
		id.Domain = c.Subject.Organization[n-1]
	}
	commonNames := 0 // of which Subject.CommonName is the last
	for _, a := range c.Subject.Names {
		if a.Type.Equal(oidCommonName) {
			commonNames++
		}
	}
	uris, err := alternativeURIs(c)
	if err != nil {
		return nil, err
	}
	devices, handles, handleDomain := 0, 0, ""
	for _, u := range uris {
		if client, err := clientid.ParseURI(u); err == nil {
			id.ClientID = client
			devices++
		} else if _, domain, err := parseHandle(u); err == nil {
			id.Handle, handleDomain = u, domain
			handles++
		} else if !errors.Is(err, errNoHandle) {
			return nil, err
		}
	}
	switch {
	case devices > 1:
		return nil, fmt.Errorf("%w: %d client ids", ErrDuplicateName, devices)
	case handles > 1:
		return nil, fmt.Errorf("%w: %d handles", ErrDuplicateName, handles)
	case commonNames > 1:
		return nil, fmt.Errorf("%w: %d display names", ErrDuplicateName, commonNames)
	case len(c.Subject.Organization) > 1:
		return nil, fmt.Errorf("%w: %d domains", ErrDuplicateName, len(c.Subject.Organization))
	case devices == 0:
		return nil, fmt.Errorf("%w: client id", ErrIdentity)
	case handles == 0:
		return nil, fmt.Errorf("%w: handle", ErrIdentity)
	case id.DisplayName == "":
		return nil, fmt.Errorf("%w: display name", ErrIdentity)
	case id.Domain == "":
		return nil, fmt.Errorf("%w: domain", ErrIdentity)
	case id.Domain != id.ClientID.Domain || id.Domain != handleDomain:
		return nil, ErrDomain
	}
	return id, nil
}

// BareHandle returns the handle without scheme, at sign and domain: what an enrolment asks for.
func (id *Identity) BareHandle() string {
	handle, _, _ := parseHandle(id.Handle)
	return handle
}

// CheckKey reports [ErrKeyMismatch] unless the certificate is for a signature key of an MLS leaf.
func (id *Identity) CheckKey(public []byte) error {
	if !bytes.Equal(id.PublicKey, public) {
		return ErrKeyMismatch
	}
	return nil
}

// errNoHandle is of URIs that are something else than a handle. A certificate may have any number of them.
var errNoHandle = errors.New("pki: no handle")

// parseHandle takes a handle's URI apart: wireapp://%40handle@domain. One with more than that is an [ErrIdentity]: some would read a handle in it
// and others not.
func parseHandle(s string) (handle, domain string, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "wireapp" || u.User == nil || u.Host == "" {
		return "", "", errNoHandle
	}
	handle, ok := strings.CutPrefix(u.User.Username(), "@")
	if !ok {
		return "", "", errNoHandle
	}
	// Delimiters with nothing after them leave no trace in the parsed URI. In user information none of them stands unescaped.
	_, rest, _ := strings.Cut(s, "//")
	if _, has := u.User.Password(); has || strings.ContainsAny(rest, "/?#") {
		return "", "", fmt.Errorf("%w: handle with password, path, query or fragment", ErrIdentity)
	}
	if handle == "" {
		return "", "", errNoHandle
	}
	return handle, u.Host, nil
}

var (
	oidCommonName               = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSubjectAltName           = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCRLDistributionPoints    = asn1.ObjectIdentifier{2, 5, 29, 31}
)

// tagURI is the tag of a GeneralName's uniformResourceIdentifier (RFC 5280 section 4.2.1.6).
const tagURI = 6

// alternativeURIs returns the URIs among the alternative names as they are written. The parsed ones of crypto/x509 write themselves another way.
func alternativeURIs(c *x509.Certificate) ([]string, error) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			var names asn1.RawValue
			if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
				return nil, fmt.Errorf("%w: alternative names", ErrMalformed)
			}
			return generalURIs(names.Bytes)
		}
	}
	return nil, nil
}

// generalURIs returns the URIs of a list of GeneralNames.
func generalURIs(names []byte) ([]string, error) {
	var uris []string
	for len(names) > 0 {
		var name asn1.RawValue
		rest, err := asn1.Unmarshal(names, &name)
		if err != nil {
			return nil, fmt.Errorf("%w: general name", ErrMalformed)
		}
		if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI && !name.IsCompound {
			uris = append(uris, string(name.Bytes))
		}
		names = rest
	}
	return uris, nil
}
