package messages

import (
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/proteus/cryptobox"
)

// SessionID names a Proteus session: any text the application chooses, of at most
// 1,024 bytes. Wire's clients make it of the user and the client.
type SessionID string

// InitProteus loads the client's Proteus identity, and makes one with its last resort
// prekey if there is none. It answers [ProteusReady].
type InitProteus struct{}

// ProteusReady answers [InitProteus].
type ProteusReady struct {
	Identity proteus.PublicKey
	Created  bool
}

// ReadProteus reads the identity. It answers [ProteusRead], or
// ErrProteusNotInitialized.
type ReadProteus struct{}

// ProteusRead answers [ReadProteus].
type ProteusRead struct{ Identity proteus.PublicKey }

// CreatePreKey makes a prekey and stores it. It answers [PreKeyCreated].
type CreatePreKey struct {
	ID uint16
	// Auto chooses the lowest unused id from 1; ErrNoPreKeyID if all are taken.
	Auto bool
	// Replace makes a new prekey for an id that has one; without it such an id is
	// ErrPreKeyExists, save that the last resort's is answered as it is.
	Replace bool
}

// PreKeyCreated answers [CreatePreKey].
type PreKeyCreated struct {
	ID     uint16
	Bundle []byte
}

// BeginSession begins a session by a prekey bundle, in the place of one that exists.
// It answers [SessionBegun].
type BeginSession struct {
	Session SessionID
	Bundle  []byte
}

// SessionBegun answers [BeginSession].
type SessionBegun struct{}

// Reach says which sessions a DecryptProteus may use.
type Reach uint8

// The reaches.
const (
	ReachExisting Reach = iota // a session that exists; else ErrSessionNotFound
	ReachNew                   // a new one that the message begins, in the place of one that exists
	ReachBoth                  // the one that exists, else a new one
)

// DecryptProteus opens a message. It answers [ProteusDecrypted].
type DecryptProteus struct {
	Session SessionID
	Message []byte
	Reach   Reach
}

// ProteusDecrypted answers [DecryptProteus].
type ProteusDecrypted struct{ Plaintext secret.Bytes }

// EncryptProteus encrypts for each of the sessions, in parallel and with one sync.
// Sessions that do not exist are left out. It answers [ProteusEncrypted].
type EncryptProteus struct {
	Sessions  []SessionID
	Plaintext secret.Bytes
}

// ProteusEncrypted answers [EncryptProteus].
type ProteusEncrypted struct{ Envelopes map[SessionID][]byte }

// DeleteSession deletes a session. An unknown one is no error. It answers
// [SessionDeleted].
type DeleteSession struct{ Session SessionID }

// SessionDeleted answers [DeleteSession].
type SessionDeleted struct{}

// ReadSession tells whether a session exists, and whose it is. It answers
// [SessionRead], or ErrCorrupt for a session that is there and cannot be read.
type ReadSession struct{ Session SessionID }

// SessionRead answers [ReadSession].
type SessionRead struct {
	Exists        bool
	Local, Remote proteus.PublicKey
}

// MigrateCryptobox takes over the identity, the prekeys and the sessions of a box. It
// answers [CryptoboxMigrated].
type MigrateCryptobox struct{ Box *cryptobox.Box }

// CryptoboxMigrated answers [MigrateCryptobox].
type CryptoboxMigrated struct{ Report CryptoboxReport }

// CryptoboxReport is what came of a migration.
type CryptoboxReport struct {
	// IdentityTaken tells that the client had no identity and has the box's now. If
	// it had another, the sessions of the box are of no use to it.
	IdentityTaken bool
	Sessions      int // taken
	PreKeys       int // taken
	Skipped       []CryptoboxSkipped
}

// CryptoboxSkipped is an object of a box that was left there.
type CryptoboxSkipped struct {
	Kind string // "session" or "prekey"
	Name string
	// Err is nil if the client has one of that name already.
	Err error
}

// Size implements [Request].
func (InitProteus) Size() int { return overhead }

// Size implements [Request].
func (ReadProteus) Size() int { return overhead }

// Size implements [Request].
func (CreatePreKey) Size() int { return overhead }

// Size implements [Request].
func (r BeginSession) Size() int { return overhead + len(r.Session) + len(r.Bundle) }

// Size implements [Request].
func (r DecryptProteus) Size() int { return overhead + len(r.Session) + len(r.Message) }

// Size implements [Request].
func (r EncryptProteus) Size() int {
	return overhead + total(r.Sessions) + len(r.Sessions)*(overhead+len(r.Plaintext))
}

// Size implements [Request].
func (r DeleteSession) Size() int { return overhead + len(r.Session) }

// Size implements [Request].
func (r ReadSession) Size() int { return overhead + len(r.Session) }

// Size implements [Request].
func (MigrateCryptobox) Size() int { return overhead }

func (InitProteus) request()      {}
func (ReadProteus) request()      {}
func (CreatePreKey) request()     {}
func (BeginSession) request()     {}
func (DecryptProteus) request()   {}
func (EncryptProteus) request()   {}
func (DeleteSession) request()    {}
func (ReadSession) request()      {}
func (MigrateCryptobox) request() {}

func (ProteusReady) reply()      {}
func (ProteusRead) reply()       {}
func (PreKeyCreated) reply()     {}
func (SessionBegun) reply()      {}
func (ProteusDecrypted) reply()  {}
func (ProteusEncrypted) reply()  {}
func (SessionDeleted) reply()    {}
func (SessionRead) reply()       {}
func (CryptoboxMigrated) reply() {}
