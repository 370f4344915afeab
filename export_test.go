package conclave

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/store"
)

// OpenOn is Open in a directory of another file system than the disk, so that tests can cut its power and refuse its writes. It holds little in
// memory, so that tables are written too.
func OpenOn(ctx context.Context, fs vfs.FS, dir string, o Options) (*Engine, error) {
	return open(ctx, dir, o, store.Options{FS: fs, MemTableBytes: 256 << 10})
}

// Dump returns every record of the engine, opened, by its key.
func (e *Engine) Dump() (map[string]string, error) {
	records := make(map[string]string)
	next := store.Range{}
	for {
		found, err := e.store.Range(next)
		for _, r := range found {
			records[string(r.Key)] = string(r.Value)
		}
		if err != nil || len(found) == 0 {
			return records, errors.Join(err)
		}
		next.Low = append(found[len(found)-1].Key, 0)
	}
}

// Damage replaces every record whose opened value matches by nonsense.
func (e *Engine) Damage(match func(key string) bool) error {
	records, err := e.Dump()
	if err != nil {
		return err
	}
	var set store.ChangeSet
	for key := range records {
		if match(key) {
			set.Put([]byte(key), []byte("nonsense"))
		}
	}
	return e.store.Apply(&set)
}

// SetAfterFunc replaces time.AfterFunc in an engine's options.
func SetAfterFunc(o *Options, f func(d time.Duration, f func()) (stop func() bool)) { o.afterFunc = f }
