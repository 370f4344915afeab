package stepca

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"strconv"
	"testing"

	"github.com/conclave-mls/conclave/enrollment/acmehttp"
	"github.com/conclave-mls/conclave/internal/clientid"
)

// world is what a client that enrols needs around it.
type world struct {
	idp     *identityProvider
	backend *backend
	ca      *authorityServer
	acme    *acmehttp.Client // trusts the CA's root
}

// newWorld starts a world whose CA has keys of P-256.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, newECDSA(elliptic.P256()))
}

func newWorldWith(t *testing.T, key newKey) *world {
	t.Helper()
	w := &world{idp: startIdentityProvider(t), backend: startBackend(t)}
	w.ca = startAuthority(t, key, w.idp, w.backend)
	w.acme = acmehttp.New(w.ca.client.Transport)
	t.Cleanup(func() {
		if reasons := w.ca.failures.take(); t.Failed() && len(reasons) > 0 {
			t.Logf("step-ca refused: %q", reasons)
		}
	})
	return w
}

// user is a person with a device, known to the identity provider and the backend.
type user struct {
	id     clientid.ID
	handle string // bare
	name   string
	login  idpUser
	bearer string // at the backend
}

// newUser registers a person with a device of random ids.
func (w *world) newUser(handle, name string) *user {
	u := &user{id: clientid.ID{Domain: domain}, handle: handle, name: name}
	var device [8]byte
	rand.Read(u.id.User[:])
	rand.Read(device[:])
	for _, b := range device {
		u.id.Device = u.id.Device<<8 | uint64(b)
	}
	w.register(u)
	return u
}

// register makes the user known, under its handle and name as they are now.
func (w *world) register(u *user) {
	u.login = w.idp.register(u.handle+"@"+u.id.Domain, u.name)
	u.bearer = w.backend.register(u.device(), backendDevice{
		subject: u.id.URI(),
		handle:  "wireapp://%40" + u.handle + "@" + u.id.Domain,
		name:    u.name,
	})
}

// device returns the device id as the backend's paths have it.
func (u *user) device() string { return strconv.FormatUint(u.id.Device, 16) }

// backendNonce is the application's call to the backend.
func (w *world) backendNonce(ctx context.Context, u *user) (string, error) {
	return w.backend.nonceFor(ctx, u.device(), u.bearer)
}

// accessToken is the application's call to the backend.
func (w *world) accessToken(ctx context.Context, u *user, dpop string) (string, error) {
	return w.backend.accessTokenFor(ctx, u.device(), u.bearer, dpop)
}
