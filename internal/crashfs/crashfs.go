// Package crashfs is a file system in memory that tests cut the power of.
package crashfs

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is Pebble's crashable file system. It may be cut while it is in use: Pebble's
// own ReuseForWrite takes a lock for reading twice, and waits for ever if CrashClone
// asks for it in between (v2.1.7, tried).
type FS struct {
	vfs.FS
	mem *vfs.MemFS

	reusing sync.RWMutex
}

// New returns an empty file system.
func New() *FS {
	mem := vfs.NewCrashableMem()
	return &FS{FS: mem, mem: mem}
}

// ReuseForWrite recycles a file.
func (f *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.reusing.RLock()
	defer f.reusing.RUnlock()
	return f.FS.ReuseForWrite(oldname, newname, category)
}

// CrashClone returns what a power cut would leave now.
func (f *FS) CrashClone(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	f.reusing.Lock()
	defer f.reusing.Unlock()
	return f.mem.CrashClone(cfg)
}

// Unwrap returns the file system below.
func (f *FS) Unwrap() vfs.FS { return f.FS }
