package enrollment_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

// caDirectory is the URL of the CA's directory.
const caDirectory = origin + "/acme/wire/directory"

const (
	origin = "https://ca.test"
	acme   = origin + "/acme/wire"
	urn    = "urn:ietf:params:acme:error:"
)

// testCA is a CA, a backend and an identity provider, strict about all that step-ca and
// Wire's backend are strict about. It is safe for concurrent use, and draws no randomness: the same
// requests in the same order get the same answers.
type testCA struct {
	// Now is the clock. Set it before the first request.
	Now func() time.Time
	// Leaf, if set, changes a certificate before it is signed. Set it before the first
	// request.
	Leaf func(*x509.Certificate)

	authority authority
	backend   ed25519.PrivateKey

	mu       sync.Mutex
	serial   uint64
	nonces   map[string]bool // not used yet
	accounts map[string]*account
	byKey    map[string]*account
}

// account is a key with its newest order.
type account struct {
	url        string
	key        *jose.JSONWebKey
	thumbprint string
	order      *order
}

// order is what the CA knows of one. A challenge is valid once proven.
type order struct {
	id           string
	device, user person
	deviceText   string // as it was sent
	userText     string
	from, till   time.Time
	dpop, oidc   bool
	chain        []byte // PEM, once issued
}

type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type person struct {
	ClientID string `json:"client-id"`
	Handle   string `json:"handle"`
	Name     string `json:"name"`
	Domain   string `json:"domain"`
}

// newCA returns a CA whose keys derive from seed.
func newCA(seed string, now func() time.Time) *testCA {
	key := sha256.Sum256([]byte("backend of " + seed))
	return &testCA{
		Now: now, authority: newAuthority(seed, now()), backend: ed25519.NewKeyFromSeed(key[:]),
		nonces: make(map[string]bool), accounts: make(map[string]*account), byKey: make(map[string]*account),
	}
}

// Root returns the trust anchor in PEM.
func (ca *testCA) Root() string { return pki.EncodePEM(ca.authority.root.Raw) }

// Answer is what a POST, GET or HEAD gets.
func (ca *testCA) Answer(r enrollment.Request) enrollment.Response {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	switch {
	case r.Method == "GET" && r.URL == caDirectory:
		return ca.json(200, "", map[string]string{
			"newNonce": acme + "/new-nonce", "newAccount": acme + "/new-account", "newOrder": acme + "/new-order",
			"revokeCert": acme + "/revoke-cert", "keyChange": acme + "/key-change",
		})
	case r.Method == "HEAD" && r.URL == acme+"/new-nonce":
		return ca.json(200, "", nil)
	case r.Method != "POST":
		return ca.problem(405, "malformed")
	}
	a, payload, refused := ca.open(r)
	if refused != nil {
		return *refused
	}
	path, id, _ := strings.Cut(strings.TrimPrefix(r.URL, acme+"/"), "/")
	switch {
	case path == "new-account":
		return ca.newAccount(a, payload)
	case path == "new-order":
		return ca.newOrder(a, payload)
	case a.order == nil || !strings.HasPrefix(id, a.order.id):
		return ca.problem(404, "malformed")
	case path == "authz" && len(payload) == 0:
		return ca.authorization(a, strings.TrimPrefix(id, a.order.id+"-"))
	case path == "challenge":
		return ca.challenge(a, strings.TrimPrefix(id, a.order.id+"-"), payload)
	case path == "order" && strings.HasSuffix(id, "/finalize"):
		return ca.finalize(a, payload)
	case path == "order" && len(payload) == 0:
		return ca.json(200, "", ca.orderDocument(a.order))
	case path == "certificate" && len(payload) == 0 && a.order.chain != nil:
		response := ca.json(200, "", nil)
		response.Header["Content-Type"], response.Body = []string{"application/pem-certificate-chain"}, a.order.chain
		return response
	}
	return ca.problem(404, "malformed")
}

// open checks a JWS and returns its account, which is new if the JWS carries a key.
func (ca *testCA) open(r enrollment.Request) (*account, []byte, *enrollment.Response) {
	refuse := func(status int, kind string) (*account, []byte, *enrollment.Response) {
		response := ca.problem(status, kind)
		return nil, nil, &response
	}
	if v := r.Header["Content-Type"]; len(v) != 1 || v[0] != "application/jose+json" {
		return refuse(400, "malformed")
	}
	var raw map[string]string
	if err := json.Unmarshal(r.Body, &raw); err != nil || len(raw) != 3 || raw["protected"] == "" || raw["signature"] == "" {
		return refuse(400, "malformed")
	}
	if _, there := raw["payload"]; !there {
		return refuse(400, "malformed")
	}
	jws, err := jose.ParseSignedJSON(string(r.Body), signatureAlgorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return refuse(400, "malformed")
	}
	header := jws.Signatures[0].Protected
	a := ca.accounts[header.KeyID]
	if r.URL == acme+"/new-account" {
		if header.JSONWebKey == nil || header.KeyID != "" {
			return refuse(400, "malformed")
		}
		a = &account{key: header.JSONWebKey}
	}
	if a == nil {
		return refuse(401, "unauthorized")
	}
	payload, err := jws.Verify(a.key)
	if err != nil || header.ExtraHeaders["url"] != r.URL {
		return refuse(400, "malformed")
	}
	if !ca.nonces[header.Nonce] {
		return refuse(400, "badNonce")
	}
	delete(ca.nonces, header.Nonce)
	return a, payload, nil
}

// ForgetNonces makes the CA refuse all nonces it has handed out.
func (ca *testCA) ForgetNonces() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	clear(ca.nonces)
}

// Accounts returns how many accounts there are.
func (ca *testCA) Accounts() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.accounts)
}

func (ca *testCA) newAccount(a *account, payload []byte) enrollment.Response {
	var p struct {
		TermsOfServiceAgreed bool     `json:"termsOfServiceAgreed"`
		Contact              []string `json:"contact"`
		OnlyReturnExisting   bool     `json:"onlyReturnExisting"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || !p.TermsOfServiceAgreed || len(p.Contact) != 1 || p.OnlyReturnExisting {
		return ca.problem(400, "malformed")
	}
	sum, err := a.key.Thumbprint(crypto.SHA256)
	if err != nil {
		return ca.problem(500, "serverInternal")
	}
	a.thumbprint = base64.RawURLEncoding.EncodeToString(sum)
	status := 200
	if known := ca.byKey[a.thumbprint]; known != nil {
		a = known
	} else {
		status, a.url = 201, acme+"/account/"+ca.id()
		ca.accounts[a.url], ca.byKey[a.thumbprint] = a, a
	}
	return ca.json(status, a.url, map[string]any{"status": "valid", "contact": p.Contact, "orders": a.url + "/orders"})
}

func (ca *testCA) newOrder(a *account, payload []byte) enrollment.Response {
	var p struct {
		Identifiers []identifier `json:"identifiers"`
		NotBefore   time.Time    `json:"notBefore"`
		NotAfter    time.Time    `json:"notAfter"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || len(p.Identifiers) != 2 {
		return ca.problem(400, "malformed")
	}
	o := &order{id: ca.id(), from: p.NotBefore, till: p.NotAfter}
	for _, i := range p.Identifiers {
		text, s := &o.deviceText, &o.device
		if i.Type == "wireapp-user" {
			text, s = &o.userText, &o.user
		}
		if err := json.Unmarshal([]byte(i.Value), s); err != nil || *text != "" {
			return ca.problem(400, "malformed")
		}
		*text = i.Value
	}
	same := o.user
	same.ClientID = o.device.ClientID
	client, err := url.Parse(o.device.ClientID)
	if same != o.device || o.user.ClientID != "" || o.user.Name == "" || err != nil || client.Scheme != "wireapp" || !strings.Contains(o.device.ClientID, "!") {
		return ca.problem(400, "malformed")
	}
	a.order = o
	return ca.json(201, acme+"/order/"+o.id, ca.orderDocument(o))
}

func (ca *testCA) orderDocument(o *order) map[string]any {
	status := "pending"
	switch {
	case o.chain != nil:
		status = "valid"
	case o.dpop && o.oidc:
		status = "ready"
	}
	d := map[string]any{
		"id": o.id, "status": status, "expires": o.from.Add(24 * time.Hour).Format(time.RFC3339),
		"identifiers": []identifier{{"wireapp-device", o.deviceText}, {"wireapp-user", o.userText}},
		"notBefore":   o.from.Format(time.RFC3339), "notAfter": o.till.Format(time.RFC3339),
		"authorizations": []string{acme + "/authz/" + o.id + "-device", acme + "/authz/" + o.id + "-user"},
		"finalize":       acme + "/order/" + o.id + "/finalize",
	}
	if o.chain != nil {
		d["certificate"] = acme + "/certificate/" + o.id
	}
	return d
}

// json returns a response with a fresh nonce; nil has no body.
func (ca *testCA) json(status int, location string, v any) enrollment.Response {
	h := enrollment.Header{"Replay-Nonce": {ca.nonce()}, "Cache-Control": {"no-store"}}
	if location != "" {
		h["Location"] = []string{location}
	}
	var body []byte
	if v != nil {
		h["Content-Type"] = []string{"application/json"}
		var err error
		if body, err = json.Marshal(v); err != nil {
			panic(err) // the documents here marshal
		}
	}
	return enrollment.Response{Status: status, Header: h, Body: body}
}

// problem returns a problem document, as unspecific as step-ca's.
func (ca *testCA) problem(status int, kind string) enrollment.Response {
	response := ca.json(status, "", map[string]string{"type": urn + kind, "detail": "The request was refused"})
	response.Header["Content-Type"] = []string{"application/problem+json"}
	return response
}

func (ca *testCA) nonce() string {
	n := ca.id()
	ca.nonces[n] = true
	return n
}

// id returns a text that was never returned before.
func (ca *testCA) id() string {
	ca.serial++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("ca"), ca.serial))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// token returns what a challenge of an order asks for.
func (o *order) token(which string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "token %s of %s", which, o.id))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
