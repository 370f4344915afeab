package conclave

import (
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// What holds secrets prints without them under every verb: fmt asks no method of an unexported field. Clients print with a shortened id, as they may in a log.

// Format writes that it is an Engine.
func (Engine) Format(f fmt.State, _ rune) { secret.Print(f, "conclave.Engine") }

// Format writes the client's id, shortened.
func (c Client) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "conclave client %s", c.id.Short())
}

// Format writes the conversation's id, shortened.
func (c Conversation) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "conclave conversation %s", c.id.Short())
}

// Format writes what String returns.
func (t Tx) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// Format writes the fields, [secret] for those that are.
func (o Options) Format(f fmt.State, _ rune) {
	type fields Options
	_, _ = fmt.Fprintf(f, "%+v", fields(o))
}

// Format writes the fields, [secret] for those that are.
func (v Decrypted) Format(f fmt.State, _ rune) {
	type fields Decrypted
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

func (*decryptAll) Format(f fmt.State, _ rune)      { secret.Print(f, "conclave.decryptAll") }
func (decryptedOrError) Format(f fmt.State, _ rune) { secret.Print(f, "conclave.decryptedOrError") }
func (lane) Format(f fmt.State, _ rune)             { secret.Print(f, "conclave.lane") }
func (results) Format(f fmt.State, _ rune)          { secret.Print(f, "conclave.results") }
func (waiting) Format(f fmt.State, _ rune)          { secret.Print(f, "conclave.waiting") }
func (scope) Format(f fmt.State, _ rune)            { secret.Print(f, "conclave.scope") }

// Format writes that it is a Proteus.
func (Proteus) Format(f fmt.State, _ rune) { secret.Print(f, "conclave.Proteus") }

// Format writes that it is an Enrollment.
func (Enrollment) Format(f fmt.State, _ rune) { secret.Print(f, "conclave.Enrollment") }

func (enroller) Format(f fmt.State, _ rune) { secret.Print(f, "conclave.enroller") }
