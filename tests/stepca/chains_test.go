package stepca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

// chains names the folder to keep certificates and lists in that package pki is tested with:
//
//	go test -run '^TestChains$' -chains ../../pki/testdata/stepca .
var chains = flag.String("chains", "", "write the chains of TestChains to this folder")

// TestChains makes what pki/stepca_test.go reads: for a CA of each key type a file of PEM with its root, its intermediate, a leaf for each key type, a
// revocation list from before and one from after the last of the leaves was revoked. It looks at the result only as far as pki will not.
func TestChains(t *testing.T) {
	for _, issuer := range issuers {
		t.Run(issuer.name, func(t *testing.T) {
			w := newWorldWith(t, issuer.key)
			var text bytes.Buffer
			write := func(label string, der []byte) {
				if err := pem.Encode(&text, &pem.Block{Type: label, Bytes: der}); err != nil {
					t.Fatal(err)
				}
			}
			write("CERTIFICATE", w.ca.root.Raw)
			write("CERTIFICATE", w.ca.issuer.Raw)
			var last *x509.Certificate
			for _, suite := range []uint16{1, 2, 7, 5} {
				u := w.newUser("alice_wire", `Alice "Al" Müller-Smith`)
				c := w.config(u, suite)
				c.Lifetime = 3650 * 24 * time.Hour
				issued := w.enrol(t, newEnrollment(t, c), u)
				var err error
				if last, err = x509.ParseCertificate(issued.Chain[0]); err != nil {
					t.Fatal(err)
				}
				write("CERTIFICATE", issued.Chain[0])
			}
			before := w.ca.fetchCRL(t)
			write("X509 CRL", before)
			w.ca.revoke(t, last)
			after := w.ca.fetchCRL(t)
			write("X509 CRL", after)
			if text.Len() > pki.MaxPEMSize || bytes.Equal(before, after) {
				t.Errorf("%d bytes", text.Len())
			}
			if *chains == "" {
				return
			}
			if err := os.MkdirAll(*chains, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*chains, issuer.name+".pem"), text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
