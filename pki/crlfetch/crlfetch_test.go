package crlfetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that the test turns. What is done between two waits happens before the test goes on.
type clock struct {
	now     time.Time
	reports []string
	asked   chan rest
	fire    chan time.Time
	done    chan struct{}
}

// rest is how long a run wants to rest, and what it has reported before.
type rest struct {
	time.Duration
	reports []string
}

func (c *clock) Now() time.Time { return c.now }

func (c *clock) After(d time.Duration) <-chan time.Time {
	select {
	case c.asked <- rest{d, c.reports}:
	case <-c.done:
	}
	c.reports = nil
	return c.fire
}

// registry is a client that knows a few addresses.
type registry struct {
	mu         sync.Mutex
	urls       []string
	urlsErr    error
	expiration time.Time
	register   error
	got        map[string]string
	looks      int
}

func (r *registry) DistributionPoints(context.Context) ([]string, error) {
	r.looks++
	return r.urls, r.urlsErr
}

func (r *registry) RegisterCRL(_ context.Context, url string, der []byte) (pki.CRLRegistration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[url] = string(der)
	return pki.CRLRegistration{Expiration: r.expiration}, r.register
}

// run is a Run under the test's hand.
type run struct {
	*registry
	*clock
	err chan error
}

func start(t *testing.T, o Options, client *registry) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client.got = make(map[string]string)
	r := &run{
		registry: client, err: make(chan error, 1),
		clock: &clock{now: noon, asked: make(chan rest), fire: make(chan time.Time), done: make(chan struct{})},
	}
	o.Now, o.After = r.Now, r.After
	o.Timeout = cmp.Or(o.Timeout, time.Hour) // a slow machine fails no fetch
	if o.Random == nil {
		o.Random = func() float64 { return 0 }
	}
	o.Report = func(url string, err error) { r.reports = append(r.reports, fmt.Sprintf("%s: %v", url, err)) }
	go func() { r.err <- Run(ctx, r.registry, o) }()
	t.Cleanup(func() {
		cancel()
		close(r.done)
		if err := <-r.err; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return r
}

// rested returns how long the run wants to rest when it has reported so many times since the last call, and the reports in order of their addresses.
func (r *run) rested(reports int) (time.Duration, []string) {
	var all []string
	for {
		d := <-r.asked
		if all = append(all, d.reports...); len(all) >= reports {
			slices.Sort(all)
			return d.Duration, all
		}
	}
}

// step lets time pass until the run wants to go on.
func (r *run) step(d time.Duration) {
	r.now = r.now.Add(d)
	r.fire <- r.now
}

// server serves lists by path and counts requests.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string]int
}

func serve(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{requests: make(map[string]int)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.URL.Path]++
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[path]
}

func TestRefreshBeforeNextUpdate(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Accept") != "application/pkix-crl" || r.Header.Get("Cookie") != "" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		fmt.Fprint(w, "list "+r.URL.Path)
	})
	r := start(t, Options{Transport: s.Client().Transport, Poll: 365 * 24 * time.Hour},
		&registry{urls: []string{s.URL + "/a", s.URL + "/b"}, expiration: noon.Add(10 * time.Hour)})
	d, reports := r.rested(2)
	if d != 9*time.Hour || len(reports) != 2 || reports[0] != s.URL+"/a: <nil>" || !maps.Equal(r.got, map[string]string{s.URL + "/a": "list /a", s.URL + "/b": "list /b"}) {
		t.Fatalf("rests %v, reports %v, got %v", d, reports, r.got)
	}
	r.expiration = noon.Add(9*time.Hour + time.Second) // soon: not again for a while
	r.step(d)
	if d, _ = r.rested(2); d != time.Minute || s.asked("/a") != 2 {
		t.Fatalf("rests %v after %d requests", d, s.asked("/a"))
	}
	r.expiration = r.now.Add(1000 * time.Hour) // far off: a day is long enough
	r.step(d)
	if d, _ = r.rested(2); d != 24*time.Hour*9/10 {
		t.Fatalf("rests %v", d)
	}
	r.expiration = time.Time{} // none
	r.step(d)
	if d, _ = r.rested(2); d != 24*time.Hour*9/10 || s.asked("/a") != 4 || s.asked("/b") != 4 {
		t.Fatalf("rests %v", d)
	}
}

func TestJitter(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "list") })
	r := start(t, Options{Poll: 365 * 24 * time.Hour, Random: func() float64 { return 0.5 }}, &registry{urls: []string{s.URL}, expiration: noon.Add(10 * time.Hour)})
	if d, _ := r.rested(1); d != 8*time.Hour+30*time.Minute {
		t.Errorf("rests %v", d)
	}
}

// TestBackoff lets an address fail until it rests no longer, then recover.
func TestBackoff(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) })
	o := Options{Poll: 365 * 24 * time.Hour, MinBackoff: time.Minute, MaxBackoff: 10 * time.Minute}
	r := start(t, o, &registry{urls: []string{s.URL}})
	var rests []time.Duration
	for range 6 {
		d, reports := r.rested(1)
		if len(reports) != 1 || !strings.Contains(reports[0], "status 503") {
			t.Fatal(reports)
		}
		rests = append(rests, 2*d/time.Minute)
		r.step(d)
	}
	if want := []time.Duration{1, 2, 4, 8, 10, 10}; !slices.Equal(rests, want) {
		t.Errorf("rests of %v half minutes, want %v", rests, want)
	}
	d, _ := r.rested(1)
	status.Store(http.StatusOK)
	r.step(d)
	if d, _ = r.rested(1); d != 24*time.Hour*9/10 {
		t.Errorf("rests %v after a success", d)
	}
	status.Store(http.StatusNotFound)
	r.step(d)
	if d, _ = r.rested(1); d != time.Minute/2 {
		t.Errorf("rests %v after the first failure since", d)
	}
}

// TestRefusedList has the registry refuse what was fetched.
func TestRefusedList(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "list") })
	r := start(t, Options{Random: func() float64 { return 0.999 }}, &registry{urls: []string{s.URL}, register: pki.ErrCRLRollback})
	d, reports := r.rested(1)
	if len(reports) != 1 || !strings.Contains(reports[0], pki.ErrCRLRollback.Error()) || d <= 59*time.Second || d > time.Minute {
		t.Errorf("rests %v, %v", d, reports)
	}
}

// TestRegistryChanges adds, removes and withholds addresses.
func TestRegistryChanges(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "list") })
	r := start(t, Options{}, &registry{urls: []string{s.URL + "/a"}})
	d, _ := r.rested(1)
	if d != time.Minute {
		t.Fatalf("polls after %v", d)
	}
	r.urls = []string{s.URL + "/a", s.URL + "/b", s.URL + "/b"}
	r.step(d)
	if r.rested(1); s.asked("/a") != 1 || s.asked("/b") != 1 {
		t.Errorf("%d and %d requests", s.asked("/a"), s.asked("/b"))
	}
	r.urls, r.urlsErr = nil, errors.New("closed")
	r.step(25 * time.Hour)
	if _, reports := r.rested(3); len(reports) != 3 || reports[0] != ": closed" || s.asked("/a") != 2 || s.asked("/b") != 2 {
		t.Errorf("%v", reports)
	}
	r.urlsErr = nil
	r.step(25 * time.Hour)
	if d, _ := r.rested(0); d != time.Minute || s.asked("/a") != 2 {
		t.Errorf("rests %v after %d requests", d, s.asked("/a"))
	}
	r.urls = []string{s.URL + "/a"} // and back, as if never seen
	r.step(time.Minute)
	if r.rested(1); s.asked("/a") != 3 {
		t.Errorf("%d and %d requests", s.asked("/a"), s.asked("/b"))
	}
}

// TestWake has the run look before its rest is over.
func TestWake(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "list") })
	wake := make(chan struct{})
	r := start(t, Options{Wake: wake}, &registry{})
	r.rested(0)
	r.urls = []string{s.URL + "/a"}
	wake <- struct{}{}
	if _, reports := r.rested(1); len(reports) != 1 || s.asked("/a") != 1 {
		t.Errorf("%v", reports)
	}
}

// TestClosedWake closes the channel: the run goes on by the clock alone.
func TestClosedWake(t *testing.T) {
	wake := make(chan struct{})
	r := start(t, Options{Wake: wake}, &registry{})
	r.rested(0)
	close(wake)
	r.rested(0)
	if r.looks != 1 {
		t.Errorf("looked %d times", r.looks)
	}
	for i := range 20 {
		select {
		case r.fire <- r.now:
		case <-r.asked:
			t.Fatal("woken by a closed channel")
		}
		if r.rested(0); r.looks != i+2 {
			t.Errorf("looked %d times", r.looks)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/scheme":
			http.Redirect(w, r, "https://"+r.Host+"/list", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///list", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/list", http.StatusMovedPermanently)
		case "/secret", "/tosecret":
			http.Redirect(w, r, "/secret", http.StatusFound)
		case "/long":
			w.Header().Set("Content-Length", "11")
			fmt.Fprint(w, "01234567890")
		case "/endless":
			for range 11 {
				fmt.Fprint(w, "x")
				w.(http.Flusher).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", "5")
			fmt.Fprint(w, "x")
		case "/exact":
			fmt.Fprint(w, "0123456789")
		case "/list":
			fmt.Fprint(w, "list")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		}
	})
	o := Options{MaxSize: 10, Allow: func(u *url.URL) bool { return u.Path != "/secret" }}.withDefaults()
	f := &fetcher{options: o, client: newClient(&o)}
	for _, tt := range []struct {
		address string
		want    error
		got     string
	}{
		{s.URL + "/list", nil, "list"},
		{s.URL + "/exact", nil, "0123456789"},
		{s.URL + "/moved", nil, "list"},
		{s.URL + "/scheme", ErrRedirect, ""},
		{s.URL + "/file", ErrRedirect, ""},
		{s.URL + "/loop", ErrRedirect, ""},
		{s.URL + "/secret", ErrAddress, ""},
		{s.URL + "/tosecret", ErrAddress, ""},
		{s.URL + "/long", ErrSize, ""},
		{s.URL + "/endless", ErrSize, ""},
		{s.URL + "/nothing", ErrStatus, ""},
		{"file:///list", ErrAddress, ""},
		{"http:list", ErrAddress, ""},
		{"http://a b/", ErrAddress, ""},
		{"", ErrAddress, ""},
	} {
		der, err := f.get(t.Context(), tt.address)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil || string(der) != tt.got {
			t.Errorf("%s: %q, %v, want %q, %v", tt.address, der, err, tt.got, tt.want)
		}
	}
	if der, err := f.get(t.Context(), s.URL+"/cut"); err == nil {
		t.Errorf("a cut list is %q", der)
	}
	if n := s.asked("/loop"); n != maxRedirects+1 {
		t.Errorf("%d requests in a circle", n)
	}
}

// silent is a server that never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeout(t *testing.T) {
	r := start(t, Options{Transport: silent{}, Timeout: time.Nanosecond}, &registry{urls: []string{"http://example.com/list"}})
	if _, reports := r.rested(1); len(reports) != 1 || !strings.Contains(reports[0], context.DeadlineExceeded.Error()) {
		t.Errorf("%v", reports)
	}
}

// TestEndWhileLooking ends the context in a registry that says so.
func TestEndWhileLooking(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Report: func(url string, err error) { t.Errorf("%s: %v", url, err) }}
	if err := Run(ctx, ending{cancel}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type ending struct{ cancel context.CancelFunc }

func (e ending) DistributionPoints(ctx context.Context) ([]string, error) {
	e.cancel()
	return nil, ctx.Err()
}

func (ending) RegisterCRL(context.Context, string, []byte) (pki.CRLRegistration, error) {
	return pki.CRLRegistration{}, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Timeout: -1}, {MaxSize: -1}, {Parallel: -1}, {Poll: -1}, {Interval: -1}, {MinBackoff: -1}, {MaxBackoff: -1}} {
		if err := Run(t.Context(), &registry{}, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o := Options{MinBackoff: 24 * time.Hour}.withDefaults()
	if o.MaxBackoff != o.MinBackoff || o.Transport != http.DefaultTransport || o.Now().IsZero() || o.Random() >= 1 || o.After == nil {
		t.Errorf("%+v", o)
	}
}

// TestSnapshot fetches a list of OpenSSL's into a snapshot of package pki.
func TestSnapshot(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if chain, err := pki.ParsePEMChain(b); err == nil {
			return chain[0]
		}
		return b
	}
	s, err := pki.New(pki.Policy{}, nil).WithTrustAnchor(read("root-P-256.pem"), noon)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.WithIntermediates(noon, read("intermediate-P-256.pem")); err != nil {
		t.Fatal(err)
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(read("revoked.crl")) })
	r := start(t, Options{}, &registry{urls: []string{server.URL}})
	r.rested(1)
	s, registration, err := s.WithCRL(server.URL, []byte(r.got[server.URL]))
	if err != nil || registration.Expiration.IsZero() {
		t.Fatalf("%+v, %v", registration, err)
	}
	if err := s.Verify([][]byte{read("leaf-P-256.pem")}, noon); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("got %v", err)
	}
}
