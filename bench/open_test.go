package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// Opening is timed in a process of its own, as its memory is looked at too. The
// process is this program again, with the directory in the environment.
const (
	openEnv  = "CONCLAVE_BENCH_OPEN"  // open, use one conversation in a hundred, report
	killEnv  = "CONCLAVE_BENCH_KILL"  // write until the log is long, say so, wait
	countEnv = "CONCLAVE_BENCH_COUNT" // conversations in the directory
)

// storedID is the group id of a stored conversation.
func storedID(i int) conclave.ConversationID {
	return conclave.ConversationID(fmt.Sprintf("stored %9d", i))
}

var storedClient = conclave.ClientID("stored")

// openStored opens a directory and its one client.
func openStored(ctx context.Context, dir string, o conclave.Options) (*conclave.Engine, *conclave.Client, error) {
	o.Key = make(conclave.Secret, store.KeySize)
	e, err := conclave.Open(ctx, dir, o)
	if err != nil {
		return nil, nil, err
	}
	c, err := e.Client(ctx, storedClient, conclave.ClientOptions{})
	if err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	return e, c, nil
}

// stride is how many stored conversations there are for each that can be used. Of very
// many, those that nobody uses are copies of one: making them takes hours otherwise, and
// who opens a store does not look at them.
func stride(conversations int) int {
	if conversations > 100_000 {
		return 100
	}
	return 1
}

// storedDirs are closed stores, by the number of their conversations.
var storedDirs = map[int]string{}

// storedDir returns a closed store with so many conversations of two.
func storedDir(b *testing.B, conversations int) string {
	b.Helper()
	if dir := storedDirs[conversations]; dir != "" {
		return dir
	}
	dir := filepath.Join(scratchDir(b), "store")
	ctx := b.Context()
	e, c, err := openStored(ctx, dir, conclave.Options{NoSync: true, IdleAfter: 5 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	founder, err := newIdentity(dialect{suite: 1}, "founder")
	if err != nil {
		b.Fatal(err)
	}
	const chunk = 1000
	step := stride(conversations)
	for first := 0; first < conversations; first += chunk * step {
		n := min(chunk, (conversations-first+step-1)/step)
		tickets, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: n})
		if err == nil {
			err = forEach(n, func(i int) error {
				kp, err := mlsgroup.ParseKeyPackage(tickets[i].KeyPackage)
				if err != nil {
					return err
				}
				p, err := founder.found(storedID(first + i*step))
				if err != nil {
					return err
				}
				_, commit, err := p.commit(false, addProposals(kp)...)
				if err != nil {
					return err
				}
				_, err = c.ProcessWelcome(ctx, commit.Welcome, conclave.JoinOptions{})
				return err
			})
		}
		if err != nil {
			b.Fatal(errors.Join(err, e.Close()))
		}
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	if step > 1 {
		if err := copyConversations(dir, conversations, step); err != nil {
			b.Fatal(err)
		}
	}
	storedDirs[conversations] = dir
	return dir
}

// copyConversations writes the records of the first conversation again under the keys of
// those that are missing.
func copyConversations(dir string, conversations, step int) (err error) {
	s, err := store.Open(dir, store.Options{Key: make(conclave.Secret, store.KeySize), NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	first, err := s.Range(store.Range{Low: store.Client(0).Prefix(nil), Limit: 1})
	if err != nil || len(first) == 0 {
		return fmt.Errorf("bench: no client in the store: %w", err)
	}
	client := store.Client(binary.BigEndian.Uint64(first[0].Key[1:]))
	key := func(i int) store.ConversationKey { return s.Keys().Conversation(client, []byte(storedID(i))) }
	records, err := s.Range(store.PrefixRange(client.Incarnations(nil, key(0))))
	if err != nil {
		return err
	}
	pointer, err := s.GetMany(client.Pointer(nil, key(0)))
	if err != nil || len(records) == 0 || pointer[0] == nil {
		return fmt.Errorf("bench: no conversation in the store: %w", err)
	}
	behind := len(client.Incarnations(nil, key(0)))
	set := new(store.ChangeSet)
	for i := range conversations {
		if i%step == 0 {
			continue
		}
		conv := key(i)
		set.Put(client.Pointer(nil, conv), pointer[0])
		for _, r := range records {
			set.Put(append(client.Incarnations(nil, conv), r.Key[behind:]...), r.Value)
		}
		if set.Size() > 1<<20 {
			if err := s.Apply(set); err != nil {
				return err
			}
			set.Wipe()
		}
	}
	return s.Apply(set)
}

// BenchmarkOpen opens a store and its client, in a process of its own: after Close,
// or after the process before was killed with much in the log. resident-B is the
// memory of the process when one conversation in a hundred has been used.
func BenchmarkOpen(b *testing.B) {
	var cells []cell
	for _, n := range []int{100, 10_000, 100_000, 1_000_000} {
		cells = append(cells, cell{conversations: n}, cell{conversations: n, killed: true})
	}
	run(b, cells, func(b *testing.B, c cell) {
		dir := storedDir(b, c.conversations)
		var total time.Duration
		var last opened
		for range b.N {
			if c.killed {
				if err := writeAndKill(b.Context(), dir, c.conversations); err != nil {
					b.Fatal(err)
				}
			}
			var err error
			if last, err = openInChild(b.Context(), dir, c.conversations); err != nil {
				b.Fatal(err)
			}
			total += last.took
		}
		b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/op")
		b.ReportMetric(float64(last.heap)/float64(c.conversations), "heap-B/conversation")
		b.ReportMetric(float64(last.resident), "resident-B")
	})
}

// opened is what the child that opens reports.
type opened struct {
	took           time.Duration
	heap, resident uint64
}

func child(ctx context.Context, env, dir string, conversations int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+dir, countEnv+"="+strconv.Itoa(conversations))
	cmd.Stderr = os.Stderr
	return cmd
}

func openInChild(ctx context.Context, dir string, conversations int) (o opened, err error) {
	out, err := child(ctx, openEnv, dir, conversations).Output()
	if err != nil {
		return o, err
	}
	_, err = fmt.Sscan(string(out), (*int64)(&o.took), &o.heap, &o.resident)
	return o, err
}

// writeAndKill lets a child fill the log and kills it.
func writeAndKill(ctx context.Context, dir string, conversations int) error {
	cmd := child(ctx, killEnv, dir, conversations)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
	if err == nil && line != "written\n" {
		err = fmt.Errorf("bench: the child said %q", line)
	}
	return err
}

// runChild does what the environment asks this process for, if anything.
func runChild() (ran bool, err error) {
	conversations, _ := strconv.Atoi(os.Getenv(countEnv))
	if dir := os.Getenv(openEnv); dir != "" {
		return true, reportOpen(context.Background(), dir, conversations)
	}
	if dir := os.Getenv(killEnv); dir != "" {
		return true, writeForever(context.Background(), dir, conversations)
	}
	return false, nil
}

func reportOpen(ctx context.Context, dir string, conversations int) error {
	before := heapInUse()
	start := time.Now()
	e, c, err := openStored(ctx, dir, conclave.Options{})
	if err != nil {
		return err
	}
	took := time.Since(start)
	err = forEach((conversations+99)/100, func(i int) error {
		_, err := c.EncryptMessage(ctx, storedID(i*100), filler[:1<<10])
		return err
	})
	if err != nil {
		return errors.Join(err, e.Close())
	}
	heap := heapInUse()
	fmt.Println(int64(took), max(heap, before)-before, residentBytes())
	return e.Close()
}

// residentBytes is the memory the operating system has given this process: by its
// own account where it gives one, else by the runtime's.
func residentBytes() uint64 {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range bytes.Lines(b) {
			if rest, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
				var kib uint64
				if _, err := fmt.Sscan(rest, &kib); err == nil {
					return kib << 10
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

// longLog is how much the log holds when the child is killed, in bytes; less than
// a memtable, whose flush would shorten it. A short store gets a shorter log.
func longLog(conversations int) uint64 {
	return uint64(min(48<<20, conversations<<10))
}

// writeForever encrypts in many conversations until the log is long, says so, and
// goes on: the kill comes amid writing.
func writeForever(ctx context.Context, dir string, conversations int) error {
	e, c, err := openStored(ctx, dir, conclave.Options{})
	if err != nil {
		return err
	}
	start := e.Metrics().LogBytes
	var said atomic.Bool
	const callers = 64
	step := stride(conversations)
	errs := make(chan error, callers)
	for k := range callers {
		go func() {
			for i := k; ; i += callers {
				if _, err := c.EncryptMessage(ctx, storedID(i*step%conversations), filler[:1<<10]); err != nil {
					errs <- err
					return
				}
				if i%1024 == k && e.Metrics().LogBytes-start > longLog(conversations) && said.CompareAndSwap(false, true) {
					fmt.Println("written")
				}
			}
		}()
	}
	return errors.Join(<-errs, e.Close())
}
