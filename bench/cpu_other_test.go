//go:build !unix

package bench

import "time"

// cpuTime is not known here, and what depends on it is not reported.
func cpuTime() time.Duration { return 0 }
