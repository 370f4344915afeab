package interop

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// domain is a certification authority with its backend and identity provider, and what the certificates it issues next are like.
type domain struct {
	ca *acmetest.World
	// shift moves their time.
	shift time.Duration
	// point is the CRL distribution point in them.
	point string
	// above is what stands in the chain above the leaf, in PEM. Empty is the CA's intermediate.
	above string
	// issued is the certificate that was issued last.
	issued *x509.Certificate
}

// answer is what the CA answers.
func (d *domain) answer(r enrollment.Request) enrollment.Response {
	a := d.ca.Do(r)
	if block, _ := pem.Decode(a.Body); block != nil {
		d.issued = must(x509.ParseCertificate(block.Bytes))
		if d.above != "" {
			a.Body = append(pem.EncodeToMemory(block), d.above...)
		}
	}
	return a
}

// newDomain returns one with keys of the suite's signature algorithm.
func (s *stage) newDomain(name string) *domain {
	d := new(domain)
	d.ca = acmetest.NewDomain(name, uint16(s.suite), s.peer.clock.now)
	d.ca.Certificate = func(c *x509.Certificate) {
		// Some hold that a certificate is not valid yet in the second in which it was issued.
		c.NotBefore = c.NotBefore.Add(-time.Hour)
		c.CRLDistributionPoints = []string{d.point}
		c.NotBefore, c.NotAfter = c.NotBefore.Add(d.shift), c.NotAfter.Add(d.shift)
	}
	return d
}

// signIn is what the identity provider gives a user who has signed in.
func (d *domain) signIn(o enrolment, keyAuth, audience string) string {
	return d.ca.Authenticate(keyAuth, audience, o.displayName, o.handle, homeDomain)
}

// enrolment is what a client asks to have certified.
type enrolment struct {
	kind        conclave.EnrollmentKind
	displayName string
	handle      string
}

const (
	certificateLifetime = 24 * time.Hour
	homeDomain          = "interop.example"
)

// enrol takes a client of this engine through an enrolment.
func (p *engineParty) enrol(d *domain, o enrolment) error {
	saved, err := p.Enroll(p.ctx, conclave.EnrollOptions{Kind: o.kind, EnrollmentOptions: conclave.EnrollmentOptions{
		CipherSuite: p.suite, DisplayName: o.displayName, Handle: o.handle, Expiry: certificateLifetime, Directory: d.ca.Directory(),
	}}, conclave.EnrollHooks{
		HTTPRequest: func(_ context.Context, r enrollment.Request) (enrollment.Response, error) { return d.answer(r), nil },
		Authenticate: func(_ context.Context, a enrollment.Authentication) (string, error) {
			return d.signIn(o, a.KeyAuth, a.Audience), nil
		},
		BackendNonce:       func(context.Context) (string, error) { return d.ca.BackendNonce(), nil },
		BackendAccessToken: func(_ context.Context, dpop string) (string, error) { return d.ca.AccessToken(dpop) },
	})
	p.found = append(p.found, saved.NewDistributionPoints...)
	return err
}

// enrol takes a client of CoreCrypto through its own enrolment API, with a CA that is strict about every byte of it.
func (p *peerParty) enrol(d *domain, o enrolment) error {
	install := "saveCredential"
	if o.kind == conclave.EnrollmentNew {
		install = "initOnly"
	}
	_, err := p.do(install, "", call{Certificate: p.obtain(d, o)})
	return err
}

// obtain returns the chain that a client of CoreCrypto is issued.
func (p *peerParty) obtain(d *domain, o enrolment) (chain string) {
	must(p.do("beginEnrollment", "", call{
		Kind: [...]string{"new", "activation", "rotation"}[o.kind], DisplayName: o.displayName, Handle: o.handle, Seconds: int(certificateLifetime.Seconds()), Suite: uint16(p.suite),
	}))
	var nonce string
	send := func(method, url string, body []byte) enrollment.Response {
		r := enrollment.Request{Method: method, URL: url, Body: body}
		if body != nil {
			r.Header = enrollment.Header{"Content-Type": {"application/jose+json"}}
		}
		a := d.answer(r)
		if a.Status >= 300 {
			fail("%s %s of CoreCrypto: %d %s", method, url, a.Status, a.Body)
		}
		if method != "GET" {
			nonce = a.Header["Replay-Nonce"][0]
		}
		return a
	}
	step := func(name string, args ...string) result {
		return must(p.do("stepEnrollment", "", call{Step: name, Args: args}))
	}
	post := func(url, name string, args ...string) enrollment.Response {
		return send("POST", url, step(name, append(args, nonce)...).Message)
	}
	read := func(name string, r enrollment.Response) result {
		return must(p.do("stepEnrollment", "", call{Step: name, Body: r.Body}))
	}

	directory := read("directoryResponse", send("GET", d.ca.Directory(), nil))
	send("HEAD", directory.NewNonce, nil)
	account := step("newAccountRequest", nonce).Message
	read("newAccountResponse", send("POST", directory.NewAccount, account))
	ordered := post(directory.NewOrder, "newOrderRequest")
	order := ordered.Header["Location"][0]
	var device, user result
	for _, url := range read("newOrderResponse", ordered).URLs {
		if a := read("newAuthzResponse", post(url, "newAuthzRequest", url)); a.KeyAuth == "" {
			device = a
		} else {
			user = a
		}
	}
	dpop := must(p.do("createDPoPToken", "", call{Seconds: 240, Text: d.ca.BackendNonce()})).Text
	read("newDpopChallengeResponse", post(device.Text, "newDpopChallengeRequest", must(d.ca.AccessToken(dpop))))
	read("newOidcChallengeResponse", post(user.Text, "newOidcChallengeRequest", d.signIn(o, p.keyAuth(account, user.KeyAuth), user.Text)))
	finalize := read("checkOrderResponse", post(order, "checkOrderRequest", order)).Text
	certificate := read("finalizeResponse", post(finalize, "finalizeRequest")).Text
	return string(post(certificate, "certificateRequest").Body)
}

// keyAuth puts right what CoreCrypto asks the identity provider to confirm: it hashes the account key with the hash function of the suite, and ACME knows
// SHA-256 only, so step-ca would refuse its clients of suites 5 and 7.
func (p *peerParty) keyAuth(account []byte, asked string) string {
	var jws struct{ Protected string }
	check(json.Unmarshal(account, &jws))
	var header struct{ JWK map[string]string }
	check(json.Unmarshal(must(base64.RawURLEncoding.DecodeString(jws.Protected)), &header))
	token, _, _ := strings.Cut(asked, ".")
	sum := sha256.Sum256(must(json.Marshal(header.JWK))) // whose members are in order, as RFC 7638 has them
	right := token + "." + base64.RawURLEncoding.EncodeToString(sum[:])
	if (asked == right) != (p.suite <= 3) {
		fail("CoreCrypto asks for the key authorization %q, of SHA-256 it is %q", asked, right)
	}
	return right
}
