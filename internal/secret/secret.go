// Package secret gives key material a type of its own.
//
// A [Bytes] prints as [secret] under every verb, marshals to nothing, compares
// in constant time and is wiped by its owner when its life ends. It is a plain
// slice underneath, so a conversion to []byte hands the bytes to a primitive
// without a copy; such a conversion never changes who has to wipe them.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Bytes is key material. The zero value is an absent secret.
type Bytes []byte

const redacted = "[secret]"

// Format writes "[secret]" whatever the verb, so that no print can leak.
func (b Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns "[secret]".
func (b Bytes) String() string { return redacted }

// GoString returns "[secret]".
func (b Bytes) GoString() string { return redacted }

// LogValue returns "[secret]" to log/slog.
func (b Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]" to encoders of text, JSON among them.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Equal tells whether both hold the same bytes, in time that depends on their
// lengths only.
func (b Bytes) Equal(other Bytes) bool { return subtle.ConstantTimeCompare(b, other) == 1 }

// Clone returns a copy with its own memory, which the caller has to wipe.
func (b Bytes) Clone() Bytes {
	if b == nil {
		return nil
	}
	return append(make(Bytes, 0, len(b)), b...)
}

// Wipe overwrites the bytes with zeros. Other slices of the same memory see it.
func (b Bytes) Wipe() { clear(b) }

// Print writes name and "[secret]" in the place of a value that holds secrets. fmt
// asks no method of an unexported field, so a type that has such fields answers for
// them: its Format calls Print.
func Print(f fmt.State, name string) { _, _ = io.WriteString(f, name+redacted) }
