package conclave

import "github.com/conclave-mls/conclave/messages"

// Observer is told of events of a client after they are durable, in order within each conversation, one at a time. A callback may call the engine but
// should return soon: it holds up later events, though never an operation.
type Observer = messages.Observer

// EpochChanged is the event of a conversation that has entered an epoch.
type EpochChanged = messages.EpochChanged

// CommitSettled is the event of a commit that is no longer in doubt.
type CommitSettled = messages.CommitSettled
