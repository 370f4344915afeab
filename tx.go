package conclave

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/messages"
)

// Tx is a transaction: its calls see each other's effects and become durable together, when it is finished. It takes the guard of each conversation,
// credential and key package at first touch and keeps it; other callers of these wait until it ends. Of those conversations whose commit has left
// during the transaction, what [FinalConversation] says stands whatever becomes of the rest.
//
// A Tx must be finished or aborted. It may be shared among goroutines, as its copies are the same transaction.
type Tx struct {
	scope
	client *Client
}

// FinalConversation names a conversation whose commit has left during a transaction, and what that made final.
type FinalConversation = messages.FinalConversation

// Begin opens a transaction. Prefer [Client.Transaction], which never forgets to end it.
func (c *Client) Begin(ctx context.Context) (*Tx, error) {
	r, err := ask[messages.TransactionBegun](ctx, c.scope, "Begin", "", messages.Begin{})
	if err != nil {
		return nil, err
	}
	s := c.scope
	s.transaction = r.Transaction
	return &Tx{scope: s, client: c}, nil
}

// maxAttempts is how often Transaction calls its function: once, and three times more after a conflict.
const maxAttempts = 4

// Transaction runs f in a transaction and finishes it; if f returns an error or panics it aborts it, and the error is returned.
//
// f may run up to four times: when it is chosen to give way in a deadlock ([CodeConflict]) and nothing of it has left, it is run again from the
// beginning. What f does outside the transaction must bear that. f must use tx, and not the client, for conversations the transaction has touched:
// a single call on them waits for the transaction to end, and so for ever where f waits for it.
//
// If it fails after commits have left, the error's cause is a [*TransactionFailed] that names what they made final.
func (c *Client) Transaction(ctx context.Context, f func(tx *Tx) error) error {
	for attempt := 1; ; attempt++ {
		final, err := c.attempt(ctx, f)
		if err == nil {
			return nil
		}
		if attempt < maxAttempts && len(final) == 0 && errors.Is(err, CodeConflict) && ctx.Err() == nil {
			continue
		}
		if failed, ok := errors.AsType[*TransactionFailed](err); len(final) > 0 && !(ok && len(failed.Final) > 0) {
			return wrap("Transaction", "", &TransactionFailed{Final: final, Err: err})
		}
		return err
	}
}

func (c *Client) attempt(ctx context.Context, f func(tx *Tx) error) (final []FinalConversation, err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return nil, err
	}
	ended := false
	defer func() {
		if !ended { // f has panicked
			_, _ = tx.Abort(ctx)
		}
	}()
	if err = f(tx); err == nil {
		final, err = tx.Finish(ctx)
		ended = true
		if failed, ok := errors.AsType[*TransactionFailed](err); ok {
			final = failed.Final
		}
		return final, err
	}
	ended = true
	final, aborted := tx.Abort(ctx)
	if aborted != nil && !errors.Is(aborted, CodeInvalidTransaction) {
		err = errors.Join(err, aborted)
	}
	return final, err
}

// Finish makes everything the transaction did durable, at once and together, and ends it. It names the conversations whose commit is final or in
// doubt. After an error nothing was applied, save what a [*TransactionFailed] among its causes names; after [CodeOutcomeUnknown] it was applied
// wholly or not at all.
func (t *Tx) Finish(ctx context.Context) ([]FinalConversation, error) {
	r, err := ask[messages.Finished](ctx, t.scope, "Finish", "", messages.Finish{})
	return r.Final, err
}

// Abort drops everything the transaction did and ends it. It names what stands all the same; after an error a [*TransactionFailed] among its causes does.
// A context that has ended does not hinder it.
func (t *Tx) Abort(ctx context.Context) ([]FinalConversation, error) {
	r, err := ask[messages.Aborted](context.WithoutCancel(ctx), t.scope, "Abort", "", messages.Abort{})
	return r.Final, err
}

// Touch takes the guards of conversations, existing or not, in one fixed order. Transactions that touch all they need before they use it do not meet in a deadlock.
func (t *Tx) Touch(ctx context.Context, ids ...ConversationID) error {
	_, err := ask[messages.Touched](ctx, t.scope, "Touch", "", messages.Touch{Conversations: slices.Clone(ids)})
	return err
}

// Conversation takes the guard of a conversation and returns it. [CodeConversationNotFound] where there is no group of that id, nor a join under way.
func (t *Tx) Conversation(ctx context.Context, id ConversationID) (*Conversation, error) {
	if err := t.Touch(ctx, id); err != nil {
		return nil, err
	}
	c := &Conversation{scope: t.scope, id: id}
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	if !state.Exists && len(state.InDoubt) == 0 {
		return nil, wrap("Conversation", id, messages.ErrConversationNotFound)
	}
	return c, nil
}

// Client returns the client whose transaction it is.
func (t *Tx) Client() *Client { return t.client }

// String names the transaction, for logs.
func (t *Tx) String() string { return fmt.Sprintf("conclave transaction %d", t.transaction) }
