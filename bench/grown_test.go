package bench

import (
	"errors"
	"testing"

	"github.com/conclave-mls/conclave"
)

// A grown tree has got its members by add-only commits, one each, which have no
// path. Whenever it was full, the first member of the new half replaced its keys
// once. So its parents list many unmerged leaves, to each of which a path is sealed
// by itself, where those of a fresh tree are blank.

// grownTrees hold all members but the client that is measured. They are shared by
// the steps of a run, each of which has the client join anew.
var grownTrees = map[baseKey]*peer{}

// grown returns the founder of a grown group of members-1.
func (s *stage) grown(b *testing.B, members int) *peer {
	b.Helper()
	k := baseKey{s.dialect, members}
	if grownTrees[k] == nil {
		p, err := s.grow(members - 1)
		if err != nil {
			b.Fatal(err)
		}
		grownTrees[k] = p
	}
	return grownTrees[k]
}

func (s *stage) grow(members int) (*peer, error) {
	founder, err := newIdentity(s.dialect, "founder")
	if err != nil {
		return nil, err
	}
	silent, err := leafPackages(s.dialect, members)
	if err != nil {
		return nil, err
	}
	p, err := founder.found(s.newID())
	if err != nil {
		return nil, err
	}
	for n := 1; n < members; n++ {
		full := n&(n-1) == 0
		if !full {
			if p, _, err = p.commit(false, addProposals(silent[n])...); err != nil {
				return nil, err
			}
			continue
		}
		newcomer, err := newIdentity(s.dialect, "newcomer "+string(s.newID()))
		if err != nil {
			return nil, err
		}
		kp, err := newcomer.keyPackage()
		if err != nil {
			return nil, err
		}
		next, added, err := p.commit(false, addProposals(kp.KeyPackage)...)
		if err != nil {
			return nil, err
		}
		first, err := newcomer.join(added.Welcome, kp)
		if err != nil {
			return nil, err
		}
		_, update, err := first.commit(true)
		if err != nil {
			return nil, err
		}
		if _, err := next.process(update.Commit); err != nil {
			return nil, err
		}
		p = next
	}
	return p, nil
}

// invited adds the client to a grown group. The founder it returns has moved on.
func (s *stage) invited(b *testing.B, members int) (p *peer, welcome []byte) {
	b.Helper()
	p, added, err := s.grown(b, members).commit(false, addProposals(s.ticket(b))...)
	if err != nil {
		b.Fatal(err)
	}
	return p, added.Welcome
}

// joinedGrown has the client join a grown group.
func (s *stage) joinedGrown(b *testing.B, members int) *peer {
	b.Helper()
	p, welcome := s.invited(b, members)
	if _, err := s.client.ProcessWelcome(b.Context(), welcome, conclave.JoinOptions{}); err != nil {
		b.Fatal(err)
	}
	return p
}

// grownCells is of one size: a small grown tree shows nothing.
func grownCells(cold bool) []cell {
	cells := []cell{{suite: 1, members: 1000, store: durable, grown: true}}
	if cold {
		cells = append(cells, cell{suite: 1, members: 1000, store: durable, grown: true, cold: true})
	}
	return cells
}

// updateGrown times updates of the client's own keys, as the youngest member of a
// grown group.
func updateGrown(b *testing.B, s *stage, c cell) {
	b.Helper()
	steps(b, s, nil, func() *peer { return s.joinedGrown(b, c.members) }, func(p *peer) error {
		_, err := s.client.UpdateKeyMaterial(b.Context(), conclave.ConversationID(p.group.GroupID()))
		return err
	}, func(p *peer) {
		if _, err := p.process(s.sent.bundle().Commit); err != nil {
			b.Fatal(err)
		}
		s.agree(b, p)
		s.wipe(b, p)
	})
}

// TestGrownTree looks whether a grown tree is what it is measured for.
func TestGrownTree(t *testing.T) {
	const members = 12
	s := &stage{dialect: dialect{suite: 1}}
	p, err := s.grow(members)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.group.Epoch(); n != members-1+4 {
		t.Errorf("epoch %d, want one for each of %d additions and 4 updates", n, members-1)
	}
	_, update, err := p.commit(true)
	if err == nil && len(update.Commit) == 0 {
		err = errors.New("no commit")
	}
	if err != nil {
		t.Error(err)
	}
}
