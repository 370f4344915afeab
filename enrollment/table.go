package enrollment

import "time"

// row is what one step of the CA sends and accepts.
type row struct {
	method string
	status []int  // accepted
	media  string // of an accepted body, "" for any
	// url tells where the request goes.
	url func(e *Enrollment, s *state) string
	// payload returns what is signed; nil is a POST-as-GET.
	payload func(e *Enrollment, s *state, now time.Time) ([]byte, error)
	// accept reads the body into a copy of the state, and moves the copy on.
	accept func(e *Enrollment, next *state, r reply) error
}

// reply is what a step reads of a response.
type reply struct {
	now      time.Time
	location string // "" if the application did not hand it in
	body     []byte
	whole    bool // of a request that Enrollment.Request built, which may have come before
}

const (
	mediaJSON    = "application/json"
	mediaChain   = "application/pem-certificate-chain"
	mediaProblem = "application/problem+json"
	mediaJOSE    = "application/jose+json"
)

// table is the protocol. Steps without a row are the application's.
var table = [stepEnd]*row{
	StepDirectory: {
		method: "GET", status: []int{200}, media: mediaJSON,
		url:    func(e *Enrollment, _ *state) string { return e.config.Directory },
		accept: acceptDirectory,
	},
	StepNonce: {
		method: "HEAD", status: []int{200, 204},
		url:    func(_ *Enrollment, s *state) string { return s.directory.NewNonce },
		accept: func(*Enrollment, *state, reply) error { return nil },
	},
	StepAccount: {
		method: "POST", status: []int{200, 201}, media: mediaJSON, // 200 if an answer to the same got lost
		url:     func(_ *Enrollment, s *state) string { return s.directory.NewAccount },
		payload: accountPayload,
		accept:  acceptAccount,
	},
	StepOrder: {
		method: "POST", status: []int{201}, media: mediaJSON,
		url:     func(_ *Enrollment, s *state) string { return s.directory.NewOrder },
		payload: orderPayload,
		accept:  acceptOrder,
	},
	StepAuthorization: {
		method: "POST", status: []int{200}, media: mediaJSON,
		url:    func(_ *Enrollment, s *state) string { return s.order.Authorizations[s.asked] },
		accept: acceptAuthorization,
	},
	StepDPoPChallenge: {
		method: "POST", status: []int{200}, media: mediaJSON,
		url:     func(_ *Enrollment, s *state) string { return s.device.URL },
		payload: dpopPayload,
		accept:  acceptDPoPChallenge,
	},
	StepOIDCChallenge: {
		method: "POST", status: []int{200}, media: mediaJSON,
		url:     func(_ *Enrollment, s *state) string { return s.user.URL },
		payload: oidcPayload,
		accept:  acceptOIDCChallenge,
	},
	StepOrderCheck: {
		method: "POST", status: []int{200}, media: mediaJSON,
		url:    func(_ *Enrollment, s *state) string { return s.order.URL },
		accept: acceptOrderCheck,
	},
	StepFinalize: {
		method: "POST", status: []int{200}, media: mediaJSON,
		url:     func(_ *Enrollment, s *state) string { return s.order.Finalize },
		payload: finalizePayload,
		accept:  acceptFinalize,
	},
	StepCertificate: {
		method: "POST", status: []int{200}, media: mediaChain,
		url:    func(_ *Enrollment, s *state) string { return s.certificate },
		accept: acceptCertificate,
	},
}
