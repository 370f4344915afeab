package store

import "sync/atomic"

type counts struct {
	applies    atomic.Uint64
	batchBytes atomic.Uint64
}

// Metrics are figures of an open store. The counters start at Open.
type Metrics struct {
	Applies      uint64 // calls of Apply that made changes durable
	Syncs        uint64 // syncs of the log; Applies divided by Syncs is how many shared one
	BatchBytes   uint64 // sealed batches handed over, in bytes, also in memory
	LogBytes     uint64 // bytes handed to the log, by Pebble's count; 0 in memory
	LogFileBytes uint64 // bytes written to log files, framing, padding and the zeros written ahead included
	DiskBytes    uint64 // size of all files of records
}

// Metrics returns the figures. Those of a closed store are zero but for the
// counters.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		Applies:      s.counts.applies.Load(),
		Syncs:        s.disk.syncs.Load(),
		BatchBytes:   s.counts.batchBytes.Load(),
		LogFileBytes: s.disk.logBytes.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.wedged.Load() {
		return m
	}
	p := s.db.Metrics()
	m.LogBytes = p.WAL.BytesIn
	m.DiskBytes = p.DiskSpaceUsage()
	return m
}
