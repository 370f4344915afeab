package proteus

import "fmt"

// Error is what went wrong, with the number that Wire's clients know it by. The
// errors of this package wrap one of the Err… values below, which errors.Is finds;
// none carries a secret.
type Error struct {
	code uint16
	text string
}

// Code returns the number that CoreCrypto gives the error.
func (e *Error) Code() uint16 { return e.code }

// Error returns the text.
func (e *Error) Error() string { return "proteus: " + e.text }

// The errors of the package.
var (
	// ErrDecode is malformed input, or input that misses a field.
	ErrDecode = &Error{3, "malformed encoding"}
	// ErrTruncated is input that ends where a value should begin.
	ErrTruncated = &Error{501, "encoding ends too early"}
	// ErrLength is a tag or a key that is too short, or a tag that is too long.
	ErrLength = &Error{303, "key or tag of a wrong length"}
	// ErrKey is a public key that no honest device makes, or a secret key that does
	// not belong to the public key stored with it.
	ErrKey = &Error{502, "unacceptable key"}
	// ErrPreKeyNotFound says that the prekey of a first message is not there: it is
	// used up, or was never this device's.
	ErrPreKeyNotFound = &Error{101, "prekey not found"}
	// ErrNoState says that a session has no state to encrypt in.
	ErrNoState = &Error{102, "session has no state under its tag"}
	// ErrMessageType is a message of a type other than the two that exist.
	ErrMessageType = &Error{200, "unknown type of message"}
	// ErrInvalidMessage is a message that belongs to no state of the session, or one
	// that should begin a session and cannot.
	ErrInvalidMessage = &Error{202, "message belongs to no state of the session"}
	// ErrRemoteIdentityChanged is a first message of another device than the
	// session's: somebody reinstalled, or somebody is in between.
	ErrRemoteIdentityChanged = &Error{204, "remote identity changed"}
	// ErrOutdatedMessage is a message so old that its key is gone.
	ErrOutdatedMessage = &Error{208, "outdated message"}
	// ErrDuplicateMessage is a message whose key has been used.
	ErrDuplicateMessage = &Error{209, "duplicate message"}
	// ErrTooDistantFuture is a message more than MaxGap ahead of the last one.
	ErrTooDistantFuture = &Error{212, "message too far ahead"}
	// ErrLocalIdentityChanged is a stored session of another local identity.
	ErrLocalIdentityChanged = &Error{300, "session of another local identity"}
	// ErrInvalidSignature is a message or a bundle that does not authenticate.
	ErrInvalidSignature = &Error{406, "message does not authenticate"}
	// ErrExhausted is a chain that has sent all the messages it can.
	ErrExhausted = &Error{505, "chain is used up"}
	// ErrTooLong is a plaintext that would make a message nobody reads.
	ErrTooLong = &Error{4, "plaintext is too long"}
)

// within says where an error arose.
func within(what string, err error) error { return fmt.Errorf("%w: %s", err, what) }
