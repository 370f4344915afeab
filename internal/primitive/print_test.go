package primitive

import (
	"crypto/ecdh"
	"testing"

	"filippo.io/nistec"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(ecdsaScheme), new(SealInfo), new(ed25519Scheme), new(ed448Scheme), new(hpkeContext), new(kem), new(nistGroup),
		new(nistKey), new(standardEd25519), new(standardKey), new(Suite), new(Verification), new(VerificationKey),
		new(voiEd25519), new(voiKey), new(batchEntry), new(Signed), new(strictEntry), new(ecdsaKey), new(combs[*nistec.P384Point]), new(ed448Key), new(x25519Group),
		new(x25519Key), new(x448Group), new(x448Key),
	}, nil, "")
	marker := []byte(secrettest.Marker)
	var hpke hpkeContext
	for _, key := range [][]byte{hpke.key[:], hpke.nonce[:], hpke.exporter[:]} {
		copy(key, marker)
		for _, thing := range []any{hpke, &hpke, []any{&hpke}} {
			secrettest.Silent(t, thing, key[:min(len(key), len(marker))])
		}
	}
	var short x25519Key
	copy(short.key[:], marker)
	var long x448Key
	copy(long.key[:], marker)
	priv, err := ecdh.P256().NewPrivateKey(append(make([]byte, 32-len(marker)), marker...))
	if err != nil {
		t.Fatal(err)
	}
	nist := nistKey{curve: ecdh.P256(), key: priv}
	for _, thing := range []any{short, &short, []any{&short}, long, &long, []any{&long}, nist, &nist, []any{&nist}} {
		secrettest.Silent(t, thing, marker)
	}
}
