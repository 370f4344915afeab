package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave"
)

// messageCells are the cells of the message benchmarks, the smallest first. Those
// of one world stand together.
func messageCells(checkpoints bool) []cell {
	var cells []cell
	add := func(d dialect, kind storeKind, members int, conversations, sizes []int, checkpoint bool) {
		for _, n := range conversations {
			for _, size := range sizes {
				cells = append(cells, cell{suite: d.suite, conversations: n, members: members, size: size, store: kind, checkpoint: checkpoint, rfc: d.rfc})
			}
		}
	}
	var (
		conversations = []int{1, 8, 64, 512}
		sizes         = []int{16, 1 << 10, 64 << 10}
	)
	for _, suite := range []uint16{1, 2} {
		for _, members := range []int{2, 100, 1000} {
			for _, kind := range []storeKind{durable, memory} {
				add(dialect{suite: suite}, kind, members, conversations, sizes, false)
			}
		}
	}
	if checkpoints {
		add(dialect{suite: 1}, durable, 2, []int{1, 64}, []int{1 << 10}, true)
	}
	for _, members := range []int{2, 1000} {
		add(dialect{suite: 1, rfc: true}, durable, members, []int{64}, []int{1 << 10}, false)
	}
	return cells
}

// encryptCells are the cells of encrypting alone: several callers at once for each conversation, and generations leased.
func encryptCells() []cell {
	c := cell{suite: 1, conversations: 64, members: 2, size: 1 << 10, store: durable}
	several := c
	several.callers = 8
	leased := c
	leased.leased = true
	alone := leased
	alone.conversations = 1
	return []cell{several, alone, leased}
}

// Bounds of one round, whose messages are made before the clock runs. It is so long that
// its beginning and its end, where not all conversations are busy, do not matter, and
// so short that the floors before and after it were measured in the same weather.
const (
	perConversation = 64
	minRound        = 256
	maxRound        = 1 << 14
	maxRoundBytes   = 64 << 20
)

// filler is what plaintexts are filled with behind their first 16 bytes, which say
// of which conversation they are and the how manieth.
var filler = bytes.Repeat([]byte("conclave bench: "), 64<<10/16)

func appendPlaintext(b []byte, c *conversation, n uint64, size int) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(c.number))
	b = binary.BigEndian.AppendUint64(b, n)
	return append(b, filler[:size-16]...)
}

var errPlaintext = errors.New("bench: wrong plaintext")

func checkPlaintext(got []byte, c *conversation, n uint64, size int) error {
	if len(got) != size || binary.BigEndian.Uint64(got) != uint64(c.number) || binary.BigEndian.Uint64(got[8:]) != n || !bytes.Equal(got[16:], filler[:size-16]) {
		return errPlaintext
	}
	return nil
}

// rounds runs b.N messages through the conversations of a cell, as many in each
// as in any other: prepare makes the inputs of counts[i] messages of conversation
// i, timed runs with the clock, and check looks at the results.
func (w *world) rounds(b *testing.B, c cell, work string, prepare, timed, check func(counts []int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	m := &meter{b: b, scales: c.messageScales(work)}
	round := max(min(max(perConversation*c.conversations, minRound), maxRound, maxRoundBytes/c.size), c.conversations)
	rounds := (b.N + round - 1) / round
	before := w.engine.Metrics()
	for i := range rounds {
		n := b.N*(i+1)/rounds - b.N*i/rounds
		counts := make([]int, c.conversations)
		for j := range counts {
			counts[j] = n / len(counts)
			if j < n%len(counts) {
				counts[j]++
			}
		}
		if err := prepare(counts); err != nil {
			b.Fatal(err)
		}
		m.stretch(n, func() error { return timed(counts) })
		if err := check(counts); err != nil {
			b.Fatal(err)
		}
	}
	after := w.engine.Metrics()
	b.ReportMetric(1e9/nanosPerOp(b), "msg/s")
	m.report()
	if c.store == durable {
		b.ReportMetric(float64(after.LogBytes-before.LogBytes)/float64(b.N), "written-B/msg")
		b.ReportMetric(float64(after.LogFileBytes-before.LogFileBytes)/float64(b.N), "wal-B/msg")
		b.ReportMetric(float64(b.N)/float64(max(1, after.Syncs-before.Syncs)), "msg/sync")
	}
	b.ReportMetric(float64(w.heap)/float64(len(w.conversations)), "heap-B/conversation")
}

// messageScales are what the messages of a cell are compared with.
func (c cell) messageScales(work string) []*scale {
	all := []*scale{floorScale(c.suite, work, c.size)}
	alone := floorKey{c.suite, work, c.size, 1}
	switch {
	case c.store == memory && runtime.GOMAXPROCS(0) > 1:
		all = append(all, &scale{unit: "x-floor-alone", floors: []floorKey{alone}})
	case c.store == durable && c.conversations == 1 && !c.checkpoint && !c.leased:
		all = append(all, &scale{unit: "x-sync-floor", floors: []floorKey{alone, {c.suite, workSync, 0, 1}}})
	}
	return all
}

// each runs f for every conversation in a goroutine of its own.
func (w *world) each(counts []int, f func(c *conversation, i, count int) error) error {
	errs := make([]error, len(counts))
	var wg sync.WaitGroup
	for i, count := range counts {
		if count > 0 {
			wg.Go(func() { errs[i] = f(&w.conversations[i], i, count) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// together runs f(0) to f(n-1) at once, the first on the caller's goroutine.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := 1; i < n; i++ {
		wg.Go(func() { errs[i] = f(i) })
	}
	errs[0] = f(0)
	wg.Wait()
	return errors.Join(errs...)
}

// letters makes what the conversations are to decrypt, for each its messages.
func (w *world) letters(counts []int, size int) ([][][]byte, error) {
	out := make([][][]byte, len(counts))
	return out, forEach(len(counts), func(i int) error {
		c := &w.conversations[i]
		out[i] = make([][]byte, counts[i])
		for n := range out[i] {
			var err error
			if out[i][n], err = c.encrypt(appendPlaintext(make([]byte, 0, size), c, c.sent, size)); err != nil {
				return err
			}
			c.sent++
		}
		return nil
	})
}

func BenchmarkDecrypt(b *testing.B) {
	run(b, append(messageCells(true), coldCells()...), func(b *testing.B, c cell) {
		if c.cold {
			decryptCold(b, c)
			return
		}
		w := worldOf(b, c)
		var letters [][][]byte
		prepare := func(counts []int) (err error) {
			letters, err = w.letters(counts, c.size)
			return err
		}
		decrypt := (*conversation).decrypt
		if c.checkpoint {
			decrypt = (*conversation).decryptAndSet
		}
		timed := func(counts []int) error {
			return w.each(counts, func(conv *conversation, i, count int) error {
				for _, m := range letters[i] {
					got, err := decrypt(conv, b.Context(), m)
					if err == nil {
						err = checkPlaintext(got, conv, conv.next, c.size)
					}
					if err != nil {
						return err
					}
					conv.next++
				}
				return nil
			})
		}
		w.rounds(b, c, workDecrypt, prepare, timed, func([]int) error { return nil })
	})
}

func (c *conversation) decrypt(ctx context.Context, message []byte) ([]byte, error) {
	out, err := c.client.DecryptMessage(ctx, c.id, message)
	return out.Plaintext, err
}

// checkpoint is what the transactions set.
var checkpoint = bytes.Repeat([]byte("checkpoint data "), 4)

func (c *conversation) decryptAndSet(ctx context.Context, message []byte) (plaintext []byte, err error) {
	err = c.client.Transaction(ctx, func(tx *conclave.Tx) error {
		out, err := tx.DecryptMessage(ctx, c.id, message)
		if err != nil {
			return err
		}
		plaintext = out.Plaintext
		return tx.SetData(ctx, checkpoint)
	})
	return plaintext, err
}

// BenchmarkDecryptAll gives all messages of a round to one stream for each client,
// in turn of the conversations.
func BenchmarkDecryptAll(b *testing.B) {
	run(b, messageCells(false), func(b *testing.B, c cell) {
		w := worldOf(b, c)
		var letters [][][]byte
		prepare := func(counts []int) (err error) {
			letters, err = w.letters(counts, c.size)
			return err
		}
		timed := func(counts []int) error {
			groups := groupsFor(w.members, len(counts))
			errs := make([]error, (len(counts)+groups-1)/groups)
			var wg sync.WaitGroup
			for k := range errs {
				wg.Go(func() {
					first, last := k*groups, min((k+1)*groups, len(counts))
					errs[k] = w.decryptAll(b.Context(), first, letters[first:last], c.size)
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		}
		w.rounds(b, c, workDecrypt, prepare, timed, func([]int) error { return nil })
	})
}

// decryptAll decrypts the messages of the conversations from first on, which are
// all of one client.
func (w *world) decryptAll(ctx context.Context, first int, letters [][][]byte, size int) error {
	at := make(map[conclave.ConversationID]*conversation, len(letters))
	total := 0
	for i := range letters {
		conv := &w.conversations[first+i]
		at[conv.id] = conv
		total += len(letters[i])
	}
	var stream iter.Seq[conclave.Incoming] = func(yield func(conclave.Incoming) bool) {
		for n := range len(letters[0]) {
			for i := range letters {
				if n < len(letters[i]) && !yield(conclave.Incoming{Conversation: w.conversations[first+i].id, Message: letters[i][n]}) {
					return
				}
			}
		}
	}
	if total == 0 {
		return nil
	}
	for out, err := range w.conversations[first].client.DecryptAll(ctx, stream) {
		if err != nil {
			return err
		}
		conv := at[out.Conversation]
		if err := checkPlaintext(out.Message.Plaintext, conv, conv.next, size); err != nil {
			return err
		}
		conv.next++
		total--
	}
	if total != 0 {
		return fmt.Errorf("bench: %d messages got no answer", total)
	}
	return nil
}

func BenchmarkEncrypt(b *testing.B) {
	run(b, append(messageCells(false), encryptCells()...), func(b *testing.B, c cell) {
		w := worldOf(b, c)
		var plaintexts, sealed [][][]byte
		prepare := func(counts []int) error {
			plaintexts, sealed = make([][][]byte, len(counts)), make([][][]byte, len(counts))
			for i, count := range counts {
				sealed[i] = make([][]byte, count)
				for n := range count {
					plaintexts[i] = append(plaintexts[i], appendPlaintext(make([]byte, 0, c.size), &w.conversations[i], uint64(n), c.size))
				}
			}
			return nil
		}
		timed := func(counts []int) error {
			callers := max(1, c.callers)
			return w.each(counts, func(conv *conversation, i, count int) error {
				// Callers take the next text in turn, so that none falls behind further than
				// receivers keep keys for.
				var next atomic.Int64
				return together(callers, func(int) (err error) {
					for n := int(next.Add(1)) - 1; n < count && err == nil; n = int(next.Add(1)) - 1 {
						sealed[i][n], err = conv.client.EncryptMessage(b.Context(), conv.id, plaintexts[i][n])
					}
					return err
				})
			})
		}
		check := func(counts []int) error {
			return forEach(len(counts), func(i int) error {
				conv := &w.conversations[i]
				for n, m := range sealed[i] {
					got, err := conv.process(m)
					if err == nil {
						err = checkPlaintext(got, conv, uint64(n), c.size)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		w.rounds(b, c, workEncrypt, prepare, timed, check)
	})
}
