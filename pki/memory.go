package pki

import (
	"crypto/sha256"
	"sync"
)

// Memory remembers the half of verdicts that never changes, so that a certificate's path is built and its signatures are verified once. Times and
// revocation lists are looked at each time. It may be shared by any number of snapshots and goroutines.
//
// Memory is bounded: it has two generations, and when the young one is full the old one is forgotten.
type Memory struct {
	size       int        // of a generation
	mu         sync.Mutex // guards both generations
	young, old map[memoryKey]*judgment
}

// memoryKey is what a judgment depends on.
type memoryKey struct {
	leaf        [sha256.Size]byte
	authorities [sha256.Size]byte
}

// NewMemory returns a memory of at most n certificates, two at least. Each takes some kilobytes.
func NewMemory(n int) *Memory { return &Memory{size: max(n/2, 1)} }

// recall returns what is known of a certificate, nil if nothing is.
func (m *Memory) recall(k memoryKey) *judgment {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.young[k]; j != nil {
		return j
	}
	j := m.old[k]
	if j != nil {
		m.put(k, j)
	}
	return j
}

// remember keeps a judgment.
func (m *Memory) remember(k memoryKey, j *judgment) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(k, j)
}

func (m *Memory) put(k memoryKey, j *judgment) {
	if m.young == nil || len(m.young) >= m.size {
		m.young, m.old = make(map[memoryKey]*judgment), m.young
	}
	m.young[k] = j
}
