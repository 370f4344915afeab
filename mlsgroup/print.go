package mlsgroup

import (
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// What holds secrets prints without them under every verb. fmt asks no method of
// an unexported field, nor of what it finds behind a pointer that its verb does not
// fit, so every type that has either answers for all it holds.

// Format writes that it is a Group.
func (Group) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.Group") }

// Format writes that it is a CommitOptions.
func (CommitOptions) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.CommitOptions") }

// Format writes that it is an Input.
func (Input) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.Input") }

// Format writes that it is a KeyPackageBundle.
func (KeyPackageBundle) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.KeyPackageBundle") }

// Format writes that it is a LeafChange.
func (LeafChange) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.LeafChange") }

// Format writes that it is a MessageKey.
func (MessageKey) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.MessageKey") }

// Format writes that it is a PublicMessage.
func (PublicMessage) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.PublicMessage") }

// Format writes that it is a Signer.
func (Signer) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.Signer") }

// Format writes that it is a Successor.
func (Successor) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.Successor") }

// Format writes that it is an UnverifiedMessage.
func (UnverifiedMessage) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.UnverifiedMessage") }

// Format writes that it is a Transition.
func (Transition) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.Transition") }

// Format writes which commit it is.
func (c OwnCommit) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// Format writes the fields, [secret] for those that are.
func (ac AuthenticatedContent) Format(f fmt.State, _ rune) {
	type fields AuthenticatedContent
	_, _ = fmt.Fprintf(f, "%+v", fields(ac))
}

// Format writes the fields, [secret] for those that are.
func (v Change) Format(f fmt.State, _ rune) {
	type fields Change
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (c FramedContent) Format(f fmt.State, _ rune) {
	type fields FramedContent
	_, _ = fmt.Fprintf(f, "%+v", fields(c))
}

// Format writes the fields, [secret] for those that are.
func (gs GroupSecrets) Format(f fmt.State, _ rune) {
	type fields GroupSecrets
	_, _ = fmt.Fprintf(f, "%+v", fields(gs))
}

// Format writes the fields, [secret] for those that are.
func (v Loaded) Format(f fmt.State, _ rune) {
	type fields Loaded
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v Received) Format(f fmt.State, _ rune) {
	type fields Received
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v Record) Format(f fmt.State, _ rune) {
	type fields Record
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Those that only this package has.

func (appliedProposals) Format(f fmt.State, _ rune) { secret.Print(f, "mlsgroup.appliedProposals") }
func (builtCommit) Format(f fmt.State, _ rune)      { secret.Print(f, "mlsgroup.builtCommit") }
func (commitBuild) Format(f fmt.State, _ rune)      { secret.Print(f, "mlsgroup.commitBuild") }
func (cover) Format(f fmt.State, _ rune)            { secret.Print(f, "mlsgroup.cover") }
func (createdPath) Format(f fmt.State, _ rune)      { secret.Print(f, "mlsgroup.createdPath") }
func (derivedKey) Format(f fmt.State, _ rune)       { secret.Print(f, "mlsgroup.derivedKey") }
func (epochSecrets) Format(f fmt.State, _ rune)     { secret.Print(f, "mlsgroup.epochSecrets") }
func (epochView) Format(f fmt.State, _ rune)        { secret.Print(f, "mlsgroup.epochView") }
func (groupLink) Format(f fmt.State, _ rune)        { secret.Print(f, "mlsgroup.groupLink") }
func (head) Format(f fmt.State, _ rune)             { secret.Print(f, "mlsgroup.head") }
func (joiner) Format(f fmt.State, _ rune)           { secret.Print(f, "mlsgroup.joiner") }
func (listedProposal) Format(f fmt.State, _ rune)   { secret.Print(f, "mlsgroup.listedProposal") }
func (listedUpdate) Format(f fmt.State, _ rune)     { secret.Print(f, "mlsgroup.listedUpdate") }
func (messageKey) Format(f fmt.State, _ rune)       { secret.Print(f, "mlsgroup.messageKey") }
func (nodeKey) Format(f fmt.State, _ rune)          { secret.Print(f, "mlsgroup.nodeKey") }
func (pastEpoch) Format(f fmt.State, _ rune)        { secret.Print(f, "mlsgroup.pastEpoch") }
func (pathKeys) Format(f fmt.State, _ rune)         { secret.Print(f, "mlsgroup.pathKeys") }
func (pathSecret) Format(f fmt.State, _ rune)       { secret.Print(f, "mlsgroup.pathSecret") }
func (pendingProposal) Format(f fmt.State, _ rune)  { secret.Print(f, "mlsgroup.pendingProposal") }
func (preSharedKey) Format(f fmt.State, _ rune)     { secret.Print(f, "mlsgroup.preSharedKey") }
func (proposalCache) Format(f fmt.State, _ rune)    { secret.Print(f, "mlsgroup.proposalCache") }
func (proposalList) Format(f fmt.State, _ rune)     { secret.Print(f, "mlsgroup.proposalList") }
func (ratchet) Format(f fmt.State, _ rune)          { secret.Print(f, "mlsgroup.ratchet") }
func (ratchetStep) Format(f fmt.State, _ rune)      { secret.Print(f, "mlsgroup.ratchetStep") }
func (reader) Format(f fmt.State, _ rune)           { secret.Print(f, "mlsgroup.reader") }
func (secretChange) Format(f fmt.State, _ rune)     { secret.Print(f, "mlsgroup.secretChange") }
func (secretStep) Format(f fmt.State, _ rune)       { secret.Print(f, "mlsgroup.secretStep") }
func (secretTree) Format(f fmt.State, _ rune)       { secret.Print(f, "mlsgroup.secretTree") }
func (skipChunk) Format(f fmt.State, _ rune)        { secret.Print(f, "mlsgroup.skipChunk") }
func (slab[T]) Format(f fmt.State, _ rune)          { secret.Print(f, "mlsgroup.slab") }
func (sweeper) Format(f fmt.State, _ rune)          { secret.Print(f, "mlsgroup.sweeper") }
func (sweptProposals) Format(f fmt.State, _ rune)   { secret.Print(f, "mlsgroup.sweptProposals") }
