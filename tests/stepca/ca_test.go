// Package stepca tests enrolment against a real certificate authority: step-ca runs in the test's process with the Wire challenges enabled, beside a small
// identity provider that speaks the authorisation code flow with PKCE and the claims parameter, and the two endpoints of a Wire backend that enrolment needs.
// Nothing of the ACME side is played by the tests. It is a module of its own, so that step-ca's dependencies stay out of the library's.
package stepca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/smallstep/certificates/acme"
	acmeapi "github.com/smallstep/certificates/acme/api"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
	"github.com/smallstep/certificates/api"
	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/authority/provisioner/wire"
	"github.com/smallstep/certificates/db"

	"github.com/conclave-mls/conclave/pki"
)

const (
	// domain is the one every user of the tests belongs to. The intermediate is constrained to it.
	domain = "wire.localhost"
	// oauthClient is the OAuth client id of the application at the identity provider.
	oauthClient = "wireapp"
	// caName is the provisioner's name, part of every ACME URL.
	caName = "wire"
)

// Templates of the provisioner. The leaf is Wire's; the transform turns the identity provider's user name into a handle.
const (
	leafTemplate = `{
	"subject": {"organization": "` + domain + `", "commonName": {{ toJson .Oidc.name }}},
	"uris": [{{ toJson .Oidc.preferred_username }}, {{ toJson .Dpop.sub }}],
	"keyUsage": ["digitalSignature"],
	"extKeyUsage": ["clientAuth"],
	"crlDistributionPoints": ["{{ .CRL }}"]
}`
	transformTemplate = `{"name": {{ toJson .name }}, "preferred_username": {{ toJson (printf "wireapp://%%40%s" .preferred_username) }}}`
)

// authorityServer is step-ca, serving ACME by TLS and its CRL in the clear.
type authorityServer struct {
	authority *authority.Authority
	root      *x509.Certificate
	issuer    *x509.Certificate // the intermediate: it signs leaves and CRLs
	base      string            // URL of everything but the CRL
	directory string            // URL of the ACME directory
	crl       string            // URL of the CRL, the distribution point of every leaf
	client    *http.Client      // trusts the root
	records   *memory
	failures  *failures
}

// issuing is a CA certificate with its key.
type issuing struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// newCA makes a CA certificate for a key, signed by its parent or, without one, by itself.
func newCA(t *testing.T, key crypto.Signer, parent *issuing, template *x509.Certificate) *issuing {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().AddDate(20, 0, 0)
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.BasicConstraintsValid = true
	template.IsCA = true
	if parent == nil {
		parent = &issuing{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.certificate, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuing{certificate: certificate, key: key}
}

// newKey makes a key for a CA.
type newKey func() (crypto.Signer, error)

func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func newECDSA(curve elliptic.Curve) newKey {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(curve, rand.Reader) }
}

// startAuthority runs step-ca until the test ends. It takes ID tokens of the identity provider and access tokens signed by the backend.
func startAuthority(t *testing.T, key newKey, idp *identityProvider, b *backend) *authorityServer {
	t.Helper()
	rootKey, err := key()
	if err != nil {
		t.Fatal(err)
	}
	intermediateKey, err := key()
	if err != nil {
		t.Fatal(err)
	}
	root := newCA(t, rootKey, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "Wire Root CA"}, MaxPathLen: 1})
	intermediate := newCA(t, intermediateKey, root, &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "Wire Intermediate CA"},
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost", domain},
		PermittedURIDomains:         []string{domain},
	})

	// Both listeners are open before the configuration is made, as it holds their addresses.
	server := httptest.NewUnstartedServer(nil)
	revocations := httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	host := "localhost:" + port
	s := &authorityServer{
		root:      root.certificate,
		issuer:    intermediate.certificate,
		base:      "https://" + host,
		directory: "https://" + host + "/acme/" + caName + "/directory",
		records:   new(memory),
		crl:       "http://" + revocations.Listener.Addr().String() + "/crl",
	}

	// Tables of the CA itself; those of ACME are made by its database.
	for _, table := range []string{"x509_certs", "x509_certs_data", "revoked_x509_certs", "x509_crl"} {
		if err := s.records.CreateTable([]byte(table)); err != nil {
			t.Fatal(err)
		}
	}
	database := &db.DB{DB: s.records}
	s.authority, err = authority.NewEmbedded(
		authority.WithConfig(s.configuration(t, host, idp, b)),
		authority.WithDatabase(database),
		authority.WithX509RootCerts(root.certificate),
		authority.WithX509Signer(intermediate.certificate, intermediate.key),
		authority.WithQuietInit())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after both servers are closed
		if err := s.authority.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	acmeRecords, err := acmedb.New(s.records)
	if err != nil {
		t.Fatal(err)
	}
	s.failures = &failures{DB: acmeRecords}

	base := authority.NewContext(context.Background(), s.authority)
	base = db.NewContext(base, database)
	base = acme.NewContext(base, s.failures, acme.NewClient(), acme.NewLinker(host, "acme"), nil)
	router := chi.NewRouter()
	router.Route("/", func(r chi.Router) { api.Route(r) })
	router.Route("/acme", func(r chi.Router) { acmeapi.Route(r) })
	certificate, err := s.authority.GetTLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	start := func(h *httptest.Server, handler http.Handler, run func()) {
		h.Config.Handler = handler
		h.Config.BaseContext = func(net.Listener) context.Context { return base }
		h.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that a test breaks off
		run()
		t.Cleanup(h.Close)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	start(server, router, server.StartTLS)
	start(revocations, http.HandlerFunc(api.CRL), revocations.Start)

	roots := x509.NewCertPool()
	roots.AddCert(root.certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport}
	return s
}

// configuration is what an operator writes to ca.json.
func (s *authorityServer) configuration(t *testing.T, host string, idp *identityProvider, b *backend) *config.Config {
	duration := func(d time.Duration) *provisioner.Duration { return &provisioner.Duration{Duration: d} }
	return &config.Config{
		Address:  host,
		DNSNames: []string{"localhost"},
		CRL:      &config.CRLConfig{Enabled: true, GenerateOnRevoke: true, CacheDuration: duration(24 * time.Hour), IDPurl: s.crl},
		AuthorityConfig: &config.AuthConfig{Provisioners: provisioner.List{&provisioner.ACME{
			Type:       "ACME",
			Name:       caName,
			Challenges: []provisioner.ACMEChallenge{provisioner.WIREOIDC_01, provisioner.WIREDPOP_01},
			Claims: &provisioner.Claims{
				MinTLSDur:     duration(time.Second),
				MaxTLSDur:     duration(10 * 365 * 24 * time.Hour),
				DefaultTLSDur: duration(90 * 24 * time.Hour),
			},
			Options: &provisioner.Options{
				X509: &provisioner.X509Options{Template: leafTemplate, TemplateData: json.RawMessage(`{"CRL": "` + s.crl + `"}`)},
				Wire: &wire.Options{
					OIDC: &wire.OIDCOptions{
						Provider: &wire.Provider{
							DiscoveryBaseURL: idp.url,
							IssuerURL:        idp.url + "?client_id=" + oauthClient,
							Algorithms:       []string{"ES256"},
						},
						Config:            &wire.Config{ClientID: oauthClient, SignatureAlgorithms: []string{"ES256"}},
						TransformTemplate: transformTemplate,
					},
					DPOP: &wire.DPOPOptions{SigningKey: b.publicKey(t), Target: b.url + "/clients/{{.DeviceID}}/access-token"},
				},
			},
		}}},
	}
}

// revoke is what an operator does about a device that is lost. The CRL is made anew at once.
func (s *authorityServer) revoke(t *testing.T, leaf *x509.Certificate) {
	t.Helper()
	err := s.authority.Revoke(provisioner.NewContextWithMethod(t.Context(), provisioner.RevokeMethod), &authority.RevokeOptions{
		Serial:      leaf.SerialNumber.String(),
		Crt:         leaf,
		ReasonCode:  int(pki.ReasonKeyCompromise),
		PassiveOnly: true,
		ACME:        true,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// get reads what step-ca serves at a path to everybody.
func (s *authorityServer) get(t *testing.T, path string) []byte {
	t.Helper()
	return s.fetch(t, s.base+path)
}

// fetchCRL reads the revocation list in DER from its distribution point.
func (s *authorityServer) fetchCRL(t *testing.T) []byte {
	t.Helper()
	return s.fetch(t, s.crl)
}

func (s *authorityServer) fetch(t *testing.T, url string) []byte {
	t.Helper()
	response, err := s.client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return body
}
