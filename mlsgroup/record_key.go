package mlsgroup

import "encoding/binary"

// Keys of a group's records, as suffixes below the prefix of its conversation.
// Each begins with a byte that says what it is; numbers are big-endian, so that
// keys sort by them. Other records of a conversation (in-flight commits, early
// messages, the log of epochs) belong to others, who must not use these bytes.

type recordKind byte

const (
	recordHead       recordKind = 'h' // head
	recordNode       recordKind = 'n' // node/i
	recordUnmerged   recordKind = 'u' // unmerged/i
	recordPath       recordKind = 'p' // path/i
	recordSecret     recordKind = 's' // secret/epoch/firstLeaf
	recordRatchet    recordKind = 'r' // ratchet/epoch/leaf/kind
	recordSkip       recordKind = 'k' // skip/epoch/leaf/kind/first
	recordReserve    recordKind = 'v' // reserve/epoch
	recordPast       recordKind = 'a' // past/epoch
	recordResumption recordKind = 'm' // resumption/epoch
	recordProposal   recordKind = 'o' // proposal/ref
)

// HeadKey returns the key of the head record, from which LoadGroup starts.
func HeadKey() []byte { return []byte{byte(recordHead)} }

// ReserveKey returns the key of the record of own generations reserved in an
// epoch.
func ReserveKey(epoch uint64) []byte { return epochRecordKey(recordReserve, epoch) }

func nodeRecordKey(x NodeIndex) []byte     { return indexRecordKey(recordNode, uint32(x)) }
func unmergedRecordKey(x NodeIndex) []byte { return indexRecordKey(recordUnmerged, uint32(x)) }
func pathRecordKey(x NodeIndex) []byte     { return indexRecordKey(recordPath, uint32(x)) }

func indexRecordKey(k recordKind, i uint32) []byte {
	return appendUint32(append(make([]byte, 0, 5), byte(k)), i)
}

func epochRecordKey(k recordKind, epoch uint64) []byte {
	return appendUint64(append(make([]byte, 0, 18), byte(k)), epoch)
}

func coverRecordKey(epoch uint64, first LeafIndex) []byte {
	return appendUint32(epochRecordKey(recordSecret, epoch), uint32(first))
}

func ratchetRecordKey(epoch uint64, i LeafIndex, kind ratchetKind) []byte {
	return append(appendUint32(epochRecordKey(recordRatchet, epoch), uint32(i)), byte(kind))
}

// ratchetPart is the part that a record of a cover or of a ratchet is of.
func ratchetPart(epoch uint64, key []byte) Part {
	p := Part{kind: partRatchet, epoch: epoch}
	if len(key) >= 13 {
		p.leaf = LeafIndex(binary.BigEndian.Uint32(key[9:]))
	}
	if len(key) == 14 {
		p.ratchet = ratchetKind(key[13])
	}
	return p
}

func skipRecordKey(epoch uint64, i LeafIndex, kind ratchetKind, first uint32) []byte {
	b := append(appendUint32(epochRecordKey(recordSkip, epoch), uint32(i)), byte(kind))
	return appendUint32(b, first)
}

func proposalRecordKey(ref ProposalRef) []byte {
	return append([]byte{byte(recordProposal)}, ref...)
}

// recordPrefix is the range of all records of a kind.
func recordPrefix(k recordKind) RecordRange {
	return RecordRange{Low: []byte{byte(k)}, High: []byte{byte(k) + 1}}
}

// epochPrefix is the range of all records of a kind in an epoch.
func epochPrefix(k recordKind, epoch uint64) RecordRange {
	r := RecordRange{Low: epochRecordKey(k, epoch)}
	if epoch+1 == 0 {
		r.High = []byte{byte(k) + 1}
	} else {
		r.High = epochRecordKey(k, epoch+1)
	}
	return r
}

// oneRecord is the range of one key.
func oneRecord(key []byte) RecordRange {
	return RecordRange{Low: key, High: append(key[:len(key):len(key)], 0), Limit: 1}
}

// keyIndex reads the number after the kind in a key of indexRecordKey's form.
func keyIndex(key []byte, k recordKind) (uint32, bool) {
	if len(key) != 5 || key[0] != byte(k) {
		return 0, false
	}
	return binary.BigEndian.Uint32(key[1:]), true
}
