package conclave

import (
	"context"
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/actors"
	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// ConversationID is the group id of a conversation.
type ConversationID = messages.ConversationID

// Engine is one open directory with all its clients. It is safe for concurrent use.
type Engine struct {
	options Options
	step    step.Bound
	store   *store.Store
	system  *actors.System
}

// Open opens the engine's directory, creating it if it does not exist. With InMemory dir means nothing; else "" is refused, as it would fill the working directory. [CodeWrongKey], [CodeDirectoryInUse], [CodeNewerFormat] and [CodeCorrupt] leave it as it was.
func Open(ctx context.Context, dir string, o Options) (*Engine, error) {
	return open(ctx, dir, o, store.Options{})
}

// open is Open with options of the store that only tests set: its file system, and the size of what it holds in memory before it writes tables.
func open(ctx context.Context, dir string, o Options, so store.Options) (*Engine, error) {
	const op = "Open"
	if err := ctx.Err(); err != nil {
		return nil, wrap(op, "", err)
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, wrap(op, "", err)
	}
	if dir == "" && !o.InMemory {
		return nil, wrap(op, "", fmt.Errorf("%w: no directory", messages.ErrInvalidArgument))
	}
	so.Key, so.InMemory, so.NoSync, so.Rand, so.CacheBytes = o.Key, o.InMemory, o.NoSync, o.Rand, o.CacheBytes
	s, err := store.Open(dir, so)
	if err != nil {
		return nil, wrap(op, "", err)
	}
	o.Key = nil // the store keeps what it needs; the caller's slice stays the caller's
	e := &Engine{options: o, store: s, step: step.From(ctx)}
	e.system, err = actors.Start(actors.Options{
		Store: s, Rand: o.Rand, Now: o.Now, Logger: o.Logger, Auth: o.Auth, PKIPolicy: o.PKIPolicy,
		SendTimeout: o.SendTimeout, RetryPause: o.RetryPause, IdleAfter: o.IdleAfter, StateBytes: o.StateBytes, LeaseGenerations: o.LeaseGenerations,
		MaxRequests: o.MaxCalls, MaxBytes: o.MaxCallBytes,
		MaxConversationRequests: o.MaxConversationCalls, MaxConversationBytes: o.MaxConversationBytes, Step: e.step,
	})
	if err != nil {
		_ = s.Close()
		return nil, wrap(op, "", err)
	}
	return e, nil
}

// Close ends the engine: new calls answer [CodeClosed], transactions that have not been decided are aborted, sends are given up with their commits in
// doubt, and when everything has been answered the directory is released. Calling it again does nothing.
func (e *Engine) Close() error {
	err := e.system.Close(context.Background())
	if closed := e.store.Close(); err == nil {
		err = closed
	}
	return wrap("Close", "", err)
}

// Client opens the client with an id, and creates it if the directory has none. Opening it again replaces its transport and observer.
func (e *Engine) Client(ctx context.Context, id ClientID, o ClientOptions) (*Client, error) {
	const op = "Client"
	reply, err := e.system.Ask(ctx, messages.Address{}, messages.InitClient{
		ClientID: id, CipherSuites: o.CipherSuites, NoCredential: o.NoCredential, Keypairs: o.Keypairs, Profile: o.Profile, Receive: o.Receive, BasicKeyChange: o.BasicKeyChange,
		Transport: o.Transport, Observer: o.Observer,
	})
	if err != nil {
		return nil, wrap(op, "", err)
	}
	ready, ok := reply.(messages.ClientReady)
	if !ok {
		return nil, wrap(op, "", messages.ErrInternal)
	}
	return &Client{scope: scope{engine: e, instance: ready.Instance}, id: id, ready: ready}, nil
}

// Keypair is a signature key pair that waits for its client: its provisional id, and the public key to register with the backend.
type Keypair = messages.Keypair

// GenerateKeypairs makes and stores a signature key pair for each of the suites, for an application that learns the id of its client only by registering a
// public key. Once it has, it opens the client with the provisional ids in [ClientOptions].Keypairs. Pairs that no client is opened with stay stored.
func (e *Engine) GenerateKeypairs(ctx context.Context, suites ...CipherSuite) ([]Keypair, error) {
	const op = "GenerateKeypairs"
	reply, err := e.system.Ask(ctx, messages.Address{}, messages.GenerateKeypairs{CipherSuites: suites})
	if err != nil {
		return nil, wrap(op, "", err)
	}
	generated, ok := reply.(messages.KeypairsGenerated)
	if !ok {
		return nil, wrap(op, "", messages.ErrInternal)
	}
	return generated.Keypairs, nil
}

// Clients lists the clients of the directory, ordered by id.
func (e *Engine) Clients(ctx context.Context) ([]ClientID, error) {
	const op = "Clients"
	reply, err := e.system.Ask(ctx, messages.Address{}, messages.ListClients{})
	if err != nil {
		return nil, wrap(op, "", err)
	}
	listed, ok := reply.(messages.ClientsListed)
	if !ok {
		return nil, wrap(op, "", messages.ErrInternal)
	}
	ids := make([]ClientID, len(listed.Clients))
	for i, c := range listed.Clients {
		ids[i] = c.ClientID
	}
	return ids, nil
}

// maxRandomBytes bounds RandomBytes.
const maxRandomBytes = 1 << 20

// RandomBytes returns length bytes from the engine's source of randomness, at most a mebibyte.
func (e *Engine) RandomBytes(length int) ([]byte, error) {
	const op = "RandomBytes"
	if length < 0 || length > maxRandomBytes {
		return nil, wrap(op, "", fmt.Errorf("%w: %d bytes, want 0 to %d", messages.ErrInvalidArgument, length, maxRandomBytes))
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(e.options.Rand, b); err != nil {
		return nil, wrap(op, "", err)
	}
	return b, nil
}

// Metrics are figures of an open engine. The counters start at Open.
type Metrics struct {
	Applies      uint64 // steps made durable
	Syncs        uint64 // disk syncs; Applies divided by Syncs is how many steps shared one
	BatchBytes   uint64 // bytes of the batches they were written in
	LogBytes     uint64 // bytes handed to the store's log, by its own count; 0 in memory
	LogFileBytes uint64 // bytes written to log files, framing, padding and the zeros written ahead included
	DiskBytes    uint64 // size of all files of records
}

// Metrics returns the engine's figures.
func (e *Engine) Metrics() Metrics {
	return Metrics(e.store.Metrics())
}

// Kill ends the engine as a crash of the process would, and releases the directory: nothing reaches the disk any more, and every call under way answers
// [CodeOutcomeUnknown] or [CodeStoreFailed]. It is for tests and demonstrations of recovery.
func (e *Engine) Kill() {
	e.store.Abandon()
	_ = e.Close()
}
