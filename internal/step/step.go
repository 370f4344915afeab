// Package step bounds how many messages the engine takes together, where a test wants another bound than the engine's own.
package step

import "context"

// Bound is the most messages that are taken together at any place: single calls in one batch of a conversation or session, application messages that are opened
// at once, messages that a stream hands over. 0 leaves each place its own bound.
type Bound int

// The ends of what a Bound can be.
const (
	One Bound = 1
	All Bound = 1 << 30
)

// Or returns the bound, or a place's own where there is none.
func (b Bound) Or(own int) int {
	if b > 0 {
		return int(b)
	}
	return own
}

type key struct{}

// With returns a context that brings a bound to the engine that is opened with it. An option would be the application's to set, and it has no use for it.
func With(ctx context.Context, b Bound) context.Context { return context.WithValue(ctx, key{}, b) }

// From returns the bound of a context.
func From(ctx context.Context) Bound {
	b, _ := ctx.Value(key{}).(Bound)
	return b
}
