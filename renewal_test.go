package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
)

// TestRenewalTime holds that certificates are renewed in the last third of their time, spread over it, and each always at the same point.
func TestRenewalTime(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until := from.Add(90 * 24 * time.Hour)
	parts := make(map[int]int)
	for i := range 1000 {
		id := conclave.X509Identity{Certificate: fmt.Sprint(i), NotBefore: from, NotAfter: until}
		at := conclave.RenewalTime(id)
		if at.Before(from.Add(60*24*time.Hour)) || !at.Before(until) || !at.Equal(conclave.RenewalTime(id)) {
			t.Fatalf("certificate %d is renewed at %v", i, at)
		}
		parts[int(at.Sub(from)/(24*time.Hour))/3]++
	}
	if len(parts) != 10 {
		t.Errorf("renewals are spread over %v", parts)
	}
	if at := conclave.RenewalTime(conclave.X509Identity{NotBefore: until, NotAfter: from}); !at.Equal(until) {
		t.Errorf("a certificate of no time is renewed at %v", at)
	}
}

// TestRenew renews the certificate of a client that has a conversation and key packages, with the same key and with another.
func TestRenew(t *testing.T) {
	for _, kind := range []conclave.EnrollmentKind{conclave.EnrollmentRotation, conclave.EnrollmentNew} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			ctx, o := t.Context(), newOffice(t)
			c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true, Transport: always{make(chan []byte, 8)}})
			_, err := c.RenewalDue(ctx, 1)
			wantCode(t, err, conclave.CodeMissingExistingClient)
			first, err := c.Enroll(ctx, o.options(), o.hooks())
			must1(t, first, err)
			if due, err := c.RenewalDue(ctx, 1); err != nil || due.Before(time.Now()) {
				t.Errorf("renewal is due at %v, %v", due, err)
			}
			if err := c.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
				t.Fatal(err)
			}
			refused, published := errors.New("the backend is away"), 0
			options := conclave.RenewOptions{Enroll: o.options(), Rotate: conclave.RotateOptions{
				KeyPackages: 2, Publish: func(context.Context, []conclave.KeyPackageEntry) error { return refused },
			}}
			options.Enroll.Kind = kind
			if err := c.Renew(ctx, options, o.hooks()); !errors.Is(err, refused) {
				t.Fatal(err)
			}
			if due, err := c.RenewalDue(ctx, 1); err != nil || !due.IsZero() {
				t.Errorf("with a rotation under way renewal is due at %v, %v", due, err)
			}
			options.Rotate.Publish = func(_ context.Context, k []conclave.KeyPackageEntry) error { published = len(k); return nil }
			if err := c.Renew(ctx, options, o.hooks()); err != nil {
				t.Fatal(err)
			}
			found := certified(t, c)
			used, err := c.ConversationCredential(ctx, "room")
			if err != nil || len(found) != 1 || used != found[0].Ref || published != 2 {
				t.Errorf("credentials %v, the conversation has %x, %d key packages, %v", found, used, published, err)
			}
			if same := found[0].Ref == first.Credential.Ref; same != (kind == conclave.EnrollmentRotation) {
				t.Errorf("the key is the same: %t", same)
			}
			if s := o.Stats(); s.Certificates != 2 {
				t.Errorf("%d certificates were issued, want 2", s.Certificates)
			}
		})
	}
}

// TestRenewArguments refuses a rotation that could never end, before the server is asked; the corrected one goes through.
func TestRenewArguments(t *testing.T) {
	o := newOffice(t)
	c := o.client(newWorld(t).engine, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2}, Transport: always{make(chan []byte, 8)}})
	try := func(want conclave.Code, rotate conclave.RotateOptions) {
		t.Helper()
		wantCode(t, c.Renew(t.Context(), conclave.RenewOptions{Enroll: o.options(), Rotate: rotate}, o.hooks()), want)
	}
	try(conclave.CodeWrongCredential, conclave.RotateOptions{KeyPackages: 1, CipherSuites: []conclave.CipherSuite{1, 2}})
	try(conclave.CodeWrongCredential, conclave.RotateOptions{KeyPackages: 1, CipherSuites: []conclave.CipherSuite{99}})
	try(conclave.CodeInvalidArgument, conclave.RotateOptions{KeyPackages: -1})
	try(conclave.CodeInvalidArgument, conclave.RotateOptions{KeyPackages: 1 << 20})
	if n := o.Stats().Requests; n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
	if _, rotating, err := c.Rotating(t.Context()); rotating || err != nil {
		t.Errorf("a rotation is under way: %t, %v", rotating, err)
	}
	options := conclave.RenewOptions{Enroll: o.options(), Rotate: conclave.RotateOptions{KeyPackages: 1, CipherSuites: []conclave.CipherSuite{1}}}
	if err := c.Renew(t.Context(), options, o.hooks()); err != nil {
		t.Fatal(err)
	}
}
