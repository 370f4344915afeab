package enrollment_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/internal/primitive"
)

// jws is a flattened JWS with its parts decoded.
type jws struct {
	protected map[string]any
	payload   string
	signature []byte
}

func readJWS(t *testing.T, body []byte) jws {
	t.Helper()
	var raw map[string]string
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(raw)); !slices.Equal(got, []string{"payload", "protected", "signature"}) {
		t.Fatalf("members of a JWS: %q", got)
	}
	j := jws{payload: string(unbase64(t, raw["payload"])), signature: unbase64(t, raw["signature"])}
	if err := json.Unmarshal(unbase64(t, raw["protected"]), &j.protected); err != nil {
		t.Fatal(err)
	}
	return j
}

// formats says what a suite's signatures are called and how long they are.
var formats = map[uint16]struct {
	alg, kty, crv string
	coordinates   []string
	signature     int
}{
	1: {"EdDSA", "OKP", "Ed25519", []string{"x"}, 64},
	2: {"ES256", "EC", "P-256", []string{"x", "y"}, 64},
	3: {"EdDSA", "OKP", "Ed25519", []string{"x"}, 64},
	5: {"ES512", "EC", "P-521", []string{"x", "y"}, 132},
	7: {"ES384", "EC", "P-384", []string{"x", "y"}, 96},
}

func checkJWK(t *testing.T, suite uint16, v any) {
	t.Helper()
	f := formats[suite]
	key, ok := v.(map[string]any)
	members := slices.Sorted(maps.Keys(key))
	want := append([]string{"crv", "kty"}, f.coordinates...)
	if !ok || !slices.Equal(members, want) || key["kty"] != f.kty || key["crv"] != f.crv {
		t.Errorf("suite %d: jwk %v", suite, v)
	}
	for _, c := range f.coordinates {
		size := f.signature / 2
		if b := unbase64(t, key[c].(string)); len(b) != size {
			t.Errorf("suite %d: coordinate of %d bytes, want %d", suite, len(b), size)
		}
	}
}

// TestRequests looks at every request of an enrollment, byte by byte where the reference
// says what the bytes are.
func TestRequests(t *testing.T) {
	const (
		device = `{\"client-id\":\"wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b9@wire.localhost\",\"handle\":\"wireapp://%40alice_wire@wire.localhost\",\"name\":\"Alice Smith\",\"domain\":\"wire.localhost\"}`
		user   = `{\"handle\":\"wireapp://%40alice_wire@wire.localhost\",\"name\":\"Alice Smith\",\"domain\":\"wire.localhost\"}`
		opaque = "*"
	)
	payloads := map[enrollment.Step]string{
		enrollment.StepAccount: `{"termsOfServiceAgreed":true,"contact":["anonymous@anonymous.invalid"],"onlyReturnExisting":false}`,
		enrollment.StepOrder: `{"identifiers":[{"type":"wireapp-device","value":"` + device + `"},{"type":"wireapp-user","value":"` + user +
			`"}],"notBefore":"2026-03-04T05:06:07Z","notAfter":"2026-06-02T05:06:07Z"}`,
		enrollment.StepDPoPChallenge: opaque, enrollment.StepOIDCChallenge: opaque, enrollment.StepFinalize: opaque,
		enrollment.StepAuthorization: "", enrollment.StepOrderCheck: "", enrollment.StepCertificate: "",
	}
	for _, suite := range suites {
		w := newWorld(t, suite)
		kid := ""
		for w.e.Step() != enrollment.StepIssued {
			if ofApplication(w.e.Step()) {
				w.must(w.input())
				continue
			}
			r, err := w.e.Request(w.now)
			w.must(err)
			response := w.ca.Do(r)
			_, err = w.e.Receive(w.now, response)
			w.must(err)
			if r.Method != "POST" {
				if len(r.Body) > 0 || len(r.Header) > 0 || fmt.Sprint(r.Step) == "account" {
					t.Errorf("suite %d: %v with a body", suite, r.Step)
				}
				continue
			}
			if !slices.Equal(r.Header["Content-Type"], []string{"application/jose+json"}) || len(r.Header) != 1 {
				t.Errorf("suite %d, %v: header %v", suite, r.Step, r.Header)
			}
			j := readJWS(t, r.Body)
			members := []string{"alg", "kid", "nonce", "url"}
			if r.Step == enrollment.StepAccount {
				members[1] = "jwk"
				checkJWK(t, suite, j.protected["jwk"])
				kid = response.Header["Location"][0]
			} else if j.protected["kid"] != kid {
				t.Errorf("suite %d, %v: kid %v, want %s", suite, r.Step, j.protected["kid"], kid)
			}
			if got := slices.Sorted(maps.Keys(j.protected)); !slices.Equal(got, members) {
				t.Errorf("suite %d, %v: protected %v, want %v", suite, r.Step, got, members)
			}
			if j.protected["alg"] != formats[suite].alg || j.protected["url"] != r.URL || len(j.signature) != formats[suite].signature {
				t.Errorf("suite %d, %v: protected %v, signature of %d bytes", suite, r.Step, j.protected, len(j.signature))
			}
			if want, known := payloads[r.Step]; !known || want != opaque && j.payload != want {
				t.Errorf("suite %d, %v: payload\n%s\nwant\n%s", suite, r.Step, j.payload, want)
			}
			if r.Step == enrollment.StepFinalize {
				var p map[string]string
				w.must(json.Unmarshal([]byte(j.payload), &p))
				checkCSR(t, w, suite, unbase64(t, p["csr"]))
			}
		}
	}
}

// checkCSR looks at what crypto/x509 makes of the CSR and at what it does not tell.
func checkCSR(t *testing.T, w *world, suite uint16, der []byte) {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(der)
	w.must(err)
	w.must(csr.CheckSignature())
	subject := asn1Hex(t, 0x30,
		asn1Hex(t, 0x31, asn1Hex(t, 0x30, mustHex(t, "060355040a"), asn1Hex(t, 0x0c, []byte("wire.localhost")))),
		asn1Hex(t, 0x31, asn1Hex(t, 0x30, mustHex(t, "060b6086480186f842030181 71"), asn1Hex(t, 0x0c, []byte("Alice Smith")))),
	)
	if !bytes.Equal(csr.RawSubject, subject) {
		t.Errorf("suite %d: subject %x, want %x", suite, csr.RawSubject, subject)
	}
	names := asn1Hex(t, 0x30,
		asn1Hex(t, 0x86, []byte("wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b9@wire.localhost")),
		asn1Hex(t, 0x86, []byte("wireapp://%40alice_wire@wire.localhost")),
	)
	if len(csr.Extensions) != 1 || csr.Extensions[0].Id.String() != "2.5.29.17" || csr.Extensions[0].Critical || !bytes.Equal(csr.Extensions[0].Value, names) {
		t.Errorf("suite %d: extensions %v", suite, csr.Extensions)
	}
	var attributes struct {
		Version int
		Subject asn1.RawValue
		Key     asn1.RawValue
		List    []asn1.RawValue `asn1:"tag:0,set"`
	}
	if rest, err := asn1.Unmarshal(csr.RawTBSCertificateRequest, &attributes); err != nil || len(rest) > 0 || len(attributes.List) != 1 || attributes.Version != 0 {
		t.Errorf("suite %d: %v", suite, err)
	}
	want := map[uint16]x509.SignatureAlgorithm{1: x509.PureEd25519, 2: x509.ECDSAWithSHA256, 3: x509.PureEd25519, 5: x509.ECDSAWithSHA512, 7: x509.ECDSAWithSHA384}
	if csr.SignatureAlgorithm != want[suite] {
		t.Errorf("suite %d: signed with %v", suite, csr.SignatureAlgorithm)
	}
	if !bytes.Contains(csr.RawSubjectPublicKeyInfo, w.e.SignaturePublicKey()) {
		t.Errorf("suite %d: CSR for another key", suite)
	}
}

// asn1Hex returns a DER element.
func asn1Hex(t *testing.T, tag byte, parts ...[]byte) []byte {
	t.Helper()
	content := bytes.Join(parts, nil)
	length := []byte{byte(len(content))}
	if len(content) > 127 {
		length = []byte{0x81, byte(len(content))}
	}
	return slices.Concat([]byte{tag}, length, content)
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDPoPToken looks at the token's header and claims.
func TestDPoPToken(t *testing.T) {
	for _, suite := range suites {
		w := newWorld(t, suite)
		w.until(enrollment.StepDPoPToken)
		token, err := w.e.CreateDPoPToken(w.now, w.rand, 30*time.Second, backendNonce)
		w.must(err)
		parts := strings.Split(token, ".")
		if len(parts) != 3 || len(unbase64(t, parts[2])) != formats[suite].signature {
			t.Fatalf("suite %d: token %s", suite, token)
		}
		var header, claims map[string]any
		w.must(json.Unmarshal(unbase64(t, parts[0]), &header))
		w.must(json.Unmarshal(unbase64(t, parts[1]), &claims))
		if len(header) != 3 || header["alg"] != formats[suite].alg || header["typ"] != "dpop+jwt" {
			t.Errorf("suite %d: header %v", suite, header)
		}
		checkJWK(t, suite, header["jwk"])
		id, _ := claims["jti"].(string)
		if len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) || id != strings.ToLower(id) {
			t.Errorf("suite %d: jti %q", suite, id)
		}
		delete(claims, "jti")
		a, err := w.e.Authentication()
		w.must(err)
		want := map[string]any{
			"sub": "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b9@wire.localhost", "htm": "POST", "htu": w.e.AccessTokenURL(),
			"nonce": backendNonce, "handle": "wireapp://%40alice_wire@wire.localhost", "name": "Alice Smith", "team": "team",
			"iat": float64(start.Unix() - 3600), "nbf": float64(start.Unix() - 3600), "exp": float64(start.Unix() + 30),
			"aud": strings.TrimSuffix(a.Audience, "user") + "device", "chal": claims["chal"],
		}
		if !maps.Equal(claims, want) {
			t.Errorf("suite %d: claims\n%v\nwant\n%v", suite, claims, want)
		}
		if w.e.AccessTokenURL() != "https://wire.example/clients/9e4ef7e72ec9e5b9/access-token" {
			t.Errorf("access token URL %s", w.e.AccessTokenURL())
		}
		// The team's member is there without a team, and tokens differ.
		c := testConfig(t, suite)
		c.Team = ""
		w.e, err = enrollment.New(c, w.rand)
		w.must(err)
		w.until(enrollment.StepDPoPToken)
		first, err := w.e.CreateDPoPToken(w.now, w.rand, 30*time.Second, backendNonce)
		w.must(err)
		second, err := w.e.CreateDPoPToken(w.now, w.rand, 30*time.Second, backendNonce)
		w.must(err)
		if first == second || !bytes.Contains(unbase64(t, strings.Split(first, ".")[1]), []byte(`"team":null`)) {
			t.Errorf("suite %d: tokens %s and %s", suite, first, second)
		}
	}
}

// TestKeyAuth holds the key authorization against the account key in the first JWS.
func TestKeyAuth(t *testing.T) {
	for _, suite := range suites {
		w := newWorld(t, suite)
		w.until(enrollment.StepAccount)
		r, err := w.e.Request(w.now)
		w.must(err)
		key := readJWS(t, r.Body).protected["jwk"].(map[string]any)
		_, err = w.e.Receive(w.now, w.ca.Do(r))
		w.must(err)
		canonical := fmt.Sprintf(`{"crv":"%v","kty":"%v","x":"%v"`, key["crv"], key["kty"], key["x"])
		if y := key["y"]; y != nil {
			canonical += fmt.Sprintf(`,"y":"%v"`, y)
		}
		sum := sha256.Sum256([]byte(canonical + "}"))
		w.until(enrollment.StepDPoPToken)
		a, err := w.e.Authentication()
		w.must(err)
		token, thumbprint, _ := strings.Cut(a.KeyAuth, ".")
		if !bytes.Equal(unbase64(t, thumbprint), sum[:]) || len(unbase64(t, token)) != 24 {
			t.Errorf("suite %d: key authorization %s", suite, a.KeyAuth)
		}
		want := `{"id_token":{"keyauth":{"essential":true,"value":"` + a.KeyAuth + `"},"acme_aud":{"essential":true,"value":"` + a.Audience + `"}}}`
		if a.Claims() != want {
			t.Errorf("claims %s, want %s", a.Claims(), want)
		}
	}
}

// TestGivenKey certifies a key that the client has, in both forms that package mlsgroup
// keeps keys in, and never a copy of the account's.
func TestGivenKey(t *testing.T) {
	for _, id := range suites {
		suite, _ := primitive.Lookup(id)
		private, public, err := suite.GenerateSignatureKey(bytes.Repeat([]byte{7}, suite.SeedSize()))
		if err != nil {
			t.Fatal(err)
		}
		expanded, err := suite.ExpandSignatureKey(private)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range [][]byte{private, expanded} {
			w := newWorld(t, id)
			c := testConfig(t, id)
			c.SignatureKey = slices.Clone(key)
			w.e, err = enrollment.New(c, w.rand)
			w.must(err)
			clear(c.SignatureKey) // the enrollment has its own
			w.until(enrollment.StepIssued)
			issued, err := w.e.Issued(w.now, w.trust)
			w.must(err)
			if !bytes.Equal(issued.PublicKey, public) || !bytes.Equal(issued.SignatureKey, private) {
				t.Errorf("suite %d: another key was certified", id)
			}
		}
		c := testConfig(t, id)
		c.SignatureKey = []byte{1, 2, 3}
		if id == 1 || id == 3 {
			if _, err := enrollment.New(c, new(stream)); err == nil {
				t.Errorf("suite %d: took a key of three bytes", id)
			}
		}
	}
}
