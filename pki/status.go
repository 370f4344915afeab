package pki

import (
	"errors"
	"iter"
	"strconv"
	"time"
)

// DeviceStatus says whether a device's credential is to be relied on. The numbers are those of Wire's clients.
type DeviceStatus uint8

// The statuses of a device.
const (
	// DeviceStatusUnknown: there is no trust anchor to verify a certificate with.
	DeviceStatusUnknown DeviceStatus = 0
	// DeviceStatusValid: nothing is known against it. Basic credentials have no other.
	DeviceStatusValid DeviceStatus = 1
	// DeviceStatusExpired: its certificate's time is over.
	DeviceStatusExpired DeviceStatus = 2
	// DeviceStatusRevoked: its certificate or an intermediate is revoked, or leads to no trust anchor.
	DeviceStatusRevoked DeviceStatus = 3
)

// String returns the name Wire's clients know.
func (d DeviceStatus) String() string {
	switch d {
	case DeviceStatusUnknown:
		return "Unknown"
	case DeviceStatusValid:
		return "Valid"
	case DeviceStatusExpired:
		return "Expired"
	case DeviceStatusRevoked:
		return "Revoked"
	}
	return "DeviceStatus(" + strconv.Itoa(int(d)) + ")"
}

// StatusOf returns what the outcome of [Snapshot.Verify] is to those who look at a device. As in CoreCrypto a certificate is Expired after its time,
// Revoked if a list says so or nothing leads to a trust anchor, and Valid otherwise, even with an odd error; [Policy.StrictStatus] makes that
// Revoked too. Such a certificate makes its conversation NotVerified in any case.
func (p Policy) StatusOf(outcome error) DeviceStatus {
	switch {
	case outcome == nil:
		return DeviceStatusValid
	case errors.Is(outcome, ErrExpired):
		return DeviceStatusExpired
	case p.StrictStatus, errors.Is(outcome, ErrRevoked), errors.Is(outcome, ErrNoPath):
		return DeviceStatusRevoked
	}
	return DeviceStatusValid
}

// Admissible tells whether a member with this outcome of [Snapshot.Verify] may be in a group. What depends on the time and on the lists at
// hand does not keep anybody out: members that differ about it would be in two groups from then on. It degrades the conversation.
func Admissible(outcome error) bool {
	for _, err := range []error{ErrExpired, ErrNotYetValid, ErrRevoked, ErrCRLMissing, ErrCRLStale} {
		if errors.Is(outcome, err) {
			return true
		}
	}
	return outcome == nil
}

// E2EIState says whether the members of a conversation are who they say they are. The numbers are those of Wire's clients.
type E2EIState uint8

// The states of a conversation.
const (
	// E2EIStateVerified: every member has a valid X.509 credential.
	E2EIStateVerified E2EIState = 1
	// E2EIStateNotVerified: some member has an X.509 credential, and some member's is not, or not valid.
	E2EIStateNotVerified E2EIState = 2
	// E2EIStateNotEnabled: no member has an X.509 credential, or there is no trust anchor.
	E2EIStateNotEnabled E2EIState = 3
)

// String returns the name Wire's clients know.
func (s E2EIState) String() string {
	switch s {
	case E2EIStateVerified:
		return "Verified"
	case E2EIStateNotVerified:
		return "NotVerified"
	case E2EIStateNotEnabled:
		return "NotEnabled"
	}
	return "E2EIState(" + strconv.Itoa(int(s)) + ")"
}

// E2EIState computes the state of a conversation from the credentials of all its members: their chains, leaf first, and nil for one that is
// not X.509. At the very ends of its validity a certificate does not count.
func (s *Snapshot) E2EIState(members iter.Seq[[][]byte], now time.Time) E2EIState {
	if !s.HasTrustAnchor() {
		return E2EIStateNotEnabled
	}
	state, enabled, at := E2EIStateVerified, false, now.Truncate(time.Second)
	for chain := range members {
		v := s.Examine(chain, now)
		if len(chain) > 0 && !errors.Is(v.Err, ErrMalformed) {
			enabled = true
		}
		if v.Err != nil || !at.After(v.Identity.NotBefore) || !at.Before(v.Identity.NotAfter) {
			state = E2EIStateNotVerified
		}
		if enabled && state == E2EIStateNotVerified {
			return E2EIStateNotVerified
		}
	}
	if !enabled {
		return E2EIStateNotEnabled
	}
	return state
}
