package actors

import (
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
)

// TestRegistrationWaits: a transaction that has waited in vain to register something
// neither publishes what another has staged, nor drops it, however it ends.
func TestRegistrationWaits(t *testing.T) {
	for name, end := range map[string]func(*peer, messages.TransactionID){
		"finished": func(p *peer, tx messages.TransactionID) { p.finish(tx) },
		"aborted":  func(p *peer, tx messages.TransactionID) { p.abort(tx) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.peer("alice")
			anchors := func() int {
				return len(ask[messages.PKIRead](t, w.sys, alice.at(""), messages.ReadPKI{}).TrustAnchors)
			}
			register := func(domain string) messages.RegisterTrustAnchor {
				return messages.RegisterTrustAnchor{Certificate: pkitest.New(t, 1, domain, time.Now()).Root}
			}
			first, second := alice.begin(), alice.begin()
			ask[messages.TrustAnchorRegistered](t, w.sys, alice.in("", first), register("first.example"))
			ctx, cancel := context.WithCancel(t.Context())
			waits := newTask(ctx, register("second.example"))
			waits.tx = alice.transaction(second)
			registrations := alice.client().pki
			registrations.send(waits)
			pass(registrations)
			cancel()
			registrations.send(cancelTask{waits})
			wantError(t, (<-waits.result).err, context.Canceled)
			end(alice, second)
			if n := anchors(); n != 0 {
				t.Errorf("%d trust anchors while the registration is staged", n)
			}
			alice.finish(first)
			if n := anchors(); n != 1 {
				t.Errorf("%d trust anchors, want 1", n)
			}
			w.reopen()
			if n := anchors(); n != 1 {
				t.Errorf("%d trust anchors after a restart, want 1", n)
			}
		})
	}
}
