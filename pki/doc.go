// Package pki decides whether a certificate of Wire's end-to-end identity is to be believed, and reads the identity in it.
//
// A [Snapshot] holds trust anchors, intermediate certificates and revocation lists. It is an immutable value: operations that change it
// return another, so that any number of readers verify against one without a lock while the next is made. Verifying is a function of a
// chain, a snapshot and a time; the package reads no clock, dials nobody and starts no goroutine.
//
// # What is checked
//
// Everything in a path but time and revocation never changes: signatures, authorities, path length, usages, name constraints and the Wire
// profile of the leaf. That half is judged first and may be remembered (see [Memory]); it has to hold even of an expired or revoked
// certificate, because members with one stay in their groups and only lose their standing. Then the periods of validity are held against the
// time, and the serial numbers against the revocation lists.
//
// The standard library parses certificates and lists and has the last word on each path (crypto/x509). This package adds what it lacks:
// building paths with an error that says what was wrong, key usages, URI constraints as RFC 5280 section 4.2.1.10 means them, revocation lists,
// and the names of the Wire profile.
//
// # Where revocation fails open
//
// A certificate without a list, or whose list is past its nextUpdate, counts as good unless [Policy.RequireCRL] is set. But what an authentic list
// says is revoked stays so, however old the list is. SECURITY.md gives the reasons.
package pki
