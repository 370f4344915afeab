package mlsgroup

import "testing"

// TestForged: what the forger makes is accepted where it breaks nothing, so
// what is refused in TestCheck is refused for what the case breaks.
func TestForged(t *testing.T) {
	if _, err := newForger(t).group(forgedOptions{}).join(forgedWelcome{}); err != nil {
		t.Errorf("welcome: %v", err)
	}
	if _, err := newForger(t).group(forgedOptions{before: func(e *treeEdit) { e.remove(2) }}).join(forgedWelcome{}); err != nil {
		t.Errorf("welcome to a tree with a blank leaf: %v", err)
	}
	g := newForger(t).group(forgedOptions{})
	if err := g.process(g.application(2, "hello")); err != nil {
		t.Errorf("application: %v", err)
	}
	m, _ := g.proposeBy(1, g.update(1, nil))
	if err := g.process(m); err != nil {
		t.Errorf("update: %v", err)
	}
	m, _ = g.commit(forgedCommit{from: 1})
	if err := g.process(m); err != nil {
		t.Errorf("commit: %v", err)
	}
}
