package store

import (
	"fmt"
	"io"
)

// What holds secrets prints without them under every verb. fmt asks no method of
// an unexported field, so the types that have such fields answer for them.

// Format writes that there are keys.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "store.Keys[secret]") }

// Format writes the directory.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "store.Store(%s)", s.dir) }

// Format writes the key and how long the value is.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%x=[%d bytes]", r.Key, len(r.Value))
}

// Format writes what op does and how long its value is.
func (op Op) Format(f fmt.State, _ rune) {
	switch op.Kind {
	case OpPut:
		_, _ = fmt.Fprintf(f, "put %x=[%d bytes]", op.Key, len(op.Value))
	case OpDelete:
		_, _ = fmt.Fprintf(f, "delete %x", op.Key)
	case OpDeleteRange:
		_, _ = fmt.Fprintf(f, "delete %x to %x", op.Key, op.High)
	default:
		_, _ = fmt.Fprintf(f, "op %d", uint8(op.Kind))
	}
}

// Format writes how much c holds.
func (c *ChangeSet) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%d changes of %d bytes", c.Len(), c.Size())
}
