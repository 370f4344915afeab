package main

import (
	"bytes"
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

func (s *server) CreateGroup(_ context.Context, r *contract.CreateGroupRequest) (*contract.CreateGroupResponse, error) {
	suite, err := newSuite(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	create := createCoreMember
	if s.engine {
		create = createEngineMember
	}
	m, err := create(suite, r)
	if err != nil {
		return nil, err
	}
	return &contract.CreateGroupResponse{StateId: s.addMember(m)}, nil
}

// newJoiner makes a key package.
func newJoiner(suite mlsgroup.CipherSuite, identity []byte) (*joiner, error) {
	signer, err := newSigner(suite, identity)
	if err != nil {
		return nil, err
	}
	bundle, err := mlsgroup.NewKeyPackage(newInput(signer, nil), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileRFC})
	if err != nil {
		return nil, err
	}
	return &joiner{bundle: bundle, signer: signer, psks: make(pskTable)}, nil
}

// keyPackage returns the public half as the contract wants it.
func (j *joiner) keyPackage() []byte {
	m := mlsgroup.MLSMessage{Version: mlsgroup.ProtocolVersionMLS10, WireFormat: mlsgroup.WireFormatKeyPackage, KeyPackage: j.bundle.KeyPackage}
	return m.Marshal()
}

// parseKeyPackage reads what keyPackage returns, also without the MLSMessage around it.
func parseKeyPackage(b []byte) (*mlsgroup.KeyPackage, error) {
	if m, err := mlsgroup.ParseMLSMessage(b); err == nil && m.KeyPackage != nil {
		return m.KeyPackage, nil
	}
	return mlsgroup.ParseKeyPackage(b)
}

func (s *server) CreateKeyPackage(_ context.Context, r *contract.CreateKeyPackageRequest) (*contract.CreateKeyPackageResponse, error) {
	suite, err := newSuite(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	j, err := newJoiner(suite, r.Identity)
	if err != nil {
		return nil, err
	}
	id := s.newID()
	s.joiners[id] = j
	return &contract.CreateKeyPackageResponse{
		TransactionId: id, KeyPackage: j.keyPackage(),
		InitPriv: j.bundle.InitPrivate, EncryptionPriv: j.bundle.LeafPrivate, SignaturePriv: j.signer.Private,
	}, nil
}

func (s *server) JoinGroup(_ context.Context, r *contract.JoinGroupRequest) (*contract.JoinGroupResponse, error) {
	j, err := s.joiner(r.TransactionId)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.Identity, j.signer.Credential.Identity) {
		return nil, status.Errorf(codes.InvalidArgument, "identity %q, the key package is for %q", r.Identity, j.signer.Credential.Identity)
	}
	join := joinCoreMember
	if s.engine {
		join = joinEngineMember
	}
	m, err := join(j, r)
	if err != nil {
		return nil, err
	}
	authenticator, err := m.authenticator()
	if err != nil {
		return nil, err
	}
	delete(s.joiners, r.TransactionId)
	return &contract.JoinGroupResponse{StateId: s.addMember(m), EpochAuthenticator: authenticator}, nil
}

// parseTree reads a ratchet_tree of the contract, nil where there is none.
func parseTree(b []byte) (*mlsgroup.RatchetTree, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return mlsgroup.ParseRatchetTree(b)
}

// parseWelcome reads a Welcome in its MLSMessage.
func parseWelcome(b []byte) (*mlsgroup.Welcome, error) {
	m, err := mlsgroup.ParseMLSMessage(b)
	if err != nil {
		return nil, err
	}
	if m.Welcome == nil {
		return nil, status.Error(codes.InvalidArgument, "not a Welcome")
	}
	return m.Welcome, nil
}

// parseGroupInfo reads a GroupInfo in its MLSMessage, and the ratchet tree that it brings or that comes beside it; neither is verified.
func parseGroupInfo(groupInfo, tree []byte) (*mlsgroup.GroupInfo, *mlsgroup.RatchetTree, error) {
	m, err := mlsgroup.ParseMLSMessage(groupInfo)
	if err != nil {
		return nil, nil, err
	}
	if m.GroupInfo == nil {
		return nil, nil, status.Error(codes.InvalidArgument, "not a GroupInfo")
	}
	if len(tree) == 0 {
		if i := slices.IndexFunc(m.GroupInfo.Extensions, isRatchetTree); i >= 0 {
			tree = m.GroupInfo.Extensions[i].Body
		}
	}
	t, err := parseTree(tree)
	return m.GroupInfo, t, err
}

func isRatchetTree(e mlsgroup.Extension) bool { return e.Type == mlsgroup.ExtensionTypeRatchetTree }

// leafOf finds the first leaf with an identity.
func leafOf(tree *mlsgroup.RatchetTree, identity []byte) (mlsgroup.LeafIndex, error) {
	if tree == nil {
		return 0, status.Error(codes.InvalidArgument, "no ratchet tree")
	}
	for i, leaf := range tree.Members() {
		if bytes.Equal(leaf.Credential.Identity, identity) {
			return i, nil
		}
	}
	return 0, status.Errorf(codes.NotFound, "no member %q", identity)
}

func (s *server) ExternalJoin(_ context.Context, r *contract.ExternalJoinRequest) (*contract.ExternalJoinResponse, error) {
	groupInfo, tree, err := parseGroupInfo(r.GroupInfo, r.RatchetTree)
	if err != nil {
		return nil, err
	}
	signer, err := newSigner(groupInfo.GroupContext.CipherSuite, r.Identity)
	if err != nil {
		return nil, err
	}
	o := mlsgroup.ExternalJoinOptions{Profile: mlsgroup.ProfileRFC, RatchetTree: tree}
	if r.RemovePrior {
		i, err := leafOf(tree, r.Identity)
		if err != nil {
			return nil, err
		}
		o.Remove = &i
	}
	psks := make(pskTable)
	for _, p := range r.Psks {
		psks.store(p.PskId, p.PskSecret)
		o.PSKs = append(o.PSKs, mlsgroup.PreSharedKeyID{Type: mlsgroup.PSKTypeExternal, ExternalID: p.PskId})
	}
	own, err := mlsgroup.JoinByExternalCommit(newInput(signer, psks), groupInfo, o)
	if err != nil {
		return nil, err
	}
	var none *mlsgroup.Group
	t, err := none.Merge(own)
	if err != nil {
		return nil, err
	}
	m := newCoreMember(t, signer, psks, r.EncryptHandshake)
	return &contract.ExternalJoinResponse{
		StateId: s.addMember(m), Commit: own.Bundle.Commit, EpochAuthenticator: m.group.EpochAuthenticator(),
	}, nil
}
