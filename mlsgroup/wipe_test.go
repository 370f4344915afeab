package mlsgroup

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// wiped counts secrets that are all zero and those that are not.
func wiped(list []secret.Bytes) (zero, left int) {
	for _, b := range list {
		switch {
		case len(b) == 0:
		case bytes.Equal(b, make([]byte, len(b))):
			zero++
		default:
			left++
		}
	}
	return zero, left
}

func TestGroupWipe(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 430)
	w.add(w.members[0], 3, CommitOptions{})
	c, reader := w.members[0], w.members[1]
	reader.cold = false
	w.say(c, "in epoch 1")
	w.commit(c, CommitOptions{})
	w.say(c, "in epoch 2")
	if _, err := reader.step(func(g *Group) (*Transition, error) { return g.Propose(reader.in(), ProposalOptions{}) }); err != nil {
		t.Fatal(err)
	}
	g := loaded(reader)
	list := g.material()
	if zero, left := wiped(list); zero != 0 || left < 15 {
		t.Fatalf("before: %d secrets, %d of them zero", left, zero)
	}
	g.Wipe()
	if zero, left := wiped(list); left != 0 || zero < 15 {
		t.Errorf("%d secrets are left, %d wiped", left, zero)
	}
}

// Every kind of step is dropped and taken again, from the same state and with the
// same outcome.
func TestTransitionWipe(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 431)
	w.add(w.members[0], 3, CommitOptions{})
	c, reader := w.members[0], w.members[1]
	reader.cold = false
	w.say(c, "first")
	messages := [][]byte{w.encrypt(c, "lost"), w.encrypt(c, "second")}
	own := w.commitOf(c, CommitOptions{})
	g := loaded(reader)
	steps := []struct {
		name string
		step func() (*Transition, error)
	}{
		{"application", func() (*Transition, error) { return g.Process(reader.in(), messages[1]) }},
		{"late application", func() (*Transition, error) {
			t, err := g.Process(reader.in(), messages[1])
			if err != nil {
				return nil, err
			}
			late, err := t.Next.Process(reader.in(), messages[0])
			if err == nil {
				t.Wipe(g) // the step before is dropped as well
			}
			return late, err
		}},
		{"commit", func() (*Transition, error) { return g.Process(reader.in(), own.Bundle.Commit) }},
		{"encrypt", func() (*Transition, error) { return g.Encrypt(reader.in(), []byte("hello"), nil) }},
		{"propose", func() (*Transition, error) { return g.Propose(reader.in(), ProposalOptions{}) }},
	}
	before := g.material()
	for _, x := range steps {
		for range 2 {
			tr, err := x.step()
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			shared := make(map[*byte]bool)
			for _, b := range before {
				if len(b) > 0 {
					shared[&b[0]] = true
				}
			}
			var fresh []secret.Bytes
			for _, b := range tr.Next.material() {
				if len(b) > 0 && !shared[&b[0]] {
					fresh = append(fresh, b)
				}
			}
			for _, change := range tr.Changes {
				fresh = append(fresh, change.Value)
			}
			if _, left := wiped(fresh); left == 0 {
				t.Fatalf("%s: nothing is new", x.name)
			}
			tr.Wipe(g)
			if _, left := wiped(fresh); left != 0 {
				t.Errorf("%s: %d new secrets are left", x.name, left)
			}
			if zero, _ := wiped(before); zero != 0 {
				t.Errorf("%s: %d secrets of the state that stays are gone", x.name, zero)
			}
		}
	}
	(*Transition)(nil).Wipe(g)
}

// An own commit is given up with the group that it was made from.
func TestOwnCommitWipe(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 432)
	w.add(w.members[0], 3, CommitOptions{})
	c := w.members[0]
	c.cold = false
	w.say(c, "first")
	own := w.commitOf(c, CommitOptions{Message: []byte("of the next epoch")})
	var list []secret.Bytes
	for _, change := range own.After {
		list = append(list, change.Value)
	}
	list = append(own.next.material(), list...)
	list = append(list, own.past.senderData)
	if own.Before == nil {
		t.Fatal("the commit was not encrypted")
	}
	list = append(own.Before.Next.material(), list...)
	for _, change := range own.Before.Changes {
		list = append(list, change.Value)
	}
	if zero, left := wiped(list); zero != 0 || left < 20 {
		t.Fatalf("before: %d secrets, %d of them zero", left, zero)
	}
	own.Wipe()
	if _, left := wiped(list); left != 0 {
		t.Errorf("%d secrets are left", left)
	}
}
