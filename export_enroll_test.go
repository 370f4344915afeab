package conclave

import "time"

// SetAfterFunc replaces time.AfterFunc in an engine's options.
func SetAfterFunc(o *Options, f func(d time.Duration, f func()) (stop func() bool)) { o.afterFunc = f }
