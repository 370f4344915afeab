package stepca

import (
	"bytes"
	"slices"
	"sync"

	"github.com/smallstep/nosql/database"
)

// memory is step-ca's database, kept in memory: those that come with it sync a file several times a request, which would be most of the time of these tests.
type memory struct {
	mu     sync.Mutex
	tables map[string]map[string][]byte
}

var _ database.DB = (*memory)(nil)

// Open is never called: there is nothing to open.
func (m *memory) Open(string, ...database.Option) error { return nil }

// Close keeps what is there, for requests that are still under way.
func (m *memory) Close() error { return nil }

// CreateTable makes a table that is not there yet.
func (m *memory) CreateTable(table []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tables == nil {
		m.tables = make(map[string]map[string][]byte)
	}
	if m.tables[string(table)] == nil {
		m.tables[string(table)] = make(map[string][]byte)
	}
	return nil
}

// DeleteTable deletes a table with all that is in it.
func (m *memory) DeleteTable(table []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tables, string(table))
	return nil
}

// Get returns a value, or ErrNotFound.
func (m *memory) Get(table, key []byte) ([]byte, error) {
	entry := &database.TxEntry{Bucket: table, Key: key, Cmd: database.Get}
	err := m.Update(&database.Tx{Operations: []*database.TxEntry{entry}})
	return entry.Result, err
}

// Set writes a value.
func (m *memory) Set(table, key, value []byte) error {
	var tx database.Tx
	tx.Set(table, key, value)
	return m.Update(&tx)
}

// Del deletes a value, if there is one.
func (m *memory) Del(table, key []byte) error {
	var tx database.Tx
	tx.Del(table, key)
	return m.Update(&tx)
}

// Update runs operations until one fails. Nothing is taken back: those that step-ca runs together begin with all that can fail.
func (m *memory) Update(tx *database.Tx) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range tx.Operations {
		table, ok := m.tables[string(o.Bucket)]
		if !ok {
			return database.ErrNotFound
		}
		switch o.Cmd {
		case database.Get:
			value, ok := table[string(o.Key)]
			if !ok {
				return database.ErrNotFound
			}
			o.Result = bytes.Clone(value)
		case database.Set:
			table[string(o.Key)] = bytes.Clone(o.Value)
		case database.Delete:
			delete(table, string(o.Key))
		default:
			return database.ErrOpNotSupported
		}
	}
	return nil
}

// CmpAndSwap writes a value if the one that is there, nil for none, is old. It returns what is there afterwards.
func (m *memory) CmpAndSwap(table, key, old, value []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tables[string(table)]
	if !ok {
		return nil, false, database.ErrNotFound
	}
	if current := t[string(key)]; !bytes.Equal(current, old) {
		return bytes.Clone(current), false, nil
	}
	t[string(key)] = bytes.Clone(value)
	return value, true, nil
}

// List returns a table in the order of its keys.
func (m *memory) List(table []byte) ([]*database.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*database.Entry
	for key, value := range m.tables[string(table)] {
		all = append(all, &database.Entry{Bucket: table, Key: []byte(key), Value: bytes.Clone(value)})
	}
	slices.SortFunc(all, func(a, b *database.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return all, nil
}
