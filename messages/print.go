package messages

import "fmt"

// What holds secrets prints without them under every verb. fmt asks no method of
// what it finds behind a pointer that its verb does not fit, so each message that has
// a secret writes its fields under the one verb that fits all.

// Format writes the fields, [secret] for those that are.
func (r AddCredential) Format(f fmt.State, _ rune) {
	type fields AddCredential
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (v CommitMerged) Format(f fmt.State, _ rune) {
	type fields CommitMerged
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v CommitSettled) Format(f fmt.State, _ rune) {
	type fields CommitSettled
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v ConversationJoined) Format(f fmt.State, _ rune) {
	type fields ConversationJoined
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v ConversationRead) Format(f fmt.State, _ rune) {
	type fields ConversationRead
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v DataRead) Format(f fmt.State, _ rune) {
	type fields DataRead
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (r EncryptMessage) Format(f fmt.State, _ rune) {
	type fields EncryptMessage
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (v HistoryClientCreated) Format(f fmt.State, _ rune) {
	type fields HistoryClientCreated
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (r ImportKeyPackage) Format(f fmt.State, _ rune) {
	type fields ImportKeyPackage
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (r SaveX509Credential) Format(f fmt.State, _ rune) {
	type fields SaveX509Credential
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (v MessageDecrypted) Format(f fmt.State, _ rune) {
	type fields MessageDecrypted
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (r PutPSK) Format(f fmt.State, _ rune) {
	type fields PutPSK
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (v Released) Format(f fmt.State, _ rune) {
	type fields Released
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v SecretExported) Format(f fmt.State, _ rune) {
	type fields SecretExported
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (r SetData) Format(f fmt.State, _ rune) {
	type fields SetData
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}

// Format writes the fields, [secret] for those that are.
func (v DecryptResult) Format(f fmt.State, _ rune) {
	type fields DecryptResult
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v MessagesDecrypted) Format(f fmt.State, _ rune) {
	type fields MessagesDecrypted
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (v ProteusDecrypted) Format(f fmt.State, _ rune) {
	type fields ProteusDecrypted
	_, _ = fmt.Fprintf(f, "%+v", fields(v))
}

// Format writes the fields, [secret] for those that are.
func (r EncryptProteus) Format(f fmt.State, _ rune) {
	type fields EncryptProteus
	_, _ = fmt.Fprintf(f, "%+v", fields(r))
}
