package enrollment

import (
	"errors"
	"slices"
	"time"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Enrollment is the work on one certificate. It is one user's at a time, and prints
// nothing. What fails leaves it as it was.
type Enrollment struct {
	config       Config // without the signature key
	accountKey   keyPair
	signatureKey keyPair
	state        state
}

// state is what changes. A step works on a copy, which takes the place of the original
// only if all went well; so no slice of it is ever written to.
type state struct {
	step    Step
	out     Step  // the step whose request waits for its response, or stepNone
	retried bool  // the CA refused a nonce, and gets one more
	polls   uint8 // requests of this step that the CA answered with "later"
	nonce   string
	spent   []string // the last nonces used

	directory   Directory
	account     string // its URL
	order       Order
	asked       uint8 // which authorization is, or was last, asked for
	read        [2]bool
	device      Challenge
	user        Challenge
	accessToken secret.Bytes
	idToken     secret.Bytes
	certificate string   // its URL
	chain       [][]byte // DER, the client's own certificate first
}

// maxPolls is how often the CA may say "later" to one step.
const maxPolls = 60

// Step returns what the enrollment waits for: a response if [Enrollment.Waiting], else
// the request, or the call of the application, of that step.
func (e *Enrollment) Step() Step {
	s := &e.state
	switch r := table[s.step]; {
	case s.out != stepNone:
		return s.out
	case r != nil && r.method == "POST" && s.nonce == "":
		return StepNonce
	default:
		return s.step
	}
}

// Waiting tells whether a request was built whose response has not come.
func (e *Enrollment) Waiting() bool { return e.state.out != stepNone }

// ClientID returns the client that the certificate is for.
func (e *Enrollment) ClientID() clientid.ID { return e.config.ClientID }

// CipherSuite returns the number of the cipher suite.
func (e *Enrollment) CipherSuite() uint16 { return e.config.CipherSuite }

// SignaturePublicKey returns the public key to be certified.
func (e *Enrollment) SignaturePublicKey() []byte {
	return append([]byte(nil), e.signatureKey.public...)
}

// Request returns the request of the step and takes the nonce. It fails with a
// [StepError] while a response is out or where the step is the application's, and with
// an error of the order if that has expired meanwhile.
func (e *Enrollment) Request(now time.Time) (Request, error) {
	at := e.Step()
	if e.Waiting() || table[at] == nil {
		return Request{}, e.misplaced(at)
	}
	next := e.state
	if at == StepAuthorization {
		next.asked = next.unread()
	}
	return e.build(at, next, now)
}

// build makes the request of a step on a copy of the state, which holds the nonce for it.
func (e *Enrollment) build(at Step, next state, now time.Time) (Request, error) {
	r := table[at]
	request := Request{Step: at, Method: r.method, URL: r.url(e, &next)}
	if request.URL == "" {
		return Request{}, ErrURL // the application has not named it
	}
	if r.method == "POST" {
		var payload []byte
		var err error
		if r.payload != nil {
			if payload, err = r.payload(e, &next, now); err != nil {
				return Request{}, err
			}
		}
		if request.Body, err = e.accountKey.requestBody(next.account, request.URL, next.nonce, payload); err != nil {
			return Request{}, err
		}
		request.Header = Header{"Content-Type": {mediaJOSE}}
		next.take(next.nonce)
	}
	next.out = at
	e.settle(next)
	return request, nil
}

// Receive takes the response to the last request. The CA may answer that it is not done:
// then wait is how long to hold back the next request, which repeats the step, or after
// [StepFinalize] asks for the order.
//
// A refused nonce is no error the first time: the step comes again with the nonce that
// the refusal brought. Every error leaves the enrollment waiting, for the right response
// or for [Enrollment.Retry].
func (e *Enrollment) Receive(now time.Time, response Response) (wait time.Duration, err error) {
	at := e.state.out
	if at == stepNone {
		return 0, e.misplaced(e.Step())
	}
	if len(response.Body) > MaxBody {
		return 0, ErrTooLarge
	}
	r := table[at]
	next := e.state
	next.out = stepNone
	nonce, nonceErr := next.freshNonce(response.Header)
	if !slices.Contains(r.status, response.Status) {
		problem := readProblem(at, response)
		// An error response may come without a nonce (RFC 8555 section 6.5); then one is asked for.
		nonceless := errors.Is(nonceErr, ErrNonceMissing)
		if at == StepFinalize && (nonceErr == nil || nonceless) && isOrderNotReady(problem) && next.polls < maxPolls {
			return e.later(nonce, response.Header), nil
		}
		if r.method != "POST" || nonceErr != nil || !isBadNonce(problem) {
			return 0, problem
		}
		if next.retried {
			return 0, errors.Join(ErrNonceRefused, problem)
		}
		next.retried, next.nonce = true, nonce
		e.settle(next)
		return 0, nil
	}
	if media, err := response.Header.mediaType(); err != nil || media != "" && r.media != "" && media != r.media {
		return 0, errors.Join(ErrContentType, err)
	}
	if r.method != "GET" { // the directory needs none
		if nonceErr != nil {
			return 0, nonceErr
		}
		next.nonce = nonce
	}
	location, err := response.Header.one("Location")
	if err != nil {
		return 0, err
	}
	if at == StepOrder && location == "" {
		return 0, malformed("no Location")
	}
	err = r.accept(e, &next, reply{now, location, response.Body, true})
	if (errors.Is(err, ErrOrderNotReady) || errors.Is(err, ErrChallengeProcessing)) && e.state.polls < maxPolls {
		return e.later(nonce, response.Header), nil
	}
	if err != nil {
		return 0, err
	}
	if at != StepNonce {
		next.retried = false
	}
	e.settle(next)
	return 0, nil
}

// later lets the step come again, and returns how long it has to wait. An order is not
// finalized again but asked for: the CA takes its time, or the request has come before and
// its answer got lost, and then there may be a certificate (RFC 8555 section 7.4).
func (e *Enrollment) later(nonce string, h Header) time.Duration {
	next := e.state
	next.out, next.nonce, next.retried, next.polls = stepNone, nonce, false, next.polls+1
	if next.step == StepFinalize {
		next.step = StepOrderCheck
	}
	e.settle(next)
	return h.retryAfter()
}

// settle makes the copy the state, and wipes the tokens that are not in it any more.
func (e *Enrollment) settle(next state) {
	if next.step != e.state.step {
		next.retried = false
		// The CA may go to and fro between these two, but not for ever.
		if from, to := e.state.step, next.step; from != StepOrderCheck && from != StepFinalize || to != StepOrderCheck && to != StepFinalize {
			next.polls = 0
		}
	}
	forget(e.state.accessToken, next.accessToken)
	forget(e.state.idToken, next.idToken)
	e.state = next
}

// forget wipes old unless it is kept.
func forget(old, kept secret.Bytes) {
	if len(old) > 0 && (len(kept) == 0 || &old[0] != &kept[0]) {
		old.Wipe()
	}
}

// Retry gives up on the response that is out: it got lost, or was an error. The request
// is built anew, with a fresh nonce. All of them may come twice to a CA. Where nothing is
// out, Retry does nothing. Tokens age while one waits: at the step of a challenge, hand in
// new ones.
func (e *Enrollment) Retry() { e.state.out = stepNone }

// Wipe overwrites the keys and tokens. Every later call fails with a [StepError].
func (e *Enrollment) Wipe() {
	e.accountKey.private.Wipe()
	e.signatureKey.private.Wipe()
	e.state.accessToken.Wipe()
	e.state.idToken.Wipe()
	e.accountKey, e.signatureKey = keyPair{}, keyPair{}
	e.state = state{step: StepFinished}
}

// misplaced returns the error of a call that does not belong here.
func (e *Enrollment) misplaced(call Step) error {
	return &StepError{Call: call, At: e.Step(), Waiting: e.Waiting()}
}

// unread returns the first authorization that has not been read.
func (s *state) unread() uint8 {
	if s.read[0] {
		return 1
	}
	return 0
}
