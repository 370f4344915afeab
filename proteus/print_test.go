package proteus

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(chainKey), new(Decrypted), new(Error), new(firstMessage), new(Identity), new(keyPair), new(Message), new(messageKeys),
		new(pendingPreKey), new(PreKey), new(PreKeyBundle), new(reader), new(receiveChain), new(sendChain), new(Session), new(state),
		new(taggedState),
	}, nil, "")
	secrettest.Silent(t, reader{b: []byte(secrettest.Marker)}, []byte(secrettest.Marker))
}
