package conclave

import (
	"context"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/pki"
)

// Fingerprint names a trust anchor: SHA-256 of its SubjectPublicKeyInfo.
type Fingerprint = pki.Fingerprint

// PKIPolicy says how strict judging certificates is where CoreCrypto lets things pass. The zero value is as strict as honest peers allow.
type PKIPolicy = pki.Policy

// TrustAnchor is a registered trust anchor.
type TrustAnchor = pki.TrustAnchor

// CRLRegistration says whether a registered CRL revokes other certificates than the one before it, and when the next one is due.
type CRLRegistration = pki.CRLRegistration

// RegisterTrustAnchor registers the certificate of a certification authority, PEM or DER, that chains of members may end at: the root of the ACME
// server, and of each federated domain's. It has to be self-signed and in its time. [CodeTrustAnchorAlreadyRegistered] where one has the same key.
//
// Trust anchors, intermediates and CRLs belong to the client and are stored with it.
func (s scope) RegisterTrustAnchor(ctx context.Context, certificate []byte) (Fingerprint, error) {
	r, err := ask[messages.TrustAnchorRegistered](ctx, s, "RegisterTrustAnchor", "", messages.RegisterTrustAnchor{Certificate: certificate})
	return r.Fingerprint, err
}

// RemoveTrustAnchor forgets a trust anchor. Members whose chains end there stay in their groups; they are no longer verified. An unknown one is no error.
func (s scope) RemoveTrustAnchor(ctx context.Context, fingerprint Fingerprint) error {
	_, err := ask[messages.TrustAnchorRemoved](ctx, s, "RemoveTrustAnchor", "", messages.RemoveTrustAnchor{Fingerprint: fingerprint})
	return err
}

// TrustAnchors lists the registered trust anchors, in the order of their fingerprints.
func (s scope) TrustAnchors(ctx context.Context) ([]TrustAnchor, error) {
	r, err := ask[messages.PKIRead](ctx, s, "TrustAnchors", "", messages.ReadPKI{})
	return r.TrustAnchors, err
}

// RegisterIntermediate registers an intermediate certificate, PEM or DER, which has to lead to a trust anchor, and returns the CRL distribution points in it.
// Paths are built with registered certificates only, so the intermediates of every domain whose users one meets have to be here. A trust anchor is ignored.
// Of a federation's certificates register the roots first: one that leads to no registered root yet is refused, and may be registered again after its root.
// [CodePKIEnvironmentUnset] where there is no trust anchor yet, [CodeInvalidCertificate] where it does not verify.
func (s scope) RegisterIntermediate(ctx context.Context, certificate []byte) (distributionPoints []string, err error) {
	r, err := ask[messages.IntermediateRegistered](ctx, s, "RegisterIntermediate", "", messages.RegisterIntermediate{Certificate: certificate})
	return r.DistributionPoints, err
}

// RegisterCRL registers the revocation list that was fetched from a distribution point, in DER. It has to be signed by a registered authority.
// [CodePKIEnvironmentUnset] where there is no trust anchor yet, [CodeInvalidCRL] where it does not verify.
func (s scope) RegisterCRL(ctx context.Context, distributionPoint string, crl []byte) (CRLRegistration, error) {
	r, err := ask[messages.CRLRegistered](ctx, s, "RegisterCRL", "", messages.RegisterCRL{DistributionPoint: distributionPoint, CRL: crl})
	return r.CRLRegistration, err
}

// DistributionPoints lists the CRL distribution points that matter to the client, in order: those in its own certificates, in registered ones and in those of
// members it has met, and those whose CRLs are registered. It is cheap. Together with RegisterCRL it makes a client what pki/crlfetch keeps fresh.
func (s scope) DistributionPoints(ctx context.Context) ([]string, error) {
	r, err := ask[messages.DistributionPointsListed](ctx, s, "DistributionPoints", "", messages.ListDistributionPoints{})
	return r.DistributionPoints, err
}

// IsPKIEnvSetup tells whether there is a trust anchor.
func (s scope) IsPKIEnvSetup(ctx context.Context) (bool, error) {
	r, err := ask[messages.PKIRead](ctx, s, "IsPKIEnvSetup", "", messages.ReadPKI{})
	return len(r.TrustAnchors) > 0, err
}

// PKIEnvDump is what is registered, in PEM.
type PKIEnvDump struct {
	TrustAnchors  []string
	Intermediates []string
	CRLs          []CRLDump
}

// CRLDump is a registered CRL.
type CRLDump struct {
	DistributionPoint string
	NextUpdate        time.Time // zero where the CRL does not say
	CRL               string    // PEM
}

// DumpPKIEnv returns what is registered, nil without a trust anchor.
func (s scope) DumpPKIEnv(ctx context.Context) (*PKIEnvDump, error) {
	r, err := ask[messages.PKIRead](ctx, s, "DumpPKIEnv", "", messages.ReadPKI{})
	if err != nil || len(r.TrustAnchors) == 0 {
		return nil, err
	}
	d := new(PKIEnvDump)
	for _, a := range r.TrustAnchors {
		d.TrustAnchors = append(d.TrustAnchors, pki.EncodePEM(a.Certificate))
	}
	for _, der := range r.Intermediates {
		d.Intermediates = append(d.Intermediates, pki.EncodePEM(der))
	}
	for _, c := range r.CRLs {
		d.CRLs = append(d.CRLs, CRLDump{c.URL, c.NextUpdate, pki.EncodePEMCRL(c.DER)})
	}
	return d, nil
}
