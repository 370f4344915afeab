package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestWelcomeVectors(t *testing.T) {
	for _, v := range vectors[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		InitPriv    hexBytes    `json:"init_priv"`
		SignerPub   hexBytes    `json:"signer_pub"`
		KeyPackage  hexBytes    `json:"key_package"`
		Welcome     hexBytes    `json:"welcome"`
	}](t, "welcome.json") {
		t.Run(fmt.Sprintf("suite=%d", v.CipherSuite), func(t *testing.T) {
			s := mustSuite(t, v.CipherSuite)
			kp, err := ParseMLSMessage(v.KeyPackage)
			if err != nil {
				t.Fatal(err)
			}
			wm, err := ParseMLSMessage(v.Welcome)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := kp.KeyPackage.Ref()
			if err != nil {
				t.Fatal(err)
			}
			gs, err := openGroupSecrets(s, wm.Welcome, ref, secret.Bytes(v.InitPriv))
			if err != nil {
				t.Fatal(err)
			}
			if len(gs.PSKs) != 0 {
				t.Fatal("the vectors have no PSKs")
			}
			gi, err := openWelcomeGroupInfo(s, wm.Welcome, gs.JoinerSecret, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := gi.verify(s, v.SignerPub); err != nil {
				t.Error(err)
			}
			es := epochSecretsFromJoiner(s, gs.JoinerSecret, nil, gi.GroupContext.Marshal())
			if !es.verifyConfirmationTag(s, gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag) {
				t.Error("confirmation_tag differs")
			}
			gi.Signature[7] ^= 1
			if err := gi.verify(s, v.SignerPub); !errors.Is(err, CheckGroupInfoSignature) {
				t.Errorf("changed signature: %v", err)
			}
			if _, err := openGroupSecrets(s, wm.Welcome, ref[1:], secret.Bytes(v.InitPriv)); !errors.Is(err, CheckWelcomeKeyPackage) {
				t.Errorf("key package that the welcome is not for: %v", err)
			}
			other := mustSuite(t, 1+v.CipherSuite%7)
			if _, err := openGroupSecrets(other, wm.Welcome, ref, secret.Bytes(v.InitPriv)); !errors.Is(err, CheckWelcomeSuite) {
				t.Errorf("key package of another suite: %v", err)
			}
		})
	}
}

// countingReader gives fixed bytes and remembers how many were drawn.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

func TestWelcomeSealing(t *testing.T) {
	for cs := CipherSuite(1); cs.Supported(); cs++ {
		t.Run(fmt.Sprintf("suite=%d", cs), func(t *testing.T) {
			s := mustSuite(t, cs)
			zero := func(n int) secret.Bytes { return make(secret.Bytes, n) }
			signPriv, signPub, err := s.GenerateSignatureKey(zero(s.SeedSize()))
			if err != nil {
				t.Fatal(err)
			}
			gi := &GroupInfo{
				GroupContext:    GroupContext{Version: ProtocolVersionMLS10, CipherSuite: cs, GroupID: []byte("g"), Epoch: 3},
				ConfirmationTag: []byte("tag"),
				Signer:          2,
			}
			if err := gi.sign(s, signPriv); err != nil {
				t.Fatal(err)
			}
			joinerSecret := secret.Bytes(bytes.Repeat([]byte{1}, s.HashSize()))
			pskSecret := secret.Bytes(bytes.Repeat([]byte{2}, s.HashSize()))
			psks := []PreSharedKeyID{{Type: PSKTypeResumption, Usage: ResumptionPSKUsageBranch, GroupID: []byte("h"), Nonce: zero(s.HashSize())}}
			var joiners []joiner
			var privates []secret.Bytes
			for i := range 3 {
				priv, pub, err := s.DeriveKeyPair(secret.Bytes(bytes.Repeat([]byte{byte(i)}, 32)))
				if err != nil {
					t.Fatal(err)
				}
				privates = append(privates, priv)
				j := joiner{ref: KeyPackageRef{byte(i)}, initKey: pub}
				if i != 1 {
					j.pathSecret = secret.Bytes(bytes.Repeat([]byte{byte(i)}, s.HashSize()))
				}
				joiners = append(joiners, j)
			}
			backwards := func(n int, f func(int)) {
				for i := n - 1; i >= 0; i-- {
					f(i)
				}
			}
			var sealed [2][]byte
			var w *Welcome
			for i, do := range []func(int, func(int)){nil, backwards} {
				source := &countingReader{r: rand.NewChaCha8([32]byte{})}
				if w, err = sealWelcome(s, gi, joinerSecret, pskSecret, psks, joiners, source, do); err != nil {
					t.Fatal(err)
				}
				if source.n != 3*s.SeedSize() {
					t.Errorf("%d random bytes drawn, want %d", source.n, 3*s.SeedSize())
				}
				sealed[i] = w.Marshal()
			}
			if !bytes.Equal(sealed[0], sealed[1]) {
				t.Error("the order of the work changes the bytes")
			}
			for i, j := range joiners {
				gs, err := openGroupSecrets(s, w, j.ref, privates[i])
				if err != nil {
					t.Fatal(err)
				}
				if !gs.JoinerSecret.Equal(joinerSecret) || !gs.PathSecret.Equal(j.pathSecret) || len(gs.PSKs) != 1 || !gs.PSKs[0].equal(&psks[0]) {
					t.Errorf("joiner %d gets other secrets", i)
				}
				got, err := openWelcomeGroupInfo(s, w, gs.JoinerSecret, pskSecret)
				if err != nil {
					t.Fatal(err)
				}
				if err := got.verify(s, signPub); err != nil {
					t.Error(err)
				}
			}
			if _, err := openGroupSecrets(s, w, joiners[0].ref, privates[1]); err == nil {
				t.Error("opened with another's init key")
			}
			if _, err := openWelcomeGroupInfo(s, w, joinerSecret, nil); err == nil {
				t.Error("opened without the PSK")
			}
			twice := append(psks, psks[0])
			if w, err = sealWelcome(s, gi, joinerSecret, pskSecret, twice, joiners, rand.NewChaCha8([32]byte{}), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := openGroupSecrets(s, w, joiners[0].ref, privates[0]); !errors.Is(err, CheckResumptionPSKAlone) {
				t.Errorf("two branch PSKs: %v", err)
			}
			joiners[1].initKey = joiners[1].initKey[1:]
			if _, err := sealWelcome(s, gi, joinerSecret, pskSecret, psks, joiners, rand.NewChaCha8([32]byte{}), nil); err == nil {
				t.Error("sealed to half a key")
			}
			if _, err := sealWelcome(s, gi, joinerSecret, pskSecret, psks, joiners, bytes.NewReader(nil), nil); err == nil {
				t.Error("sealed without randomness")
			}
		})
	}
}

// BenchmarkSealWelcome seals to 100 joiners a group info that carries a tree of
// about a thousand leaves, suite 1, in sequence.
func BenchmarkSealWelcome(b *testing.B) {
	s := mustSuite(b, CipherSuiteX25519AES128Ed25519)
	_, pub, err := s.DeriveKeyPair(make(secret.Bytes, 32))
	if err != nil {
		b.Fatal(err)
	}
	joiners := make([]joiner, 100)
	for i := range joiners {
		joiners[i] = joiner{ref: make(KeyPackageRef, s.HashSize()), initKey: pub}
	}
	for _, size := range []int{1 << 10, 200 << 10} {
		b.Run(fmt.Sprintf("tree=%d", size), func(b *testing.B) {
			gi := &GroupInfo{Extensions: Extensions{{Type: ExtensionTypeRatchetTree, Body: make([]byte, size)}}}
			for b.Loop() {
				if _, err := sealWelcome(s, gi, make(secret.Bytes, s.HashSize()), nil, nil, joiners, rand.NewChaCha8([32]byte{}), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(joiners)), "µs/joiner")
		})
	}
}
