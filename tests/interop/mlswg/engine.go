package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// engineMember is a member in an engine of its own, in memory. It moves with its group: every state id of it means its current epoch. The engine frames
// own handshakes as the RFC profile has them, encrypted, whatever the runner asks for; a receiver takes both.
type engineMember struct {
	engine       *conclave.Engine
	client       *conclave.Client
	conversation *conclave.Conversation
	proposals    map[string]bool // own ones of this epoch, by message
	wire         *wire
	done         chan error // of the call that commits, nil where none is under way
	ids          int        // state ids that name the member
}

// wire is the engine's transport: the runner takes the commit from it and decides what becomes of it, as calls of the contract.
type wire struct {
	sent     chan conclave.CommitBundle
	verdicts chan conclave.VerdictKind
}

// SendCommitBundle implements conclave.Transport.
func (w *wire) SendCommitBundle(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	select {
	case w.sent <- b:
	case <-ctx.Done():
		return conclave.Verdict{}, ctx.Err()
	}
	select {
	case kind := <-w.verdicts:
		return conclave.Verdict{Kind: kind}, nil
	case <-ctx.Done():
		return conclave.Verdict{}, ctx.Err()
	}
}

// patience is how long a runner may take between a commit and its verdict.
const patience = 24 * time.Hour

func openEngineMember(suite mlsgroup.CipherSuite, identity []byte, o conclave.ClientOptions) (*engineMember, error) {
	ctx := context.Background()
	engine, err := conclave.Open(ctx, "", conclave.Options{InMemory: true, SendTimeout: patience})
	if err != nil {
		return nil, err
	}
	e := &engineMember{
		engine: engine, proposals: make(map[string]bool), ids: 1,
		wire: &wire{sent: make(chan conclave.CommitBundle), verdicts: make(chan conclave.VerdictKind)},
	}
	o.CipherSuites, o.Profile, o.Transport = []conclave.CipherSuite{suite}, conclave.ProfileRFC9420, e.wire
	if e.client, err = engine.Client(ctx, conclave.ClientID(identity), o); err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return e, nil
}

func createEngineMember(suite mlsgroup.CipherSuite, r *contract.CreateGroupRequest) (member, error) {
	e, err := openEngineMember(suite, r.Identity, conclave.ClientOptions{})
	if err != nil {
		return nil, err
	}
	id := conclave.ConversationID(r.GroupId)
	if err := e.client.CreateConversation(context.Background(), id, conclave.ConversationOptions{}); err != nil {
		return nil, errors.Join(err, e.engine.Close())
	}
	e.conversation = e.client.Conversation(id)
	return e, nil
}

func joinEngineMember(j *joiner, r *contract.JoinGroupRequest) (member, error) {
	kp := j.bundle.KeyPackage
	e, err := openEngineMember(kp.CipherSuite, r.Identity, conclave.ClientOptions{NoCredential: true})
	if err != nil {
		return nil, err
	}
	if err := e.join(j, r); err != nil {
		return nil, errors.Join(err, e.engine.Close())
	}
	return e, nil
}

func (e *engineMember) join(j *joiner, r *contract.JoinGroupRequest) error {
	ctx := context.Background()
	_, err := e.client.ImportKeyPackage(ctx, conclave.KeyPackageBundle{
		KeyPackage: j.bundle.KeyPackage.Marshal(), InitPrivate: j.bundle.InitPrivate, LeafPrivate: j.bundle.LeafPrivate, SignaturePrivate: j.signer.Private,
	})
	if err != nil {
		return err
	}
	for id, psk := range j.psks {
		if err := e.storePSK([]byte(id), psk); err != nil {
			return err
		}
	}
	joined, err := e.client.ProcessWelcome(ctx, r.Welcome, conclave.JoinOptions{RatchetTree: r.RatchetTree})
	if err != nil {
		return err
	}
	e.conversation = e.client.Conversation(joined.Conversation)
	return nil
}

func (e *engineMember) authenticator() ([]byte, error) {
	state, err := e.conversation.State(context.Background())
	return state.EpochAuthenticator, err
}

func (e *engineMember) export(label string, exportContext []byte, length int) ([]byte, error) {
	return e.conversation.ExportSecret(context.Background(), label, exportContext, length)
}

func (e *engineMember) groupInfo(externalTree bool) (groupInfo, tree []byte, err error) {
	if externalTree {
		return nil, nil, notOffered("a GroupInfo without its tree")
	}
	groupInfo, err = e.conversation.ExportGroupInfo(context.Background())
	return groupInfo, nil, err
}

func notOffered(what string) error {
	return status.Errorf(codes.Unimplemented, "not offered by the engine: %s", what)
}

func (e *engineMember) storePSK(id []byte, psk conclave.Secret) error {
	return e.client.PutPSK(context.Background(), id, psk)
}

func (e *engineMember) protect(plaintext, authenticatedData []byte) ([]byte, error) {
	return e.conversation.EncryptMessageWith(context.Background(), plaintext, authenticatedData)
}

func (e *engineMember) unprotect(ciphertext []byte) (plaintext, authenticatedData []byte, err error) {
	m, err := e.receive(ciphertext, conclave.OutcomeText)
	return m.Plaintext, m.AuthenticatedData, err
}

// receive processes a message that can have only one outcome.
func (e *engineMember) receive(message []byte, want conclave.Outcome) (conclave.DecryptedMessage, error) {
	m, err := e.conversation.DecryptMessage(context.Background(), message)
	if err == nil && m.Outcome != want {
		err = status.Errorf(codes.InvalidArgument, "the message is %v, want %v", m.Outcome, want)
	}
	return m, err
}

func (e *engineMember) propose(d *contract.ProposalDescription) ([]byte, error) {
	ctx := context.Background()
	switch string(d.ProposalType) {
	case typeAdd:
		return e.proposed(e.conversation.ProposeAdd(ctx, d.KeyPackage))
	case typeRemove:
		return e.proposed(e.conversation.ProposeRemove(ctx, conclave.ClientID(d.RemovedId)))
	case typeExternalPSK:
		return e.proposed(e.conversation.ProposePSK(ctx, d.PskId))
	}
	return nil, notOffered("to propose " + string(d.ProposalType))
}

func (e *engineMember) proposeUpdate() ([]byte, error) {
	return e.proposed(e.conversation.ProposeUpdate(context.Background()))
}

func (e *engineMember) proposed(p conclave.ProposalBundle, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	e.proposals[string(p.Message)] = true
	return p.Message, nil
}

// receiveProposals makes sure that proposals wait for a commit.
func (e *engineMember) receiveProposals(messages [][]byte) error {
	for _, message := range messages {
		if e.proposals[string(message)] {
			continue
		}
		if _, err := e.receive(message, conclave.OutcomeProposal); err != nil && !errors.Is(err, conclave.CodeDuplicateMessage) {
			return err
		}
	}
	return nil
}

// commit starts the call that commits and waits until it sends. By value the engine commits Adds or Removes, not both.
func (e *engineMember) commit(r *contract.CommitRequest) (*contract.CommitResponse, error) {
	if r.ExternalTree {
		return nil, notOffered("a Welcome without its tree")
	}
	if e.done != nil {
		return nil, status.Error(codes.FailedPrecondition, "a commit is pending")
	}
	if err := e.receiveProposals(r.ByReference); err != nil {
		return nil, err
	}
	call, err := e.committing(r)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := call(context.Background())
		done <- err
	}()
	select {
	case b := <-e.wire.sent:
		e.done = done
		return &contract.CommitResponse{Commit: b.Commit, Welcome: b.Welcome}, nil
	case err := <-done:
		return nil, err
	}
}

// committing chooses the call that commits what is asked for.
func (e *engineMember) committing(r *contract.CommitRequest) (func(context.Context) (conclave.CommitMerged, error), error) {
	var keyPackages [][]byte
	var removed []conclave.ClientID
	for _, d := range r.ByValue {
		switch string(d.ProposalType) {
		case typeAdd:
			keyPackages = append(keyPackages, d.KeyPackage)
		case typeRemove:
			removed = append(removed, conclave.ClientID(d.RemovedId))
		default:
			return nil, notOffered("to commit " + string(d.ProposalType) + " by value")
		}
	}
	switch {
	case len(keyPackages) > 0 && len(removed) > 0:
		return nil, notOffered("to add and remove by value in one commit")
	case len(keyPackages) > 0:
		return func(ctx context.Context) (conclave.CommitMerged, error) {
			return e.conversation.AddMembers(ctx, keyPackages...)
		}, nil
	case len(removed) > 0:
		return func(ctx context.Context) (conclave.CommitMerged, error) {
			return e.conversation.RemoveMembers(ctx, removed...)
		}, nil
	case len(r.ByReference) > 0:
		return e.conversation.CommitPendingProposals, nil
	}
	return e.conversation.UpdateKeyMaterial, nil
}

// settle answers the call that commits, and waits for it.
func (e *engineMember) settle(kind conclave.VerdictKind) error {
	e.wire.verdicts <- kind
	err := <-e.done
	e.done = nil
	return err
}

func (e *engineMember) handlePending() (member, error) {
	if e.done == nil {
		return nil, status.Error(codes.FailedPrecondition, "no commit is pending")
	}
	if err := e.settle(conclave.VerdictAccepted); err != nil {
		return nil, err
	}
	return e.entered(), nil
}

func (e *engineMember) handleCommit(proposals [][]byte, commit []byte) (member, error) {
	if e.done != nil {
		if err := e.settle(conclave.VerdictRefused); err != nil && !errors.Is(err, conclave.CodeMessageRejected) {
			return nil, err
		}
	}
	if err := e.receiveProposals(proposals); err != nil {
		return nil, err
	}
	m, err := e.receive(commit, conclave.OutcomeCommit)
	if err != nil {
		return nil, err
	}
	if !m.IsActive {
		return nil, status.Error(codes.FailedPrecondition, "the commit removes this member")
	}
	return e.entered(), nil
}

// entered notes that the member is in the next epoch, under one more id.
func (e *engineMember) entered() member {
	clear(e.proposals)
	e.ids++
	return e
}

// free closes the engine with the last id. A call that commits ends with it.
func (e *engineMember) free() error {
	if e.ids--; e.ids > 0 {
		return nil
	}
	return e.engine.Close()
}
