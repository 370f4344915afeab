package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Names in the directory of a store.
const (
	fileStore   = "STORE"
	fileNew     = "STORE.new" // the next STORE, before its rename
	fileLock    = "LOCK"
	dirRecords  = "records"
	maxStoreLen = prefixSize + 4 + maxRingBytes + 32
)

// Store is an open store. It is safe for concurrent use.
type Store struct {
	dir      string
	disk     *disk
	lock     io.Closer
	db       *pebble.DB
	id       [storeIDSize]byte
	keys     Keys
	sealer   *sealer
	pressure *pressure
	write    *pebble.WriteOptions
	volatile bool // in memory: there is nothing to keep
	events   Events
	counts   counts

	// mu is held for reading by every call while it uses db, and for writing by
	// Close when it sets closed, after which nobody uses db. Whoever waits for
	// something else than Pebble while reading must also wait for disk.closing.
	mu     sync.RWMutex
	closed bool
	wedged atomic.Bool // Pebble panicked, perhaps with its locks held: keep off

	sharing sync.Mutex
	open    *share // that can be joined; guarded by sharing

	closing  sync.Once
	closeErr error
	rotating sync.Mutex // one RotateKey at a time
}

// Open opens the store in dir, creating both if they do not exist. It answers
// ErrKeySize, ErrOptions, ErrInUse, ErrNewerFormat, ErrWrongKey, ErrCorrupt or
// what the file system says; in all of these the store is as it was.
func Open(dir string, o Options) (_ *Store, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, write: pebble.Sync, volatile: o.InMemory, events: o.Events}
	base := o.FS
	switch {
	case o.InMemory:
		base, s.dir = vfs.NewMem(), "store"
	case base == nil:
		// One directory has to have one name, or its lock could be had twice.
		if s.dir, err = privateDir(dir); err != nil {
			return nil, fmt.Errorf("store: open: %w", err)
		}
		base = privateFS{vfs.Default}
	}
	if o.NoSync || o.InMemory {
		s.write = pebble.NoSync
	}
	s.disk = newDisk(base, s.onFail)
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()

	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	if s.lock, err = s.disk.Lock(s.path(fileLock)); err != nil {
		s.lock = nil
		return nil, fmt.Errorf("%w: %s: %v", ErrInUse, s.dir, err)
	}
	r, err := s.openRing(o.Key, o.Rand)
	if err != nil {
		return nil, err
	}
	s.keys = Keys{r.hash.Clone()}
	if s.sealer, err = newSealer(s.id, r, o.Rand); err != nil {
		return nil, err
	}
	s.pressure = newPressure(uint64(o.MemTableBytes))
	if err := s.checkRecords(); err != nil {
		return nil, err
	}
	db, err := pebble.Open(s.path(dirRecords), s.pebbleOptions(o))
	if err != nil {
		return nil, openError(err)
	}
	s.db = db
	if err := s.disk.err(); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	return s, nil
}

// checkRecords refuses what a newer Pebble has written, by the name of the file
// in which Pebble keeps its format, since its own error has no kind.
func (s *Store) checkRecords() error {
	names, err := s.disk.List(s.path(dirRecords))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: open: %w", err)
	}
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "marker.format-version."); ok {
			format, err := strconv.ParseUint(rest[strings.LastIndexByte(rest, '.')+1:], 10, 64)
			if err == nil && format > uint64(pebble.FormatNewest) {
				return fmt.Errorf("%w: records have format %d, this version knows %d", ErrNewerFormat, format, uint64(pebble.FormatNewest))
			}
		}
	}
	return nil
}

func openError(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return fmt.Errorf("store: open: %w", err)
}

// privateDir makes an existing empty dir private, and returns the one true name
// of dir.
func privateDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	switch entries, err := os.ReadDir(abs); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
			return "", err
		}
		parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
		return filepath.Join(parent, filepath.Base(abs)), err
	case err != nil:
		return "", err
	case len(entries) == 0:
		if err := os.Chmod(abs, 0o700); err != nil {
			return "", err
		}
	}
	return filepath.EvalSymlinks(abs)
}

// makeDir creates the directory if there is none. What is in it is durable only
// if its name is, so the directories above it are synced, as far as they may be
// opened, until STORE says that this has been done.
func (s *Store) makeDir() error {
	if err := s.disk.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if _, err := s.disk.Stat(s.path(fileStore)); err == nil {
		return nil
	}
	for dir := s.dir; s.disk.PathDir(dir) != dir; dir = s.disk.PathDir(dir) {
		f, err := s.disk.OpenDir(s.disk.PathDir(dir))
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close(), s.disk.err()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) path(name string) string { return s.disk.PathJoin(s.dir, name) }

// openRing reads STORE, or creates it where there is no store yet.
func (s *Store) openRing(key secret.Bytes, rand io.Reader) (*ring, error) {
	b, err := s.readFile(fileStore)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := s.disk.Stat(s.path(dirRecords)); err == nil {
			return nil, fmt.Errorf("%w: STORE is missing", ErrCorrupt)
		}
		return s.createRing(key, rand)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	f, err := parseStoreFile(b)
	if err != nil {
		return nil, err
	}
	s.id = f.id
	return f.unwrap(key)
}

func (s *Store) createRing(key secret.Bytes, rand io.Reader) (*ring, error) {
	if _, err := io.ReadFull(rand, s.id[:]); err != nil {
		return nil, fmt.Errorf("store: draw a store id: %w", err)
	}
	r, err := newRing(rand)
	if err != nil {
		return nil, fmt.Errorf("store: draw a key ring: %w", err)
	}
	b, err := wrapRing(s.id, r, key, rand)
	if err == nil {
		err = s.replaceStoreFile(b)
	}
	if err != nil {
		r.wipe()
		return nil, err
	}
	return r, nil
}

func (s *Store) readFile(name string) ([]byte, error) {
	f, err := s.disk.Open(s.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(maxStoreLen)+1))
}

// replaceStoreFile makes b the STORE file: after a crash it is the old or the
// new one. An error is that of the disk, which has then failed.
func (s *Store) replaceStoreFile(b []byte) error {
	f, err := s.disk.Create(s.path(fileNew), vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = s.disk.Rename(s.path(fileNew), s.path(fileStore))
	}
	if err != nil {
		s.disk.fail("replace", fileStore, err)
	}
	s.disk.syncDir(s.dir)
	if err := s.disk.err(); err != nil {
		return fmt.Errorf("store: write the key ring: %w", err)
	}
	return nil
}

// RotateKey makes newKey, of KeySize bytes, the only key that opens the store,
// before it returns, and begins a new data key, to which values move as they are
// rewritten. The caller keeps newKey. It answers ErrKeySize, ErrClosed, ErrFailed
// with nothing changed, or ErrOutcomeUnknown: then one of the two keys opens the
// store, and which one the next Open tells.
func (s *Store) RotateKey(newKey secret.Bytes) error {
	if len(newKey) != KeySize {
		return ErrKeySize
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.rotating.Lock()
	defer s.rotating.Unlock()
	next, err := s.sealer.ring.extended(s.sealer.rand)
	if err != nil {
		return fmt.Errorf("store: draw a data key: %w", err)
	}
	b, err := wrapRing(s.id, next, newKey, s.sealer.rand)
	if err != nil {
		next.wipe()
		return err
	}
	if err := s.replaceStoreFile(b); err != nil {
		next.wipe()
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return s.sealer.adopt(next)
}

// Close flushes what the log still holds, so that the next Open has nothing to
// replay, and ends the store. It waits for calls under way. After a failure it
// drops what is in memory. It can be called again, and answers the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.disk.closing)
		s.mu.Lock() // waits for calls under way; whoever comes now is refused
		s.closed = true
		s.mu.Unlock()
		s.closeErr = s.shut()
	})
	return s.closeErr
}

// shut releases everything. Of a failed store it reports nothing: that has been
// reported when it failed.
func (s *Store) shut() error {
	hadFailed := s.disk.dead()
	var err error
	if s.db != nil && !s.wedged.Load() {
		if !hadFailed && !s.volatile {
			err = s.flush()
		}
		err = errors.Join(err, s.db.Close())
	}
	if s.sealer != nil {
		s.sealer.wipe()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	switch {
	case hadFailed:
		return nil
	case s.disk.dead():
		return fmt.Errorf("store: close: %w", s.disk.cause)
	case err != nil:
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// flush waits until the memtables are in tables, or the disk fails.
func (s *Store) flush() error {
	done, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-s.disk.failed:
	}
	return nil
}

// enter begins a call; leave has to end it unless there is an error.
func (s *Store) enter() error {
	select {
	case <-s.disk.closing: // not to wait for those under way
		return ErrClosed
	default:
	}
	s.mu.RLock()
	err := s.usable()
	if err != nil {
		s.mu.RUnlock()
	}
	return err
}

func (s *Store) leave() { s.mu.RUnlock() }

func (s *Store) usable() error {
	if s.closed {
		return ErrClosed
	}
	if err := s.disk.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

func (s *Store) onFail(cause error) {
	if s.events.Failed != nil {
		s.events.Failed(cause)
	}
}

func (s *Store) pebbleOptions(o Options) *pebble.Options {
	po := &pebble.Options{
		FS: s.disk,
		// Pebble takes the memtables out of the cache; in quiet times there is one,
		// and one more that is being flushed or kept for reuse.
		CacheSize:    o.CacheBytes + 2*o.MemTableBytes,
		MemTableSize: uint64(o.MemTableBytes),
		// Pebble's own choice is its oldest; opening takes an older store up to this.
		FormatMajorVersion: pebble.FormatNewest,
		// What is kept in memory does not outlive Close, so there is nothing to recover.
		DisableWAL: o.InMemory,
		Logger:     logger{s},
		// Stalled writers would hold Pebble's commit lock, and a failure would
		// leave them stalled: pressure.go does the stalling instead.
		MemTableStopWritesThreshold: 1 << 20,
		L0StopWritesThreshold:       1 << 20,
		// Pebble's own choice is one at a time; where it falls behind, more may run, but
		// half of the processors stay for messages.
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { s.background(err) },
			// A damaged table is reported to its readers; it does not end the store.
			DataCorruption: func(info pebble.DataCorruptionInfo) { s.background(info.Details) },
			// These are when there may be room again, or too little.
			WALCreated:    func(pebble.WALCreateInfo) { s.pressure.changed() },
			FlushEnd:      func(pebble.FlushInfo) { s.pressure.changed() },
			CompactionEnd: func(pebble.CompactionInfo) { s.pressure.changed() },
		},
	}
	// A Get asks table after table, down from the newest, until one has the key: with ten
	// bits a key a filter keeps it out of all but one in a hundred of those that have not.
	// The last level has none, as Pebble does not ask its filters unless told to.
	last := len(po.Levels) - 1
	for i := range last {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	po.Levels[last].FilterPolicy = pebble.NoFilterPolicy
	// Sealed values do not compress.
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return po
}

func (s *Store) background(err error) {
	if s.events.Background != nil && !s.disk.dead() {
		s.events.Background(err)
	}
}

// logger is what Pebble writes to. Its notes are dropped. Fatalf must not return
// in Pebble's eyes; here it ends the store, and everything that follows is dead.
type logger struct{ s *Store }

func (logger) Infof(string, ...interface{}) {}

func (l logger) Errorf(format string, args ...interface{}) {
	l.s.background(fmt.Errorf(format, args...))
}

func (l logger) Fatalf(format string, args ...interface{}) {
	l.s.disk.fail("fatal", "pebble", fmt.Errorf(format, args...))
}
