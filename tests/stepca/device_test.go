package stepca

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// clock is an engine's: the real one, for step-ca has no other, which a test can put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// office is a world with an engine in it and a delivery service.
type office struct {
	*world
	t      *testing.T
	clock  clock
	suite  conclave.CipherSuite
	engine *conclave.Engine
	ds     *enginetest.DeliveryService
}

func newOffice(t *testing.T, suite conclave.CipherSuite) *office {
	t.Helper()
	o := &office{world: newWorld(t), t: t, suite: suite, ds: enginetest.NewDeliveryService()}
	var err error
	if o.engine, err = conclave.Open(t.Context(), "", conclave.Options{InMemory: true, SendTimeout: time.Hour, Now: o.clock.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// device is a client with its user.
type device struct {
	*enginetest.Device
	office *office
	user   *user
}

// open opens a client of a new user that trusts step-ca's root. It has a Basic credential, or none.
func (o *office) open(handle, name string, noCredential bool) *device {
	o.t.Helper()
	ctx := o.t.Context()
	u := o.newUser(handle, name)
	id := conclave.ClientID(u.id.String())
	transport := o.ds.Transport(id)
	options := conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{o.suite}, NoCredential: noCredential}
	if !noCredential {
		options.Transport = transport
	}
	client, err := o.engine.Client(ctx, id, options)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := client.RegisterTrustAnchor(ctx, o.ca.get(o.t, "/roots.pem")); err != nil {
		o.t.Fatal(err)
	}
	return &device{Device: &enginetest.Device{Client: client, Delivery: o.ds, Transport: transport}, office: o, user: u}
}

// wanted is what the device asks to be certified.
func (d *device) wanted() conclave.EnrollmentOptions {
	return conclave.EnrollmentOptions{
		CipherSuite: d.office.suite,
		DisplayName: d.user.name,
		Handle:      d.user.handle,
		Expiry:      lifetime,
		Directory:   d.office.ca.directory,
	}
}

// hooks are the application's part in Enroll.
func (d *device) hooks() conclave.EnrollHooks {
	o, u := d.office, d.user
	return conclave.EnrollHooks{
		HTTPRequest: o.acme.Do,
		Authenticate: func(ctx context.Context, a enrollment.Authentication) (string, error) {
			return login(ctx, u.login, a.IdentityProvider, a.KeyAuth, a.Audience)
		},
		BackendNonce:       func(ctx context.Context) (string, error) { return o.backendNonce(ctx, u) },
		BackendAccessToken: func(ctx context.Context, dpop string) (string, error) { return o.accessToken(ctx, u, dpop) },
	}
}

// enroll has the engine drive an enrolment, in one call.
func (d *device) enroll(kind conclave.EnrollmentKind) conclave.SavedX509Credential {
	t := d.office.t
	t.Helper()
	saved, err := d.Enroll(t.Context(), conclave.EnrollOptions{EnrollmentOptions: d.wanted(), Kind: kind, HookTimeout: time.Hour}, d.hooks())
	if err != nil {
		t.Fatal(err)
	}
	d.office.begin()
	return saved
}

// enrollByCalls enrols a device without a credential, whose application speaks to the servers itself.
func (d *device) enrollByCalls() conclave.SavedX509Credential {
	t := d.office.t
	t.Helper()
	e, err := d.NewEnrollment(t.Context(), d.wanted())
	if err != nil {
		t.Fatal(err)
	}
	e, chain := d.stepByStep(e)
	saved, err := d.MLSInitOnly(t.Context(), e, chain, d.Transport)
	if err != nil {
		t.Fatal(err)
	}
	d.office.begin()
	return saved
}

// renewByCalls gets another certificate for the device's key, and takes name and handle from the one it has.
func (d *device) renewByCalls() conclave.SavedX509Credential {
	t := d.office.t
	t.Helper()
	e, err := d.NewRotateEnrollment(t.Context(), conclave.EnrollmentOptions{CipherSuite: d.office.suite, Expiry: lifetime})
	if err != nil {
		t.Fatal(err)
	}
	e, chain := d.stepByStep(e)
	saved, err := d.InstallCertificate(t.Context(), e, chain)
	if err != nil {
		t.Fatal(err)
	}
	d.office.begin()
	return saved
}

// begin puts the clock past the first second of a certificate, in which a conversation does not count it yet.
func (o *office) begin() { o.clock.forward(2 * time.Second) }

// publish replaces the key packages that others can claim.
func (d *device) publish() {
	t := d.office.t
	t.Helper()
	if err := d.DeleteStaleKeyPackages(t.Context(), d.office.suite); err != nil {
		t.Fatal(err)
	}
	d.Delivery.Withdraw(d.ID())
	if err := d.Publish(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
}

// rotation replaces all key packages that others can claim.
func (d *device) rotation() conclave.RotateOptions {
	return conclave.RotateOptions{KeyPackages: 2, Publish: func(_ context.Context, made []conclave.KeyPackageEntry) error {
		d.Delivery.Withdraw(d.ID())
		d.Delivery.Publish(d.ID(), made...)
		return nil
	}}
}

// rotate brings a credential to everything the device has of its signature scheme.
func (d *device) rotate(saved conclave.SavedX509Credential) {
	t := d.office.t
	t.Helper()
	o := d.rotation()
	o.Credential = saved.Credential.Ref
	if err := d.RotateCredential(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// renew replaces the certificate everywhere, in one call.
func (d *device) renew(kind conclave.EnrollmentKind) {
	t := d.office.t
	t.Helper()
	o := conclave.RenewOptions{Enroll: conclave.EnrollOptions{EnrollmentOptions: d.wanted(), Kind: kind, HookTimeout: time.Hour}, Rotate: d.rotation()}
	if err := d.Renew(t.Context(), o, d.hooks()); err != nil {
		t.Fatal(err)
	}
	d.office.begin()
}

// receive takes what the delivery service has for the device.
func (d *device) receive() []enginetest.Event {
	t := d.office.t
	t.Helper()
	events, err := d.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
	}
	return events
}

// state checks how a conversation stands in the eyes of the device.
func (d *device) state(id conclave.ConversationID, want conclave.E2EIState) {
	t := d.office.t
	t.Helper()
	got, err := d.E2EIState(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s sees %v, want %v", d.user.name, got, want)
	}
}

// sees returns the identity of another device in the eyes of this one, and checks what its user would see of it.
func (d *device) sees(id conclave.ConversationID, other *device, status conclave.DeviceStatus) conclave.WireIdentity {
	t := d.office.t
	t.Helper()
	all, err := d.DeviceIdentities(t.Context(), id, other.ID())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].X509 == nil {
		t.Fatalf("%s sees %v", d.user.name, all)
	}
	i, x := all[0], all[0].X509
	if i.ClientID != other.ID() || i.Status != status || x.DisplayName != other.user.name || x.Domain != domain ||
		x.Handle != "wireapp://%40"+other.user.handle+"@"+domain || x.NotAfter.Sub(x.NotBefore) != lifetime {
		t.Errorf("%s sees %v, want %v", d.user.name, i, status)
	}
	return i
}
