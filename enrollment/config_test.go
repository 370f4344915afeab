package enrollment_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*enrollment.Config)
		want   error
	}{
		"suite 4":           {func(c *enrollment.Config) { c.CipherSuite = 4 }, enrollment.ErrSuite},
		"suite 6":           {func(c *enrollment.Config) { c.CipherSuite = 6 }, enrollment.ErrSuite},
		"suite 0":           {func(c *enrollment.Config) { c.CipherSuite = 0 }, enrollment.ErrSuite},
		"no client":         {func(c *enrollment.Config) { c.ClientID.Domain = "" }, enrollment.ErrConfig},
		"domain with path":  {func(c *enrollment.Config) { c.ClientID.Domain = "a/b" }, enrollment.ErrConfig},
		"long domain":       {func(c *enrollment.Config) { c.ClientID.Domain = strings.Repeat("a", 1000) }, enrollment.ErrConfig},
		"no name":           {func(c *enrollment.Config) { c.DisplayName = "" }, enrollment.ErrConfig},
		"long name":         {func(c *enrollment.Config) { c.DisplayName = strings.Repeat("a", 1000) }, enrollment.ErrConfig},
		"name of two lines": {func(c *enrollment.Config) { c.DisplayName = "a\nb" }, enrollment.ErrConfig},
		"name not of UTF-8": {func(c *enrollment.Config) { c.DisplayName = "\xff" }, enrollment.ErrConfig},
		"no handle":         {func(c *enrollment.Config) { c.Handle = "" }, enrollment.ErrConfig},
		"handle with at":    {func(c *enrollment.Config) { c.Handle = "@alice" }, enrollment.ErrConfig},
		"handle as URI":     {func(c *enrollment.Config) { c.Handle = "wireapp://%40alice@a" }, enrollment.ErrConfig},
		"team of two lines": {func(c *enrollment.Config) { c.Team = "a\nb" }, enrollment.ErrConfig},
		"no lifetime":       {func(c *enrollment.Config) { c.Lifetime = 0 }, enrollment.ErrConfig},
		"half a second":     {func(c *enrollment.Config) { c.Lifetime = 3 * time.Second / 2 }, enrollment.ErrConfig},
		"three centuries":   {func(c *enrollment.Config) { c.Lifetime = 1<<63 - 1 }, enrollment.ErrConfig},
		"http":              {func(c *enrollment.Config) { c.Directory = "http://ca.example/" }, enrollment.ErrConfig},
	} {
		config := testConfig(t, 1)
		c.change(&config)
		if _, err := enrollment.New(config, new(stream)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := enrollment.New(testConfig(t, 1), strings.NewReader("short")); !errors.Is(err, enrollment.ErrRandom) {
		t.Errorf("no random bytes: %v", err)
	}
}

// TestPitfallE12NamesBeyondASCII enrolls people whose names need escaping, somewhere on the way.
func TestPitfallE12NamesBeyondASCII(t *testing.T) {
	for _, c := range []struct{ name, handle, uri string }{
		{"Zoë \"Quote\" <&> O'Hara\\ 漢字", "alice.smith.qa@example.com", "wireapp://%40alice.smith.qa%40example.com@wire.localhost"},
		{"{{.Name}} $(x) 🙂", "a b+c%d;é", "wireapp://%40a%20b%2Bc%25d%3B%C3%A9@wire.localhost"},
	} {
		w := newWorld(t, 1)
		config := testConfig(t, 1)
		config.DisplayName, config.Handle = c.name, c.handle
		w.name, w.handle = c.name, strings.TrimSuffix(strings.TrimPrefix(c.uri, "wireapp://%40"), "@wire.localhost")
		var err error
		w.e, err = enrollment.New(config, w.rand)
		w.must(err)
		w.until(enrollment.StepOrder)
		r, err := w.e.Request(w.now)
		w.must(err)
		var p struct {
			Identifiers []struct{ Value string }
		}
		w.must(json.Unmarshal([]byte(readJWS(t, r.Body).payload), &p))
		var s struct{ Handle, Name string }
		w.must(json.Unmarshal([]byte(p.Identifiers[1].Value), &s))
		if s.Handle != c.uri || s.Name != c.name {
			t.Errorf("ordered %q and %q, want %q and %q", s.Handle, s.Name, c.uri, c.name)
		}
		_, err = w.e.Receive(w.now, w.ca.Do(r))
		w.must(err)
		w.until(enrollment.StepIssued)
		if _, err := w.e.Issued(w.now, w.trust); err != nil {
			t.Error(err)
		}
	}
}

// TestPitfallE9HandleOfACertificate renews with what the certificate says. Its handle is a
// URI, which must not be wrapped into another.
func TestPitfallE9HandleOfACertificate(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepIssued)
	issued, err := w.e.Issued(w.now, w.trust)
	w.must(err)
	id, err := pki.ParseIdentity(issued.Chain[0])
	w.must(err)
	c := testConfig(t, 1)
	c.DisplayName, c.Handle, c.SignatureKey = id.DisplayName, id.Handle, issued.SignatureKey
	if _, err := enrollment.New(c, w.rand); !errors.Is(err, enrollment.ErrConfig) {
		t.Errorf("a URI was taken for a handle: %v", err)
	}
	c.Handle = id.BareHandle()
	w.e, err = enrollment.New(c, w.rand)
	w.must(err)
	w.until(enrollment.StepIssued)
	issued, err = w.e.Issued(w.now, w.trust)
	w.must(err)
	again, err := pki.ParseIdentity(issued.Chain[0])
	w.must(err)
	if again.Handle != id.Handle || again.ClientID != id.ClientID || !bytes.Equal(again.PublicKey, id.PublicKey) {
		t.Errorf("renewed as %v, was %v", again, id)
	}
}
