package messages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// TestPrintsNoSecret prints every message that holds plaintext or keys under the
// verbs a log may use.
func TestPrintsNoSecret(t *testing.T) {
	const word = "hush-hush"
	s := func() secret.Bytes { return secret.Bytes(word) }
	for _, m := range []any{
		EncryptMessage{Plaintext: s()},
		MessageDecrypted{Plaintext: s(), Released: []Released{{Message: MessageDecrypted{Plaintext: s()}}}},
		MessagesDecrypted{Messages: []DecryptResult{{Message: MessageDecrypted{Plaintext: s()}}}},
		SetData{Data: s()}, DataRead{Data: s()},
		PutPSK{ID: []byte("id"), PSK: s()},
		AddCredential{SignaturePrivate: s()},
		ImportKeyPackage{InitPrivate: s(), LeafPrivate: s(), SignaturePrivate: s()},
		SecretExported{Secret: s()},
		ConversationRead{EpochAuthenticator: s()},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			got := fmt.Sprintf(verb, m)
			if strings.Contains(got, word) || strings.Contains(got, fmt.Sprintf("%x", word)) || strings.Contains(got, "104 117 115") {
				t.Errorf("%T printed with %s shows its secret: %s", m, verb, got)
			}
		}
	}
}

func TestTransactionOfContext(t *testing.T) {
	ctx := context.Background()
	if got := TransactionFrom(ctx); got != 0 {
		t.Errorf("a bare context carries transaction %d", got)
	}
	if got := TransactionFrom(WithTransaction(ctx, 7)); got != 7 {
		t.Errorf("got transaction %d, want 7", got)
	}
	if !SendID(1).OfSend() || TransactionID(1).OfSend() {
		t.Error("a send's id is not told from a transaction's")
	}
}

func TestIgnorable(t *testing.T) {
	for _, err := range []error{ErrDuplicateMessage, ErrSelfCommitIgnored, ErrStaleProposal, ErrStaleCommit, ErrMessageEpochTooOld} {
		if !Ignorable(fmt.Errorf("%w: detail", err)) {
			t.Errorf("%v is not ignorable", err)
		}
	}
	for _, err := range []error{nil, ErrWrongEpoch, ErrOrphanWelcome, ErrInvalidMessage, &MessageRejected{}} {
		if Ignorable(err) {
			t.Errorf("%v is ignorable", err)
		}
	}
}

func TestTransactionFailedNamesCause(t *testing.T) {
	err := error(&TransactionFailed{Err: ErrConflict})
	if !errors.Is(err, ErrConflict) || !errors.Is(err, ErrTransactionFailed) {
		t.Errorf("%v does not unwrap to its cause and kind", err)
	}
}
