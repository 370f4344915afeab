package actors

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// pkiActor owns whom a client trusts: trust anchors, intermediates and revocation
// lists. It stores them, a record each, and publishes what they come to as a snapshot,
// which everybody reads without asking it: no conversation waits for another's
// registration, and none for a fetch, which the application does on its own time.
//
// All of it is behind one guard. A transaction that registers something sees it at
// once; others see it when it is durable, and as soon as anything of that transaction:
// the transaction publishes it when it is decided, before it tells anybody.
type pkiActor struct{ keeper }

const pkiGuard = "pki"

func newPKIActor(c *client) *pkiActor {
	a := new(pkiActor)
	a.keeper = newKeeper(c, a)
	return a
}

func (a *pkiActor) address() ref { return a.client.pki }

// news of a transaction is what it has registered. One that has waited for the guard in
// vain has registered nothing.
func (a *pkiActor) news(tx *transaction) []news {
	if staged := tx.trusted.Load(); staged != nil {
		return []news{trusts(staged)}
	}
	return nil
}

// trusts is the news of another snapshot.
func trusts(s *pki.Snapshot) news { return func(p *published) { p.trusted = s } }

func (a *pkiActor) plan(t *task) (*work, error) {
	w := &work{task: t, needs: []need{{pkiGuard, true}}}
	now := a.sys.options.Now()
	switch r := t.request.(type) {
	case messages.RegisterTrustAnchor:
		w.run = a.change(t.tx, messages.ErrInvalidCertificate, func(s *pki.Snapshot) (*pki.Snapshot, messages.Reply, error) {
			der, err := readCertificate(r.Certificate)
			if err != nil {
				return nil, nil, err
			}
			next, err := s.WithTrustAnchor(der, now)
			if err != nil {
				return nil, nil, err
			}
			anchor, _ := anchorOf(next, der)
			return next, messages.TrustAnchorRegistered{Fingerprint: anchor}, nil
		})
	case messages.RemoveTrustAnchor:
		w.run = a.change(t.tx, messages.ErrInvalidCertificate, func(s *pki.Snapshot) (*pki.Snapshot, messages.Reply, error) {
			next, err := s.WithoutTrustAnchor(r.Fingerprint)
			if errors.Is(err, pki.ErrNotFound) {
				next, err = s, nil
			}
			return next, messages.TrustAnchorRemoved{}, err
		})
	case messages.RegisterIntermediate:
		w.run = a.change(t.tx, messages.ErrInvalidCertificate, func(s *pki.Snapshot) (*pki.Snapshot, messages.Reply, error) {
			der, err := readCertificate(r.Certificate)
			if err != nil {
				return nil, nil, err
			}
			next, err := s.WithIntermediates(now, der)
			if err != nil {
				return nil, nil, err
			}
			reply := messages.IntermediateRegistered{}
			if _, anchor := anchorOf(s, der); !anchor {
				reply.DistributionPoints, err = pki.DistributionPoints([][]byte{der})
			}
			return next, reply, err
		})
	case registerChain:
		w.run = a.change(t.tx, messages.ErrInvalidCertificate, func(s *pki.Snapshot) (*pki.Snapshot, messages.Reply, error) {
			next, err := s.WithIssued(r.chain, now)
			return next, stepDone{}, err
		})
	case messages.RegisterCRL:
		w.run = a.change(t.tx, messages.ErrInvalidCRL, func(s *pki.Snapshot) (*pki.Snapshot, messages.Reply, error) {
			next, made, err := s.WithCRL(r.DistributionPoint, r.CRL)
			return next, messages.CRLRegistered{CRLRegistration: made}, err
		})
	default:
		return nil, fmt.Errorf("%w: %T", messages.ErrInternal, t.request)
	}
	return w, nil
}

// registerChain registers the intermediates of a chain that was issued to the client.
type registerChain struct {
	messages.Step
	chain [][]byte // leaf first
}

// change is the run of a request that makes another snapshot. refused names what it
// answers where f refuses.
func (a *pkiActor) change(tx *transaction, refused error, f func(*pki.Snapshot) (*pki.Snapshot, messages.Reply, error)) func() (messages.Reply, error) {
	return func() (messages.Reply, error) {
		base := a.client.trust(tx)
		next, reply, err := f(base)
		if err != nil {
			return nil, pkiError(err, refused)
		}
		if next == base {
			return reply, nil
		}
		written, deleted := pki.Changes(base, next)
		changes := new(store.ChangeSet)
		for _, r := range written {
			changes.Put(a.client.pkiKey(r), r.Value)
		}
		for _, r := range deleted {
			changes.Delete(a.client.pkiKey(r))
		}
		if err := a.keep(tx, changes); err != nil {
			return nil, err
		}
		if tx == nil {
			a.client.publish(trusts(next))
		} else {
			tx.trusted.Store(next)
		}
		return reply, nil
	}
}

// trust returns whom the client trusts, as a transaction sees it; nil is nobody's.
func (c *client) trust(tx *transaction) *pki.Snapshot {
	if tx != nil {
		if staged := tx.trusted.Load(); staged != nil {
			return staged
		}
	}
	return c.published.Load().trusted
}

// pkiKey is the key of a record of a snapshot.
func (c *client) pkiKey(r pki.Record) []byte {
	return c.keys.PKI(nil, append([]byte{byte(r.Table)}, r.ID[:]...))
}

// loadTrust reads what a client has registered.
func (s *System) loadTrust(c *client) (*pki.Snapshot, error) {
	prefix := c.keys.PKI(nil, nil)
	stored, err := readAll(s.store, store.PrefixRange(prefix))
	if err != nil {
		return nil, s.storeError(err)
	}
	records := make([]pki.Record, 0, len(stored))
	for _, rec := range stored {
		name := rec.Key[len(prefix):]
		if len(name) != 1+sha256.Size {
			return nil, fmt.Errorf("%w: key of a PKI record", messages.ErrCorrupt)
		}
		if pki.Table(name[0]) == tablePoint {
			if err := c.loadPoint(rec); err != nil {
				return nil, err
			}
			continue
		}
		records = append(records, pki.Record{Table: pki.Table(name[0]), ID: [32]byte(name[1:]), Value: rec.Value})
	}
	snapshot, err := pki.Load(s.options.PKIPolicy, s.memory, records)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrCorrupt, err)
	}
	return snapshot, nil
}

// anchorOf returns the name of the trust anchor that is a certificate.
func anchorOf(s *pki.Snapshot, der []byte) (pki.Fingerprint, bool) {
	for _, a := range s.TrustAnchors() {
		if bytes.Equal(a.Certificate, der) {
			return a.Fingerprint, true
		}
	}
	return pki.Fingerprint{}, false
}

// readCertificate reads one certificate, PEM or DER.
func readCertificate(b []byte) ([]byte, error) {
	if len(b) > 0 && b[0] == derSequence {
		return b, nil
	}
	chain, err := pki.ParsePEMChain(b)
	if err == nil && len(chain) != 1 {
		err = fmt.Errorf("%w: %d certificates", messages.ErrInvalidArgument, len(chain))
	}
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// derSequence begins every certificate in DER, and no PEM.
const derSequence = 0x30

// pkiError names the refusals of package pki, those it has no other name for by what
// was refused.
func pkiError(err, refused error) error {
	switch {
	case errors.Is(err, messages.ErrInvalidArgument):
		return err
	case errors.Is(err, pki.ErrNoTrustAnchor):
		refused = messages.ErrPKIEnvironmentUnset
	case errors.Is(err, pki.ErrTrustAnchorExists):
		refused = messages.ErrTrustAnchorAlreadyRegistered
	case errors.Is(err, pki.ErrFull):
		refused = messages.ErrInvalidArgument
	}
	return fmt.Errorf("%w: %w", refused, err)
}

// readPKI answers what is registered, as the transaction sees it.
func readPKI(s *pki.Snapshot) messages.PKIRead {
	return messages.PKIRead{TrustAnchors: s.TrustAnchors(), Intermediates: s.Intermediates(), CRLs: s.CRLs()}
}
