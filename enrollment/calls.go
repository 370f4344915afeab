package enrollment

import "time"

// The calls below are for applications that do the HTTP step by step. Each request takes
// the nonce of the response before, and returns the body of a POST with the content type
// application/jose+json; each response hands in a body, whose HTTP status was 2xx. What
// CoreCrypto lets a caller carry from step to step, the enrollment remembers. A request
// may be built again with a fresh nonce until its response is in.

// DirectoryResponse reads the body of a GET of the CA's directory.
func (e *Enrollment) DirectoryResponse(body []byte) (Directory, error) {
	if out := e.state.out; e.state.step != StepDirectory || out != stepNone && out != StepDirectory {
		return Directory{}, e.misplaced(StepDirectory)
	}
	err := e.read(StepDirectory, e.state, reply{body: body}) // there is no request to build
	return e.state.directory, err
}

// NewAccountRequest asks for an account; the body goes to the directory's NewAccount.
func (e *Enrollment) NewAccountRequest(previousNonce string) ([]byte, error) {
	return e.request(StepAccount, time.Time{}, previousNonce)
}

// NewAccountResponse reads the account and returns its URL.
func (e *Enrollment) NewAccountResponse(body []byte) (string, error) {
	err := e.respond(StepAccount, reply{body: body})
	return e.state.account, err
}

// NewOrderRequest orders the certificate from now on; the body goes to the directory's
// NewOrder.
func (e *Enrollment) NewOrderRequest(now time.Time, previousNonce string) ([]byte, error) {
	return e.request(StepOrder, now, previousNonce)
}

// NewOrderResponse reads the order. Its URL is in the header Location of the response,
// for [Enrollment.CheckOrderRequest].
func (e *Enrollment) NewOrderResponse(now time.Time, body []byte) (Order, error) {
	err := e.respond(StepOrder, reply{now: now, body: body})
	return e.state.order, err
}

// NewAuthzRequest asks for one of the order's authorizations, at whose URL the body goes.
// The two may come in any order, one after the other: the response does not say which it
// is.
func (e *Enrollment) NewAuthzRequest(url, previousNonce string) ([]byte, error) {
	if err := e.mayAsk(StepAuthorization, StepAuthorization); err != nil {
		return nil, err
	}
	next := e.state
	for i, u := range e.state.order.Authorizations {
		if u == url && !e.state.read[i] {
			if e.state.out != stepNone && e.state.asked != uint8(i) {
				return nil, e.misplaced(StepAuthorization)
			}
			next.asked = uint8(i)
			return e.post(StepAuthorization, next, time.Time{}, previousNonce)
		}
	}
	return nil, ErrURL
}

// NewAuthzResponse reads the authorization, and tells the device's from the user's.
func (e *Enrollment) NewAuthzResponse(now time.Time, body []byte) (Authorization, error) {
	before := e.state.device
	if err := e.respond(StepAuthorization, reply{now: now, body: body}); err != nil {
		return Authorization{}, err
	}
	if e.state.device != before {
		return Authorization{Challenge: e.state.device, Device: true}, nil
	}
	keyAuth, err := e.keyAuth(e.state.user)
	return Authorization{Challenge: e.state.user, KeyAuth: keyAuth}, err
}

// NewDPoPChallengeRequest answers the device's challenge with the backend's access token;
// the body goes to the challenge's URL.
func (e *Enrollment) NewDPoPChallengeRequest(accessToken, previousNonce string) ([]byte, error) {
	if err := e.mayAsk(StepDPoPChallenge, StepAccessToken); err != nil {
		return nil, err
	}
	if err := checkToken(accessToken); err != nil {
		return nil, err
	}
	next := e.state
	next.step, next.accessToken = StepDPoPChallenge, []byte(accessToken)
	return e.post(StepDPoPChallenge, next, time.Time{}, previousNonce)
}

// NewDPoPChallengeResponse reads whether the CA took the access token.
func (e *Enrollment) NewDPoPChallengeResponse(body []byte) error {
	return e.respond(StepDPoPChallenge, reply{body: body})
}

// NewOIDCChallengeRequest answers the user's challenge with the ID token; the body goes
// to the challenge's URL.
func (e *Enrollment) NewOIDCChallengeRequest(idToken, previousNonce string) ([]byte, error) {
	if err := e.mayAsk(StepOIDCChallenge, StepIDToken); err != nil {
		return nil, err
	}
	if err := checkToken(idToken); err != nil {
		return nil, err
	}
	next := e.state
	next.step, next.idToken = StepOIDCChallenge, []byte(idToken)
	return e.post(StepOIDCChallenge, next, time.Time{}, previousNonce)
}

// NewOIDCChallengeResponse reads whether the CA took the ID token.
func (e *Enrollment) NewOIDCChallengeResponse(body []byte) error {
	return e.respond(StepOIDCChallenge, reply{body: body})
}

// CheckOrderRequest asks for the order at the URL that newOrder was answered with, where
// the body goes.
func (e *Enrollment) CheckOrderRequest(orderURL, previousNonce string) ([]byte, error) {
	if err := e.mayAsk(StepOrderCheck, StepOrderCheck); err != nil {
		return nil, err
	}
	if known := e.state.order.URL; checkACME(orderURL) != nil || known != "" && known != orderURL {
		return nil, ErrURL
	}
	next := e.state
	next.order.URL = orderURL
	return e.post(StepOrderCheck, next, time.Time{}, previousNonce)
}

// CheckOrderResponse reads the order. It fails with [ErrOrderNotReady] if the CA needs
// more time: then build the request again.
func (e *Enrollment) CheckOrderResponse(now time.Time, body []byte) (Order, error) {
	err := e.respond(StepOrderCheck, reply{now: now, body: body})
	return e.state.order, err
}

// FinalizeRequest sends the CSR; the body goes to the order's Finalize.
func (e *Enrollment) FinalizeRequest(now time.Time, previousNonce string) ([]byte, error) {
	return e.request(StepFinalize, now, previousNonce)
}

// FinalizeResponse returns the URL of the certificate.
func (e *Enrollment) FinalizeResponse(now time.Time, body []byte) (string, error) {
	err := e.respond(StepFinalize, reply{now: now, body: body})
	return e.state.certificate, err
}

// CertificateRequest asks for the chain; the body goes to the URL of the certificate.
func (e *Enrollment) CertificateRequest(previousNonce string) ([]byte, error) {
	return e.request(StepCertificate, time.Time{}, previousNonce)
}

// CertificateResponse reads the chain in PEM, which is then for [Enrollment.Issued].
func (e *Enrollment) CertificateResponse(now time.Time, body []byte) error {
	return e.respond(StepCertificate, reply{now: now, body: body})
}

// request builds the request of a step that the enrollment has to be at.
func (e *Enrollment) request(at Step, now time.Time, nonce string) ([]byte, error) {
	if err := e.mayAsk(at, at); err != nil {
		return nil, err
	}
	return e.post(at, e.state, now, nonce)
}

// mayAsk tells whether the request of a step may be built, for the first time from that
// step or the one before it, or again while its response is out.
func (e *Enrollment) mayAsk(at, before Step) error {
	if s := &e.state; s.step != at && s.step != before || s.out != stepNone && s.out != at {
		return e.misplaced(at)
	}
	return nil
}

// post builds a request on a copy of the state, with a nonce from outside.
func (e *Enrollment) post(at Step, next state, now time.Time, nonce string) ([]byte, error) {
	if err := next.checkNonce(nonce); err != nil {
		return nil, err
	}
	next.nonce = nonce
	request, err := e.build(at, next, now)
	return request.Body, err
}

// respond reads the response to a request that has to be out.
func (e *Enrollment) respond(at Step, r reply) error {
	if e.state.out != at {
		return e.misplaced(at)
	}
	return e.read(at, e.state, r)
}

// read reads a response into a copy of the state. The nonce that came with it is the
// application's.
func (e *Enrollment) read(at Step, next state, r reply) error {
	if len(r.body) > MaxBody {
		return ErrTooLarge
	}
	if problem := parseProblem(at, 0, r.body); at != StepCertificate && problem != nil && problem.Kind() != "" {
		return problem
	}
	next.out, next.retried = stepNone, false
	if err := table[at].accept(e, &next, r); err != nil {
		return err
	}
	e.settle(next)
	return nil
}
