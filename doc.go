// Package conclave runs the group conversations of Messaging Layer Security (MLS, RFC 9420) for many clients in one process.
//
// An [Engine] has one directory on disk and many clients. A [Client] is one device of one user, with credentials, key packages and conversations. A
// conversation is used in one of two ways: by one call, such as [Client.EncryptMessage], or inside a transaction ([Client.Transaction], [Client.Begin])
// that makes several calls in several conversations durable at once. Calls on different conversations run in parallel; calls on one conversation take turns.
//
// Nothing leaves the engine before the state that produced it is on disk. Commits travel through the [Transport] that the application implements, and
// a commit whose fate is unknown stays in doubt, across restarts, until the delivery service has said what became of it.
//
// Errors are of type [*Error] with a [Code]; errors.Is finds a code, [IsIgnorable] the codes that mean there is nothing to do.
package conclave
