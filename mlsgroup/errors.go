package mlsgroup

import "errors"

// Kinds of failure a program may have to tell apart. A check of the RFC that
// fails is a CheckError instead.
var (
	// ErrUnsupportedCipherSuite: the suite is not one of the seven.
	ErrUnsupportedCipherSuite = errors.New("mlsgroup: unsupported cipher suite")
)
