package bench

import (
	"fmt"
	"strings"
	"testing"
)

// A cell is one line of the table. Its name is a contract: other tools read it.
// Fields that are zero do not show.
type cell struct {
	suite         uint16
	work          string // of a floor
	conversations int
	members       int
	size          int // of the plaintext, bytes
	store         storeKind
	checkpoint    bool   // each message in a transaction that sets data too
	callers       int    // of each conversation at once; 0 is one
	leased        bool   // the engine leases generations
	grown         bool   // the tree has grown member by member
	cold          bool   // the conversation is read from the store in the timed step
	level         string // of what a conversation has in memory
	budget        int    // for conversations at rest, bytes; negative is none
	killed        bool   // the store was not closed
	rfc           bool   // the RFC profile, else Wire's
}

// storeKind says where an engine keeps its records. It stands in names of cells.
type storeKind string

const (
	durable storeKind = "durable" // on disk, synced before the answer
	memory  storeKind = "memory"
)

// name is what comes after the benchmark's own name and a slash.
func (c cell) name() string {
	var parts []string
	add := func(show bool, format string, v ...any) {
		if show {
			parts = append(parts, fmt.Sprintf(format, v...))
		}
	}
	add(c.suite != 0, "suite=%d", c.suite)
	add(c.work != "", "work=%s", c.work)
	add(c.conversations != 0, "conversations=%d", c.conversations)
	add(c.members != 0, "members=%d", c.members)
	add(c.size != 0, "size=%s", sizeName(c.size))
	add(c.store != "", "store=%s", c.store)
	add(c.checkpoint, "checkpoint=data")
	add(c.callers != 0, "callers=%d", c.callers)
	add(c.leased, "generations=leased")
	add(c.grown, "tree=grown")
	add(c.cold, "state=cold")
	add(c.level != "", "level=%s", c.level)
	add(c.budget > 0, "budget=%s", sizeName(c.budget))
	add(c.budget < 0, "budget=none")
	add(c.killed, "after=kill")
	add(c.rfc, "profile=rfc")
	return strings.Join(parts, "/")
}

// sizeName writes bytes as 16B, 1KiB or 64KiB.
func sizeName(n int) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// run runs f as a benchmark of its own for each cell, in order; with -short for
// the first cell only, so the first is the smallest. Cells that share a fixture
// stand next to each other.
func run(b *testing.B, cells []cell, f func(b *testing.B, c cell)) {
	if testing.Short() {
		cells = cells[:1]
	}
	for _, c := range cells {
		b.Run(c.name(), func(b *testing.B) { f(b, c) })
	}
}

func TestCellNames(t *testing.T) {
	for _, tt := range []struct {
		cell cell
		want string
	}{
		{cell{suite: 1, conversations: 64, members: 2, size: 1 << 10, store: durable}, "suite=1/conversations=64/members=2/size=1KiB/store=durable"},
		{cell{suite: 2, conversations: 512, members: 1000, size: 16, store: memory}, "suite=2/conversations=512/members=1000/size=16B/store=memory"},
		{cell{suite: 1, conversations: 1, members: 2, size: 64 << 10, store: durable, checkpoint: true, rfc: true}, "suite=1/conversations=1/members=2/size=64KiB/store=durable/checkpoint=data/profile=rfc"},
		{cell{suite: 1, conversations: 64, members: 2, size: 1 << 10, store: durable, callers: 8}, "suite=1/conversations=64/members=2/size=1KiB/store=durable/callers=8"},
		{cell{suite: 1, conversations: 1, members: 2, size: 1 << 10, store: durable, leased: true}, "suite=1/conversations=1/members=2/size=1KiB/store=durable/generations=leased"},
		{cell{suite: 1, conversations: 1, members: 10_000, size: 1 << 10, store: durable, cold: true}, "suite=1/conversations=1/members=10000/size=1KiB/store=durable/state=cold"},
		{cell{suite: 1, members: 1000, store: durable}, "suite=1/members=1000/store=durable"},
		{cell{suite: 1, members: 1000, store: durable, cold: true}, "suite=1/members=1000/store=durable/state=cold"},
		{cell{suite: 1, members: 1000, store: durable, grown: true, cold: true}, "suite=1/members=1000/store=durable/tree=grown/state=cold"},
		{cell{conversations: 100000}, "conversations=100000"},
		{cell{conversations: 100000, killed: true}, "conversations=100000/after=kill"},
		{cell{conversations: 1000, budget: 1 << 20}, "conversations=1000/budget=1024KiB"},
		{cell{conversations: 1000, budget: -1}, "conversations=1000/budget=none"},
		{cell{suite: 1, work: "decrypt", size: 1 << 10}, "suite=1/work=decrypt/size=1KiB"},
	} {
		if got := tt.cell.name(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
