// Package conclave runs the group conversations of Messaging Layer Security (MLS, RFC 9420) for many clients in one process.
//
// The engine is being built from the bottom up; this package is its door and opens when the layers below stand. README.md says what works today.
package conclave
