package conclave_test

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// coreMember is a client that speaks MLS by the pure core, without an engine: it sends what an engine would not, and in the order the test wants. Its group
// is a value, so a test can keep one to go back to.
type coreMember struct {
	t      *testing.T
	in     mlsgroup.Input
	bundle *mlsgroup.KeyPackageBundle
	// profile is the RFC's unless a test sets another: it takes and makes both wire formats.
	profile mlsgroup.Profile
	private bool // proposals and commits, in Wire's profile
	g       *mlsgroup.Group
}

func newCoreMember(t *testing.T, name string) *coreMember {
	t.Helper()
	m := &coreMember{t: t, profile: mlsgroup.ProfileRFC, in: mlsgroup.Input{Rand: rand.Reader, Now: time.Now(), Signer: newSigner(t, name)}}
	m.bundle = m.keyPackage()
	return m
}

func newSigner(t *testing.T, name string) *mlsgroup.Signer {
	t.Helper()
	signer, err := mlsgroup.NewSigner(rand.Reader, 1, mlsgroup.BasicCredential([]byte(name)))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// keyPackage makes a key package as Wire's clients do.
func (m *coreMember) keyPackage() *mlsgroup.KeyPackageBundle {
	m.t.Helper()
	b, err := mlsgroup.NewKeyPackage(m.in, mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
	m.must(err)
	return b
}

func (m *coreMember) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// follow takes a step of the group and returns the message that it sends, if any.
func (m *coreMember) follow(t *mlsgroup.Transition, err error) []byte {
	m.t.Helper()
	m.must(err)
	m.g = t.Next
	if t.Outbound == nil {
		return nil
	}
	return t.Outbound.Message
}

func (m *coreMember) join(welcome []byte) {
	m.t.Helper()
	w, err := mlsgroup.ParseMLSMessage(welcome)
	m.must(err)
	m.follow(mlsgroup.Join(m.in, w.Welcome, mlsgroup.JoinOptions{KeyPackage: m.bundle, Profile: m.profile, BasicKeyChange: true, PrivateHandshakes: m.private}))
}

func (m *coreMember) read(message []byte) {
	m.t.Helper()
	m.follow(m.g.Process(m.in, message))
}

func (m *coreMember) say(text string) []byte {
	m.t.Helper()
	return m.follow(m.g.Encrypt(m.in, []byte(text), nil))
}

// propose proposes an Update where p is nil.
func (m *coreMember) propose(p *mlsgroup.Proposal, format mlsgroup.WireFormat) []byte {
	m.t.Helper()
	o := mlsgroup.ProposalOptions{Proposal: p, WireFormat: format}
	if p == nil {
		o.Update = new(mlsgroup.LeafChange)
	}
	return m.follow(m.g.Propose(m.in, o))
}

// commit commits what is pending, and the given proposals, with a path; the member goes on to the next epoch.
func (m *coreMember) commit(proposals ...*mlsgroup.Proposal) mlsgroup.CommitBundle {
	m.t.Helper()
	return m.commitAs(mlsgroup.CommitOptions{WireFormat: public}, proposals...)
}

func (m *coreMember) commitAs(o mlsgroup.CommitOptions, proposals ...*mlsgroup.Proposal) mlsgroup.CommitBundle {
	m.t.Helper()
	for _, p := range proposals {
		o.Proposals = append(o.Proposals, *p)
	}
	own, err := m.g.Commit(m.in, o)
	m.must(err)
	if own.Before != nil {
		m.g = own.Before.Next
	}
	m.follow(m.g.Merge(own))
	return own.Bundle
}

// groupInfo is a GroupInfo of the member's epoch, as Wire's backend hands it out: without an envelope.
func (m *coreMember) groupInfo() *mlsgroup.GroupInfo {
	m.t.Helper()
	b, err := m.g.NewGroupInfo(m.in, false, nil)
	m.must(err)
	parsed, err := mlsgroup.ParseMLSMessage(b)
	m.must(err)
	return parsed.GroupInfo
}

const (
	public  = mlsgroup.WireFormatPublicMessage
	private = mlsgroup.WireFormatPrivateMessage
)

func removeOf(leaf mlsgroup.LeafIndex) *mlsgroup.Proposal {
	return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: leaf}}
}

func addOf(kp *mlsgroup.KeyPackage) *mlsgroup.Proposal {
	return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: kp}}
}

// room is one conversation, "room", of three: ada, who founded it, and tom are core members; bob is a client of an engine, and whom the test is about. The
// backend may propose to remove members. Bob's transport asks verdict; what has left is in sent.
type room struct {
	t        *testing.T
	fs       vfs.FS
	engine   *conclave.Engine
	options  conclave.ClientOptions
	pause    time.Duration // before a commit is sent again
	policy   conclave.WirePolicy
	bob      *conclave.Client
	ada, tom *coreMember
	backend  *mlsgroup.Signer
	verdict  func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) // nil accepts
	sent     []conclave.CommitBundle
	kept     [][]byte // commits that ada has made and bob has not got yet
	welcome  []byte   // for bob
}

const bobsLeaf, tomsLeaf = mlsgroup.LeafIndex(1), mlsgroup.LeafIndex(2)

// newRoom makes the room, all three in epoch 1.
func newRoom(t *testing.T, o conclave.ClientOptions) *room {
	t.Helper()
	r := &room{t: t, ada: newCoreMember(t, "ada"), tom: newCoreMember(t, "tom")}
	r.start(o)
	return r
}

// start is newRoom for members that were made before.
func (r *room) start(o conclave.ClientOptions) {
	r.t.Helper()
	r.fs, r.backend, r.options = vfs.NewMem(), newSigner(r.t, "wire-server"), o
	r.pause = time.Hour // what is in doubt stays so unless the test settles it
	r.open()
	r.t.Cleanup(func() {
		if err := r.engine.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.found()
}

// found makes the group, of the founder's epoch 0 and all three's epoch 1.
func (r *room) found() {
	r.t.Helper()
	r.ada.follow(mlsgroup.NewGroup(r.ada.in, mlsgroup.GroupOptions{
		GroupID: []byte("room"), Profile: r.ada.profile, BasicKeyChange: true, PrivateHandshakes: r.ada.private,
		Extensions: mlsgroup.Extensions{mlsgroup.ExternalSendersExtension([]mlsgroup.ExternalSender{{SignatureKey: r.backend.Public, Credential: r.backend.Credential}})},
	}))
	welcome := r.ada.commitAs(mlsgroup.CommitOptions{}, addOf(r.bobsKeyPackage()), addOf(r.tom.bundle.KeyPackage)).Welcome
	r.tom.join(welcome)
	if _, err := r.bob.ProcessWelcome(r.t.Context(), welcome, conclave.JoinOptions{WirePolicy: r.policy}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) open() {
	r.t.Helper()
	o := crashOptions()
	o.RetryPause = r.pause
	var err error
	if r.engine, err = conclave.OpenOn(r.t.Context(), r.fs, crashDir, o); err != nil {
		r.t.Fatal(err)
	}
	r.options.Transport = r
	if r.bob, err = r.engine.Client(r.t.Context(), "bob", r.options); err != nil {
		r.t.Fatal(err)
	}
}

// reopen ends the engine and starts it on what is stored.
func (r *room) reopen() {
	r.t.Helper()
	if err := r.engine.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// SendCommitBundle implements conclave.Transport.
func (r *room) SendCommitBundle(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	r.sent = append(r.sent, b)
	if r.verdict != nil {
		return r.verdict(ctx, b)
	}
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// last is the commit that bob has sent last.
func (r *room) last() conclave.CommitBundle { return r.sent[len(r.sent)-1] }

func (r *room) bobsKeyPackage() *mlsgroup.KeyPackage {
	r.t.Helper()
	made, err := r.bob.GenerateKeyPackages(r.t.Context(), conclave.KeyPackageOptions{Count: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	kp, err := mlsgroup.ParseKeyPackage(made[0].KeyPackage)
	if err != nil {
		r.t.Fatal(err)
	}
	return kp
}

// decrypt gives bob a message that has to be good.
func (r *room) decrypt(message []byte) conclave.DecryptedMessage {
	r.t.Helper()
	got, err := r.bob.DecryptMessage(r.t.Context(), "room", message)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// refuse gives bob a message that has to be answered with a code.
func (r *room) refuse(message []byte, want conclave.Code) {
	r.t.Helper()
	_, err := r.bob.DecryptMessage(r.t.Context(), "room", message)
	wantCode(r.t, err, want)
}

// ahead lets ada and tom go on for some epochs, by commits of ada's that bob does not get yet.
func (r *room) ahead(epochs int) {
	r.t.Helper()
	format := public
	if r.policy == conclave.WirePolicyCiphertext {
		format = private
	}
	for range epochs {
		c := r.ada.commitAs(mlsgroup.CommitOptions{WireFormat: format}).Commit
		r.tom.read(c)
		r.kept = append(r.kept, c)
	}
}

// catchUp gives bob the commits that were kept from him, and returns what they have released.
func (r *room) catchUp() (released []conclave.Released) {
	r.t.Helper()
	for _, c := range r.kept {
		released = append(released, r.decrypt(c).Released...)
	}
	r.kept = nil
	return released
}

// advance lets all three go on for some epochs.
func (r *room) advance(epochs int) {
	r.t.Helper()
	r.ahead(epochs)
	r.catchUp()
}

// update lets bob commit, which has to be accepted, and the others follow.
func (r *room) update() {
	r.t.Helper()
	if _, err := r.bob.UpdateKeyMaterial(r.t.Context(), "room"); err != nil {
		r.t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.tom.read(r.last().Commit)
}

// doubt lets bob send a commit whose fate is unknown.
func (r *room) doubt() conclave.CommitBundle {
	r.t.Helper()
	r.verdict = noVerdict
	_, err := r.bob.UpdateKeyMaterial(r.t.Context(), "room")
	wantCode(r.t, err, conclave.CodeCommitInDoubt)
	return r.last()
}

// Verdicts of a transport.

func noVerdict(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	return conclave.Verdict{}, context.DeadlineExceeded
}

func refusedVerdict(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: "mls-stale-message"}, nil
}

func notSentVerdict(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	return conclave.Verdict{Kind: conclave.VerdictNotSent, Reason: "no connection"}, nil
}

// fromBackend is the backend's proposal, in ada's epoch.
func (r *room) fromBackend(index uint32, p *mlsgroup.Proposal) []byte {
	r.t.Helper()
	m, err := mlsgroup.NewExternalProposal(mlsgroup.Input{Rand: rand.Reader, Signer: r.backend}, mlsgroup.ExternalProposalOptions{
		CipherSuite: 1, GroupID: []byte("room"), Epoch: r.ada.g.Epoch(), Index: index, Proposal: p,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// fromOutside is the proposal of a new client, eve, to be added, in ada's epoch.
func (r *room) fromOutside() []byte {
	r.t.Helper()
	eve := newCoreMember(r.t, "eve")
	m, err := mlsgroup.NewMemberProposal(eve.in, []byte("room"), r.ada.g.Epoch(), eve.bundle.KeyPackage)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// joinFromOutside is the external commit by which eve joins ada's epoch.
func (r *room) joinFromOutside() []byte {
	r.t.Helper()
	eve := newCoreMember(r.t, "eve")
	own, err := mlsgroup.JoinByExternalCommit(eve.in, r.ada.groupInfo(), mlsgroup.ExternalJoinOptions{Profile: mlsgroup.ProfileWire})
	if err != nil {
		r.t.Fatal(err)
	}
	return own.Bundle.Commit
}

// agree fails the test unless bob and ada are in the same epoch and share its secrets.
func (r *room) agree() {
	r.t.Helper()
	state, err := r.bob.Conversation("room").State(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if state.Epoch != r.ada.g.Epoch() || !state.EpochAuthenticator.Equal(r.ada.g.EpochAuthenticator()) {
		r.t.Errorf("bob is in epoch %d, ada in %d, or their secrets differ", state.Epoch, r.ada.g.Epoch())
	}
}

func (r *room) dump() map[string]string {
	r.t.Helper()
	all, err := r.engine.Dump()
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// reparse takes a message apart, lets f change it and puts it together again.
func (r *room) reparse(message []byte, f func(m *mlsgroup.MLSMessage)) []byte {
	r.t.Helper()
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		r.t.Fatal(err)
	}
	f(m)
	return m.Marshal()
}

// releasedTexts are the plaintexts among what a call has released.
func releasedTexts(list []conclave.Released) []string {
	var texts []string
	for _, m := range list {
		if m.Err == nil && m.Message.Outcome == conclave.OutcomeText {
			texts = append(texts, string(m.Message.Plaintext))
		}
	}
	return slices.Clip(texts)
}

// echo is a verdict: the commit comes back to bob, and then it is accepted.
func (r *room) echo(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	if got, err := r.bob.DecryptMessage(ctx, b.Conversation, b.Commit); err != nil || !got.Own {
		r.t.Errorf("the echo: own %t, %v", got.Own, err)
	}
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// drain takes what is in a channel.
func drain[T any](from <-chan T) (all []T) {
	for len(from) > 0 {
		all = append(all, <-from)
	}
	return all
}
