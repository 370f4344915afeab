package enrollment

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/pki"
)

// Issued is a certificate with the key it is for.
type Issued struct {
	CipherSuite uint16
	ClientID    clientid.ID
	// Chain is DER, the client's own certificate first. It ends below the trust anchor.
	Chain [][]byte
	// PublicKey and SignatureKey are the pair as package mlsgroup has it. The key is the
	// enrollment's: Wipe ends it, clone what has to live longer.
	PublicKey    []byte
	SignatureKey secret.Bytes
}

// Issued returns the certificate if it is valid and not revoked at that time, by the trust
// anchors and lists of trust and the intermediates of the chain. What does not depend on
// trust was checked already when it came: key, client, handle, display name and domain. The
// enrollment does not change: when the certificate is stored, its owner calls Wipe.
func (e *Enrollment) Issued(now time.Time, trust *pki.Snapshot) (Issued, error) {
	if e.state.step != StepIssued {
		return Issued{}, e.misplaced(StepIssued)
	}
	if err := e.state.order.check(now); err != nil {
		return Issued{}, err
	}
	if err := e.checkChain(now, e.state.chain); err != nil {
		return Issued{}, err
	}
	if trust == nil {
		return Issued{}, fmt.Errorf("%w: %w", ErrUntrusted, pki.ErrNoTrustAnchor)
	}
	if _, err := trust.VerifyIssued(e.state.chain, now); err != nil {
		return Issued{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return Issued{e.config.CipherSuite, e.config.ClientID, e.state.chain, e.signatureKey.public, e.signatureKey.private}, nil
}

// RejectCertificate takes back the step to [StepIssued]: the chain is not believed, and
// another may come as the response, or be asked for after [Enrollment.Retry]. Elsewhere it
// does nothing.
func (e *Enrollment) RejectCertificate() {
	if e.state.step != StepIssued {
		return
	}
	next := e.state
	next.step, next.out, next.chain = StepCertificate, StepCertificate, nil
	next.nonce = "" // none is kept while a response is out
	e.settle(next)
}

func acceptCertificate(e *Enrollment, next *state, r reply) error {
	if err := next.order.check(r.now); err != nil {
		return err
	}
	if !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte("-----END CERTIFICATE-----")) {
		return fmt.Errorf("%w: no end", ErrChain) // of a cut one the first certificates would do
	}
	chain, err := pki.ParsePEMChain(r.body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	if len(chain) > pki.MaxChainLength {
		return fmt.Errorf("%w: %d certificates", ErrChain, len(chain))
	}
	if err := e.checkChain(r.now, chain); err != nil {
		return err
	}
	next.chain, next.step = chain, StepIssued
	return nil
}

// checkChain holds the first certificate against what was asked for, not against what
// the CA echoed. Whether to believe it is for [Enrollment.Issued].
func (e *Enrollment) checkChain(now time.Time, chain [][]byte) error {
	certificates := make([]*x509.Certificate, len(chain))
	for i, certificate := range chain {
		c, err := x509.ParseCertificate(certificate)
		if err != nil {
			return fmt.Errorf("%w: not X.509", ErrCertificateFormat) // the library's text may quote a name
		}
		if len(c.SubjectKeyId) == 0 {
			return fmt.Errorf("%w: no subject key identifier", ErrCertificateFormat)
		}
		certificates[i] = c
	}
	leaf := certificates[0]
	public, err := e.signatureKey.publicKey()
	if err != nil {
		return err
	}
	want, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%w: not for signatures", ErrCertificateFormat)
	}
	if !bytes.Equal(keyAlgorithm(leaf.RawSubjectPublicKeyInfo), keyAlgorithm(want)) {
		return ErrKeyAlgorithm
	}
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, want) {
		return ErrKeyMismatch
	}
	if err := e.checkIdentity(chain[0]); err != nil {
		return err
	}
	switch {
	case now.Unix() > leaf.NotAfter.Unix():
		return ErrCertificateExpired
	case now.Unix() < leaf.NotBefore.Unix():
		return ErrCertificateNotYetValid
	}
	return nil
}

func (e *Enrollment) checkIdentity(leaf []byte) error {
	id, err := pki.ParseIdentity(leaf)
	switch {
	case errors.Is(err, pki.ErrDomain):
		return fmt.Errorf("%w: %w", ErrDomainMismatch, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCertificateFormat, err)
	case id.ClientID != e.config.ClientID:
		return ErrClientIDMismatch
	case id.BareHandle() != e.config.Handle:
		return ErrHandleMismatch
	case id.DisplayName != e.config.DisplayName:
		return ErrDisplayNameMismatch
	case id.Domain != e.config.ClientID.Domain:
		return ErrDomainMismatch
	}
	return nil
}

// keyAlgorithm returns the algorithm identifier of a SubjectPublicKeyInfo (RFC 5280 section 4.1),
// nil if there is none.
func keyAlgorithm(spki []byte) []byte {
	var inner, algorithm cryptobyte.String
	outer := cryptobyte.String(spki)
	if !outer.ReadASN1(&inner, der.SEQUENCE) || !inner.ReadASN1(&algorithm, der.SEQUENCE) {
		return nil
	}
	return algorithm
}
