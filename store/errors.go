package store

import "errors"

var (
	// ErrKeySize answers Open and RotateKey for a database key that is not
	// exactly KeySize bytes.
	ErrKeySize = errors.New("store: database key must be 32 bytes")
	// ErrWrongKey answers Open when the database key does not open the key
	// ring. Nothing on disk has changed.
	ErrWrongKey = errors.New("store: wrong database key")
	// ErrInUse answers Open when this or another process has the store open.
	ErrInUse = errors.New("store: in use by another engine")
	// ErrNewerFormat answers Open for a store that a newer version has written.
	ErrNewerFormat = errors.New("store: written by a newer version")
	// ErrCorrupt says that what is on disk is not what was written: a file or
	// value that does not parse, or a value that does not open under its key.
	ErrCorrupt = errors.New("store: corrupt")
	// ErrOptions answers Open for options that contradict each other.
	ErrOptions = errors.New("store: bad options")
	// ErrOutcomeUnknown answers an Apply or RotateKey that was under way when
	// the store failed: it is on disk wholly or not at all, and only the next
	// Open can tell. It wraps the cause, such as syscall.ENOSPC.
	ErrOutcomeUnknown = errors.New("store: outcome unknown")
	// ErrFailed answers every call after the store has failed. The call did
	// nothing. The store has to be closed and opened again. It wraps the cause.
	ErrFailed = errors.New("store: failed, open it again")
	// ErrClosed answers every call after Close. The call did nothing.
	ErrClosed = errors.New("store: closed")
	// ErrTooLarge answers a key, value, change set or request beyond MaxKey,
	// MaxValue, MaxApply or MaxKeys, and an empty key. Nothing was changed.
	ErrTooLarge = errors.New("store: size out of bounds")
)

const (
	// MaxKey is the length of the longest key, in bytes.
	MaxKey = 1024
	// MaxValue is the length of the longest value, in bytes.
	MaxValue = 64 << 20
	// MaxApply bounds the keys and values of one Apply, in bytes.
	MaxApply = 512 << 20
	// MaxKeys bounds the keys of one GetMany.
	MaxKeys = 1 << 20
	// MaxRange is the most records that one Range returns. A caller that got
	// as many as it could asks again from behind the last key.
	MaxRange = 1 << 16
)
