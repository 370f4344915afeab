// Package enrollment turns a client into one with a certificate: it speaks ACME
// (RFC 8555) with Wire's two challenges to a CA such as step-ca, as a machine that
// emits requests and eats responses and never dials.
//
// An [Enrollment] stands at one [Step]. What each step sends and accepts is a row of
// the table in table.go:
//
//	directory       GET   the CA's URLs
//	nonce           HEAD  whenever a step has to POST and no nonce is at hand
//	account         POST  signed with the account key itself; from here on with its URL
//	order           POST  the device and the user, for a lifetime
//	authorization   POST  two of them, in the order of the CA; each brings a challenge
//	DPoP token      application: a nonce of the backend, see CreateDPoPToken
//	access token    application: the backend's answer to the DPoP token, see SetAccessToken
//	DPoP challenge  POST  the access token
//	ID token        application: the user signs in, see Authentication and SetIDToken
//	OIDC challenge  POST  the ID token
//	order check     POST  until the order is ready
//	finalize        POST  the CSR
//	certificate     POST  the chain, held against what was asked for
//	issued          the certificate waits to be stored, see Issued
//
// # Two ways to drive it
//
// A driver loops over [Enrollment.Request] and [Enrollment.Receive]: the machine keeps
// the nonce. Building a request takes it, and only a response puts one back. Or the
// application does the HTTP step by step, as CoreCrypto has it, and hands in each nonce
// and each body: [Enrollment.DirectoryResponse], [Enrollment.NewAccountRequest] and so
// on. Both ways run on the same table.
//
// # Errors
//
// A call out of order fails with [ErrOutOfOrder], a bad response with an error of its
// own (errors.go); either leaves the enrollment exactly as it was. A CA that refuses a
// nonce is asked once more. Where a response got lost, [Enrollment.Retry] goes back to
// before the request.
//
// # Keys
//
// The account key is made for this one enrollment, and signs all requests and the DPoP
// token. The signature key is the client's in MLS, fresh or given in [Config], and signs
// the CSR alone. Both have the algorithm of the cipher suite, 1, 2, 3, 5 or 7. The whole
// state is secret: [Enrollment.Marshal] returns it for sealing, [Enrollment.Wipe]
// destroys it.
//
// Nothing here reads a clock or draws a random byte of its own, starts a goroutine or
// takes a lock. An Enrollment has one user at a time.
package enrollment
