package store

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/internal/secret"
)

// KeySize is the length of a database key in bytes.
const KeySize = 32

// Options say how a store is opened. The zero value of every field but Key is a
// good choice.
type Options struct {
	// Key is the database key: exactly KeySize bytes that look random. It is
	// used during Open only and not kept; the caller wipes it.
	Key secret.Bytes

	// FS is the file system; nil is the disk. Tests pass a memory or failing
	// one. File modes are set only on the disk.
	FS vfs.FS

	// InMemory keeps everything in memory and nothing after Close: no log, no
	// sync. The directory passed to Open is then ignored. It excludes FS.
	InMemory bool

	// Rand is where keys and start ids come from; nil is crypto/rand. A source
	// that repeats itself over two opens of one store repeats nonces, and so
	// gives the values away: fixed ones are for tests.
	Rand io.Reader

	// CacheBytes is the size of the block cache; 0 is 64 MiB (8 MiB in memory).
	// Memtables come on top of it, and take from it when there are more than two.
	CacheBytes int64

	// MemTableBytes is the size of one of Pebble's memtables, of which up to
	// five exist under heavy writing; 0 is 64 MiB (8 MiB in memory). They grow
	// to it from 256 KiB, so an idle store does not pay for it.
	MemTableBytes int64

	// NoSync answers Apply before the disk has the batch: a crash of the
	// machine may lose the last ones, still each wholly or not at all. It
	// breaks the engine's promises and is for benchmarks.
	NoSync bool

	// Events are called as things happen, from any goroutine, and must not
	// call the store or block.
	Events Events
}

// Events are optional callbacks.
type Events struct {
	// Failed is called once, when the store fails, with the cause.
	Failed func(cause error)
	// Background reports what went wrong in Pebble's background work and is
	// being retried.
	Background func(err error)
}

func (o *Options) validate() error {
	if len(o.Key) != KeySize {
		return ErrKeySize
	}
	if o.InMemory && o.FS != nil {
		return fmt.Errorf("%w: InMemory excludes FS", ErrOptions)
	}
	if o.CacheBytes < 0 || o.MemTableBytes < 0 {
		return fmt.Errorf("%w: negative size", ErrOptions)
	}
	if o.MemTableBytes > 1<<30 {
		return fmt.Errorf("%w: MemTableBytes above 1 GiB", ErrOptions)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	size := int64(64 << 20)
	if o.InMemory {
		size = 8 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = size
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = size
	}
	// Below this Pebble has no room for its own headers.
	o.MemTableBytes = max(o.MemTableBytes, 64<<10)
	return nil
}
