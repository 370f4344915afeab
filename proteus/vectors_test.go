package proteus

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/conclave-mls/conclave/internal/vectortest"
)

func readVector[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(vectortest.File(t, "proteus/"+name))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

const (
	rust2 = "CoreCrypto 10.3.0 (proteus 3.0.1, native)"
	rust1 = "proteus 1.0.4 (Rust, libsodium)"
)

func mustIdentity(t testing.TB, b []byte) *Identity {
	t.Helper()
	i, err := ParseIdentity(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(i.Marshal(), b) {
		t.Fatalf("identity %x is written as %x", b, []byte(i.Marshal()))
	}
	return i
}

func mustPreKey(t testing.TB, b []byte) *PreKey {
	t.Helper()
	k, err := ParsePreKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Marshal(), b) {
		t.Fatalf("prekey %x is written as %x", b, []byte(k.Marshal()))
	}
	return k
}

// sorted encodes a session as Rust does, with its states by tag.
func sorted(t testing.TB, local *Identity, b []byte) []byte {
	t.Helper()
	s, err := ParseSession(local, b)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Marshal()
	if len(out) != len(b) || len(s.states) == 1 && !bytes.Equal(out, b) {
		t.Fatalf("session %x is written as %x", b, []byte(out))
	}
	return out
}

func code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return int(e.Code())
	}
	return -1
}

func TestVectorKeys(t *testing.T) {
	v := readVector[struct {
		Identities []struct {
			Serialised, Seed vectortest.Hex
			Public           vectortest.Hex `json:"ed25519_public"`
			Fingerprint      string
		}
		Prekeys []struct {
			ID               uint16
			Serialised, Seed vectortest.Hex
			Public           vectortest.Hex `json:"ed25519_public"`
		}
		Bundles []struct {
			Kind       string
			Identity   vectortest.Hex `json:"identity_keypair"`
			Prekey     vectortest.Hex
			ID         uint16 `json:"prekey_id"`
			Serialised vectortest.Hex
		}
		DH []struct {
			Seed   vectortest.Hex `json:"secret_seed"`
			Public vectortest.Hex
			Shared vectortest.Hex
		}
		Degenerate []struct {
			Name   string
			Bundle vectortest.Hex
		} `json:"degenerate_public_keys"`
	}](t, "keys.json")
	for _, c := range v.Identities {
		i := mustIdentity(t, c.Serialised)
		made, err := NewIdentity(bytes.NewReader(c.Seed))
		if err != nil || !bytes.Equal(made.Marshal(), c.Serialised) {
			t.Errorf("the identity of seed %x: %v", []byte(c.Seed), err)
		}
		if public := i.PublicKey(); !bytes.Equal(public[:], c.Public) || public.Fingerprint() != c.Fingerprint {
			t.Errorf("identity %s has public key %x", c.Fingerprint, public)
		}
	}
	for _, c := range v.Prekeys {
		if k := mustPreKey(t, c.Serialised); k.ID() != c.ID || !bytes.Equal(k.pair.public[:], c.Public) {
			t.Errorf("prekey %d is read as %d with %x", c.ID, k.ID(), k.pair.public)
		}
		if made, err := NewPreKey(bytes.NewReader(c.Seed), c.ID); err != nil || !bytes.Equal(made.Marshal(), c.Serialised) {
			t.Errorf("the prekey of seed %x: %v", []byte(c.Seed), err)
		}
	}
	for _, c := range v.Bundles {
		p, err := ParsePreKeyBundle(c.Serialised)
		if err != nil {
			t.Errorf("%s: %v", c.Kind, err)
			continue
		}
		owner := mustIdentity(t, c.Identity)
		want := mustPreKey(t, c.Prekey).Bundle(owner.PublicKey())
		if p.ID != c.ID || p.PublicKey != want.PublicKey || p.Identity != want.Identity {
			t.Errorf("%s: read as %+v", c.Kind, p)
		}
		invalid := c.Kind != "unsigned" && c.Kind != "signed-rust" && c.Kind != "signed-ts"
		if err := p.Verify(); (err != nil) != invalid || invalid && !errors.Is(err, ErrInvalidSignature) {
			t.Errorf("%s: %v", c.Kind, err)
		}
		if c.Kind == "signed-rust" || c.Kind == "signed-ts" {
			want.Sign(owner)
		}
		if !invalid && c.Kind != "signed-ts" && !bytes.Equal(want.Marshal(), c.Serialised) {
			t.Errorf("%s is written as %x, want %x", c.Kind, want.Marshal(), []byte(c.Serialised))
		}
	}
	for _, c := range v.DH {
		var got [32]byte
		k := keyPair{seed: key(c.Seed)}
		if err := k.agree(got[:], PublicKey(c.Public)); err != nil || !bytes.Equal(got[:], c.Shared) {
			t.Errorf("agreement is %x, %v, want %x", got, err, []byte(c.Shared))
		}
	}
	if len(v.Degenerate) == 0 {
		t.Error("no degenerate keys")
	}
	for _, c := range v.Degenerate {
		if _, err := ParsePreKeyBundle(c.Bundle); !errors.Is(err, ErrKey) {
			t.Errorf("a bundle with a key that is %s: %v", c.Name, err)
		}
	}
}

func TestVectorKDF(t *testing.T) {
	v := readVector[struct {
		HKDF []struct {
			Salt, Input, Output vectortest.Hex
			Info                string
			Length              int
		}
		Handshake []struct {
			AliceIdentity vectortest.Hex `json:"alice_identity_seed"`
			AliceBase     vectortest.Hex `json:"alice_base_seed"`
			BobIdentity   vectortest.Hex `json:"bob_identity_seed"`
			BobPrekey     vectortest.Hex `json:"bob_prekey_seed"`
			Root          vectortest.Hex `json:"root_key"`
			Chain         vectortest.Hex `json:"chain_key"`
		}
		Ratchet []struct {
			Root     vectortest.Hex `json:"root_key"`
			Seed     vectortest.Hex `json:"our_seed"`
			Public   vectortest.Hex `json:"their_public"`
			NewRoot  vectortest.Hex `json:"new_root_key"`
			NewChain vectortest.Hex `json:"new_chain_key"`
		} `json:"dh_ratchet"`
		Chain [][]struct {
			Index  uint32
			Key    vectortest.Hex `json:"chain_key"`
			Cipher vectortest.Hex `json:"cipher_key"`
			MAC    vectortest.Hex `json:"mac_key"`
		}
		Messages []struct {
			Key                   vectortest.Hex `json:"cipher_key"`
			Counter               uint32
			Plaintext, Ciphertext vectortest.Hex
		}
		HMAC []struct{ Key, Data, MAC vectortest.Hex }
	}](t, "kdf.json")
	for _, c := range v.HKDF {
		if c.Length != 64 {
			continue
		}
		a, b := derive(c.Salt, c.Input, c.Info)
		if got := slices.Concat(a[:], b[:]); !bytes.Equal(got, c.Output) {
			t.Errorf("%s: %x, want %x", c.Info, got, []byte(c.Output))
		}
	}
	pair := func(seed []byte) keyPair {
		k, err := newKeyPair(bytes.NewReader(seed))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, c := range v.Handshake {
		alice, base, bob, preKey := pair(c.AliceIdentity), pair(c.AliceBase), pair(c.BobIdentity), pair(c.BobPrekey)
		s, err := respond(&Identity{bob}, &PreKey{pair: preKey}, &firstMessage{base: base.public, identity: alice.public})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.root[:], c.Root) || !bytes.Equal(s.send.chain.key[:], c.Chain) {
			t.Errorf("Bob has %x and %x", s.root[:], s.send.chain.key[:])
		}
		s, err = initiate(bytes.NewReader(make([]byte, 32)), &Identity{alice}, &base, &PreKeyBundle{PublicKey: preKey.public, Identity: bob.public})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.receive[0].chain.key; !bytes.Equal(got[:], c.Chain) {
			t.Errorf("Alice has %x", got[:])
		}
	}
	for _, c := range v.Ratchet {
		own, root := pair(c.Seed), key(c.Root)
		next, chain, err := root.ratchet(&own, PublicKey(c.Public))
		if err != nil || !bytes.Equal(next[:], c.NewRoot) || !bytes.Equal(chain.key[:], c.NewChain) {
			t.Errorf("ratchet: %x, %x, %v", next[:], chain.key[:], err)
		}
	}
	for _, chain := range v.Chain {
		head := chainKey{key(chain[0].Key), chain[0].Index}
		for _, c := range chain {
			m := head.messageKeys()
			if head.index != c.Index || !bytes.Equal(head.key[:], c.Key) || !bytes.Equal(m.cipher[:], c.Cipher) || !bytes.Equal(m.mac[:], c.MAC) || m.counter != c.Index {
				t.Errorf("chain at %d differs", c.Index)
			}
			if err := head.advance(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range v.Messages {
		m := messageKeys{cipher: key(c.Key), counter: c.Counter}
		got := make([]byte, len(c.Plaintext))
		if m.crypt(got, c.Plaintext); !bytes.Equal(got, c.Ciphertext) {
			t.Errorf("message %d is %x", c.Counter, got)
		}
	}
	for _, c := range v.HMAC {
		var got [32]byte
		k := key(c.Key)
		if mac(&got, &k, c.Data); !bytes.Equal(got[:], c.MAC) {
			t.Errorf("MAC is %x", got)
		}
	}
}

// preKeys parses a store, from ids in decimal.
func preKeys(t testing.TB, stored map[string]vectortest.Hex) map[uint16]*PreKey {
	t.Helper()
	keys := make(map[uint16]*PreKey)
	for name, b := range stored {
		id, err := strconv.ParseUint(name, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		keys[uint16(id)] = mustPreKey(t, b)
	}
	return keys
}

// named returns the prekey that a message names.
func named(m *Message, keys map[uint16]*PreKey) *PreKey {
	id, _ := m.PreKeyID()
	return keys[id]
}

type step struct {
	N             int
	Who, Op       string
	Session       string
	SessionBefore vectortest.Hex `json:"session_before"`
	SessionAfter  vectortest.Hex `json:"session_after"`
	Bundle        vectortest.Hex `json:"prekey_bundle"`
	Plaintext     vectortest.Hex
	Envelope      vectortest.Hex
	Removed       []uint16         `json:"prekeys_removed"`
	RNG           []vectortest.Hex `json:"rng"`
	NewRatchet    vectortest.Hex   `json:"new_ratchet_seed"`
	Error         any
}

func TestVectorTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(vectortest.File(t, "proteus/keys.json")), "transcript-*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			v := readVector[struct {
				Actors map[string]struct {
					Identity    vectortest.Hex `json:"identity_keypair"`
					Fingerprint string
					Prekeys     map[string]vectortest.Hex
				}
				Steps []step
			}](t, filepath.Base(file))
			identities, stores := make(map[string]*Identity), make(map[string]map[uint16]*PreKey)
			for name, a := range v.Actors {
				identities[name], stores[name] = mustIdentity(t, a.Identity), preKeys(t, a.Prekeys)
				if got := identities[name].PublicKey().Fingerprint(); got != a.Fingerprint {
					t.Errorf("%s has fingerprint %s", name, got)
				}
			}
			for _, s := range v.Steps {
				replay(t, s, identities[s.Who], stores[s.Who])
			}
		})
	}
}

// replay does one step and compares what comes out byte for byte.
func replay(t *testing.T, s step, local *Identity, keys map[uint16]*PreKey) {
	t.Helper()
	rand := bytes.NewReader(s.NewRatchet)
	if s.RNG != nil {
		rand = bytes.NewReader(slices.Concat(toSlices(s.RNG)...))
	}
	var before *Session
	if s.SessionBefore != nil {
		var err error
		if before, err = ParseSession(local, s.SessionBefore); err != nil {
			t.Fatalf("step %d: %v", s.N, err)
		}
	}
	var after *Session
	var err error
	switch s.Op {
	case "init_from_prekey":
		if s.RNG == nil { // the base key of these is unknown
			sorted(t, local, s.SessionAfter)
			return
		}
		var bundle PreKeyBundle
		if bundle, err = ParsePreKeyBundle(s.Bundle); err == nil {
			after, err = NewSession(rand, local, bundle)
		}
	case "encrypt":
		var envelope []byte
		if after, envelope, err = before.Encrypt(s.Plaintext); err == nil && !bytes.Equal(envelope, s.Envelope) {
			t.Errorf("step %d: envelope %x, want %x", s.N, envelope, []byte(s.Envelope))
		}
	case "init_from_message", "decrypt":
		var m *Message
		if m, err = ParseMessage(s.Envelope); err != nil {
			break
		}
		var got Decrypted
		if before == nil {
			got, err = Accept(rand, local, m, named(m, keys))
		} else {
			got, err = before.Decrypt(rand, m, named(m, keys))
		}
		if err != nil {
			break
		}
		after = got.Session
		if !bytes.Equal(got.Plaintext, s.Plaintext) {
			t.Errorf("step %d: plaintext %q, want %q", s.N, got.Plaintext, s.Plaintext)
		}
		id, _ := m.PreKeyID()
		if got.UsedPreKey && id != LastResort {
			if !slices.Equal(s.Removed, []uint16{id}) {
				t.Errorf("step %d: removes prekey %d, want %d", s.N, id, s.Removed)
			}
			delete(keys, id)
		} else if len(s.Removed) > 0 {
			t.Errorf("step %d: removes no prekey, want %d", s.N, s.Removed)
		}
	default:
		t.Fatalf("step %d: unknown operation %s", s.N, s.Op)
	}
	if (err != nil) != (s.Error != nil) {
		t.Fatalf("step %d: %v, want %v", s.N, err, s.Error)
	}
	if before != nil && !bytes.Equal(before.Marshal(), sorted(t, local, s.SessionBefore)) {
		t.Errorf("step %d has changed the session before", s.N)
	}
	if err == nil {
		if got, want := after.Marshal(), sorted(t, local, s.SessionAfter); !bytes.Equal(got, want) {
			t.Errorf("step %d: session %x, want %x", s.N, []byte(got), want)
		}
		if rand.Len() > 0 {
			t.Errorf("step %d: %d random bytes are left", s.N, rand.Len())
		}
	}
}

func toSlices(list []vectortest.Hex) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

type outcome struct {
	Plaintext  *vectortest.Hex
	Envelope   vectortest.Hex
	Removed    []uint16       `json:"prekeys_removed"`
	Sorted     vectortest.Hex `json:"session_after_sorted_sha256"`
	NewRatchet vectortest.Hex `json:"new_ratchet_seed"`
	Error      *struct {
		Tag  string
		Code int `json:"error_code"`
	}
}

// wantCode returns the code of CoreCrypto's error.
func (o outcome) wantCode() int {
	named := map[string]int{"SessionNotFound": 102, "DuplicateMessage": 209, "RemoteIdentityChanged": 204}
	if code, ok := named[o.Error.Tag]; ok {
		return code
	}
	return o.Error.Code
}

func TestVectorCases(t *testing.T) {
	v := readVector[struct {
		Identities map[string]vectortest.Hex
		Prekeys    map[string]vectortest.Hex
		Sessions   map[string]vectortest.Hex
		Cases      []struct {
			Name, Op, Identity string
			Session            *string
			Envelope           vectortest.Hex
			Plaintext          vectortest.Hex
			Prekeys            []uint16
			Result             map[string]outcome
		}
	}](t, "cases.json")
	all := preKeys(t, v.Prekeys)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			want := c.Result[rust1]
			local := mustIdentity(t, v.Identities[c.Identity])
			keys := make(map[uint16]*PreKey)
			for _, id := range c.Prekeys {
				keys[id] = all[id]
			}
			seed := want.NewRatchet
			if seed == nil {
				seed = make([]byte, 32)
			}
			// A failed attempt may have drawn before.
			rand := bytes.NewReader(slices.Concat(seed, seed))
			var before *Session
			var got Decrypted
			var envelope []byte
			var err error
			if c.Session != nil {
				before, err = ParseSession(local, v.Sessions[*c.Session])
			}
			var m *Message
			if err == nil && c.Op != "encrypt" {
				m, err = ParseMessage(c.Envelope)
			}
			if err == nil {
				switch c.Op {
				case "encrypt":
					got.Session, envelope, err = before.Encrypt(c.Plaintext)
				case "decrypt":
					got, err = before.Decrypt(rand, m, named(m, keys))
				case "init_from_message":
					got, err = Accept(rand, local, m, named(m, keys))
				default:
					t.Fatalf("unknown operation %s", c.Op)
				}
			}
			reference := c.Result[rust2]
			if reference.Error != nil {
				if code(err) != reference.wantCode() {
					t.Errorf("%v, want code %d", err, reference.wantCode())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want.Plaintext != nil && !bytes.Equal(got.Plaintext, *want.Plaintext) {
				t.Errorf("plaintext %q", got.Plaintext)
			}
			if !bytes.Equal(envelope, want.Envelope) {
				t.Errorf("envelope %x, want %x", envelope, []byte(want.Envelope))
			}
			if m != nil {
				if id, _ := m.PreKeyID(); (got.UsedPreKey && id != LastResort) != (len(want.Removed) > 0) {
					t.Errorf("uses a prekey: %t, want %d removed", got.UsedPreKey, want.Removed)
				}
			}
			if sum := sha256.Sum256(got.Session.Marshal()); !bytes.Equal(sum[:], want.Sorted) {
				t.Errorf("session %x differs", []byte(got.Session.Marshal()))
			}
		})
	}
}

func TestVectorDecode(t *testing.T) {
	type row struct {
		Name     string
		Envelope vectortest.Hex
		Session  vectortest.Hex
		Result   map[string]outcome
	}
	v := readVector[struct {
		Identity  vectortest.Hex
		Session   vectortest.Hex `json:"session_for_envelopes"`
		Envelopes []row
		Sessions  []row
	}](t, "decode.json")
	local := mustIdentity(t, v.Identity)
	// Where the reference says to differ from CoreCrypto.
	stricter := map[string]int{
		"duplicate key 0":                      3,
		"message: ratchet key all zero":        502,
		"message: ratchet key neutral element": 502,
	}
	check := func(r row, session, envelope []byte) {
		var got Decrypted
		m, err := ParseMessage(envelope)
		var s *Session
		if err == nil {
			s, err = ParseSession(local, session)
		}
		if err == nil {
			got, err = s.Decrypt(bytes.NewReader(make([]byte, 64)), m, nil)
		}
		want := r.Result[rust2]
		wantCode := stricter[r.Name]
		if wantCode == 0 && want.Error != nil {
			wantCode = want.wantCode()
		}
		switch {
		case wantCode != 0 && code(err) != wantCode:
			t.Errorf("%s: %v, want code %d", r.Name, err, wantCode)
		case wantCode == 0 && err != nil:
			t.Errorf("%s: %v", r.Name, err)
		case wantCode == 0 && !bytes.Equal(got.Plaintext, *want.Plaintext):
			t.Errorf("%s: plaintext %q", r.Name, got.Plaintext)
		}
	}
	for _, r := range v.Envelopes {
		check(r, v.Session, r.Envelope)
	}
	for _, r := range v.Sessions {
		check(r, r.Session, v.Envelopes[0].Envelope)
	}
	if len(v.Envelopes) == 0 || len(v.Sessions) == 0 {
		t.Error("no cases")
	}
}
