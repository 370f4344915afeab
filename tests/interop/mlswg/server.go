package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// server holds the members, key packages and signers that the runner knows by their ids. All ids come from one counter, since StorePSK takes those of
// two kinds. Calls take turns: the runner makes one at a time.
type server struct {
	contract.UnimplementedMLSClientServer
	engine bool // members that create or join a group live in an engine

	mu      sync.Mutex
	last    uint32 // id
	members map[uint32]member
	joiners map[uint32]*joiner
	signers map[uint32]*mlsgroup.Signer
	reInits map[uint32]*reInit
}

// member is one member's state of a group, which a state id names.
type member interface {
	authenticator() ([]byte, error)
	export(label string, context []byte, length int) ([]byte, error)
	groupInfo(externalTree bool) (groupInfo, tree []byte, err error)
	storePSK(id []byte, psk conclave.Secret) error
	protect(plaintext, authenticatedData []byte) ([]byte, error)
	unprotect(ciphertext []byte) (plaintext, authenticatedData []byte, err error)
	propose(d *contract.ProposalDescription) ([]byte, error)
	proposeUpdate() ([]byte, error)
	commit(r *contract.CommitRequest) (*contract.CommitResponse, error)
	// handlePending and handleCommit return the member in the next epoch.
	handlePending() (member, error)
	handleCommit(proposals [][]byte, commit []byte) (member, error)
	// free is called when the runner gives up one of the member's ids.
	free() error
}

// joiner is the private half of a key package, which a transaction id names.
type joiner struct {
	bundle *mlsgroup.KeyPackageBundle
	signer *mlsgroup.Signer
	psks   pskTable
}

func newServer(engine bool) *server {
	return &server{
		engine: engine, members: make(map[uint32]member), joiners: make(map[uint32]*joiner),
		signers: make(map[uint32]*mlsgroup.Signer), reInits: make(map[uint32]*reInit),
	}
}

func newGRPCServer(s *server) *grpc.Server {
	g := grpc.NewServer(grpc.UnaryInterceptor(s.inTurn), grpc.MaxRecvMsgSize(math.MaxInt32))
	contract.RegisterMLSClientServer(g, s)
	return g
}

func (s *server) inTurn(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return next(ctx, request)
}

func (s *server) newID() uint32 {
	s.last++
	return s.last
}

func (s *server) addMember(m member) uint32 {
	id := s.newID()
	s.members[id] = m
	return id
}

func (s *server) member(id uint32) (member, error) {
	if m := s.members[id]; m != nil {
		return m, nil
	}
	return nil, status.Errorf(codes.NotFound, "no state %d", id)
}

// coreMember returns a member for calls that an engine does not offer.
func (s *server) coreMember(id uint32) (*coreMember, error) {
	m, err := s.member(id)
	if err != nil {
		return nil, err
	}
	if c, ok := m.(*coreMember); ok {
		return c, nil
	}
	return nil, status.Error(codes.Unimplemented, "not offered by the engine")
}

func (s *server) joiner(id uint32) (*joiner, error) {
	if j := s.joiners[id]; j != nil {
		return j, nil
	}
	return nil, status.Errorf(codes.NotFound, "no transaction %d", id)
}

// newInput is what a step of the core takes beside the group.
func newInput(signer *mlsgroup.Signer, psks pskTable) mlsgroup.Input {
	return mlsgroup.Input{Rand: rand.Reader, Now: time.Now(), Signer: signer, PSK: psks.find}
}

// pskTable holds external pre-shared keys by their ids.
type pskTable map[string]conclave.Secret

func (t pskTable) store(id []byte, psk conclave.Secret) { t[string(id)] = bytes.Clone(psk) }

func (t pskTable) find(id mlsgroup.PreSharedKeyID) (conclave.Secret, bool) {
	if id.Type != mlsgroup.PSKTypeExternal {
		return nil, false
	}
	psk, ok := t[string(id.ExternalID)]
	return psk, ok
}

func newSigner(suite mlsgroup.CipherSuite, identity []byte) (*mlsgroup.Signer, error) {
	return mlsgroup.NewSigner(rand.Reader, suite, mlsgroup.BasicCredential(identity))
}

// newSuite reads a suite, which the contract gives 32 bits.
func newSuite(n uint32) (mlsgroup.CipherSuite, error) {
	if suite := mlsgroup.CipherSuite(n); uint32(suite) == n && suite.Supported() {
		return suite, nil
	}
	return 0, status.Errorf(codes.InvalidArgument, "cipher suite %d", n)
}

func (s *server) Name(context.Context, *contract.NameRequest) (*contract.NameResponse, error) {
	if s.engine {
		return &contract.NameResponse{Name: "conclave engine"}, nil
	}
	return &contract.NameResponse{Name: "conclave"}, nil
}

func (s *server) SupportedCiphersuites(context.Context, *contract.SupportedCiphersuitesRequest) (*contract.SupportedCiphersuitesResponse, error) {
	return &contract.SupportedCiphersuitesResponse{Ciphersuites: []uint32{1, 2, 3, 4, 5, 6, 7}}, nil
}

func (s *server) GroupInfo(_ context.Context, r *contract.GroupInfoRequest) (*contract.GroupInfoResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	groupInfo, tree, err := m.groupInfo(r.ExternalTree)
	if err != nil {
		return nil, err
	}
	return &contract.GroupInfoResponse{GroupInfo: groupInfo, RatchetTree: tree}, nil
}

func (s *server) StateAuth(_ context.Context, r *contract.StateAuthRequest) (*contract.StateAuthResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	authenticator, err := m.authenticator()
	if err != nil {
		return nil, err
	}
	return &contract.StateAuthResponse{StateAuthSecret: authenticator}, nil
}

func (s *server) Export(_ context.Context, r *contract.ExportRequest) (*contract.ExportResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	if r.KeyLength > math.MaxUint16 {
		return nil, status.Errorf(codes.InvalidArgument, "key length %d", r.KeyLength)
	}
	exported, err := m.export(r.Label, r.Context, int(r.KeyLength))
	if err != nil {
		return nil, err
	}
	return &contract.ExportResponse{ExportedSecret: exported}, nil
}

func (s *server) Protect(_ context.Context, r *contract.ProtectRequest) (*contract.ProtectResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	ciphertext, err := m.protect(r.Plaintext, r.AuthenticatedData)
	if err != nil {
		return nil, err
	}
	return &contract.ProtectResponse{Ciphertext: ciphertext}, nil
}

func (s *server) Unprotect(_ context.Context, r *contract.UnprotectRequest) (*contract.UnprotectResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	plaintext, authenticatedData, err := m.unprotect(r.Ciphertext)
	if err != nil {
		return nil, err
	}
	return &contract.UnprotectResponse{Plaintext: plaintext, AuthenticatedData: authenticatedData}, nil
}

func (s *server) StorePSK(_ context.Context, r *contract.StorePSKRequest) (*contract.StorePSKResponse, error) {
	if j := s.joiners[r.StateOrTransactionId]; j != nil {
		j.psks.store(r.PskId, r.PskSecret)
		return &contract.StorePSKResponse{}, nil
	}
	m, err := s.member(r.StateOrTransactionId)
	if err != nil {
		return nil, err
	}
	return &contract.StorePSKResponse{}, m.storePSK(r.PskId, r.PskSecret)
}

func (s *server) Free(_ context.Context, r *contract.FreeRequest) (*contract.FreeResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	delete(s.members, r.StateId)
	return &contract.FreeResponse{}, m.free()
}
