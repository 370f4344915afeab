package conclave_test

import (
	"context"
	"fmt"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/tests/acmetest"
)

func ExampleClient_Enroll() {
	ctx, world := context.Background(), acmetest.New(time.Now) // stands for the ACME server, the identity provider and the backend
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true}))
	defer func() { _ = eng.Close() }()

	id := conclave.ClientID("4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example")
	alice := must(eng.Client(ctx, id, conclave.ClientOptions{NoCredential: true}))
	must(alice.RegisterTrustAnchor(ctx, []byte(world.Root())))
	saved := must(alice.Enroll(ctx, conclave.EnrollOptions{EnrollmentOptions: conclave.EnrollmentOptions{
		Directory: world.Directory(), DisplayName: "Alice Smith", Handle: "alice_wire",
	}}, conclave.EnrollHooks{
		HTTPRequest: func(_ context.Context, r enrollment.Request) (enrollment.Response, error) { return world.Do(r), nil }, // or acmehttp.New(nil).Do
		Authenticate: func(_ context.Context, a enrollment.Authentication) (string, error) {
			return world.Authenticate(a.KeyAuth, a.Audience, "Alice Smith", "alice_wire", "wire.example"), nil
		},
		BackendNonce:       func(context.Context) (string, error) { return world.BackendNonce(), nil },
		BackendAccessToken: func(_ context.Context, dpop string) (string, error) { return world.AccessToken(dpop) },
	})) // after a crash the same call goes on
	own := must(alice.CheckCredentials(ctx))[0]
	fmt.Println(own.Identity.X509.DisplayName, own.Identity.Status, own.Ref == saved.Credential.Ref)
	// Output: Alice Smith Valid true
}
