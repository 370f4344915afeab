package stepca

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
)

// caller is an application that does the HTTP of every step itself and carries the nonce from one to the next.
type caller struct {
	client *http.Client
	nonce  string
	header http.Header // of the last response
}

// do sends a request and keeps the nonce of the response.
func (c *caller) do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/jose+json")
	}
	response, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	c.nonce, c.header = response.Header.Get("Replay-Nonce"), response.Header
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, answer)
	}
	return answer, err
}

// stepByStep takes an enrolment to its chain, in PEM, as the calls of CoreCrypto have it, and returns the enrolment that it is to be installed with: it is
// stashed while the user signs in. The user's authorisation is read first.
func (d *device) stepByStep(e *conclave.Enrollment) (_ *conclave.Enrollment, chain string) {
	d.office.t.Helper()
	c := &caller{client: d.office.ca.client}
	e, chain, err := c.steps(d.office.t.Context(), d, e)
	if err != nil {
		d.office.t.Fatal(err)
	}
	return e, chain
}

func (c *caller) steps(ctx context.Context, d *device, e *conclave.Enrollment) (_ *conclave.Enrollment, chain string, err error) {
	w, u := d.office.world, d.user
	body, err := c.do(ctx, http.MethodGet, w.ca.directory, nil)
	if err != nil {
		return nil, "", err
	}
	directory, err := e.DirectoryResponse(ctx, body)
	if err != nil {
		return nil, "", err
	}
	if _, err := c.do(ctx, http.MethodHead, directory.NewNonce, nil); err != nil {
		return nil, "", err
	}
	post := func(url string, request []byte, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return c.do(ctx, http.MethodPost, url, request)
	}

	request, err := e.NewAccountRequest(ctx, c.nonce)
	if body, err = post(directory.NewAccount, request, err); err != nil {
		return nil, "", err
	}
	account, err := e.NewAccountResponse(ctx, body)
	if err != nil {
		return nil, "", err
	}
	if location := c.header.Get("Location"); account != location {
		return nil, "", fmt.Errorf("account %s at %s", account, location)
	}

	request, err = e.NewOrderRequest(ctx, c.nonce)
	if body, err = post(directory.NewOrder, request, err); err != nil {
		return nil, "", err
	}
	order, err := e.NewOrderResponse(ctx, body)
	if err != nil {
		return nil, "", err
	}
	orderURL := c.header.Get("Location")

	var device, user enrollment.Authorization
	for i := range order.Authorizations {
		url := order.Authorizations[len(order.Authorizations)-1-i]
		request, err = e.NewAuthzRequest(ctx, url, c.nonce)
		if body, err = post(url, request, err); err != nil {
			return nil, "", err
		}
		a, err := e.NewAuthzResponse(ctx, body)
		if err != nil {
			return nil, "", err
		}
		if a.Device {
			device = a
		} else {
			user = a
		}
	}

	backendNonce, err := w.backendNonce(ctx, u)
	if err != nil {
		return nil, "", err
	}
	dpop, err := e.CreateDPoPToken(ctx, time.Minute, backendNonce)
	if err != nil {
		return nil, "", err
	}
	accessToken, err := w.accessToken(ctx, u, dpop)
	if err != nil {
		return nil, "", err
	}
	request, err = e.NewDPoPChallengeRequest(ctx, accessToken, c.nonce)
	if body, err = post(device.Challenge.URL, request, err); err != nil {
		return nil, "", err
	}
	if err := e.NewDPoPChallengeResponse(ctx, body); err != nil {
		return nil, "", err
	}

	handle, err := d.StashEnrollment(ctx, e)
	if err != nil {
		return nil, "", err
	}
	idToken, err := login(ctx, u.login, user.Challenge.Target, user.KeyAuth, user.Challenge.URL)
	if err != nil {
		return nil, "", err
	}
	if e, err = d.PopEnrollment(ctx, handle); err != nil {
		return nil, "", err
	}
	request, err = e.NewOIDCChallengeRequest(ctx, idToken, c.nonce)
	if body, err = post(user.Challenge.URL, request, err); err != nil {
		return nil, "", err
	}
	if err := e.NewOIDCChallengeResponse(ctx, body); err != nil {
		return nil, "", err
	}

	request, err = e.CheckOrderRequest(ctx, orderURL, c.nonce)
	if body, err = post(orderURL, request, err); err != nil {
		return nil, "", err
	}
	if order, err = e.CheckOrderResponse(ctx, body); err != nil {
		return nil, "", err
	}
	request, err = e.FinalizeRequest(ctx, c.nonce)
	if body, err = post(order.Finalize, request, err); err != nil {
		return nil, "", err
	}
	certificate, err := e.FinalizeResponse(ctx, body)
	if err != nil {
		return nil, "", err
	}
	request, err = e.CertificateRequest(ctx, c.nonce)
	body, err = post(certificate, request, err)
	return e, string(body), err
}
