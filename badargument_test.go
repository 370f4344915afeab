package conclave_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
)

// TestBadArguments gives every call that takes more than bytes what is out of range, unknown or too long.
func TestBadArguments(t *testing.T) {
	w := newBadWorld(t)
	alice := w.devices["alice"].Client
	long := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name string
		want conclave.Code
		call func(ctx context.Context) error
	}{
		{"client without id", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := w.engine.Client(ctx, "", conclave.ClientOptions{})
			return err
		}},
		{"client with a long id", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := w.engine.Client(ctx, conclave.ClientID(long), conclave.ClientOptions{})
			return err
		}},
		{"client of an unknown suite", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := w.engine.Client(ctx, "new", conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{0x0a0a}})
			return err
		}},
		{"client of an unknown profile", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := w.engine.Client(ctx, "new", conclave.ClientOptions{Profile: 99})
			return err
		}},
		{"conversation without id", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, "", conclave.ConversationOptions{})
		}},
		{"conversation with a long id", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, conclave.ConversationID(long), conclave.ConversationOptions{})
		}},
		{"conversation of an unknown suite", conclave.CodeCredentialNotFound, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, "new", conclave.ConversationOptions{CipherSuite: 0xffff})
		}},
		{"conversation of a suite without credential", conclave.CodeCredentialNotFound, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, "new", conclave.ConversationOptions{CipherSuite: 7})
		}},
		{"conversation of an unknown profile", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, "new", conclave.ConversationOptions{Profile: 99})
		}},
		{"conversation with an unknown credential", conclave.CodeCredentialNotFound, func(ctx context.Context) error {
			return alice.CreateConversation(ctx, "new", conclave.ConversationOptions{Credential: conclave.CredentialRef{1}})
		}},
		{"fewer than no key packages", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: -1})
			return err
		}},
		{"a billion key packages", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1 << 30})
			return err
		}},
		{"key packages that have expired", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, Lifetime: -time.Hour})
			return err
		}},
		{"key packages of an unknown suite", conclave.CodeCredentialNotFound, func(ctx context.Context) error {
			_, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, CipherSuite: 99})
			return err
		}},
		{"fewer than no client key packages", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.ClientKeyPackages(ctx, 1, -1)
			return err
		}},
		{"credential of an unknown suite", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 99})
			return err
		}},
		{"credential of another client", conclave.CodeWrongCredential, func(ctx context.Context) error {
			_, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1, Credential: conclave.Credential{Type: 1, Identity: []byte("mallory")}})
			return err
		}},
		{"credential with a key that is none", conclave.CodeWrongCredential, func(ctx context.Context) error {
			_, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1, SignaturePrivate: conclave.Secret{1, 2}, SignatureKey: []byte{3}})
			return err
		}},
		{"credential whose keys do not belong together", conclave.CodeWrongCredential, func(ctx context.Context) error {
			_, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1, SignaturePrivate: bytes.Repeat([]byte{1}, 32), SignatureKey: bytes.Repeat([]byte{2}, 32)})
			return err
		}},
		{"data of 17 MiB", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.SetData(ctx, make([]byte, 17<<20))
		}},
		{"pre-shared key without id", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.PutPSK(ctx, nil, conclave.Secret{1})
		}},
		{"pre-shared key of a mebibyte", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			return alice.PutPSK(ctx, []byte("id"), make(conclave.Secret, 1<<20))
		}},
		{"nobody added", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.AddMembers(ctx, "room")
			return err
		}},
		{"nobody removed", conclave.CodeMemberNotFound, func(ctx context.Context) error {
			_, err := alice.RemoveMembers(ctx, "room")
			return err
		}},
		{"a stranger removed", conclave.CodeMemberNotFound, func(ctx context.Context) error {
			_, err := alice.RemoveMembers(ctx, "room", "mallory")
			return err
		}},
		{"a proposal that is not there", conclave.CodePendingProposalNotFound, func(ctx context.Context) error {
			return alice.ClearPendingProposal(ctx, "room", conclave.ProposalRef(long))
		}},
		{"a conversation that is not there", conclave.CodeConversationNotFound, func(ctx context.Context) error {
			_, err := alice.DecryptMessage(ctx, "nowhere", w.samples["application message"])
			return err
		}},
		{"a message of another conversation", conclave.CodeInvalidMessage, func(ctx context.Context) error {
			if err := w.devices["bob"].CreateConversation(ctx, "another", conclave.ConversationOptions{}); err != nil {
				return err
			}
			defer func() { _ = w.devices["bob"].WipeConversation(ctx, "another") }()
			_, err := w.devices["bob"].DecryptMessage(ctx, "another", w.samples["application message"])
			return err
		}},
		{"a secret too long", conclave.CodeInvalidArgument, func(ctx context.Context) error {
			_, err := alice.ExportSecretKey(ctx, "room", 1<<30)
			return err
		}},
	} {
		before := w.dump()
		wantCodeOf(t, c.name, c.call(t.Context()), c.want)
		if after := w.dump(); !maps.Equal(before, after) {
			t.Errorf("%s has changed records: %s", c.name, differences(before, after))
		}
	}
	if w.sends != 0 {
		t.Errorf("%d commits have left", w.sends)
	}
	w.settle()
	w.agree("room")
}

func wantCodeOf(t *testing.T, what string, err error, want conclave.Code) {
	t.Helper()
	if !conclaveIs(err, want) {
		t.Errorf("%s: error %v, want code %s", what, err, string(want))
	}
}

// TestOpenLeavesAlone opens a directory with a wrong key, while it is in use, and where it holds something else, and compares the files.
func TestOpenLeavesAlone(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	open := func() *conclave.Engine {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	c, err := e.Client(ctx, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetData(ctx, []byte("precious")); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	_, err = conclave.Open(ctx, dir, conclave.Options{Key: testKey})
	wantCode(t, err, conclave.CodeDirectoryInUse)
	if !maps.Equal(before, files(t, dir)) {
		t.Error("a second Open has changed files")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	before = files(t, dir)
	_, err = conclave.Open(ctx, dir, conclave.Options{Key: bytes.Repeat([]byte{1}, conclave.KeySize)})
	wantCode(t, err, conclave.CodeWrongKey)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = conclave.Open(cancelled, dir, conclave.Options{Key: testKey})
	wantCode(t, err, conclave.CodeCanceled)
	if !maps.Equal(before, files(t, dir)) {
		t.Error("an Open that was refused has changed files")
	}

	marker := filepath.Join(dir, "STORE")
	good, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range badBytes(good, true) {
		if len(bad) > 1<<20 {
			continue
		}
		if err := os.WriteFile(marker, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		before := files(t, dir)
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err == nil {
			t.Errorf("a marker %s opens", what)
			_ = e.Close()
			break
		}
		if !conclaveIs(err, conclave.CodeCorrupt) && !conclaveIs(err, conclave.CodeNewerFormat) && !conclaveIs(err, conclave.CodeWrongKey) {
			t.Errorf("a marker %s: %v", what, err)
		}
		if !maps.Equal(before, files(t, dir)) {
			t.Errorf("a marker %s: files have changed", what)
		}
	}
	if err := os.WriteFile(marker, good, 0o600); err != nil {
		t.Fatal(err)
	}
	e = open()
	defer func() { _ = e.Close() }()
	if c, err = e.Client(ctx, "alice", conclave.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Data(ctx); err != nil || string(got) != "precious" {
		t.Errorf("data %q, %v", got, err)
	}
}

// files reads all files below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
