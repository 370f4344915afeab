package mlsgroup

import (
	"errors"
	"fmt"
)

// Kinds of failure a program may have to tell apart. A check of the RFC that
// fails is a CheckError instead.
var (
	// ErrUnsupportedCipherSuite: the suite is not one of the seven.
	ErrUnsupportedCipherSuite = errors.New("mlsgroup: unsupported cipher suite")
)

// UnknownProposalTypeError reports a proposal whose type is not one of RFC
// 9420. Its body has no known end, so the message around it cannot be read.
// It is an ErrDecode too.
type UnknownProposalTypeError struct{ Type ProposalType }

// Error names the type.
func (e *UnknownProposalTypeError) Error() string {
	return fmt.Sprintf("mlsgroup: unknown proposal type 0x%04x", uint16(e.Type))
}

// Is makes the error an ErrDecode.
func (e *UnknownProposalTypeError) Is(target error) bool { return target == ErrDecode }
