package pki

import (
	"bytes"
	"slices"
	"testing"
)

func full(t testing.TB) *Snapshot {
	t.Helper()
	s := knowing(t, anchored(t, "root-P-256.pem", "wire-root.pem", "root-P-384.pem"), file(t, "intermediate-P-256.pem"), file(t, "wire-intermediate.pem"), file(t, "cross.pem"))
	s = listing(t, s, crlURL, file(t, "revoked-idp.crl"))
	return listing(t, s, "http://ca.wire.example/root.crl", file(t, "revoked-intermediate.crl"))
}

func sameRecords(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(x, y Record) bool { return x.Table == y.Table && x.ID == y.ID && bytes.Equal(x.Value, y.Value) })
}

func TestRecords(t *testing.T) {
	s := full(t)
	records := s.Records()
	if len(records) != 8 {
		t.Fatalf("%d records", len(records))
	}
	backwards := slices.Clone(records)
	slices.Reverse(backwards)
	loaded, err := Load(s.Policy(), nil, backwards)
	if err != nil {
		t.Fatal(err)
	}
	if !sameRecords(loaded.Records(), records) || loaded.digest != s.digest {
		t.Error("another snapshot was loaded than stored")
	}
	chain := [][]byte{file(t, "leaf-P-256.pem")}
	wantErr(t, loaded.Verify(chain, noon), ErrRevoked)
	if lists := loaded.CRLs(); len(lists) != 2 || lists[0].Revoked+lists[1].Revoked != 2 || lists[0].NextUpdate.IsZero() || lists[0].ThisUpdate.IsZero() {
		t.Errorf("%+v", lists)
	}
	empty, err := Load(Policy{RequireCRL: true}, nil, nil)
	if err != nil || empty.HasTrustAnchor() || !empty.Policy().RequireCRL {
		t.Errorf("%+v, %v", empty, err)
	}
}

func TestLoadRefusals(t *testing.T) {
	records := full(t).Records()
	edit := func(i int, f func(*Record)) []Record {
		edited := slices.Clone(records)
		r := edited[i]
		r.Value = bytes.Clone(r.Value)
		f(&r)
		edited[i] = r
		return edited
	}
	const anchor, intermediate, list = 0, 3, 6
	if records[anchor].Table != TableTrustAnchor || records[intermediate].Table != TableIntermediate || records[list].Table != TableCRL {
		t.Fatal("want another order")
	}
	for name, broken := range map[string][]Record{
		"empty":                 edit(anchor, func(r *Record) { r.Value = nil }),
		"version":               edit(anchor, func(r *Record) { r.Value[0]++ }),
		"table":                 edit(anchor, func(r *Record) { r.Table = 9 }),
		"anchor under name":     edit(anchor, func(r *Record) { r.ID[0]++ }),
		"anchor bytes":          edit(anchor, func(r *Record) { r.Value[len(r.Value)-1]++ }),
		"intermediate as root":  edit(intermediate, func(r *Record) { r.Table = TableTrustAnchor }),
		"intermediate name":     edit(intermediate, func(r *Record) { r.ID[0]++ }),
		"intermediate bytes":    edit(intermediate, func(r *Record) { r.Value = r.Value[:9] }),
		"list name":             edit(list, func(r *Record) { r.ID[0]++ }),
		"list signature":        edit(list, func(r *Record) { r.Value[len(r.Value)-1]++ }),
		"list signer":           edit(list, func(r *Record) { r.Value[1]++ }),
		"list address":          edit(list, func(r *Record) { r.Value[1+32+2]++ }),
		"list short":            edit(list, func(r *Record) { r.Value = r.Value[:20] }),
		"list short in address": edit(list, func(r *Record) { r.Value = r.Value[:1+32+2+3] }),
		"list short in DER":     edit(list, func(r *Record) { r.Value = r.Value[:len(r.Value)-1] }),
		"twice":                 append(slices.Clone(records), records[intermediate]),
		"list without signer":   slices.Delete(slices.Clone(records), 0, 6),
	} {
		if _, err := Load(Policy{}, nil, broken); err == nil {
			t.Errorf("%s: loaded", name)
		} else {
			wantErr(t, err, ErrRecord)
		}
	}
	many := make([]Record, MaxTrustAnchors+1)
	for i := range many {
		many[i] = records[anchor]
	}
	_, err := Load(Policy{}, nil, many)
	wantErr(t, err, ErrRecord)
}

// TestChanges applies what changes between snapshots to stored records and compares with all records.
func TestChanges(t *testing.T) {
	s := full(t)
	lessAnchor, err := s.WithoutTrustAnchor(fingerprintOf(t, s, "root-P-256.pem"))
	if err != nil {
		t.Fatal(err)
	}
	steps := []*Snapshot{
		New(Policy{}, nil), anchored(t, "root-P-256.pem"), p256(t), listing(t, p256(t), crlURL, file(t, "empty.crl")),
		listing(t, p256(t), crlURL, file(t, "revoked.crl")), s, s, s.WithoutCRL(crlURL), lessAnchor, New(Policy{}, nil),
	}
	stored := make(map[recordName]Record)
	for i := range steps[1:] {
		from, to := steps[i], steps[i+1]
		written, deleted := Changes(from, to)
		for _, r := range deleted {
			if r.Value != nil {
				t.Errorf("step %d: a deleted record has a value", i)
			}
			delete(stored, recordName{r.Table, r.ID})
		}
		for _, r := range written {
			stored[recordName{r.Table, r.ID}] = r
		}
		if from == to && len(written)+len(deleted) > 0 {
			t.Errorf("step %d: %d written, %d deleted, and nothing has changed", i, len(written), len(deleted))
		}
		want := to.Records()
		for _, r := range want {
			if !bytes.Equal(stored[recordName{r.Table, r.ID}].Value, r.Value) {
				t.Errorf("step %d: a record of table %d is not stored", i, r.Table)
			}
		}
		if len(stored) != len(want) {
			t.Errorf("step %d: %d records stored, want %d", i, len(stored), len(want))
		}
	}
	// One that only gained a list writes one record.
	if written, deleted := Changes(s.WithoutCRL(crlURL), s); len(written) != 1 || len(deleted) != 0 {
		t.Errorf("%d written, %d deleted", len(written), len(deleted))
	}
}

func fingerprintOf(t testing.TB, s *Snapshot, name string) Fingerprint {
	t.Helper()
	for _, a := range s.TrustAnchors() {
		if bytes.Equal(a.Certificate, file(t, name)) {
			return a.Fingerprint
		}
	}
	t.Fatalf("%s is no anchor", name)
	return Fingerprint{}
}
