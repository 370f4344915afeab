// Package proteus is the Proteus protocol, the double ratchet between two devices
// that Wire used before MLS and that old conversations still speak. It writes the
// same bytes as Wire's clients: identities, prekeys, bundles, messages and stored
// sessions of one are read by the other.
//
// The package is pure, like mlsgroup: no I/O, clock, goroutine, lock or global.
// Randomness is an argument. A [Session] is never changed: [Session.Encrypt] and
// [Session.Decrypt] return the next one, which the caller stores before it lets the
// envelope or the plaintext go, and then wipes the old one. Every session owns its
// memory, so wiping one touches no other.
//
// What is read and not defined is tolerated as Wire's clients do it: other versions,
// unknown fields, fields in another order, bytes after the end. What is written is
// canonical CBOR (RFC 8949, section 4.2.1), because one implementation authenticates
// its own encoding of what it has read.
package proteus
