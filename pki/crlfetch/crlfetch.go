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
	// Parallel is how many lists are fetched at once; 0 is 4. From one host it is never more than two, so that a slow one leaves room for others.
	Parallel int
	// Poll is how often the registry is asked for addresses; 0 is a minute.
	Poll time.Duration
	// Wake makes Run ask at once: an application sends when something it did has returned new distribution points. Nil is never, and so is
	// a channel from when it is closed.
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
// context's error then, when no fetch is under way any more, and [ErrOptions] at once.
func Run(ctx context.Context, r Registry, o Options) error {
	if o.Timeout < 0 || o.MaxSize < 0 || o.Parallel < 0 || o.Poll < 0 || o.Interval < 0 || o.MinBackoff < 0 || o.MaxBackoff < 0 {
		return ErrOptions
	}
	f := newFetcher(r, o)
	defer f.all.Wait()
	wake := f.options.Wake
	for look := true; ctx.Err() == nil; {
		if look {
			f.look(ctx)
			f.queueDue()
		}
		f.begin(ctx)
		look = false
		select {
		case <-ctx.Done():
		case o := <-f.outcomes:
			if ctx.Err() == nil {
				f.finish(o)
			}
		case <-f.options.After(f.rest()):
			look = true
		case _, look = <-wake:
			if !look {
				wake = nil
			}
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

// fetcher is one Run. Only Run's goroutine touches it, except for client, registry, options and outcomes in those that fetch.
type fetcher struct {
	registry Registry
	options  Options
	client   *http.Client
	plans    map[string]*plan // by address: what is wanted
	looked   time.Time        // when the registry was asked
	queue    []*plan          // that are due, in the order of their turns
	under    map[string]*plan // by address: what is being fetched, wanted or not
	hosts    map[string]int   // how many of under each host has; none is absent
	outcomes chan outcome     // has room for all that is under way, so that nobody waits for Run
	all      sync.WaitGroup   // of those that fetch
}

// perHost bounds what is fetched at once from one host.
const perHost = 2

func newFetcher(r Registry, o Options) *fetcher {
	f := &fetcher{
		registry: r, options: o.withDefaults(),
		plans: make(map[string]*plan), under: make(map[string]*plan), hosts: make(map[string]int),
	}
	f.client = newClient(&f.options)
	f.outcomes = make(chan outcome, f.options.Parallel)
	return f
}

// plan is when an address is next asked.
type plan struct {
	url      string
	host     string // empty where the address has none
	due      time.Time
	queued   bool
	failures int
}

func (f *fetcher) newPlan(address string) *plan {
	p := &plan{url: address, due: f.options.Now()}
	if u, err := url.Parse(address); err == nil {
		p.host = strings.ToLower(u.Hostname())
	}
	return p
}

// look asks the registry what is wanted. Without an answer the old wishes stand.
func (f *fetcher) look(ctx context.Context) {
	f.looked = f.options.Now()
	urls, err := f.registry.DistributionPoints(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.options.Report("", err)
		}
		return
	}
	wanted := make(map[string]*plan, len(urls))
	for _, u := range urls {
		p := cmp.Or(wanted[u], f.plans[u], f.under[u])
		if p == nil {
			p = f.newPlan(u)
		}
		wanted[u] = p
	}
	f.plans = wanted
}

// outcome is what came of a fetch.
type outcome struct {
	plan         *plan
	registration pki.CRLRegistration
	err          error
}

// queueDue queues all lists whose time has come, those that failed before behind all others: what does not answer holds up what may.
func (f *fetcher) queueDue() {
	now := f.options.Now()
	f.queue = f.queue[:0]
	for _, p := range f.plans {
		if p.queued = f.under[p.url] == nil && !p.due.After(now); p.queued {
			f.queue = append(f.queue, p)
		}
	}
	slices.SortFunc(f.queue, func(a, b *plan) int {
		return cmp.Or(cmp.Compare(a.failures, b.failures), a.due.Compare(b.due), strings.Compare(a.url, b.url))
	})
}

// begin begins as many fetches as there is room for.
func (f *fetcher) begin(ctx context.Context) {
	f.queue = slices.DeleteFunc(f.queue, func(p *plan) bool {
		if len(f.under) == f.options.Parallel || f.hosts[p.host] == perHost {
			return false
		}
		p.queued = false
		f.under[p.url] = p
		f.hosts[p.host]++
		f.all.Go(func() { f.outcomes <- f.fetch(ctx, p) })
		return true
	})
}

// finish plans the next of what has been fetched.
func (f *fetcher) finish(o outcome) {
	p := o.plan
	delete(f.under, p.url)
	if f.hosts[p.host]--; f.hosts[p.host] == 0 {
		delete(f.hosts, p.host)
	}
	f.plan(p, o)
	f.options.Report(p.url, o.err)
}

// fetch gets one list and hands it to the registry.
func (f *fetcher) fetch(ctx context.Context, p *plan) outcome {
	der, err := f.get(ctx, p.url)
	if err != nil {
		return outcome{plan: p, err: err}
	}
	r, err := f.registry.RegisterCRL(ctx, p.url, der)
	if err != nil {
		err = fmt.Errorf("crlfetch: registering: %w", err)
	}
	return outcome{p, r, err}
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

// rest returns how long there is nothing to do but to wait for those that fetch.
func (f *fetcher) rest() time.Duration {
	now := f.options.Now()
	rest := f.looked.Add(f.options.Poll).Sub(now)
	for _, p := range f.plans {
		if !p.queued && f.under[p.url] == nil {
			rest = min(rest, p.due.Sub(now))
		}
	}
	return max(rest, 0)
}
