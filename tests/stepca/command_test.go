package stepca

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

// TestCommand enrols a client by the command, as an operator does, twice: the second time it renews.
func TestCommand(t *testing.T) {
	w := newWorld(t)
	u := w.newUser("operated", "Opera Ted")
	signIn := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var q struct {
			Issuer   string `json:"issuer"`
			KeyAuth  string `json:"keyauth"`
			Audience string `json:"acme_aud"`
		}
		err := json.NewDecoder(r.Body).Decode(&q)
		var token string
		if err == nil {
			token, err = login(r.Context(), u.login, q.Issuer, q.KeyAuth, q.Audience)
		}
		if err != nil {
			t.Error(err)
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(rw, token+"\n")
	}))
	defer signIn.Close()

	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	command := filepath.Join(dir, "engine.exe") // Windows asks for the ending, others do not mind
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/conclave-mls/conclave/cmd/engine").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := file("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.root.Raw}))
	var before *pki.Identity
	for range 2 {
		out, err := exec.CommandContext(t.Context(), command, "enroll", "-client", u.id.String(), "-name", u.name, "-handle", u.handle, "-suite", "2", "-days", "30",
			"-acme", w.ca.directory, "-root", root, "-tls-root", root, "-backend", w.backend.url, "-bearer", file("bearer", []byte(u.bearer)),
			"-id-token-url", signIn.URL, filepath.Join(dir, "engine")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		at := strings.Index(string(out), "-----BEGIN")
		if at < 0 {
			t.Fatalf("no certificate:\n%s", out)
		}
		chain, err := pki.ParsePEMChain(out[at:])
		if err != nil {
			t.Fatal(err)
		}
		id, err := w.trust(t).VerifyIssued(chain, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if id.ClientID != u.id || id.DisplayName != u.name || id.NotAfter.Sub(id.NotBefore) != 30*24*time.Hour {
			t.Errorf("identity %+v", id)
		}
		if before != nil && (id.SerialNumber == before.SerialNumber || id.CheckKey(before.PublicKey) != nil) {
			t.Errorf("renewed: %+v after %+v", id, before)
		}
		before = id
	}
}
