package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// seeds adds everything in testdata with a suffix.
func seeds(f *testing.F, suffix string, add func([]byte)) {
	f.Helper()
	names, err := filepath.Glob("testdata/*" + suffix)
	if err != nil || len(names) == 0 {
		f.Fatalf("%d seeds, %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(b)
	}
}

// FuzzParsePEMChain holds what parses against what is written of it.
func FuzzParsePEMChain(f *testing.F) {
	seeds(f, ".pem", func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := ParsePEMChain(text)
		if err != nil {
			return
		}
		var again []byte
		for _, der := range chain {
			again = append(again, EncodePEM(der)...)
		}
		if second, err := ParsePEMChain(again); err != nil || len(second) != len(chain) || !bytes.Equal(bytes.Join(second, nil), bytes.Join(chain, nil)) {
			t.Errorf("%d certificates became %d, %v", len(chain), len(second), err)
		}
	})
}

// FuzzVerify gives certificates of anybody's making to a snapshot. Nothing but the leaf in testdata is valid, and an identity comes with every valid one.
func FuzzVerify(f *testing.F) {
	seeds(f, ".pem", func(b []byte) {
		block, _ := pem.Decode(b)
		f.Add(block.Bytes)
	})
	s := full(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		v := s.Examine([][]byte{der}, noon)
		id, err := ParseIdentity(der)
		if (err == nil) != (v.Identity != nil) || v.Err == nil && v.Identity == nil {
			t.Fatalf("identity %v, %v; verdict %+v", id, err, v)
		}
		if err == nil {
			block, rest := pem.Decode([]byte(id.Certificate))
			if len(rest) > 0 || !bytes.Equal(block.Bytes, der) || id.BareHandle() == "" || id.CheckKey(id.PublicKey) != nil {
				t.Fatalf("%+v", id)
			}
		}
		s.NewDistributionPoints([][]byte{der})
		if next, err := s.WithTrustAnchor(der, noon); err == nil && len(next.TrustAnchors()) != len(s.TrustAnchors())+1 {
			t.Fatal("an anchor is accepted and lost")
		}
		if next, err := s.WithIntermediates(noon, der); err == nil && next != s && len(next.Intermediates()) != len(s.Intermediates())+1 {
			t.Fatal("an intermediate is accepted and lost")
		}
	})
}

// FuzzCRL holds lists that are accepted against their stored records.
func FuzzCRL(f *testing.F) {
	seeds(f, ".crl", func(b []byte) { f.Add(crlURL, b) })
	s := full(f).WithoutCRL(crlURL)
	f.Fuzz(func(t *testing.T, url string, der []byte) {
		if l, _, err := parseCRL(url, der); err == nil {
			if !bytes.Equal(l.der, der) {
				t.Fatal("another list is kept than was parsed")
			}
		}
		next, _, err := s.WithCRL(url, der)
		if err != nil {
			return
		}
		again, err := Load(Policy{}, nil, next.Records())
		if err != nil || !sameRecords(again.Records(), next.Records()) {
			t.Fatalf("stored records do not load: %v", err)
		}
	})
}

// FuzzRecord holds records that load against what is written of them.
func FuzzRecord(f *testing.F) {
	s := full(f)
	records := s.Records()
	for _, r := range records {
		f.Add(uint8(r.Table), r.Value)
	}
	f.Fuzz(func(t *testing.T, table uint8, value []byte) {
		r := Record{Table: Table(table), Value: value}
		switch r.Table {
		case TableTrustAnchor, TableIntermediate:
			if len(value) > 0 {
				if a, err := newAuthority(value[1:]); err == nil {
					a.anchor = r.Table == TableTrustAnchor
					r.ID = a.record().ID
				}
			}
		case TableCRL:
			if len(value) > 35 {
				if n := 35 + int(value[33])<<8 + int(value[34]); n <= len(value) {
					r.ID = crlID(Fingerprint(value[1:33]), string(value[35:n]))
				}
			}
		}
		others := make([]Record, 0, len(records))
		for _, o := range records {
			if o.Table != TableCRL && (o.Table != r.Table || o.ID != r.ID) {
				others = append(others, o)
			}
		}
		loaded, err := Load(Policy{}, nil, append(others, r))
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		for _, got := range loaded.Records() {
			if got.Table == r.Table && got.ID == r.ID && bytes.Equal(got.Value, value) {
				return
			}
		}
		t.Fatal("what was loaded is not what is stored")
	})
}
