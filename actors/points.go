package actors

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// Distribution points that turn up in certificates of others are written down in the
// batch that brings these in, so that who fetches lists need not look through all
// conversations. One stays when the last certificate that names it has gone.
//
// The certificates are those of anybody in a group, so the table is bounded, and when it
// is full a new point takes the place of the oldest: that one has been listed the longest,
// and is listed with its CRL if there was one to register.

const (
	// tablePoint is the table of noted distribution points, beside those of package pki.
	tablePoint pki.Table = 0x10
	// maxPoints bounds them for each client. Batches that are staged at the same time do
	// not see each other and may go beyond it together; the next makes up for it.
	maxPoints = 1024
	// maxStepPoints bounds the points that one step notes: a commit brings in the
	// certificates of a whole group, and is not to displace all that was noted before.
	maxStepPoints = 128
)

// notedPoint is a distribution point that is written down. Noting it again makes another
// one, so that the changes of different batches do not depend on their order.
type notedPoint struct {
	at    uint64 // which it is: the oldest has the least
	point string
}

func (n notedPoint) compare(m notedPoint) int {
	return cmp.Or(cmp.Compare(n.at, m.at), strings.Compare(n.point, m.point))
}

func (n notedPoint) marshal() []byte {
	w := newWriter(10 + len(n.point))
	w.uint64(n.at)
	w.bytes([]byte(n.point))
	return w.b
}

func (c *client) pointKey(n notedPoint) []byte {
	return c.pkiKey(pki.Record{Table: tablePoint, ID: sha256.Sum256(n.marshal())})
}

// pointChanges are what a batch, or all stages of a transaction, have noted and displaced.
type pointChanges struct {
	mu               sync.Mutex // guards both: the actors of one transaction share them
	noted, displaced []notedPoint
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

// stagePoints stages the writing down of points, and the forgetting of the oldest
// durable ones that they displace. A transaction that has displaced all notes no more.
func (c *conversation) stagePoints(st *stage, points []string) {
	if len(points) == 0 {
		return
	}
	staged := st.points
	switch {
	case st.tx != nil:
		staged = &st.tx.points
	case staged == nil:
		staged = new(pointChanges)
		st.points = staged
	}
	staged.mu.Lock()
	defer staged.mu.Unlock()
	var last uint64
	known := make(map[string]bool)
	count := 0
	see := func(n notedPoint) {
		known[n.point], last = true, max(last, n.at)
		count++
	}
	var old []notedPoint // durable and still there, the oldest first
	durable := c.client.notedPoints()
	for _, n := range durable {
		if !slices.Contains(staged.displaced, n) {
			old = append(old, n)
			see(n)
		}
	}
	for _, n := range staged.noted {
		if _, applied := slices.BinarySearchFunc(durable, n, notedPoint.compare); !applied {
			see(n)
		}
	}
	var noted, displaced []notedPoint
	for _, p := range points {
		if len(noted) == maxStepPoints {
			break
		}
		if known[p] {
			continue
		}
		for ; count >= maxPoints && len(old) > 0; count-- {
			st.changes.Delete(c.client.pointKey(old[0]))
			displaced = append(displaced, old[0])
			old = old[1:]
		}
		if count >= maxPoints {
			break
		}
		n := notedPoint{last + 1, p}
		st.changes.Put(c.client.pointKey(n), n.marshal())
		noted = append(noted, n)
		see(n)
	}
	if len(noted) == 0 && len(displaced) == 0 {
		return
	}
	staged.noted = append(staged.noted, noted...)
	staged.displaced = append(staged.displaced, displaced...)
	st.news = append(st.news, newsOfPoints(noted, displaced))
}

// notedPoints returns what is durable, the oldest first. It is not to be changed.
func (c *client) notedPoints() []notedPoint { return c.published.Load().points }

// newsOfPoints is what to publish of points that have been noted and displaced.
func newsOfPoints(noted, displaced []notedPoint) news {
	return func(p *published) {
		next := slices.DeleteFunc(slices.Clone(p.points), func(n notedPoint) bool { return slices.Contains(displaced, n) })
		for _, n := range noted {
			if i, found := slices.BinarySearchFunc(next, n, notedPoint.compare); !found {
				next = slices.Insert(next, i, n)
			}
		}
		p.points = next
	}
}

// newsOfChanges is what to publish of the points that changes note and displace.
func (c *client) newsOfChanges(changes *store.ChangeSet) (news, error) {
	table := c.keys.PKI(nil, []byte{byte(tablePoint)})
	var noted, displaced []notedPoint
	for op := range changes.All() {
		switch {
		case !bytes.HasPrefix(op.Key, table):
		case op.Kind == store.OpPut:
			n, err := parsePoint(op.Value)
			if err != nil {
				return nil, err
			}
			noted = append(noted, n)
		default:
			for _, n := range c.notedPoints() {
				if bytes.Equal(op.Key, c.pointKey(n)) {
					displaced = append(displaced, n)
				}
			}
		}
	}
	return newsOfPoints(noted, displaced), nil
}

func parsePoint(b []byte) (notedPoint, error) {
	r := readRecord(b)
	n := notedPoint{at: r.uint64(), point: string(r.bytes())}
	return n, r.end("distribution point")
}

// loadPoint makes a noted distribution point known.
func (c *client) loadPoint(rec store.Record) error {
	n, err := parsePoint(rec.Value)
	if err != nil {
		return err
	}
	c.publish(newsOfPoints([]notedPoint{n}, nil))
	return nil
}

// listPoints answers every distribution point that may have a list about somebody.
func (s *System) listPoints(at place, own []messages.CredentialEntry) messages.DistributionPointsListed {
	trusted := at.client.trust(at.tx)
	var found []string
	for _, n := range at.client.notedPoints() {
		found = append(found, n.point)
	}
	note := func(chain [][]byte) {
		points, _ := pki.DistributionPoints(chain) // what does not parse names none
		found = append(found, points...)
	}
	for _, l := range trusted.CRLs() {
		found = append(found, l.URL)
	}
	for _, a := range trusted.TrustAnchors() {
		note([][]byte{a.Certificate})
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
