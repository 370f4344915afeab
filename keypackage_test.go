package conclave_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

func TestClientKeyPackages(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	ctx := t.Context()
	c, err := e.Client(ctx, "alice", conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2}})
	if err != nil {
		t.Fatal(err)
	}

	first, err := c.ClientKeyPackages(ctx, 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 5 {
		t.Fatalf("%d key packages, want 5", len(first))
	}
	kp, err := mlsgroup.ParseKeyPackage(first[0].KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	if kp.CipherSuite != 1 || !bytes.Equal(kp.LeafNode.Credential.Identity, []byte("alice")) || bytes.Equal(kp.InitKey, kp.LeafNode.EncryptionKey) || len(kp.Extensions) != 0 {
		t.Errorf("key package %+v", kp)
	}
	if before, after := kp.LeafNode.Lifetime.NotBefore, kp.LeafNode.Lifetime.NotAfter; before != uint64(now.Unix()-3600) || after != uint64(now.Unix()+84*24*3600) {
		t.Errorf("lifetime %d to %d", before, after)
	}

	again, err := c.ClientKeyPackages(ctx, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, k := range again {
		have[string(k.Ref)] = true
	}
	if len(have) != 7 {
		t.Errorf("%d key packages, want 7", len(have))
	}
	for _, k := range first {
		if !have[string(k.Ref)] {
			t.Error("a stored key package was not used again")
		}
	}
	for suite, want := range map[conclave.CipherSuite]int{1: 7, 2: 0} {
		if n, err := c.ValidKeyPackageCount(ctx, suite, 0); err != nil || n != want {
			t.Errorf("suite %d: %d valid, %v; want %d", suite, n, err, want)
		}
	}

	now = now.Add(85 * 24 * time.Hour)
	if n, err := c.ValidKeyPackageCount(ctx, 1, 0); err != nil || n != 0 {
		t.Errorf("%d valid after they expired, %v", n, err)
	}
	fresh, err := c.ClientKeyPackages(ctx, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range fresh {
		if have[string(k.Ref)] {
			t.Error("an expired key package came out")
		}
	}
	if all, err := c.KeyPackages(ctx); err != nil || len(all) != 2 {
		t.Errorf("%d stored, %v; want 2: the expired ones go", len(all), err)
	}
	_, err = c.ClientKeyPackages(ctx, 1, -1)
	wantCode(t, err, conclave.CodeInvalidArgument)
}

func TestDeleteKeyPackages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, err := w.engine.Client(ctx, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteKeyPackages(ctx, made[1].Ref, conclave.KeyPackageRef("unknown")); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteKeyPackages(ctx); err != nil {
		t.Errorf("an empty list: %v", err)
	}
	left, err := c.KeyPackages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Fatalf("%d left, want 2", len(left))
	}
	for _, k := range left {
		if bytes.Equal(k.Ref, made[1].Ref) {
			t.Error("the deleted one is there")
		}
	}
}

// TestLastResortKeyPackage joins two conversations by the same key package, which an ordinary one does not allow.
func TestLastResortKeyPackage(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	bob := w.open("bob", conclave.ClientOptions{Profile: conclave.ProfileRFC9420})
	for _, lastResort := range []bool{true, false} {
		made, err := bob.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, LastResort: lastResort})
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range []conclave.ConversationID{"one", "two"} {
			if lastResort {
				id += " by last resort"
			}
			if err := alice.CreateConversation(ctx, id, conclave.ConversationOptions{Profile: conclave.ProfileRFC9420}); err != nil {
				t.Fatal(err)
			}
			if _, err := alice.AddMembers(ctx, id, made[0].KeyPackage); err != nil {
				t.Fatal(err)
			}
			events, err := bob.Receive(ctx)
			if err != nil || len(events) != 1 {
				t.Fatalf("%d events, %v", len(events), err)
			}
			if second := i == 1; second && !lastResort {
				wantCode(t, events[0].Err, conclave.CodeOrphanWelcome)
			} else if events[0].Err != nil {
				t.Errorf("joining %s: %v", id, events[0].Err)
			}
		}
	}
}

func TestPSK(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	if err := alice.PutPSK(ctx, []byte("id"), []byte("sixteen bytes ok")); err != nil {
		t.Fatal(err)
	}
	if err := alice.DeletePSK(ctx, []byte("id")); err != nil {
		t.Fatal(err)
	}
	if err := alice.DeletePSK(ctx, []byte("id")); err != nil {
		t.Errorf("deleting an unknown one: %v", err)
	}
	wantCode(t, alice.PutPSK(ctx, make([]byte, 1<<16), []byte("x")), conclave.CodeInvalidArgument)
	wantCode(t, alice.PutPSK(ctx, []byte("id"), make([]byte, 1<<20)), conclave.CodeInvalidArgument)
}

// TestProposePSK lets two members begin an epoch that depends on a key both of them were given.
func TestProposePSK(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	alice, bob := list[0], list[1]
	id, key := []byte("id"), conclave.Secret("sixteen bytes ok")
	_, err := alice.ProposePSK(ctx, "room", id)
	wantCode(t, err, conclave.CodeInvalidArgument)
	if !errors.Is(err, mlsgroup.CheckPSKAvailable) {
		t.Errorf("a proposal of a key that is not here: %v", err)
	}
	err = alice.Transaction(ctx, func(tx *conclave.Tx) error {
		if err := tx.PutPSK(ctx, []byte("of the transaction"), key.Clone()); err != nil {
			return err
		}
		proposed, err := tx.ProposePSK(ctx, "room", []byte("of the transaction"))
		if err != nil {
			return err
		}
		return tx.ClearPendingProposal(ctx, "room", proposed.Ref)
	})
	if err != nil {
		t.Errorf("a key that the transaction has put: %v", err)
	}
	for _, d := range list {
		if err := d.PutPSK(ctx, id, key.Clone()); err != nil {
			t.Fatal(err)
		}
	}
	proposal, err := alice.ProposePSK(ctx, "room", id)
	if err != nil {
		t.Fatal(err)
	}
	w.ds.Send("alice", "room", proposal.Message)
	before, err := bob.Conversation("room").Epoch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.settle()
	if merged, err := alice.CommitPendingProposals(ctx, "room"); err != nil || !merged.Sent {
		t.Fatalf("committing: %+v, %v", merged, err)
	}
	w.settle()
	for _, d := range list {
		if epoch, err := d.Conversation("room").Epoch(ctx); err != nil || epoch != before+1 {
			t.Errorf("%s is in epoch %d, %v, want %d", d.ID(), epoch, err, before+1)
		}
	}
	sealed, err := bob.EncryptMessage(ctx, "room", []byte("both had it"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := alice.DecryptMessage(ctx, "room", sealed); err != nil || string(m.Plaintext) != "both had it" {
		t.Errorf("read %q, %v", []byte(m.Plaintext), err)
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	added, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 7})
	if err != nil {
		t.Fatal(err)
	}
	all, err := alice.Credentials(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].CipherSuite != 1 || all[1].Ref != added.Ref {
		t.Errorf("credentials %+v", all)
	}
	_, err = alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1, Credential: mlsgroup.BasicCredential([]byte("mallory"))})
	wantCode(t, err, conclave.CodeWrongCredential)

	w.group("room", "alice")
	wantCode(t, alice.RemoveCredential(ctx, all[0].Ref), conclave.CodeCredentialStillInUse)
	if err := alice.RemoveCredential(ctx, added.Ref); err != nil {
		t.Fatal(err)
	}
	if err := alice.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	if err := alice.RemoveCredential(ctx, all[0].Ref); err != nil {
		t.Fatal(err)
	}
	if left, err := alice.KeyPackages(ctx); err != nil || len(left) != 0 {
		t.Errorf("%d key packages outlive their credential, %v", len(left), err)
	}
	wantCode(t, alice.CreateConversation(ctx, "another", conclave.ConversationOptions{}), conclave.CodeCredentialNotFound)
}

// TestKeyPackageOptions makes a key package of which everything is said, and reads it back.
func TestKeyPackageOptions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, err := w.engine.Client(ctx, "alice", conclave.ClientOptions{Profile: conclave.ProfileRFC9420})
	if err != nil {
		t.Fatal(err)
	}
	const private = mlsgroup.ExtensionType(0xf042)
	capabilities := &mlsgroup.Capabilities{
		Versions: []mlsgroup.ProtocolVersion{1}, CipherSuites: []conclave.CipherSuite{1}, Credentials: []mlsgroup.CredentialType{mlsgroup.CredentialTypeBasic},
		Extensions: []mlsgroup.ExtensionType{private},
	}
	o := conclave.KeyPackageOptions{
		Count: 1, Lifetime: 30 * 24 * time.Hour, LastResort: true, Capabilities: capabilities,
		Extensions:     mlsgroup.Extensions{{Type: private, Body: []byte("of the package")}},
		LeafExtensions: mlsgroup.Extensions{{Type: mlsgroup.ExtensionTypeApplicationID, Body: []byte("my-app")}, {Type: private}},
	}
	made, err := c.GenerateKeyPackages(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	kp, err := w.engine.ValidateKeyPackage(made[0].KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	if ref, err := kp.Ref(); err != nil || !bytes.Equal(ref, made[0].Ref) {
		t.Errorf("reference %x, %v; want %x", ref, err, made[0].Ref)
	}
	l := kp.LeafNode
	if !kp.LastResort() || len(l.Extensions) != 2 || l.Lifetime.NotAfter-l.Lifetime.NotBefore != 30*24*3600+3600 || len(l.Capabilities.CipherSuites) != 1 {
		t.Errorf("key package %+v with leaf %+v", kp, l)
	}
	if len(capabilities.Extensions) != 1 {
		t.Errorf("the caller's capabilities have changed to %v", capabilities.Extensions)
	}
	if err := kp.CheckExtensionSupport(private, mlsgroup.ExtensionTypeLastResort); err != nil {
		t.Error(err)
	}
	if err := kp.CheckExtensionSupport(private, mlsgroup.ExtensionTypeApplicationID); !errors.Is(err, mlsgroup.ErrUnsupportedExtension) {
		t.Errorf("an extension that only the leaf has: %v", err)
	}

	for name, change := range map[string]func(*conclave.KeyPackageOptions){
		"extension not listed":      func(o *conclave.KeyPackageOptions) { o.Extensions = mlsgroup.Extensions{{Type: private + 1}} },
		"leaf extension not listed": func(o *conclave.KeyPackageOptions) { o.LeafExtensions = mlsgroup.Extensions{{Type: private + 1}} },
		"extension twice":           func(o *conclave.KeyPackageOptions) { o.Extensions = append(o.Extensions, o.Extensions...) },
		"default type listed": func(o *conclave.KeyPackageOptions) {
			o.Capabilities = &mlsgroup.Capabilities{Extensions: []mlsgroup.ExtensionType{mlsgroup.ExtensionTypeApplicationID}}
		},
		"negative lifetime":               func(o *conclave.KeyPackageOptions) { o.Lifetime = -1 },
		"none":                            func(o *conclave.KeyPackageOptions) { o.Count = 0 },
		"last resort in Wire's profile":   func(o *conclave.KeyPackageOptions) { o.Profile = conclave.ProfileWire },
		"suite that nobody has heard of":  func(o *conclave.KeyPackageOptions) { o.CipherSuite = 8 },
		"suite of other signature scheme": func(o *conclave.KeyPackageOptions) { o.CipherSuite = 2 },
	} {
		o := o
		change(&o)
		_, err := c.GenerateKeyPackages(ctx, o)
		if !errors.Is(err, conclave.CodeInvalidArgument) && !(o.CipherSuite != 0 && errors.Is(err, conclave.CodeCredentialNotFound)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := c.KeyPackages(ctx); err != nil || len(all) != 1 {
		t.Errorf("%d stored, %v; want what was made and nothing of what was refused", len(all), err)
	}
	credentials, err := c.Credentials(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, CipherSuite: 2, Credential: credentials[0].Ref})
	wantCode(t, err, conclave.CodeWrongCredential)
}

// TestValidateKeyPackage: each fault of a key package has an error of its own.
func TestValidateKeyPackage(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	c, err := e.Client(t.Context(), "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.GenerateKeyPackages(t.Context(), conclave.KeyPackageOptions{Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		change func(kp *mlsgroup.KeyPackage)
		after  time.Duration
		want   error
	}{
		"valid":                {func(*mlsgroup.KeyPackage) {}, 0, nil},
		"an hour slow":         {func(*mlsgroup.KeyPackage) {}, -time.Hour, nil},
		"not valid yet":        {func(*mlsgroup.KeyPackage) {}, -2 * time.Hour, mlsgroup.CheckLifetime},
		"expired":              {func(*mlsgroup.KeyPackage) {}, 85 * 24 * time.Hour, mlsgroup.CheckLifetime},
		"extension not listed": {func(kp *mlsgroup.KeyPackage) { kp.Extensions = mlsgroup.Extensions{{Type: 0xf042}} }, 0, mlsgroup.CheckKeyPackageExtensions},
		"signature":            {func(kp *mlsgroup.KeyPackage) { kp.Signature[7] ^= 1 }, 0, mlsgroup.CheckKeyPackageSignature},
		"leaf's signature":     {func(kp *mlsgroup.KeyPackage) { kp.LeafNode.Signature[7] ^= 1 }, 0, mlsgroup.CheckLeafSignature},
		"leaf's source":        {func(kp *mlsgroup.KeyPackage) { kp.LeafNode.Source = mlsgroup.LeafNodeSourceUpdate }, 0, mlsgroup.CheckLeafSourceKeyPackage},
		"one key for two":      {func(kp *mlsgroup.KeyPackage) { kp.InitKey = kp.LeafNode.EncryptionKey }, 0, mlsgroup.CheckInitKeyDistinct},
		"version":              {func(kp *mlsgroup.KeyPackage) { kp.Version = 2 }, 0, mlsgroup.CheckKeyPackageVersion},
		"cipher suite":         {func(kp *mlsgroup.KeyPackage) { kp.CipherSuite = 8 }, 0, mlsgroup.ErrUnsupportedCipherSuite},
	} {
		t.Run(name, func(t *testing.T) {
			kp, err := mlsgroup.ParseKeyPackage(made[0].KeyPackage)
			if err != nil {
				t.Fatal(err)
			}
			x.change(kp)
			now = now.Add(x.after)
			defer func() { now = now.Add(-x.after) }()
			got, err := e.ValidateKeyPackage(kp.Marshal())
			if x.want == nil {
				if err != nil || !bytes.Equal(got.Marshal(), made[0].KeyPackage) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			wantCode(t, err, conclave.CodeInvalidMessage)
			if !errors.Is(err, x.want) || got != nil {
				t.Errorf("got %v, %v; want %v", got, err, x.want)
			}
		})
	}
	_, err = e.ValidateKeyPackage(made[0].KeyPackage[:40])
	wantCode(t, err, conclave.CodeInvalidMessage)
}

// TestDeleteStaleKeyPackages replaces a Basic credential by an X.509 one, and that by a newer one.
func TestDeleteStaleKeyPackages(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	ctx := t.Context()
	c, err := e.Client(ctx, "alice", conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	generate := func(suite conclave.CipherSuite, ref conclave.CredentialRef) conclave.KeyPackageRef {
		made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, CipherSuite: suite, Credential: ref})
		if err != nil {
			t.Fatal(err)
		}
		return made[0].Ref
	}
	want := func(what string, refs ...conclave.KeyPackageRef) {
		t.Helper()
		left, err := c.KeyPackages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool)
		for _, k := range left {
			have[string(k.Ref)] = true
		}
		for _, ref := range refs {
			if !have[string(ref)] {
				t.Errorf("%s: %x is gone", what, ref)
			}
		}
		if len(have) != len(refs) {
			t.Errorf("%s: %d left, want %d", what, len(have), len(refs))
		}
	}
	add := func() conclave.CredentialRef {
		now = now.Add(time.Second)
		added, err := c.AddCredential(ctx, newX509Credential(t))
		if err != nil {
			t.Fatal(err)
		}
		return added.Ref
	}
	basic, other := generate(1, conclave.CredentialRef{}), generate(2, conclave.CredentialRef{})
	wantCode(t, c.DeleteStaleKeyPackages(ctx, 1), conclave.CodeCredentialNotFound)
	want("without an X.509 credential", basic, other)

	first := add()
	old := generate(1, first)
	if err := c.DeleteStaleKeyPackages(ctx, 3); err != nil {
		t.Fatal(err)
	}
	want("after the first", old, other)
	fresh := generate(1, add())
	for range 2 { // the second time nothing is stale
		if err := c.DeleteStaleKeyPackages(ctx, 1); err != nil {
			t.Fatal(err)
		}
		want("after the second", fresh, other)
	}
}

// newX509Credential makes an X.509 credential that nobody has signed but its own key.
func newX509Credential(t *testing.T) conclave.NewCredential {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return conclave.NewCredential{
		CipherSuite: 1, Credential: mlsgroup.X509Credential([][]byte{certificate}), SignaturePrivate: private.Seed(), SignatureKey: public,
	}
}
