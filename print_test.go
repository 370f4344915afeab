package conclave

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(Client), new(ClientOptions), new(Conversation), new(CredentialFilter), new(decryptAll), new(Decrypted), new(decryptedOrError),
		new(Engine), new(Error), new(ExternalAddOptions), new(Incoming), new(JoinOptions), new(lane), new(Metrics), new(Options),
		new(parked), new(results),
		new(PKIEnvDump), new(CRLDump), new(RotateOptions), new(RotationIncomplete), new(RotationProgress), new(Proteus), new(scope), new(Tx), new(waiting),
		new(Enrollment), new(EnrollmentOptions), new(EnrollOptions), new(EnrollHooks), new(EnrollProgress), new(enroller), new(hookError), new(RenewOptions),
	}, nil, "")
}
