package conclave_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// world is an engine in memory, a delivery service, and devices that live in both.
type world struct {
	t       *testing.T
	engine  *conclave.Engine
	ds      *enginetest.DeliveryService
	devices map[conclave.ClientID]*enginetest.Device
}

// newWorld opens one. How long a send takes fails no test: some have a delivery service that answers only after much work of others.
func newWorld(t *testing.T, names ...conclave.ClientID) *world {
	t.Helper()
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, SendTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, engine: e, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*enginetest.Device)}
	for _, name := range names {
		w.open(name, conclave.ClientOptions{})
	}
	return w
}

func (w *world) open(name conclave.ClientID, o conclave.ClientOptions) *enginetest.Device {
	w.t.Helper()
	d, err := enginetest.Open(w.t.Context(), w.engine, w.ds, name, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.devices[name] = d
	return d
}

// group creates a conversation of the first device and adds the others in one commit.
func (w *world) group(id conclave.ConversationID, names ...conclave.ClientID) []*enginetest.Device {
	w.t.Helper()
	var list []*enginetest.Device
	for _, name := range names {
		list = append(list, w.devices[name])
	}
	if err := list[0].CreateConversation(w.t.Context(), id, conclave.ConversationOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if len(names) > 1 {
		if err := list[0].Add(w.t.Context(), id, names[1:]...); err != nil {
			w.t.Fatal(err)
		}
	}
	w.settle()
	return list
}

// settle lets every device process what waits for it, until nothing waits, and returns all texts. Any error fails the test.
func (w *world) settle() map[conclave.ClientID][]string {
	w.t.Helper()
	texts := make(map[conclave.ClientID][]string)
	for name, d := range w.devices {
		events, err := d.Receive(w.t.Context())
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		for _, e := range events {
			if e.Err != nil {
				w.t.Fatalf("%s: %v", name, e.Err)
			}
			texts[name] = append(texts[name], e.Texts()...)
		}
	}
	return texts
}

func (w *world) agree(id conclave.ConversationID) {
	w.t.Helper()
	if err := enginetest.Agree(w.t.Context(), w.ds, id, w.devices); err != nil {
		w.t.Error(err)
	}
}

// wantCode fails the test unless the error is of a code.
func wantCode(t *testing.T, err error, want conclave.Code) {
	t.Helper()
	if !conclaveIs(err, want) {
		t.Errorf("error %v, want code %s", err, string(want))
	}
}

func wantEpoch(t *testing.T, d *enginetest.Device, id conclave.ConversationID, want uint64) {
	t.Helper()
	got, err := d.ConversationEpoch(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s is in epoch %d of %s, want %d", d.ID(), got, id, want)
	}
}

func wantText(t *testing.T, d *enginetest.Device, id conclave.ConversationID, sealed []byte, want string) {
	t.Helper()
	got, err := d.DecryptMessage(context.WithoutCancel(t.Context()), id, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got.Outcome != conclave.OutcomeText || !bytes.Equal(got.Plaintext, []byte(want)) {
		t.Errorf("%s read %v %q, want %q", d.ID(), got.Outcome, []byte(got.Plaintext), want)
	}
}
