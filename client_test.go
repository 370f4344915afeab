package conclave_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// TestKeypairs goes the long way to a client: key pairs under provisional ids, which outlive a restart, then the definitive id.
func TestKeypairs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	reopen := func(e *conclave.Engine) *conclave.Engine {
		t.Helper()
		if e != nil {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const id = "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com"
	suites := []conclave.CipherSuite{1, 2}
	e := reopen(nil)
	defer func() { _ = e.Close() }()
	made, err := e.GenerateKeypairs(ctx, suites...)
	if err != nil {
		t.Fatal(err)
	}
	var ids []conclave.ClientID
	for i, k := range made {
		if len(k.ID) != 16 || k.CipherSuite != suites[i] || len(k.SignatureKey) == 0 {
			t.Errorf("key pair %+v", k)
		}
		ids = append(ids, k.ID)
	}
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Fatalf("provisional ids %x", ids)
	}
	if clients, err := e.Clients(ctx); err != nil || len(clients) != 0 {
		t.Errorf("clients %q, %v: a key pair is no client", clients, err)
	}

	e = reopen(e)
	for name, o := range map[string]conclave.ClientOptions{
		"unknown":      {CipherSuites: suites, Keypairs: []conclave.ClientID{ids[0], "0123456789abcdef"}},
		"not of ours":  {CipherSuites: suites, Keypairs: []conclave.ClientID{"alice"}},
		"the same one": {CipherSuites: suites, Keypairs: []conclave.ClientID{ids[0], ids[0]}},
	} {
		if _, err := e.Client(ctx, id, o); !errors.Is(err, conclave.CodeKeypairNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = e.Client(ctx, id, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1}, Keypairs: ids})
	wantCode(t, err, conclave.CodeWrongCredential)
	if clients, err := e.Clients(ctx); err != nil || len(clients) != 0 {
		t.Errorf("clients %q, %v: a refused one is there", clients, err)
	}

	c, err := e.Client(ctx, id, conclave.ClientOptions{CipherSuites: suites, Keypairs: ids})
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		all, err := c.Credentials(ctx)
		if err != nil || len(all) != len(made) {
			t.Fatalf("%d credentials, %v; want %d", len(all), err, len(made))
		}
		for _, k := range made {
			found, err := c.FindCredentials(ctx, conclave.CredentialFilter{SignatureKey: k.SignatureKey, CipherSuite: k.CipherSuite, Type: mlsgroup.CredentialTypeBasic})
			if err != nil || len(found) != 1 || string(found[0].Credential.Identity) != id {
				t.Errorf("credentials of %x: %+v, %v", k.SignatureKey, found, err)
			}
		}
	}
	check()
	if err := c.CreateConversation(ctx, "c", conclave.ConversationOptions{CipherSuite: 2}); err != nil {
		t.Fatal(err)
	}
	for _, given := range []conclave.ClientID{id, "another"} {
		_, err := e.Client(ctx, given, conclave.ClientOptions{CipherSuites: suites, Keypairs: ids})
		if want := map[conclave.ClientID]conclave.Code{id: conclave.CodeClientAlreadyExists, "another": conclave.CodeKeypairNotFound}[given]; !errors.Is(err, want) {
			t.Errorf("key pairs for a second time, %s: %v, want %s", given, err, string(want))
		}
	}
	e = reopen(e)
	if c, err = e.Client(ctx, id, conclave.ClientOptions{CipherSuites: suites}); err != nil || c.Created() {
		t.Fatal(c, err)
	}
	check()
	for _, bad := range [][]conclave.CipherSuite{nil, {9}} {
		_, err := e.GenerateKeypairs(ctx, bad...)
		wantCode(t, err, conclave.CodeInvalidArgument)
	}
}

// TestCredentialRefs: a reference names the same credential after a restart, for as long as a conversation uses it and for new ones.
func TestCredentialRefs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	ds := enginetest.NewDeliveryService()
	var refs []conclave.CredentialRef
	for run := range 2 {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		d, err := enginetest.Open(ctx, e, ds, "alice", conclave.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			for range 3 {
				added, err := d.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
				if err != nil {
					t.Fatal(err)
				}
				refs = append(refs, added.Ref)
			}
		}
		for i, ref := range refs {
			id := conclave.ConversationID([]byte{byte('a' + run), byte('0' + i)})
			if err := d.CreateConversation(ctx, id, conclave.ConversationOptions{Credential: ref, Profile: conclave.ProfileRFC9420}); err != nil {
				t.Fatal(err)
			}
			for _, id := range []conclave.ConversationID{id, conclave.ConversationID([]byte{'a', byte('0' + i)})} {
				if got, err := d.ConversationCredential(ctx, id); err != nil || got != ref {
					t.Errorf("run %d: conversation %s has %x, %v; want %x", run, id, got, err, ref)
				}
			}
			err := d.RemoveCredential(ctx, ref)
			wantCode(t, err, conclave.CodeCredentialStillInUse)
			if _, err := d.UpdateKeyMaterial(ctx, id); err != nil {
				t.Error(err)
			}
		}
		if found, err := d.FindCredentials(ctx, conclave.CredentialFilter{}); err != nil || len(found) != 4 {
			t.Errorf("run %d: %d credentials, %v", run, len(found), err)
		}
		for _, f := range []conclave.CredentialFilter{{CipherSuite: 2}, {Type: mlsgroup.CredentialTypeX509}, {SignatureKey: []byte{}}} {
			if found, err := d.FindCredentials(ctx, f); err != nil || len(found) != 0 {
				t.Errorf("filter %+v finds %d, %v", f, len(found), err)
			}
		}
		if run == 1 {
			for _, id := range []conclave.ConversationID{"a0", "b0"} {
				if err := d.WipeConversation(ctx, id); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.RemoveCredential(ctx, refs[0]); err != nil {
				t.Error(err)
			}
			all, err := d.Credentials(ctx)
			if err != nil || len(all) != 3 || slices.ContainsFunc(all, func(c conclave.CredentialEntry) bool { return c.Ref == refs[0] }) {
				t.Errorf("%d credentials, %v", len(all), err)
			}
			_, err = d.ConversationCredential(ctx, "a0")
			wantCode(t, err, conclave.CodeConversationNotFound)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClientIDForms reads a client id in each of its forms.
func TestClientIDForms(t *testing.T) {
	const canonical, qualified, uri = "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com", "SvPfLlwBQi-6oddVRrkqpw:4c7@example.com", "wireapp://SvPfLlwBQi-6oddVRrkqpw%214c7@example.com"
	a, errA := conclave.ParseClientID(canonical)
	b, errB := conclave.ParseQualifiedClientID(qualified)
	c, errC := conclave.ParseClientURI(uri)
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	if a != b || b != c || c.String() != canonical || a.Device != 0x4c7 || a.Domain != "example.com" {
		t.Errorf("%v, %v, %v", a, b, c)
	}
	_, err := conclave.ParseClientID(qualified)
	wantCode(t, err, conclave.CodeInvalidArgument)
	_, err = conclave.ParseQualifiedClientID(canonical)
	wantCode(t, err, conclave.CodeInvalidArgument)
	_, err = conclave.ParseClientURI("wireapp://%40alice@example.com")
	wantCode(t, err, conclave.CodeInvalidArgument)
}
