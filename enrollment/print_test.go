package enrollment

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in all that
// fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(algorithm), new(Authentication), new(Authorization), new(Challenge), new(challengeDocument), new(Config), new(Directory),
		new(dpopClaims), new(Enrollment), new(identifier), new(Issued), new(joseSigner), new(keyPair), new(Order), new(orderDocument),
		new(Problem), new(problemDocument), new(reply), new(Request), new(Response), new(row), new(stashReader), new(stashWriter),
		new(state), new(StatusError), new(StepError), new(subject),
	}, nil, "")
}
