package mlsgroup

import (
	"bytes"
	"testing"
)

// TestSameInputSameBytes runs the same steps with the same input twice, in every suite: what members send and what they store is the same, byte for byte.
func TestSameInputSameBytes(t *testing.T) {
	last := CipherSuite(7)
	if testing.Short() {
		last = 3 // the larger curves are slow
	}
	for cs := CipherSuite(1); cs <= last; cs++ {
		for _, p := range []Profile{ProfileRFC, ProfileWire} {
			if p == ProfileWire && cs > 1 {
				continue // the profile decides formats, not keys
			}
			var worlds [2]*world
			for i := range worlds {
				w := newWorld(t, cs, p, uint64(cs))
				for step := range 5 {
					w.randomStep(step)
				}
				worlds[i] = w
			}
			a, b := worlds[0], worlds[1]
			if len(a.members) < 3 || len(a.members) != len(b.members) || !bytes.Equal(a.groupInfo, b.groupInfo) {
				t.Fatalf("suite %d: groups of %d and %d members, or their GroupInfos differ", cs, len(a.members), len(b.members))
			}
			for i, m := range a.members {
				if !m.store.equal(b.members[i].store) {
					t.Errorf("suite %d: the records of %s differ", cs, m.name)
				}
				if !bytes.Equal(a.encrypt(m, "text"), b.encrypt(b.members[i], "text")) {
					t.Errorf("suite %d: the messages of %s differ", cs, m.name)
				}
			}
		}
	}
}
