package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/conclave-mls/conclave"
)

const aboutDemo = `Runs clients with conversations in one engine, without a network: a delivery service in memory takes one commit
for each epoch and tells the others that they are stale. Members are added and removed and update their keys,
and messages cross, all in parallel; half way through the engine is killed and its directory opened again.
Ends with a table, and with 1 if any two members of a conversation do not agree.`

type demoOptions struct {
	clients, conversations, members, operations int
	suite                                       int
	seed                                        uint64
	dir                                         string
}

func (o demoOptions) validate() error {
	for _, b := range []struct {
		flag       string
		value      int
		least, max int
	}{
		{"clients", o.clients, 2, 1000},
		{"conversations", o.conversations, 1, 100_000},
		{"members", o.members, 2, 1000},
		{"operations", o.operations, 1, 10_000_000},
		{"suite", o.suite, 1, 7},
	} {
		if b.value < b.least || b.value > b.max {
			return fmt.Errorf("-%s is %d; choose %d to %d", b.flag, b.value, b.least, b.max)
		}
	}
	return nil
}

func demoCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	set := flags("demo", "", aboutDemo, stderr)
	var o demoOptions
	set.IntVar(&o.clients, "clients", 24, "clients in the engine")
	set.IntVar(&o.conversations, "conversations", 200, "conversations among them")
	set.IntVar(&o.members, "members", 6, "most members a conversation begins with")
	set.IntVar(&o.operations, "operations", 4000, "messages, additions, removals and updates to make")
	set.IntVar(&o.suite, "suite", 1, "cipher suite, 1 to 7")
	set.Uint64Var(&o.seed, "seed", 1, "chooses who does what; keys are random all the same")
	set.StringVar(&o.dir, "dir", "", "directory to keep the engine's state in, with its key in DIR.key (default: a temporary one, removed at the end)")
	if err := parse(set, args, 0, 0); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	o.members = min(o.members, o.clients)
	key := make(conclave.Secret, conclave.KeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	if o.dir == "" {
		temporary, err := os.MkdirTemp("", "engine-demo-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temporary) }()
		o.dir = filepath.Join(temporary, "state")
	} else if err := writeKey(keyFileOf(o.dir), key); err != nil {
		return fmt.Errorf("%w; choose a directory that does not exist yet", err)
	}

	d := newDemo(o, key)
	stop := everySecond(func() { d.line(stdout) })
	err = d.run(ctx)
	stop()
	if err != nil {
		return explain(err, o.dir)
	}
	d.table(stdout)
	if len(d.disagreements) > 0 {
		return errors.Join(d.disagreements...)
	}
	return nil
}

func (d *demo) line(w io.Writer) {
	t := d.delivery.Totals()
	fmt.Fprintf(w, "%5.1fs  %-22s conversations %d, epochs %d, conflicts %d, messages %d, decrypted %d\n",
		time.Since(d.began).Seconds(), *d.phase.Load(), t.Conversations, t.Epochs, t.Conflicts, t.Messages, d.decrypted.Load())
}

func (d *demo) table(w io.Writer) {
	t := d.delivery.Totals()
	agree := "yes"
	if n := len(d.disagreements); n > 0 {
		agree = fmt.Sprintf("NO, %d conversations differ", n)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range [][2]string{
		{"clients", fmt.Sprint(d.options.clients)},
		{"conversations", fmt.Sprint(t.Conversations)},
		{"memberships at the end", fmt.Sprint(d.memberships)},
		{"messages and proposals sent", fmt.Sprint(t.Messages)},
		{"messages decrypted", fmt.Sprint(d.decrypted.Load())},
		{"epochs", fmt.Sprint(t.Epochs)},
		{"conflicts", fmt.Sprint(t.Conflicts)},
		{"crash", fmt.Sprintf("1, open again after %d ms, %d commits were in doubt", d.recovery.Milliseconds(), d.inDoubt)},
		{"decrypts per second", fmt.Sprintf("%.0f, durable, over %.0f messages", d.burst.rate, d.burst.messages)},
		{"bytes written per message", fmt.Sprintf("%.0f", d.burst.bytes)},
		{"all members' epoch authenticators agree", agree},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	_ = table.Flush()
}
