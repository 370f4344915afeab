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
//
// # What an application does
//
// It opens an engine ([Open]) and in it each of its clients ([Engine.Client]) with a [Transport], publishes their key packages ([Client.ClientKeyPackages]), again
// when [Client.ValidKeyPackageCount] falls, and gives each client what the delivery service has for it, in that order: Welcomes to [Client.ProcessWelcome],
// everything else to [Client.DecryptMessage] or [Client.DecryptAll]. The examples of these functions are a small delivery service and its clients.
//
// What leaves goes where this says:
//
//   - the messages that EncryptMessage and the Propose methods return: from the caller to all other members;
//   - the Commit of a [CommitBundle]: to all other members once it is accepted, ahead of what is sent in the epoch it begins. One commit ends an epoch; it may
//     come back to its sender, too;
//   - its Welcome: to the clients whose key packages were added, who need nothing else;
//   - its GroupInfo: to the delivery service, which keeps the newest of each conversation for [Client.JoinByExternalCommit];
//   - its EncryptedMessage, which most have not: to all members, behind the commit.
//
// # Where the fields are
//
// Many types are names for types of the packages messages, mlsgroup and pki, and their fields are shown there: "go doc conclave.DecryptedMessage" says that it is
// messages.MessageDecrypted, and "go doc github.com/conclave-mls/conclave/messages.MessageDecrypted" what is in it.
package conclave
