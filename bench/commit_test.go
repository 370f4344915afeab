package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// commitCells are the cells of the benchmarks of commits and joins, the smallest
// first. cold adds those whose conversation is not in memory.
func commitCells(cold bool) []cell {
	var cells []cell
	for _, members := range []int{10, 100, 1000} {
		for _, kind := range []storeKind{durable, memory} {
			cells = append(cells, cell{suite: 1, members: members, store: kind})
		}
	}
	if cold {
		cells = append(cells, cell{suite: 1, members: 1000, store: durable, cold: true})
	}
	return append(cells,
		cell{suite: 2, members: 1000, store: durable},
		cell{suite: 1, members: 1000, store: durable, rfc: true})
}

// A stage is an engine with one client for commits and joins. Its groups are made
// anew for each cell.
type stage struct {
	dialect
	kind   storeKind
	dir    string
	engine *conclave.Engine
	who    *identity
	client *conclave.Client
	sent   accepting
	number int // of the next group
}

// accepting is a delivery service that accepts everything and keeps the last.
type accepting struct {
	mu   sync.Mutex
	last conclave.CommitBundle
}

// SendCommitBundle implements [conclave.Transport].
func (a *accepting) SendCommitBundle(_ context.Context, c conclave.CommitBundle) (conclave.Verdict, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = c
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// bundle returns the last.
func (a *accepting) bundle() conclave.CommitBundle {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

type stageKey struct {
	dialect
	store storeKind
}

var stages = map[stageKey]*stage{}

func stageOf(b *testing.B, c cell) *stage {
	b.Helper()
	k := stageKey{dialect{c.suite, c.rfc}, c.store}
	if s := stages[k]; s != nil {
		return s
	}
	ids, err := clientsOf(k.dialect)
	if err != nil {
		b.Fatal(err)
	}
	s := &stage{dialect: k.dialect, kind: c.store, dir: scratchDir(b), who: ids[0]}
	s.open(b)
	atEnd = append(atEnd, func() error { return s.engine.Close() })
	stages[k] = s
	return s
}

func (s *stage) open(b *testing.B) {
	b.Helper()
	s.openWith(b, conclave.Options{Key: make(conclave.Secret, store.KeySize), InMemory: s.kind == memory, IdleAfter: time.Minute})
}

func (s *stage) openWith(b *testing.B, o conclave.Options) {
	b.Helper()
	var err error
	o.SendTimeout = time.Hour // a slow machine fails no send
	if s.engine, err = conclave.Open(b.Context(), s.dir, o); err != nil {
		b.Fatal(err)
	}
	s.client, err = s.engine.Client(b.Context(), s.who.id, conclave.ClientOptions{
		CipherSuites: []conclave.CipherSuite{conclave.CipherSuite(s.suite)}, NoCredential: true, Profile: s.profile(), Transport: &s.sent,
	})
	if err != nil {
		b.Fatal(err)
	}
}

// reopen drops everything that is in memory.
func (s *stage) reopen(b *testing.B) {
	b.Helper()
	if err := s.engine.Close(); err != nil {
		b.Fatal(err)
	}
	s.open(b)
}

// ticket makes a key package that the client has the keys of.
func (s *stage) ticket(b *testing.B) *mlsgroup.KeyPackage {
	b.Helper()
	kp, err := s.who.keyPackage()
	if err == nil {
		_, err = s.client.ImportKeyPackage(b.Context(), s.who.bundle(kp))
	}
	if err != nil {
		b.Fatal(err)
	}
	return kp.KeyPackage
}

// newID names the next group.
func (s *stage) newID() conclave.ConversationID {
	s.number++
	return conclave.ConversationID(fmt.Sprintf("stage %10d", s.number))
}

// joined makes a group of a peer, the client and silent members, and has the
// client join it.
func (s *stage) joined(b *testing.B, members int) *peer {
	b.Helper()
	founder, err := newIdentity(s.dialect, "founder")
	if err != nil {
		b.Fatal(err)
	}
	silent, err := leafPackages(s.dialect, members-2)
	if err != nil {
		b.Fatal(err)
	}
	p, err := founder.found(s.newID())
	if err != nil {
		b.Fatal(err)
	}
	p, c, err := p.commit(false, addProposals(append([]*mlsgroup.KeyPackage{s.ticket(b)}, silent...)...)...)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.client.ProcessWelcome(b.Context(), c.Welcome, conclave.JoinOptions{}); err != nil {
		b.Fatal(err)
	}
	return p
}

// founded makes a group of the client, a peer that follows it and silent members,
// by a commit of the client.
func (s *stage) founded(b *testing.B, members int) *peer {
	b.Helper()
	witness, kp, others := s.others(b, members)
	id := s.newID()
	if err := s.client.CreateConversation(b.Context(), id, conclave.ConversationOptions{}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.client.AddMembers(b.Context(), id, others...); err != nil {
		b.Fatal(err)
	}
	p, err := witness.join(s.sent.bundle().Welcome, kp)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// others returns the key packages of all members of a group but the client. The
// first is the witness's, a peer that shall join.
func (s *stage) others(b *testing.B, members int) (witness *identity, kp *mlsgroup.KeyPackageBundle, packages [][]byte) {
	b.Helper()
	witness, err := newIdentity(s.dialect, "witness")
	if err != nil {
		b.Fatal(err)
	}
	if kp, err = witness.keyPackage(); err != nil {
		b.Fatal(err)
	}
	silent, err := leafPackages(s.dialect, members-2)
	if err != nil {
		b.Fatal(err)
	}
	packages = append(packages, kp.KeyPackage.Marshal())
	for _, l := range silent {
		packages = append(packages, l.Marshal())
	}
	return witness, kp, packages
}

// agree fails unless client and peer are in the same epoch.
func (s *stage) agree(b *testing.B, p *peer) {
	b.Helper()
	state, err := s.client.Conversation(conclave.ConversationID(p.group.GroupID())).State(b.Context())
	if err == nil {
		err = p.agrees(state)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (s *stage) wipe(b *testing.B, p *peer) {
	b.Helper()
	if err := s.client.WipeConversation(b.Context(), conclave.ConversationID(p.group.GroupID())); err != nil {
		b.Fatal(err)
	}
}

// steps times step b.N times, each between slices of the scales' floors. before returns what one step needs, made outside the
// clock, and after looks at what it did.
func steps[T any](b *testing.B, s *stage, scales []*scale, before func() T, step func(T) error, after func(T)) {
	b.Helper()
	stepsBehind(b, s, scales, before, func() {}, step, after)
}

// stepsBehind are steps, each behind something that is the last before it, after its floors.
func stepsBehind[T any](b *testing.B, s *stage, scales []*scale, before func() T, last func(), step func(T) error, after func(T)) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	var was conclave.Metrics
	m := &meter{b: b, scales: scales, last: func() {
		last()
		was = s.engine.Metrics()
	}}
	var written, log uint64
	for range b.N {
		in := before()
		m.stretch(1, func() error { return step(in) })
		is := s.engine.Metrics()
		written, log = written+is.LogBytes-was.LogBytes, log+is.LogFileBytes-was.LogFileBytes
		after(in)
	}
	b.ReportMetric(1e9/nanosPerOp(b), "msg/s")
	m.report()
	if m.used > 0 {
		b.ReportMetric(float64(m.used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	}
	if s.kind == durable {
		b.ReportMetric(float64(written)/float64(b.N), "written-B/msg")
		b.ReportMetric(float64(log)/float64(b.N), "wal-B/msg")
	}
}

// groupScales are for a group of the size that there is a floor of.
func (c cell) groupScales(work string) []*scale {
	if c.members != floorMembers {
		return nil
	}
	return []*scale{floorScale(c.suite, work, 0)}
}

// BenchmarkAddCreate adds members-1 members in one commit to a group of one.
func BenchmarkAddCreate(b *testing.B) {
	run(b, commitCells(false), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		type input struct {
			id       conclave.ConversationID
			witness  *identity
			kp       *mlsgroup.KeyPackageBundle
			packages [][]byte
		}
		s.ticket(b) // brings the client its credential
		steps(b, s, c.groupScales(workAdd), func() input {
			in := input{id: s.newID()}
			in.witness, in.kp, in.packages = s.others(b, c.members)
			if err := s.client.CreateConversation(b.Context(), in.id, conclave.ConversationOptions{}); err != nil {
				b.Fatal(err)
			}
			return in
		}, func(in input) error {
			_, err := s.client.AddMembers(b.Context(), in.id, in.packages...)
			return err
		}, func(in input) {
			p, err := in.witness.join(s.sent.bundle().Welcome, in.kp)
			if err != nil {
				b.Fatal(err)
			}
			s.agree(b, p)
			s.wipe(b, p)
		})
	})
}

// processed times how the client processes what next makes: a commit of its peer,
// and the peer after it. next may let the client process other commits first.
func processed(b *testing.B, s *stage, c cell, from func() *peer, next func(p *peer) (*peer, []byte), after func(p *peer)) {
	type input struct {
		peer   *peer
		commit []byte
	}
	steps(b, s, nil, func() (in input) {
		in.peer, in.commit = next(from())
		if c.cold {
			s.reopen(b)
		}
		return in
	}, func(in input) error {
		out, err := s.client.DecryptMessage(b.Context(), conclave.ConversationID(in.peer.group.GroupID()), in.commit)
		if err == nil && out.Outcome != conclave.OutcomeCommit {
			err = errors.New("bench: no commit")
		}
		return err
	}, func(in input) {
		s.agree(b, in.peer)
		after(in.peer)
	})
}

// BenchmarkAddProcess processes a commit that adds members-2 members to a group of
// two.
func BenchmarkAddProcess(b *testing.B) {
	run(b, commitCells(true), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		processed(b, s, c, func() *peer { return s.joined(b, 2) }, func(p *peer) (*peer, []byte) {
			silent, err := leafPackages(s.dialect, c.members-2)
			if err != nil {
				b.Fatal(err)
			}
			p, commit, err := p.commit(false, addProposals(silent...)...)
			if err != nil {
				b.Fatal(err)
			}
			return p, commit.Commit
		}, func(p *peer) { s.wipe(b, p) })
	})
}

// BenchmarkRemoveProcess processes a commit that removes one of members+1.
func BenchmarkRemoveProcess(b *testing.B) {
	run(b, commitCells(true), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		p := s.joined(b, c.members)
		silent, err := leafPackages(s.dialect, c.members-1)
		if err != nil {
			b.Fatal(err)
		}
		last := silent[c.members-2] // is no member yet
		processed(b, s, c, func() *peer { return p }, func(p *peer) (*peer, []byte) {
			p, added, err := p.commit(false, addProposals(last)...)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.client.DecryptMessage(b.Context(), conclave.ConversationID(p.group.GroupID()), added.Commit); err != nil {
				b.Fatal(err)
			}
			p, removed, err := p.commit(true, removeProposal(mlsgroup.LeafIndex(c.members)))
			if err != nil {
				b.Fatal(err)
			}
			return p, removed.Commit
		}, func(after *peer) { p = after })
		s.wipe(b, p)
	})
}

// BenchmarkUpdateProcess processes a commit with nothing but a path, of the member
// that founded the group: it is sealed to every member.
func BenchmarkUpdateProcess(b *testing.B) {
	run(b, append(commitCells(true), grownCells(true)...), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		update := func(p *peer) (*peer, []byte) {
			p, commit, err := p.commit(true)
			if err != nil {
				b.Fatal(err)
			}
			return p, commit.Commit
		}
		if c.grown {
			processed(b, s, c, func() *peer { return s.joinedGrown(b, c.members) }, update, func(p *peer) { s.wipe(b, p) })
			return
		}
		p := s.joined(b, c.members)
		processed(b, s, c, func() *peer { return p }, update, func(after *peer) { p = after })
		s.wipe(b, p)
	})
}

// created times commits of the client in a group that it founded, whose path is
// sealed to every member. Between prepare and commit, and behind commit, the peer
// follows.
func created(b *testing.B, s *stage, members int, prepare, commit func(id conclave.ConversationID) error) {
	b.Helper()
	s.ticket(b) // brings the client its credential
	p := s.founded(b, members)
	id := conclave.ConversationID(p.group.GroupID())
	follow := func() {
		if _, err := p.process(s.sent.bundle().Commit); err != nil {
			b.Fatal(err)
		}
	}
	steps(b, s, nil, func() *peer {
		if prepare != nil {
			if err := prepare(id); err != nil {
				b.Fatal(err)
			}
			follow()
		}
		return p
	}, func(*peer) error { return commit(id) }, func(p *peer) {
		follow()
		s.agree(b, p)
	})
	s.wipe(b, p)
}

// BenchmarkUpdateCreate replaces the client's own keys.
func BenchmarkUpdateCreate(b *testing.B) {
	run(b, append(commitCells(false), grownCells(false)...), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		if c.grown {
			updateGrown(b, s, c)
			return
		}
		created(b, s, c.members, nil, func(id conclave.ConversationID) error {
			_, err := s.client.UpdateKeyMaterial(b.Context(), id)
			return err
		})
	})
}

// BenchmarkRemoveCreate removes one of members+1.
func BenchmarkRemoveCreate(b *testing.B) {
	run(b, commitCells(false), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		silent, err := leafPackages(s.dialect, c.members-1)
		if err != nil {
			b.Fatal(err)
		}
		last := silent[c.members-2] // is no member yet
		created(b, s, c.members, func(id conclave.ConversationID) error {
			_, err := s.client.AddMembers(b.Context(), id, last.Marshal())
			return err
		}, func(id conclave.ConversationID) error {
			_, err := s.client.RemoveMembers(b.Context(), id, conclave.ClientID(last.LeafNode.Credential.Identity))
			return err
		})
	})
}

// BenchmarkJoin joins a group by a Welcome that brings the tree.
func BenchmarkJoin(b *testing.B) {
	run(b, append(commitCells(false), grownCells(false)...), func(b *testing.B, c cell) {
		s := stageOf(b, c)
		type input struct {
			peer    *peer
			welcome []byte
		}
		invite := func() (in input) {
			in.peer, in.welcome = s.invited(b, c.members)
			return in
		}
		if !c.grown {
			p := s.alone(b, c.members-1)
			invite = func() input {
				next, commit, err := p.commit(false, addProposals(s.ticket(b))...)
				if err != nil {
					b.Fatal(err)
				}
				return input{next, commit.Welcome}
			}
		}
		steps(b, s, c.groupScales(workJoin), invite, func(in input) error {
			_, err := s.client.ProcessWelcome(b.Context(), in.welcome, conclave.JoinOptions{})
			return err
		}, func(in input) {
			s.agree(b, in.peer)
			s.wipe(b, in.peer)
		})
	})
}

// alone makes a group of a peer and silent members by one commit.
func (s *stage) alone(b *testing.B, members int) *peer {
	b.Helper()
	founder, err := newIdentity(s.dialect, "founder")
	if err != nil {
		b.Fatal(err)
	}
	silent, err := leafPackages(s.dialect, members-1)
	if err != nil {
		b.Fatal(err)
	}
	p, err := founder.found(s.newID())
	if err != nil {
		b.Fatal(err)
	}
	if p, _, err = p.commit(false, addProposals(silent...)...); err != nil {
		b.Fatal(err)
	}
	return p
}
