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
	// ErrWrongGroup: the message is for another group.
	ErrWrongGroup = errors.New("mlsgroup: message of another group")
	// ErrEpochTooOld: an application message of an epoch that is no longer kept.
	ErrEpochTooOld = errors.New("mlsgroup: message of an epoch no longer kept")
	// ErrDuplicate: the message was seen before, or its key is gone or out of
	// reach: whatever the secret tree refuses. Echoes of own messages are among
	// these.
	ErrDuplicate = errors.New("mlsgroup: duplicate message")
	// ErrOwnCommit: a commit of this member came back. Its MACs verify, but
	// only the OwnCommit that was made with it leads to the next epoch.
	ErrOwnCommit = errors.New("mlsgroup: own commit")
	// ErrWireFormat: the profile does not take messages of this wire format.
	ErrWireFormat = errors.New("mlsgroup: wire format not accepted")
	// ErrInactive: we were removed from the group, or it was reinitialized.
	ErrInactive = errors.New("mlsgroup: group is not active")
	// ErrPendingProposals: proposals have to be committed before application
	// data may be sent. The error is a CheckProposalsPending too.
	ErrPendingProposals = errors.New("mlsgroup: proposals wait for a commit")
	// ErrUnknownProposal: no pending proposal has that reference.
	ErrUnknownProposal = errors.New("mlsgroup: no such pending proposal")
	// ErrTooManyProposals: the group keeps no more pending proposals.
	ErrTooManyProposals = errors.New("mlsgroup: too many pending proposals")
	// ErrUnsupportedExtension: a key package has not all the extensions asked for.
	ErrUnsupportedExtension = errors.New("mlsgroup: key package without a required extension")
	// ErrStaleCommit: an OwnCommit was made for another state of the group.
	ErrStaleCommit = errors.New("mlsgroup: commit of another state of the group")

	errTooManyExtensions = fmt.Errorf("mlsgroup: more than %d extensions", maxExtensions)
)

// EpochError reports a handshake message of another epoch, or an application
// message of a later one. It is a CheckEpoch too.
type EpochError struct{ Got, Want uint64 }

// Error names both epochs.
func (e *EpochError) Error() string {
	return fmt.Sprintf("mlsgroup: message of epoch %d in epoch %d", e.Got, e.Want)
}

// Is makes the error a CheckEpoch.
func (e *EpochError) Is(target error) bool { return target == CheckEpoch }

// UnknownProposalError reports a commit that refers to proposals which were
// not received. It can be processed once they are.
type UnknownProposalError struct{ Refs []ProposalRef }

// Error says how many are missing.
func (e *UnknownProposalError) Error() string {
	return fmt.Sprintf("mlsgroup: commit refers to %d unknown proposals", len(e.Refs))
}

// PSKError reports a pre-shared key that is not at hand. It is a
// CheckPSKAvailable too.
type PSKError struct{ ID PreSharedKeyID }

// Error names the kind of key, and not the key.
func (e *PSKError) Error() string {
	if e.ID.Type == PSKTypeResumption {
		return fmt.Sprintf("mlsgroup: no resumption PSK of epoch %d", e.ID.Epoch)
	}
	return "mlsgroup: no such external PSK"
}

// Is makes the error a CheckPSKAvailable.
func (e *PSKError) Is(target error) bool { return target == CheckPSKAvailable }

// UnknownProposalTypeError reports a proposal whose type is not one of RFC
// 9420. Its body has no known end, so the message around it cannot be read. It
// is an ErrDecode too, and a CheckProposalTypeSupported: we do not support it.
type UnknownProposalTypeError struct{ Type ProposalType }

// Error names the type.
func (e *UnknownProposalTypeError) Error() string {
	return fmt.Sprintf("mlsgroup: unknown proposal type 0x%04x", uint16(e.Type))
}

// Is makes the error an ErrDecode and a CheckProposalTypeSupported.
func (e *UnknownProposalTypeError) Is(target error) bool {
	return target == ErrDecode || target == CheckProposalTypeSupported
}
