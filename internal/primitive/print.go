package primitive

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Keys in arrays and in the types of libraries print as nothing but what they are.

func (hpkeContext) Format(f fmt.State, _ rune) { secret.Print(f, "primitive.hpkeContext") }
func (nistKey) Format(f fmt.State, _ rune)     { secret.Print(f, "primitive.nistKey") }
func (x25519Key) Format(f fmt.State, _ rune)   { secret.Print(f, "primitive.x25519Key") }
func (x448Key) Format(f fmt.State, _ rune)     { secret.Print(f, "primitive.x448Key") }
