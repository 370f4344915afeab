package main

import (
	"errors"
	"maps"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// coreMember is a member on package mlsgroup. It stays in its epoch: a commit makes another coreMember, and this one can be used on, so nothing that it
// consumes is wiped. The pre-shared keys belong to all epochs.
type coreMember struct {
	group   *mlsgroup.Group
	records records
	signer  *mlsgroup.Signer
	psks    pskTable
	format  mlsgroup.WireFormat // of own commits and proposals
	// proposals of this epoch, own and received, by the message that brought them.
	proposals map[string]mlsgroup.ProposalRef
	pending   *pendingCommit
}

// pendingCommit is an own commit with the member that it was made from, which has only the proposals that were to be committed.
type pendingCommit struct {
	own  *mlsgroup.OwnCommit
	base *coreMember
}

func newCoreMember(t *mlsgroup.Transition, signer *mlsgroup.Signer, psks pskTable, encryptHandshake bool) *coreMember {
	m := &coreMember{records: make(records), signer: signer, psks: psks, format: mlsgroup.WireFormatPublicMessage, proposals: make(map[string]mlsgroup.ProposalRef)}
	if encryptHandshake {
		m.format = mlsgroup.WireFormatPrivateMessage
	}
	m.carryOut(t)
	return m
}

func createCoreMember(suite mlsgroup.CipherSuite, r *contract.CreateGroupRequest) (member, error) {
	signer, err := newSigner(suite, r.Identity)
	if err != nil {
		return nil, err
	}
	psks := make(pskTable)
	t, err := mlsgroup.NewGroup(newInput(signer, psks), mlsgroup.GroupOptions{GroupID: r.GroupId, Profile: mlsgroup.ProfileRFC})
	if err != nil {
		return nil, err
	}
	return newCoreMember(t, signer, psks, r.EncryptHandshake), nil
}

func joinCoreMember(j *joiner, r *contract.JoinGroupRequest) (member, error) {
	t, err := j.join(r.Welcome, r.RatchetTree, nil)
	if err != nil {
		return nil, err
	}
	return newCoreMember(t, j.signer, j.psks, r.EncryptHandshake), nil
}

// join joins by a Welcome. origin is the group that the new one continues, or nil.
func (j *joiner) join(welcome, ratchetTree []byte, origin *mlsgroup.Group) (*mlsgroup.Transition, error) {
	w, err := parseWelcome(welcome)
	if err != nil {
		return nil, err
	}
	tree, err := parseTree(ratchetTree)
	if err != nil {
		return nil, err
	}
	return mlsgroup.Join(newInput(j.signer, j.psks), w, mlsgroup.JoinOptions{
		KeyPackage: j.bundle, Profile: mlsgroup.ProfileRFC, RatchetTree: tree, Origin: origin,
	})
}

// try takes a step, with all the parts of the group that it asks for.
func (m *coreMember) try(step func(g *mlsgroup.Group) error) error {
	g := m.group
	for {
		err := step(g)
		need, ok := errors.AsType[*mlsgroup.Need](err)
		if !ok {
			return err
		}
		if g, err = g.WithParts(m.records.load(need)...); err != nil {
			return err
		}
	}
}

// step takes a step and carries it out.
func (m *coreMember) step(step func(g *mlsgroup.Group) (*mlsgroup.Transition, error)) (*mlsgroup.Transition, error) {
	var t *mlsgroup.Transition
	err := m.try(func(g *mlsgroup.Group) error {
		var err error
		t, err = step(g)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.carryOut(t)
	return t, nil
}

func (m *coreMember) carryOut(t *mlsgroup.Transition) {
	m.records.apply(t.Changes)
	m.group = t.Next
}

// fork returns a copy that goes its own way.
func (m *coreMember) fork() *coreMember {
	c := *m
	c.records, c.proposals, c.pending = maps.Clone(m.records), maps.Clone(m.proposals), nil
	return &c
}

func (m *coreMember) input() mlsgroup.Input { return newInput(m.signer, m.psks) }

// tree returns the ratchet tree.
func (m *coreMember) tree() (*mlsgroup.RatchetTree, error) {
	var tree *mlsgroup.RatchetTree
	err := m.try(func(g *mlsgroup.Group) error {
		var err error
		tree, err = g.RatchetTree()
		return err
	})
	return tree, err
}

func (m *coreMember) authenticator() ([]byte, error) { return m.group.EpochAuthenticator(), nil }

func (m *coreMember) export(label string, context []byte, length int) ([]byte, error) {
	return m.group.Export(label, context, length)
}

func (m *coreMember) groupInfo(externalTree bool) (groupInfo, tree []byte, err error) {
	err = m.try(func(g *mlsgroup.Group) error {
		groupInfo, err = g.NewGroupInfo(m.input(), externalTree, nil)
		return err
	})
	if err != nil || !externalTree {
		return groupInfo, nil, err
	}
	t, err := m.tree()
	if err != nil {
		return nil, nil, err
	}
	return groupInfo, t.Marshal(), nil
}

func (m *coreMember) storePSK(id []byte, psk conclave.Secret) error {
	m.psks.store(id, psk)
	return nil
}

func (m *coreMember) protect(plaintext, authenticatedData []byte) ([]byte, error) {
	t, err := m.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) {
		return g.Encrypt(m.input(), plaintext, authenticatedData)
	})
	if err != nil {
		return nil, err
	}
	return t.Outbound.Message, nil
}

func (m *coreMember) unprotect(ciphertext []byte) (plaintext, authenticatedData []byte, err error) {
	c := m.fork()
	t, err := c.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Process(m.input(), ciphertext) })
	if err != nil {
		return nil, nil, err
	}
	if t.Received.ContentType != mlsgroup.ContentTypeApplication {
		return nil, nil, status.Error(codes.InvalidArgument, "not an application message")
	}
	m.group, m.records = c.group, c.records
	return t.Received.Application, t.Received.AuthenticatedData, nil
}

func (m *coreMember) free() error { return nil }
