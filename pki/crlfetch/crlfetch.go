// Package crlfetch keeps the revocation lists of a client fresh over HTTP, for applications that do not want to do so themselves.
//
// Nothing runs unless the application calls [Run], in a goroutine of its own:
//
//	go crlfetch.Run(ctx, client, crlfetch.Options{Wake: joined})
//
// The engine never waits for it: a list that does not come is a list that
// grows old, and what that means is for the policy of package pki to say.
package crlfetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

// Registry is whose lists are kept fresh: a client.
type Registry interface {
	// DistributionPoints returns the addresses of all lists that are wanted now. It is asked again and again.
	DistributionPoints(ctx context.Context) ([]string, error)
	// RegisterCRL takes a list, in DER, that was at an address. Up to [Options.Parallel] calls run at once.
	RegisterCRL(ctx context.Context, url string, der []byte) (pki.CRLRegistration, error)
}

// Options say how to fetch. The zero value will do; negative values are refused.
type Options struct {
	// Transport makes the requests; nil is [http.DefaultTransport]. A proxy for lists goes here.
	Transport http.RoundTripper
	// Allow is asked for each address, redirections included, before anything is sent; nil allows all of http and https. The addresses come
	// from certificates: an engine that can reach more than its users may want to say no.
	Allow func(*url.URL) bool
	// Timeout bounds one fetch with its redirections; 0 is 30 s.
	Timeout time.Duration
	// MaxSize bounds a list in bytes; 0 is [pki.MaxCRLSize].
	MaxSize int64
	// Parallel is how many lists are fetched at once; 0 is 4.
	Parallel int
	// Poll is how often the registry is asked for addresses; 0 is a minute.
	Poll time.Duration
	// Wake makes Run ask at once: an application sends when something it did has returned new distribution points. Nil is never.
	Wake <-chan struct{}
	// Interval is after what time a list is fetched again though its nextUpdate is farther off; 0 is a day, as often as Wire's clients look.
	Interval time.Duration
	// MinBackoff and MaxBackoff bound how long an address rests after a failure, doubled with each; 0 is a minute and six hours.
	MinBackoff, MaxBackoff time.Duration
	// Report hears of each fetch: the address and nil or what went wrong. With an empty address it hears that the registry gave no addresses. Calls
	// come one at a time. Nil is nobody.
	Report func(url string, err error)
	// Now and After are the clock; nil is package time's.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	// Random spreads fetches: a number from 0 up to but not including 1; nil is package math/rand's.
	Random func() float64
}

// ErrOptions reports options that are negative.
var ErrOptions = errors.New("crlfetch: negative option")

// Run fetches the lists of a registry, each at once when it is first seen and then before its nextUpdate, until the context ends; it returns the
// context's error then, and [ErrOptions] at once.
func Run(ctx context.Context, r Registry, o Options) error {
	if o.Timeout < 0 || o.MaxSize < 0 || o.Parallel < 0 || o.Poll < 0 || o.Interval < 0 || o.MinBackoff < 0 || o.MaxBackoff < 0 {
		return ErrOptions
	}
	f := &fetcher{registry: r, options: o.withDefaults(), plans: make(map[string]*plan)}
	f.client = newClient(&f.options)
	for ctx.Err() == nil {
		f.look(ctx)
		f.fetchDue(ctx)
		select {
		case <-ctx.Done():
		case <-f.options.After(f.rest()):
		case <-f.options.Wake:
		}
	}
	return ctx.Err()
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.MaxSize = cmp.Or(o.MaxSize, pki.MaxCRLSize)
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.Poll = cmp.Or(o.Poll, time.Minute)
	o.Interval = cmp.Or(o.Interval, 24*time.Hour)
	o.MinBackoff = cmp.Or(o.MinBackoff, time.Minute)
	o.MaxBackoff = max(cmp.Or(o.MaxBackoff, 6*time.Hour), o.MinBackoff)
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
	if o.Allow == nil {
		o.Allow = func(*url.URL) bool { return true }
	}
	return o
}

// fetcher is one Run. Only Run's goroutine touches it, except for client, registry and options in those that fetch.
type fetcher struct {
	registry Registry
	options  Options
	client   *http.Client
	plans    map[string]*plan // by address
}

// plan is when an address is next asked.
type plan struct {
	url      string
	due      time.Time
	failures int
}

// look asks the registry what is wanted. Without an answer the old wishes stand.
func (f *fetcher) look(ctx context.Context) {
	urls, err := f.registry.DistributionPoints(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.options.Report("", err)
		}
		return
	}
	wanted := make(map[string]*plan, len(urls))
	for _, u := range urls {
		p := f.plans[u]
		if p == nil {
			p = &plan{url: u, due: f.options.Now()}
		}
		wanted[u] = p
	}
	f.plans = wanted
}

// outcome is what came of a fetch.
type outcome struct {
	registration pki.CRLRegistration
	err          error
}

// fetchDue fetches all lists whose time has come and plans their next.
func (f *fetcher) fetchDue(ctx context.Context) {
	now := f.options.Now()
	var due []*plan
	for _, p := range f.plans {
		if !p.due.After(now) {
			due = append(due, p)
		}
	}
	slices.SortFunc(due, func(a, b *plan) int { return cmp.Or(a.due.Compare(b.due), strings.Compare(a.url, b.url)) })
	outcomes := make([]outcome, len(due))
	var all sync.WaitGroup
	turns := make(chan struct{}, f.options.Parallel)
	for i, p := range due {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			outcomes[i] = f.fetch(ctx, p.url)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return
	}
	for i, p := range due {
		f.plan(p, outcomes[i])
		f.options.Report(p.url, outcomes[i].err)
	}
}

// fetch gets one list and hands it to the registry.
func (f *fetcher) fetch(ctx context.Context, url string) outcome {
	der, err := f.get(ctx, url)
	if err != nil {
		return outcome{err: err}
	}
	r, err := f.registry.RegisterCRL(ctx, url, der)
	if err != nil {
		err = fmt.Errorf("crlfetch: registering: %w", err)
	}
	return outcome{r, err}
}

// plan sets when an address is next asked: after a success well before nextUpdate, after a failure the later the more there were. Chance
// spreads the fetches of many engines.
func (f *fetcher) plan(p *plan, o outcome) {
	options, now := &f.options, f.options.Now()
	if o.err != nil {
		wait := options.MinBackoff
		for range p.failures {
			if wait >= options.MaxBackoff/2 {
				wait = options.MaxBackoff
				break
			}
			wait *= 2
		}
		p.failures++
		p.due = now.Add(wait/2 + time.Duration(options.Random()*float64(wait/2)))
		return
	}
	p.failures = 0
	wait := options.Interval
	if next := o.registration.Expiration; !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	wait -= wait/10 + time.Duration(options.Random()*float64(wait/10))
	// A list that is old when it comes, or lives for seconds, is no reason to ask without end.
	p.due = now.Add(max(wait, options.MinBackoff))
}

// rest returns how long there is nothing to do.
func (f *fetcher) rest() time.Duration {
	now, rest := f.options.Now(), f.options.Poll
	for _, p := range f.plans {
		rest = min(rest, p.due.Sub(now))
	}
	return max(rest, 0)
}
