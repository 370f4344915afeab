package mlsgroup

import (
	"math/rand/v2"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Fuzz targets behind the signatures: what a member that has all the keys can
// make of us. Nothing may panic, and the group stays as it was.

// FuzzMember takes its input for the content of a message that carol signs,
// sends in the open or encrypted, with the right tags. The first byte says
// which.
func FuzzMember(f *testing.F) {
	g := fuzzedGroup(f)
	for _, p := range []*Proposal{
		g.update(2, nil), g.add(g.erin()), g.remove(us), g.psk("key", nil), g.reInit(nil), g.extensions(g.senders("server")),
	} {
		f.Add(append([]byte{0}, p.Marshal()...))
		f.Add(append([]byte{4}, (&Commit{Proposals: byValue(p)}).append(nil)...))
	}
	init, _ := g.externalInit()
	f.Add(append([]byte{4}, (&Commit{Proposals: byValue(init)}).append(nil)...))
	for _, c := range []forgedCommit{{from: 2}, {from: 2, proposals: byValue(g.remove(1))}, {from: 2, proposals: byValue(g.add(g.erin()))}} {
		c.content = func(c *FramedContent) { f.Add(append([]byte{4}, c.Commit.append(nil)...)) }
		g.commit(c)
	}
	before := dump(g.our())
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		g := g.with(t)
		ac := g.content(2, WireFormatPublicMessage, ContentTypeProposal)
		if in[0]&1 != 0 {
			ac.WireFormat = WireFormatPrivateMessage
		}
		if in[0]&4 != 0 {
			ac.Content.ContentType = ContentTypeCommit
			ac.Auth.ConfirmationTag = make([]byte, g.s.HashSize())
		}
		if parse(in[1:], ac.Content.readBody) != nil {
			return
		}
		if ac.sign(g.s, g.members[2].signPriv, g.encoded) != nil {
			t.Fatal("no signature")
		}
		var m []byte
		if ac.WireFormat == WireFormatPrivateMessage {
			m = g.privateMessage(ac, forgedPrivate{})
		} else {
			m = g.publicMessage(ac, nil)
		}
		tr, err := g.our().Process(g.ourInput(), m)
		if err == nil && ac.Content.ContentType == ContentTypeProposal {
			// What came in as a proposal may come out in a commit of ours.
			_, _ = tr.Next.Commit(g.ourInput(), CommitOptions{WireFormat: WireFormatPublicMessage})
		}
		if !dump(g.our()).equal(before) {
			t.Fatal("the group has changed")
		}
	})
}

// FuzzWelcomeContent takes its input for the GroupInfo inside a Welcome to us,
// and for one to join by, signed by alice, its tree hash put right.
func FuzzWelcomeContent(f *testing.F) {
	g := fuzzedGroup(f)
	f.Add(g.groupInfo(forgedWelcome{}).append(nil))
	f.Add(g.joinable(forgedWelcome{}).append(nil))
	small := newForger(f).group(forgedOptions{size: 2})
	f.Add(small.joinable(forgedWelcome{}).append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		g := g.with(t)
		var gi GroupInfo
		if parse(in, gi.read) != nil {
			return
		}
		if body, ok := gi.Extensions.find(ExtensionTypeRatchetTree); ok {
			if tree, err := ParseRatchetTree(body); err == nil {
				gi.GroupContext.TreeHash = tree.withHashes(g.s, nil).rootHash()
			}
		}
		if gi.sign(g.s, g.members[0].signPriv) != nil {
			t.Fatal("no signature")
		}
		pskSecret := make(secret.Bytes, g.s.HashSize())
		ref, _ := g.added[us].Ref()
		joiners := []joiner{{ref: ref, initKey: g.added[us].InitKey, pathSecret: g.path[1].secret}}
		w, err := sealWelcome(g.s, &gi, g.joiner, pskSecret, nil, joiners, g.rand, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = Join(g.input(), w, g.joinOptions())
		_, _ = JoinByExternalCommit(g.inputOf(g.members[1]), &gi, ExternalJoinOptions{Profile: g.profile})
	})
}

// fuzzedGroup is a group for all runs of a target.
func fuzzedGroup(f *testing.F) *forgedGroup {
	g := newForger(f).group(forgedOptions{leaf: supportsAll})
	g.our()
	return g
}

// with is g for one run, with the same randomness for each.
func (g *forgedGroup) with(t *testing.T) *forgedGroup {
	run, forger := *g, *g.forger
	forger.t, forger.rand, run.forger = t, rand.NewChaCha8([32]byte{2}), &forger
	return &run
}
