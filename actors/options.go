package actors

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// Options say how a System is started. The zero value of every field but Store,
// Rand and Now is a good choice.
type Options struct {
	// Store holds the records. The System does not close it.
	Store *store.Store
	// Rand is where every random byte comes from. It is read from many goroutines.
	Rand io.Reader
	// Now is the clock of lifetimes and creation times.
	Now func() time.Time
	// Logger hears of states and codes, never of contents. Nil is silence.
	Logger *zap.Logger
	// Auth validates credentials. Nil accepts Basic ones, and X.509 ones by what the
	// client has registered; see authentication.go.
	Auth mlsgroup.AuthenticationService
	// PKIPolicy says how strict verifying certificates is.
	PKIPolicy pki.Policy
	// Do runs f(0) to f(n-1), at once where it can, and returns when all have
	// returned; group steps use it for independent work. Nil runs as many at once
	// as there are processors.
	Do func(n int, f func(i int))

	// SendTimeout ends the wait for a verdict of the delivery service as unknown.
	// 0 is 30 s.
	SendTimeout time.Duration
	// RetryPause is the pause before the first Retry and the first resend of a
	// commit in doubt; it doubles each time, up to a minute. 0 is 250 ms.
	RetryPause time.Duration
	// IdleAfter is how long a conversation or session nobody asks keeps its memory. 0 is five
	// minutes, negative is for ever.
	IdleAfter time.Duration

	// StateBytes bounds the memory, by estimate, of the conversations and sessions that nobody is
	// asking: beyond it those not asked for longest are dropped from memory, and read
	// from the store when they are asked again. A request that brings another into memory
	// waits until they have left. 0 is 256 MiB, negative is no bound.
	StateBytes int64

	// LeaseGenerations lets single calls of EncryptMessage answer without a sync, but
	// for one in 16: that one reserves the generations of the others. See spent.go.
	LeaseGenerations bool

	// MaxRequests and MaxBytes bound what waits in the whole engine: 0 is 65,536
	// requests and 256 MiB. Beyond them the answer is ErrBusy.
	MaxRequests int64
	MaxBytes    int64
	// MaxConversationRequests and MaxConversationBytes bound the same for one
	// conversation: 0 is 4,096 and 64 MiB.
	MaxConversationRequests int64
	MaxConversationBytes    int64

	// Step bounds what is taken together. It is for tests; see package step.
	Step step.Bound

	host  func() host                     // nil: protoactor
	apply func(...*store.ChangeSet) error // nil: the Store's
	read  store.Reader                    // nil: the Store
}

// Bounds that are not options.
const (
	maxTries        = 3           // of an operation that gives way in a deadlock
	maxRetries      = 5           // of one send
	maxResendPause  = time.Minute // between resends of a commit in doubt
	reserveBlock    = 16          // own generations reserved at a time: half of a receiver's usual window, see spent.go
	maxEarly        = 1000        // buffered future messages of a conversation
	maxEarlyBytes   = 4 << 20     // and their bytes
	maxEarlyCommits = 4           // buffered commits of unknown proposals
	maxNeed         = 16          // loads a single step may ask for
	maxData         = 16 << 20    // the data blob, in bytes
	maxGenerate     = 1000        // key packages in one request
	sweepFraction   = 4           // sweeps for passivation in one IdleAfter
	restFraction    = 8           // of StateBytes is freed when it is exceeded
	restBytes       = 2 << 10     // of memory of a conversation beside its state, its view among them
	maxRemembered   = 1 << 14     // certificates whose paths need not be verified again
	maxPSK          = 1 << 16     // an external pre-shared key, in bytes
	maxName         = 1 << 10     // client, conversation and PSK ids, in bytes
	defaultLifetime = 84 * 24 * time.Hour
	lifetimeMargin  = time.Hour
)

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Rand == nil || o.Now == nil {
		return o, fmt.Errorf("actors: Store, Rand and Now must be set")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Do == nil {
		o.Do = parallel
	}
	if o.apply == nil {
		o.apply = o.Store.Apply
	}
	if o.read == nil {
		o.read = o.Store
	}
	if o.host == nil {
		o.host = newProtoHost
	}
	setDefault(&o.SendTimeout, 30*time.Second)
	setDefault(&o.RetryPause, 250*time.Millisecond)
	setDefault(&o.IdleAfter, 5*time.Minute)
	setDefault(&o.StateBytes, 256<<20)
	setDefault(&o.MaxRequests, 1<<16)
	setDefault(&o.MaxBytes, 256<<20)
	setDefault(&o.MaxConversationRequests, 1<<12)
	setDefault(&o.MaxConversationBytes, 64<<20)
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
