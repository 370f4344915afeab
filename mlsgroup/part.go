package mlsgroup

import (
	"fmt"
	"strings"

	"github.com/conclave-mls/conclave/internal/secret"
)

// A group is made of parts, each of which may be absent from memory. A step
// that lacks some answers with a *Need; the caller reads their ranges from
// wherever it keeps the records, hands what it found to WithParts and takes the
// step again.

// partKind says what a Part is.
type partKind uint8

const (
	partTree partKind = iota + 1
	partLeaf
	partPath
	partRatchet
	partSkip
	partPast
	partResumption
	partProposals
)

// Part names one part of a group. Parts are compared with ==.
type Part struct {
	kind    partKind
	epoch   uint64
	leaf    LeafIndex
	ratchet ratchetKind
	first   uint32
}

// String names the part for logs.
func (p Part) String() string {
	switch p.kind {
	case partTree:
		return "tree"
	case partLeaf:
		return fmt.Sprintf("leaf %d", p.leaf)
	case partPath:
		return "path keys"
	case partRatchet:
		return fmt.Sprintf("%v ratchet of leaf %d in epoch %d", p.ratchet, p.leaf, p.epoch)
	case partSkip:
		return fmt.Sprintf("skipped %v keys of leaf %d in epoch %d", p.ratchet, p.leaf, p.epoch)
	case partPast:
		return fmt.Sprintf("past epoch %d", p.epoch)
	case partResumption:
		return fmt.Sprintf("resumption PSK of epoch %d", p.epoch)
	case partProposals:
		return "proposals"
	default:
		return "no part"
	}
}

// RecordRange is one bounded read: the records with Low <= key < High, the
// first Limit of them, from the low end or, if Reverse, from the high end. Keys
// are suffixes below the conversation's own prefix. A Limit of 0 is no limit.
type RecordRange struct {
	Low, High []byte
	Limit     int
	Reverse   bool
}

// Ranges returns what has to be read for the part.
func (p Part) Ranges() []RecordRange {
	switch p.kind {
	case partTree:
		return []RecordRange{recordPrefix(recordNode), recordPrefix(recordUnmerged)}
	case partLeaf:
		return []RecordRange{oneRecord(nodeRecordKey(p.leaf.Node()))}
	case partPath:
		return []RecordRange{recordPrefix(recordPath)}
	case partRatchet:
		// The ratchet, or else the cover with the largest first leaf up to the
		// leaf.
		return []RecordRange{
			oneRecord(ratchetRecordKey(p.epoch, p.leaf, p.ratchet)),
			{
				Low:   coverRecordKey(p.epoch, 0),
				High:  append(coverRecordKey(p.epoch, p.leaf), 0),
				Limit: 1, Reverse: true,
			},
		}
	case partSkip:
		return []RecordRange{oneRecord(skipRecordKey(p.epoch, p.leaf, p.ratchet, p.first))}
	case partPast:
		return []RecordRange{oneRecord(epochRecordKey(recordPast, p.epoch))}
	case partResumption:
		return []RecordRange{oneRecord(epochRecordKey(recordResumption, p.epoch))}
	case partProposals:
		return []RecordRange{recordPrefix(recordProposal)}
	default:
		return nil
	}
}

// Alternatives tells that one of the ranges holds the part: the first that is not
// empty. Those after it need not be read.
func (p Part) Alternatives() bool { return p.kind == partRatchet }

// Need says which parts a step lacks. The group has not changed.
type Need struct{ Parts []Part }

// Error names the parts.
func (n *Need) Error() string {
	var b strings.Builder
	b.WriteString("mlsgroup: not loaded:")
	for i, p := range n.Parts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		b.WriteString(p.String())
	}
	return b.String()
}

// Record is one stored record of a group.
type Record struct {
	Key   []byte
	Value secret.Bytes
}

// Loaded is a part with all the records that were found in its ranges. None at
// all means that the store has none.
type Loaded struct {
	Part    Part
	Records []Record
}
