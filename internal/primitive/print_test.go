package primitive

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(ecdsaScheme), new(ed25519Scheme), new(ed448Scheme), new(hpkeContext), new(kem), new(nistGroup),
		new(nistKey), new(standardEd25519), new(Suite), new(Verification), new(voiEd25519), new(x25519Group),
		new(x25519Key), new(x448Group), new(x448Key),
	}, nil, "")
}
