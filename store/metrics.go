package store

import "sync/atomic"

type counts struct {
	applies    atomic.Uint64
	batchBytes atomic.Uint64
}

// Metrics are figures of an open store. The counters start at Open.
type Metrics struct {
	Applies    uint64 // calls of Apply that made changes durable
	Syncs      uint64 // syncs of the log; Applies divided by Syncs is how many shared one
	BatchBytes uint64 // sealed batches handed over, in bytes, also in memory
	LogBytesIn uint64 // bytes handed to the log, by Pebble's count; 0 in memory
	LogBytes   uint64 // bytes written to log files, framing and padding included

	LogFileBytes  uint64 // size of the log files not yet flushed
	DiskBytes     uint64 // size of all files of records
	CacheBytes    uint64 // memory of the block cache
	MemTableBytes uint64 // memory of the memtables
}

// Metrics returns the figures. Those of a closed store are zero but for the
// counters.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		Applies:    s.counts.applies.Load(),
		Syncs:      s.disk.syncs.Load(),
		BatchBytes: s.counts.batchBytes.Load(),
		LogBytes:   s.disk.logBytes.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.wedged.Load() {
		return m
	}
	p := s.db.Metrics()
	m.LogBytesIn = p.WAL.BytesIn
	m.LogFileBytes = p.WAL.Size
	m.DiskBytes = p.DiskSpaceUsage()
	m.CacheBytes = uint64(p.BlockCache.Size)
	m.MemTableBytes = p.MemTable.Size + p.MemTable.ZombieSize
	return m
}
