package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk stands between Pebble and the file system and decides what happens when
// the file system refuses something.
//
// Pebble does not survive such errors (v2.1.7, read, and tried with errorfs): when it cannot
// close or create a log it panics while a deferred call unlocks a mutex it has
// unlocked, which no recover can stop; when a log block fails it panics with the
// commit pipeline locked, and every later commit and Close wait for ever; a
// failed marker sync panics on a goroutine of its own; a failed flush is tried
// again at once and without end, also within Open and while writers stall.
//
// So Pebble never sees them. At the first refused write, sync, create or rename
// the disk fails for good: the cause is kept and reported, and from that moment
//
//   - nothing reaches the file system any more: what follows the failure is
//     swallowed, removals above all, since they rest on writes that were
//     swallowed;
//   - what is created goes to a file system in memory that is thrown away, so
//     that flushes under way come to an end;
//   - tables under way get the error, which Pebble handles by a new attempt;
//   - new compactions wait until the store closes.
//
// The file system is then as after a crash at the failure, and Apply, which asks
// for the failure after Pebble has returned, answers that the outcome is unknown.
type disk struct {
	vfs.FS
	onFail  func(error)
	failed  chan struct{} // closed by fail
	closing chan struct{} // closed when the store begins to close

	once   sync.Once
	cause  error // readable once failed is closed
	shadow *vfs.MemFS

	syncs    atomic.Uint64 // of logs
	logBytes atomic.Uint64 // written to logs
}

const logCategory = "pebble-wal"

func newDisk(fs vfs.FS, onFail func(error)) *disk {
	return &disk{FS: fs, onFail: onFail, failed: make(chan struct{}), closing: make(chan struct{})}
}

// fail ends the disk; the first cause stays.
func (d *disk) fail(op, name string, err error) {
	d.once.Do(func() {
		d.cause = fmt.Errorf("%s %s: %w", op, d.PathBase(name), err)
		d.shadow = vfs.NewMem()
		close(d.failed)
		if d.onFail != nil {
			d.onFail(d.cause)
		}
	})
}

func (d *disk) dead() bool {
	select {
	case <-d.failed:
		return true
	default:
		return false
	}
}

// err is why the disk failed, nil while it has not.
func (d *disk) err() error {
	if d.dead() {
		return d.cause
	}
	return nil
}

// Unwrap returns the file system below.
func (d *disk) Unwrap() vfs.FS { return d.FS }

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

func isCompaction(category vfs.DiskWriteCategory) bool {
	return category == "pebble-compaction" || category == "pebble-blob-file-rewrite"
}

// inShadow creates a file in memory, after the failure.
func (d *disk) inShadow(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if isCompaction(category) {
		<-d.closing
		return nil, d.cause
	}
	if err := d.shadow.MkdirAll(d.shadow.PathDir(name), 0o700); err != nil {
		return nil, err
	}
	return d.shadow.Create(name, category)
}

func (d *disk) file(f vfs.File, name string, category vfs.DiskWriteCategory) *diskFile {
	return &diskFile{File: f, d: d, name: name, table: isTable(name), log: category == logCategory}
}

// Create creates a file, in memory after the failure.
//
// Pebble moves a marker, which tells by its name which manifest counts, by creating
// the new one, removing the old and then syncing the directory. A power cut before
// the sync may keep any part of that, and so leave a marker without its manifest or
// none at all. So the directory is synced before a marker is created, which makes
// durable what it names, and after, before the old one goes.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	marker := strings.HasPrefix(d.PathBase(name), "marker.")
	if marker {
		d.syncDir(d.PathDir(name))
	}
	if !d.dead() {
		f, err := d.FS.Create(name, category)
		if err == nil {
			if marker {
				d.syncDir(d.PathDir(name))
			}
			made := d.file(f, name, category)
			made.fresh = made.log
			return made, nil
		}
		d.fail("create", name, err)
	}
	return d.inShadow(name, category)
}

// syncDir makes the names in a directory durable.
func (d *disk) syncDir(name string) {
	if d.dead() {
		return
	}
	dir, err := d.FS.OpenDir(name)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		d.fail("sync", name, err)
	}
}

// ReuseForWrite recycles a log.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !d.dead() {
		f, err := d.FS.ReuseForWrite(oldname, newname, category)
		if err == nil {
			return d.file(f, newname, category), nil
		}
		d.fail("reuse", newname, err)
	}
	return d.inShadow(newname, category)
}

// Open opens a file for reading.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if d.dead() {
		if f, err := d.shadow.Open(name, opts...); err == nil {
			return f, nil
		}
	}
	return d.FS.Open(name, opts...)
}

// OpenReadWrite opens a file, in memory after the failure.
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if !d.dead() {
		f, err := d.FS.OpenReadWrite(name, category, opts...)
		if err == nil {
			return d.file(f, name, category), nil
		}
		d.fail("open", name, err)
	}
	return d.inShadow(name, category)
}

// OpenDir opens a directory, for syncing it.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return d.file(f, name, ""), nil
}

// Stat looks at a file.
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	if d.dead() {
		if info, err := d.shadow.Stat(name); err == nil {
			return info, nil
		}
	}
	return d.FS.Stat(name)
}

// Remove removes a file. That it could not be removed harms nothing.
func (d *disk) Remove(name string) error {
	if d.dead() {
		_ = d.shadow.Remove(name)
		return nil
	}
	return d.FS.Remove(name)
}

// RemoveAll removes a tree.
func (d *disk) RemoveAll(name string) error {
	if d.dead() {
		return nil
	}
	return d.FS.RemoveAll(name)
}

// Rename renames a file.
func (d *disk) Rename(oldname, newname string) error {
	if d.dead() {
		_ = d.shadow.Rename(oldname, newname)
		return nil
	}
	if err := d.FS.Rename(oldname, newname); err != nil {
		d.fail("rename", newname, err)
	}
	return nil
}

// Link links a file.
func (d *disk) Link(oldname, newname string) error {
	if d.dead() {
		return d.cause
	}
	return d.FS.Link(oldname, newname)
}

// MkdirAll creates a directory; only Open does that.
func (d *disk) MkdirAll(name string, _ os.FileMode) error {
	if d.dead() {
		return d.cause
	}
	return d.FS.MkdirAll(name, 0o700)
}

// Lock locks a file.
func (d *disk) Lock(name string) (io.Closer, error) {
	if d.dead() {
		return nil, d.cause
	}
	return d.FS.Lock(name)
}

// diskFile is a file being written, or a directory being synced.
type diskFile struct {
	vfs.File
	d          *disk
	name       string
	table, log bool

	// Of a new log, for Write, which Pebble calls from one goroutine.
	fresh       bool
	end, placed int64 // bytes written, and bytes that have a place on the disk
}

// logAhead is how many bytes of a new log get a place on the disk at a time: they are
// written as zeros, which Pebble takes for the end of a log. A sync of bytes that
// overwrite others takes about six tenths of the time of one that makes the file
// longer, or is the first to write to space set aside, since the file system has
// nothing to note in its journal then. Logs that are recycled have their place.
const logAhead = 128 << 10

// refused tells what Pebble gets to hear of a failure. Only tables are read
// back, so only for them the truth matters.
func (f *diskFile) refused() error {
	if f.table {
		return f.d.cause
	}
	return nil
}

// guard runs do unless the disk has failed, and fails it if do does.
func (f *diskFile) guard(op string, do func() error) error {
	if !f.d.dead() {
		err := do()
		if err == nil {
			return nil
		}
		f.d.fail(op, f.name, err)
	}
	return f.refused()
}

// Write appends p.
func (f *diskFile) Write(p []byte) (int, error) {
	if !f.d.dead() {
		n, err := f.append(p)
		if err == nil {
			return n, nil
		}
		f.d.fail("write", f.name, err)
	}
	if err := f.refused(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *diskFile) append(p []byte) (int, error) {
	if err := f.place(len(p)); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	if f.log {
		f.d.logBytes.Add(uint64(n))
	}
	return n, err
}

// place gives the next n bytes of a new log a place on the disk.
func (f *diskFile) place(n int) error {
	if !f.fresh {
		return nil
	}
	if f.end += int64(n); f.end <= f.placed {
		return nil
	}
	zeros := make([]byte, f.end+logAhead-f.placed)
	_, err := f.File.WriteAt(zeros, f.placed)
	f.placed += int64(len(zeros))
	f.d.logBytes.Add(uint64(len(zeros)))
	return err
}

// WriteAt writes p at an offset.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.guard("write", func() error { _, err := f.File.WriteAt(p, off); return err }); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sync makes the file durable.
func (f *diskFile) Sync() error {
	if f.log {
		f.d.syncs.Add(1)
	}
	return f.guard("sync", f.File.Sync)
}

// SyncData makes the contents durable.
func (f *diskFile) SyncData() error {
	if f.log {
		f.d.syncs.Add(1)
	}
	return f.guard("sync", f.File.SyncData)
}

// SyncTo hints that the contents up to length should be written.
func (f *diskFile) SyncTo(length int64) (full bool, err error) {
	err = f.guard("sync", func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Close closes the file, also after the failure.
func (f *diskFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.d.fail("close", f.name, err)
	}
	if f.d.dead() {
		return f.refused()
	}
	return nil
}
