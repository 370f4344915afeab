package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave/internal/vectortest"
)

func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{nil, 2, "", "engine COMMAND"},
		{[]string{"help"}, 0, "engine COMMAND", ""},
		{[]string{"nonsense"}, 2, "", `no command "nonsense"`},
		{[]string{"demo", "--help"}, 0, "", "-conversations"},
		{[]string{"demo", "-nonsense"}, 2, "", "flag provided but not defined"},
		{[]string{"demo", "-clients", "1"}, 1, "", "choose 2 to 1000"},
		{[]string{"demo", "-suite", "8"}, 1, "", "choose 1 to 7"},
		{[]string{"replay"}, 2, "", "engine replay [flags] FILE..."},
		{[]string{"replay", "absent.json"}, 1, "", "passive-client-*.json"},
		{[]string{"inspect"}, 2, "", "engine inspect [flags] DIR"},
		{[]string{"inspect", "absent"}, 1, "", `"engine demo -dir absent"`},
		{[]string{"enroll"}, 2, "", "engine enroll [flags] DIR"},
		{[]string{"enroll", "absent"}, 1, "", "is missing"},
	} {
		code, stdout, stderr := runCommand(t, c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("engine %q: code %d\nstdout: %s\nstderr: %s", c.args, code, stdout, stderr)
		}
	}
}

// TestDemo runs a small demo into a directory and looks into it afterwards.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	args := []string{"demo", "-clients", "6", "-conversations", "12", "-members", "4", "-operations", "200", "-dir", dir}
	code, stdout, stderr := runCommand(t, args...)
	if code != 0 {
		t.Fatalf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
	for _, want := range []string{"decrypts per second", "bytes written per message", "crash", "authenticators agree  yes"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code, _, stderr := runCommand(t, args...); code != 1 || !strings.Contains(stderr, "does not exist yet") {
		t.Errorf("into the same directory again: code %d, %s", code, stderr)
	}

	code, stdout, stderr = runCommand(t, "inspect", dir)
	if code != 0 {
		t.Fatalf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
	for _, want := range []string{"6 clients", `client "client 003"`, `"conversation 00001"`, "epoch", "size"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	key, err := os.ReadFile(keyFileOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stdout, strings.TrimSpace(string(key))) {
		t.Error("inspect prints the key")
	}
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	if err := writeKey(wrong, bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runCommand(t, "inspect", "-key", wrong, dir); code != 1 || !strings.Contains(stderr, "with -key") {
		t.Errorf("wrong key: code %d, %s", code, stderr)
	}
	if code, _, stderr := runCommand(t, "inspect", "-key", "absent", dir); code != 1 || !strings.Contains(stderr, "with -key") {
		t.Errorf("no key: code %d, %s", code, stderr)
	}
}

func TestDemoCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"demo"}, &out, &errs); code != 1 {
		t.Errorf("code %d\n%s%s", code, out.String(), errs.String())
	}
}

func TestReplay(t *testing.T) {
	file := vectortest.File(t, "mls/passive-client-welcome.json")
	code, stdout, stderr := runCommand(t, "replay", file)
	if code != 0 || !strings.HasSuffix(stdout, "passive-client-welcome.json: 56 of 56 cases\n56 passed, 0 failed\n") {
		t.Errorf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}

	// One hexadecimal digit of the first case's authenticator is changed.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const field = `"initial_epoch_authenticator": "`
	i := bytes.Index(b, []byte(field)) + len(field)
	b[i] = "0123456789abcdef"[(bytes.IndexByte([]byte("0123456789abcdef"), b[i])+1)%16]
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = runCommand(t, "replay", broken)
	if code != 1 || !strings.HasSuffix(stdout, "\n55 passed, 1 failed\n") {
		t.Errorf("a broken file: code %d\n%s", code, stdout)
	}
	if err := os.WriteFile(broken, []byte(`[{"cipher_suite": 1}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runCommand(t, "replay", broken); code != 1 || !strings.Contains(stderr, "not a file of passive-client vectors") {
		t.Errorf("another file: code %d, %s", code, stderr)
	}
}
