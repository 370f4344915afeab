package enginetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// PassiveClient is a case of the official passive-client vectors: a client that joins by a Welcome and then only listens.
type PassiveClient struct {
	CipherSuite               uint16         `json:"cipher_suite"`
	ExternalPSKs              []passivePSK   `json:"external_psks"`
	KeyPackage                hexBytes       `json:"key_package"`
	SignaturePrivate          hexBytes       `json:"signature_priv"`
	EncryptionPrivate         hexBytes       `json:"encryption_priv"`
	InitPrivate               hexBytes       `json:"init_priv"`
	Welcome                   hexBytes       `json:"welcome"`
	RatchetTree               hexBytes       `json:"ratchet_tree"`
	InitialEpochAuthenticator hexBytes       `json:"initial_epoch_authenticator"`
	Epochs                    []passiveEpoch `json:"epochs"`
}

type passivePSK struct {
	ID  hexBytes `json:"psk_id"`
	PSK hexBytes `json:"psk"`
}

type passiveEpoch struct {
	Proposals          []hexBytes `json:"proposals"`
	Commit             hexBytes   `json:"commit"`
	EpochAuthenticator hexBytes   `json:"epoch_authenticator"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// maxVectorFile bounds a vector file in bytes.
const maxVectorFile = 256 << 20

// ReadPassiveClients reads a file of the official format.
func ReadPassiveClients(name string) ([]PassiveClient, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxVectorFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxVectorFile)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var all []PassiveClient
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s is not a file of passive-client vectors: %w", filepath.Base(name), err)
	}
	for i, p := range all {
		if len(p.KeyPackage) == 0 || len(p.Welcome) == 0 {
			return nil, fmt.Errorf("%s is not a file of passive-client vectors: case %d has no key package or no Welcome", filepath.Base(name), i)
		}
	}
	return all, nil
}

// ReplayOptions say how a passive client hears its messages. None of it may make a difference.
type ReplayOptions struct {
	Reopen   bool // the engine is closed and opened again between every two messages
	Together bool // all messages go through one DecryptAll, and only the last epoch's authenticator is compared
	// As in the engine's options.
	StateBytes, CacheBytes int64
	LeaseGenerations       bool
}

// Replay runs one passive client through a whole engine in an empty directory and returns what went wrong.
func (p *PassiveClient) Replay(ctx context.Context, dir string, o ReplayOptions) (err error) {
	key := bytes.Repeat([]byte{1}, conclave.KeySize)
	kp, err := parseKeyPackage(p.KeyPackage)
	if err != nil {
		return fmt.Errorf("key package: %w", err)
	}
	id := conclave.ClientID(kp.LeafNode.Credential.Identity)
	var (
		engine *conclave.Engine
		client *conclave.Client
	)
	open := func() (err error) {
		if engine, err = conclave.Open(ctx, dir, conclave.Options{
			Key: key, StateBytes: o.StateBytes, CacheBytes: o.CacheBytes, LeaseGenerations: o.LeaseGenerations,
		}); err != nil {
			return err
		}
		client, err = engine.Client(ctx, id, conclave.ClientOptions{
			CipherSuites: []conclave.CipherSuite{conclave.CipherSuite(p.CipherSuite)}, NoCredential: true, Profile: conclave.ProfileRFC9420,
		})
		return err
	}
	between := func() error {
		if !o.Reopen {
			return nil
		}
		if err := engine.Close(); err != nil {
			return err
		}
		return open()
	}
	if err := open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()

	for _, psk := range p.ExternalPSKs {
		if err := client.PutPSK(ctx, psk.ID, conclave.Secret(psk.PSK)); err != nil {
			return err
		}
	}
	if _, err := client.ImportKeyPackage(ctx, conclave.KeyPackageBundle{
		KeyPackage: p.KeyPackage, InitPrivate: conclave.Secret(p.InitPrivate), LeafPrivate: conclave.Secret(p.EncryptionPrivate), SignaturePrivate: conclave.Secret(p.SignaturePrivate),
	}); err != nil {
		return err
	}
	if err := between(); err != nil {
		return err
	}
	joined, err := client.ProcessWelcome(ctx, p.Welcome, conclave.JoinOptions{RatchetTree: p.RatchetTree})
	if err != nil {
		return err
	}
	authenticator := func(want []byte) error {
		state, err := client.Conversation(joined.Conversation).State(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(state.EpochAuthenticator, want) {
			return fmt.Errorf("the authenticator of epoch %d differs", state.Epoch)
		}
		return nil
	}
	if err := authenticator(p.InitialEpochAuthenticator); err != nil {
		return err
	}
	if o.Together {
		if err := p.together(ctx, client, joined.Conversation); err != nil || len(p.Epochs) == 0 {
			return err
		}
		return authenticator(p.Epochs[len(p.Epochs)-1].EpochAuthenticator)
	}
	process := func(message []byte, want conclave.Outcome) error {
		if err := between(); err != nil {
			return err
		}
		got, err := client.DecryptMessage(ctx, joined.Conversation, message)
		if err != nil {
			return err
		}
		if got.Outcome != want {
			return fmt.Errorf("outcome %v, want %v", got.Outcome, want)
		}
		return nil
	}
	for i, e := range p.Epochs {
		for n, proposal := range e.Proposals {
			if err := process(proposal, conclave.OutcomeProposal); err != nil {
				return fmt.Errorf("commit %d, proposal %d: %w", i, n, err)
			}
		}
		if err := process(e.Commit, conclave.OutcomeCommit); err != nil {
			return fmt.Errorf("commit %d: %w", i, err)
		}
		if err := authenticator(e.EpochAuthenticator); err != nil {
			return err
		}
	}
	return nil
}

// together hands all messages over as one stream.
func (p *PassiveClient) together(ctx context.Context, client *conclave.Client, id conclave.ConversationID) error {
	var stream []conclave.Incoming
	var want []conclave.Outcome
	for _, e := range p.Epochs {
		for _, proposal := range e.Proposals {
			stream, want = append(stream, conclave.Incoming{Conversation: id, Message: proposal}), append(want, conclave.OutcomeProposal)
		}
		stream, want = append(stream, conclave.Incoming{Conversation: id, Message: e.Commit}), append(want, conclave.OutcomeCommit)
	}
	heard := 0
	for out, err := range client.DecryptAll(ctx, slices.Values(stream)) {
		if err != nil {
			return fmt.Errorf("message %d: %w", out.Index, err)
		}
		if out.Index != heard || out.Message.Outcome != want[heard] {
			return fmt.Errorf("message %d, outcome %v, want message %d, outcome %v", out.Index, out.Message.Outcome, heard, want[heard])
		}
		heard++
	}
	if heard != len(want) {
		return fmt.Errorf("%d of %d messages came out", heard, len(want))
	}
	return nil
}

// parseKeyPackage reads a key package, bare or wrapped in an MLSMessage.
func parseKeyPackage(b []byte) (*mlsgroup.KeyPackage, error) {
	if m, err := mlsgroup.ParseMLSMessage(b); err == nil && m.KeyPackage != nil {
		return m.KeyPackage, nil
	}
	return mlsgroup.ParseKeyPackage(b)
}
