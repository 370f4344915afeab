package enginetest

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Witness is a member that speaks MLS by the pure core alone, without an engine. It never sends. It watches that the other members use no generation of
// a ratchet twice, since that would be an AEAD key and nonce used twice. It is safe for concurrent use.
type Witness struct {
	id      conclave.ClientID
	in      mlsgroup.Input
	profile mlsgroup.Profile

	mu      sync.Mutex
	bundles []*mlsgroup.KeyPackageBundle
	groups  map[conclave.ConversationID]map[uint64]*mlsgroup.Group // by epoch
	newest  map[conclave.ConversationID]uint64
	used    map[generation][32]byte // hash of the message it was used for
	unread  [][]byte                // of epochs that have not come
}

type generation struct {
	conversation conclave.ConversationID
	epoch        uint64
	leaf         mlsgroup.LeafIndex
	handshake    bool // which of the leaf's two ratchets
	generation   uint32
}

// ErrReuse says that two different messages were sealed under one generation.
var ErrReuse = errors.New("enginetest: a generation was used twice")

// NewWitness returns a witness with key packages for a number of conversations, published at the delivery service.
func NewWitness(ds *DeliveryService, id conclave.ClientID, suite conclave.CipherSuite, profile mlsgroup.Profile, conversations int) (*Witness, error) {
	credential := mlsgroup.Credential{Type: mlsgroup.CredentialTypeBasic, Identity: []byte(id)}
	signer, err := mlsgroup.NewSigner(rand.Reader, suite, credential)
	if err != nil {
		return nil, err
	}
	w := &Witness{
		id: id, in: mlsgroup.Input{Rand: rand.Reader, Now: time.Now(), Signer: signer}, profile: profile,
		groups: make(map[conclave.ConversationID]map[uint64]*mlsgroup.Group),
		newest: make(map[conclave.ConversationID]uint64),
		used:   make(map[generation][32]byte),
	}
	for range conversations {
		b, err := mlsgroup.NewKeyPackage(w.in, mlsgroup.KeyPackageOptions{Profile: profile})
		if err != nil {
			return nil, err
		}
		w.bundles = append(w.bundles, b)
		ds.Publish(id, conclave.KeyPackageEntry{KeyPackage: b.KeyPackage.Marshal()})
	}
	return w, nil
}

// ID returns the witness's client id.
func (w *Witness) ID() conclave.ClientID { return w.id }

// Clone returns a copy that goes its own way from now on.
func (w *Witness) Clone() *Witness {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &Witness{
		id: w.id, in: w.in, profile: w.profile, bundles: w.bundles, newest: maps.Clone(w.newest), used: maps.Clone(w.used), unread: slices.Clone(w.unread),
		groups: make(map[conclave.ConversationID]map[uint64]*mlsgroup.Group),
	}
	for id, epochs := range w.groups {
		c.groups[id] = maps.Clone(epochs)
	}
	return c
}

// Forget makes the witness forget which generations it has seen used since it was
// cloned as before.
func (w *Witness) Forget(before *Witness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used, w.unread = maps.Clone(before.used), slices.Clone(before.unread)
}

// Receive processes what waits for the witness. What it has processed before is passed over.
func (w *Witness) Receive(ds *DeliveryService) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		waiting := ds.Waiting(w.id, 64)
		if len(waiting) == 0 {
			return w.retry()
		}
		for _, d := range waiting {
			if err := w.take(d); err != nil {
				return fmt.Errorf("witness in %s: %w", d.Conversation, err)
			}
		}
		ds.Done(w.id, len(waiting))
	}
}

func (w *Witness) take(d Delivery) error {
	if d.Welcome {
		return w.join(d)
	}
	m, err := mlsgroup.ParseMLSMessage(d.Message)
	if err != nil {
		return err
	}
	if m.PrivateMessage != nil {
		if err := w.observe(d.Message); err != nil || m.PrivateMessage.ContentType == mlsgroup.ContentTypeApplication {
			return err
		}
	}
	epoch := w.newest[d.Conversation]
	group := w.groups[d.Conversation][epoch]
	if _, at, _ := m.GroupIDAndEpoch(); group == nil || at < epoch {
		return nil
	}
	t, err := group.Process(w.in, d.Message)
	if errors.Is(err, mlsgroup.ErrDuplicate) {
		return nil
	}
	if err != nil {
		return err
	}
	w.keep(d.Conversation, t.Next)
	return nil
}

func (w *Witness) keep(id conclave.ConversationID, g *mlsgroup.Group) {
	if w.groups[id] == nil {
		w.groups[id] = make(map[uint64]*mlsgroup.Group)
	}
	w.groups[id][g.Epoch()] = g
	w.newest[id] = g.Epoch()
}

func (w *Witness) join(d Delivery) error {
	if w.groups[d.Conversation] != nil {
		return nil
	}
	m, err := mlsgroup.ParseMLSMessage(d.Message)
	if err != nil {
		return err
	}
	for _, b := range w.bundles {
		t, joinErr := mlsgroup.Join(w.in, m.Welcome, mlsgroup.JoinOptions{KeyPackage: b, Profile: w.profile})
		if joinErr == nil {
			w.keep(d.Conversation, t.Next)
			return nil
		}
		err = joinErr
	}
	return err
}

// Observe looks at a message that an engine has handed out, whether or not it was ever sent; a PublicMessage uses no generation. It answers ErrReuse;
// messages of an epoch that the witness does not know yet are looked at when it does.
func (w *Witness) Observe(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observe(message)
}

func (w *Witness) observe(message []byte) error {
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return err
	}
	if m.PrivateMessage == nil {
		return nil
	}
	raw, epoch, _ := m.GroupIDAndEpoch()
	id := conclave.ConversationID(raw)
	group := w.groups[id][epoch]
	if group == nil {
		w.unread = append(w.unread, message)
		return nil
	}
	handshake, open := m.PrivateMessage.ContentType != mlsgroup.ContentTypeApplication, group.OpenSenderData
	if handshake {
		open = group.OpenHandshakeSenderData
	}
	sealed, err := open(message)
	if err != nil {
		return err
	}
	g := generation{id, epoch, sealed.Sender(), handshake, sealed.Generation()}
	hash := sha256.Sum256(message)
	if before, found := w.used[g]; found && before != hash {
		return fmt.Errorf("%w: generation %d of leaf %d in epoch %d of %s", ErrReuse, g.generation, g.leaf, g.epoch, g.conversation)
	}
	w.used[g] = hash
	return nil
}

// retry looks again at messages of epochs that had not come.
func (w *Witness) retry() error {
	unread := w.unread
	w.unread = nil
	for _, m := range unread {
		if err := w.observe(m); err != nil {
			return err
		}
	}
	return nil
}

// Place returns the leaf that a message was sent from and its generation; ok is false if the witness does not know its epoch.
func (w *Witness) Place(message []byte) (leaf mlsgroup.LeafIndex, generation uint32, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return 0, 0, false
	}
	raw, epoch, _ := m.GroupIDAndEpoch()
	group := w.groups[conclave.ConversationID(raw)][epoch]
	if group == nil {
		return 0, 0, false
	}
	sealed, err := group.OpenSenderData(message)
	if err != nil {
		return 0, 0, false
	}
	return sealed.Sender(), sealed.Generation(), true
}

// Observed counts the generations seen, and the messages that could not be looked at because the witness was not in their epoch.
func (w *Witness) Observed() (generations, unread int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.used), len(w.unread)
}

// Authenticator returns the epoch authenticator of a conversation as the witness knows it, nil where it is no member.
func (w *Witness) Authenticator(id conclave.ConversationID) (epoch uint64, authenticator conclave.Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[id][w.newest[id]]
	if g == nil {
		return 0, nil
	}
	return g.Epoch(), g.EpochAuthenticator()
}
