// Package enginetest is a small world for tests, benchmarks and the demo: a delivery service in memory that orders commits as Wire's does, and devices
// that send and receive through it.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// DeliveryService takes one commit for each epoch of a conversation and tells the others that they are stale. It knows the members of a conversation from
// the ratchet tree of the latest GroupInfo, and keeps for each what was sent until it has been processed. It is safe for concurrent use.
type DeliveryService struct {
	// Echo also sends a commit back to the one who made it. It is set before the first use.
	Echo bool

	mu            sync.Mutex
	conversations map[conclave.ConversationID]*delivered
	inboxes       map[conclave.ClientID]*inbox
	keyPackages   map[conclave.ClientID][][]byte
	conflicts     int
	sent          int
}

type delivered struct {
	epoch     uint64
	members   map[conclave.ClientID]place
	groupInfo []byte
	accepted  map[[32]byte]bool
}

// place is a member's leaf, and the epoch since which the member has had one.
type place struct {
	leaf  *mlsgroup.LeafNode
	since uint64
}

// Delivery is something the delivery service has for a device.
type Delivery struct {
	Conversation conclave.ConversationID
	Welcome      bool // Message is a Welcome, else a message of the conversation
	Commit       bool
	Message      []byte
}

type inbox struct {
	waiting []Delivery
	arrived chan struct{} // of capacity 1
}

// NewDeliveryService returns an empty one.
func NewDeliveryService() *DeliveryService {
	return &DeliveryService{
		conversations: make(map[conclave.ConversationID]*delivered),
		inboxes:       make(map[conclave.ClientID]*inbox),
		keyPackages:   make(map[conclave.ClientID][][]byte),
	}
}

// Publish offers key packages of a client.
func (ds *DeliveryService) Publish(id conclave.ClientID, keyPackages ...conclave.KeyPackageEntry) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, k := range keyPackages {
		ds.keyPackages[id] = append(ds.keyPackages[id], k.KeyPackage)
	}
}

// ErrNoKeyPackage says that a client's key packages have all been claimed.
var ErrNoKeyPackage = errors.New("enginetest: no key package left")

// Claim takes a key package of each client, each at most once.
func (ds *DeliveryService) Claim(ids ...conclave.ClientID) ([][]byte, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	claimed := make([][]byte, len(ids))
	for i, id := range ids {
		if len(ds.keyPackages[id]) == 0 {
			return nil, ErrNoKeyPackage
		}
		claimed[i] = ds.keyPackages[id][0]
		ds.keyPackages[id] = ds.keyPackages[id][1:]
	}
	return claimed, nil
}

// Withdraw forgets the key packages that a client has published.
func (ds *DeliveryService) Withdraw(id conclave.ClientID) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.keyPackages, id)
}

// KeyPackagesLeft counts the key packages of a client that nobody has claimed.
func (ds *DeliveryService) KeyPackagesLeft(id conclave.ClientID) int {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return len(ds.keyPackages[id])
}

// Refused is the reason the delivery service gives for a commit of an epoch that is over.
const Refused = "mls-stale-message"

// commit takes a commit or refuses it. Bytes it has taken before it takes again.
func (ds *DeliveryService) commit(from conclave.ClientID, b conclave.CommitBundle) (conclave.Verdict, error) {
	members, err := readMembers(b.GroupInfo)
	if err != nil {
		return conclave.Verdict{}, err
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	c := ds.conversations[b.Conversation]
	if c == nil {
		c = &delivered{epoch: b.Epoch, members: map[conclave.ClientID]place{from: {}}, accepted: make(map[[32]byte]bool)}
		ds.conversations[b.Conversation] = c
	}
	if c.accepted[b.Hash] {
		return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
	}
	if b.Epoch != c.epoch {
		ds.conflicts++
		return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: Refused}, nil
	}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if id != from || ds.Echo {
			ds.deliver(id, Delivery{Conversation: b.Conversation, Commit: true, Message: b.Commit})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		old, was := c.members[id]
		if !was && id != from && b.Welcome != nil {
			ds.deliver(id, Delivery{Conversation: b.Conversation, Welcome: true, Message: b.Welcome})
		}
		p := members[id]
		again := p.leaf.Source == mlsgroup.LeafNodeSourceKeyPackage && (old.leaf == nil || !bytes.Equal(old.leaf.Marshal(), p.leaf.Marshal()))
		if p.since = old.since; !was || again && c.epoch > 0 || id == from && isExternal(b.Commit) {
			p.since = c.epoch + 1
		}
		members[id] = p
	}
	if b.EncryptedMessage != nil {
		for _, id := range slices.Sorted(maps.Keys(members)) {
			if id != from {
				ds.deliver(id, Delivery{Conversation: b.Conversation, Message: b.EncryptedMessage})
			}
		}
	}
	c.epoch, c.members, c.groupInfo, c.accepted[b.Hash] = c.epoch+1, members, b.GroupInfo, true
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// isExternal tells whether a commit is one by which its sender joins.
func isExternal(commit []byte) bool {
	m, err := mlsgroup.ParseMLSMessage(commit)
	return err == nil && m.PublicMessage != nil && m.PublicMessage.Content.Sender.Type == mlsgroup.SenderTypeNewMemberCommit
}

// readMembers reads the client ids and leaves in the ratchet tree of a GroupInfo.
func readMembers(groupInfo []byte) (map[conclave.ClientID]place, error) {
	m, err := mlsgroup.ParseMLSMessage(groupInfo)
	if err != nil || m.GroupInfo == nil {
		return nil, fmt.Errorf("enginetest: bundle without a GroupInfo: %v", err)
	}
	for _, e := range m.GroupInfo.Extensions {
		if e.Type != mlsgroup.ExtensionTypeRatchetTree {
			continue
		}
		tree, err := mlsgroup.ParseRatchetTree(e.Body)
		if err != nil {
			return nil, err
		}
		members := make(map[conclave.ClientID]place)
		for _, leaf := range tree.Members() {
			members[memberID(&leaf.Credential)] = place{leaf: leaf}
		}
		return members, nil
	}
	return nil, errors.New("enginetest: GroupInfo without a ratchet tree")
}

// memberID returns the client id in a credential: of an X.509 one that in its leaf certificate, which it believes.
func memberID(c *mlsgroup.Credential) conclave.ClientID {
	if c.Type != mlsgroup.CredentialTypeX509 || len(c.Certificates) == 0 {
		return conclave.ClientID(c.Identity)
	}
	id, err := pki.ParseIdentity(c.Certificates[0])
	if err != nil {
		return ""
	}
	return conclave.ClientID(id.ClientID.String())
}

// status is what CommitStatus answers.
func (ds *DeliveryService) status(id conclave.ConversationID, epoch uint64, hash [32]byte) conclave.Verdict {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	switch c := ds.conversations[id]; {
	case c != nil && c.accepted[hash]:
		return conclave.Verdict{Kind: conclave.VerdictAccepted}
	case c != nil && c.epoch != epoch:
		return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: Refused}
	}
	return conclave.Verdict{Kind: conclave.VerdictRetry}
}

// Send hands an application message or a proposal to all members but the sender.
func (ds *DeliveryService) Send(from conclave.ClientID, id conclave.ConversationID, message []byte) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	c := ds.conversations[id]
	if c == nil {
		return
	}
	if _, member := c.members[from]; !member {
		return
	}
	ds.sent++
	for _, to := range slices.Sorted(maps.Keys(c.members)) {
		if to != from {
			ds.deliver(to, Delivery{Conversation: id, Message: message})
		}
	}
}

// deliver is called with the lock held.
func (ds *DeliveryService) deliver(to conclave.ClientID, d Delivery) {
	in := ds.inbox(to)
	in.waiting = append(in.waiting, d)
	select {
	case in.arrived <- struct{}{}:
	default:
	}
}

func (ds *DeliveryService) inbox(id conclave.ClientID) *inbox {
	in := ds.inboxes[id]
	if in == nil {
		in = &inbox{arrived: make(chan struct{}, 1)}
		ds.inboxes[id] = in
	}
	return in
}

// Waiting returns what a client has not processed yet, oldest first, at most limit.
func (ds *DeliveryService) Waiting(id conclave.ClientID, limit int) []Delivery {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	w := ds.inbox(id).waiting
	return slices.Clone(w[:min(limit, len(w))])
}

// Done forgets the n oldest deliveries of a client.
func (ds *DeliveryService) Done(id conclave.ClientID, n int) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	in := ds.inbox(id)
	in.waiting = in.waiting[min(n, len(in.waiting)):]
}

// Reverse turns round the order of what waits for a client.
func (ds *DeliveryService) Reverse(id conclave.ClientID) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	slices.Reverse(ds.inbox(id).waiting)
}

// Arrived returns a channel that holds a value when something has come for a client since it was last received from.
func (ds *DeliveryService) Arrived(id conclave.ClientID) <-chan struct{} {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.inbox(id).arrived
}

// Epoch returns the epoch of a conversation and whether it has had a commit at all.
func (ds *DeliveryService) Epoch(id conclave.ConversationID) (uint64, bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	c := ds.conversations[id]
	if c == nil {
		return 0, false
	}
	return c.epoch, true
}

// Members lists the members of a conversation, ordered by id.
func (ds *DeliveryService) Members(id conclave.ConversationID) []conclave.ClientID {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	c := ds.conversations[id]
	if c == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(c.members))
}

// Since returns the first epoch of a member's current membership; ok is false for one who is no member.
func (ds *DeliveryService) Since(id conclave.ConversationID, client conclave.ClientID) (epoch uint64, ok bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	c := ds.conversations[id]
	if c == nil {
		return 0, false
	}
	p, ok := c.members[client]
	return p.since, ok
}

// GroupInfo returns the GroupInfo of a conversation's current epoch.
func (ds *DeliveryService) GroupInfo(id conclave.ConversationID) []byte {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if c := ds.conversations[id]; c != nil {
		return c.groupInfo
	}
	return nil
}

// Totals are counts over the life of a delivery service.
type Totals struct {
	Conversations int
	Epochs        uint64 // commits accepted
	Conflicts     int    // commits refused as stale
	Messages      int    // application messages and proposals taken
}

// Totals returns the counts.
func (ds *DeliveryService) Totals() Totals {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	t := Totals{Conversations: len(ds.conversations), Conflicts: ds.conflicts, Messages: ds.sent}
	for _, c := range ds.conversations {
		t.Epochs += uint64(len(c.accepted))
	}
	return t
}

// Fault is something that goes wrong on the way to the delivery service.
type Fault int

// The faults.
const (
	FaultNone        Fault = iota
	FaultRefuse            // the commit is refused without a look
	FaultNotSent           // it does not leave
	FaultRetry             // it is asked for again, once
	FaultLoseRequest       // it is lost on the way, and nobody knows
	FaultLoseAnswer        // it arrives, and the answer is lost
	FaultHang              // nothing happens until the context ends
)

var errLost = errors.New("enginetest: connection lost")

// Transport is a client's way to the delivery service. It implements conclave.Transport.
type Transport struct {
	ds *DeliveryService
	id conclave.ClientID
	// Before is called with each bundle before it is sent and decides what goes wrong; nil is nothing. It may call the engine with the context.
	Before func(ctx context.Context, b conclave.CommitBundle) Fault
}

// Transport returns a way for a client.
func (ds *DeliveryService) Transport(id conclave.ClientID) *Transport {
	return &Transport{ds: ds, id: id}
}

// SendCommitBundle implements conclave.Transport.
func (t *Transport) SendCommitBundle(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return conclave.Verdict{}, err
	}
	fault := FaultNone
	if t.Before != nil {
		fault = t.Before(ctx, b)
	}
	switch fault {
	case FaultRefuse:
		return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: "refused"}, nil
	case FaultNotSent:
		return conclave.Verdict{Kind: conclave.VerdictNotSent, Reason: "no connection"}, nil
	case FaultRetry:
		return conclave.Verdict{Kind: conclave.VerdictRetry}, nil
	case FaultLoseRequest:
		return conclave.Verdict{}, errLost
	case FaultLoseAnswer:
		if _, err := t.ds.commit(t.id, b); err != nil {
			return conclave.Verdict{}, err
		}
		return conclave.Verdict{}, errLost
	case FaultHang:
		<-ctx.Done()
		return conclave.Verdict{}, ctx.Err()
	}
	return t.ds.commit(t.id, b)
}

// CommitStatus implements conclave.CommitStatusReader.
func (t *Transport) CommitStatus(ctx context.Context, id conclave.ConversationID, epoch uint64, hash [32]byte) (conclave.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return conclave.Verdict{}, err
	}
	return t.ds.status(id, epoch, hash), nil
}
