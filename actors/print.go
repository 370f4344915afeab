package actors

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// What holds secrets, be it behind pointers, prints without them under every verb: fmt
// asks no method of an unexported field.

// Format writes that it is a System.
func (*System) Format(f fmt.State, _ rune) { secret.Print(f, "actors.System") }

func (adopt) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.adopt") }
func (adopted) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.adopted") }
func (cancelTask) Format(f fmt.State, _ rune)       { secret.Print(f, "actors.cancelTask") }
func (claim) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.claim") }
func (*client) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.client") }
func (clientActor) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.clientActor") }
func (conversation) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.conversation") }
func (coordinator) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.coordinator") }
func (credentialRecord) Format(f fmt.State, _ rune) { secret.Print(f, "actors.credentialRecord") }
func (credentialUsed) Format(f fmt.State, _ rune)   { secret.Print(f, "actors.credentialUsed") }
func (directory) Format(f fmt.State, _ rune)        { secret.Print(f, "actors.directory") }
func (event) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.event") }
func (*entry) Format(f fmt.State, _ rune)           { secret.Print(f, "actors.entry") }
func (guard) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.guard") }
func (heldAnswer) Format(f fmt.State, _ rune)       { secret.Print(f, "actors.heldAnswer") }
func (history) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.history") }
func (inbound) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.inbound") }
func (inflight) Format(f fmt.State, _ rune)         { secret.Print(f, "actors.inflight") }
func (join) Format(f fmt.State, _ rune)             { secret.Print(f, "actors.join") }
func (keeper) Format(f fmt.State, _ rune)           { secret.Print(f, "actors.keeper") }
func (keeperStage) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.keeperStage") }
func (keyPackageRecord) Format(f fmt.State, _ rune) { secret.Print(f, "actors.keyPackageRecord") }
func (keyPackageTaken) Format(f fmt.State, _ rune)  { secret.Print(f, "actors.keyPackageTaken") }
func (namedGuard) Format(f fmt.State, _ rune)       { secret.Print(f, "actors.namedGuard") }
func (*opened) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.opened") }
func (opening) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.opening") }
func (*openers) Format(f fmt.State, _ rune)         { secret.Print(f, "actors.openers") }
func (pskRead) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.pskRead") }
func (pskValue) Format(f fmt.State, _ rune)         { secret.Print(f, "actors.pskValue") }
func (putX509) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.putX509") }
func (queue) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.queue") }
func (resend) Format(f fmt.State, _ rune)           { secret.Print(f, "actors.resend") }
func (resendResult) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.resendResult") }
func (result) Format(f fmt.State, _ rune)           { secret.Print(f, "actors.result") }
func (rotate) Format(f fmt.State, _ rune)           { secret.Print(f, "actors.rotate") }
func (sending) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.sending") }
func (stage) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.stage") }
func (state) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.state") }
func (*task) Format(f fmt.State, _ rune)            { secret.Print(f, "actors.task") }
func (transactionActor) Format(f fmt.State, _ rune) { secret.Print(f, "actors.transactionActor") }
func (work) Format(f fmt.State, _ rune)             { secret.Print(f, "actors.work") }
func (session) Format(f fmt.State, _ rune)          { secret.Print(f, "actors.session") }
func (sessionStage) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.sessionStage") }
func (encryptStep) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.encryptStep") }
func (envelopeMade) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.envelopeMade") }
func (decryptStep) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.decryptStep") }
func (messageOpened) Format(f fmt.State, _ rune)    { secret.Print(f, "actors.messageOpened") }
func (beginStep) Format(f fmt.State, _ rune)        { secret.Print(f, "actors.beginStep") }
func (adoptSession) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.adoptSession") }
func (readStep) Format(f fmt.State, _ rune)         { secret.Print(f, "actors.readStep") }
func (identityRead) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.identityRead") }
func (preKeyTaken) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.preKeyTaken") }
func (adoptIdentity) Format(f fmt.State, _ rune)    { secret.Print(f, "actors.adoptIdentity") }
func (adoptPreKey) Format(f fmt.State, _ rune)      { secret.Print(f, "actors.adoptPreKey") }

func (enrollmentActor) Format(f fmt.State, _ rune)   { secret.Print(f, "actors.enrollmentActor") }
func (openEnrollment) Format(f fmt.State, _ rune)    { secret.Print(f, "actors.openEnrollment") }
func (enrollmentClaimed) Format(f fmt.State, _ rune) { secret.Print(f, "actors.enrollmentClaimed") }
func (putEnrollment) Format(f fmt.State, _ rune)     { secret.Print(f, "actors.putEnrollment") }
func (enrollmentTaken) Format(f fmt.State, _ rune)   { secret.Print(f, "actors.enrollmentTaken") }
