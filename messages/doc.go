// Package messages is the vocabulary of the engine: what the facade asks of the
// actors, what they answer, and what the delivery service is told.
//
// It holds values only. Requests are imperatives (EncryptMessage), replies are
// participles (MessageEncrypted), and each request names its reply in its
// comment. Nothing in a message is changed after it was sent: a sender gives its
// byte slices away, a receiver may keep them, and whoever wants to change one
// copies it first. Key material and plaintext are secret.Bytes, so that no print,
// log or dead letter shows them.
//
// A request travels with an [Address]. Where the address leads:
//
//	Instance 0                    the directory of clients: InitClient, ListClients,
//	                              GenerateKeypairs
//	Instance, no conversation     the client: credentials, key packages, PSKs, the
//	                              data blob; Welcomes and external joins too, whose
//	                              conversation is found on the way; Begin
//	Instance and Conversation     the conversation
//	Transaction set               the same, as a step of that transaction; Touch,
//	                              Finish and Abort go to the transaction itself
//
// Each request is answered exactly once, by its reply or by an error of errors.go.
package messages
