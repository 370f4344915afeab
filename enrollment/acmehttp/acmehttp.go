// Package acmehttp sends the requests of an enrollment over HTTPS, for applications that
// have no transport of their own.
package acmehttp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/conclave-mls/conclave/enrollment"
)

// maxHeader bounds the header of a response, in bytes.
const maxHeader = 32 << 10

// Client sends requests to a CA. It follows no redirect, keeps no cookie and reads no
// more of a body than an enrollment takes. Any number of enrollments may share one.
type Client struct {
	http http.Client
}

// New returns a client on the transport, such as one that trusts the CA's TLS root. Nil
// is the standard library's defaults, with a bound on headers.
func New(transport http.RoundTripper) *Client {
	if transport == nil {
		if d, ok := http.DefaultTransport.(*http.Transport); ok {
			own := d.Clone()
			own.MaxResponseHeaderBytes = maxHeader
			transport = own
		}
	}
	return &Client{http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Do sends a request and returns the response, whatever its status: what to make of it is
// for [enrollment.Enrollment.Receive]. It waits as long as the context allows.
func (c *Client) Do(ctx context.Context, request enrollment.Request) (enrollment.Response, error) {
	r, err := http.NewRequestWithContext(ctx, request.Method, request.URL, bytes.NewReader(request.Body))
	if err != nil {
		return enrollment.Response{}, fmt.Errorf("acmehttp: %w", err)
	}
	for name, values := range request.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		return enrollment.Response{}, fmt.Errorf("acmehttp: %w", err)
	}
	// An error while closing loses nothing that was read.
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, enrollment.MaxBody+1))
	if err != nil {
		return enrollment.Response{}, fmt.Errorf("acmehttp: %w", err)
	}
	return enrollment.Response{Status: response.StatusCode, Header: enrollment.Header(response.Header), Body: body}, nil
}
