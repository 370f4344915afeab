package pki

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Table is which of a snapshot's three tables a record is of.
type Table uint8

// The tables of a snapshot.
const (
	TableTrustAnchor  Table = 1
	TableIntermediate Table = 2
	TableCRL          Table = 3
)

// Record is one trust anchor, intermediate or revocation list as it is stored.
type Record struct {
	Table Table
	// ID is the record's name within its table: a hash. A trust anchor's is its fingerprint.
	ID [sha256.Size]byte
	// Value is a version and what the table holds: a certificate in DER; or a list's signer, distribution point and DER.
	Value []byte
}

// recordVersion begins each value.
const recordVersion = 1

// Records returns everything a snapshot holds, ordered by table and id. [Load] makes the same snapshot of it, in any order.
func (s *Snapshot) Records() []Record {
	records := make([]Record, 0, len(s.anchors)+len(s.intermediates)+len(s.crls))
	for _, a := range s.anchors {
		records = append(records, a.record())
	}
	for _, a := range s.intermediates {
		records = append(records, a.record())
	}
	for _, l := range s.crls {
		records = append(records, l.record())
	}
	return records
}

// Changes returns what has to be written and what deleted to make the stored records of one snapshot those of another. Deleted records have no value.
func Changes(from, to *Snapshot) (written, deleted []Record) {
	before := make(map[recordName]recorded)
	from.each(func(n recordName, r recorded) { before[n] = r })
	to.each(func(n recordName, r recorded) {
		if old, ok := before[n]; !ok || old != r {
			written = append(written, r.record())
		}
		delete(before, n)
	})
	for n := range before {
		deleted = append(deleted, Record{Table: n.table, ID: n.id})
	}
	slices.SortFunc(deleted, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return written, deleted
}

// recordName is where a record is stored.
type recordName struct {
	table Table
	id    [sha256.Size]byte
}

// recorded is what is stored in a record. Snapshots share what they have in common, so that it compares with ==.
type recorded interface{ record() Record }

// each calls f for everything a snapshot holds, in order.
func (s *Snapshot) each(f func(recordName, recorded)) {
	for _, a := range s.anchors {
		f(recordName{TableTrustAnchor, a.key}, a)
	}
	for _, a := range s.intermediates {
		f(recordName{TableIntermediate, a.id}, a)
	}
	for _, l := range s.crls {
		f(recordName{TableCRL, l.id}, l)
	}
}

func (a *authority) record() Record {
	r := Record{TableIntermediate, a.id, append([]byte{recordVersion}, a.cert.Raw...)}
	if a.anchor {
		r.Table, r.ID = TableTrustAnchor, a.key
	}
	return r
}

func (l *crl) record() Record {
	return Record{TableCRL, l.id, l.append([]byte{recordVersion})}
}

// Load makes a snapshot of stored records. Signatures are verified again, periods of validity are not looked at: what is stored may have expired.
func Load(policy Policy, memory *Memory, records []Record) (*Snapshot, error) {
	s := &Snapshot{policy: policy, memory: memory}
	var lists []Record
	for _, r := range records {
		if len(r.Value) == 0 || r.Value[0] != recordVersion {
			return nil, fmt.Errorf("%w: version", ErrRecord)
		}
		var a *authority
		var err error
		switch r.Table {
		case TableTrustAnchor:
			if a, err = newAnchor(r.Value[1:]); err == nil {
				s.anchors = append(s.anchors, a)
			}
		case TableIntermediate:
			if a, err = newAuthority(r.Value[1:]); err == nil {
				s.intermediates = append(s.intermediates, a)
			}
		case TableCRL:
			lists = append(lists, r)
			continue
		default:
			err = fmt.Errorf("table %d", r.Table)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrRecord, err)
		}
		if a.record().ID != r.ID {
			return nil, fmt.Errorf("%w: certificate under the name of another", ErrRecord)
		}
	}
	slices.SortFunc(s.anchors, func(a, b *authority) int { return bytes.Compare(a.key[:], b.key[:]) })
	slices.SortFunc(s.intermediates, compareAuthorities)
	for _, r := range lists {
		l, err := s.loadCRL(r)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrRecord, err)
		}
		s.crls = append(s.crls, l)
	}
	slices.SortFunc(s.crls, func(a, b *crl) int { return bytes.Compare(a.id[:], b.id[:]) })
	s.index()
	if len(s.anchors) > MaxTrustAnchors || len(s.intermediates) > MaxIntermediates || len(s.crls) > MaxCRLs {
		return nil, fmt.Errorf("%w: too many", ErrRecord)
	}
	names := make(map[recordName]bool)
	s.each(func(n recordName, _ recorded) { names[n] = true })
	if len(names) != len(records) {
		return nil, fmt.Errorf("%w: twice", ErrRecord)
	}
	return s, nil
}

// loadCRL reads a list that was accepted once, and verifies it with the key that it was accepted with.
func (s *Snapshot) loadCRL(r Record) (*crl, error) {
	b := r.Value[1:]
	if len(b) < sha256.Size+2 {
		return nil, errors.New("short")
	}
	signer := Fingerprint(b[:sha256.Size])
	n := int(binary.BigEndian.Uint16(b[sha256.Size:]))
	b = b[sha256.Size+2:]
	if len(b) < n {
		return nil, errors.New("short")
	}
	signers := slices.DeleteFunc(s.authorities(), func(a *authority) bool { return a.key != signer })
	l, err := acceptCRL(string(b[:n]), b[n:], signers)
	if err != nil {
		return nil, err
	}
	if l.id != r.ID {
		return nil, errors.New("list under the name of another")
	}
	return l, nil
}
