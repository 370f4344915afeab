package main

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// play plays scenarios between two servers in every suite, with handshakes of both kinds. In the fast suites either server is first in each scenario, in
// the others one of them.
func play(t *testing.T, c *calls, list []scenario, engines [2]bool) {
	servers := []contract.MLSClientClient{startServer(t, engines[0], c), startServer(t, engines[1], c)}
	suites := must[*contract.SupportedCiphersuitesResponse](&run{t: t})(servers[0].SupportedCiphersuites(t.Context(), &contract.SupportedCiphersuitesRequest{})).Ciphersuites
	if len(suites) != 7 {
		t.Errorf("suites %v", suites)
	}
	for _, suite := range suites {
		t.Run(fmt.Sprint("suite ", suite), func(t *testing.T) {
			t.Parallel()
			for i, s := range list {
				t.Run(s.name, func(t *testing.T) {
					for turn := range 2 {
						if suite > 3 && turn != int(suite/2)%2 {
							continue
						}
						order := []contract.MLSClientClient{servers[turn], servers[1-turn]}
						s.play(&run{t: t, servers: order, suite: suite, encrypt: (turn+i+int(suite))%2 == 0, actors: make(map[string]*actor)})
					}
				})
			}
		})
	}
}

// TestContract plays every scenario between two servers on the core, and with that makes every call of the contract.
func TestContract(t *testing.T) {
	c := &calls{answered: make(map[string]int)}
	t.Run("core", func(t *testing.T) { play(t, c, scenarios, [2]bool{}) })
	names := must[*contract.NameResponse](&run{t: t})(startServer(t, false, c).Name(t.Context(), &contract.NameRequest{}))
	if names.Name == "" {
		t.Error("no name")
	}
	for _, m := range contract.MLSClient_ServiceDesc.Methods {
		if c.answered["/"+contract.MLSClient_ServiceDesc.ServiceName+"/"+m.MethodName] == 0 {
			t.Errorf("%s has never been answered", m.MethodName)
		}
	}
}

// TestEngineContract plays what an engine offers between a server on engines and one on the core.
func TestEngineContract(t *testing.T) {
	var offered []scenario
	for _, s := range scenarios {
		if s.engine {
			offered = append(offered, s)
		}
	}
	play(t, &calls{answered: make(map[string]int)}, offered, [2]bool{true, false})
}

// TestRefusals makes calls that cannot be answered.
func TestRefusals(t *testing.T) {
	c := &calls{answered: make(map[string]int)}
	rpc, engine := startServer(t, false, c), startServer(t, true, c)
	refused := func(what string, err error, want codes.Code) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	ctx := t.Context()
	_, err := rpc.StateAuth(ctx, &contract.StateAuthRequest{StateId: 77})
	refused("a state that is not there", err, codes.NotFound)
	_, err = rpc.JoinGroup(ctx, &contract.JoinGroupRequest{TransactionId: 77})
	refused("a transaction that is not there", err, codes.NotFound)
	_, err = rpc.HandleReInitWelcome(ctx, &contract.HandleReInitWelcomeRequest{ReinitId: 77})
	refused("a reinit that is not there", err, codes.NotFound)
	_, err = rpc.ExternalSignerProposal(ctx, &contract.ExternalSignerProposalRequest{SignerId: 77})
	refused("a signer that is not there", err, codes.NotFound)
	for _, suite := range []uint32{0, 8, 1 << 16, 1<<16 + 1} {
		_, err = rpc.CreateKeyPackage(ctx, &contract.CreateKeyPackageRequest{CipherSuite: suite, Identity: []byte("alice")})
		refused("a suite that is none", err, codes.InvalidArgument)
	}

	r := &run{t: t, servers: []contract.MLSClientClient{rpc}, suite: 1, actors: make(map[string]*actor)}
	r.create("alice", "bob")
	alice, bob := r.actor("alice"), r.actor("bob")
	_, err = rpc.HandlePendingCommit(ctx, &contract.HandlePendingCommitRequest{StateId: alice.state})
	refused("no commit", err, codes.FailedPrecondition)
	_, err = rpc.RemoveProposal(ctx, &contract.RemoveProposalRequest{StateId: alice.state, RemovedId: []byte("carol")})
	refused("a member who is none", err, codes.NotFound)
	own := alice.proposeUpdate()
	_, err = rpc.Commit(ctx, &contract.CommitRequest{StateId: alice.state, ByReference: [][]byte{own}})
	refused("an own Update", err, codes.InvalidArgument)
	_, err = rpc.Unprotect(ctx, &contract.UnprotectRequest{StateId: bob.state, Ciphertext: own})
	refused("a proposal as application message", err, codes.InvalidArgument)
	made := must[*contract.CommitResponse](r)(rpc.Commit(ctx, &contract.CommitRequest{StateId: alice.state, ByValue: []*contract.ProposalDescription{remove("bob")}}))
	_, err = rpc.HandleCommit(ctx, &contract.HandleCommitRequest{StateId: bob.state, Commit: made.Commit})
	refused("a commit that removes the member", err, codes.FailedPrecondition)
	_, err = rpc.HandleReInitCommit(ctx, &contract.HandleCommitRequest{StateId: bob.state, Commit: alice.emptyCommit()})
	refused("a commit that is no reinitialization", err, codes.FailedPrecondition)
	must[*contract.FreeResponse](r)(rpc.Free(ctx, &contract.FreeRequest{StateId: bob.state}))
	_, err = rpc.StateAuth(ctx, &contract.StateAuthRequest{StateId: bob.state})
	refused("a state that was freed", err, codes.NotFound)

	e := &run{t: t, servers: []contract.MLSClientClient{engine}, suite: 1, actors: make(map[string]*actor)}
	e.create("alice")
	_, err = engine.CreateBranch(ctx, &contract.CreateBranchRequest{StateId: e.actor("alice").state})
	refused("what an engine does not offer", err, codes.Unimplemented)
	_, err = engine.GroupInfo(ctx, &contract.GroupInfoRequest{StateId: e.actor("alice").state, ExternalTree: true})
	refused("what an engine does not offer", err, codes.Unimplemented)
}

func (a *actor) emptyCommit() []byte {
	a.r.t.Helper()
	return must[*contract.CommitResponse](a.r)(a.rpc.Commit(a.r.ctx(), &contract.CommitRequest{StateId: a.state})).Commit
}
