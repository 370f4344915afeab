package acmehttp_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/enrollment/acmehttp"
)

func serve(t *testing.T, h http.HandlerFunc) (*acmehttp.Client, string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return acmehttp.New(s.Client().Transport), s.URL
}

func TestDo(t *testing.T) {
	c, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.Path != "/order" || r.Header.Get("Content-Type") != "application/jose+json" || string(body) != "{}" {
			t.Errorf("got %s %s %v %q", r.Method, r.URL, r.Header, body)
		}
		w.Header()["replay-nonce"] = []string{"AAAA"}
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("body"))
	})
	r, err := c.Do(t.Context(), enrollment.Request{
		Method: "POST", URL: url + "/order", Header: enrollment.Header{"content-type": {"application/jose+json"}}, Body: []byte("{}"),
	})
	if err != nil || r.Status != http.StatusTeapot || string(r.Body) != "body" || len(r.Header["Replay-Nonce"]) != 1 {
		t.Errorf("response %v: %v", r, err)
	}
}

// TestNoRedirect hands out the redirect itself, and asks nobody else.
func TestNoRedirect(t *testing.T) {
	var requests atomic.Int32
	c, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	r, err := c.Do(t.Context(), enrollment.Request{Method: "GET", URL: url})
	if err != nil || r.Status != http.StatusFound || requests.Load() != 1 {
		t.Errorf("status %d after %d requests: %v", r.Status, requests.Load(), err)
	}
}

// TestBodyIsBounded reads no more than an enrollment takes, also of what is packed.
func TestBodyIsBounded(t *testing.T) {
	c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(endless{}, 10*enrollment.MaxBody)) // the client hangs up
	})
	r, err := c.Do(t.Context(), enrollment.Request{Method: "GET", URL: url})
	if err != nil || len(r.Body) != enrollment.MaxBody+1 {
		t.Errorf("%d bytes of body: %v", len(r.Body), err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestHangingAnswer ends with the context. The handler gives up only with its client.
func TestHangingAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer now could still be read by a client about to go
	})
	if _, err := c.Do(ctx, enrollment.Request{Method: "HEAD", URL: url}); !errors.Is(err, context.Canceled) {
		t.Errorf("hanging answer: %v", err)
	}
}

// TestHangingBody ends with the context after the header came.
func TestHangingBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Do(ctx, enrollment.Request{Method: "GET", URL: url}); !errors.Is(err, context.Canceled) {
		t.Errorf("hanging body: %v", err)
	}
}

// TestCutBody reports a body that ends too early.
func TestCutBody(t *testing.T) {
	c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
	})
	if _, err := c.Do(t.Context(), enrollment.Request{Method: "GET", URL: url}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut body: %v", err)
	}
}

// TestTransportErrors names requests that cannot be sent and servers that are not trusted.
func TestTransportErrors(t *testing.T) {
	if _, err := acmehttp.New(nil).Do(t.Context(), enrollment.Request{Method: "GET", URL: "https://a b/"}); err == nil || !strings.HasPrefix(err.Error(), "acmehttp: ") {
		t.Errorf("bad URL: %v", err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of the handshake
	s.StartTLS()
	defer s.Close()
	if _, err := acmehttp.New(nil).Do(t.Context(), enrollment.Request{Method: "GET", URL: s.URL}); err == nil {
		t.Error("trusts a server that nobody vouches for")
	}
}
