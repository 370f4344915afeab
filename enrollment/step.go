package enrollment

// Step is where an enrollment stands: what it waits for next.
type Step uint8

// The steps, in their order. StepNonce comes between any two as needed.
const (
	stepNone Step = iota
	StepDirectory
	StepNonce
	StepAccount
	StepOrder
	StepAuthorization
	StepDPoPToken   // waits for CreateDPoPToken
	StepAccessToken // waits for SetAccessToken
	StepDPoPChallenge
	StepIDToken // waits for SetIDToken
	StepOIDCChallenge
	StepOrderCheck
	StepFinalize
	StepCertificate
	StepIssued   // the certificate is there, see Issued
	StepFinished // wiped
	stepEnd
)

var stepNames = [stepEnd]string{
	"none", "directory", "nonce", "account", "order", "authorization", "DPoP token", "access token", "DPoP challenge",
	"ID token", "OIDC challenge", "order check", "finalize", "certificate", "issued", "finished",
}

// String returns the name of the step.
func (s Step) String() string {
	if s >= stepEnd {
		return "unknown"
	}
	return stepNames[s]
}
