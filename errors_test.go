package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/messages"
)

func conclaveIs(err error, code conclave.Code) bool { return errors.Is(err, code) }

func TestErrorCodes(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	_, err := w.devices["alice"].EncryptMessage(ctx, "a conversation id that is long", []byte("secret words"))
	var e *conclave.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %T, want *conclave.Error", err)
	}
	if e.Code != conclave.CodeConversationNotFound || e.Op != "EncryptMessage" || e.Conversation != "a conversation id that is long" {
		t.Errorf("error %+v", e)
	}
	if !errors.Is(err, messages.ErrConversationNotFound) {
		t.Error("the cause is not found through the error")
	}
	if s := err.Error(); strings.Contains(s, "secret") || strings.Contains(s, "that is long") {
		t.Errorf("error text %q tells too much", s)
	}

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = w.devices["alice"].GenerateKeyPackages(canceled, conclave.KeyPackageOptions{Count: 1})
	wantCode(t, err, conclave.CodeCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Error("a cancelled call does not answer context.Canceled")
	}
}

func TestIsIgnorable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{messages.ErrDuplicateMessage, true},
		{messages.ErrStaleCommit, true},
		{messages.ErrStaleProposal, true},
		{messages.ErrMessageEpochTooOld, true},
		{messages.ErrSelfCommitIgnored, true},
		{messages.ErrWrongEpoch, false},
		{messages.ErrOrphanWelcome, false},
		{messages.ErrInvalidMessage, false},
	} {
		err := &conclave.Error{Op: "DecryptMessage", Err: fmt.Errorf("wrapped: %w", c.err)}
		if got := conclave.IsIgnorable(err); got != c.want {
			t.Errorf("IsIgnorable(%v) = %t, want %t", err, got, c.want)
		}
	}
}
