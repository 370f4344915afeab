package conclave

import (
	"context"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// KeyPackageRef names a key package (RFC 9420 5.2).
type KeyPackageRef = mlsgroup.KeyPackageRef

// KeyPackageEntry is a stored key package, with the bytes to publish, without its private keys.
type KeyPackageEntry = messages.KeyPackageEntry

// KeyPackageOptions says which key packages GenerateKeyPackages makes. The zero value with a Count makes them of the client's first suite, for 84 days.
type KeyPackageOptions = messages.GenerateKeyPackages

// GenerateKeyPackages makes o.Count key packages and stores them with their private keys.
func (s scope) GenerateKeyPackages(ctx context.Context, o KeyPackageOptions) ([]KeyPackageEntry, error) {
	r, err := ask[messages.KeyPackagesGenerated](ctx, s, "GenerateKeyPackages", "", o)
	return r.KeyPackages, err
}

// ClientKeyPackages returns exactly count key packages of a suite that have not expired, made of the newest credential of the suite's signature scheme: those
// in store, newly made ones where they do not suffice. Expired ones, of whatever suite, are deleted first. Called again without one being used, it returns the same ones.
// There is no default suite: [CodeCredentialNotFound] for one that the client has no credential for.
func (s scope) ClientKeyPackages(ctx context.Context, suite CipherSuite, count int) ([]KeyPackageEntry, error) {
	return s.clientKeyPackages(ctx, "ClientKeyPackages", suite, CredentialRef{}, count)
}

// ClientKeyPackagesOf is ClientKeyPackages of a given credential, as where a client with an X.509 one still has use for its Basic one.
func (s scope) ClientKeyPackagesOf(ctx context.Context, suite CipherSuite, ref CredentialRef, count int) ([]KeyPackageEntry, error) {
	return s.clientKeyPackages(ctx, "ClientKeyPackagesOf", suite, ref, count)
}

func (s scope) clientKeyPackages(ctx context.Context, op string, suite CipherSuite, ref CredentialRef, count int) ([]KeyPackageEntry, error) {
	if count < 0 {
		return nil, wrap(op, "", messages.ErrInvalidArgument)
	}
	credential, err := s.credentialOf(ctx, op, suite, ref)
	if err != nil {
		return nil, err
	}
	all, err := s.KeyPackages(ctx)
	if err != nil {
		return nil, err
	}
	now := s.engine.options.Now()
	var chosen []KeyPackageEntry
	var expired []KeyPackageRef
	for _, k := range all {
		switch {
		case !now.Before(k.NotAfter):
			expired = append(expired, k.Ref)
		case k.CipherSuite == suite && len(chosen) < count && madeOf(k, &credential):
			chosen = append(chosen, k)
		}
	}
	if len(expired) > 0 {
		if err := s.DeleteKeyPackages(ctx, expired...); err != nil {
			return nil, err
		}
	}
	if missing := count - len(chosen); missing > 0 {
		made, err := s.GenerateKeyPackages(ctx, KeyPackageOptions{CipherSuite: suite, Credential: credential.Ref, Count: missing})
		if err != nil {
			return nil, err
		}
		chosen = append(made, chosen...)
	}
	return chosen, nil
}

// madeOf tells whether a key package carries a credential. References do not tell: a certificate may be for the key of the credential it has replaced.
func madeOf(k KeyPackageEntry, c *CredentialEntry) bool {
	if k.Credential != c.Ref {
		return false
	}
	kp, err := mlsgroup.ParseKeyPackage(k.KeyPackage)
	return err == nil && kp.LeafNode.Credential.Equal(&c.Credential)
}

// KeyPackages lists the stored key packages, expired ones included.
func (s scope) KeyPackages(ctx context.Context) ([]KeyPackageEntry, error) {
	r, err := ask[messages.KeyPackagesListed](ctx, s, "KeyPackages", "", messages.ListKeyPackages{})
	return r.KeyPackages, err
}

// ValidKeyPackageCount counts the stored key packages of a suite that have not expired and whose leaf has a credential of a type, 0 being any. Which of them
// others have claimed already is not known here.
func (s scope) ValidKeyPackageCount(ctx context.Context, suite CipherSuite, credential mlsgroup.CredentialType) (int, error) {
	r, err := ask[messages.KeyPackagesCounted](ctx, s, "ValidKeyPackageCount", "", messages.CountKeyPackages{CipherSuite: suite, CredentialType: credential})
	return r.Count, err
}

// DeleteKeyPackages deletes key packages with their private keys. Unknown references are no error.
func (s scope) DeleteKeyPackages(ctx context.Context, refs ...KeyPackageRef) error {
	_, err := ask[messages.KeyPackagesDeleted](ctx, s, "DeleteKeyPackages", "", messages.DeleteKeyPackages{Refs: refs})
	return err
}

// DeleteStaleKeyPackages deletes, after a credential was replaced, the key packages of the suite's signature scheme that were not made with the newest X.509
// credential of that scheme. [CodeCredentialNotFound] where there is none; nothing stale is no error.
func (s scope) DeleteStaleKeyPackages(ctx context.Context, suite CipherSuite) error {
	_, err := ask[messages.KeyPackagesDeleted](ctx, s, "DeleteStaleKeyPackages", "", messages.DeleteStaleKeyPackages{CipherSuite: suite})
	return err
}

// KeyPackage is what a client publishes so that others can add it (RFC 9420 10).
type KeyPackage = mlsgroup.KeyPackage

// ValidateKeyPackage reads a key package of another client, bare or wrapped in an MLSMessage, and verifies it as far as that needs no group: form, both
// signatures, lifetime, and its credential by [Options].Auth. The cause of [CodeInvalidMessage] is the [mlsgroup.Check] that failed, such as
// [mlsgroup.CheckLifetime]. Adding a client verifies its key package too, so this is for those who want to know before.
//
// An engine trusts nobody, so without Options.Auth a key package with an X.509 credential is for [Client.ValidateKeyPackage].
func (e *Engine) ValidateKeyPackage(keyPackage []byte) (*KeyPackage, error) {
	kp, err := e.system.ValidateKeyPackage(0, keyPackage)
	return kp, wrap("ValidateKeyPackage", "", err)
}

// ValidateKeyPackage is [Engine.ValidateKeyPackage] with an X.509 credential judged by what the client has registered.
func (c *Client) ValidateKeyPackage(keyPackage []byte) (*KeyPackage, error) {
	kp, err := c.engine.system.ValidateKeyPackage(c.instance, keyPackage)
	return kp, wrap("ValidateKeyPackage", "", err)
}

// KeyPackageBundle is a key package made elsewhere with its private keys, the argument of ImportKeyPackage.
type KeyPackageBundle = messages.ImportKeyPackage

// ImportKeyPackage stores a key package that was made elsewhere, with its private keys and its credential. It is meant for migration and tests: a private key should live in one place.
func (s scope) ImportKeyPackage(ctx context.Context, b KeyPackageBundle) (KeyPackageEntry, error) {
	r, err := ask[messages.KeyPackageImported](ctx, s, "ImportKeyPackage", "", b)
	return r.KeyPackage, err
}

// PutPSK registers an external pre-shared key under an id that proposals can name (RFC 9420 8.4).
func (s scope) PutPSK(ctx context.Context, id []byte, psk Secret) error {
	_, err := ask[messages.PSKPut](ctx, s, "PutPSK", "", messages.PutPSK{ID: id, PSK: psk})
	return err
}

// DeletePSK forgets an external pre-shared key. An unknown id is no error.
func (s scope) DeletePSK(ctx context.Context, id []byte) error {
	_, err := ask[messages.PSKDeleted](ctx, s, "DeletePSK", "", messages.DeletePSK{ID: id})
	return err
}
