package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// certified is a group of members with X.509 credentials and the authority they are of. One of them acts.
type certified struct {
	authority *pkitest.Authority
	founder   *mlsgroup.Signer
	group     *mlsgroup.Group
	ids       []conclave.ClientID
}

// acceptAll is the authentication service of the peer: what it makes is judged by the engine.
type acceptAll struct{}

func (acceptAll) ValidateCredential(*mlsgroup.Credential, []byte) error { return nil }

func (acceptAll) ValidSuccessor(_, _ *mlsgroup.Credential) error { return nil }

func (c *certified) input(signer *mlsgroup.Signer) mlsgroup.Input {
	in := dialect{suite: 1}.input(signer)
	in.Auth = acceptAll{}
	return in
}

// newCertified makes a group of so many members by one commit.
func newCertified(b *testing.B, members int) *certified {
	b.Helper()
	c := &certified{authority: pkitest.New(b, 1, "wire.example", time.Now())}
	signers := make([]*mlsgroup.Signer, members)
	for i := range signers {
		id := conclave.ClientID(fmt.Sprintf("00000000-0000-4000-8000-%012x:1@wire.example", i))
		issued := c.authority.Issue(b, pkitest.Leaf{ClientID: string(id)}, time.Now())
		c.ids = append(c.ids, id)
		signers[i] = &mlsgroup.Signer{
			CipherSuite: 1, Credential: mlsgroup.X509Credential(issued.Chain), Private: issued.Private, Public: issued.Public,
		}
	}
	c.founder = signers[0]
	t, err := mlsgroup.NewGroup(c.input(c.founder), mlsgroup.GroupOptions{GroupID: []byte("certified"), Profile: mlsgroup.ProfileWire})
	if err != nil {
		b.Fatal(err)
	}
	c.group = t.Next
	packages := make([]*mlsgroup.KeyPackage, members-1)
	err = forEach(len(packages), func(i int) error {
		bundle, err := mlsgroup.NewKeyPackage(c.input(signers[i+1]), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
		if err == nil {
			packages[i] = bundle.KeyPackage
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	c.add(b, packages...)
	return c
}

// add adds members and returns the Welcome.
func (c *certified) add(b *testing.B, packages ...*mlsgroup.KeyPackage) []byte {
	b.Helper()
	own, err := c.group.Commit(c.input(c.founder), mlsgroup.CommitOptions{Proposals: addProposals(packages...), OmitPath: true})
	if err != nil {
		b.Fatal(err)
	}
	t, err := c.group.Merge(own)
	if err != nil {
		b.Fatal(err)
	}
	c.group = t.Next
	return own.Bundle.Welcome
}

// observer is a client of a new engine that trusts the authority, with a Basic credential, and that has been added: the Welcome is what it joins by.
func (c *certified) observer(b *testing.B, name string) (*conclave.Engine, *conclave.Client, []byte) {
	b.Helper()
	e := openEngine(b, memory, false, "")
	client, err := e.Client(b.Context(), conclave.ClientID(name), conclave.ClientOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := client.RegisterTrustAnchor(b.Context(), c.authority.Root); err != nil {
		b.Fatal(err)
	}
	if _, err := client.RegisterIntermediate(b.Context(), c.authority.Intermediate); err != nil {
		b.Fatal(err)
	}
	return e, client, c.invite(b, client)
}

func (c *certified) invite(b *testing.B, client *conclave.Client) []byte {
	b.Helper()
	made, err := client.GenerateKeyPackages(b.Context(), conclave.KeyPackageOptions{Count: 1})
	if err != nil {
		b.Fatal(err)
	}
	kp, err := mlsgroup.ParseKeyPackage(made[0].KeyPackage)
	if err != nil {
		b.Fatal(err)
	}
	before := c.group // each joins the same group
	welcome := c.add(b, kp)
	c.group = before
	return welcome
}

func certifiedSizes() []int {
	if testing.Short() {
		return []int{10}
	}
	return []int{10, 1000}
}

// BenchmarkIdentities asks a conversation with X.509 credentials for all identities, or for its state.
func BenchmarkIdentities(b *testing.B) {
	for _, members := range certifiedSizes() {
		c := newCertified(b, members)
		e, client, welcome := c.observer(b, "observer")
		if _, err := client.ProcessWelcome(b.Context(), welcome, conclave.JoinOptions{}); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("suite=1/members=%d/ask=devices", members), func(b *testing.B) {
			for b.Loop() {
				got, err := client.DeviceIdentities(b.Context(), "certified", c.ids...)
				if err != nil || len(got) != members || got[members-1].Status != conclave.DeviceStatusValid {
					b.Fatal(len(got), err)
				}
			}
		})
		b.Run(fmt.Sprintf("suite=1/members=%d/ask=state", members), func(b *testing.B) {
			for b.Loop() {
				// The observer has no certificate.
				if state, err := client.E2EIState(b.Context(), "certified"); err != nil || state != conclave.E2EIStateNotVerified {
					b.Fatal(state, err)
				}
			}
		})
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoinX509 joins a group of members with X.509 credentials by a Welcome: every chain is verified, or has been before.
func BenchmarkJoinX509(b *testing.B) {
	for _, members := range certifiedSizes() {
		c := newCertified(b, members)
		b.Run(fmt.Sprintf("suite=1/members=%d/chains=unknown", members), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				e, client, welcome := c.observer(b, "observer")
				b.StartTimer()
				if _, err := client.ProcessWelcome(b.Context(), welcome, conclave.JoinOptions{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("suite=1/members=%d/chains=known", members), func(b *testing.B) {
			e, client, welcome := c.observer(b, "observer")
			if _, err := client.ProcessWelcome(b.Context(), welcome, conclave.JoinOptions{}); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if err := client.WipeConversation(b.Context(), "certified"); err != nil {
					b.Fatal(err)
				}
				welcome := c.invite(b, client)
				b.StartTimer()
				if _, err := client.ProcessWelcome(b.Context(), welcome, conclave.JoinOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
