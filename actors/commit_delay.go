package actors

import (
	"math"
	"time"

	"github.com/conclave-mls/conclave/mlsgroup"
)

// commitDelay says how long this member should wait before it commits what is
// pending, so that the members do not all do it at once. Peers compute the same from
// the same group, each for itself.
func (c *conversation) commitDelay(st *stage) (delay time.Duration, has bool, err error) {
	pending, err := c.pending(st)
	if err != nil || len(pending) == 0 {
		return 0, false, err
	}
	removed := make(map[mlsgroup.LeafIndex]bool)
	for _, p := range pending {
		if p.Proposal.Type == mlsgroup.ProposalTypeRemove {
			removed[p.Proposal.Remove.Removed] = true
		}
	}
	own := st.state.group.OwnLeaf()
	if removed[own] {
		return 0, false, nil // a member does not commit its own removal
	}
	// The members counted are the first ones of the list, as many as the own leaf
	// index: with blank leaves that is not those before the own leaf. Peers count so.
	left := uint64(0)
	if len(removed) > 0 {
		err = c.try(st, func(g *mlsgroup.Group) error {
			members, err := g.Members()
			if err != nil {
				return err
			}
			left = 0
			n := uint64(0)
			for i := range members {
				if n >= uint64(own) {
					break
				}
				if removed[i] {
					left++
				}
				n++
			}
			return nil
		})
		if err != nil {
			return 0, false, err
		}
	}
	members := uint64(st.state.group.MemberCount())
	seconds := delaySeconds(st.state.group.Epoch(), members-min(members, uint64(len(removed))), uint64(own)-min(uint64(own), left))
	return time.Duration(seconds) * time.Second, true, nil
}

// delaySeconds is the delay of the member at position own among n, in an epoch.
func delaySeconds(epoch, n, own uint64) uint64 {
	position := uint64(1)
	if n > 0 {
		position = (epoch%n+own%n)%n + 1
	}
	if position <= 3 {
		return (position - 1) * 15
	}
	// In single precision, like the peers.
	seconds := math.Floor(float64(float32(math.Log(float64(float32(position)))) * 120))
	return uint64(max(0, seconds-106))
}
