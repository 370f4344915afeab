package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Verdict is what a snapshot says of a leaf certificate.
type Verdict struct {
	// Identity is what the certificate says, believed or not; nil if it does not say it. It is shared and must not be changed.
	Identity *Identity
	// Err is why the certificate is not valid now, nil if it is.
	Err error
}

// Verify verifies a chain, leaf first, at a time, and returns nil if the leaf is valid. As Wire's clients do it builds paths with the intermediates
// of the snapshot only, whatever comes behind the leaf: what a member sends is not what its domain's authorities were registered with.
//
// Where no path holds, the error is that of the one that came furthest: signatures and constraints come first, then time, then revocation. So an
// error that is [Admissible] speaks of a certificate that was properly issued.
func (s *Snapshot) Verify(chain [][]byte, now time.Time) error { return s.Examine(chain, now).Err }

// Examine verifies a chain as [Snapshot.Verify] does and reads its identity.
func (s *Snapshot) Examine(chain [][]byte, now time.Time) Verdict {
	if len(chain) == 0 || len(chain) > MaxChainLength {
		return Verdict{Err: fmt.Errorf("%w: chain of %d", ErrMalformed, len(chain))}
	}
	if len(chain[0]) > MaxCertificateSize {
		return Verdict{Err: fmt.Errorf("%w: %d bytes", ErrMalformed, len(chain[0]))}
	}
	k := memoryKey{sha256.Sum256(chain[0]), s.digest}
	j := s.memory.recall(k)
	if j == nil {
		j = s.judgeLeaf(chain[0], nil)
		s.memory.remember(k, j)
	}
	return Verdict{j.identity, s.decide(j, now)}
}

// VerifyIssued verifies a chain that an issuer has just handed out for a key of ours, at a time: paths may go through the certificates behind the
// leaf too, which [Snapshot.WithIssued] then registers. Lists are not asked for, whatever the policy: where they are is in this very chain.
func (s *Snapshot) VerifyIssued(chain [][]byte, now time.Time) (*Identity, error) {
	if len(chain) == 0 || len(chain) > MaxChainLength {
		return nil, fmt.Errorf("%w: chain of %d", ErrMalformed, len(chain))
	}
	var more []*authority
	for _, der := range chain[1:] {
		a, err := newAuthority(der)
		if err != nil {
			return nil, err
		}
		more = append(more, a)
	}
	j := s.judgeLeaf(chain[0], more)
	if err := s.decideUnlisted(j, now); err != nil {
		return nil, err
	}
	return j.identity, nil
}

// judgeLeaf judges an end entity.
func (s *Snapshot) judgeLeaf(der []byte, more []*authority) *judgment {
	c, err := parseCertificate(der)
	if err != nil {
		return &judgment{err: err}
	}
	j := &judgment{cert: factsOf(c)}
	j.identity, err = identityOf(c)
	switch {
	case err != nil:
		j.err = err
	case selfSigned(c):
		j.err = ErrSelfSigned
	case c.IsCA:
		j.err = fmt.Errorf("%w: an authority is no end entity", ErrUsage)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		j.err = fmt.Errorf("%w: key is not for signatures", ErrUsage)
	default:
		j.paths, j.err = s.judge(c, x509.ExtKeyUsageClientAuth, more)
	}
	return j
}

// verifyAuthority verifies an intermediate. Lists of its issuer are asked for when a leaf's path goes through it.
func (s *Snapshot) verifyAuthority(a *authority, now time.Time) error {
	j := &judgment{cert: a.facts}
	j.paths, j.err = s.judge(a.cert, x509.ExtKeyUsageAny, nil)
	return s.decideUnlisted(j, now)
}

// decideUnlisted decides without asking for lists: what those at hand say counts.
func (s *Snapshot) decideUnlisted(j *judgment, now time.Time) error {
	err := s.decide(j, now)
	if errors.Is(err, ErrCRLMissing) || errors.Is(err, ErrCRLStale) {
		return nil
	}
	return err
}

// decide holds a judgment against time and lists. One good path suffices; otherwise what is wrong with revocation tells more than with time.
func (s *Snapshot) decide(j *judgment, now time.Time) error {
	if j.err != nil {
		return j.err
	}
	var late, revoked error
	for _, p := range j.paths {
		if err := p.validAt(&j.cert, now); err != nil {
			if late == nil {
				late = err
			}
			continue
		}
		err := s.checkRevocation(j, p, now)
		if err == nil {
			return nil
		}
		if revoked == nil || errors.Is(err, ErrRevoked) {
			revoked = err
		}
	}
	if revoked != nil {
		return revoked
	}
	return late
}

// validAt holds the periods of a path against a time, the leaf's first.
func (p path) validAt(leaf *certificateFacts, now time.Time) error {
	if err := leaf.validAt(now); err != nil {
		return err
	}
	for _, a := range p {
		switch err := a.facts.validAt(now); err {
		case nil:
		case ErrExpired:
			return ErrIssuerExpired
		default:
			return fmt.Errorf("%w: issuer", err)
		}
	}
	return nil
}

// checkRevocation looks each certificate of a path but the trust anchor up in the lists of its issuer. A revoked one counts before one without list.
func (s *Snapshot) checkRevocation(j *judgment, p path, now time.Time) error {
	var unknown error
	facts := j.cert
	for i, issuer := range p {
		covered, stale := false, false
		for _, l := range s.bySigner[issuer.key] {
			if !l.issuedBy(issuer) {
				continue
			}
			if e, ok := l.entries[facts.serial]; ok {
				return &RevokedError{Depth: i, SerialNumber: facts.serialText, Reason: e.reason, At: time.Unix(e.at, 0).UTC()}
			}
			if l.covers(&facts) {
				covered = covered || l.current(now)
				stale = true
			}
		}
		if unknown == nil && s.policy.RequireCRL && !covered {
			unknown = ErrCRLMissing
			if stale {
				unknown = ErrCRLStale
			}
		}
		facts = issuer.facts
	}
	return unknown
}
