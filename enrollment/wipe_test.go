package enrollment

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// TestWipe looks at memory that an enrollment has done with.
func TestWipe(t *testing.T) {
	fresh := func() secret.Bytes { return secret.Bytes("secret") }
	wiped := func(what string, b secret.Bytes) {
		t.Helper()
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s is still there", what)
		}
	}
	access, id, account, signature := fresh(), fresh(), fresh(), fresh()
	e := &Enrollment{accountKey: keyPair{private: account}, signatureKey: keyPair{private: signature}, state: state{accessToken: access, idToken: id}}
	e.Wipe()
	wiped("the access token", access)
	wiped("the ID token", id)
	wiped("the account key", account)
	wiped("the signature key", signature)

	access, id = fresh(), fresh()
	e = &Enrollment{state: state{step: StepDPoPChallenge, accessToken: access, idToken: id}}
	next := e.state
	e.settle(next)
	if string(access) != "secret" || string(id) != "secret" {
		t.Error("what is kept was wiped")
	}
	next.accessToken, next.idToken = nil, fresh()
	e.settle(next)
	wiped("the access token that was sent", access)
	wiped("the ID token that was replaced", id)
	if string(e.state.idToken) != "secret" {
		t.Error("the new ID token was wiped")
	}
}
