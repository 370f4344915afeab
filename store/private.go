package store

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// privateFS is the disk with files of mode 0600 and directories of mode 0700,
// whatever the umask. Pebble's own file system takes no modes, so a file is made
// here, exclusively, and then opened there.
type privateFS struct{ vfs.FS }

// Unwrap returns Pebble's file system.
func (p privateFS) Unwrap() vfs.FS { return p.FS }

func touch(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Create replaces whatever has that name.
func (p privateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	err := touch(name)
	for errors.Is(err, fs.ErrExist) {
		if err = os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		err = touch(name)
	}
	if err != nil {
		return nil, err
	}
	return p.FS.OpenReadWrite(name, category)
}

// OpenReadWrite creates the file if there is none.
func (p privateFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := touch(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return p.FS.OpenReadWrite(name, category, opts...)
}

// MkdirAll creates directories that only their owner may enter.
func (p privateFS) MkdirAll(name string, _ os.FileMode) error { return p.FS.MkdirAll(name, 0o700) }

// Lock creates the lock file if there is none. An existing one is not opened
// here, as closing it would release a lock of this process.
func (p privateFS) Lock(name string) (io.Closer, error) {
	if err := touch(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return p.FS.Lock(name)
}
