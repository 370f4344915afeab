// Package mlsgroup is RFC 9420, complete and pure: it computes the next state of a group and has no I/O, clock, goroutine, lock or log.
//
// Everything that is not in the message or the group comes in as an argument; a step leaves its receiver alone and gives back what changed, record by record.
package mlsgroup
