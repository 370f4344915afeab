package messages

import (
	"context"
	"encoding/hex"
	"strconv"
)

// Instance names a client within one store: a random number, never 0, that its
// records are keyed by. The client id is an index to it.
type Instance uint64

// String returns the instance in hexadecimal.
func (i Instance) String() string { return strconv.FormatUint(uint64(i), 16) }

// ClientID is the identity a client carries in its credentials, as bytes. Member
// lookups compare it byte by byte.
type ClientID string

// Short returns at most eight bytes in hexadecimal, for logs.
func (id ClientID) Short() string { return short(string(id)) }

// ConversationID is the group id of a conversation, as bytes.
type ConversationID string

// Short returns at most eight bytes in hexadecimal, for logs.
func (id ConversationID) Short() string { return short(string(id)) }

func short(id string) string {
	if len(id) > 8 {
		return hex.EncodeToString([]byte(id[:8])) + "…"
	}
	return hex.EncodeToString([]byte(id))
}

// TransactionID names an open transaction of one engine run. It is 0 for a call
// outside any transaction.
type TransactionID uint64

// sendFlag marks the id of a single call's own send, see [TransactionID.OfSend].
const sendFlag TransactionID = 1 << 63

// OfSend tells whether the id stands for one call that is waiting for the delivery
// service, and not for a transaction that Begin opened. Such an id reaches the
// transport's callback by its context. The conversation that sends answers Sending
// to it; for any other address it means the same as 0.
func (id TransactionID) OfSend() bool { return id&sendFlag != 0 }

// SendID returns the id of the nth send of an engine run.
func SendID(n uint64) TransactionID { return TransactionID(n) | sendFlag }

// Address says where a request goes; see the package comment.
type Address struct {
	Instance     Instance
	Conversation ConversationID
	Transaction  TransactionID
}

type transactionKey struct{}

// WithTransaction returns a context that carries a transaction. The context of a
// transport's callback carries the transaction that sends, so that calls made
// with it are steps of it.
func WithTransaction(ctx context.Context, id TransactionID) context.Context {
	return context.WithValue(ctx, transactionKey{}, id)
}

// TransactionFrom returns the transaction a context carries, 0 where there is none.
func TransactionFrom(ctx context.Context) TransactionID {
	id, _ := ctx.Value(transactionKey{}).(TransactionID)
	return id
}

// Request is one of the requests of this package.
type Request interface {
	// Size returns the bytes the request holds, for admission: an engine and a
	// conversation hold only so many bytes of requests that wait.
	Size() int
	request()
}

// Reply is one of the replies of this package.
type Reply interface{ reply() }
