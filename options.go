package conclave

import (
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// KeySize is the length of a database key in bytes.
const KeySize = store.KeySize

// Secret is key material or plaintext. It prints as [secret] under every verb; a []byte is assigned to and from it as it is.
type Secret = secret.Bytes

// Options say how an engine is opened. The zero value of every field but Key is a good choice.
type Options struct {
	// Key seals everything on disk: KeySize bytes that look random, the same at every Open of a directory. It may be nil only with InMemory.
	Key Secret
	// InMemory keeps everything in memory and nothing after Close. The directory given to Open is ignored.
	InMemory bool
	// NoSync lets calls return before the disk has what they did, so that a power cut may lose the last of them. It breaks the promises of this
	// package and is there to measure what they cost.
	NoSync bool
	// Logger hears of states and codes, never of contents. Nil is silence.
	Logger *zap.Logger
	// Rand is where every random byte comes from, read from many goroutines. Nil is the operating system's. Anything predictable is for tests only.
	Rand io.Reader
	// Now is the clock for lifetimes and creation times. Nil is time.Now.
	Now func() time.Time
	// Auth decides about credentials. Nil accepts every Basic credential, and an X.509 one that leads to a trust anchor which the client has registered;
	// that it has expired or is revoked keeps nobody out, and is seen in [DeviceStatus] and [E2EIState].
	Auth mlsgroup.AuthenticationService
	// PKIPolicy makes judging certificates stricter than CoreCrypto does it.
	PKIPolicy PKIPolicy

	// SendTimeout ends the wait for a verdict of the delivery service; the commit is then in doubt. 0 is 30 s.
	SendTimeout time.Duration
	// RetryPause comes before the first repetition of a send, and doubles each time up to a minute. 0 is 250 ms.
	RetryPause time.Duration
	// IdleAfter is how long a conversation or session that nobody uses keeps its memory. 0 is five minutes, negative is for ever.
	IdleAfter time.Duration
	// StateBytes bounds the memory, by estimate, of conversations and sessions at rest: beyond it those not used for longest are dropped from memory, and read from
	// the directory when they are used again; a call that brings another into memory waits for that. 0 is 256 MiB, negative is no bound.
	StateBytes int64
	// LeaseGenerations lets EncryptMessage outside transactions return without a sync, but for one call in 16, which reserves the keys of the 15 that
	// follow. The price: after a crash, a Close or when the conversation leaves memory, the rest of the block is never used, which receivers see as messages
	// lost; and who has the directory and its key can derive the keys of the messages sent since the block began. No key is used twice in either case.
	LeaseGenerations bool
	// MaxCalls and MaxCallBytes bound the calls that wait in the whole engine and the bytes they hold; beyond them a call answers [CodeBusy]. 0 is 65,536 and 256 MiB.
	MaxCalls, MaxCallBytes int64
	// MaxConversationCalls and MaxConversationBytes bound the same for one conversation or session. 0 is 4,096 and 64 MiB.
	MaxConversationCalls, MaxConversationBytes int64
	// CacheBytes bounds the cache of stored records. 0 is 64 MiB, 8 MiB in memory.
	CacheBytes int64

	// afterFunc is time.AfterFunc, save in tests. It times what Enroll waits for.
	afterFunc func(d time.Duration, f func()) (stop func() bool)
}

func (o Options) withDefaults() (Options, error) {
	if o.Key == nil && o.InMemory {
		o.Key = make(Secret, KeySize)
	}
	if len(o.Key) != KeySize {
		return o, fmt.Errorf("%w: Key holds %d bytes, want %d", messages.ErrInvalidArgument, len(o.Key), KeySize)
	}
	if o.SendTimeout < 0 || o.RetryPause < 0 || o.MaxCalls < 0 || o.MaxCallBytes < 0 || o.MaxConversationCalls < 0 || o.MaxConversationBytes < 0 || o.CacheBytes < 0 {
		return o, fmt.Errorf("%w: an option is negative", messages.ErrInvalidArgument)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.afterFunc == nil {
		o.afterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	return o, nil
}
