package conclave_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

func jwk(kty, crv string, coordinates ...[]byte) string {
	s := fmt.Sprintf(`{"kty":%q,"crv":%q,"use":"sig","key_ops":["verify"]`, kty, crv)
	for i, c := range coordinates {
		s += fmt.Sprintf(`,%q:%q`, "xyd"[i:i+1], base64.RawURLEncoding.EncodeToString(c))
	}
	return s + "}"
}

// TestParseExternalSender reads every form of key there is, and refuses what is not exactly one.
func TestParseExternalSender(t *testing.T) {
	point := func(c ecdh.Curve) []byte {
		k, err := c.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k.PublicKey().Bytes()
	}
	coordinates := func(p []byte) [][]byte { return [][]byte{p[1 : 1+len(p)/2], p[1+len(p)/2:]} }
	signer := func(cs conclave.CipherSuite) []byte { return newExternalSigner(t, cs).Public }
	p256, p384, p521, ed25519, ed448 := point(ecdh.P256()), point(ecdh.P384()), point(ecdh.P521()), signer(1), signer(4)
	compressed := append([]byte{2 + p256[64]&1}, p256[1:33]...)

	for name, c := range map[string]struct {
		suite conclave.CipherSuite
		key   string
		want  []byte
	}{
		"raw Ed25519":     {1, string(ed25519), ed25519},
		"raw Ed448":       {6, string(ed448), ed448},
		"raw P-256":       {2, string(p256), p256},
		"compressed":      {2, string(compressed), compressed},
		"JWK Ed25519":     {3, jwk("OKP", "Ed25519", ed25519), ed25519},
		"JWK Ed448":       {4, jwk("OKP", "Ed448", ed448), ed448},
		"JWK P-256":       {2, jwk("EC", "P-256", coordinates(p256)...), p256},
		"JWK P-384":       {7, jwk("EC", "P-384", coordinates(p384)...), p384},
		"JWK P-521":       {5, " " + jwk("EC", "P-521", coordinates(p521)...) + "\n", p521},
		"wrong scheme":    {2, jwk("OKP", "Ed25519", ed25519), nil},
		"wrong type":      {1, jwk("EC", "Ed25519", ed25519), nil},
		"wrong curve":     {2, jwk("EC", "P-384", coordinates(p256)...), nil},
		"no y":            {2, jwk("EC", "P-256", p256[1:33]), nil},
		"off the curve":   {2, jwk("EC", "P-256", p256[1:33], p256[1:33]), nil},
		"short":           {1, jwk("OKP", "Ed25519", ed25519[1:]), nil},
		"padded":          {1, strings.Replace(jwk("OKP", "Ed25519", ed25519), `"}`, `="}`, 1), nil},
		"private":         {2, jwk("EC", "P-256", append(coordinates(p256), p256[1:33])...), nil},
		"twice":           {1, strings.Replace(jwk("OKP", "Ed25519", ed25519), `{`, `{"x":"",`, 1), nil},
		"in capitals":     {1, strings.Replace(jwk("OKP", "Ed25519", ed25519), `"x"`, `"X"`, 1), nil},
		"not a string":    {1, `{"kty":"OKP","crv":"Ed25519","x":7}`, nil},
		"no object":       {1, `["OKP"]`, nil},
		"cut off":         {1, strings.TrimSuffix(jwk("OKP", "Ed25519", ed25519), "}"), nil},
		"raw and short":   {1, string(ed25519[:31]), nil},
		"raw, other":      {2, string(ed25519), nil},
		"empty":           {1, "", nil},
		"small order":     {1, string(make([]byte, 32)), nil},
		"no cipher suite": {9, string(ed25519), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := conclave.ParseExternalSender(c.suite, []byte(c.key))
			if c.want == nil {
				wantCode(t, err, conclave.CodeInvalidArgument)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.SignatureKey, c.want) || got.Credential.Type != mlsgroup.CredentialTypeBasic || string(got.Credential.Identity) != "wire-server" {
				t.Errorf("got %x of %q, want %x", got.SignatureKey, got.Credential.Identity, c.want)
			}
		})
	}
}

func newExternalSigner(t *testing.T, cs conclave.CipherSuite) *mlsgroup.Signer {
	t.Helper()
	s, err := mlsgroup.NewSigner(rand.Reader, cs, mlsgroup.BasicCredential([]byte("wire-server")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExternalRemove has the delivery service remove a member: it proposes, and one of the others commits.
func TestExternalRemove(t *testing.T) {
	for _, cs := range []conclave.CipherSuite{1, 2} {
		t.Run(fmt.Sprint("suite ", cs), func(t *testing.T) {
			w := newWorld(t)
			ctx := t.Context()
			signer := newExternalSigner(t, cs)
			sender, err := conclave.ParseExternalSender(cs, signer.Public)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []conclave.ClientID{"alice", "bob", "carol"} {
				w.open(name, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{cs}})
			}
			alice, bob, carol := w.devices["alice"], w.devices["bob"], w.devices["carol"]
			if err := alice.CreateConversation(ctx, "c", conclave.ConversationOptions{ExternalSenders: []conclave.ExternalSender{sender}}); err != nil {
				t.Fatal(err)
			}
			if err := alice.Add(ctx, "c", "bob", "carol"); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if key, err := bob.ExternalSender(ctx, "c"); err != nil || !bytes.Equal(key, signer.Public) {
				t.Errorf("external sender %x, %v; want %x", key, err, signer.Public)
			}
			propose := func(by *mlsgroup.Signer, epoch uint64, index uint32, removed mlsgroup.LeafIndex) []byte {
				message, err := mlsgroup.NewExternalProposal(mlsgroup.Input{Rand: rand.Reader, Signer: by}, mlsgroup.ExternalProposalOptions{
					CipherSuite: cs, GroupID: []byte("c"), Epoch: epoch, Index: index,
					Proposal: &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: removed}},
				})
				if err != nil {
					t.Fatal(err)
				}
				return message
			}
			for name, forged := range map[string][]byte{
				"by a stranger":         propose(newExternalSigner(t, cs), 1, 0, 2),
				"by a sender not there": propose(signer, 1, 1, 2),
			} {
				if _, err := bob.DecryptMessage(ctx, "c", forged); !errors.Is(err, conclave.CodeInvalidMessage) {
					t.Errorf("a proposal %s: %v", name, err)
				}
			}
			_, err = bob.DecryptMessage(ctx, "c", propose(signer, 0, 0, 2))
			wantCode(t, err, conclave.CodeStaleProposal)

			message := propose(signer, 1, 0, 2)
			for _, d := range w.devices {
				got, err := d.DecryptMessage(ctx, "c", message)
				if err != nil {
					t.Fatal(err)
				}
				if got.Outcome != conclave.OutcomeProposal || got.Sender.Type != mlsgroup.SenderTypeExternal || got.Sender.ClientID != "wire-server" {
					t.Errorf("%s: %v of %v %q", d.ID(), got.Outcome, got.Sender.Type, got.Sender.ClientID)
				}
				if got.HasCommitDelay != (d != carol) {
					t.Errorf("%s has a commit delay: %t", d.ID(), got.HasCommitDelay)
				}
			}
			// What cannot be carried out is pending too, and the commit leaves it out.
			if _, err := bob.DecryptMessage(ctx, "c", propose(signer, 1, 0, 7)); err != nil {
				t.Fatal(err)
			}
			if _, err := bob.CommitPendingProposals(ctx, "c"); err != nil {
				t.Fatal(err)
			}
			events, err := carol.Receive(ctx)
			if err != nil || len(events) != 1 || events[0].Err != nil || events[0].Message.IsActive {
				t.Errorf("carol got %+v, %v", events, err)
			}
			w.settle()
			w.agree("c")
			if ids, err := alice.ClientIDs(ctx, "c"); err != nil || len(ids) != 2 {
				t.Errorf("members %v, %v", ids, err)
			}
		})
	}
}

// TestNewExternalAddProposal has a client ask to be added, and reads and writes with it once a member has done so.
func TestNewExternalAddProposal(t *testing.T) {
	for _, profile := range []conclave.Profile{conclave.ProfileWire, conclave.ProfileRFC9420} {
		t.Run(fmt.Sprint("profile ", profile), func(t *testing.T) {
			w := newWorld(t)
			ctx := t.Context()
			for _, name := range []conclave.ClientID{"alice", "bob", "carol"} {
				w.open(name, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 3}, Profile: profile})
			}
			carol := w.devices["carol"]
			list := w.group("c", "alice", "bob")
			before, err := carol.ValidKeyPackageCount(ctx, 1, 0)
			if err != nil {
				t.Fatal(err)
			}

			asked, err := carol.NewExternalAddProposal(ctx, "c", 1, conclave.ExternalAddOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := carol.ValidKeyPackageCount(ctx, 1, 0); err != nil || n != before+1 {
				t.Errorf("%d key packages, %v; want one more than %d", n, err, before)
			}
			for _, d := range list {
				got, err := d.DecryptMessage(ctx, "c", asked.Message)
				if err != nil {
					t.Fatal(err)
				}
				if got.Outcome != conclave.OutcomeProposal || got.Sender.Type != mlsgroup.SenderTypeNewMemberProposal || got.Sender.ClientID != "carol" || !got.HasCommitDelay {
					t.Errorf("%s: %v of %v %q", d.ID(), got.Outcome, got.Sender.Type, got.Sender.ClientID)
				}
			}
			_, err = list[1].DecryptMessage(ctx, "c", asked.Message)
			wantCode(t, err, conclave.CodeDuplicateMessage)
			if _, err := list[1].CommitPendingProposals(ctx, "c"); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.agree("c")
			if err := carol.Say(ctx, "c", []byte("thank you")); err != nil {
				t.Fatal(err)
			}
			if texts := w.settle(); len(texts["alice"]) != 1 || texts["alice"][0] != "thank you" {
				t.Errorf("alice read %q", texts["alice"])
			}

			_, err = carol.NewExternalAddProposal(ctx, "", 1, conclave.ExternalAddOptions{})
			wantCode(t, err, conclave.CodeInvalidArgument)
			_, err = carol.NewExternalAddProposal(ctx, "c", 1, conclave.ExternalAddOptions{CipherSuite: 2})
			wantCode(t, err, conclave.CodeCredentialNotFound)
			other, err := carol.NewExternalAddProposal(ctx, "c", 2, conclave.ExternalAddOptions{CipherSuite: 3})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = list[0].DecryptMessage(ctx, "c", other.Message); err != nil {
				t.Fatal(err)
			}
			if _, err := list[0].CommitPendingProposals(ctx, "c"); err != nil {
				t.Fatal(err)
			}
			if ids, err := list[0].ClientIDs(ctx, "c"); err != nil || len(ids) != 3 {
				t.Errorf("members %v, %v: a key package of another suite was added", ids, err)
			}
		})
	}
}

// TestExternalAddProposalInTransaction: the key package is there exactly when the transaction is.
func TestExternalAddProposalInTransaction(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, err := w.engine.Client(ctx, "carol", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	for _, want := range []error{stop, nil} {
		var ref conclave.KeyPackageRef
		err := c.Transaction(ctx, func(tx *conclave.Tx) error {
			asked, err := tx.NewExternalAddProposal(ctx, "c", 1, conclave.ExternalAddOptions{})
			ref = asked.KeyPackage
			return errors.Join(err, want)
		})
		if !errors.Is(err, want) {
			t.Fatal(err)
		}
		stored, err := c.KeyPackages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if there := len(stored) == 1 && bytes.Equal(stored[0].Ref, ref); there != (want == nil) {
			t.Errorf("after %v the key package is stored: %t", want, there)
		}
	}
}
