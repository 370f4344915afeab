package enrollment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// backendNonce is one that the backend has not given, for DPoP tokens that it never sees.
const backendNonce = "WE88EvOBzbqGerznM-2P_A"

// caDirectory is where the server of acmetest has its directory.
const caDirectory = "https://ca.example/acme/wire/directory"

// start is when all tests begin.
var start = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

// world is an enrollment with the CA that it talks to.
type world struct {
	t     testing.TB
	now   time.Time
	rand  *stream
	ca    *acmetest.World
	trust *pki.Snapshot
	e     *enrollment.Enrollment
	// name and handle are the user's, as the identity provider knows them.
	name, handle string
}

// stream is a source of bytes that are the same in each run.
type stream struct{ n uint64 }

func (s *stream) Read(b []byte) (int, error) {
	for i := range b {
		s.n++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("random"), s.n))
		b[i] = sum[0]
	}
	return len(b), nil
}

func testConfig(t testing.TB, suite uint16) enrollment.Config {
	t.Helper()
	id, err := clientid.Parse("5aa12a73-d748-4682-a1dd-5c9427c93a40:9e4ef7e72ec9e5b9@wire.localhost")
	if err != nil {
		t.Fatal(err)
	}
	return enrollment.Config{
		CipherSuite: suite, ClientID: id, DisplayName: "Alice Smith", Handle: "alice_wire", Team: "team",
		Lifetime: 90 * 24 * time.Hour, Directory: caDirectory,
	}
}

func newWorld(t testing.TB, suite uint16) *world {
	t.Helper()
	w := &world{t: t, now: start, rand: new(stream), name: "Alice Smith", handle: "alice_wire"}
	w.ca = acmetest.New(func() time.Time { return w.now })
	root, err := pki.ParsePEMChain([]byte(w.ca.Root()))
	w.must(err)
	w.trust, err = pki.New(pki.Policy{}, nil).WithTrustAnchor(root[0], w.now)
	w.must(err)
	w.e, err = enrollment.New(testConfig(t, suite), w.rand)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// input does what the application does at the steps that are its own.
func (w *world) input() error {
	switch w.e.Step() {
	case enrollment.StepDPoPToken, enrollment.StepAccessToken:
		dpop, err := w.e.CreateDPoPToken(w.now, w.rand, 30*time.Second, w.ca.BackendNonce())
		if err != nil {
			return err
		}
		access, err := w.ca.AccessToken(dpop)
		if err != nil {
			return err
		}
		return w.e.SetAccessToken(access)
	case enrollment.StepIDToken:
		a, err := w.e.Authentication()
		if err != nil {
			return err
		}
		id, err := w.idToken(a)
		if err != nil {
			return err
		}
		return w.e.SetIDToken(id)
	}
	return errors.New("no step of the application")
}

// idToken logs the user in, with the claims that the enrollment asks for.
func (w *world) idToken(a enrollment.Authentication) (string, error) {
	if a.IdentityProvider != acmetest.Provider {
		return "", errors.New("unknown provider")
	}
	var claims struct {
		IDToken map[string]struct{ Value string } `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(a.Claims()), &claims); err != nil {
		return "", err
	}
	return w.ca.Authenticate(claims.IDToken["keyauth"].Value, claims.IDToken["acme_aud"].Value, w.name, w.handle, "wire.localhost"), nil
}

func ofApplication(s enrollment.Step) bool {
	return s == enrollment.StepDPoPToken || s == enrollment.StepAccessToken || s == enrollment.StepIDToken
}

// advance takes one request or input.
func (w *world) advance() error {
	if ofApplication(w.e.Step()) {
		return w.input()
	}
	r, err := w.e.Request(w.now)
	if err != nil {
		return err
	}
	_, err = w.e.Receive(w.now, w.ca.Do(r))
	return err
}

// until advances to a step.
func (w *world) until(s enrollment.Step) {
	w.t.Helper()
	for range 30 {
		if w.e.Step() == s {
			return
		}
		if err := w.advance(); err != nil {
			w.t.Fatalf("at %v: %v", w.e.Step(), err)
		}
	}
	w.t.Fatalf("never at %v", s)
}

// stash returns the marshalled enrollment.
func (w *world) stash() []byte {
	w.t.Helper()
	b, err := w.e.Marshal()
	w.must(err)
	return b
}

// unchanged checks that the enrollment is what it was.
func (w *world) unchanged(before []byte) {
	w.t.Helper()
	if !bytes.Equal(before, w.stash()) {
		w.t.Errorf("a failure changed the enrollment, which is at %v", w.e.Step())
	}
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
