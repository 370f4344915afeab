package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

// enrollments is how many there are at once.
func enrollments() int {
	if testing.Short() {
		return 500
	}
	return 10_000
}

func enrolID(i int) conclave.ClientID {
	return conclave.ClientID(fmt.Sprintf("4af3df2e-5c01-422f-baa1-d75546b92aa7:%x@wire.example", i+1))
}

// BenchmarkEnrollmentMemory measures what an enrolment holds that waits for its first answer: its actor, two keys and the machine.
func BenchmarkEnrollmentMemory(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		e, err := conclave.Open(ctx, "", conclave.Options{InMemory: true})
		if err != nil {
			b.Fatal(err)
		}
		c, err := e.Client(ctx, enrolID(0), conclave.ClientOptions{NoCredential: true})
		if err != nil {
			b.Fatal(err)
		}
		before := heapInUse()
		for range enrollments() {
			if _, err := c.NewEnrollment(ctx, conclave.EnrollmentOptions{DisplayName: "Alice Smith", Handle: "alice_wire"}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapInUse()-before)/float64(enrollments()), "B/enrollment")
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnroll has ten thousand clients enrol at once: all wait for their users, then all go on. The server in memory is one and serves one request at
// a time; the time is its as much as the engine's. The clock of all stands still: a device's proof is good for minutes, and on a slow machine it waits longer
// than that behind ten thousand others.
func BenchmarkEnroll(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		b.StopTimer()
		start := time.Now()
		now := func() time.Time { return start }
		e, err := conclave.Open(ctx, "", conclave.Options{InMemory: true, Now: now})
		if err != nil {
			b.Fatal(err)
		}
		world := acmetest.New(now)
		clients := make([]*conclave.Client, enrollments())
		for i := range clients {
			if clients[i], err = e.Client(ctx, enrolID(i), conclave.ClientOptions{NoCredential: true}); err != nil {
				b.Fatal(err)
			}
			if _, err := clients[i].RegisterTrustAnchor(ctx, []byte(world.Root())); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		began := time.Now()
		if err := enrolAll(ctx, world, clients); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(enrollments())/time.Since(began).Seconds(), "enrollments/s")
		b.StopTimer()
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// enrolAll enrols all clients; no user signs in before all have been asked to.
func enrolAll(ctx context.Context, world *acmetest.World, clients []*conclave.Client) error {
	var asked, done sync.WaitGroup
	asked.Add(len(clients))
	hooks := conclave.EnrollHooks{
		HTTPRequest: func(_ context.Context, r enrollment.Request) (enrollment.Response, error) { return world.Do(r), nil },
		Authenticate: func(_ context.Context, a enrollment.Authentication) (string, error) {
			asked.Wait()
			return world.Authenticate(a.KeyAuth, a.Audience, "Alice Smith", "alice_wire", "wire.example"), nil
		},
		BackendNonce:       func(context.Context) (string, error) { return world.BackendNonce(), nil },
		BackendAccessToken: func(_ context.Context, dpop string) (string, error) { return world.AccessToken(dpop) },
	}
	options := conclave.EnrollOptions{EnrollmentOptions: conclave.EnrollmentOptions{DisplayName: "Alice Smith", Handle: "alice_wire", Directory: world.Directory()}}
	options.HookTimeout, options.AuthenticateTimeout = time.Hour, time.Hour
	failed := make(chan error, len(clients))
	for _, c := range clients {
		done.Add(1)
		go func() {
			defer done.Done()
			arrive := sync.OnceFunc(asked.Done)
			defer arrive() // one that fails holds up nobody
			hooks := hooks
			hooks.Progress = func(p conclave.EnrollProgress) {
				if p.Step == enrollment.StepIDToken {
					arrive()
				}
			}
			if _, err := c.Enroll(ctx, options, hooks); err != nil {
				failed <- err
			}
		}()
	}
	done.Wait()
	close(failed)
	return <-failed
}
