package pki

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint holds the types of the package against the rule for secrets. There are none among them: certificates are public.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(authority), new(certificateFacts), new(climber), new(crl), new(CRL), new(CRLRegistration), new(entry), new(Identity),
		new(issuingDistributionPoint), new(judgment), new(Memory), new(memoryKey), new(Policy), new(Record), new(recordName), new(RevokedError),
		new(scope), new(Snapshot), new(TrustAnchor), new(Verdict), new(X509Identity),
	}, nil, "")
}
