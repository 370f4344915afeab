package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// calls collects which calls of the contract were answered, by method.
type calls struct {
	mu       sync.Mutex
	answered map[string]int
}

func (c *calls) count(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
	err := invoke(ctx, method, request, response, conn, o...)
	if err == nil {
		c.mu.Lock()
		c.answered[method]++
		c.mu.Unlock()
	}
	return err
}

// startServer starts a server on loopback and connects to it.
func startServer(t *testing.T, engine bool, c *calls) contract.MLSClientClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newGRPCServer(newServer(engine))
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(c.count))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return contract.NewMLSClientClient(conn)
}

// run is one scenario under way: actors on two servers, taking the servers by turns as they appear.
type run struct {
	t       *testing.T
	servers []contract.MLSClientClient
	suite   uint32
	encrypt bool // handshakes
	actors  map[string]*actor
	groupID []byte
	next    byte // makes ids differ
}

// actor is a member, or one who is to become one, or an external signer.
type actor struct {
	r           *run
	name        string
	rpc         contract.MLSClientClient
	state       uint32
	transaction uint32
	keyPackage  []byte
	reInit      uint32
	signer      uint32
}

func (r *run) ctx() context.Context { return r.t.Context() }

// actor returns the actor of a name, who comes into being when first named.
func (r *run) actor(name string) *actor {
	a := r.actors[name]
	if a == nil {
		a = &actor{r: r, name: name, rpc: r.servers[len(r.actors)%len(r.servers)]}
		r.actors[name] = a
	}
	return a
}

func (r *run) all(names ...string) []*actor {
	var list []*actor
	for _, name := range names {
		list = append(list, r.actor(name))
	}
	return list
}

// id returns bytes that no other id of the run is.
func (r *run) id(what string) []byte {
	r.next++
	return fmt.Appendf(nil, "%s %d", what, r.next)
}

// must returns the answer of a call that has to succeed.
func must[T any](r *run) func(response T, err error) T {
	return func(response T, err error) T {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
		return response
	}
}

// agrees holds a member's epoch authenticator against the one expected.
func (a *actor) agrees(got, want []byte) {
	a.r.t.Helper()
	if len(want) == 0 || !bytes.Equal(got, want) {
		a.r.t.Fatalf("%s: epoch authenticator %x, want %x", a.name, got, want)
	}
}

// create has an actor found the group and add members by value.
func (r *run) create(founder string, members ...string) {
	r.t.Helper()
	a := r.actor(founder)
	r.groupID = r.id("group")
	a.state = must[*contract.CreateGroupResponse](r)(a.rpc.CreateGroup(r.ctx(), &contract.CreateGroupRequest{
		GroupId: r.groupID, CipherSuite: r.suite, EncryptHandshake: r.encrypt, Identity: []byte(founder),
	})).StateId
	if len(members) == 0 {
		return
	}
	c := commit{joiners: members}
	for _, name := range members {
		c.byValue = append(c.byValue, add(r.actor(name).makeKeyPackage(r.suite)))
	}
	a.commit(c)
}

func (a *actor) makeKeyPackage(suite uint32) []byte {
	a.r.t.Helper()
	k := must[*contract.CreateKeyPackageResponse](a.r)(a.rpc.CreateKeyPackage(a.r.ctx(), &contract.CreateKeyPackageRequest{CipherSuite: suite, Identity: []byte(a.name)}))
	if len(k.InitPriv) == 0 || len(k.EncryptionPriv) == 0 || len(k.SignaturePriv) == 0 {
		a.r.t.Fatalf("%s: a private key is missing", a.name)
	}
	a.transaction, a.keyPackage = k.TransactionId, k.KeyPackage
	return k.KeyPackage
}

// commit says what to commit and who else is concerned.
type commit struct {
	byReference  [][]byte
	byValue      []*contract.ProposalDescription
	members      []string // who handle it
	joiners      []string // who join by its Welcome
	forcePath    bool
	externalTree bool
}

// commit carries a commit through: made, handled by its maker and the members, joiners welcomed.
func (a *actor) commit(c commit) {
	r := a.r
	r.t.Helper()
	made := must[*contract.CommitResponse](r)(a.rpc.Commit(r.ctx(), &contract.CommitRequest{
		StateId: a.state, ByReference: c.byReference, ByValue: c.byValue, ForcePath: c.forcePath, ExternalTree: c.externalTree,
	}))
	if (len(made.RatchetTree) > 0) != c.externalTree || len(made.Welcome) == 0 && len(c.joiners) > 0 {
		r.t.Fatalf("%s: a tree of %d bytes and a Welcome of %d", a.name, len(made.RatchetTree), len(made.Welcome))
	}
	own := must[*contract.HandleCommitResponse](r)(a.rpc.HandlePendingCommit(r.ctx(), &contract.HandlePendingCommitRequest{StateId: a.state}))
	a.state = own.StateId
	for _, m := range r.all(c.members...) {
		m.handle(c.byReference, made.Commit, own.EpochAuthenticator)
	}
	for _, j := range r.all(c.joiners...) {
		joined := must[*contract.JoinGroupResponse](r)(j.rpc.JoinGroup(r.ctx(), &contract.JoinGroupRequest{
			TransactionId: j.transaction, Welcome: made.Welcome, EncryptHandshake: r.encrypt, Identity: []byte(j.name), RatchetTree: made.RatchetTree,
		}))
		j.agrees(joined.EpochAuthenticator, own.EpochAuthenticator)
		j.state = joined.StateId
	}
}

func (a *actor) handle(proposals [][]byte, commit, authenticator []byte) {
	a.r.t.Helper()
	handled := must[*contract.HandleCommitResponse](a.r)(a.rpc.HandleCommit(a.r.ctx(), &contract.HandleCommitRequest{StateId: a.state, Proposal: proposals, Commit: commit}))
	a.agrees(handled.EpochAuthenticator, authenticator)
	a.state = handled.StateId
}

// Descriptions of proposals by value.
func add(keyPackage []byte) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeAdd), KeyPackage: keyPackage}
}

func remove(name string) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeRemove), RemovedId: []byte(name)}
}

func externalPSK(id []byte) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeExternalPSK), PskId: id}
}

func resumptionPSK(epoch uint64) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeResumptionPSK), EpochId: epoch}
}

func contextExtensions(list []*contract.Extension) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeGroupContextExtensions), Extensions: list}
}

func reInitTo(groupID []byte, suite uint32, list []*contract.Extension) *contract.ProposalDescription {
	return &contract.ProposalDescription{ProposalType: []byte(typeReInit), GroupId: groupID, CipherSuite: suite, Extensions: list}
}

// propose has the member send a described proposal, by the call of its type.
func (a *actor) propose(d *contract.ProposalDescription) []byte {
	a.r.t.Helper()
	ctx, m := a.r.ctx(), must[*contract.ProposalResponse](a.r)
	switch string(d.ProposalType) {
	case typeAdd:
		return m(a.rpc.AddProposal(ctx, &contract.AddProposalRequest{StateId: a.state, KeyPackage: d.KeyPackage})).Proposal
	case typeRemove:
		return m(a.rpc.RemoveProposal(ctx, &contract.RemoveProposalRequest{StateId: a.state, RemovedId: d.RemovedId})).Proposal
	case typeExternalPSK:
		return m(a.rpc.ExternalPSKProposal(ctx, &contract.ExternalPSKProposalRequest{StateId: a.state, PskId: d.PskId})).Proposal
	case typeResumptionPSK:
		return m(a.rpc.ResumptionPSKProposal(ctx, &contract.ResumptionPSKProposalRequest{StateId: a.state, EpochId: d.EpochId})).Proposal
	case typeGroupContextExtensions:
		return m(a.rpc.GroupContextExtensionsProposal(ctx, &contract.GroupContextExtensionsProposalRequest{StateId: a.state, Extensions: d.Extensions})).Proposal
	default:
		return m(a.rpc.ReInitProposal(ctx, &contract.ReInitProposalRequest{
			StateId: a.state, CipherSuite: d.CipherSuite, GroupId: d.GroupId, Extensions: d.Extensions,
		})).Proposal
	}
}

func (a *actor) proposeUpdate() []byte {
	a.r.t.Helper()
	return must[*contract.ProposalResponse](a.r)(a.rpc.UpdateProposal(a.r.ctx(), &contract.UpdateProposalRequest{StateId: a.state})).Proposal
}

// installPSK gives members and joiners a pre-shared key and returns its id.
func (r *run) installPSK(names ...string) (id, psk []byte) {
	r.t.Helper()
	id, psk = r.id("psk"), bytes.Repeat([]byte{r.next}, 32)
	for _, a := range r.all(names...) {
		holder := a.state
		if holder == 0 {
			holder = a.transaction
		}
		must[*contract.StorePSKResponse](r)(a.rpc.StorePSK(r.ctx(), &contract.StorePSKRequest{StateOrTransactionId: holder, PskId: id, PskSecret: psk}))
	}
	return id, psk
}

func (a *actor) groupInfo(externalTree bool) *contract.GroupInfoResponse {
	a.r.t.Helper()
	g := must[*contract.GroupInfoResponse](a.r)(a.rpc.GroupInfo(a.r.ctx(), &contract.GroupInfoRequest{StateId: a.state, ExternalTree: externalTree}))
	if (len(g.RatchetTree) > 0) != externalTree {
		a.r.t.Fatalf("%s: a tree of %d bytes", a.name, len(g.RatchetTree))
	}
	return g
}

func (a *actor) protect(text string) []byte {
	a.r.t.Helper()
	return must[*contract.ProtectResponse](a.r)(a.rpc.Protect(a.r.ctx(), &contract.ProtectRequest{
		StateId: a.state, Plaintext: []byte(text), AuthenticatedData: []byte("with " + text),
	})).Ciphertext
}

func (a *actor) reads(ciphertext []byte, text string) {
	a.r.t.Helper()
	u := must[*contract.UnprotectResponse](a.r)(a.rpc.Unprotect(a.r.ctx(), &contract.UnprotectRequest{StateId: a.state, Ciphertext: ciphertext}))
	if string(u.Plaintext) != text || string(u.AuthenticatedData) != "with "+text {
		a.r.t.Fatalf("%s reads %q with %q, want %q", a.name, u.Plaintext, u.AuthenticatedData, text)
	}
}

// agree compares all that the members can tell of their epoch, lets each of them speak to all others, and frees them.
func (r *run) agree(names ...string) {
	r.t.Helper()
	var exported, authenticator []byte
	for i, a := range r.all(names...) {
		e := must[*contract.ExportResponse](r)(a.rpc.Export(r.ctx(), &contract.ExportRequest{StateId: a.state, Label: "interop", Context: []byte("context"), KeyLength: 40}))
		auth := must[*contract.StateAuthResponse](r)(a.rpc.StateAuth(r.ctx(), &contract.StateAuthRequest{StateId: a.state}))
		if i == 0 {
			exported, authenticator = e.ExportedSecret, auth.StateAuthSecret
		}
		a.agrees(auth.StateAuthSecret, authenticator)
		if len(e.ExportedSecret) != 40 || !bytes.Equal(e.ExportedSecret, exported) {
			r.t.Fatalf("%s exports another secret", a.name)
		}
	}
	for _, from := range r.all(names...) {
		ciphertext := from.protect("hello from " + from.name)
		for _, to := range r.all(names...) {
			if to != from {
				to.reads(ciphertext, "hello from "+from.name)
			}
		}
	}
	for _, a := range r.all(names...) {
		must[*contract.FreeResponse](r)(a.rpc.Free(r.ctx(), &contract.FreeRequest{StateId: a.state}))
	}
}
