package conclave

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/conclave-mls/conclave/messages"
)

// RotateOptions say how RotateCredential replaces a credential.
type RotateOptions struct {
	// Credential that takes the place of the others; the zero value resumes the rotation that is under way.
	Credential CredentialRef
	// KeyPackages are made of each of CipherSuites, which nil has be the credential's. 0 makes none.
	KeyPackages  int
	CipherSuites []CipherSuite
	// Publish uploads the new key packages in the place of all that were published before. It may be called again with the same ones, after a crash. Nil
	// uploads nothing, and they stay in store for [Client.ClientKeyPackages].
	Publish func(ctx context.Context, keyPackages []KeyPackageEntry) error
	// Progress is told of each step that has been made. It may be nil.
	Progress func(RotationProgress)
}

// RotationStep is a part of a rotation.
type RotationStep uint8

// The steps, in their order.
const (
	RotationConversations RotationStep = iota + 1 // each conversation's own leaf carries the credential
	RotationKeyPackages                           // key packages are made of it, and published
	RotationCleanup                               // stale key packages and older credentials are deleted
)

// String returns the step's name.
func (s RotationStep) String() string {
	switch s {
	case RotationConversations:
		return "conversations"
	case RotationKeyPackages:
		return "key packages"
	case RotationCleanup:
		return "cleanup"
	}
	return "RotationStep(0)"
}

// RotationProgress is how far a rotation has come.
type RotationProgress struct {
	Step        RotationStep
	Done, Total int // conversations, key packages, or things deleted
	// Conversation that the step was about, and what went wrong with it, nil for nothing.
	Conversation ConversationID
	Err          error
}

// RotationIncomplete is the cause of an error of RotateCredential: conversations that do not carry the credential yet, and why. The rotation is under way
// still: process what the delivery service has for them, and resume it.
type RotationIncomplete struct {
	Conversations map[ConversationID]error
}

// Error implements error.
func (e *RotationIncomplete) Error() string {
	return fmt.Sprintf("conclave: rotation waits for %d conversations", len(e.Conversations))
}

// Unwrap returns what went wrong, in the order of the conversations.
func (e *RotationIncomplete) Unwrap() []error {
	var all []error
	for _, id := range slices.Sorted(maps.Keys(e.Conversations)) {
		all = append(all, e.Conversations[id])
	}
	return all
}

// Rotating returns the credential that a rotation is under way to; ok is false where there is none. After opening, resume it by [Client.RotateCredential].
func (c *Client) Rotating(ctx context.Context) (ref CredentialRef, ok bool, err error) {
	r, err := ask[messages.RotationRead](ctx, c.scope, "Rotating", "", messages.ReadRotation{})
	if err != nil || r.Rotation == nil {
		return ref, false, err
	}
	return r.Rotation.Credential, true, nil
}

// RotateCredential brings a stored credential to everything the client has of its signature scheme, in four steps: it commits it in every conversation; makes
// and publishes key packages of it; deletes the key packages of others; and removes the others.
//
// Each commit stands alone and goes through the transport. A conversation whose commit loses a race or stays in doubt does not hinder the others; the call
// then ends, before any key package is replaced, with a [*RotationIncomplete]. A conversation that is founded or joined meanwhile with an older credential
// is found at the end, and keeps that credential from being removed.
//
// A rotation is written down before its first step. After a crash at any point, an error or a canceled context, calling again with the zero Credential
// resumes it, and what was done is not done again but for Publish, which may be called twice. A call with another credential begins anew.
// [CodeInvalidArgument] for a zero Credential where no rotation is under way; [CodeConflict] where another has begun meanwhile.
func (c *Client) RotateCredential(ctx context.Context, o RotateOptions) error {
	const op = "RotateCredential"
	rotation, entry, err := c.beginRotation(ctx, op, o)
	if err != nil {
		return err
	}
	if o.Progress == nil {
		o.Progress = func(RotationProgress) {}
	}
	if err := c.rotateConversations(ctx, op, entry, o.Progress); err != nil {
		return err
	}
	if !rotation.Published {
		if err := c.rotateKeyPackages(ctx, op, rotation, entry, o); err != nil {
			return err
		}
	}
	if err := c.removeStale(ctx, entry, o.Progress); err != nil {
		return err
	}
	_, err = ask[messages.RotationPut](ctx, c.scope, op, "", messages.PutRotation{After: entry.Ref})
	return err
}

// beginRotation finds the rotation that is under way, or writes down the one that begins, with its credential.
func (c *Client) beginRotation(ctx context.Context, op string, o RotateOptions) (*messages.Rotation, CredentialEntry, error) {
	none := CredentialEntry{}
	read, err := ask[messages.RotationRead](ctx, c.scope, op, "", messages.ReadRotation{})
	if err != nil {
		return nil, none, err
	}
	rotation := read.Rotation
	ref := o.Credential
	if ref == (CredentialRef{}) {
		if rotation == nil {
			return nil, none, wrap(op, "", messages.ErrInvalidArgument)
		}
		ref = rotation.Credential
	}
	all, err := c.Credentials(ctx)
	if err != nil {
		return nil, none, err
	}
	i := slices.IndexFunc(all, func(e CredentialEntry) bool { return e.Ref == ref })
	if i < 0 {
		return nil, none, wrap(op, "", messages.ErrCredentialNotFound)
	}
	if rotation != nil && rotation.Credential == ref {
		return rotation, all[i], nil
	}
	rotation = &messages.Rotation{Credential: ref, CipherSuites: o.CipherSuites, KeyPackages: o.KeyPackages}
	if len(rotation.CipherSuites) == 0 {
		rotation.CipherSuites = []CipherSuite{all[i].CipherSuite}
	}
	for _, suite := range rotation.CipherSuites {
		if signatureScheme(suite) != signatureScheme(all[i].CipherSuite) {
			return nil, none, wrap(op, "", messages.ErrWrongCredential)
		}
	}
	_, err = ask[messages.RotationPut](ctx, c.scope, op, "", messages.PutRotation{Rotation: rotation})
	return rotation, all[i], err
}

// rotateConversations commits the credential wherever the own leaf has another one.
func (c *Client) rotateConversations(ctx context.Context, op string, entry CredentialEntry, progress func(RotationProgress)) error {
	ids, err := c.Conversations(ctx)
	if err != nil {
		return err
	}
	slices.Sort(ids) // the same order each time
	left := make(map[ConversationID]error)
	for i, id := range ids {
		err := c.rotateOne(ctx, op, id, entry)
		if ctx.Err() != nil || errors.Is(err, CodeClosed) || errors.Is(err, CodeStoreFailed) || errors.Is(err, CodeOutcomeUnknown) {
			return err
		}
		if err != nil {
			left[id] = err
		}
		progress(RotationProgress{Step: RotationConversations, Done: i + 1, Total: len(ids), Conversation: id, Err: err})
	}
	if len(left) > 0 {
		return wrap(op, "", &RotationIncomplete{Conversations: left})
	}
	return nil
}

func (c *Client) rotateOne(ctx context.Context, op string, id ConversationID, entry CredentialEntry) error {
	suite, err := c.ConversationCipherSuite(ctx, id)
	if errors.Is(err, CodeConversationNotFound) || err == nil && signatureScheme(suite) != signatureScheme(entry.CipherSuite) {
		return nil // it was wiped meanwhile, or the credential is not for it
	}
	if err == nil {
		_, err = ask[messages.CommitMerged](ctx, c.scope, op, id, messages.SetCredential{Credential: entry.Ref, Once: true})
	}
	return err
}

// rotateKeyPackages makes key packages of the credential, as far as they are missing, and has them published.
func (c *Client) rotateKeyPackages(ctx context.Context, op string, rotation *messages.Rotation, entry CredentialEntry, o RotateOptions) error {
	var fresh []KeyPackageEntry
	for i, suite := range rotation.CipherSuites {
		if rotation.KeyPackages == 0 {
			break
		}
		made, err := c.ClientKeyPackagesOf(ctx, suite, entry.Ref, rotation.KeyPackages)
		if err != nil {
			return err
		}
		fresh = append(fresh, made...)
		o.Progress(RotationProgress{Step: RotationKeyPackages, Done: (i + 1) * rotation.KeyPackages, Total: len(rotation.CipherSuites) * rotation.KeyPackages})
	}
	if o.Publish != nil && len(fresh) > 0 {
		if err := o.Publish(ctx, fresh); err != nil {
			return wrap(op, "", err)
		}
	}
	done := *rotation
	done.Published = true
	_, err := ask[messages.RotationPut](ctx, c.scope, op, "", messages.PutRotation{Rotation: &done, After: entry.Ref})
	return err
}

// removeStale deletes the key packages that were made of other credentials of the scheme, and these.
func (c *Client) removeStale(ctx context.Context, entry CredentialEntry, progress func(RotationProgress)) error {
	scheme := signatureScheme(entry.CipherSuite)
	packages, err := c.KeyPackages(ctx)
	if err != nil {
		return err
	}
	all, err := c.Credentials(ctx) // behind the key packages: who made one of these is among them
	if err != nil {
		return err
	}
	var stale []KeyPackageRef
	for _, k := range packages {
		// What is newer than the rotation is not its to remove.
		kept := slices.ContainsFunc(all, func(e CredentialEntry) bool { return !e.CreatedAt.Before(entry.CreatedAt) && madeOf(k, &e) })
		if signatureScheme(k.CipherSuite) == scheme && !kept {
			stale = append(stale, k.Ref)
		}
	}
	if len(stale) > 0 {
		if err := c.DeleteKeyPackages(ctx, stale...); err != nil {
			return err
		}
	}
	removed := 0
	for _, other := range all {
		if other.Ref == entry.Ref || signatureScheme(other.CipherSuite) != scheme || other.CreatedAt.After(entry.CreatedAt) {
			continue
		}
		if err := c.RemoveCredential(ctx, other.Ref); err != nil {
			return err
		}
		removed++
	}
	progress(RotationProgress{Step: RotationCleanup, Done: len(stale) + removed, Total: len(stale) + removed})
	return nil
}
