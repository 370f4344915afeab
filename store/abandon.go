package store

import "errors"

var errAbandoned = errors.New("store: abandoned")

// Abandon ends the store as a crash of the process would: from now on nothing reaches the disk, and every call answers as after a failure. Close then
// only releases the directory. It is for tests and demonstrations of recovery.
func (s *Store) Abandon() { s.disk.fail("abandon", s.dir, errAbandoned) }
