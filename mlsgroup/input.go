package mlsgroup

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Input is everything a step needs that is neither in the group nor in the
// message: this package has no clock, no randomness and no trust of its own. A
// step reads it and keeps none of it.
type Input struct {
	// Rand gives every random byte. A step draws from it in an order that does
	// not depend on Do, so the same bytes give the same result.
	Rand io.Reader
	// Now is compared with lifetimes of leaves that we send.
	Now time.Time
	// MaxLifetime bounds the whole lifetime of every leaf of a key package that
	// is sent or received (RFC 9420 section 7.2). Members that differ about it
	// do not accept the same commits. Zero means no bound.
	MaxLifetime time.Duration
	// Auth decides about credentials. Nil accepts Basic credentials, whoever
	// they name, and refuses all others.
	Auth AuthenticationService
	// Signer is the member's own signature key, for steps that sign.
	Signer *Signer
	// PSK finds external PSKs, and resumption PSKs of other groups (Usage,
	// GroupID and Epoch set). Nil finds none. The step does not wipe the key.
	PSK func(id PreSharedKeyID) (secret.Bytes, bool)
	// Do runs f(0) to f(n-1), in any order or at once, and returns when all are
	// done. Nil runs them in sequence.
	Do func(n int, f func(i int))
}

// Signer is a signature key pair with the credential that stands for it.
type Signer struct {
	CipherSuite CipherSuite
	Credential  Credential
	Private     secret.Bytes
	Public      []byte
}

// NewSigner makes a signature key pair for the suite from bytes of rand.
func NewSigner(rand io.Reader, cs CipherSuite, credential Credential) (*Signer, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	in := Input{Rand: rand}
	seed, err := in.random(s.SeedSize())
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	priv, pub, err := s.GenerateSignatureKey(seed)
	if err != nil {
		return nil, err
	}
	return &Signer{CipherSuite: cs, Credential: credential, Private: priv, Public: pub}, nil
}

// Expanded returns the signer in a form that signs in half the time with
// Ed25519 and Ed448, and in two thirds with ECDSA. It is for memory only: the form of the private key is not
// that of NewSigner and is not to be stored. The caller wipes it.
func (sg *Signer) Expanded() (*Signer, error) {
	s, err := sg.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	out := *sg
	out.Private, err = s.ExpandSignatureKey(sg.Private)
	return &out, err
}

// AuthenticationService is the service of RFC 9420 section 5.3.1 as far as this
// package asks it. It must not depend on anything that members may see
// differently, except trust itself. Where Input.Do runs things at once, so are
// its methods.
type AuthenticationService interface {
	// ValidateCredential says whether the credential is valid for the
	// signature key.
	ValidateCredential(c *Credential, signatureKey []byte) error
	// ValidSuccessor says whether next may take the place of old at a leaf, and
	// whether both name the same client.
	ValidSuccessor(old, next *Credential) error
}

var (
	errNoRand     = errors.New("mlsgroup: no source of randomness")
	errNoSigner   = errors.New("mlsgroup: no signature key")
	errWrongKey   = errors.New("mlsgroup: the signature key is not that of the own leaf")
	errNotBasic   = errors.New("no authentication service for a credential that is not Basic")
	errOtherBasic = errors.New("another Basic identity")
)

// basicAuth stands in where Input.Auth is nil.
type basicAuth struct{}

func (basicAuth) ValidateCredential(c *Credential, _ []byte) error {
	if c.Type != CredentialTypeBasic {
		return errNotBasic
	}
	return nil
}

func (basicAuth) ValidSuccessor(old, next *Credential) error {
	if !old.Equal(next) {
		return errOtherBasic
	}
	return nil
}

func (in *Input) auth() AuthenticationService {
	if in.Auth == nil {
		return basicAuth{}
	}
	return in.Auth
}

// random draws n bytes, which the caller wipes.
func (in *Input) random(n int) (secret.Bytes, error) {
	if in.Rand == nil {
		return nil, errNoRand
	}
	b := make(secret.Bytes, n)
	if _, err := io.ReadFull(in.Rand, b); err != nil {
		return nil, fmt.Errorf("mlsgroup: drawing randomness: %w", err)
	}
	return b, nil
}

// do runs f for 0 to n-1 through Do.
func (in *Input) do(n int, f func(i int)) {
	if in.Do != nil && n > 1 {
		in.Do(n, f)
		return
	}
	for i := range n {
		f(i)
	}
}

// doErr runs f for 0 to n-1 through Do and returns the error of the smallest
// index, so that the result does not depend on the order.
func (in *Input) doErr(n int, f func(i int) error) error {
	errs := make([]error, n)
	in.do(n, func(i int) { errs[i] = f(i) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bothBytes is the size of a message from which on hashing it once takes longer
// than having another goroutine do it.
const bothBytes = 16 << 10

// both calls f and g, through Do if both go through a message of that size.
func (in *Input) both(size int, f, g func()) {
	if size < bothBytes {
		f()
		g()
		return
	}
	in.do(2, func(i int) {
		if i == 0 {
			f()
		} else {
			g()
		}
	})
}

// signer returns the key for a step that signs for the suite.
func (in *Input) signer(cs CipherSuite) (*Signer, error) {
	if in.Signer == nil || len(in.Signer.Private) == 0 {
		return nil, errNoSigner
	}
	if in.Signer.CipherSuite != cs {
		return nil, fmt.Errorf("mlsgroup: signature key of suite %v used in suite %v", in.Signer.CipherSuite, cs)
	}
	return in.Signer, nil
}
