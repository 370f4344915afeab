package tests

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/secret/secrettest"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// journal is all that a scenario logged and all errors it got.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) Sync() error { return nil }

// failed notes an error, which there has to be, as a host would log it.
func (j *journal) failed(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		_, _ = fmt.Fprintf(j, "%s: %v %+v %#v %q\n", what, e, e, e, e)
	}
}

// TestLogsHoldNoSecret runs a scenario with the log at its most talkative and looks in it, and in the errors of malformed calls, for each secret it knows.
func TestLogsHoldNoSecret(t *testing.T) {
	ctx := t.Context()
	var j journal
	var secrets [][]byte
	hide := func(b []byte) []byte {
		secrets = append(secrets, bytes.Clone(b))
		return b
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return hide(b)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	config := zap.NewDevelopmentEncoderConfig()
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), &j, zapcore.DebugLevel))
	dir, key := filepath.Join(t.TempDir(), "state"), random(conclave.KeySize)
	open := func() *conclave.Engine {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: bytes.Clone(key), Logger: log})
		must(err)
		return e
	}
	e := open()
	_, err := conclave.Open(ctx, dir, conclave.Options{Key: random(conclave.KeySize), Logger: log})
	j.failed(t, "open twice", err)
	_, err = conclave.Open(ctx, dir, conclave.Options{Key: random(conclave.KeySize + 1), Logger: log})
	j.failed(t, "open with a long key", err)

	const id = conclave.ConversationID("a conversation with a long name")
	names := []conclave.ClientID{"alice-of-example:4959bc6ab12f2846@world.com", "bobby-of-example:8f24ac6ab12f2999@world.com"}
	ds := enginetest.NewDeliveryService()
	devices := make(map[conclave.ClientID]*enginetest.Device)
	for _, name := range names {
		spoken := string(random(40))
		d, err := enginetest.Open(ctx, e, ds, name, conclave.ClientOptions{Observer: conclave.Observer{
			EpochChanged: func(conclave.EpochChanged) { panic(spoken + string(name)) }, // which the engine logs
		}})
		must(err)
		devices[name] = d
	}
	alice, bob := devices[names[0]], devices[names[1]]
	receive := func() {
		for _, d := range devices {
			events, err := d.Receive(ctx)
			must(err)
			for _, event := range events {
				must(event.Err)
				_, _ = fmt.Fprintf(&j, "%+v %#v\n", event, event)
			}
		}
	}
	must(alice.CreateConversation(ctx, id, conclave.ConversationOptions{}))
	must(alice.Add(ctx, id, names[1]))
	receive()
	for range 3 {
		must(alice.Say(ctx, id, random(40)))
		must(bob.Say(ctx, id, random(40)))
		receive()
	}
	must(alice.SetData(ctx, random(40)))
	must(alice.PutPSK(ctx, []byte("psk"), random(32)))
	exported, err := alice.ExportSecretKey(ctx, id, 32)
	must(err)
	hide(exported)
	_, err = alice.UpdateKeyMaterial(ctx, id)
	must(err)
	receive()

	// A transaction that is given up, and one that fails on its way.
	fail := errors.New("the application wants no more")
	j.failed(t, "transaction", alice.Transaction(ctx, func(tx *conclave.Tx) error {
		must(tx.SetData(ctx, random(40)))
		_, err := tx.EncryptMessage(ctx, id, random(40))
		must(err)
		_, _ = fmt.Fprintf(&j, "%v %+v %#v %+v %#v\n", tx, tx, tx, alice, alice.Client)
		return fail
	}))

	// Calls that are wrong.
	sealed, err := bob.EncryptMessage(ctx, id, random(40))
	must(err)
	for _, i := range []int{0, 3, len(sealed) / 2, len(sealed) - 1} {
		broken := bytes.Clone(sealed)
		broken[i] ^= 0x55
		_, err = alice.DecryptMessage(ctx, id, broken)
		j.failed(t, "broken message", err)
		_, err = alice.DecryptMessage(ctx, id, sealed[:i])
		j.failed(t, "short message", err)
	}
	opened, err := alice.DecryptMessage(ctx, id, sealed)
	must(err)
	_, _ = fmt.Fprintf(&j, "%v %+v %#v %s %x\n", opened, opened, &opened, opened, opened)
	_, err = alice.DecryptMessage(ctx, id, sealed)
	j.failed(t, "message read twice", err)
	_, err = alice.EncryptMessage(ctx, "nowhere", random(40))
	j.failed(t, "no conversation", err)
	_, err = alice.ProcessWelcome(ctx, random(200), conclave.JoinOptions{})
	j.failed(t, "no Welcome", err)

	// Private keys that an application brings: those of a key package that fits, and others.
	seed := random(64)
	suite := conclave.CipherSuite(1)
	signer, err := mlsgroup.NewSigner(rand.Reader, suite, mlsgroup.Credential{Type: mlsgroup.CredentialTypeBasic, Identity: []byte(names[0])})
	must(err)
	private, public := hide(signer.Private), signer.Public
	bundle := conclave.KeyPackageBundle{KeyPackage: seed, InitPrivate: random(32), LeafPrivate: random(32), SignaturePrivate: bytes.Clone(private)}
	_, err = alice.ImportKeyPackage(ctx, bundle)
	j.failed(t, "import of no key package", err)
	packages, err := bob.ClientKeyPackages(ctx, suite, 1)
	must(err)
	bundle.KeyPackage = packages[0].KeyPackage
	_, err = alice.ImportKeyPackage(ctx, bundle)
	j.failed(t, "import with other keys", err)
	_, _ = fmt.Fprintf(&j, "%v %+v %#v %s\n", bundle, bundle, &bundle, []any{&bundle})
	credential := conclave.NewCredential{CipherSuite: suite, SignaturePrivate: random(32), SignatureKey: public}
	_, err = alice.AddCredential(ctx, credential)
	j.failed(t, "keys that do not belong together", err)
	credential.SignaturePrivate = private
	_, err = alice.AddCredential(ctx, credential)
	must(err)

	must(e.Close())
	_, err = alice.EncryptMessage(ctx, id, random(40))
	j.failed(t, "closed", err)
	e = open()
	must(e.Close())
	_, err = conclave.Open(ctx, dir, conclave.Options{Key: random(conclave.KeySize), Logger: log})
	j.failed(t, "open with another key", err)
	log.Info("the log is written")

	text := j.text.String()
	if !strings.Contains(text, "the log is written") {
		t.Fatal("nothing was logged")
	}
	for i, s := range secrets {
		for _, form := range secrettest.Forms(s) {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("secret %d of %d bytes is in the log: %.300q", i, len(s), text[max(0, at-150):])
				break
			}
		}
	}
	logged := logLines(text)
	if !strings.Contains(logged, "\"panic\"") {
		t.Error("the log tells of no panic")
	}
	for _, name := range names {
		for _, form := range []string{string(name), hex.EncodeToString([]byte(name))} {
			if strings.Contains(logged, form) {
				t.Errorf("the whole client id %s is in the log", name)
			}
		}
	}
}

// logLines returns the lines that the engine logged, without what the test wrote between them: what an application prints of a message names its sender.
func logLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{\"L\":") {
			b.WriteString(line)
		}
	}
	return b.String()
}
