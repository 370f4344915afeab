package mlsgroup

import "testing"

// TestForged: what the forger makes is accepted where it breaks nothing, so
// what is refused in TestCheck is refused for what the case breaks.
func TestForged(t *testing.T) {
	for _, c := range []checkCase{
		{"welcome", func(t *testing.T) error { return joined(t, forgedWelcome{}) }},
		{"blank leaf", func(t *testing.T) error {
			_, err := withoutCarol(t).join(forgedWelcome{})
			return err
		}},
		{"no path", func(t *testing.T) error { return joinedTree(t, forgedOptions{noPath: true}) }},
		{"psk", func(t *testing.T) error {
			f := newForger(t)
			id := PreSharedKeyID{Type: PSKTypeExternal, ExternalID: []byte("known"), Nonce: f.bytes(f.s.HashSize())}
			return joinedTreeBy(f, forgedOptions{psks: []preSharedKey{{id, forgedPSK(id)}}})
		}},
		{"application", func(t *testing.T) error {
			g := groupOf(t)
			return g.process(g.application(2, "hello"))
		}},
		{"epochs", func(t *testing.T) error {
			g := groupOf(t)
			for i := range LeafIndex(3) {
				g = g.follow(forgedCommit{from: i, private: i == 1})
				if err := g.process(g.application(i, "hello")); err != nil {
					return err
				}
			}
			return nil
		}},
		{"add", func(t *testing.T) error { return groupOf(t).adds(nil, nil) }},
		{"add and welcome", func(t *testing.T) error {
			g := groupOf(t)
			_, next := g.commit(forgedCommit{proposals: byValue(g.add(g.erin()))})
			_, err := next.join(forgedWelcome{})
			return err
		}},
		{"update", func(t *testing.T) error { return groupOf(t).updates(nil) }},
		{"update with another name", func(t *testing.T) error { return groupOf(t).updates(as("bob, phone")) }},
		{"path with another name", func(t *testing.T) error { return groupOf(t).paths(as("alice, phone")) }},
		{"remove", func(t *testing.T) error {
			g := groupOf(t)
			return g.commits(g.remove(2))
		}},
		{"extensions", func(t *testing.T) error {
			g := groupOf(t)
			return g.commits(g.extensions(Extension{Type: otherExtension}, g.senders("server")))
		}},
		{"psks", func(t *testing.T) error {
			g := groupOf(t)
			return g.commits(g.psk("one", nil), g.psk("two", nil))
		}},
		{"reinit", func(t *testing.T) error {
			g := groupOf(t)
			return g.commits(g.reInit(nil))
		}},
		{"external commit", func(t *testing.T) error { return groupOf(t).externally(forgedCommit{}) }},
		{"external commit of a member", func(t *testing.T) error {
			g := groupOf(t)
			return g.externally(forgedCommit{external: g.client("bob, again")}, g.remove(1))
		}},
		{"external proposal", func(t *testing.T) error {
			g, server := forgedSenders(t)
			return g.process(g.signedBy(server, Sender{Type: SenderTypeExternal}, proposes(g.remove(1))))
		}},
		{"new member's proposal", func(t *testing.T) error {
			g := groupOf(t)
			kp := g.erin()
			return g.process(g.signedBy(g.known[string(kp.LeafNode.SignatureKey)], Sender{Type: SenderTypeNewMemberProposal}, proposes(g.add(kp))))
		}},
		{"branch", func(t *testing.T) error {
			g := groupOf(t)
			return g.joinsAfter(g.successor(ResumptionPSKUsageBranch, g.context.Epoch, forgedOptions{}))
		}},
		{"reinit to another suite", func(t *testing.T) error {
			g := groupOf(t)
			g = g.follow(forgedCommit{noPath: true, proposals: byValue(g.reInit(func(r *ReInit) { r.CipherSuite = CipherSuiteX25519ChaChaEd25519 }))})
			return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{suite: CipherSuiteX25519ChaChaEd25519}))
		}},
		{"reinit and join", func(t *testing.T) error {
			g := reInited(t)
			return g.joinsAfter(g.successor(ResumptionPSKUsageReInit, g.context.Epoch, forgedOptions{}))
		}},
		{"key package", func(t *testing.T) error {
			f := newForger(t)
			return f.keyPackage(f.client("erin"), nil, nil).Validate(f.input())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t); err != nil {
				t.Error(err)
			}
		})
	}
}
