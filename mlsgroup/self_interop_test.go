package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// randomStep does one random thing to the group.
func (w *world) randomStep(step int) string {
	c := w.any()
	others := w.others(c)
	remove := func(x *client) *Proposal {
		return &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: x.g.OwnLeaf()}}
	}
	kind := w.rand.IntN(16)
	if len(w.members) < 3 {
		kind = 0
	}
	if len(w.members) > 12 && kind < 3 {
		kind = 4
	}
	switch kind {
	case 0, 1:
		w.add(c, 1+w.rand.IntN(4), CommitOptions{})
		return "add"
	case 2:
		j := w.newClient()
		b := j.keyPackage(w.profile)
		w.propose(c, ProposalOptions{Proposal: &Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: b.KeyPackage}}})
		w.accept(others[0], w.commitOf(others[0], CommitOptions{}), map[*client]*KeyPackageBundle{j: b})
		return "add by reference"
	case 3:
		j := w.newClient()
		b := j.keyPackage(w.profile)
		m, err := NewMemberProposal(j.in(), c.g.GroupID(), c.g.Epoch(), b.KeyPackage)
		w.must(err)
		w.deliver(nil, m)
		w.accept(c, w.commitOf(c, CommitOptions{}), map[*client]*KeyPackageBundle{j: b})
		return "add proposed by the new member"
	case 4:
		o := CommitOptions{Proposals: []Proposal{*remove(others[0])}}
		if len(others) > 3 {
			o.Proposals = append(o.Proposals, *remove(others[1]))
		}
		w.commit(c, o)
		return "remove"
	case 5:
		w.propose(others[0], ProposalOptions{Proposal: remove(others[1])})
		w.propose(others[1], ProposalOptions{Update: &LeafChange{}})
		w.commit(c, CommitOptions{})
		return "remove by reference, with an update of the same leaf"
	case 6:
		m, err := NewExternalProposal(Input{Signer: w.server}, ExternalProposalOptions{
			CipherSuite: w.cs, GroupID: c.g.GroupID(), Epoch: c.g.Epoch(), Proposal: remove(others[0])})
		w.must(err)
		w.deliver(nil, m)
		w.commit(c, CommitOptions{})
		return "remove proposed by the server"
	case 7, 8:
		w.propose(others[0], ProposalOptions{Update: &LeafChange{}})
		w.propose(others[0], ProposalOptions{Update: &LeafChange{}})
		w.propose(others[1], ProposalOptions{Update: &LeafChange{}})
		w.propose(c, ProposalOptions{Update: &LeafChange{}})
		e := w.commit(c, CommitOptions{})
		if len(e.Updated) != 3 || len(e.Dropped) != 2 {
			w.t.Fatalf("%d updated, %d dropped", len(e.Updated), len(e.Dropped))
		}
		return "update"
	case 9:
		w.commit(c, CommitOptions{})
		return "empty commit"
	case 10:
		w.commit(c, CommitOptions{}) // for a fresh GroupInfo
		w.externalJoin(w.newClient(), ExternalJoinOptions{})
		return "external join"
	case 11:
		w.commit(c, CommitOptions{})
		if w.rand.IntN(2) == 0 {
			i := others[0].g.OwnLeaf()
			signer, err := NewSigner(others[0].rand, w.cs, others[0].signer.Credential)
			w.must(err)
			others[0].signer = signer
			w.externalJoin(others[0], ExternalJoinOptions{Remove: &i})
			return "resync with a new key"
		}
		w.externalJoin(others[0], ExternalJoinOptions{})
		return "resync"
	case 12:
		name := fmt.Sprintf("psk %d", step)
		for _, m := range w.members {
			m.psks[name] = secret.Bytes("key of " + name)
		}
		psk := &Proposal{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: PreSharedKeyID{Type: PSKTypeExternal, ExternalID: []byte(name)}}}
		w.propose(others[0], ProposalOptions{Proposal: psk})
		w.commit(c, CommitOptions{Proposals: []Proposal{{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: PreSharedKeyID{
			Type: PSKTypeResumption, Usage: ResumptionPSKUsageApplication, GroupID: c.g.GroupID(), Epoch: c.g.Epoch()}}}}})
		return "PSKs"
	case 13:
		signer, err := NewSigner(c.rand, w.cs, c.signer.Credential)
		w.must(err)
		own := w.commitOf(c, CommitOptions{Leaf: &LeafChange{Signer: signer}})
		c.signer = signer
		w.accept(c, own, nil)
		return "new signature key"
	case 14:
		es := append(Extensions(nil), c.g.GroupContext().Extensions...)
		rc := RequiredCapabilities{Credentials: []CredentialType{CredentialTypeBasic}}
		if _, has := es.find(ExtensionTypeRequiredCapabilities); !has {
			es = append(es, rc.Extension())
		} else {
			es = es[len(es)-1:]
			if _, has := es.find(ExtensionTypeExternalSenders); !has {
				es = w.options.Extensions
			}
		}
		w.propose(others[0], ProposalOptions{Proposal: &Proposal{Type: ProposalTypeGroupContextExtensions, GroupContextExtensions: &GroupContextExtensions{es}}})
		w.commit(c, CommitOptions{})
		return "group context extensions"
	default:
		// Late and reordered messages, over an epoch change.
		late := w.encrypt(others[0], "late")
		one, two, three := w.encrypt(c, "1"), w.encrypt(c, "2"), w.encrypt(c, "3")
		for _, m := range []struct {
			b    []byte
			text string
		}{{three, "3"}, {one, "1"}, {two, "2"}} {
			for _, r := range w.deliver(c, m.b) {
				if string(r.Application) != m.text {
					w.t.Fatalf("got %q, want %q", r.Application, m.text)
				}
			}
		}
		w.commit(c, CommitOptions{})
		for _, r := range w.deliver(others[0], late) {
			if string(r.Application) != "late" {
				w.t.Fatalf("got %q", r.Application)
			}
		}
		for _, m := range w.others(c, others[0]) {
			if _, err := m.process(m.in(), late); !errors.Is(err, ErrDuplicate) {
				w.t.Fatalf("a replay of a late message: %v", err)
			}
		}
		return "late messages"
	}
}

// TestSelfInterop lets members do random things and holds all of them against
// each other. Half of them know nothing but their records between two steps.
func TestSelfInterop(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		for cs := CipherSuite(1); cs <= 7; cs++ {
			if p == ProfileWire && (cs == CipherSuiteX448AES256Ed448 || cs == CipherSuiteX448ChaChaEd448) {
				continue // Wire's clients have no such suites
			}
			if cs > 3 && testing.Short() {
				continue // the larger curves are slow
			}
			steps := 40
			if cs > 3 {
				steps = 6
			}
			t.Run(fmt.Sprintf("%v/%d", p, cs), func(t *testing.T) {
				w := newWorld(t, cs, p, uint64(cs)+10*uint64(p))
				for step := range steps {
					did := w.randomStep(step)
					w.say(w.any(), did)
					if t.Failed() {
						t.Fatalf("after step %d, %s", step, did)
					}
				}
				w.joinersSeeTheTree()
			})
		}
	}
}

// joinersSeeTheTree lets one more client validate the whole tree.
func (w *world) joinersSeeTheTree() {
	w.t.Helper()
	c := w.any()
	j := w.add(c, 1, CommitOptions{})[0]
	tree, err := loaded(j).RatchetTree()
	w.must(err)
	for _, m := range w.members {
		if l := tree.Leaf(m.g.OwnLeaf()); l == nil || !l.Credential.Equal(&m.signer.Credential) || !bytes.Equal(l.SignatureKey, m.signer.Public) {
			w.t.Errorf("leaf %d is not %s's", m.g.OwnLeaf(), m.name)
		}
	}
}

// loaded returns the client's group with its tree, path keys and proposals.
func loaded(c *client) *Group {
	var g *Group
	err := c.try(func(x *Group) error {
		g = x
		return x.need(partTree, partPath, partProposals)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}
