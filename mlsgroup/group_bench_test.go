package mlsgroup

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"
)

// benchMember is a member of a group in the benchmarks, in memory with all parts.
type benchMember struct {
	in Input
	g  *Group
}

func newBenchMember(b *testing.B, i int) *benchMember {
	b.Helper()
	signer, err := NewSigner(rand.Reader, CipherSuiteX25519AES128Ed25519, BasicCredential(fmt.Appendf(nil, "%32d", i)))
	if err != nil {
		b.Fatal(err)
	}
	if signer, err = signer.Expand(); err != nil {
		b.Fatal(err)
	}
	return &benchMember{in: Input{Rand: rand.Reader, Now: time.Now(), Signer: signer, Do: inParallel}}
}

func (m *benchMember) keyPackage(b *testing.B) *KeyPackageBundle {
	b.Helper()
	kp, err := NewKeyPackage(m.in, KeyPackageOptions{Profile: ProfileWire})
	if err != nil {
		b.Fatal(err)
	}
	return kp
}

// adds are proposals to add n clients that never act.
func adds(b *testing.B, n int) []Proposal {
	b.Helper()
	out := make([]Proposal, n)
	for i := range out {
		out[i] = Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: newBenchMember(b, 1000+i).keyPackage(b).KeyPackage}}
	}
	return out
}

func (m *benchMember) found(b *testing.B) {
	b.Helper()
	t, err := NewGroup(m.in, GroupOptions{GroupID: []byte("benchmark"), Profile: ProfileWire})
	if err != nil {
		b.Fatal(err)
	}
	m.g = t.Next
}

func (m *benchMember) commit(b *testing.B, o CommitOptions) *OwnCommit {
	b.Helper()
	c, err := m.g.Commit(m.in, o)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (m *benchMember) merge(b *testing.B, c *OwnCommit) {
	b.Helper()
	t, err := m.g.Merge(c)
	if err != nil {
		b.Fatal(err)
	}
	m.g = t.Next
}

func (m *benchMember) join(b *testing.B, welcome []byte, kp *KeyPackageBundle) *Transition {
	b.Helper()
	msg, err := ParseMLSMessage(welcome)
	if err != nil {
		b.Fatal(err)
	}
	t, err := Join(m.in, msg.Welcome, JoinOptions{KeyPackage: kp, Profile: ProfileWire})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// benchPair makes a group of n by one commit and returns its founder and another.
func benchPair(b *testing.B, n int) (founder, other *benchMember) {
	b.Helper()
	founder, other = newBenchMember(b, 0), newBenchMember(b, 1)
	founder.found(b)
	kp := other.keyPackage(b)
	c := founder.commit(b, CommitOptions{Proposals: append([]Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp.KeyPackage}}}, adds(b, n-2)...)})
	founder.merge(b, c)
	other.g = other.join(b, c.Bundle.Welcome, kp).Next
	return founder, other
}

func benchSizes(b *testing.B, f func(b *testing.B, members int)) {
	sizes := []int{2, 100, 1000}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) { b.ReportAllocs(); f(b, n) })
	}
}

func changeBytes(changes []Change) (n int) {
	for _, c := range changes {
		n += len(c.Key) + len(c.High) + len(c.Value)
	}
	return n
}

func BenchmarkGroupEncrypt(b *testing.B) {
	benchSizes(b, func(b *testing.B, members int) {
		m, _ := benchPair(b, members)
		plain := make([]byte, 1<<10)
		var last *Transition
		for b.Loop() {
			t, err := m.g.Encrypt(m.in, plain, nil)
			if err != nil {
				b.Fatal(err)
			}
			m.g, last = t.Next, t
		}
		b.ReportMetric(float64(changeBytes(last.Changes)), "change-B/op")
	})
}

func BenchmarkGroupProcessApplication(b *testing.B) {
	benchSizes(b, func(b *testing.B, members int) {
		from, to := benchPair(b, members)
		plain := bytes.Repeat([]byte{1}, 1<<10)
		messages := make([][]byte, b.N)
		for i := range messages {
			t, err := from.g.Encrypt(from.in, plain, nil)
			if err != nil {
				b.Fatal(err)
			}
			messages[i], from.g = t.Outbound.Message, t.Next
		}
		var last *Transition
		b.ResetTimer()
		for _, m := range messages {
			t, err := to.g.Process(to.in, m)
			if err != nil || !bytes.Equal(t.Received.Application, plain) {
				b.Fatal(err)
			}
			to.g, last = t.Next, t
		}
		b.ReportMetric(float64(changeBytes(last.Changes)), "change-B/op")
	})
}

// BenchmarkOpenAll opens 64 messages of one sender at a time.
func BenchmarkOpenAll(b *testing.B) {
	const batch = 64
	from, to := benchPair(b, 2)
	plain := bytes.Repeat([]byte{1}, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		messages := make([][]byte, batch)
		for i := range messages {
			t, err := from.g.Encrypt(from.in, plain, nil)
			if err != nil {
				b.Fatal(err)
			}
			messages[i], from.g = t.Outbound.Message, t.Next
		}
		b.StartTimer()
		keys := make([]*MessageKey, batch)
		for i, m := range messages {
			sm, err := to.g.OpenSenderData(m)
			if err != nil {
				b.Fatal(err)
			}
			k, t, err := to.g.TakeMessageKey(sm)
			if err != nil {
				b.Fatal(err)
			}
			keys[i], to.g = k, t.Next
		}
		received, errs := OpenAll(keys)
		for i := range received {
			if errs[i] != nil || !bytes.Equal(received[i].Application, plain) {
				b.Fatal(errs[i])
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
}

// BenchmarkGroupUpdate is a commit of nothing but a path in a fresh tree, by its
// founder: create it, process it.
func BenchmarkGroupUpdate(b *testing.B) {
	benchSizes(b, func(b *testing.B, members int) {
		founder, other := benchPair(b, members)
		b.Run("create", func(b *testing.B) {
			b.ReportAllocs()
			var last *OwnCommit
			for b.Loop() {
				last = founder.commit(b, CommitOptions{ForcePath: true})
			}
			b.ReportMetric(float64(changeBytes(last.After)), "change-B/op")
		})
		b.Run("merge", func(b *testing.B) {
			b.ReportAllocs()
			c := founder.commit(b, CommitOptions{ForcePath: true})
			for b.Loop() {
				if _, err := founder.g.Merge(c); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("process", func(b *testing.B) {
			b.ReportAllocs()
			c := founder.commit(b, CommitOptions{ForcePath: true})
			var last *Transition
			for b.Loop() {
				t, err := other.g.Process(other.in, c.Bundle.Commit)
				if err != nil {
					b.Fatal(err)
				}
				last = t
			}
			b.ReportMetric(float64(changeBytes(last.Changes)), "change-B/op")
		})
	})
}

// BenchmarkGroupAdd adds all members but the founder in one commit, and joins by
// its Welcome.
func BenchmarkGroupAdd(b *testing.B) {
	benchSizes(b, func(b *testing.B, members int) {
		founder, other := newBenchMember(b, 0), newBenchMember(b, 1)
		founder.found(b)
		kp := other.keyPackage(b)
		o := CommitOptions{Proposals: append([]Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp.KeyPackage}}}, adds(b, members-2)...)}
		var last *OwnCommit
		b.Run("create", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				last = founder.commit(b, o)
			}
			b.ReportMetric(float64(changeBytes(last.After)), "change-B/op")
		})
		b.Run("join", func(b *testing.B) {
			b.ReportAllocs()
			if last == nil {
				last = founder.commit(b, o)
				b.ResetTimer()
			}
			for b.Loop() {
				other.join(b, last.Bundle.Welcome, kp)
			}
		})
	})
}
