package mlsgroup

import (
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// How one epoch takes the place of another, in memory and in records. A commit
// of somebody else does both halves at once. An own one makes the new epoch
// first and ends the old one when the commit is accepted, from what the old
// epoch has become by then.

// newEpoch makes a group of its first epoch and all its records. h has
// everything but what follows from the other arguments. It takes over the keys
// and secrets.
func newEpoch(s *primitive.Suite, h *head, tree *RatchetTree, keys pathKeys, es *epochSecrets) (*Group, []Change) {
	h.oldestPast, h.oldestResumption = h.context.Epoch, h.context.Epoch
	g, changes := beginEpoch(s, h, tree, keys, es)
	return g, append(changes, epochRecords(new(RatchetTree), tree, pathKeys{}, keys)...)
}

// beginEpoch makes the group of an epoch, with no past, and the records that
// only depend on it: the head and the root of the secret tree.
func beginEpoch(s *primitive.Suite, h *head, tree *RatchetTree, keys pathKeys, es *epochSecrets) (*Group, []Change) {
	h.leafCount, h.members = tree.LeafCount(), uint32(tree.MemberCount())
	st, root := newSecretTree(es.encryption, tree.LeafCount())
	es.encryption = nil
	h.secrets = es
	g := &Group{
		s: s, head: h, tree: tree, path: &keys, secrets: st, proposals: new(proposalCache),
		past:       make([]*pastEpoch, h.context.Epoch-h.oldestPast),
		resumption: make([]secret.Bytes, h.context.Epoch-h.oldestResumption),
	}
	changes := []Change{{Op: Put, Key: HeadKey(), Value: h.record()}}
	return g, append(changes, secretChanges(h.context.Epoch, []secretChange{root})...)
}

// epochRecords returns the changes of tree and path records from one epoch to
// the next.
func epochRecords(oldTree, tree *RatchetTree, oldKeys, keys pathKeys) []Change {
	nodes, unmerged := tree.changedRecords(oldTree)
	put, gone, _ := keys.changed(oldKeys)
	changes := make([]Change, 0, len(nodes)+len(unmerged)+len(put)+len(gone))
	add := func(key []byte, value []byte) {
		if value == nil {
			changes = append(changes, Change{Op: Delete, Key: key})
		} else {
			changes = append(changes, Change{Op: Put, Key: key, Value: value})
		}
	}
	for _, n := range nodes {
		add(nodeRecordKey(n.Node), n.Value)
	}
	for _, n := range unmerged {
		add(unmergedRecordKey(n.Node), n.Value)
	}
	for _, k := range put {
		add(pathRecordKey(k.node), keyRecord(pathRecordVersion, k.private))
	}
	for _, x := range gone {
		add(pathRecordKey(x), nil)
	}
	return changes
}

// nextHead is the head of the epoch after h, but for what a commit brings: the
// windows have moved on.
func (h *head) next() *head {
	n := *h
	n.reInit = nil
	epoch := h.context.Epoch + 1
	oldest := func(was, keep uint64) uint64 {
		if epoch > keep {
			return max(was, epoch-keep)
		}
		return was
	}
	n.oldestPast = oldest(h.oldestPast, uint64(h.receive.PastEpochs))
	n.oldestResumption = oldest(h.oldestResumption, h.profile.rules().resumptionEpochs)
	return &n
}

// endEpoch moves g's epoch to the past of next, the group of the epoch after
// it. past is g's past form, whose message keys are those of g now. It returns
// next with its past, the changes, and what may be wiped.
func (g *Group) endEpoch(next *Group, past *pastEpoch) (*Group, []Change, []secret.Bytes) {
	h, n := g.head, *next
	n.signers = g.signers
	epoch := h.context.Epoch
	var changes []Change
	var consumed []secret.Bytes
	// Records that are known one by one are deleted so: a store has to look at each
	// deleted range whenever it reads.
	drop := func(key []byte) { changes = append(changes, Change{Op: Delete, Key: key}) }
	dropRange := func(r RecordRange) { changes = append(changes, Change{Op: DeleteRange, Key: r.Low, High: r.High}) }

	if n.head.oldestPast <= epoch {
		p := *past
		p.secrets = g.secrets
		n.past = append(slices.Clone(g.past[min(n.head.oldestPast-h.oldestPast, uint64(len(g.past))):]), &p)
		changes = append(changes, Change{Op: Put, Key: epochRecordKey(recordPast, epoch), Value: past.record()})
	}
	for e := h.oldestPast; e < n.head.oldestPast; e++ {
		drop(epochRecordKey(recordPast, e))
		for _, k := range []recordKind{recordSecret, recordRatchet, recordSkip} {
			dropRange(epochPrefix(k, e))
		}
		if p := g.past[e-h.oldestPast]; p != nil {
			consumed = p.secrets.material(append(consumed, p.senderData))
		}
	}
	if n.head.oldestResumption <= epoch {
		n.resumption = append(slices.Clone(g.resumption[min(n.head.oldestResumption-h.oldestResumption, uint64(len(g.resumption))):]), h.secrets.resumption)
		changes = append(changes, Change{Op: Put, Key: epochRecordKey(recordResumption, epoch), Value: keyRecord(resumptionRecordVersion, h.secrets.resumption)})
	}
	for e := h.oldestResumption; e < n.head.oldestResumption && e < epoch; e++ {
		drop(epochRecordKey(recordResumption, e))
		if psk := g.resumption[e-h.oldestResumption]; psk != nil {
			consumed = append(consumed, psk)
		}
	}
	drop(ReserveKey(epoch))
	if g.proposals == nil {
		dropRange(recordPrefix(recordProposal))
	} else {
		for _, p := range g.proposals.list {
			drop(proposalRecordKey(p.ref))
		}
	}

	es := h.secrets
	consumed = append(consumed, es.exporter, es.external, es.confirmation, es.membership, es.authenticator, es.init)
	if g.path != nil && n.path != nil {
		_, _, outdated := n.path.changed(*g.path)
		consumed = append(consumed, outdated...)
	}
	if g.proposals != nil {
		for _, p := range g.proposals.list {
			if p.leafPrivate != nil && (n.path == nil || !p.leafPrivate.Equal(n.path.get(h.own.Node()))) {
				consumed = append(consumed, p.leafPrivate)
			}
		}
	}
	return &n, changes, consumed
}
