package actors

import (
	"crypto/sha256"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// Distribution points that turn up in certificates of others are written down in the
// batch that brings these in, so that who fetches lists need not look through all
// conversations. One stays when the last certificate that names it has gone.

const (
	// tablePoint is the table of noted distribution points, beside those of package pki.
	tablePoint pki.Table = 0x10
	// maxPoints bounds them for each client.
	maxPoints = 1024
)

func (c *client) pointKey(point string) []byte {
	return c.pkiKey(pki.Record{Table: tablePoint, ID: sha256.Sum256([]byte(point))})
}

// newPoints returns the distribution points in certificates of credentials for which
// no list is registered: nil where they name none at all.
func newPoints(s *pki.Snapshot, credentials []mlsgroup.Credential) []string {
	var chains [][][]byte
	for i := range credentials {
		if credentials[i].Type == mlsgroup.CredentialTypeX509 {
			chains = append(chains, credentials[i].Certificates)
		}
	}
	if chains == nil {
		return nil
	}
	return s.NewDistributionPoints(chains...)
}

// notePoints is newPoints of credentials that a step brings in. It stages the writing
// down of those that are not noted yet.
func (c *conversation) notePoints(st *stage, credentials []mlsgroup.Credential) []string {
	points := newPoints(c.client.trust(st.tx), credentials)
	c.stagePoints(st, points)
	return points
}

func (c *conversation) stagePoints(st *stage, points []string) {
	known := c.client.notedPoints()
	for _, p := range points {
		if _, found := slices.BinarySearch(known, p); found || len(known) >= maxPoints {
			continue
		}
		w := newWriter(len(p))
		w.bytes([]byte(p))
		st.changes.Put(c.client.pointKey(p), w.b)
		st.after = append(st.after, func() { c.client.addPoint(p) })
	}
}

// notedPoints returns what is durable, in order. It is not to be changed.
func (c *client) notedPoints() []string {
	if p := c.points.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *client) addPoint(point string) {
	for {
		old := c.points.Load()
		var next []string
		if old != nil {
			next = slices.Clone(*old)
		}
		i, found := slices.BinarySearch(next, point)
		if found {
			return
		}
		next = slices.Insert(next, i, point)
		if c.points.CompareAndSwap(old, &next) {
			return
		}
	}
}

// loadPoint reads a noted distribution point.
func (c *client) loadPoint(rec store.Record) error {
	r := readRecord(rec.Value)
	point := string(r.bytes())
	if err := r.end("distribution point"); err != nil {
		return err
	}
	c.addPoint(point)
	return nil
}

// listPoints answers every distribution point that may have a list about somebody.
func (s *System) listPoints(at place, own []messages.CredentialEntry) messages.DistributionPointsListed {
	trusted := at.client.trust(at.tx)
	found := slices.Clone(at.client.notedPoints())
	note := func(chain [][]byte) {
		points, _ := pki.DistributionPoints(chain) // what does not parse names none
		found = append(found, points...)
	}
	for _, l := range trusted.CRLs() {
		found = append(found, l.URL)
	}
	for _, a := range trusted.TrustAnchors() {
		note([][]byte{a.DER})
	}
	for _, der := range trusted.Intermediates() {
		note([][]byte{der})
	}
	for _, c := range own {
		if len(c.Credential.Certificates) > 0 {
			note(c.Credential.Certificates)
		}
	}
	slices.Sort(found)
	return messages.DistributionPointsListed{DistributionPoints: slices.Compact(found)}
}
