package crlfetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Errors of fetching a list.
var (
	// ErrAddress reports an address that is none of http or https, or that [Options.Allow] refuses.
	ErrAddress = errors.New("crlfetch: address is not allowed")
	// ErrRedirect reports a redirection to another scheme, or one too many.
	ErrRedirect = errors.New("crlfetch: redirection refused")
	// ErrStatus reports an answer other than 200.
	ErrStatus = errors.New("crlfetch: server has no list")
	// ErrSize reports a list larger than [Options.MaxSize].
	ErrSize = errors.New("crlfetch: list is too large")
)

const maxRedirects = 5

// newClient returns a client without cookies that follows few redirections, none of them to another scheme.
func newClient(o *Options) *http.Client {
	return &http.Client{
		Transport: o.Transport,
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if len(before) > maxRedirects || next.URL.Scheme != before[0].URL.Scheme {
				return ErrRedirect
			}
			if !o.Allow(next.URL) {
				return ErrAddress
			}
			return nil
		},
	}
}

// get returns what is at an address.
func (f *fetcher) get(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !f.options.Allow(u) {
		return nil, ErrAddress
	}
	ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	request := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{"Accept": {"application/pkix-crl"}}}).WithContext(ctx)
	response, err := f.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("crlfetch: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", ErrStatus, response.StatusCode)
	}
	if response.ContentLength > f.options.MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrSize, response.ContentLength)
	}
	// The length may be absent, and what is compressed grows while it is read.
	der, err := io.ReadAll(io.LimitReader(response.Body, f.options.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("crlfetch: %w", err)
	}
	if int64(len(der)) > f.options.MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrSize, f.options.MaxSize)
	}
	return der, nil
}
