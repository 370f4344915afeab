package proteus

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Types with key material in arrays answer fmt for themselves.

func (key) Format(f fmt.State, _ rune)          { secret.Print(f, "proteus.key") }
func (keyPair) Format(f fmt.State, _ rune)      { secret.Print(f, "proteus.keyPair") }
func (chainKey) Format(f fmt.State, _ rune)     { secret.Print(f, "proteus.chainKey") }
func (messageKeys) Format(f fmt.State, _ rune)  { secret.Print(f, "proteus.messageKeys") }
func (sendChain) Format(f fmt.State, _ rune)    { secret.Print(f, "proteus.sendChain") }
func (receiveChain) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.receiveChain") }
func (state) Format(f fmt.State, _ rune)        { secret.Print(f, "proteus.state") }
func (taggedState) Format(f fmt.State, _ rune)  { secret.Print(f, "proteus.taggedState") }
func (Identity) Format(f fmt.State, _ rune)     { secret.Print(f, "proteus.Identity") }
func (PreKey) Format(f fmt.State, _ rune)       { secret.Print(f, "proteus.PreKey") }
func (Session) Format(f fmt.State, _ rune)      { secret.Print(f, "proteus.Session") }
func (Decrypted) Format(f fmt.State, _ rune)    { secret.Print(f, "proteus.Decrypted") }
func (reader) Format(f fmt.State, _ rune)       { secret.Print(f, "proteus.reader") }
func (Message) Format(f fmt.State, _ rune)      { secret.Print(f, "proteus.Message") }
