package stepca

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/pki/crlfetch"
)

// TestFetch has a device's lists kept fresh from step-ca, so that a revocation is seen without anybody handing it in.
func TestFetch(t *testing.T) {
	m := newMeeting(t, 2)
	const interval = 10 * time.Minute
	fetched, rested := make(chan error), make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- crlfetch.Run(ctx, m.alice.Client, crlfetch.Options{
			Interval: interval,
			Report: func(url string, err error) {
				if url != m.ca.crl {
					t.Errorf("fetched %q", url)
				}
				fetched <- err
			},
			Now:   m.clock.now,
			After: func(time.Duration) <-chan time.Time { return rested },
		})
	}()
	fetch := func() {
		t.Helper()
		select {
		case err := <-fetched:
			if err != nil {
				t.Fatal(err)
			}
		case err := <-over:
			t.Fatal(err)
		}
	}
	fetch() // the first at once
	m.alice.state(m.id, conclave.E2EIStateVerified)
	m.ca.revoke(t, certificate(t, m.alice.sees(m.id, m.bob, conclave.DeviceStatusValid)))
	m.clock.forward(interval)
	rested <- m.clock.now()
	fetch()
	m.alice.state(m.id, conclave.E2EIStateNotVerified)
	m.alice.sees(m.id, m.bob, conclave.DeviceStatusRevoked)
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the end: %v", err)
	}
}
