package crlfetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hosts is a transport that counts what is under way, and lets a host be slow.
type hosts struct {
	mu       sync.Mutex
	slow     map[string]chan struct{} // by host: closed when it answers
	under    map[string]int
	most     map[string]int
	requests []string
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	host := strings.ToLower(r.URL.Hostname())
	h.requests = append(h.requests, r.URL.String())
	h.under[host]++
	h.most[host] = max(h.most[host], h.under[host])
	gate := h.slow[host]
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.under[host]--
		h.mu.Unlock()
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if strings.HasPrefix(r.URL.Path, "/missing") {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func (h *hosts) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

func newHosts(slow ...string) *hosts {
	h := &hosts{slow: make(map[string]chan struct{}), under: make(map[string]int), most: make(map[string]int)}
	for _, host := range slow {
		h.slow[host] = make(chan struct{})
	}
	return h
}

// TestSlowHost has a host that does not answer: what others have is fetched meanwhile, and what is new is heard of by Wake and by the clock.
func TestSlowHost(t *testing.T) {
	h := newHosts("a.example")
	wake := make(chan struct{})
	var slow []string
	for i := range 6 {
		slow = append(slow, fmt.Sprintf("http://%s:%d/%d", []string{"a.example", "A.EXAMPLE"}[i%2], 8000+i, i))
	}
	r := start(t, Options{Transport: h, Wake: wake}, &registry{urls: append(slices.Clone(slow), "http://b.example/1", "http://b.example/2", "http://c.example/1")})
	want := func(n int, urls ...string) time.Duration {
		t.Helper()
		d, reports := r.rested(n)
		for i := range urls {
			urls[i] += ": <nil>"
		}
		if !slices.Equal(reports, urls) {
			t.Errorf("reports %q, want %q", reports, urls)
		}
		return d
	}
	if d := want(3, "http://b.example/1", "http://b.example/2", "http://c.example/1"); d != time.Minute {
		t.Errorf("rests %v", d)
	}
	r.urls = append(r.urls, "http://d.example/1")
	wake <- struct{}{}
	want(1, "http://d.example/1")
	r.urls = append(r.urls, "http://e.example/1")
	r.step(time.Minute)
	want(1, "http://e.example/1")
	// What is wanted no longer and again while it is fetched is not fetched twice.
	all := r.urls
	for _, urls := range [][]string{all[len(slow):], all} {
		r.urls = urls
		wake <- struct{}{}
		r.rested(0)
	}
	close(h.slow["a.example"])
	if d, _ := r.rested(len(slow)); d != time.Minute {
		t.Errorf("rests %v", d)
	}
	asked := slices.DeleteFunc(h.asked(), func(u string) bool { return !slices.Contains(slow, u) })
	slices.Sort(asked)
	slices.Sort(slow)
	if !slices.Equal(asked, slow) {
		t.Errorf("asked for %q, want %q", asked, slow)
	}
	if n := h.most["a.example"]; n > perHost {
		t.Errorf("%d at once", n)
	}
}

// TestFailedLast has what failed before wait for what did not.
func TestFailedLast(t *testing.T) {
	h := newHosts()
	r := start(t, Options{Transport: h, Parallel: 1}, &registry{urls: []string{"http://a.example/missing"}})
	d, _ := r.rested(1)
	r.urls = append(r.urls, "http://z.example/1")
	r.step(d)
	r.rested(2)
	if want := []string{"http://a.example/missing", "http://z.example/1", "http://a.example/missing"}; !slices.Equal(h.asked(), want) {
		t.Errorf("asked for %q, want %q", h.asked(), want)
	}
}

// TestParallel has as many fetches under way as allowed, and never more: each waits for the others of its turn.
func TestParallel(t *testing.T) {
	const parallel = 3
	var mu sync.Mutex
	waiting, under := 0, 0
	gate := make(chan struct{})
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		waiting++
		under++
		if under > parallel {
			t.Errorf("%d at once", under)
		}
		mine := gate
		if waiting == parallel {
			waiting = 0
			gate = make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		<-mine
		mu.Lock()
		under--
		mu.Unlock()
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	var urls []string
	for i := range 4 * parallel {
		urls = append(urls, fmt.Sprintf("http://%d.example/list", i))
	}
	r := start(t, Options{Transport: transport, Parallel: parallel}, &registry{urls: urls})
	if _, reports := r.rested(len(urls)); len(reports) != len(urls) {
		t.Errorf("%v", reports)
	}
}

// TestEnd ends the context while lists are being fetched: nothing is reported, and nobody fetches when Run has returned.
func TestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	under := make(chan struct{})
	var over atomic.Int32
	o := Options{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			under <- struct{}{}
			defer over.Add(1)
			return silent{}.RoundTrip(r)
		}),
		Parallel: 3,
		Timeout:  time.Hour,
		Report:   func(url string, err error) { t.Errorf("%s: %v", url, err) },
	}
	urls := []string{"http://a.example/1", "http://a.example/2", "http://a.example/3", "http://b.example/1", "http://c.example/1"}
	ended := make(chan error)
	go func() { ended <- Run(ctx, &registry{urls: urls}, o) }()
	for range o.Parallel {
		<-under
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := over.Load(); n != int32(o.Parallel) {
		t.Errorf("%d have ended", n)
	}
	// A registry that is closed by then is not reported either.
	if err := Run(ctx, &registry{urlsErr: errors.New("closed")}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
