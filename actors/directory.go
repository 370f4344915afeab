package actors

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/store"
)

// directory opens clients: it is the owner of the index from client id to instance,
// and the one that starts a client's actors.
type directory struct {
	sys  *System
	open map[messages.ClientID]*client
}

// client is an open client. What is in it does not change, but for its config, which
// is replaced when the client is opened again.
type client struct {
	sys         *System
	instance    messages.Instance
	id          messages.ClientID
	keys        store.Client
	config      atomic.Pointer[clientConfig]
	proteus     atomic.Pointer[proteus.Identity]          // once it has been read
	published   atomic.Pointer[published]                 // never nil
	unsettled   atomic.Pointer[[]messages.ConversationID] // see listing.go
	actor       ref
	pki         ref
	coordinator ref
}

// published is what everybody reads of a client without asking its actors, and it is
// durable. It never changes; what becomes durable at once is published at once.
type published struct {
	trusted *pki.Snapshot // see pki.go
	points  []notedPoint  // see points.go
}

// news makes what is published next of what is published. It may run more than once.
type news func(*published)

func (c *client) publish(all ...news) {
	for len(all) > 0 {
		old := c.published.Load()
		next := *old
		for _, f := range all {
			f(&next)
		}
		if c.published.CompareAndSwap(old, &next) {
			return
		}
	}
}

// clientConfig is what InitClient has set.
type clientConfig struct {
	suites    []mlsgroup.CipherSuite
	profile   messages.Profile
	receive   mlsgroup.ReceiveConfig
	keyChange bool // InitClient.BasicKeyChange
	transport messages.Transport
	observer  messages.Observer
}

func (d *directory) receive(l letter) {
	t, ok := l.(*task)
	if !ok {
		return
	}
	err := safely(d.sys.log, "directory", func() error {
		reply, err := d.handle(t)
		t.answer(reply, err)
		return nil
	})
	if err != nil {
		t.answer(nil, err)
	}
}

func (d *directory) stopped() {}

func (d *directory) handle(t *task) (messages.Reply, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	switch r := t.request.(type) {
	case messages.InitClient:
		return d.init(r)
	case messages.ListClients:
		return d.list()
	case messages.GenerateKeypairs:
		return d.generateKeypairs(r)
	}
	return nil, fmt.Errorf("%w: %T needs a client", messages.ErrInvalidArgument, t.request)
}

func (d *directory) init(r messages.InitClient) (messages.Reply, error) {
	config, err := newClientConfig(r)
	if err != nil {
		return nil, err
	}
	c := d.open[r.ClientID]
	reply := messages.ClientReady{}
	if c == nil {
		c, reply.Created, err = d.load(r, config)
		if err != nil {
			return nil, err
		}
	}
	if len(r.Keypairs) > 0 && !reply.Created {
		return nil, messages.ErrClientAlreadyExists
	}
	c.config.Store(config)
	reply.Instance = c.instance
	if reply.InDoubt, err = d.wakeInDoubt(c); err != nil {
		return nil, err
	}
	return reply, nil
}

func newClientConfig(r messages.InitClient) (*clientConfig, error) {
	if len(r.ClientID) == 0 || len(r.ClientID) > maxName {
		return nil, fmt.Errorf("%w: client id of %d bytes", messages.ErrInvalidArgument, len(r.ClientID))
	}
	if r.Profile > messages.ProfileRFC9420 {
		return nil, fmt.Errorf("%w: profile %d", messages.ErrInvalidArgument, r.Profile)
	}
	c := &clientConfig{
		suites: slices.Clone(r.CipherSuites), profile: r.Profile, receive: r.Receive, keyChange: r.BasicKeyChange,
		transport: r.Transport, observer: r.Observer,
	}
	if len(c.suites) == 0 {
		c.suites = []mlsgroup.CipherSuite{mlsgroup.CipherSuiteX25519AES128Ed25519}
	}
	for _, cs := range c.suites {
		if !cs.Supported() {
			return nil, fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, cs)
		}
	}
	if c.profile == messages.ProfileDefault {
		c.profile = messages.ProfileWire
	}
	return c, nil
}

// load finds the client in the store or creates it, and starts its actors.
func (d *directory) load(r messages.InitClient, config *clientConfig) (*client, bool, error) {
	key := d.sys.keys.ClientIndex(nil, []byte(r.ClientID))
	found, err := d.sys.store.GetMany(key)
	if err != nil {
		return nil, false, d.sys.storeError(err)
	}
	c := &client{sys: d.sys, id: r.ClientID}
	c.published.Store(new(published))
	created := found[0] == nil
	if created {
		if err := d.create(c, r, config, key); err != nil {
			return nil, false, err
		}
	} else {
		entry, err := parseClientIndex(found[0])
		if err != nil {
			return nil, false, err
		}
		if entry.ClientID != r.ClientID {
			return nil, false, fmt.Errorf("%w: client index", messages.ErrCorrupt)
		}
		c.instance = entry.Instance
	}
	c.keys = store.Client(c.instance)
	c.config.Store(config)
	trusted, err := d.sys.loadTrust(c)
	if err != nil {
		return nil, false, err
	}
	c.publish(trusts(trusted))
	c.actor = d.sys.host.spawn(newClientActor(c))
	c.pki = d.sys.host.spawn(newPKIActor(c))
	c.coordinator = d.sys.host.spawn(&coordinator{sys: d.sys, client: c, open: make(map[*transaction]bool)})
	if d.open == nil {
		d.open = make(map[messages.ClientID]*client)
	}
	d.open[c.id] = c
	d.sys.clients.store(c.instance, c)
	return c, created, nil
}

// create writes a client with its first credentials, in one batch.
func (d *directory) create(c *client, r messages.InitClient, config *clientConfig, key []byte) error {
	for c.instance == 0 {
		drawn, err := store.NewClient(d.sys.options.Rand)
		if err != nil {
			return fmt.Errorf("actors: draw an instance: %w", err)
		}
		taken, err := d.sys.store.Range(store.Range{Low: drawn.Prefix(nil), High: store.PrefixEnd(nil, drawn.Prefix(nil)), Limit: 1})
		if err != nil {
			return d.sys.storeError(err)
		}
		if len(taken) == 0 {
			c.instance, c.keys = messages.Instance(drawn), drawn
		}
	}
	w := newWriter(8 + len(c.id))
	w.uint64(uint64(c.instance))
	w.bytes([]byte(c.id))
	changes := new(store.ChangeSet)
	defer changes.Wipe()
	changes.Put(key, w.b)
	if err := d.takeKeypairs(c, r.Keypairs, config, changes); err != nil {
		return err
	}
	schemes := make(map[uint16]bool)
	for _, cs := range config.suites {
		suite, ok := primitive.Lookup(uint16(cs))
		if !ok || r.NoCredential || len(r.Keypairs) > 0 || schemes[suite.SignatureScheme()] {
			continue
		}
		schemes[suite.SignatureScheme()] = true
		record, err := c.sys.newCredential(cs, mlsgroup.BasicCredential([]byte(c.id)))
		if err != nil {
			return err
		}
		putSecret(changes, c.credentialKey(record.entry.Ref), record.marshal())
	}
	return d.sys.apply(changes)
}

// newCredential makes a credential with a fresh signature key.
func (s *System) newCredential(cs mlsgroup.CipherSuite, credential mlsgroup.Credential) (*credentialRecord, error) {
	suite, ok := primitive.Lookup(uint16(cs))
	if !ok {
		return nil, fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, cs)
	}
	seed := make(secret.Bytes, suite.SeedSize())
	defer seed.Wipe()
	if err := s.draw(seed); err != nil {
		return nil, err
	}
	private, public, err := suite.GenerateSignatureKey(seed)
	if err != nil {
		return nil, fmt.Errorf("actors: signature key: %w", err)
	}
	return &credentialRecord{private: private, entry: messages.CredentialEntry{
		Ref: sha256.Sum256(public), CipherSuite: cs, Credential: credential, SignatureKey: public, CreatedAt: s.options.Now(),
	}}, nil
}

// wakeInDoubt starts every conversation that has a commit in doubt, so that it
// settles it, and returns those commits.
func (d *directory) wakeInDoubt(c *client) ([]messages.CommitInDoubt, error) {
	records, err := readAll(d.sys.store, c.allInflight())
	if err != nil {
		return nil, d.sys.storeError(err)
	}
	var all []messages.CommitInDoubt
	woken := make(map[messages.ConversationID]bool)
	for _, rec := range records {
		f, err := parseInflight(rec.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, f.doubt())
		if !woken[f.conversation] {
			woken[f.conversation] = true
			d.sys.acquire(c, entryKey{instance: c.instance, id: f.conversation}).actor.send(wake{}) // which releases it
		}
	}
	return all, nil
}

func (d *directory) list() (messages.Reply, error) {
	records, err := readAll(d.sys.store, store.ClientIndexRange())
	if err != nil {
		return nil, d.sys.storeError(err)
	}
	var all []messages.ClientEntry
	for _, rec := range records {
		entry, err := parseClientIndex(rec.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
	slices.SortFunc(all, func(a, b messages.ClientEntry) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return messages.ClientsListed{Clients: all}, nil
}

func parseClientIndex(b []byte) (messages.ClientEntry, error) {
	r := readRecord(b)
	e := messages.ClientEntry{Instance: messages.Instance(r.uint64()), ClientID: messages.ClientID(r.bytes())}
	return e, r.end("client index")
}

// readAll reads a range of any length, piece by piece.
func readAll(from store.Reader, r store.Range) ([]store.Record, error) {
	r.Limit = store.MaxRange
	all, err := from.Range(r) // mostly the whole of it
	for piece := all; err == nil && len(piece) == store.MaxRange; all = append(all, piece...) {
		r.Low = append(piece[len(piece)-1].Key, 0)
		piece, err = from.Range(r)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// draw fills b with random bytes.
func (s *System) draw(b []byte) error {
	for n := 0; n < len(b); {
		k, err := s.options.Rand.Read(b[n:])
		if n += k; err != nil && n < len(b) {
			return fmt.Errorf("actors: randomness: %w", err)
		}
	}
	return nil
}

// drawUint64 returns a random number that is not 0.
func (s *System) drawUint64() (uint64, error) {
	var b [8]byte
	for {
		if err := s.draw(b[:]); err != nil {
			return 0, err
		}
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}
