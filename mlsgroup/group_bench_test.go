package mlsgroup

import (
	"sync"
	"testing"
)

// goDo is a Do that uses two goroutines, as an engine on two cores would.
func goDo(n int, f func(i int)) {
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Go(func() {
			for i := half; i < n; i += 2 {
				f(i)
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpenMessage(b *testing.B) {
	w := newWorld(b, 1, ProfileWire, 1)
	w.add(w.members[0], 1, CommitOptions{})
	c, reader := w.members[0], w.members[1]
	c.cold, reader.cold = false, false
	w.say(c, "first")
	message := w.encrypt(c, string(make([]byte, 1024)))
	in := reader.in()
	g := reader.g
	if err := reader.try(func(x *Group) error { g = x; _, err := x.Process(in, message); return err }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Process(in, message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncryptMessage(b *testing.B) {
	w := newWorld(b, 1, ProfileWire, 1)
	w.add(w.members[0], 1, CommitOptions{})
	c := w.members[0]
	c.cold = false
	w.say(c, "first")
	in, plain := c.in(), make([]byte, 1024)
	g := c.g
	if err := c.try(func(x *Group) error { g = x; _, err := x.Encrypt(in, plain, nil); return err }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Encrypt(in, plain, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJoin1001(b *testing.B) {
	w := newWorld(b, 1, ProfileWire, 5000)
	c := w.members[0]
	c.cold = false
	o := CommitOptions{}
	var j *client
	var bundle *KeyPackageBundle
	for range 1000 {
		j = w.newClient()
		bundle = j.keyPackage(ProfileWire)
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: bundle.KeyPackage}})
	}
	own := w.commitOf(c, o)
	in := j.in()
	in.Do = goDo
	b.ReportAllocs()
	for b.Loop() {
		m, err := ParseMLSMessage(own.Bundle.Welcome)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Join(in, m.Welcome, JoinOptions{KeyPackage: bundle, Profile: ProfileWire}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdd1000(b *testing.B) {
	w := newWorld(b, 1, ProfileWire, 5000)
	c := w.members[0]
	c.cold = false
	o := CommitOptions{}
	for range 1000 {
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: w.newClient().keyPackage(ProfileWire).KeyPackage}})
	}
	in := c.in()
	in.Do = goDo
	g := loaded(c)
	b.ReportAllocs()
	for b.Loop() {
		own, err := g.Commit(in, o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := g.Merge(own); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateUpdate1001(b *testing.B) {
	creator, _ := bigWorld(b, 1001)
	g := loaded(creator)
	in := creator.in()
	in.Do = goDo
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Commit(in, CommitOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProcessUpdate1001(b *testing.B) {
	creator, reader := bigWorld(b, 1001)
	own := ownCommitOf(b, creator)
	in := reader.in()
	in.Do = goDo
	b.Run("hot", func(b *testing.B) {
		g := loaded(reader)
		g.tree = g.tree.edit(g.s).base // as after a commit
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Process(in, own.Bundle.Commit); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := &holder{store: reader.store}
			var err error
			if h.g, err = LoadGroup(reader.store.m[string(HeadKey())]); err != nil {
				b.Fatal(err)
			}
			if err := h.try(func(g *Group) error { _, err := g.Process(in, own.Bundle.Commit); return err }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
