package mlsgroup

import (
	"bytes"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// LoadGroup makes a group from its head record alone: every other part is
// absent. The group keeps no part of the record. It fails with ErrRecord.
func LoadGroup(headRecord []byte) (*Group, error) {
	h, err := parseHead(headRecord)
	if err != nil {
		return nil, err
	}
	s, err := h.context.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	return &Group{
		s: s, head: h, secrets: coldSecretTree(h.leafCount),
		past:       make([]*pastEpoch, h.context.Epoch-h.oldestPast),
		resumption: make([]secret.Bytes, h.context.Epoch-h.oldestResumption),
	}, nil
}

// WithParts returns the group with parts from the store. What is in memory
// already stays as it is. It keeps no part of the records, and fails with
// ErrRecord if they cannot be what this package wrote.
func (g *Group) WithParts(loaded ...Loaded) (*Group, error) {
	next := *g
	next.past = slices.Clone(g.past)
	for i := range loaded {
		if err := next.load(&loaded[i]); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

// load adds one part to g, which is not shared yet.
func (g *Group) load(l *Loaded) error {
	p, h := l.Part, g.head
	switch p.kind {
	case partTree:
		if g.tree != nil {
			return nil
		}
		return g.loadTree(l.Records)
	case partLeaf:
		leaf := new(loadedLeaf)
		if len(l.Records) > 0 {
			var err error
			if leaf.leaf, err = parseLeafRecord(g.s, p.leaf, bytes.Clone(l.Records[0].Value)); err != nil {
				return err
			}
		}
		g.leaves = g.leaves.set(uint32(p.leaf), leaf)
		return nil
	case partPath:
		if g.path != nil {
			return nil
		}
		var keys pathKeys
		for _, r := range l.Records {
			x, ok := keyIndex(r.Key, recordPath)
			if !ok || len(r.Value) < 2 || r.Value[0] != pathRecordVersion {
				return recordError("path key")
			}
			keys = keys.with(NodeIndex(x), secret.Bytes(r.Value[1:]).Clone())
		}
		g.path = &keys
		return nil
	case partProposals:
		if g.proposals != nil {
			return nil
		}
		var err error
		g.proposals, err = loadProposals(l.Records)
		return err
	case partPast:
		if p.epoch < h.oldestPast || p.epoch >= h.context.Epoch || g.past[p.epoch-h.oldestPast] != nil {
			return nil
		}
		if len(l.Records) != 1 {
			return recordError("%v: not there", p)
		}
		var err error
		g.past[p.epoch-h.oldestPast], err = parsePastEpoch(l.Records[0].Value)
		return err
	case partResumption:
		if p.epoch < h.oldestResumption || p.epoch >= h.context.Epoch || g.resumption[p.epoch-h.oldestResumption] != nil {
			return nil
		}
		if len(l.Records) != 1 || len(l.Records[0].Value) < 2 || l.Records[0].Value[0] != resumptionRecordVersion {
			return recordError("%v: not there", p)
		}
		g.resumption = slices.Clone(g.resumption)
		g.resumption[p.epoch-h.oldestResumption] = secret.Bytes(l.Records[0].Value[1:]).Clone()
		return nil
	case partRatchet, partSkip:
		return g.loadSecret(l)
	default:
		return recordError("%v", p)
	}
}

func (g *Group) loadSecret(l *Loaded) error {
	epoch := l.Part.epoch
	if epoch == g.head.context.Epoch {
		var err error
		g.secrets, err = g.secrets.withPart(g.s, l)
		return err
	}
	if epoch < g.head.oldestPast || epoch > g.head.context.Epoch {
		return nil
	}
	at := epoch - g.head.oldestPast
	if g.past[at] == nil {
		return recordError("%v without the epoch itself", l.Part)
	}
	p := *g.past[at]
	var err error
	p.secrets, err = p.secrets.withPart(g.s, l)
	g.past[at] = &p
	return err
}

func (g *Group) loadTree(records []Record) error {
	size := 0
	for _, r := range records {
		size += len(r.Value)
	}
	// The values lie together in pieces, as leaves and nodes do.
	const piece = 16 << 10
	var space []byte
	nodes := make([]nodeRecord, 0, len(records))
	var unmerged []nodeRecord
	for _, r := range records {
		n := len(r.Value)
		if n > len(space) {
			space = make([]byte, max(n, min(piece, size)))
		}
		value := space[:n:n]
		copy(value, r.Value)
		space, size = space[n:], size-n
		if x, ok := keyIndex(r.Key, recordNode); ok {
			nodes = append(nodes, nodeRecord{NodeIndex(x), value})
		} else if x, ok := keyIndex(r.Key, recordUnmerged); ok {
			unmerged = append(unmerged, nodeRecord{NodeIndex(x), value})
		} else {
			return recordError("tree node under another key")
		}
	}
	t, err := loadTree(g.s, g.head.leafCount, nodes, unmerged)
	if err != nil {
		return err
	}
	if !bytes.Equal(t.rootHash(), g.head.context.TreeHash) {
		return recordError("tree of another epoch")
	}
	g.tree, g.leaves = t, vec[loadedLeaf]{}
	return nil
}

// First bytes of records that hold nothing but a key.
const (
	pathRecordVersion       = 1
	resumptionRecordVersion = 1
)

func keyRecord(version byte, key secret.Bytes) secret.Bytes {
	return append(append(make(secret.Bytes, 0, 1+len(key)), version), key...)
}
