package conclave

import (
	"bytes"
	"context"
	"errors"
	"slices"

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

// Damage replaces the opened values of records by what change makes of them.
func (e *Engine) Damage(change func(key, value string) string) error {
	records, err := e.Dump()
	if err != nil {
		return err
	}
	var set store.ChangeSet
	for key, value := range records {
		if changed := change(key, value); changed != value {
			set.Put([]byte(key), []byte(changed))
		}
	}
	return e.store.Apply(&set)
}

// CopySession stores copies of a client's session under other ids of the same length, as if each had been begun by itself.
func (c *Client) CopySession(from SessionID, to []SessionID) error {
	client := store.Client(c.instance)
	keys := c.engine.store.Keys()
	hash := keys.Session(client, []byte(from))
	records, err := c.engine.store.Range(store.Range{Low: client.Proteus(nil, nil), High: store.PrefixEnd(nil, client.Proteus(nil, nil))})
	at := slices.IndexFunc(records, func(r store.Record) bool { return bytes.HasSuffix(r.Key, hash[:]) })
	if err != nil || at < 0 {
		return errors.Join(err, errors.New("no such session"))
	}
	prefix := bytes.TrimSuffix(records[at].Key, hash[:])
	for ids := range slices.Chunk(to, 5000) {
		var set store.ChangeSet
		for _, id := range ids {
			hash := keys.Session(client, []byte(id))
			set.Put(append(bytes.Clone(prefix), hash[:]...), bytes.Replace(records[at].Value, []byte(from), []byte(id), 1))
		}
		if err := c.engine.store.Apply(&set); err != nil {
			return err
		}
	}
	return nil
}
