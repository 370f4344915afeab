package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Policy is how strict a snapshot is where CoreCrypto lets things pass. The zero value is as strict as honest peers allow.
type Policy struct {
	// RequireCRL makes a certificate count only with a current revocation list of its issuer: without one verifying reports [ErrCRLMissing] or
	// [ErrCRLStale]. Otherwise such a certificate is good unless an older list says that it is revoked.
	RequireCRL bool
	// StrictStatus makes [Policy.StatusOf] show every failure but expiry as [Revoked], where CoreCrypto shows most as [Valid].
	StrictStatus bool
}

// Snapshot is trust at an instant: trust anchors, intermediates and revocation lists. It never changes; With and Without make another. It may be
// used by many goroutines at once. Make one with [New] or [Load].
type Snapshot struct {
	policy        Policy
	memory        *Memory
	anchors       []*authority // by key
	intermediates []*authority // by id
	crls          []*crl       // by id

	// What follows is made from the above by index.
	bySubject map[string][]*authority // trust anchors before intermediates
	bySigner  map[Fingerprint][]*crl
	digest    [sha256.Size]byte // of all authorities: what memory depends on
}

// authority is a certificate that may issue others.
type authority struct {
	cert   *x509.Certificate
	id     [sha256.Size]byte // SHA-256 of the certificate
	key    Fingerprint
	facts  certificateFacts
	anchor bool
}

// TrustAnchor is a certificate trusted for itself.
type TrustAnchor struct {
	// Fingerprint names it: SHA-256 of its subjectPublicKeyInfo.
	Fingerprint Fingerprint
	// Certificate is its DER; it must not be changed.
	Certificate []byte
}

// New returns a snapshot that trusts nobody yet. The memory may be shared by all snapshots; nil is none.
func New(policy Policy, memory *Memory) *Snapshot {
	return (&Snapshot{policy: policy, memory: memory}).index()
}

// Policy returns what [New] or [Load] was given.
func (s *Snapshot) Policy() Policy { return s.policy }

// HasTrustAnchor tells whether anything can be verified at all (e2ei_is_pki_env_setup).
func (s *Snapshot) HasTrustAnchor() bool { return len(s.anchors) > 0 }

// TrustAnchors returns the trust anchors in the order of their fingerprints.
func (s *Snapshot) TrustAnchors() []TrustAnchor {
	anchors := make([]TrustAnchor, len(s.anchors))
	for i, a := range s.anchors {
		anchors[i] = TrustAnchor{a.key, a.cert.Raw}
	}
	return anchors
}

// Intermediates returns the DER of the intermediate certificates in a fixed order. It must not be changed.
func (s *Snapshot) Intermediates() [][]byte {
	ders := make([][]byte, len(s.intermediates))
	for i, a := range s.intermediates {
		ders[i] = a.cert.Raw
	}
	return ders
}

// WithTrustAnchor returns a snapshot that trusts a certificate, in DER: an authority that has signed itself and is valid now. One with the key of a
// trust anchor is [ErrTrustAnchorExists].
func (s *Snapshot) WithTrustAnchor(der []byte, now time.Time) (*Snapshot, error) {
	a, err := newAnchor(der)
	if err != nil {
		return nil, err
	}
	if err := a.facts.validAt(now); err != nil {
		return nil, err
	}
	i, found := s.findAnchor(a.key)
	if found {
		return nil, ErrTrustAnchorExists
	}
	if len(s.anchors) == MaxTrustAnchors {
		return nil, fmt.Errorf("%w: trust anchors", ErrFull)
	}
	next := s.clone()
	next.anchors = slices.Insert(next.anchors, i, a)
	return next.index(), nil
}

// WithoutTrustAnchor returns a snapshot that no longer trusts a certificate. Lists that only it had signed go with it; intermediates stay, for another
// anchor may vouch for them.
func (s *Snapshot) WithoutTrustAnchor(f Fingerprint) (*Snapshot, error) {
	i, found := s.findAnchor(f)
	if !found {
		return nil, ErrNotFound
	}
	next := s.clone()
	next.anchors = slices.Delete(next.anchors, i, i+1)
	next.crls = slices.DeleteFunc(next.crls, func(l *crl) bool { return !slices.ContainsFunc(next.authorities(), l.issuedBy) })
	return next.index(), nil
}

// WithIntermediates returns a snapshot that builds paths with more certificates, in DER and in any order: a cross-signed one is just another of the
// same name and key. Each has to lead, alone or by others of them, to a trust anchor now and not be revoked; one that fails keeps all out. So one that
// a trust anchor to come will have issued is for after that: whoever could leave here what leads nowhere could fill the room for what does. Those that
// the snapshot has already, trust anchors among them, change nothing.
func (s *Snapshot) WithIntermediates(now time.Time, ders ...[]byte) (*Snapshot, error) {
	next, added, err := s.adding(ders)
	if err != nil || len(added) == 0 {
		return next, err
	}
	if err := next.checkRoom(added); err != nil {
		return nil, err
	}
	for _, a := range added {
		if err := next.verifyAuthority(a, now); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// WithIssued returns a snapshot that verifies the leaf of a chain as [Snapshot.VerifyIssued] has: with those certificates behind it that lead to a trust
// anchor now. Others stay out and refuse nothing: an issuer sends the same chain to everybody, and with it a cross-certificate of a trust anchor that
// not everybody has.
func (s *Snapshot) WithIssued(chain [][]byte, now time.Time) (*Snapshot, error) {
	if len(chain) == 0 || len(chain) > MaxChainLength {
		return nil, fmt.Errorf("%w: chain of %d", ErrMalformed, len(chain))
	}
	all, added, err := s.adding(chain[1:])
	if err != nil {
		return nil, err
	}
	var kept, stray []*authority
	for _, a := range added {
		if all.verifyAuthority(a, now) == nil {
			kept = append(kept, a)
		} else {
			stray = append(stray, a)
		}
	}
	next := all
	switch {
	case len(kept) == 0:
		next = s
	case len(stray) > 0:
		next = all.clone()
		next.intermediates = slices.DeleteFunc(next.intermediates, func(a *authority) bool { return slices.ContainsFunc(stray, a.equal) })
		next.index()
	}
	if err := next.checkRoom(kept); err != nil {
		return nil, err
	}
	if err := next.decideUnlisted(next.judgeLeaf(chain[0], nil), now); err != nil {
		return nil, err
	}
	return next, nil
}

// adding returns a snapshot with more intermediates, which are still to be verified and to be given room, and which of them are new: s itself if none is.
// It does not bound how many they are.
func (s *Snapshot) adding(ders [][]byte) (next *Snapshot, added []*authority, err error) {
	if len(s.anchors) == 0 {
		return nil, nil, ErrNoTrustAnchor
	}
	next = s.clone()
	for _, der := range ders {
		a, err := newAuthority(der)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(next.anchors, a.equal) {
			continue
		}
		i, found := slices.BinarySearchFunc(next.intermediates, a, compareAuthorities)
		if found {
			continue
		}
		next.intermediates = slices.Insert(next.intermediates, i, a)
		added = append(added, a)
	}
	if len(added) == 0 {
		return s, nil, nil
	}
	return next.index(), added, nil
}

// checkRoom checks the intermediates that were added and are to stay, and that there is room for them.
func (s *Snapshot) checkRoom(added []*authority) error {
	if slices.ContainsFunc(added, func(a *authority) bool { return len(a.cert.SubjectKeyId) == 0 }) {
		return ErrMissingKeyID
	}
	if len(added) > 0 && len(s.intermediates) > MaxIntermediates {
		return fmt.Errorf("%w: intermediates", ErrFull)
	}
	return nil
}

func newAuthority(der []byte) (*authority, error) {
	c, err := parseCertificate(bytes.Clone(der)) // what is parsed points into it
	if err != nil {
		return nil, err
	}
	if err := checkAuthority(c); err != nil {
		return nil, err
	}
	return &authority{cert: c, id: sha256.Sum256(c.Raw), key: fingerprint(c), facts: factsOf(c)}, nil
}

func newAnchor(der []byte) (*authority, error) {
	a, err := newAuthority(der)
	if err != nil {
		return nil, err
	}
	if len(a.cert.UnhandledCriticalExtensions) > 0 {
		return nil, fmt.Errorf("%w: %v", ErrCriticalExtension, a.cert.UnhandledCriticalExtensions)
	}
	if !selfSigned(a.cert) {
		return nil, fmt.Errorf("%w: trust anchor is not signed by itself", ErrSignature)
	}
	a.anchor = true
	return a, nil
}

func (a *authority) equal(b *authority) bool { return a.id == b.id }

func compareAuthorities(a, b *authority) int { return bytes.Compare(a.id[:], b.id[:]) }

func (s *Snapshot) findAnchor(f Fingerprint) (int, bool) {
	return slices.BinarySearchFunc(s.anchors, f, func(a *authority, f Fingerprint) int { return bytes.Compare(a.key[:], f[:]) })
}

// authorities returns trust anchors and intermediates.
func (s *Snapshot) authorities() []*authority { return slices.Concat(s.anchors, s.intermediates) }

// clone returns a copy whose lists may be changed. It has to be indexed then.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{
		policy: s.policy, memory: s.memory,
		anchors: slices.Clone(s.anchors), intermediates: slices.Clone(s.intermediates), crls: slices.Clone(s.crls),
	}
}

// index makes what is derived from the lists, and returns s.
func (s *Snapshot) index() *Snapshot {
	s.bySubject = make(map[string][]*authority)
	h := sha256.New()
	for _, a := range s.authorities() {
		subject := string(a.cert.RawSubject)
		s.bySubject[subject] = append(s.bySubject[subject], a)
		h.Write(a.id[:])
		if a.anchor {
			h.Write([]byte{1})
		}
	}
	h.Sum(s.digest[:0])
	s.bySigner = make(map[Fingerprint][]*crl)
	for _, l := range s.crls {
		s.bySigner[l.signer] = append(s.bySigner[l.signer], l)
	}
	return s
}
