package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// path is a certificate's way to a trust anchor: its issuer, the issuer's issuer and so on. All are authorities, which [checkAuthority] has seen.
type path []*authority

// judgment is what can be said of a certificate for good, given the authorities.
type judgment struct {
	identity *Identity // nil if it has none
	cert     certificateFacts
	paths    []path // that hold but for time and revocation
	err      error  // why there are none, or why the leaf is none
}

// certificateFacts is what time and revocation need to know of a certificate.
type certificateFacts struct {
	serial              string // serialKey
	serialText          string
	isCA                bool
	points              []string
	namesPoints         bool // points or others, which are not among them
	notBefore, notAfter time.Time
}

func factsOf(c *x509.Certificate) certificateFacts {
	return certificateFacts{
		serial: serialKey(c.SerialNumber), serialText: serialText(c.SerialNumber), isCA: c.IsCA, points: distributionPoints(c),
		namesPoints: slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidCRLDistributionPoints) }),
		notBefore:   c.NotBefore, notAfter: c.NotAfter,
	}
}

// validAt holds the period of validity, which includes both its ends, against a time.
func (f *certificateFacts) validAt(now time.Time) error {
	now = now.Truncate(time.Second)
	switch {
	case now.Before(f.notBefore):
		return ErrNotYetValid
	case now.After(f.notAfter):
		return ErrExpired
	}
	return nil
}

// judge builds the paths of a certificate and checks each. Every path that holds is kept, for time and lists may later prefer one.
func (s *Snapshot) judge(c *x509.Certificate, usage x509.ExtKeyUsage, more []*authority) ([]path, error) {
	candidates := s.paths(c, more)
	var good []path
	err := ErrNoPath
	for _, p := range candidates {
		switch e := p.check(c, usage); {
		case e == nil:
			good = append(good, p)
		case err == ErrNoPath || errors.Is(err, ErrSignature):
			err = e // a wrong signature says less than what is wrong with the path of the right one
		}
	}
	if len(good) > 0 {
		return good, nil
	}
	return nil, err
}

// climber looks for paths.
type climber struct {
	snapshot *Snapshot
	more     []*authority
	found    []path
	steps    int
}

// paths returns the ways from a certificate to trust anchors by names and key identifiers (RFC 5280 section 6.1), through the intermediates of the
// snapshot and more. There are bounds on how many, and how long they look.
func (s *Snapshot) paths(c *x509.Certificate, more []*authority) []path {
	b := &climber{snapshot: s, more: more}
	b.climb(c, nil)
	return b.found
}

func (b *climber) climb(c *x509.Certificate, below path) {
	issuers := b.snapshot.bySubject[string(c.RawIssuer)]
	for _, a := range b.more {
		if bytes.Equal(a.cert.RawSubject, c.RawIssuer) {
			issuers = append(issuers[:len(issuers):len(issuers)], a)
		}
	}
	for _, a := range issuers {
		b.steps++
		if b.steps > maxPathSteps || len(b.found) == maxPaths {
			return
		}
		if !mayHaveIssued(a.cert, c) || slices.ContainsFunc(below, a.sameEntity) {
			continue
		}
		p := append(below[:len(below):len(below)], a)
		if a.anchor {
			b.found = append(b.found, p)
		} else if len(p) < MaxChainLength-1 {
			b.climb(a.cert, p)
		}
	}
}

// sameEntity tells whether two certificates are for one name and key, of which a path needs one.
func (a *authority) sameEntity(b *authority) bool {
	return a.key == b.key && bytes.Equal(a.cert.RawSubject, b.cert.RawSubject)
}

// mayHaveIssued tells whether the key identifiers agree, where both are given. An authority is not its own issuer.
func mayHaveIssued(issuer, c *x509.Certificate) bool {
	if bytes.Equal(issuer.Raw, c.Raw) {
		return false
	}
	return len(c.AuthorityKeyId) == 0 || len(issuer.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId)
}

// check holds all of a path that depends neither on time nor on lists.
func (p path) check(c *x509.Certificate, usage x509.ExtKeyUsage) error {
	for i, a := range p {
		// The standard library does not count the target, which is right for a leaf. An authority is of use only with one below it.
		if c.IsCA && a.cert.MaxPathLen >= 0 && i+1 > a.cert.MaxPathLen {
			return ErrPathLength
		}
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range p {
		if a.anchor {
			roots.AddCert(timeless(a.cert))
		} else {
			intermediates.AddCert(timeless(a.cert))
		}
	}
	usages := []x509.ExtKeyUsage{usage}
	chains, err := timeless(c).Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: instant, KeyUsages: usages})
	if err != nil {
		return translate(err)
	}
	if !slices.ContainsFunc(chains, p.equal) {
		return ErrNoPath // by names only: another path, which is tried too, is the one
	}
	return p.checkURIs(c)
}

// instant is when the standard library looks at every path.
var instant = time.Unix(0, 0)

// timeless returns a copy of a certificate that is valid at that instant: its signature is over its bytes, which stay. Time is for validAt alone.
// An authority that is renewed with its key has two certificates, of which members hold one, the other or both; none of them has to have been valid
// together with a leaf, and whether somebody may be in a group must not depend on which of them one holds.
func timeless(c *x509.Certificate) *x509.Certificate {
	t := *c
	t.NotBefore, t.NotAfter = instant, instant
	return &t
}

// equal tells whether a chain of the standard library, with its leaf, is this path.
func (p path) equal(chain []*x509.Certificate) bool {
	return len(chain) == len(p)+1 && slices.EqualFunc(p, chain[1:], func(a *authority, c *x509.Certificate) bool { return a.cert.Equal(c) })
}

// translate makes an error of ours from one of the standard library, whose text is left out: it quotes names of the certificate.
func translate(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.TooManyIntermediates:
			return ErrPathLength
		case x509.IncompatibleUsage:
			return fmt.Errorf("%w: extended key usage", ErrUsage)
		case x509.NotAuthorizedToSign:
			return fmt.Errorf("%w: issuer may not sign certificates", ErrUsage)
		case x509.CANotAuthorizedForThisName:
			return fmt.Errorf("%w: alternative name", ErrNameConstraint)
		}
		return ErrPolicy
	}
	var critical x509.UnhandledCriticalExtension
	if errors.As(err, &critical) {
		return ErrCriticalExtension
	}
	return ErrSignature
}

// checkURIs holds the URIs of a leaf against the permitted ones of its authorities once more: the standard library lets a constraint for a host
// permit the hosts below it, which RFC 5280 section 4.2.1.10 does only for a constraint that begins with a period.
func (p path) checkURIs(c *x509.Certificate) error {
	for _, a := range p {
		if len(a.cert.PermittedURIDomains) == 0 {
			continue
		}
		for _, u := range c.URIs {
			if !slices.ContainsFunc(a.cert.PermittedURIDomains, func(d string) bool { return permits(d, u) }) {
				return fmt.Errorf("%w: URI", ErrNameConstraint)
			}
		}
	}
	return nil
}

func permits(constraint string, u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	constraint = strings.ToLower(constraint)
	return constraint == "" || host == constraint || constraint[0] == '.' && strings.HasSuffix(host, constraint) && len(host) > len(constraint)
}
