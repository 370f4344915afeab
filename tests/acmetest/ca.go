// Package acmetest is a world for enrolments, in memory: an ACME server with Wire's two challenges, an identity provider that logs everybody in, and the
// two endpoints of Wire's backend. It judges requests strictly, and a test may put itself between.
package acmetest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
)

// Provider is the identity provider, as challenges name it.
const Provider = "https://idp.example/realm?client_id=wireapp"

// World is the server, the provider and the backend. It is safe for concurrent use. Its fields are set before it is used.
//
// Two of one name differ in the keys of their authorities. Otherwise a world draws no randomness: the same requests in the same order get the same
// answers, so that what a fuzz target has found in one process is there in the next.
type World struct {
	// Origin is where the server is, Backend where the backend is.
	Origin, Backend string
	// Now is the clock of all three.
	Now func() time.Time
	// Intercept, if there is one, sees each ACME request first. Where it returns true its answer is sent, and the server never sees the request.
	Intercept func(enrollment.Request) (enrollment.Response, bool)
	// Alter, if there is one, may change what the server answers.
	Alter func(enrollment.Request, *enrollment.Response)
	// Certificate, if there is one, may change what is about to be signed.
	Certificate func(*x509.Certificate)

	name         string
	mu           sync.Mutex // guards what follows; held for one request
	ids          uint64
	root         *authority
	intermediate *authority
	providerKey  ed25519.PrivateKey
	backendKey   ed25519.PrivateKey
	serial       int
	nonces       map[string]bool
	backendNonce map[string]bool
	accounts     map[string]*account // by their URL
	paths        map[string]handler
	stats        Stats
	orderers     map[string]bool // device and account of each order
}

// Stats is what the server has seen.
type Stats struct {
	Accounts     int // distinct account keys
	Orders       int
	Certificates int
	Requests     int
	BadNonces    int // requests with a nonce that was not, or no longer, good
	// Devices counts the account keys that have ordered for each device, by its client id's URI.
	Devices map[string]int
}

type account struct {
	url string
	key *jwk
}

// handler answers a POST at one place, with the payload of its JWS.
type handler func(a *account, payload []byte) enrollment.Response

type order struct {
	url         string
	account     *account
	device      deviceIdentifier
	user        deviceIdentifier
	identifiers []identifier
	notBefore   time.Time
	notAfter    time.Time
	authz       [2]*authorization
	certificate string // its URL, once there is one
}

type authorization struct {
	url       string
	kind      string // of its challenge
	challenge string // its URL
	token     string
	target    string
	status    string
	id        identifier
}

type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// deviceIdentifier is the value of an identifier; that of a user has no client id.
type deviceIdentifier struct {
	ClientID string `json:"client-id,omitempty"`
	Handle   string `json:"handle"`
	Name     string `json:"name"`
	Domain   string `json:"domain"`
}

// New returns a world with new keys, which are of Ed25519.
func New(now func() time.Time) *World { return NewDomain("Wire", 1, now) }

// NewDomain returns a world whose authorities bear a name of their own and have keys of the signature algorithm of a cipher suite: 1, 2, 3, 5 or 7.
func NewDomain(name string, suite uint16, now func() time.Time) *World {
	w := &World{
		Origin: "https://ca.example", Backend: "https://wire.example", Now: now, name: name,
		providerKey: seededKey("provider of " + name), backendKey: seededKey("backend of " + name),
		nonces: make(map[string]bool), backendNonce: make(map[string]bool), accounts: make(map[string]*account), paths: make(map[string]handler),
		orderers: make(map[string]bool), stats: Stats{Devices: make(map[string]int)},
	}
	w.root = newAuthority(name+" Root CA", newKey(suite), nil, now())
	w.intermediate = newAuthority(name+" Intermediate CA", newKey(suite), w.root, now())
	return w
}

// Directory is the URL at which an enrolment begins.
func (w *World) Directory() string { return w.Origin + "/acme/wire/directory" }

// Root is the certificate of the trust anchor, in PEM.
func (w *World) Root() string { return w.root.pem() }

// Stats returns what the server has seen so far.
func (w *World) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Devices = maps.Clone(s.Devices)
	return s
}

// Do answers an ACME request.
func (w *World) Do(r enrollment.Request) enrollment.Response {
	if w.Intercept != nil {
		if answer, taken := w.Intercept(r); taken {
			return answer
		}
	}
	answer := w.do(r)
	if w.Alter != nil {
		w.Alter(r, &answer)
	}
	return answer
}

func (w *World) do(r enrollment.Request) enrollment.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Requests++
	answer := w.route(r)
	if answer.Header == nil {
		answer.Header = make(enrollment.Header)
	}
	if r.Method != http.MethodGet {
		http.Header(answer.Header).Set("Replay-Nonce", w.newNonce())
	}
	http.Header(answer.Header).Set("Cache-Control", "no-store")
	return answer
}

// NewNonce returns a nonce that the server takes once, for answers that a test makes.
func (w *World) NewNonce() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newNonce()
}

func (w *World) newNonce() string {
	nonce := w.id()
	w.nonces[nonce] = true
	return nonce
}

// ForgetNonces makes the server refuse all nonces it has handed out.
func (w *World) ForgetNonces() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.nonces)
}

func (w *World) route(r enrollment.Request) enrollment.Response {
	switch {
	case r.Method == http.MethodGet && r.URL == w.Directory():
		return answer(http.StatusOK, map[string]string{
			"newNonce": w.Origin + "/acme/wire/new-nonce", "newAccount": w.Origin + "/acme/wire/new-account", "newOrder": w.Origin + "/acme/wire/new-order",
			"revokeCert": w.Origin + "/acme/wire/revoke-cert", "keyChange": w.Origin + "/acme/wire/key-change",
		})
	case r.Method == http.MethodHead && r.URL == w.Origin+"/acme/wire/new-nonce":
		return enrollment.Response{Status: http.StatusOK}
	case r.Method != http.MethodPost:
		return Problem(http.StatusMethodNotAllowed, "malformed", "no such method")
	case http.Header(r.Header).Get("Content-Type") != "application/jose+json":
		return Problem(http.StatusBadRequest, "malformed", "content type")
	}
	h, payload, key, err := readJWS(r.Body, func(h header) *jwk {
		if a := w.accounts[h.KeyID]; a != nil && h.Key == nil {
			return a.key
		}
		if h.KeyID != "" {
			return nil
		}
		return h.Key
	})
	switch {
	case err != nil:
		return Problem(http.StatusBadRequest, "malformed", err.Error())
	case h.URL != r.URL:
		return Problem(http.StatusBadRequest, "malformed", "url header")
	case !w.nonces[h.Nonce]:
		w.stats.BadNonces++
		return Problem(http.StatusBadRequest, "badNonce", "JWS has an invalid anti-replay nonce")
	}
	delete(w.nonces, h.Nonce)
	if r.URL == w.Origin+"/acme/wire/new-account" {
		if h.Key == nil {
			return Problem(http.StatusBadRequest, "malformed", "no jwk")
		}
		return w.newAccount(key, payload)
	}
	a := w.accounts[h.KeyID]
	if a == nil {
		return Problem(http.StatusUnauthorized, "accountDoesNotExist", "no such account")
	}
	if r.URL == w.Origin+"/acme/wire/new-order" {
		return w.newOrder(a, payload)
	}
	serve := w.paths[r.URL]
	if serve == nil {
		return Problem(http.StatusNotFound, "malformed", "no such place")
	}
	return serve(a, payload)
}

func (w *World) newAccount(key *jwk, payload []byte) enrollment.Response {
	var asked struct {
		Agreed       bool     `json:"termsOfServiceAgreed"`
		Contact      []string `json:"contact"`
		OnlyExisting bool     `json:"onlyReturnExisting"`
	}
	if err := json.Unmarshal(payload, &asked); err != nil || !asked.Agreed || len(asked.Contact) != 1 || asked.OnlyExisting {
		return Problem(http.StatusBadRequest, "malformed", "account")
	}
	url := w.Origin + "/acme/wire/account/" + key.thumbprint()
	status := http.StatusOK
	if w.accounts[url] == nil {
		w.accounts[url] = &account{url: url, key: key}
		w.stats.Accounts++
		status = http.StatusCreated
	}
	r := answer(status, map[string]any{"contact": asked.Contact, "status": "valid", "orders": url + "/orders"})
	http.Header(r.Header).Set("Location", url)
	return r
}

func (w *World) newOrder(a *account, payload []byte) enrollment.Response {
	id := w.id()
	o := &order{url: w.Origin + "/acme/wire/order/" + id, account: a}
	var asked struct {
		Identifiers []identifier `json:"identifiers"`
		NotBefore   time.Time    `json:"notBefore"`
		NotAfter    time.Time    `json:"notAfter"`
	}
	if err := json.Unmarshal(payload, &asked); err != nil || len(asked.Identifiers) != 2 {
		return Problem(http.StatusBadRequest, "malformed", "order")
	}
	for i, subject := range asked.Identifiers {
		which, value, kind, target := "device", &o.device, "wire-dpop-01", ""
		if i == 1 {
			which, value, kind, target = "user", &o.user, "wire-oidc-01", Provider
		}
		if err := json.Unmarshal([]byte(subject.Value), value); err != nil || subject.Type != "wireapp-"+which || value.Handle == "" || value.Name == "" || value.Domain == "" || (value.ClientID == "") != (i == 1) {
			return Problem(http.StatusBadRequest, "malformed", "identifier")
		}
		if i == 0 {
			if target = w.tokenURL(value.ClientID); target == "" {
				return Problem(http.StatusBadRequest, "malformed", "client id")
			}
		}
		o.authz[i] = &authorization{
			url: w.Origin + "/acme/wire/authz/" + id + "-" + which, challenge: w.Origin + "/acme/wire/challenge/" + id + "-" + which,
			kind: kind, token: w.id(), target: target, status: "pending", id: subject,
		}
	}
	if o.user.Handle != o.device.Handle || o.user.Name != o.device.Name || o.user.Domain != o.device.Domain {
		return Problem(http.StatusBadRequest, "malformed", "identifiers differ")
	}
	o.identifiers, o.notBefore, o.notAfter = asked.Identifiers, asked.NotBefore, asked.NotAfter
	w.stats.Orders++
	if who := o.device.ClientID + " " + a.url; !w.orderers[who] {
		w.orderers[who] = true
		w.stats.Devices[o.device.ClientID]++
	}
	w.paths[o.url] = w.shown(o, func() enrollment.Response { return w.showOrder(http.StatusOK, o) })
	w.paths[o.url+"/finalize"] = w.of(o, func(payload []byte) enrollment.Response { return w.finalize(o, payload) })
	for _, z := range o.authz {
		w.paths[z.url] = w.shown(o, func() enrollment.Response { return w.showAuthorization(z) })
		w.paths[z.challenge] = w.of(o, func(payload []byte) enrollment.Response { return w.answerChallenge(o, z, payload) })
	}
	return w.showOrder(http.StatusCreated, o)
}

// of serves only the account of an order.
func (w *World) of(o *order, serve func(payload []byte) enrollment.Response) handler {
	return func(a *account, payload []byte) enrollment.Response {
		if a != o.account {
			return Problem(http.StatusForbidden, "unauthorized", "another account's")
		}
		return serve(payload)
	}
}

// shown serves a POST-as-GET (RFC 8555 section 6.3), which has no payload.
func (w *World) shown(o *order, show func() enrollment.Response) handler {
	return w.of(o, func(payload []byte) enrollment.Response {
		if len(payload) > 0 {
			return Problem(http.StatusBadRequest, "malformed", "payload")
		}
		return show()
	})
}

func (w *World) showOrder(status int, o *order) enrollment.Response {
	body := map[string]any{
		"id": o.url[strings.LastIndex(o.url, "/")+1:], "status": o.status(), "expires": w.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339),
		"identifiers": o.identifiers, "notBefore": o.notBefore.UTC().Format(time.RFC3339), "notAfter": o.notAfter.UTC().Format(time.RFC3339),
		"authorizations": []string{o.authz[0].url, o.authz[1].url}, "finalize": o.url + "/finalize",
	}
	if o.certificate != "" {
		body["certificate"] = o.certificate
	}
	r := answer(status, body)
	http.Header(r.Header).Set("Location", o.url)
	return r
}

func (o *order) status() string {
	switch {
	case o.certificate != "":
		return "valid"
	case o.authz[0].status == "valid" && o.authz[1].status == "valid":
		return "ready"
	}
	return "pending"
}

func (w *World) showAuthorization(z *authorization) enrollment.Response {
	return answer(http.StatusOK, map[string]any{
		"identifier": z.id, "status": z.status, "wildcard": false, "expires": w.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339),
		"challenges": []any{z.show()},
	})
}

func (z *authorization) show() map[string]any {
	return map[string]any{"type": z.kind, "status": z.status, "token": z.token, "url": z.challenge, "target": z.target}
}

// answerChallenge judges an answer once; a challenge that has been judged is only shown.
func (w *World) answerChallenge(o *order, z *authorization, payload []byte) enrollment.Response {
	if z.status == "pending" {
		judge := w.judgeDevice
		if z.kind == "wire-oidc-01" {
			judge = w.judgeUser
		}
		z.status = "valid"
		if err := judge(o, z, payload); err != nil {
			z.status = "invalid"
			body := z.show()
			body["error"] = map[string]string{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "The server will not issue certificates for the identifier: " + err.Error()}
			return answer(http.StatusOK, body)
		}
	}
	return answer(http.StatusOK, z.show())
}

func (w *World) finalize(o *order, payload []byte) enrollment.Response {
	switch o.status() {
	case "ready":
	case "valid": // an answer got lost
		return w.showOrder(http.StatusOK, o)
	default:
		return Problem(http.StatusForbidden, "orderNotReady", "the order is "+o.status())
	}
	var asked struct {
		CSR string `json:"csr"`
	}
	err := json.Unmarshal(payload, &asked)
	der, bad := b64.DecodeString(asked.CSR)
	if err != nil || bad != nil {
		return Problem(http.StatusBadRequest, "malformed", "csr")
	}
	chain, err := w.issue(o, der)
	if err != nil {
		return Problem(http.StatusInternalServerError, "serverInternal", "The server experienced an internal error")
	}
	w.stats.Certificates++
	o.certificate = w.Origin + "/acme/wire/certificate/" + w.id()
	w.paths[o.certificate] = w.shown(o, func() enrollment.Response {
		return enrollment.Response{Status: http.StatusOK, Header: enrollment.Header{"Content-Type": {"application/pem-certificate-chain"}}, Body: []byte(chain)}
	})
	return w.showOrder(http.StatusOK, o)
}

func answer(status int, body any) enrollment.Response {
	return enrollment.Response{Status: status, Header: enrollment.Header{"Content-Type": {"application/json"}}, Body: mustJSON(body)}
}

// Problem is a problem document of ACME.
func Problem(status int, kind, detail string) enrollment.Response {
	r := answer(status, map[string]string{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail})
	http.Header(r.Header).Set("Content-Type", "application/problem+json")
	return r
}

// tokenURL returns where the device of a client's URI gets its access tokens, empty for a URI that is none.
func (w *World) tokenURL(uri string) string {
	rest, ok := strings.CutPrefix(uri, "wireapp://")
	_, rest, bang := strings.Cut(rest, "!")
	device, _, at := strings.Cut(rest, "@")
	if !ok || !bang || !at || device == "" || strings.Contains(device, "%") {
		return ""
	}
	return w.Backend + "/clients/" + device + "/access-token"
}

// id returns a text that this world has never returned before.
func (w *World) id() string {
	w.ids++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d of %s", w.ids, w.name))
	return b64.EncodeToString(sum[:24])
}

func seededKey(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}
