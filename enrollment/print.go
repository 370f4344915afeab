package enrollment

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// The values that are secret, or hold what is, say so in their stead.

// Format hides the signature key.
func (Config) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.Config") }

// Format hides both key pairs and the tokens.
func (Enrollment) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.Enrollment") }

// Format hides the signature key.
func (Issued) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.Issued") }

func (joseSigner) Format(f fmt.State, _ rune)  { secret.Print(f, "enrollment.joseSigner") }
func (keyPair) Format(f fmt.State, _ rune)     { secret.Print(f, "enrollment.keyPair") }
func (stashReader) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.stashReader") }
func (stashWriter) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.stashWriter") }
func (state) Format(f fmt.State, _ rune)       { secret.Print(f, "enrollment.state") }

// Format writes what the request is for and where it goes, and hides the body.
func (r Request) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v: %s %s %v", r.Step, r.Method, r.URL, r.Body)
}
