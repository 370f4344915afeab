package mlsgroup

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// joined is what we make of a Welcome to a usual group.
func joined(t *testing.T, w forgedWelcome) error {
	t.Helper()
	_, err := groupOf(t).join(w)
	return err
}

// successor is a group in epoch 1 that continues g by a resumption PSK of the
// given usage and epoch, with its members or other clients.
func (g *forgedGroup) successor(usage ResumptionPSKUsage, epoch uint64, o forgedOptions) *forgedGroup {
	g.t.Helper()
	if o.clients == nil {
		for i := range LeafIndex(len(g.members)) {
			o.clients = append(o.clients, g.members[i])
		}
	}
	edit := o.context
	o.leaf = supportsAll
	o.context = func(gc *GroupContext) {
		gc.Epoch, gc.GroupID = 1, []byte("next room")
		if edit != nil {
			edit(gc)
		}
	}
	if usage != 0 {
		id := PreSharedKeyID{
			Type: PSKTypeResumption, Usage: usage, GroupID: g.context.GroupID, Epoch: epoch, Nonce: g.bytes(g.s.HashSize()),
		}
		o.psks = append([]preSharedKey{{id, g.epoch.resumption}}, o.psks...)
	}
	if o.suite != 0 {
		f := *g.forger
		f.s = mustSuite(g.t, o.suite)
		return f.group(o)
	}
	return g.group(o)
}

// joinsAfter is what we make of the Welcome of a group that continues g.
func (g *forgedGroup) joinsAfter(next *forgedGroup) error {
	g.t.Helper()
	_, err := next.join(forgedWelcome{options: func(o *JoinOptions) { o.Origin = g.our() }})
	return err
}

// reInited is a group that a ReInit has ended, and we know.
func reInited(t *testing.T) *forgedGroup {
	g := groupOf(t)
	return g.follow(forgedCommit{noPath: true, proposals: byValue(g.reInit(nil))})
}

var joinRefused = []checkCase{
	{"12.4.2-1/welcome", func(t *testing.T) error {
		f := newForger(t)
		id := PreSharedKeyID{Type: PSKTypeExternal, ExternalID: []byte("unknown"), Nonce: f.bytes(f.s.HashSize())}
		_, err := f.group(forgedOptions{psks: []preSharedKey{{id, forgedPSK(id)}}}).join(forgedWelcome{})
		return err
	}},
	{"12.4.3-3", func(t *testing.T) error {
		// Carol, who has signed it, is not there.
		g := withoutCarol(t)
		_, err := g.join(forgedWelcome{signer: g.members[2], info: func(gi *GroupInfo) { gi.Signer = 2 }})
		return err
	}},
	{"12.4.3-4/welcome", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.join(forgedWelcome{signer: g.members[1]})
		return err
	}},
	{"12.4.3.1-1", func(t *testing.T) error { return joined(t, forgedWelcome{noTree: true}) }},
	{"12.4.3.1-2", func(t *testing.T) error {
		return joined(t, forgedWelcome{welcome: func(w *Welcome) { w.Secrets[0].NewMember = damage(w.Secrets[0].NewMember) }})
	}},
	{"12.4.3.1-3", func(t *testing.T) error {
		return joined(t, forgedWelcome{welcome: func(w *Welcome) { w.CipherSuite = CipherSuiteX25519ChaChaEd25519 }})
	}},
	{"12.4.3.1-5", func(t *testing.T) error {
		// A branch of two groups at once.
		g := groupOf(t)
		id := PreSharedKeyID{
			Type: PSKTypeResumption, Usage: ResumptionPSKUsageBranch, GroupID: []byte("another room"), Epoch: 5, Nonce: g.bytes(32),
		}
		return g.joinsAfter(g.successor(ResumptionPSKUsageBranch, g.context.Epoch, forgedOptions{psks: []preSharedKey{{id, forgedPSK(id)}}}))
	}},
	{"12.4.3.1-6", func(t *testing.T) error {
		// Everybody could be in a group of that suite.
		return joinedTree(t, forgedOptions{
			leaf: func(_ LeafIndex, l *LeafNode) {
				l.Capabilities.CipherSuites = append(l.Capabilities.CipherSuites, CipherSuiteX25519ChaChaEd25519)
			},
			context: func(gc *GroupContext) { gc.CipherSuite = CipherSuiteX25519ChaChaEd25519 },
		})
	}},
	{"12.4.3.1-11", func(t *testing.T) error {
		// The leaf has our keys and another signature.
		return joinedTree(t, forgedOptions{joins: func(kp *KeyPackage) {
			l := *kp.LeafNode
			l.Lifetime.NotAfter++
			kp.LeafNode = &l
		}})
	}},
	{"12.4.3.1-12/length", func(t *testing.T) error {
		return joined(t, forgedWelcome{path: func(p secret.Bytes) secret.Bytes { return append(p.Clone(), 0) }})
	}},
	{"12.4.3.1-12/blank", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{noPath: true})
		_, err := g.join(forgedWelcome{path: func(secret.Bytes) secret.Bytes { return g.bytes(g.s.HashSize()) }})
		return err
	}},
	{"12.4.3.1-12/own", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.join(forgedWelcome{signer: g.members[us], info: func(gi *GroupInfo) { gi.Signer = us }})
		return err
	}},
	{"12.4.3.1-12/other", func(t *testing.T) error {
		return joined(t, forgedWelcome{path: func(p secret.Bytes) secret.Bytes { return bytes.Repeat([]byte{7}, len(p)) }})
	}},
	{"12.4.3.1-13", func(t *testing.T) error {
		return joined(t, forgedWelcome{info: func(gi *GroupInfo) { gi.ConfirmationTag = damage(gi.ConfirmationTag) }})
	}},
	{"13.4-6/welcome", func(t *testing.T) error {
		_, err := newForger(t).group(forgedOptions{
			leaf: func(i LeafIndex, l *LeafNode) {
				if supportsAll(i, l); i == us {
					noOtherExtension(l)
				}
			},
			context: func(gc *GroupContext) { gc.Extensions = Extensions{{Type: otherExtension}} },
		}).join(forgedWelcome{})
		return err
	}},
}

var successorRefused = []checkCase{
	{"11.2-1/group-id", func(t *testing.T) error {
		g := reInited(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{
			context: func(gc *GroupContext) { gc.GroupID = []byte("another room") },
		}))
	}},
	{"11.2-1/suite", func(t *testing.T) error {
		g := reInited(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{suite: CipherSuiteX25519ChaChaEd25519}))
	}},
	{"11.2-1/extensions", func(t *testing.T) error {
		g := reInited(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{
			context: func(gc *GroupContext) { gc.Extensions = Extensions{{Type: otherExtension}} },
		}))
	}},
	{"11.2-2/reinit", func(t *testing.T) error {
		g := reInited(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{
			context: func(gc *GroupContext) { gc.Epoch = 2 },
		}))
	}},
	{"11.2-2/branch", func(t *testing.T) error {
		g := groupOf(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageBranch, g.context.Epoch, forgedOptions{
			context: func(gc *GroupContext) { gc.Epoch = 2 },
		}))
	}},
	{"11.2-3/none", func(t *testing.T) error {
		g := reInited(t)
		return g.joinsAfter(g.successor(0, 0, forgedOptions{}))
	}},
	{"11.2-3/epoch", func(t *testing.T) error {
		// The PSK of the epoch before the ReInit took effect.
		g := groupOf(t)
		next := g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{})
		return g.follow(forgedCommit{noPath: true, proposals: byValue(g.reInit(nil))}).joinsAfter(next)
	}},
	{"11.3-1/join", func(t *testing.T) error {
		g := groupOf(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageBranch, g.context.Epoch, forgedOptions{suite: CipherSuiteX25519ChaChaEd25519}))
	}},
	{"11.3-2/join", func(t *testing.T) error {
		g := groupOf(t)
		clients := []*forgedClient{g.members[0], g.client("frank"), g.members[us]}
		return g.joinsAfter(g.successor(ResumptionPSKUsageBranch, g.context.Epoch, forgedOptions{clients: clients}))
	}},
	{"12.4.3.1-15/join", func(t *testing.T) error {
		g := groupOf(t)
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{}))
	}},
	{"12.4.3.1-16/join", func(t *testing.T) error {
		g := reInited(t)
		clients := []*forgedClient{g.members[0], g.members[1], g.members[us]}
		return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{clients: clients}))
	}},
}

var joinConstructed = []checkCase{
	{"12.4.3-1", func(t *testing.T) error {
		return joined(t, forgedWelcome{info: func(gi *GroupInfo) {
			gi.Extensions = append(gi.Extensions, Extension{Type: 0x7777, Body: []byte("what is this")})
		}})
	}},
}
