package enrollment_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// lie is a response that is not what it should be.
type lie struct {
	at   enrollment.Step
	what string
	tell func(r *enrollment.Response)
	want error
}

// edit changes the JSON of a response.
func edit(f func(m map[string]any)) func(r *enrollment.Response) {
	return func(r *enrollment.Response) {
		var m map[string]any
		if err := json.Unmarshal(r.Body, &m); err != nil {
			panic(err)
		}
		f(m)
		b, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		r.Body = b
	}
}

func set(name string, value any) func(r *enrollment.Response) {
	return edit(func(m map[string]any) { m[name] = value })
}

func drop(name string) func(r *enrollment.Response) {
	return edit(func(m map[string]any) { delete(m, name) })
}

func header(name string, values ...string) func(r *enrollment.Response) {
	return func(r *enrollment.Response) {
		if r.Header[name] = values; values == nil {
			delete(r.Header, name)
		}
	}
}

func body(b string) func(r *enrollment.Response) {
	return func(r *enrollment.Response) { r.Body = []byte(b) }
}

func status(n int) func(r *enrollment.Response) {
	return func(r *enrollment.Response) { r.Status = n }
}

func challenge(name string, value any) func(r *enrollment.Response) {
	return edit(func(m map[string]any) { m["challenges"].([]any)[0].(map[string]any)[name] = value })
}

// subject changes a member of the JSON in the value of an identifier.
func subject(i map[string]any, name string, value any) {
	var s map[string]any
	if err := json.Unmarshal([]byte(i["value"].(string)), &s); err != nil {
		panic(err)
	}
	s[name] = value
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	i["value"] = string(b)
}

func ordered(n int, name string, value any) func(r *enrollment.Response) {
	return edit(func(m map[string]any) { subject(m["identifiers"].([]any)[n].(map[string]any), name, value) })
}

func authorized(name string, value any) func(r *enrollment.Response) {
	return edit(func(m map[string]any) { subject(m["identifier"].(map[string]any), name, value) })
}

var responseSteps = []enrollment.Step{
	enrollment.StepDirectory, enrollment.StepNonce, enrollment.StepAccount, enrollment.StepOrder, enrollment.StepAuthorization, enrollment.StepDPoPChallenge,
	enrollment.StepOIDCChallenge, enrollment.StepOrderCheck, enrollment.StepFinalize, enrollment.StepCertificate,
}

// lies lists what a CA may do wrong. What any step may get wrong comes for each.
func lies() []lie {
	other := func(n int) string { return start.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	const (
		directory = enrollment.StepDirectory
		account   = enrollment.StepAccount
		order     = enrollment.StepOrder
		authz     = enrollment.StepAuthorization
		dpop      = enrollment.StepDPoPChallenge
		oidc      = enrollment.StepOIDCChallenge
		check     = enrollment.StepOrderCheck
		finalize  = enrollment.StepFinalize
	)
	all := []lie{
		{directory, "no newNonce", drop("newNonce"), enrollment.ErrMalformed},
		{directory, "no newAccount", drop("newAccount"), enrollment.ErrMalformed},
		{directory, "no newOrder", drop("newOrder"), enrollment.ErrMalformed},
		{directory, "no revokeCert", drop("revokeCert"), enrollment.ErrMalformed},
		{directory, "names in another case", body(`{"NEWNONCE":"https://a/","newAccount":"https://a/","newOrder":"https://a/","revokeCert":"https://a/"}`), enrollment.ErrMalformed},
		{directory, "twice the same name", body(`{"newNonce":"https://a/","newNonce":"https://b/","newAccount":"https://a/","newOrder":"https://a/","revokeCert":"https://a/"}`), enrollment.ErrMalformed},
		{directory, "http", set("newOrder", "http://ca.example/order"), enrollment.ErrMalformed},
		{directory, "relative", set("newOrder", "/order"), enrollment.ErrMalformed},
		{directory, "password", set("newOrder", "https://a:b@ca.example/order"), enrollment.ErrMalformed},
		{directory, "long URL", set("newOrder", "https://ca.example/"+strings.Repeat("a", 3000)), enrollment.ErrTooLarge},
		{account, "deactivated", set("status", "deactivated"), enrollment.ErrAccountDeactivated},
		{account, "revoked", set("status", "revoked"), enrollment.ErrAccountRevoked},
		{account, "unknown status", set("status", "fine"), enrollment.ErrMalformed},
		{account, "no orders", drop("orders"), enrollment.ErrMalformed},
		{account, "other orders", set("orders", "https://ca.example/acme/account/1/certs"), enrollment.ErrMalformed},
		{account, "another Location", header("Location", "https://ca.example/acme/wire/account/other"), enrollment.ErrMalformed},
		{order, "invalid", set("status", "invalid"), enrollment.ErrOrderInvalid},
		{order, "ready already", set("status", "ready"), enrollment.ErrObjectStatus},
		{order, "valid already", set("status", "valid"), enrollment.ErrObjectStatus},
		{order, "no Location", header("Location"), enrollment.ErrMalformed},
		{order, "two Locations", header("Location", "https://ca.example/1", "https://ca.example/2"), enrollment.ErrMalformed},
		{order, "Location is no URL", header("Location", "order"), enrollment.ErrMalformed},
		{authz, "invalid", set("status", "invalid"), enrollment.ErrAuthorizationInvalid},
		{authz, "revoked", set("status", "revoked"), enrollment.ErrAuthorizationRevoked},
		{authz, "deactivated", set("status", "deactivated"), enrollment.ErrAuthorizationDeactivated},
		{authz, "expired", set("status", "expired"), enrollment.ErrAuthorizationExpired},
		{authz, "expired by time", set("expires", other(-1)), enrollment.ErrAuthorizationExpired},
		{authz, "valid already", set("status", "valid"), enrollment.ErrObjectStatus},
		{authz, "unknown status", set("status", "x"), enrollment.ErrMalformed},
		{authz, "no challenge", set("challenges", []any{}), enrollment.ErrMalformed},
		{authz, "two challenges", edit(func(m map[string]any) { m["challenges"] = append(m["challenges"].([]any), m["challenges"].([]any)...) }), enrollment.ErrMalformed},
		{authz, "the user's challenge", challenge("type", "wire-oidc-01"), enrollment.ErrChallengeType},
		{authz, "a foreign challenge", challenge("type", "http-01"), enrollment.ErrChallengeType},
		{authz, "a foreign identifier", edit(func(m map[string]any) { m["identifier"].(map[string]any)["type"] = "dns" }), enrollment.ErrChallengeType},
		{authz, "another device", authorized("client-id", "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b8@wire.localhost"), enrollment.ErrWrongIdentifiers},
		{authz, "another handle", authorized("handle", "wireapp://%40bob@wire.localhost"), enrollment.ErrWrongIdentifiers},
		{authz, "token with padding", challenge("token", "AAAAAAAAAAAAAAAAAAAAAA=="), enrollment.ErrChallengeToken},
		{authz, "token with a line feed", challenge("token", "AAAAAAAAAAA\nAAAAAAAAAAA"), enrollment.ErrChallengeToken},
		{authz, "token of 15 bytes", challenge("token", "AAAAAAAAAAAAAAAAAAAA"), enrollment.ErrChallengeEntropy},
		{authz, "endless token", challenge("token", strings.Repeat("A", 4000)), enrollment.ErrTooLarge},
		{authz, "no target", challenge("target", ""), enrollment.ErrMalformed},
		{authz, "target with query", challenge("target", "https://wire.example/?a=b"), enrollment.ErrMalformed},
		{authz, "target of another scheme", challenge("target", "file:///etc/passwd"), enrollment.ErrMalformed},
		{authz, "challenge over http", challenge("url", "http://ca.example/challenge"), enrollment.ErrMalformed},
		{dpop, "pending", set("status", "pending"), enrollment.ErrObjectStatus},
		{dpop, "no status", drop("status"), enrollment.ErrObjectStatus},
		{dpop, "unknown status", set("status", "x"), enrollment.ErrMalformed},
		{dpop, "failed", set("status", "invalid"), enrollment.ErrChallengeInvalid},
		{dpop, "the other challenge", set("type", "wire-oidc-01"), enrollment.ErrChallengeType},
		{dpop, "the URL of another", set("url", "https://ca.example/challenge"), enrollment.ErrChallengeType},
		{oidc, "failed", set("status", "invalid"), enrollment.ErrChallengeInvalid},
		{oidc, "the other challenge", set("type", "wire-dpop-01"), enrollment.ErrChallengeType},
		{oidc, "the token of another", set("token", "AAAAAAAAAAAAAAAAAAAAAAAAAAA"), enrollment.ErrChallengeType},
		{check, "invalid", set("status", "invalid"), enrollment.ErrOrderInvalid},
		{check, "valid already", set("status", "valid"), enrollment.ErrObjectStatus},
		{check, "another order", set("authorizations", []string{"https://ca.example/1", "https://ca.example/2"}), enrollment.ErrMalformed},
		{finalize, "ready", set("status", "ready"), enrollment.ErrObjectStatus},
		{finalize, "invalid", set("status", "invalid"), enrollment.ErrOrderInvalid},
		{finalize, "no certificate", drop("certificate"), enrollment.ErrMalformed},
		{finalize, "certificate over http", set("certificate", "http://ca.example/1"), enrollment.ErrMalformed},
	}
	for _, at := range []enrollment.Step{order, check, finalize} {
		all = append(all, []lie{
			{at, "unknown status", set("status", "x"), enrollment.ErrMalformed},
			{at, "no finalize", drop("finalize"), enrollment.ErrMalformed},
			{at, "one identifier", edit(func(m map[string]any) { m["identifiers"] = m["identifiers"].([]any)[:1] }), enrollment.ErrMalformed},
			{at, "one identifier twice", edit(func(m map[string]any) { i := m["identifiers"].([]any); i[1] = i[0] }), enrollment.ErrWrongIdentifiers},
			{at, "one authorization", edit(func(m map[string]any) { m["authorizations"] = m["authorizations"].([]any)[:1] }), enrollment.ErrMalformed},
			{at, "one authorization twice", edit(func(m map[string]any) { a := m["authorizations"].([]any); a[1] = a[0] }), enrollment.ErrMalformed},
			{at, "another device", ordered(0, "client-id", "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!1@wire.localhost"), enrollment.ErrWrongIdentifiers},
			{at, "a device that is none", ordered(0, "client-id", "alice"), enrollment.ErrWrongIdentifiers},
			{at, "another name", ordered(1, "name", "Bob"), enrollment.ErrWrongIdentifiers},
			{at, "another domain", ordered(0, "domain", "evil.example"), enrollment.ErrWrongIdentifiers},
			{at, "another handle", ordered(1, "handle", "wireapp://%40bob@wire.localhost"), enrollment.ErrWrongIdentifiers},
			{at, "a user with a device", ordered(1, "client-id", "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b9@wire.localhost"), enrollment.ErrWrongIdentifiers},
			{at, "expired", set("expires", other(-1)), enrollment.ErrOrderExpired},
			{at, "notAfter is past", set("notAfter", other(-1)), enrollment.ErrOrderExpired},
			{at, "notBefore is to come", set("notBefore", other(1)), enrollment.ErrOrderNotYetValid},
			{at, "no time", set("expires", "tomorrow"), enrollment.ErrMalformed},
		}...)
	}
	for _, at := range responseSteps {
		all = append(all, []lie{
			{at, "redirect", func(r *enrollment.Response) {
				*r = enrollment.Response{Status: 302, Header: enrollment.Header{"Location": {"https://evil.example/"}}}
			}, enrollment.ErrStatus},
			{at, "no status", status(0), enrollment.ErrStatus},
			{at, "error page", func(r *enrollment.Response) {
				*r = enrollment.Response{Status: 500, Header: enrollment.Header{"Content-Type": {"text/html"}}, Body: []byte("<html>")}
			}, enrollment.ErrStatus},
			{at, "accepted", status(202), enrollment.ErrStatus},
			{at, "oversized", func(r *enrollment.Response) { r.Body = make([]byte, enrollment.MaxBody+1) }, enrollment.ErrTooLarge},
		}...)
		if at != directory {
			all = append(all, []lie{
				{at, "no nonce", header("Replay-Nonce"), enrollment.ErrNonceMissing},
				{at, "two nonces", header("Replay-Nonce", "AAAA", "BBBB"), enrollment.ErrMalformed},
				{at, "nonce of another alphabet", header("Replay-Nonce", "AA/+"), enrollment.ErrMalformed},
				{at, "endless nonce", header("Replay-Nonce", strings.Repeat("A", 300)), enrollment.ErrMalformed},
			}...)
		}
		if at != enrollment.StepNonce {
			all = append(all, []lie{
				{at, "another media type", header("Content-Type", "text/html; charset=utf-8"), enrollment.ErrContentType},
			}...)
			if at != enrollment.StepCertificate {
				all = append(all, []lie{
					{at, "no JSON", body("<html>"), enrollment.ErrMalformed},
					{at, "empty", body(""), enrollment.ErrMalformed},
					{at, "a list", body("[]"), enrollment.ErrMalformed},
					{at, "truncated", func(r *enrollment.Response) { r.Body = r.Body[:len(r.Body)-1] }, enrollment.ErrMalformed},
					{at, "more behind it", func(r *enrollment.Response) { r.Body = append(slices.Clone(r.Body), '{', '}') }, enrollment.ErrMalformed},
					{at, "deep", body(strings.Repeat("[", 50000)), enrollment.ErrMalformed},
				}...)
			}
		}
	}
	return all
}

// TestHostileResponses tells every lie, which must bring its own error and change
// nothing: the right response is still accepted.
func TestHostileResponses(t *testing.T) {
	told := make(map[enrollment.Step]*world)
	for _, l := range lies() {
		w := told[l.at]
		if w == nil {
			w = newWorld(t, 1)
			w.until(l.at)
			told[l.at] = w
		}
		origin := w.stash()
		r, err := w.e.Request(w.now)
		w.must(err)
		honest := w.ca.Do(r)
		bad := enrollment.Response{Status: honest.Status, Header: maps.Clone(honest.Header), Body: slices.Clone(honest.Body)}
		l.tell(&bad)
		before := w.stash()
		if _, err = w.e.Receive(w.now, bad); !errors.Is(err, l.want) {
			t.Errorf("%v: %s: %v, want %v", l.at, l.what, err, l.want)
		}
		w.unchanged(before)
		if _, err := w.e.Receive(w.now, honest); err != nil {
			t.Errorf("%v: after %s: %v", l.at, l.what, err)
		}
		w.e, err = enrollment.Unmarshal(origin)
		w.must(err)
		if l.at != enrollment.StepDirectory && l.at != enrollment.StepNonce {
			w.refresh()
		}
	}
}

// TestTruncatedResponses cuts every body at every byte.
func TestTruncatedResponses(t *testing.T) {
	for _, at := range responseSteps {
		w := newWorld(t, 1)
		w.until(at)
		r, err := w.e.Request(w.now)
		w.must(err)
		honest := w.ca.Do(r)
		before := w.stash()
		end := len(bytes.TrimSpace(honest.Body))
		for n := range end {
			cut := honest
			cut.Body = honest.Body[:n]
			_, err := w.e.Receive(w.now, cut)
			if errors.Is(err, enrollment.ErrMalformed) || errors.Is(err, enrollment.ErrChain) {
				continue
			}
			// A chain cut between two certificates is one without its intermediate.
			if rest := strings.TrimSpace(string(honest.Body[n:])); at != enrollment.StepCertificate || err != nil || !strings.HasPrefix(rest, "-----BEGIN") {
				t.Fatalf("%v, %d of %d bytes: %v", at, n, end, err)
			}
			w.e, err = enrollment.Unmarshal(before)
			w.must(err)
		}
		w.unchanged(before)
	}
}

// refresh gives the enrollment a nonce that the CA has not seen.
func (w *world) refresh() {
	w.t.Helper()
	r, err := w.e.Request(w.now)
	w.must(err)
	w.e.Retry()
	if r.Method != "HEAD" {
		w.must(w.advance())
	}
}

// TestSwappedAuthorizations lets the CA answer both requests with the device's.
func TestSwappedAuthorizations(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepAuthorization)
	r, err := w.e.Request(w.now)
	w.must(err)
	first := w.ca.Do(r)
	_, err = w.e.Receive(w.now, first)
	w.must(err)
	r, err = w.e.Request(w.now)
	w.must(err)
	before := w.stash()
	again := w.ca.Do(r)
	again.Body = first.Body
	if _, err := w.e.Receive(w.now, again); !errors.Is(err, enrollment.ErrChallengeType) {
		t.Errorf("the same authorization twice: %v", err)
	}
	w.unchanged(before)
}

// TestProblems hands in a problem document at each step.
func TestProblems(t *testing.T) {
	for _, at := range responseSteps {
		w := newWorld(t, 1)
		w.until(at)
		_, err := w.e.Request(w.now)
		w.must(err)
		before := w.stash()
		_, err = w.e.Receive(w.now, enrollment.Response{
			Status: 403, Header: enrollment.Header{"content-type": {"Application/Problem+JSON; charset=utf-8"}, "replay-nonce": {"AAAA"}},
			Body: []byte(`{"type":"urn:ietf:params:acme:error:unauthorized","detail":"No` + "\u2028" + `such \"thing\"","status":403}`),
		})
		var p *enrollment.Problem
		if !errors.As(err, &p) || p.Kind() != "unauthorized" || p.Status != 403 || p.Step != at || !strings.Contains(p.Detail, "such") {
			t.Errorf("at %v: %v", at, err)
		}
		if errors.Is(err, enrollment.ErrStatus) || strings.Contains(err.Error(), "\u2028") {
			t.Errorf("at %v: %v", at, err)
		}
		w.unchanged(before)
	}
}

// TestNonces reuses nonces in each way there is.
func TestNonces(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepAccount)
	r, err := w.e.Request(w.now)
	w.must(err)
	if w.e.Step() != enrollment.StepAccount || !w.e.Waiting() {
		t.Errorf("at %v after the request", w.e.Step())
	}
	before := w.stash()
	var step *enrollment.StepError
	if _, err := w.e.Request(w.now); !errors.As(err, &step) || !step.Waiting {
		t.Errorf("second request on one nonce: %v", err)
	}
	response := w.ca.Do(r)
	var protected struct {
		Protected string `json:"protected"`
	}
	w.must(json.Unmarshal(r.Body, &protected))
	var h struct {
		Nonce string `json:"nonce"`
	}
	w.must(json.Unmarshal(unbase64(t, protected.Protected), &h))
	reused := response
	reused.Header = enrollment.Header{"Replay-Nonce": {h.Nonce}}
	if _, err := w.e.Receive(w.now, reused); !errors.Is(err, enrollment.ErrNonceReused) {
		t.Errorf("the CA hands out a nonce twice: %v", err)
	}
	w.unchanged(before)

	w = newWorld(t, 1)
	w.until(enrollment.StepOrder)
	for nonce, want := range map[string]error{"": enrollment.ErrNonceMissing, h.Nonce: enrollment.ErrNonceReused, "a b": enrollment.ErrMalformed} {
		before := w.stash()
		if _, err := w.e.NewOrderRequest(w.now, nonce); !errors.Is(err, want) {
			t.Errorf("nonce %q: %v, want %v", nonce, err, want)
		}
		w.unchanged(before)
	}
}

// TestPolling lets the CA take its time with challenge and order, and in the end too much
// of it.
func TestPolling(t *testing.T) {
	for at, want := range map[enrollment.Step]error{
		enrollment.StepDPoPChallenge: enrollment.ErrChallengeProcessing, enrollment.StepOIDCChallenge: enrollment.ErrChallengeProcessing,
		enrollment.StepOrderCheck: enrollment.ErrOrderNotReady,
	} {
		w := newWorld(t, 1)
		w.until(at)
		for _, after := range []struct {
			header string
			wait   time.Duration
		}{{"", time.Second}, {"0", time.Second}, {"7", 7 * time.Second}, {"86400", time.Minute}, {"Fri, 31 Dec 1999 23:59:59 GMT", time.Second}} {
			r, err := w.e.Request(w.now)
			w.must(err)
			response := w.ca.Do(r)
			set("status", "processing")(&response)
			response.Header["Retry-After"] = []string{after.header}
			wait, err := w.e.Receive(w.now, response)
			if err != nil || wait != after.wait || w.e.Step() != at || w.e.Waiting() {
				t.Errorf("%v, Retry-After %q: wait %v, at %v: %v", at, after.header, wait, w.e.Step(), err)
			}
		}
		var err error
		for polls := 5; err == nil; polls++ {
			if polls > 100 {
				t.Fatalf("%v polls forever", at)
			}
			var r enrollment.Request
			r, err = w.e.Request(w.now)
			w.must(err)
			response := w.ca.Do(r)
			set("status", "processing")(&response)
			_, err = w.e.Receive(w.now, response)
		}
		if !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", at, err, want)
		}
		w.e.Retry()
		w.until(enrollment.StepIssued)
	}
}

// TestOrderExpires lets time pass between the check of the order and what follows.
func TestOrderExpires(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepFinalize)
	before := w.stash()
	w.now = w.now.Add(25 * time.Hour)
	if _, err := w.e.Request(w.now); !errors.Is(err, enrollment.ErrOrderExpired) {
		t.Errorf("finalize of an expired order: %v", err)
	}
	w.unchanged(before)
	w.now = start
	w.until(enrollment.StepIssued)
	before = w.stash()
	if _, err := w.e.Issued(w.now.Add(25*time.Hour), w.trust); !errors.Is(err, enrollment.ErrOrderExpired) {
		t.Errorf("certificate of an expired order: %v", err)
	}
	w.unchanged(before)
}

// TestWrongCertificates lets the CA issue something else than was asked for.
func TestWrongCertificates(t *testing.T) {
	uris := func(all ...string) []*url.URL {
		var list []*url.URL
		for _, s := range all {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, u)
		}
		return list
	}
	const (
		client = "wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@wire.localhost"
		handle = "wireapp://%40alice_wire@wire.localhost"
	)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		leaf func(*x509.Certificate)
		want error
	}{
		{"another key", func(c *x509.Certificate) { c.PublicKey = ed25519.NewKeyFromSeed(make([]byte, 32)).Public() }, enrollment.ErrKeyMismatch},
		{"a key of another algorithm", func(c *x509.Certificate) { c.PublicKey = p256.Public() }, enrollment.ErrKeyAlgorithm},
		{"another name", func(c *x509.Certificate) { c.Subject.CommonName = "Bob" }, enrollment.ErrDisplayNameMismatch},
		{"no name", func(c *x509.Certificate) { c.Subject.CommonName = "" }, enrollment.ErrCertificateFormat},
		{"another organisation", func(c *x509.Certificate) { c.Subject.Organization = []string{"evil.example"} }, enrollment.ErrDomainMismatch},
		{"no organisation", func(c *x509.Certificate) { c.Subject.Organization = nil }, enrollment.ErrCertificateFormat},
		{"another device", func(c *x509.Certificate) {
			c.URIs = uris("wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b8@wire.localhost", handle)
		}, enrollment.ErrClientIDMismatch},
		{"another domain", func(c *x509.Certificate) {
			c.Subject.Organization = []string{"evil.example"}
			c.URIs = uris("wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@evil.example", "wireapp://%40alice_wire@evil.example")
		}, enrollment.ErrClientIDMismatch},
		{"another handle", func(c *x509.Certificate) { c.URIs = uris(client, "wireapp://%40bob@wire.localhost") }, enrollment.ErrHandleMismatch},
		{"no handle", func(c *x509.Certificate) { c.URIs = uris(client) }, enrollment.ErrCertificateFormat},
		{"no device", func(c *x509.Certificate) { c.URIs = uris(handle) }, enrollment.ErrCertificateFormat},
		{"two devices", func(c *x509.Certificate) { c.URIs = uris(client, client, handle) }, enrollment.ErrCertificateFormat},
		{"no alternative names", func(c *x509.Certificate) { c.URIs = nil }, enrollment.ErrCertificateFormat},
		{"no key identifier", func(c *x509.Certificate) { c.SubjectKeyId = nil }, enrollment.ErrCertificateFormat},
		{"an authority", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, enrollment.ErrCertificateFormat},
		{"no signatures", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, enrollment.ErrCertificateFormat},
		{"expired", func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Minute) }, enrollment.ErrCertificateExpired},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = start.Add(time.Minute) }, enrollment.ErrCertificateNotYetValid},
		{"in another order, with more", func(c *x509.Certificate) { c.URIs = uris("https://example.com/", client, handle) }, nil},
	} {
		w := newWorld(t, 1)
		w.ca.Certificate = c.leaf
		w.until(enrollment.StepCertificate)
		r, err := w.e.Request(w.now)
		w.must(err)
		before := w.stash()
		if _, err = w.e.Receive(w.now, w.ca.Do(r)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if c.want != nil {
			w.unchanged(before)
		}
	}
}

// TestWrongChains hands in chains that are none.
func TestWrongChains(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepCertificate)
	r, err := w.e.Request(w.now)
	w.must(err)
	honest := w.ca.Do(r)
	chain := string(honest.Body)
	for _, c := range []struct {
		what, body string
		want       error
	}{
		{"nothing", "", enrollment.ErrChain},
		{"JSON", `{"certificate":""}`, enrollment.ErrChain},
		{"another label", strings.ReplaceAll(chain, "CERTIFICATE", "PRIVATE KEY"), enrollment.ErrChain},
		{"cut in the middle", chain[:len(chain)/2], enrollment.ErrChain},
		{"one certificate spoilt", strings.Replace(chain, "MII", "AAA", 1), enrollment.ErrChain},
		{"endless", strings.Repeat(chain, 9), enrollment.ErrChain},
		{"oversized", strings.Repeat(chain, 100), enrollment.ErrTooLarge},
		{"the intermediate first", chain[strings.LastIndex(chain, "-----BEGIN"):], enrollment.ErrCertificateFormat},
	} {
		response := honest
		response.Body = []byte(c.body)
		before := w.stash()
		if _, err := w.e.Receive(w.now, response); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		w.unchanged(before)
	}
}

// TestUntrusted asks for the certificate with trust in nobody, and in somebody else.
func TestUntrusted(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepIssued)
	before := w.stash()
	root, err := pki.ParsePEMChain([]byte(acmetest.NewDomain("others", 1, func() time.Time { return w.now }).Root()))
	w.must(err)
	others, err := pki.New(pki.Policy{}, nil).WithTrustAnchor(root[0], w.now)
	w.must(err)
	for name, trust := range map[string]*pki.Snapshot{"nobody": pki.New(pki.Policy{}, nil), "nil": nil, "others": others} {
		if _, err := w.e.Issued(w.now, trust); !errors.Is(err, enrollment.ErrUntrusted) {
			t.Errorf("trust in %s: %v", name, err)
		}
		w.unchanged(before)
	}
	if _, err := w.e.Issued(w.now.Add(-2*time.Second), w.trust); !errors.Is(err, enrollment.ErrOrderNotYetValid) {
		t.Errorf("before its time: %v", err)
	}
	if _, err := w.e.Issued(w.now, w.trust); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestTokens hands in tokens and nonces of the backend that are none.
func TestTokens(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepDPoPToken)
	for i, bad := range []func() error{
		func() error { _, err := w.e.CreateDPoPToken(w.now, w.rand, 0, "AAAA"); return err },
		func() error { _, err := w.e.CreateDPoPToken(w.now, w.rand, 2*time.Hour, "AAAA"); return err },
		func() error { _, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, ""); return err },
		func() error { _, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, "\"\n"); return err },
		func() error {
			_, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, strings.Repeat("A", 1000))
			return err
		},
	} {
		before := w.stash()
		if err := bad(); !errors.Is(err, enrollment.ErrToken) {
			t.Errorf("DPoP token %d: %v", i, err)
		}
		w.unchanged(before)
	}
	if _, err := w.e.CreateDPoPToken(w.now, strings.NewReader("short"), time.Minute, "AAAA"); !errors.Is(err, enrollment.ErrRandom) {
		t.Errorf("no random bytes: %v", err)
	}
	_, err := w.e.CreateDPoPToken(w.now, w.rand, time.Minute, "AAAA")
	w.must(err)
	for _, token := range []string{"", "a.b", "a.b.c.d", "a.b.c\n", "a.{}.c", strings.Repeat("a", 30000) + ".b.c"} {
		before := w.stash()
		if err := w.e.SetAccessToken(token); !errors.Is(err, enrollment.ErrToken) {
			t.Errorf("access token %.20q: %v", token, err)
		}
		if _, err := w.e.NewDPoPChallengeRequest(token, "AAAA"); !errors.Is(err, enrollment.ErrToken) {
			t.Errorf("access token %.20q: %v", token, err)
		}
		w.unchanged(before)
	}
	w.until(enrollment.StepIDToken)
	for _, token := range []string{"", "a", fmt.Sprint(w.e)} {
		if err := w.e.SetIDToken(token); !errors.Is(err, enrollment.ErrToken) {
			t.Errorf("ID token %q: %v", token, err)
		}
		if _, err := w.e.NewOIDCChallengeRequest(token, "AAAA"); !errors.Is(err, enrollment.ErrToken) {
			t.Errorf("ID token %q: %v", token, err)
		}
	}
}
