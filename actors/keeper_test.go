package actors

import (
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
)

// TestCallsWaitTogether: several single calls wait at the guard of a transaction, and
// all are served when it ends.
func TestCallsWaitTogether(t *testing.T) {
	anchor := func(t *testing.T, domain string) messages.Request {
		return messages.RegisterTrustAnchor{Certificate: pkitest.New(t, 1, domain, time.Now()).Root}
	}
	for name, end := range map[string]func(*peer, messages.TransactionID){
		"finished": func(p *peer, tx messages.TransactionID) { p.finish(tx) },
		"aborted":  func(p *peer, tx messages.TransactionID) { p.abort(tx) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.peer("alice")
			c, _ := w.sys.clients.load(alice.instance)
			credential := ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials[0].Ref
			var waiting []*task
			calls := func(to ref, requests ...messages.Request) {
				for _, r := range requests {
					waiting = append(waiting, newTask(context.Background(), r))
					to.send(waiting[len(waiting)-1])
				}
			}
			tx := alice.begin()
			ask[messages.TrustAnchorRegistered](t, w.sys, alice.in("", tx), anchor(t, "first.example"))
			ask[messages.KeyPackagesGenerated](t, w.sys, alice.in("", tx), messages.GenerateKeyPackages{Count: 1})
			calls(c.pki, anchor(t, "second.example"), anchor(t, "third.example"), anchor(t, "fourth.example"))
			generate, remove := messages.GenerateKeyPackages{Count: 1}, messages.RemoveCredential{Ref: credential}
			calls(c.actor, remove, generate, remove)
			calls(c.actor, messages.PutRotation{}, messages.PutRotation{})
			end(alice, tx)
			for _, call := range waiting {
				select {
				case <-call.result:
				case <-time.After(time.Minute):
					t.Fatalf("%T is not answered", call.request)
				}
			}
		})
	}
}
