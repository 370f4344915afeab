package tests

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var partyKey = bytes.Repeat([]byte{9}, conclave.KeySize)

// party is a set of devices and conversations that have been through a lot and have to come to one mind again.
type party struct {
	t             *testing.T
	ds            *enginetest.DeliveryService
	witness       *enginetest.Witness
	devices       map[conclave.ClientID]*enginetest.Device
	conversations []conclave.ConversationID
	suite         conclave.CipherSuite
	profile       mlsgroup.Profile
	settled       chan struct{} // holds a value if a commit has been settled since it was looked at
}

func newParty(t *testing.T, suite conclave.CipherSuite, profile mlsgroup.Profile, conversations ...conclave.ConversationID) *party {
	t.Helper()
	ds := enginetest.NewDeliveryService()
	witness, err := enginetest.NewWitness(ds, "witness", suite, profile, len(conversations))
	if err != nil {
		t.Fatal(err)
	}
	return &party{
		t: t, ds: ds, witness: witness, suite: suite, profile: profile, conversations: conversations, settled: make(chan struct{}, 1),
		devices: make(map[conclave.ClientID]*enginetest.Device),
	}
}

// extremely sets an engine's options.
func extremely(x extreme.Setting, o conclave.Options) conclave.Options {
	o.StateBytes, o.CacheBytes, o.LeaseGenerations = x.StateBytes, x.CacheBytes, x.LeaseGenerations
	return o
}

// weather decides what goes wrong with a commit on its way.
type weather func(context.Context, conclave.CommitBundle) enginetest.Fault

// open opens a device in an engine; nil weather is always good.
func (p *party) open(e *conclave.Engine, id conclave.ClientID, w weather, receive conclave.ReceiveConfig) {
	p.t.Helper()
	d := &enginetest.Device{Delivery: p.ds, Transport: p.ds.Transport(id)}
	d.Transport.Before = w // before the engine can send again what is in doubt
	o := conclave.ClientOptions{Transport: d.Transport, CipherSuites: []conclave.CipherSuite{p.suite}, Profile: conclave.ProfileWire, Receive: receive}
	if p.profile == mlsgroup.ProfileRFC {
		o.Profile = conclave.ProfileRFC9420
	}
	o.Observer = conclave.Observer{CommitSettled: func(conclave.CommitSettled) {
		select {
		case p.settled <- struct{}{}:
		default:
		}
	}}
	var err error
	d.Client, err = e.Client(p.t.Context(), id, o)
	if err == nil && p.ds.KeyPackagesLeft(id) == 0 {
		err = d.Publish(p.t.Context(), 10)
	}
	if err != nil {
		p.t.Fatalf("open %s: %v", id, err)
	}
	p.devices[id] = d
}

// settle lets everybody process everything until nothing waits and no commit is in doubt. A join that was beaten is made anew.
func (p *party) settle() {
	p.t.Helper()
	for {
		p.receive()
		doubts := 0
		for _, id := range slices.Sorted(maps.Keys(p.devices)) {
			doubts += p.doubts(id)
		}
		if doubts == 0 {
			break
		}
		p.awaitSettled(doubts)
	}
	p.receive()
	if err := p.witness.Receive(p.ds); err != nil {
		p.t.Error(err)
	}
}

// receive processes what waits until nothing does.
func (p *party) receive() {
	p.t.Helper()
	for {
		quiet := true
		for _, id := range slices.Sorted(maps.Keys(p.devices)) {
			events, err := p.devices[id].Receive(p.t.Context())
			if err != nil {
				p.t.Fatalf("%s: %v", id, err)
			}
			for _, e := range events {
				quiet = false
				p.check(id, e)
			}
		}
		if quiet {
			return
		}
	}
}

// harmless are the codes of messages that come twice or too late: after a crash, or to one who has left.
var harmless = []conclave.Code{
	conclave.CodeConversationAlreadyExists, conclave.CodeOrphanWelcome, conclave.CodeConversationNotFound,
}

func (p *party) check(id conclave.ClientID, e enginetest.Event) {
	p.t.Helper()
	if e.Err != nil && !conclave.IsIgnorable(e.Err) && !isAny(e.Err, harmless) {
		p.t.Errorf("%s in %s (welcome %t, commit %t): %v", id, e.Delivery.Conversation, e.Delivery.Welcome, e.Delivery.Commit, e.Err)
	}
	for _, list := range [][]conclave.Released{e.Message.Released, e.Joined.Released} {
		for _, r := range list {
			if r.Err != nil && !conclave.IsIgnorable(r.Err) {
				p.t.Errorf("%s in %s, released: %v", id, e.Delivery.Conversation, r.Err)
			}
		}
	}
}

// awaitSettled waits until one of so many commits in doubt is settled. Only this has a limit, of twice the longest pause before a commit is sent again: what
// devices do meanwhile may take its time.
func (p *party) awaitSettled(doubts int) {
	p.t.Helper()
	select {
	case <-p.settled:
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("%d commits are still in doubt", doubts)
	}
}

// doubts counts a client's commits that hold up sending, and makes joins that were beaten anew.
func (p *party) doubts(id conclave.ClientID) int {
	p.t.Helper()
	ctx := p.t.Context()
	d, doubts := p.devices[id], 0
	for _, c := range p.conversations {
		state, err := d.Conversation(c).State(ctx)
		if err != nil {
			p.t.Fatalf("%s: %v", id, err)
		}
		epoch, _ := p.ds.Epoch(c)
		for _, in := range state.InDoubt {
			switch {
			case in.Refused:
			case !in.Join || epoch == in.Epoch || slices.Contains(p.ds.Members(c), id):
				doubts++
			default:
				if _, err := d.JoinByExternalCommit(ctx, p.ds.GroupInfo(c), conclave.JoinOptions{}); err != nil {
					p.t.Errorf("%s joins %s anew: %v", id, c, err)
				}
			}
		}
	}
	return doubts
}

// agree checks that all members of every conversation are in the delivery service's epoch with one state, and that what each says the others read.
func (p *party) agree() {
	p.t.Helper()
	ctx := p.t.Context()
	for _, c := range p.conversations {
		epoch, begun := p.ds.Epoch(c)
		if !begun {
			continue
		}
		members := slices.DeleteFunc(p.ds.Members(c), func(id conclave.ClientID) bool { return id == p.witness.ID() })
		witnessed, authenticator := p.witness.Authenticator(c)
		if authenticator != nil && witnessed != epoch {
			p.t.Errorf("the witness is in epoch %d of %s, the delivery service in %d", witnessed, c, epoch)
		}
		for _, id := range members {
			state, err := p.devices[id].Conversation(c).State(ctx)
			switch {
			case err != nil:
				p.t.Errorf("%s in %s: %v", id, c, err)
			case !state.Exists || state.Epoch != epoch:
				p.t.Errorf("%s is in epoch %d of %s (exists: %t), the delivery service in %d", id, state.Epoch, c, state.Exists, epoch)
			case authenticator == nil:
				authenticator = state.EpochAuthenticator
			case !authenticator.Equal(state.EpochAuthenticator):
				p.t.Errorf("%s has another state of epoch %d of %s", id, epoch, c)
			}
		}
		if !p.t.Failed() {
			p.talk(c, members)
		}
	}
}

// commitPending has a member of each conversation commit what is pending there, so that everybody can speak.
func (p *party) commitPending() {
	p.t.Helper()
	for _, c := range p.conversations {
		for _, id := range p.ds.Members(c) {
			d := p.devices[id]
			if d == nil {
				continue
			}
			_, err := d.CommitPendingProposals(p.t.Context(), c)
			if errors.Is(err, conclave.CodeInvalidArgument) { // its own Remove is pending; it commits without
				err = p.commitNothing(d, c)
			}
			if err != nil && !errors.Is(err, conclave.CodeConversationNotFound) {
				p.t.Errorf("%s commits in %s: %v", id, c, err)
			}
			p.settle()
		}
	}
}

// commitNothing ends an epoch, and the proposals that are pending in it with it.
func (p *party) commitNothing(d *enginetest.Device, c conclave.ConversationID) error {
	state, err := d.Conversation(c).State(p.t.Context())
	if err != nil {
		return err
	}
	for _, ref := range state.PendingProposals {
		if err := d.ClearPendingProposal(p.t.Context(), c, ref); err != nil {
			return err
		}
	}
	_, err = d.UpdateKeyMaterial(p.t.Context(), c)
	return err
}

// talk lets each member say something that all others read.
func (p *party) talk(c conclave.ConversationID, members []conclave.ClientID) {
	p.t.Helper()
	ctx := p.t.Context()
	for _, from := range p.ds.Members(c) {
		d := p.devices[from]
		if d == nil {
			continue
		}
		sealed, err := d.EncryptMessage(ctx, c, []byte("agreed"))
		if err != nil {
			p.t.Errorf("%s speaks in %s: %v", from, c, err)
			return
		}
		if err := p.witness.Receive(p.ds); err != nil {
			p.t.Error(err)
		}
		if err := p.witness.Observe(sealed); err != nil {
			p.t.Error(err)
		}
		for _, to := range p.ds.Members(c) {
			if to == from || p.devices[to] == nil {
				continue
			}
			got, err := p.devices[to].DecryptMessage(ctx, c, sealed)
			if err != nil || string(got.Plaintext) != "agreed" {
				p.t.Errorf("%s reads %s in %s: %v", to, from, c, err)
			}
		}
	}
}

func isAny(err error, codes []conclave.Code) bool {
	return slices.ContainsFunc(codes, func(c conclave.Code) bool { return errors.Is(err, c) })
}

// isApplication tells whether a message holds application data.
func isApplication(message []byte) bool {
	m, err := mlsgroup.ParseMLSMessage(message)
	return err == nil && m.PrivateMessage != nil && m.PrivateMessage.ContentType == mlsgroup.ContentTypeApplication
}
