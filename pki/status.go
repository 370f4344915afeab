package pki

import (
	"errors"
	"iter"
	"strconv"
	"time"
)

// DeviceStatus is how a device stands, with Wire's numbers.
type DeviceStatus uint8

// The statuses of a device.
const (
	Valid   DeviceStatus = 1
	Expired DeviceStatus = 2
	Revoked DeviceStatus = 3
)

// String returns the name of the constant.
func (d DeviceStatus) String() string {
	switch d {
	case Valid:
		return "Valid"
	case Expired:
		return "Expired"
	case Revoked:
		return "Revoked"
	}
	return "DeviceStatus " + strconv.Itoa(int(d))
}

// StatusOf returns what the outcome of [Snapshot.Verify] is to those who look at a device. As in CoreCrypto a certificate is Expired after its time,
// Revoked if a list says so or nothing leads to a trust anchor, and Valid otherwise, even with an odd error; [Policy.StrictStatus] makes that
// Revoked too. Such a certificate makes its conversation NotVerified in any case.
func (p Policy) StatusOf(outcome error) DeviceStatus {
	switch {
	case outcome == nil:
		return Valid
	case errors.Is(outcome, ErrExpired):
		return Expired
	case p.StrictStatus, errors.Is(outcome, ErrRevoked), errors.Is(outcome, ErrNoPath):
		return Revoked
	}
	return Valid
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

// ConversationState is how a conversation stands, with Wire's numbers.
type ConversationState uint8

// The states of a conversation.
const (
	// Verified: every member has a valid X.509 credential.
	Verified ConversationState = 1
	// NotVerified: some have none, or not a valid one.
	NotVerified ConversationState = 2
	// NotEnabled: no member has one, or there is no trust anchor.
	NotEnabled ConversationState = 3
)

// String returns the name of the constant.
func (c ConversationState) String() string {
	switch c {
	case Verified:
		return "Verified"
	case NotVerified:
		return "NotVerified"
	case NotEnabled:
		return "NotEnabled"
	}
	return "ConversationState " + strconv.Itoa(int(c))
}

// ConversationState computes the state of a conversation from the credentials of all its members: their chains, leaf first, and nil for one that is
// not X.509. At the very ends of its validity a certificate does not count.
func (s *Snapshot) ConversationState(members iter.Seq[[][]byte], now time.Time) ConversationState {
	if !s.HasTrustAnchor() {
		return NotEnabled
	}
	state, enabled, at := Verified, false, now.Unix()
	for chain := range members {
		v := s.Examine(chain, now)
		if len(chain) > 0 && !errors.Is(v.Err, ErrMalformed) {
			enabled = true
		}
		if v.Err != nil || at <= v.Identity.NotBefore || at >= v.Identity.NotAfter {
			state = NotVerified
		}
		if enabled && state == NotVerified {
			return NotVerified
		}
	}
	if !enabled {
		return NotEnabled
	}
	return state
}
