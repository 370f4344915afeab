package messages

// Begin opens a transaction of the client. It answers [TransactionBegun], and
// ErrTransactionOpen where its address carries a transaction already.
type Begin struct{}

// TransactionBegun answers [Begin]. Steps of the transaction carry the id in their
// address until Finish or Abort.
type TransactionBegun struct{ Transaction TransactionID }

// Touch takes the guards of conversations, existing or not, in one fixed order, so
// that transactions which touch first do not meet in a deadlock. It answers [Touched].
type Touch struct{ Conversations []ConversationID }

// Touched answers [Touch].
type Touched struct{}

// Finish makes everything the transaction has staged durable, at once and together.
// It answers [Finished], or an error after which nothing was applied save what Final
// of [TransactionFailed] names.
type Finish struct{}

// Finished answers [Finish].
type Finished struct{ Final []FinalConversation }

// Abort drops everything the transaction has staged. It answers [Aborted], or
// [TransactionFailed] where the store has failed.
type Abort struct{}

// Aborted answers [Abort]. Final names what stands in spite of it.
type Aborted struct{ Final []FinalConversation }

// FinalConversation names a conversation whose commit has left during a transaction
// and what that made final, whatever became of the transaction.
type FinalConversation struct {
	Conversation ConversationID
	// Epoch that the commit ends.
	Epoch uint64
	// Merged: the commit was accepted; everything up to it stands. Otherwise it is
	// in doubt, and what the transaction did just before it stands.
	Merged bool
	Hash   [32]byte
}
