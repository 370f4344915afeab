// Package store keeps the engine's records in one Pebble directory: sealed
// values under opaque keys, changed by whole batches only. It is the one
// package that knows Pebble, and it knows nothing of MLS.
//
// # Files
//
// A store is a directory (mode 0700 on Unix, its files 0600):
//
//	STORE     format marker, store id and key ring; replaced by write, sync, rename
//	LOCK      held while the store is open
//	records/  Pebble's files
//
// STORE is read before anything else is touched. A newer format is refused with
// [ErrNewerFormat], a wrong key with [ErrWrongKey]; neither changes a byte.
//
// # Key space
//
// Integers are big endian. conv is a keyed hash of 16 bytes, see [Keys], so
// that the keys on disk tell no client or conversation id. A record suffix is
// the caller's; so is the value, with a format version of its own in it.
//
//	01 hash(client id)                            instance (8) and what the caller adds      [Keys.ClientIndex]
//	02 instance 01 suffix                         records of the client itself               [Client.Head]
//	02 instance 10 conv                           incarnation (8), conversation id           [Client.Pointer]
//	02 instance 11 conv incarnation suffix        records of one incarnation                 [Client.Conversation]
//	02 instance 20 suffix                         credentials                                [Client.Credential]
//	02 instance 21 len credential conv            use of a credential by a conversation      [Client.Use]
//	02 instance 22 suffix                         key packages                               [Client.KeyPackage]
//	02 instance 23 suffix                         the application's data                     [Client.Data]
//	02 instance 24 suffix                         external pre-shared keys                   [Client.PSK]
//	02 instance 30 / 31 / 32 suffix               reserved: PKI, Proteus, enrollment         [Client.PKI] [Client.Proteus] [Client.Enrollment]
//	03 id                                         key pairs that no client has yet           [Keypair]
//
// All of a client lies under 02 instance, all of an incarnation under one
// prefix: a wipe is one DeleteRange. [PrefixEnd] gives the end of a prefix.
// Format 1 of the store is this map, the sealed value of seal.go and the STORE
// file of keyring.go.
//
// # Sealing
//
// Every value is sealed with AES-256-GCM under HKDF(data key, start id), the
// start id being drawn at random by each Open, with a counter as nonce; the
// associated data is the store id and the key, so a value moved to another key
// or store does not open. Data keys are random and lie in the ring that the
// database key wraps; [Store.RotateKey] rewraps the ring at once, begins a new
// data key, and values move to it as they are rewritten. Values are padded to
// 16 bytes. Keys and the number of records are visible to who has the disk.
//
// # Batches
//
// Calls of Apply that come at one moment are written as one batch (share.go), which
// is synced once for all of them and is there as a whole or not at all. Nobody waits
// for others to come.
//
// # Failure
//
// The first write, sync or create that the disk refuses ends the store
// ([ErrFailed]): from then on nothing reaches the disk, and it is as if the
// machine had crashed at that moment. Applies under way answer
// [ErrOutcomeUnknown] once each; what is true is on disk, and the next Open
// finds the state before or after each of them. disk.go says how Pebble, which
// panics or spins on such errors, is kept from seeing them.
package store
