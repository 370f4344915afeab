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
func (reader) Format(f fmt.State, _ rune)       { secret.Print(f, "proteus.reader") }

// Format writes that it is an Identity.
func (Identity) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.Identity") }

// Format writes that it is a PreKey.
func (PreKey) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.PreKey") }

// Format writes that it is a Session.
func (Session) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.Session") }

// Format writes that it is a Decrypted.
func (Decrypted) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.Decrypted") }

// Format writes that it is a Message.
func (Message) Format(f fmt.State, _ rune) { secret.Print(f, "proteus.Message") }
