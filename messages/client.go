package messages

import (
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Profile selects the dialect a conversation speaks. It stays with the
// conversation for life.
type Profile uint8

// The profiles. See mlsgroup's values of the same names.
const (
	// ProfileDefault is the client's profile; for a client, ProfileWire.
	ProfileDefault Profile = iota
	// ProfileWire is what Wire's CoreCrypto speaks.
	ProfileWire
	// ProfileRFC9420 is the RFC to the letter.
	ProfileRFC9420
)

// WirePolicy says how the proposals and commits of members travel, in ProfileWire. All
// members of a conversation have to choose the same; it stays for life. ProfileRFC9420
// sends them as PrivateMessages and accepts both.
type WirePolicy uint8

// The policies.
const (
	// WirePolicyPlaintext: as PublicMessages, which the delivery service can read. No
	// others are accepted.
	WirePolicyPlaintext WirePolicy = iota
	// WirePolicyCiphertext: as PrivateMessages. Of members no others are accepted; those
	// of external senders and of clients that join are public all the same.
	WirePolicyCiphertext
)

// InitClient opens the client with an id, and creates it if the store has none. It
// answers [ClientReady]. Opening a client again replaces transport and observer.
type InitClient struct {
	ClientID ClientID
	// CipherSuites the client uses, the first is its default. Nil means suite 1.
	// On creation the client gets a Basic credential for each signature scheme
	// among them, unless NoCredential is set.
	CipherSuites []mlsgroup.CipherSuite
	NoCredential bool
	// Keypairs are the ids of key pairs that [GenerateKeypairs] has made: the client is
	// created with a Basic credential for each of them, and no other.
	// ErrKeypairNotFound: there is none of an id. ErrClientAlreadyExists: only a client
	// that is created can be given key pairs.
	Keypairs []ClientID
	// Profile and Receive are the defaults of conversations created and joined.
	Profile Profile
	Receive mlsgroup.ReceiveConfig
	// BasicKeyChange makes conversations that are created or joined from now on accept
	// commits by which a member with a Basic credential changes its signature key, as
	// Wire's clients do. It lets any member take over the leaf of another; without it
	// such a change needs an X.509 credential. It concerns ProfileWire only.
	BasicKeyChange bool
	// Transport may be nil: operations that send then answer ErrNoTransport.
	Transport Transport
	Observer  Observer
}

// ClientReady answers [InitClient].
type ClientReady struct {
	Instance Instance
	// Created tells that the store had no such client.
	Created bool
	// InDoubt lists commits of an earlier run whose outcome is unknown. They are
	// being settled.
	InDoubt []CommitInDoubt
}

// GenerateKeypairs makes a signature key pair for each of some suites, under a random
// id that stands for a client until its own is known; [InitClient] takes them then. It
// answers [KeypairsGenerated].
type GenerateKeypairs struct{ CipherSuites []mlsgroup.CipherSuite }

// KeypairsGenerated answers [GenerateKeypairs], in the order of its suites.
type KeypairsGenerated struct{ Keypairs []Keypair }

// Keypair is a stored signature key pair that no client has yet.
type Keypair struct {
	ID           ClientID // 16 random bytes
	CipherSuite  mlsgroup.CipherSuite
	SignatureKey []byte // public
}

// ListClients lists the clients of the store. It answers [ClientsListed].
type ListClients struct{}

// ClientsListed answers [ListClients], ordered by client id.
type ClientsListed struct{ Clients []ClientEntry }

// ClientEntry is a client of the store.
type ClientEntry struct {
	ClientID ClientID
	Instance Instance
}

// ListConversations lists the conversations of a client that have a group. It
// answers [ConversationsListed].
type ListConversations struct{}

// ConversationsListed answers [ListConversations], in no particular order.
type ConversationsListed struct{ Conversations []ConversationID }

// CredentialRef names a credential: SHA-256 of its public signature key.
type CredentialRef [32]byte

// CredentialEntry is a stored credential.
type CredentialEntry struct {
	Ref          CredentialRef
	CipherSuite  mlsgroup.CipherSuite
	Credential   mlsgroup.Credential
	SignatureKey []byte // public
	CreatedAt    time.Time
}

// AddCredential stores a credential with its signature key. It answers
// [CredentialAdded]. ErrWrongCredential: its identity is not the client's.
type AddCredential struct {
	CipherSuite mlsgroup.CipherSuite
	// Credential; the zero value means a Basic credential of the client's id.
	Credential mlsgroup.Credential
	// SignaturePrivate and SignatureKey belong together. Both nil: a key is made.
	SignaturePrivate secret.Bytes
	SignatureKey     []byte
}

// CredentialAdded answers [AddCredential].
type CredentialAdded struct{ Credential CredentialEntry }

// RemoveCredential deletes a credential and the key packages made from it. It
// answers [CredentialRemoved]; a credential in use by a conversation stays, with
// [CredentialInUse]. An unknown one is no error.
type RemoveCredential struct{ Ref CredentialRef }

// CredentialRemoved answers [RemoveCredential].
type CredentialRemoved struct{}

// ListCredentials lists the client's credentials. It answers [CredentialsListed].
type ListCredentials struct{}

// CredentialsListed answers [ListCredentials], oldest first.
type CredentialsListed struct{ Credentials []CredentialEntry }

// GenerateKeyPackages makes key packages and stores them with their private keys.
// It answers [KeyPackagesGenerated].
type GenerateKeyPackages struct {
	// CipherSuite; 0 means the client's default.
	CipherSuite mlsgroup.CipherSuite
	Count       int
	// Credential; zero means the newest of the suite's signature scheme.
	Credential CredentialRef
	// Lifetime; 0 means 84 days. It begins an hour before now.
	Lifetime time.Duration
	// LastResort marks them as usable many times (RFC 9420 16.8).
	LastResort bool
	// Profile; it decides the capabilities they announce, unless Capabilities does.
	Profile      Profile
	Capabilities *mlsgroup.Capabilities
	// Extensions of the key packages, and LeafExtensions of their leaves. Types that
	// are not default ones (RFC 9420 7.2) have to be listed in Capabilities.
	Extensions     mlsgroup.Extensions
	LeafExtensions mlsgroup.Extensions
}

// KeyPackagesGenerated answers [GenerateKeyPackages].
type KeyPackagesGenerated struct{ KeyPackages []KeyPackageEntry }

// KeyPackageEntry is a stored key package.
type KeyPackageEntry struct {
	Ref         mlsgroup.KeyPackageRef
	CipherSuite mlsgroup.CipherSuite
	// KeyPackage is the encoded KeyPackage, not wrapped in an MLSMessage.
	KeyPackage []byte
	Credential CredentialRef
	NotBefore  time.Time
	NotAfter   time.Time
}

// ImportKeyPackage stores a key package made elsewhere, with its private keys, for
// migration and tests. It answers [KeyPackageImported].
type ImportKeyPackage struct {
	// KeyPackage is an encoded KeyPackage, bare or wrapped in an MLSMessage.
	KeyPackage  []byte
	InitPrivate secret.Bytes
	LeafPrivate secret.Bytes // of the leaf's encryption key
	// SignaturePrivate; nil for a client that can join and read, and nothing else.
	SignaturePrivate secret.Bytes
}

// KeyPackageImported answers [ImportKeyPackage].
type KeyPackageImported struct{ KeyPackage KeyPackageEntry }

// ListKeyPackages lists the stored key packages. It answers [KeyPackagesListed].
type ListKeyPackages struct{}

// KeyPackagesListed answers [ListKeyPackages].
type KeyPackagesListed struct{ KeyPackages []KeyPackageEntry }

// CountKeyPackages counts the stored key packages of a suite and a type of credential
// that have not expired. It answers [KeyPackagesCounted].
type CountKeyPackages struct {
	CipherSuite    mlsgroup.CipherSuite
	CredentialType mlsgroup.CredentialType // 0: any
}

// KeyPackagesCounted answers [CountKeyPackages].
type KeyPackagesCounted struct{ Count int }

// DeleteKeyPackages deletes key packages with their private keys. Unknown
// references are no error. It answers [KeyPackagesDeleted].
type DeleteKeyPackages struct{ Refs []mlsgroup.KeyPackageRef }

// DeleteStaleKeyPackages deletes the key packages of a suite's signature scheme that
// were not made with the newest X.509 credential of that scheme. It answers
// [KeyPackagesDeleted], or ErrCredentialNotFound where there is no such credential.
type DeleteStaleKeyPackages struct{ CipherSuite mlsgroup.CipherSuite }

// KeyPackagesDeleted answers [DeleteKeyPackages] and [DeleteStaleKeyPackages].
type KeyPackagesDeleted struct{}

// PutPSK registers an external pre-shared key. It answers [PSKPut].
type PutPSK struct {
	ID  []byte
	PSK secret.Bytes
}

// PSKPut answers [PutPSK].
type PSKPut struct{}

// DeletePSK forgets an external pre-shared key. An unknown id is no error. It
// answers [PSKDeleted].
type DeletePSK struct{ ID []byte }

// PSKDeleted answers [DeletePSK].
type PSKDeleted struct{}

// SetData replaces the client's data blob, at most 16 MiB. It answers [DataSet]. In
// a transaction that has not read the blob it takes no guard: the transaction that
// is decided last wins.
type SetData struct{ Data secret.Bytes }

// DataSet answers [SetData].
type DataSet struct{}

// ReadData reads the client's data blob. It answers [DataRead].
type ReadData struct{}

// DataRead answers [ReadData]. Data is nil where none was set.
type DataRead struct{ Data secret.Bytes }
