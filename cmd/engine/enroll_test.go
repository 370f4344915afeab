package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/enrollment/acmehttp"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// enrolArgs starts servers and returns the arguments that enrol at them.
func enrolArgs(t *testing.T) []string {
	t.Helper()
	world, dir := acmetest.New(time.Now), t.TempDir()
	server := httptest.NewTLSServer(world)
	t.Cleanup(server.Close)
	world.Origin, world.Backend = server.URL, server.URL
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tlsRoot := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return []string{
		"enroll", "-client", "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example", "-name", "Alice Smith", "-handle", "alice_wire",
		"-acme", world.Directory(), "-backend", server.URL, "-root", file("root.pem", world.Root()), "-tls-root", file("tls.pem", tlsRoot),
		"-timeout", "1h", "-bearer", file("bearer", acmetest.Bearer+"\n"), "-id-token-url", server.URL + "/id-token?domain=wire.example&handle=alice_wire&name=" + url.QueryEscape("Alice Smith"),
		filepath.Join(dir, "state"),
	}
}

// TestEnrollCommand enrols a client over HTTPS, and once more for the same key.
func TestEnrollCommand(t *testing.T) {
	args := enrolArgs(t)
	code, stdout, stderr := runCommand(t, args...)
	if code != 0 {
		t.Fatalf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
	for _, want := range []string{"OIDC challenge", "issued to    Alice Smith, wire.example", "wireapp://SvPfLlwBQi-6oddVRrkqpw%214c7@wire.example", "-----BEGIN CERTIFICATE-----"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	credential := func(s string) string { _, rest, _ := strings.Cut(s, "credential   "); return rest[:64] }
	code, again, stderr := runCommand(t, args...)
	if code != 0 || credential(again) != credential(stdout) {
		t.Errorf("again: code %d\nstdout: %s\nstderr: %s", code, again, stderr)
	}
	code, again, _ = runCommand(t, append([]string{"enroll", "-new-key"}, args[1:]...)...)
	if code != 0 || credential(again) == credential(stdout) {
		t.Errorf("with a new key: code %d, %s", code, again)
	}
}

// TestEnrollCommandErrors says what to do about what goes wrong.
func TestEnrollCommandErrors(t *testing.T) {
	args := enrolArgs(t)
	change := func(flag, value string) []string {
		changed := append([]string(nil), args...)
		for i := range changed {
			if changed[i] == flag {
				changed[i+1] = value
			}
		}
		return changed
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{change("-handle", ""), "-handle is missing"},
		{change("-client", "alice"), "USER:DEVICE@DOMAIN"},
		{change("-root", "absent.pem"), "absent.pem"},
		{change("-handle", "bob_wire"), "this enrolment is over, the next one begins anew"},
	} {
		if code, stdout, stderr := runCommand(t, c.args...); code != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("code %d, want %q\nstdout: %s\nstderr: %s", code, c.want, stdout, stderr)
		}
	}
}

// TestEnrollCommandAsks reads the ID token from standard input.
func TestEnrollCommandAsks(t *testing.T) {
	var out bytes.Buffer
	w := &enrolWorld{stdout: &out, stdin: strings.NewReader("the.id.token\n")}
	token, err := w.authenticate(t.Context(), enrollment.Authentication{IdentityProvider: "https://idp.example", KeyAuth: "key", Audience: "challenge"})
	if err != nil || token != "the.id.token" || !strings.Contains(out.String(), `"keyauth":{"essential":true,"value":"key"}`) {
		t.Errorf("token %q, %v, after\n%s", token, err, out.String())
	}
}

// TestEnrollCommandShowsNoSecret has servers whose errors would command the terminal, and URLs that hold secrets.
func TestEnrollCommandShowsNoSecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) {
		c, _, err := to.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Write([]byte("HTTP/1.1 500 \x1b[2Jsecret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		_ = c.Close()
	}))
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	var out bytes.Buffer
	w := &enrolWorld{stdout: &out, http: new(http.Client), acme: acmehttp.New(nil)}
	h := w.hooks()
	const said = "/token: "
	for _, origin := range []string{server.URL, gone.URL, "http://host:bad port"} {
		w.idToken = strings.Replace(origin, "http://", "http://secret:secret@", 1) + "/token?key=secret"
		_, err := w.authenticate(t.Context(), enrollment.Authentication{})
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") || strings.HasPrefix(origin, "http://127") && !strings.Contains(err.Error(), said) {
			t.Errorf("the error of %s is %q", origin, err)
		}
	}
	if _, err := h.HTTPRequest(t.Context(), enrollment.Request{Method: "GET", URL: gone.URL + "/acme?key=secret"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error of the ACME server is %q", err)
	}
	hostile := errors.New("valid for \x1b[2J\u009b2J, not for acme.example")
	h.Progress(conclave.EnrollProgress{Step: enrollment.StepNonce, Attempt: 2, Err: hostile})
	for _, text := range []string{out.String(), explainEnroll(hostile).Error()} {
		if strings.ContainsAny(text, "\x1b\u009b") || !strings.Contains(text, "not for acme.example") {
			t.Errorf("it prints %q", text)
		}
	}
}
