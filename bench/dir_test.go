package bench

import (
	"os"
	"testing"
)

// scratchDir returns a new directory that goes at the end of the run. Fixtures
// outlive the benchmark that made them, so b.TempDir does not serve. TMPDIR says on
// which disk it lies, which decides what a sync costs.
func scratchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "conclave-bench-")
	if err != nil {
		b.Fatal(err)
	}
	atEnd = append(atEnd, func() error { return os.RemoveAll(dir) })
	return dir
}
