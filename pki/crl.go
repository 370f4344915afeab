package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"time"
)

// Reason is why a certificate was revoked (RFC 5280 section 5.3.1).
type Reason uint8

// The reasons of RFC 5280.
const (
	ReasonUnspecified          Reason = 0
	ReasonKeyCompromise        Reason = 1
	ReasonCACompromise         Reason = 2
	ReasonAffiliationChanged   Reason = 3
	ReasonSuperseded           Reason = 4
	ReasonCessationOfOperation Reason = 5
	ReasonCertificateHold      Reason = 6
	ReasonPrivilegeWithdrawn   Reason = 9
	ReasonAACompromise         Reason = 10
)

// reasonRemoved stands in delta lists only.
const reasonRemoved = 8

// String returns the name of RFC 5280.
func (r Reason) String() string {
	switch r {
	case ReasonUnspecified:
		return "unspecified"
	case ReasonKeyCompromise:
		return "keyCompromise"
	case ReasonCACompromise:
		return "cACompromise"
	case ReasonAffiliationChanged:
		return "affiliationChanged"
	case ReasonSuperseded:
		return "superseded"
	case ReasonCessationOfOperation:
		return "cessationOfOperation"
	case ReasonCertificateHold:
		return "certificateHold"
	case ReasonPrivilegeWithdrawn:
		return "privilegeWithdrawn"
	case ReasonAACompromise:
		return "aACompromise"
	}
	return "reason " + strconv.Itoa(int(r))
}

// CRL is a stored revocation list.
type CRL struct {
	// URL is the distribution point it was registered for.
	URL string
	// ThisUpdate is when it was made; NextUpdate when the next will be, the zero time if it does not say.
	ThisUpdate, NextUpdate time.Time
	// Revoked is how many certificates it lists.
	Revoked int
	// DER is the list itself; it must not be changed.
	DER []byte
}

// CRLRegistration is what came of registering a revocation list.
type CRLRegistration struct {
	// Dirty tells that the revoked certificates are others than those of the list it replaces, so that states of conversations may have changed. It is
	// false for the first list of a distribution point.
	Dirty bool
	// Expiration is the list's nextUpdate, the zero time if it has none.
	Expiration time.Time
}

// crl is a list whose signature has been verified.
type crl struct {
	id                     [sha256.Size]byte
	url                    string
	signer                 Fingerprint // of the key that signed
	issuer                 []byte      // DER of the name
	number                 *big.Int    // nil if it has none
	thisUpdate, nextUpdate time.Time
	scope                  scope
	entries                map[string]entry // by serialKey
	der                    []byte
}

// entry is one revoked certificate. Entries compare with ==.
type entry struct {
	reason Reason
	at     int64 // seconds since 1970
}

// scope is which certificates a list speaks of (RFC 5280 section 5.2.5).
type scope struct {
	points            []string // empty: those of all distribution points
	onlyUser, onlyCA  bool
	onlySomeReasons   bool
	namesOfOtherForms bool // the distribution point has names that are no URIs
}

// issuingDistributionPoint is the extension's ASN.1. The reasons are there to be known of; their bits make no difference here.
type issuingDistributionPoint struct {
	Point          asn1.RawValue  `asn1:"optional,tag:0"`
	OnlyUser       bool           `asn1:"optional,tag:1"`
	OnlyCA         bool           `asn1:"optional,tag:2"`
	SomeReasons    asn1.BitString `asn1:"optional,tag:3"`
	Indirect       bool           `asn1:"optional,tag:4"`
	OnlyAttributes bool           `asn1:"optional,tag:5"`
}

var (
	oidCRLNumber      = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReasonCode     = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidDeltaCRL       = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidAuthorityKeyID = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// acceptCRL reads a list that one of the authorities has signed. What depends on how long the list is comes after the signature.
func acceptCRL(url string, der []byte, authorities []*authority) (*crl, error) {
	if !fetchable(url) {
		return nil, fmt.Errorf("%w: no URL of http or https", ErrCRLDistributionPoint)
	}
	l, list, err := parseCRL(url, der)
	if err != nil {
		return nil, err
	}
	if err := l.checkPlace(); err != nil {
		return nil, err
	}
	if err := l.verify(list, authorities); err != nil {
		return nil, err
	}
	if err := l.enter(list); err != nil {
		return nil, err
	}
	return l, nil
}

// parseCRL reads a list without its entries, and refuses kinds of lists that say something else than which certificates of their issuer are revoked.
// The parsed list comes along for the one who verifies its signature.
func parseCRL(url string, der []byte) (*crl, *x509.RevocationList, error) {
	if len(der) > MaxCRLSize {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrCRLMalformed, len(der))
	}
	der = bytes.Clone(der) // what is parsed points into it
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not X.509", ErrCRLMalformed)
	}
	if len(list.Raw) != len(der) {
		return nil, nil, fmt.Errorf("%w: trailing bytes", ErrCRLMalformed)
	}
	if !supported(list.SignatureAlgorithm) {
		return nil, nil, fmt.Errorf("%w: list signed with %v", ErrKeyType, list.SignatureAlgorithm)
	}
	if !list.NextUpdate.IsZero() && list.NextUpdate.Before(list.ThisUpdate) {
		return nil, nil, fmt.Errorf("%w: nextUpdate before thisUpdate", ErrCRLMalformed)
	}
	if len(list.Extensions) > maxCRLExtensions {
		return nil, nil, fmt.Errorf("%w: %d extensions", ErrCRLMalformed, len(list.Extensions))
	}
	l := &crl{url: url, issuer: list.RawIssuer, number: list.Number, thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate, der: der}
	if l.number != nil && (l.number.Sign() < 0 || len(l.number.Bytes()) > maxSerialSize) {
		return nil, nil, fmt.Errorf("%w: number", ErrCRLMalformed)
	}
	for i, e := range list.Extensions {
		if slices.ContainsFunc(list.Extensions[:i], func(o pkix.Extension) bool { return o.Id.Equal(e.Id) }) {
			return nil, nil, fmt.Errorf("%w: extension twice", ErrCRLMalformed)
		}
		switch {
		case e.Id.Equal(oidIssuingDistributionPoint):
			if l.scope, err = parseScope(e.Value); err != nil {
				return nil, nil, err
			}
		case e.Id.Equal(oidDeltaCRL): // critical or not, as it has to be: its silence would undo what the full list says
			return nil, nil, fmt.Errorf("%w: delta", ErrCRLUnsupported)
		case e.Critical && !e.Id.Equal(oidCRLNumber) && !e.Id.Equal(oidAuthorityKeyID):
			return nil, nil, fmt.Errorf("%w: critical extension %v", ErrCRLUnsupported, e.Id)
		}
	}
	return l, list, nil
}

// enter takes the entries of the parsed list over.
func (l *crl) enter(list *x509.RevocationList) error {
	l.entries = make(map[string]entry, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical && !x.Id.Equal(oidReasonCode) && !x.Id.Equal(oidInvalidityDate) {
				return fmt.Errorf("%w: critical extension %v of an entry", ErrCRLUnsupported, x.Id)
			}
		}
		if e.ReasonCode < 0 || e.ReasonCode > int(ReasonAACompromise) || e.ReasonCode == reasonRemoved {
			return fmt.Errorf("%w: reason %d", ErrCRLUnsupported, e.ReasonCode)
		}
		l.entries[serialKey(e.SerialNumber)] = entry{Reason(e.ReasonCode), e.RevocationTime.Unix()}
	}
	return nil
}

// parseScope reads an issuingDistributionPoint.
func parseScope(der []byte) (scope, error) {
	var p issuingDistributionPoint
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) > 0 {
		return scope{}, fmt.Errorf("%w: issuing distribution point", ErrCRLMalformed)
	}
	if p.Indirect || p.OnlyAttributes {
		return scope{}, fmt.Errorf("%w: indirect or of attribute certificates", ErrCRLUnsupported)
	}
	s := scope{onlyUser: p.OnlyUser, onlyCA: p.OnlyCA, onlySomeReasons: p.SomeReasons.BitLength > 0}
	if len(p.Point.FullBytes) == 0 {
		return s, nil
	}
	var name asn1.RawValue // fullName [0] or nameRelativeToCRLIssuer [1]
	if rest, err := asn1.Unmarshal(p.Point.Bytes, &name); err != nil || len(rest) > 0 || name.Class != asn1.ClassContextSpecific {
		return scope{}, fmt.Errorf("%w: issuing distribution point", ErrCRLMalformed)
	}
	if name.Tag == 0 {
		var err error
		if s.points, err = generalURIs(name.Bytes); err != nil {
			return scope{}, fmt.Errorf("%w: issuing distribution point", ErrCRLMalformed)
		}
	}
	s.namesOfOtherForms = len(s.points) == 0
	return s, nil
}

// verify finds the authority that signed the list, and completes the list with it.
func (l *crl) verify(list *x509.RevocationList, authorities []*authority) error {
	err := ErrCRLIssuer
	for _, a := range authorities {
		if !bytes.Equal(a.cert.RawSubject, l.issuer) {
			continue
		}
		if a.cert.KeyUsage != 0 && a.cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
			err = fmt.Errorf("%w: issuer may not sign lists", ErrUsage)
			continue
		}
		if list.CheckSignatureFrom(a.cert) != nil {
			err = fmt.Errorf("%w of revocation list", ErrSignature)
			continue
		}
		l.signer = a.key
		l.id = crlID(l.signer, l.url)
		return nil
	}
	return err
}

// crlID names the place of a list. A new key of an issuer does not displace what the old one has revoked, nor can the list of one issuer
// displace another's at the same address.
func crlID(signer Fingerprint, url string) [sha256.Size]byte {
	return sha256.Sum256(append(signer[:], url...))
}

// checkPlace refuses a list from another distribution point than its own: whoever serves the lists could hide an entry by exchanging two of them.
func (l *crl) checkPlace() error {
	if len(l.scope.points) > 0 && !slices.Contains(l.scope.points, l.url) {
		return ErrCRLDistributionPoint
	}
	return nil
}

// checkAge refuses a list older than the one it would replace: an entry would vanish again. Numbers decide, and times where they do not.
func (l *crl) checkAge(stored *crl) error {
	if l.number != nil && stored.number != nil {
		if c := l.number.Cmp(stored.number); c != 0 {
			if c < 0 {
				return fmt.Errorf("%w: number %v after %v", ErrCRLRollback, l.number, stored.number)
			}
			return nil
		}
	}
	if l.thisUpdate.Before(stored.thisUpdate) {
		return fmt.Errorf("%w: thisUpdate %v after %v", ErrCRLRollback, l.thisUpdate, stored.thisUpdate)
	}
	return nil
}

// issuedBy tells whether the list is of an authority, by whichever of its certificates.
func (l *crl) issuedBy(a *authority) bool {
	return l.signer == a.key && bytes.Equal(l.issuer, a.cert.RawSubject)
}

// covers tells whether silence of the list means that a certificate of its issuer is not revoked. A certificate whose points are none that we read is
// on a list of some other point.
func (l *crl) covers(c *certificateFacts) bool {
	switch {
	case l.scope.onlySomeReasons || l.scope.namesOfOtherForms, l.scope.onlyUser && c.isCA, l.scope.onlyCA && !c.isCA:
		return false
	case len(l.scope.points) == 0 || !c.namesPoints:
		return true
	}
	return slices.ContainsFunc(c.points, func(p string) bool { return slices.Contains(l.scope.points, p) })
}

// current tells whether the list is the latest as of now.
func (l *crl) current(now time.Time) bool {
	return !now.Before(l.thisUpdate) && (l.nextUpdate.IsZero() || !now.After(l.nextUpdate))
}

// WithCRL returns a snapshot that has a revocation list, in DER, from a distribution point. It replaces the one that the same issuer had
// there, and has to be newer ([ErrCRLRollback]). The issuer has to be a trust anchor or intermediate of the snapshot, and has room for 256 lists
// ([ErrFull]), so that none takes that of the others.
//
// The list's own times are not held against a clock: what it says is revoked is revoked.
func (s *Snapshot) WithCRL(url string, der []byte) (*Snapshot, CRLRegistration, error) {
	none := CRLRegistration{}
	if len(s.anchors) == 0 {
		return nil, none, ErrNoTrustAnchor
	}
	l, err := acceptCRL(url, der, s.authorities())
	if err != nil {
		return nil, none, err
	}
	made := CRLRegistration{Expiration: l.nextUpdate}
	next := s.clone()
	i, replaces := slices.BinarySearchFunc(next.crls, l.id[:], func(x *crl, id []byte) int { return bytes.Compare(x.id[:], id) })
	if replaces {
		stored := next.crls[i]
		if err = l.checkAge(stored); err != nil {
			return nil, none, err
		}
		made.Dirty = !maps.Equal(stored.entries, l.entries)
		next.crls[i] = l
		return next.index(), made, nil
	}
	if len(next.crls) == MaxCRLs {
		return nil, none, fmt.Errorf("%w: revocation lists", ErrFull)
	}
	if len(s.bySigner[l.signer]) >= maxCRLsPerSigner {
		return nil, none, fmt.Errorf("%w: revocation lists of one issuer", ErrFull)
	}
	next.crls = slices.Insert(next.crls, i, l)
	return next.index(), made, nil
}

// WithoutCRL returns a snapshot without the lists of a distribution point. What only they revoke no longer is: this is for addresses that no
// certificate names any more, and the way to go back to an older list.
func (s *Snapshot) WithoutCRL(url string) *Snapshot {
	next := s.clone()
	next.crls = slices.DeleteFunc(next.crls, func(l *crl) bool { return l.url == url })
	return next.index()
}

// CRLs returns the stored revocation lists in a fixed order.
func (s *Snapshot) CRLs() []CRL {
	lists := make([]CRL, len(s.crls))
	for i, l := range s.crls {
		lists[i] = CRL{URL: l.url, ThisUpdate: l.thisUpdate, NextUpdate: l.nextUpdate, Revoked: len(l.entries), DER: l.der}
	}
	return lists
}

// append writes the value of a list's record after its version.
func (l *crl) append(b []byte) []byte {
	b = append(b, l.signer[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.url)))
	b = append(b, l.url...)
	return append(b, l.der...)
}
