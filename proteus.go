package conclave

import (
	"context"
	"os"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/proteus/cryptobox"
)

// SessionID names a Proteus session: any text of 1 to 1,024 bytes. Wire's clients make it of the user and the client.
type SessionID = messages.SessionID

// ProteusError is the cause of errors of the Proteus protocol. Its Code is the number that Wire's clients know.
type ProteusError = proteus.Error

// LastResortPreKeyID is the id of the prekey that is never used up.
const LastResortPreKeyID = proteus.LastResort

// CryptoboxReport is what came of taking over a cryptobox.
type CryptoboxReport = messages.CryptoboxReport

// CryptoboxSkipped is an object of a cryptobox that was left there.
type CryptoboxSkipped = messages.CryptoboxSkipped

// Proteus is the client's side of the older protocol: sessions between two devices. Each session is an actor of its own; what is said of conversations
// holds for them: calls stand alone on a [Client], and become durable together on a [Tx]. Calls before Init answer [CodeProteusNotInitialized].
type Proteus struct{ scope scope }

// Proteus returns the older protocol of this client.
func (s scope) Proteus() Proteus { return Proteus{s} }

// Init loads the identity. Where there is none it makes one, with its last resort prekey, and answers true.
func (p Proteus) Init(ctx context.Context) (created bool, err error) {
	r, err := ask[messages.ProteusReady](ctx, p.scope, "Proteus.Init", "", messages.InitProteus{})
	return r.Created, err
}

// Fingerprint returns the 64 hexadecimal digits of the identity's public key.
func (p Proteus) Fingerprint(ctx context.Context) (string, error) {
	r, err := ask[messages.ProteusRead](ctx, p.scope, "Proteus.Fingerprint", "", messages.ReadProteus{})
	if err != nil {
		return "", err
	}
	return r.Identity.Fingerprint(), nil
}

// NewPreKey makes and stores the prekey of an id, and returns its bundle for the server. An id that has one is [CodePreKeyExists]; see ReplacePreKey.
func (p Proteus) NewPreKey(ctx context.Context, id uint16) ([]byte, error) {
	r, err := ask[messages.PreKeyCreated](ctx, p.scope, "Proteus.NewPreKey", "", messages.CreatePreKey{ID: id})
	return r.Bundle, err
}

// ReplacePreKey is NewPreKey that takes the place of a prekey: whoever has its old bundle can no longer begin a session with it.
func (p Proteus) ReplacePreKey(ctx context.Context, id uint16) ([]byte, error) {
	r, err := ask[messages.PreKeyCreated](ctx, p.scope, "Proteus.ReplacePreKey", "", messages.CreatePreKey{ID: id, Replace: true})
	return r.Bundle, err
}

// NewPreKeyAuto is NewPreKey for the lowest unused id from 1, never that of the last resort.
func (p Proteus) NewPreKeyAuto(ctx context.Context) (id uint16, bundle []byte, err error) {
	r, err := ask[messages.PreKeyCreated](ctx, p.scope, "Proteus.NewPreKeyAuto", "", messages.CreatePreKey{Auto: true})
	return r.ID, r.Bundle, err
}

// LastResortPreKey returns the bundle of the last resort prekey, the same at every call.
func (p Proteus) LastResortPreKey(ctx context.Context) ([]byte, error) {
	r, err := ask[messages.PreKeyCreated](ctx, p.scope, "Proteus.LastResortPreKey", "", messages.CreatePreKey{ID: proteus.LastResort})
	return r.Bundle, err
}

// SessionFromPreKey begins a session with the owner of a bundle, in the place of one of that id. A bundle with a wrong signature is refused.
func (p Proteus) SessionFromPreKey(ctx context.Context, id SessionID, bundle []byte) error {
	_, err := ask[messages.SessionBegun](ctx, p.scope, "Proteus.SessionFromPreKey", "", messages.BeginSession{Session: id, Bundle: bundle})
	return err
}

// SessionFromMessage begins a session by a first message, in the place of one of that id, uses up its prekey, and returns the plaintext.
func (p Proteus) SessionFromMessage(ctx context.Context, id SessionID, message []byte) (Secret, error) {
	return p.decrypt(ctx, "Proteus.SessionFromMessage", id, message, messages.ReachNew)
}

// Decrypt opens a message of a session that exists, else [CodeSessionNotFound].
func (p Proteus) Decrypt(ctx context.Context, id SessionID, message []byte) (Secret, error) {
	return p.decrypt(ctx, "Proteus.Decrypt", id, message, messages.ReachExisting)
}

// DecryptSafe is Decrypt where the session exists, else SessionFromMessage.
func (p Proteus) DecryptSafe(ctx context.Context, id SessionID, message []byte) (Secret, error) {
	return p.decrypt(ctx, "Proteus.DecryptSafe", id, message, messages.ReachBoth)
}

func (p Proteus) decrypt(ctx context.Context, op string, id SessionID, message []byte, reach messages.Reach) (Secret, error) {
	r, err := ask[messages.ProteusDecrypted](ctx, p.scope, op, "", messages.DecryptProteus{Session: id, Message: message, Reach: reach})
	return r.Plaintext, err
}

// Encrypt encrypts a message of at most 5 MiB less 256 bytes. A session that does not exist is [CodeSessionNotFound].
func (p Proteus) Encrypt(ctx context.Context, id SessionID, plaintext []byte) ([]byte, error) {
	const op = "Proteus.Encrypt"
	r, err := ask[messages.ProteusEncrypted](ctx, p.scope, op, "", messages.EncryptProteus{Sessions: []SessionID{id}, Plaintext: plaintext})
	if err != nil {
		return nil, err
	}
	envelope, ok := r.Envelopes[id]
	if !ok {
		return nil, wrap(op, "", messages.ErrSessionNotFound)
	}
	return envelope, nil
}

// EncryptBatch encrypts one message for many sessions, in parallel and with one sync for all. Sessions that do not exist are left out; any other error
// is that of the call, and nothing was encrypted.
func (p Proteus) EncryptBatch(ctx context.Context, ids []SessionID, plaintext []byte) (map[SessionID][]byte, error) {
	r, err := ask[messages.ProteusEncrypted](ctx, p.scope, "Proteus.EncryptBatch", "", messages.EncryptProteus{Sessions: ids, Plaintext: plaintext})
	return r.Envelopes, err
}

// SessionExists tells whether there is a session. One that is stored and cannot be read is [CodeCorrupt].
func (p Proteus) SessionExists(ctx context.Context, id SessionID) (bool, error) {
	r, err := ask[messages.SessionRead](ctx, p.scope, "Proteus.SessionExists", "", messages.ReadSession{Session: id})
	return r.Exists, err
}

// FingerprintLocal returns the fingerprint of the session's own side, which is the client's.
func (p Proteus) FingerprintLocal(ctx context.Context, id SessionID) (string, error) {
	r, err := p.session(ctx, "Proteus.FingerprintLocal", id)
	if err != nil {
		return "", err
	}
	return r.Local.Fingerprint(), nil
}

// FingerprintRemote returns the fingerprint of the other device.
func (p Proteus) FingerprintRemote(ctx context.Context, id SessionID) (string, error) {
	r, err := p.session(ctx, "Proteus.FingerprintRemote", id)
	if err != nil {
		return "", err
	}
	return r.Remote.Fingerprint(), nil
}

func (p Proteus) session(ctx context.Context, op string, id SessionID) (messages.SessionRead, error) {
	r, err := ask[messages.SessionRead](ctx, p.scope, op, "", messages.ReadSession{Session: id})
	if err == nil && !r.Exists {
		err = wrap(op, "", messages.ErrSessionNotFound)
	}
	return r, err
}

// SaveSession does nothing: every call that changes a session has stored it when it returns. It is there for programs that were written for older engines.
func (p Proteus) SaveSession(context.Context, SessionID) error { return nil }

// ReloadSessions does nothing: sessions are read from the store when they are used.
func (p Proteus) ReloadSessions(context.Context) error { return nil }

// DeleteSession deletes a session. An unknown one is no error.
func (p Proteus) DeleteSession(ctx context.Context, id SessionID) error {
	_, err := ask[messages.SessionDeleted](ctx, p.scope, "Proteus.DeleteSession", "", messages.DeleteSession{Session: id})
	return err
}

// MigrateCryptobox takes over the identity, the prekeys and the sessions that an older client has left in a directory, and changes nothing there. It is
// all or nothing, and may be repeated: what the client has already is skipped, and so is what does not decode or is another identity's, as the report
// says. It belongs before Init: a client that has an identity keeps it, and then the sessions of the box are of no use. [CodeCryptoboxNotFound] where
// there is no cryptobox, or none with an identity.
func (p Proteus) MigrateCryptobox(ctx context.Context, dir string) (CryptoboxReport, error) {
	const op = "Proteus.MigrateCryptobox"
	box, err := cryptobox.Open(os.DirFS(dir))
	if err != nil {
		return CryptoboxReport{}, wrap(op, "", err)
	}
	r, err := ask[messages.CryptoboxMigrated](ctx, p.scope, op, "", messages.MigrateCryptobox{Box: box})
	return r.Report, err
}

// FingerprintPreKeyBundle returns the fingerprint of the identity in a bundle.
func FingerprintPreKeyBundle(bundle []byte) (string, error) {
	b, err := proteus.ParsePreKeyBundle(bundle)
	if err != nil {
		return "", wrap("FingerprintPreKeyBundle", "", err)
	}
	return b.Identity.Fingerprint(), nil
}
