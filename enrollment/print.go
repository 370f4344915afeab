package enrollment

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Format prints that there is an enrollment.
func (Enrollment) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.Enrollment") }

// Format prints the name of the type: what is secret stands in unexported fields.
func (state) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.state") }

// Format prints the name of the type.
func (keyPair) Format(f fmt.State, _ rune) { secret.Print(f, "enrollment.keyPair") }

// Format prints step, method and URL. The body may hold a token that opens doors.
func (r Request) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v: %s %s", r.Step, r.Method, r.URL)
}
