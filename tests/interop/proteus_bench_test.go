//go:build unix

package interop

import (
	"crypto/rand"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/proteus"
)

// benchText is the length of every plaintext in bytes.
const benchText = 1 << 10

// BenchmarkProteus encrypts and decrypts in so many sessions at once. One operation is one message for each of them: encrypting is one EncryptBatch, or Encrypt of
// a single session; decrypting is one call a message, all sessions at once. With store=none it is the bare protocol, encoding of the session included,
// in one goroutine.
//
// Before the cells of so many sessions @wireapp/proteus does the same, in one thread and with nothing stored: wireapp-ns/message is its time, and x-wireapp
// how many times that is ours; x-wireapp-cpu is the same of processor time, where waiting and other programs do not count.
func BenchmarkProteus(b *testing.B) {
	installPeers(b)
	peer := startNode(b, "proteus.mjs", nil)
	theirs := &peerDevice{peer, "bench"}
	if _, err := theirs.do("open", call{}); err != nil {
		b.Fatal(err)
	}
	for _, sessions := range []int{1, 10, 100, 1000} {
		wireapp := make(map[string]result) // by work
		for _, store := range []string{"none", "memory", "durable"} {
			var made *proteusBench
			for _, work := range []string{"encrypt", "decrypt"} {
				b.Run(fmt.Sprintf("work=%s/sessions=%d/store=%s", work, sessions, store), func(cell *testing.B) {
					err := play(cell, func(cell *testing.B) {
						if _, ok := wireapp[work]; !ok {
							wireapp[work] = must(theirs.do("bench", call{Kind: work, Count: max(1, 500/sessions), Members: benchNames(sessions), Size: benchText}))
						}
						switch {
						case made != nil:
						case store == "none":
							made = benchCore(sessions)
						default:
							made = benchEngine(b, sessions, store == "durable")
						}
						made.measure(cell, work, sessions, wireapp[work])
					})
					if err != nil {
						cell.Fatal(err)
					}
				})
			}
			if made != nil {
				made.close()
			}
		}
	}
}

// measure runs a cell and reports it beside what the peer took for a message.
func (p *proteusBench) measure(cell *testing.B, work string, sessions int, wireapp result) {
	f := p.encrypt
	if work == "decrypt" {
		f = p.decrypt(cell.N)
	}
	before := cpuTime()
	cell.ResetTimer()
	check(f(cell.N))
	cell.StopTimer()
	n := float64(cell.N * sessions)
	ours, oursCPU := float64(cell.Elapsed().Nanoseconds())/n, float64(cpuTime()-before)/n
	cell.ReportMetric(ours, "ns/message")
	cell.ReportMetric(oursCPU, "cpu-ns/message")
	cell.ReportMetric(float64(wireapp.Nanoseconds), "wireapp-ns/message")
	cell.ReportMetric(float64(wireapp.Nanoseconds)/ours, "x-wireapp")
	cell.ReportMetric(float64(wireapp.CPUNanoseconds)/oursCPU, "x-wireapp-cpu")
}

// cpuTime returns the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// proteusBench are sessions of this engine to measure.
type proteusBench struct {
	// encrypt encrypts rounds of messages.
	encrypt func(rounds int) error
	// decrypt prepares rounds of messages and returns what decrypts them.
	decrypt func(rounds int) func(int) error
	close   func()
}

func benchNames(sessions int) []string {
	names := make([]string, sessions)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	return names
}

// benchCore makes sessions of the bare protocol.
func benchCore(sessions int) *proteusBench {
	local := must(proteus.NewIdentity(rand.Reader))
	remote, preKey := must(proteus.NewIdentity(rand.Reader)), must(proteus.NewPreKey(rand.Reader, proteus.LastResort))
	ours, peers := make([]*proteus.Session, sessions), make([]*proteus.Session, sessions)
	seal := func(s *proteus.Session) (*proteus.Session, []byte) {
		next, envelope, err := s.Encrypt(make([]byte, benchText))
		check(err)
		return next, envelope
	}
	open := func(s *proteus.Session, envelope []byte) *proteus.Session {
		return must(s.Decrypt(rand.Reader, must(proteus.ParseMessage(envelope)), nil)).Session
	}
	for i := range ours {
		var first, answer []byte
		ours[i], first = seal(must(proteus.NewSession(rand.Reader, local, preKey.Bundle(remote.PublicKey()))))
		accepted := must(proteus.Accept(rand.Reader, remote, must(proteus.ParseMessage(first)), preKey))
		peers[i], answer = seal(accepted.Session)
		ours[i] = open(ours[i], answer)
	}
	return &proteusBench{
		encrypt: func(rounds int) error {
			for range rounds {
				for i := range ours {
					ours[i], _ = seal(ours[i])
					ours[i].Marshal().Wipe()
				}
			}
			return nil
		},
		decrypt: func(rounds int) func(int) error {
			envelopes := make([][]byte, rounds*sessions)
			for k := range envelopes {
				peers[k%sessions], envelopes[k] = seal(peers[k%sessions])
			}
			return func(int) error {
				for k, envelope := range envelopes {
					ours[k%sessions] = open(ours[k%sessions], envelope)
					ours[k%sessions].Marshal().Wipe()
				}
				return nil
			}
		},
		close: func() {},
	}
}

// benchEngine makes sessions of a client, in memory or in a directory with a sync for each answer.
func benchEngine(b *testing.B, sessions int, durable bool) *proteusBench {
	ctx := b.Context()
	open := func(dir string, o conclave.Options) (*conclave.Engine, conclave.Proteus) {
		e := must(conclave.Open(ctx, dir, o))
		p := must(e.Client(ctx, "bench", conclave.ClientOptions{})).Proteus()
		must(p.Init(ctx))
		return e, p
	}
	options := conclave.Options{InMemory: !durable, Key: make(conclave.Secret, conclave.KeySize)}
	engine, ours := open(b.TempDir(), options)
	peerEngine, peer := open("", conclave.Options{InMemory: true})
	bundle := must(peer.LastResortPreKey(ctx))
	var names []conclave.SessionID
	for _, name := range benchNames(sessions) {
		id := conclave.SessionID(name)
		check(ours.SessionFromPreKey(ctx, id, bundle))
		must(peer.SessionFromMessage(ctx, id, must(ours.Encrypt(ctx, id, nil))))
		must(ours.Decrypt(ctx, id, must(peer.Encrypt(ctx, id, nil))))
		names = append(names, id)
	}
	text := make([]byte, benchText)
	return &proteusBench{
		encrypt: func(rounds int) error {
			for range rounds {
				var err error
				if sessions == 1 {
					_, err = ours.Encrypt(ctx, names[0], text)
				} else {
					_, err = ours.EncryptBatch(ctx, names, text)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		decrypt: func(rounds int) func(int) error {
			sealed := make([]map[conclave.SessionID][]byte, rounds)
			for i := range sealed {
				sealed[i] = must(peer.EncryptBatch(ctx, names, text))
			}
			return func(int) error {
				errs := make(chan error, sessions)
				var all sync.WaitGroup
				for _, id := range names {
					all.Go(func() {
						for _, round := range sealed {
							if _, err := ours.Decrypt(ctx, id, round[id]); err != nil {
								errs <- err
								return
							}
						}
					})
				}
				all.Wait()
				close(errs)
				return <-errs
			}
		},
		close: func() {
			check(engine.Close())
			check(peerEngine.Close())
		},
	}
}
