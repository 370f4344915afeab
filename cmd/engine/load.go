package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/conclave-mls/conclave"
)

const aboutLoad = `Drives one engine with many clients, conversations and sizes of messages, and measures it. Every conversation has one call
under way at any time: one member encrypts a text or commits an update of its keys, and then the other members decrypt the
text or process the commit. Every text is compared with what was sent. The measured time goes half to sweeps, over the
numbers of conversations and of cores, and half to a steady phase with everything at work; making the conversations comes
on top. Ends with tables, with a report as one HTML file if -report names one, and with 1 if anything went wrong.`

// loadOptions are the flags of "engine load".
type loadOptions struct {
	length        time.Duration
	clients       int
	conversations counts
	members       counts
	sizes         counts
	cores         counts
	mix           mix
	suite         int
	store         string
	state         int // MiB; 0 is no bound
	dir           string
	report        string
	seed          uint64
}

// counts is a flag of numbers with commas between them.
type counts []int

func (c *counts) String() string {
	var parts []string
	for _, n := range *c {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ",")
}

func (c *counts) Set(s string) error {
	*c = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not a number; write numbers with commas between them, like 1,8,64", part)
		}
		*c = append(*c, n)
	}
	return nil
}

// mix is a flag of three weights: how many of the calls encrypt, decrypt and commit.
type mix struct{ encrypt, decrypt, commit int }

func (m *mix) String() string { return fmt.Sprintf("%d/%d/%d", m.encrypt, m.decrypt, m.commit) }

func (m *mix) Set(s string) error {
	var weights [3]int
	parts := strings.Split(s, "/")
	if len(parts) != len(weights) {
		return fmt.Errorf("want ENCRYPT/DECRYPT/COMMIT, like 49/49/2")
	}
	for i, part := range parts {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 || n > 1_000_000 {
			return fmt.Errorf("%q is not a weight of 0 to 1000000; want ENCRYPT/DECRYPT/COMMIT, like 49/49/2", part)
		}
		weights[i] = n
	}
	m.encrypt, m.decrypt, m.commit = weights[0], weights[1], weights[2]
	return nil
}

// readers is how many members decrypt each text: the mix's decrypts for an encrypt, rounded.
func (m *mix) readers() int { return int(math.Round(float64(m.decrypt) / float64(m.encrypt))) }

// commitShare is the probability that a conversation's next step is a commit, so that commits are the mix's share of all calls that encrypt, decrypt and commit.
func (m *mix) commitShare() float64 {
	c := float64(m.commit) / float64(m.encrypt+m.decrypt+m.commit)
	r := float64(m.readers())
	return c * (1 + r) / (1 + c*r)
}

// Where an engine under load keeps its records.
const (
	storeDurable  = "durable"
	storeUnsynced = "unsynced"
	storeMemory   = "memory"
)

func (o *loadOptions) validate() error {
	type bound struct {
		flag       string
		values     []int
		least, max int
	}
	for _, b := range []bound{
		{"clients", []int{o.clients}, 1, 10_000},
		{"conversations", o.conversations, 1, 1_000_000},
		{"members", o.members, 1, 10_000},
		{"size", o.sizes, 16, 1 << 20},
		{"cores", o.cores, 1, runtime.NumCPU()},
		{"suite", []int{o.suite}, 1, 7},
		{"state", []int{o.state}, 0, 1 << 20},
	} {
		for _, v := range b.values {
			if v < b.least || v > b.max {
				return fmt.Errorf("-%s holds %d; choose %d to %d", b.flag, v, b.least, b.max)
			}
		}
	}
	if o.length < 100*time.Millisecond || o.length > 7*24*time.Hour {
		return fmt.Errorf("-for is %v; choose 100ms to 168h", o.length)
	}
	if o.mix.encrypt == 0 {
		return fmt.Errorf("-mix %s makes nothing that could be decrypted; choose at least 1 to encrypt", o.mix.String())
	}
	active := o.mix.readers() + 1
	if least := slices.Min(o.members); least < active {
		return fmt.Errorf("-mix %s has every text decrypted by %d members besides its sender, and -members holds %d; choose at least %d members", o.mix.String(), active-1, least, active)
	}
	if o.clients < active {
		return fmt.Errorf("-mix %s needs %d clients of the engine in each conversation; choose -clients %d or more", o.mix.String(), active, active)
	}
	switch o.store {
	case storeDurable, storeUnsynced:
	case storeMemory:
		if o.dir != "" {
			return fmt.Errorf("-store memory keeps nothing in -dir; leave one of them out")
		}
	default:
		return fmt.Errorf("-store is %q; choose %s, %s or %s", o.store, storeDurable, storeUnsynced, storeMemory)
	}
	return nil
}

// allCores returns 1, 2, 4 and so on, and last the number of cores.
func allCores() counts {
	var c counts
	for n := 1; n < runtime.NumCPU(); n *= 2 {
		c = append(c, n)
	}
	return append(c, runtime.NumCPU())
}

func loadCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o := loadOptions{conversations: counts{1, 8, 64, 512}, members: counts{2}, sizes: counts{1024}, cores: allCores(), mix: mix{49, 49, 2}}
	set := flags("load", "", aboutLoad, stderr)
	set.DurationVar(&o.length, "for", 15*time.Second, "measured time of all phases together")
	set.IntVar(&o.clients, "clients", 64, "clients in the engine, among whom the conversations are")
	set.Var(&o.conversations, "conversations", "numbers of conversations to sweep over; the greatest is at work in the other phases")
	set.Var(&o.members, "members", "members of a conversation; with several numbers the conversations take turns. Those whom the mix does not need are leaves that never act")
	set.Var(&o.sizes, "size", "bytes of a text, 16 at least; with several numbers each text has one of them")
	set.Var(&o.cores, "cores", "numbers of cores to sweep over, as GOMAXPROCS")
	set.Var(&o.mix, "mix", "weights of ENCRYPT/DECRYPT/COMMIT among the calls. DECRYPT over ENCRYPT, rounded, is how many members decrypt each text; they process each commit too, beside the mix")
	set.IntVar(&o.suite, "suite", 1, "cipher suite, 1 to 7")
	set.StringVar(&o.store, "store", storeDurable, "durable: synced before a call returns; unsynced: left to the operating system; memory: no disk at all")
	set.IntVar(&o.state, "state", 0, "MiB of conversations at rest that may stay in memory, by the engine's estimate; 0 is all of them")
	set.StringVar(&o.dir, "dir", "", "directory that must not exist, to keep the engine's state in, with its key in DIR.key: say on which disk (default: a temporary one, removed at the end)")
	set.StringVar(&o.report, "report", "", "file for the report, HTML with everything in it")
	set.Uint64Var(&o.seed, "seed", 1, "chooses who is in which conversation and who does what; keys are random all the same")
	if err := parse(set, args, 0, 0); err != nil {
		return err
	}
	for _, c := range []*counts{&o.conversations, &o.cores} {
		slices.Sort(*c)
		*c = slices.Compact(*c)
	}
	if err := o.validate(); err != nil {
		return err
	}
	report, err := newReportFile(o.report)
	if err != nil {
		return err
	}
	defer report.discard()
	key := make(conclave.Secret, conclave.KeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	dir := o.dir
	if o.store != storeMemory && dir == "" {
		temporary, err := os.MkdirTemp("", "engine-load-")
		if err != nil {
			return fmt.Errorf("%w; name a directory with -dir", err)
		}
		defer func() { _ = os.RemoveAll(temporary) }()
		dir = filepath.Join(temporary, "state")
	} else if dir != "" {
		if err := writeKey(keyFileOf(dir), key); err != nil {
			return fmt.Errorf("%w; choose a directory that does not exist yet with -dir", err)
		}
	}

	l := &load{options: o, began: time.Now()}
	l.enter("opening")
	stop := everySecond(func() { l.line(stdout) })
	results, err := l.run(ctx, dir, key)
	stop()
	if err != nil {
		return explain(err, dir)
	}
	results.print(stdout)
	if o.report != "" {
		if err := report.write(results); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "\nreport: %s\n", o.report)
	}
	return nil
}

// line prints where the load is.
func (l *load) line(w io.Writer) {
	fmt.Fprintf(w, "%5.1fs  %-24s conversations %d", time.Since(l.began).Seconds(), *l.phase.Load(), l.made.Load())
	if m := l.measured.Load(); m != nil && !m.began.IsZero() {
		n := uint64(0)
		for op := range m.ops {
			n += m.ops[op].count()
		}
		fmt.Fprintf(w, ", %.0f calls a second", float64(n)/time.Since(m.began).Seconds())
	}
	fmt.Fprintln(w)
}

// print writes the tables of the results.
func (r *results) print(w io.Writer) {
	table := func(rows [][]string) {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, row := range rows {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		_ = t.Flush()
	}
	for _, t := range []tableOf{r.operationTable(), r.conversationTable(), r.coreTable()} {
		table(append([][]string{t.Head}, t.Rows...))
	}
	table(r.summary())
}

// everySecond calls f each second and once at the end, which is when the returned function is called.
func everySecond(f func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-done:
				f()
				return
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
