package bench

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/store"
)

// A floor is what an operation cannot do without: the primitives that RFC 9420
// asks for, on bytes of the real lengths, one goroutine. There is no parsing, no
// policy, no copying, no storage.
//
//	encrypt  sender ratchet step, sign, seal; sender data key, seal
//	decrypt  sender data key, open; sender ratchet step, open, verify
//	join     open the group secrets and the group info, key schedule, verify every
//	         leaf of a group of 1,000 one by one, hash its tree
//	add      verify 999 key packages one by one, hash the tree, key schedule,
//	         seal the group secrets to each
//	sync     one Apply of a record of 256 bytes, one caller
const (
	workEncrypt = "encrypt"
	workDecrypt = "decrypt"
	workJoin    = "join"
	workAdd     = "add"
	workSync    = "sync"
)

// Lengths of what is hashed, signed and sealed beside the content, in bytes, as
// they come out with group ids of 16 bytes, Basic credentials of 32 and Ed25519.
const (
	floorMembers   = 1000
	groupContext   = 130
	contentHeader  = 60  // FramedContentTBS without content and group context
	contentTrailer = 70  // length and signature behind the content of a message
	senderDataLen  = 12  // RFC 9420 section 6.3.2
	leafLen        = 230 // a LeafNode in its tree hash input
	leafTBSLen     = 180
	keyPackageLen  = 330
	parentLen      = 80 // a blank parent's tree hash input: two hashes
	groupInfoLen   = 350
	secretsLen     = 40 // GroupSecrets: the joiner secret
	scheduleSteps  = 14 // derivations of RFC 9420 section 8
)

// material returns n bytes that depend on the label only.
func material(s *primitive.Suite, label string, n int) []byte {
	out := make([]byte, n)
	if err := s.ExpandInto(out[:min(n, 255*s.HashSize())], []byte("conclave bench"), []byte(label)); err != nil {
		panic(err)
	}
	return out
}

// derivation is a label and context of ExpandWithLabel, encoded, and its output.
type derivation struct{ info, out []byte }

func newDerivation(s *primitive.Suite, label string, contextLen, n int) derivation {
	return derivation{material(s, label, 12+len(label)+contextLen), make([]byte, n)}
}

func expand(s *primitive.Suite, secret []byte, ds []derivation) error {
	for _, d := range ds {
		if err := s.ExpandInto(d.out, secret, d.info); err != nil {
			return err
		}
	}
	return nil
}

// messageFloor returns the floors of encrypting and of decrypting.
func messageFloor(s *primitive.Suite, size int) (encrypt, decrypt func() error, err error) {
	priv, pub, err := s.GenerateSignatureKey(material(s, "signer", s.SeedSize()))
	if err != nil {
		return nil, nil, err
	}
	if priv, err = s.ExpandSignatureKey(priv); err != nil {
		return nil, nil, err
	}
	var (
		senderDataSecret = material(s, "sender data secret", s.HashSize())
		ratchetSecret    = material(s, "ratchet secret", s.HashSize())
		senderData       = []derivation{newDerivation(s, "key", s.HashSize(), s.KeySize()), newDerivation(s, "nonce", s.HashSize(), s.NonceSize())}
		ratchet          = []derivation{newDerivation(s, "key", 4, s.KeySize()), newDerivation(s, "nonce", 4, s.NonceSize()), newDerivation(s, "secret", 4, s.HashSize())}
		tbs              = material(s, "to be signed", contentHeader+groupContext+size)
		aad              = material(s, "associated data", 40)
		header           = material(s, "sender data", senderDataLen)
		content          = material(s, "content", size+contentTrailer)
		sealed           = make([]byte, 0, len(content)+s.TagSize())
		sealedHeader     = make([]byte, 0, senderDataLen+s.TagSize())
	)
	key := func(ds []derivation) (secret.Bytes, secret.Bytes) { return ds[0].out, ds[1].out }
	seal := func(ds []derivation, dst, plain []byte) ([]byte, error) {
		k, n := key(ds)
		return s.SealAEAD(dst, k, n, aad, plain)
	}
	open := func(ds []derivation, dst, ct []byte) error {
		k, n := key(ds)
		_, err := s.OpenAEAD(dst, k, n, aad, ct)
		return err
	}
	encrypt = func() error {
		if err := expand(s, ratchetSecret, ratchet); err != nil {
			return err
		}
		if _, err := s.Sign(priv, tbs); err != nil {
			return err
		}
		if _, err := seal(ratchet, sealed, content); err != nil {
			return err
		}
		if err := expand(s, senderDataSecret, senderData); err != nil {
			return err
		}
		_, err := seal(senderData, sealedHeader, header)
		return err
	}
	if err := encrypt(); err != nil {
		return nil, nil, err
	}
	sig, err := s.Sign(priv, tbs)
	if err != nil {
		return nil, nil, err
	}
	ct, err1 := seal(ratchet, nil, content)
	headerCT, err2 := seal(senderData, nil, header)
	decrypt = func() error {
		if err := expand(s, senderDataSecret, senderData); err != nil {
			return err
		}
		if err := open(senderData, sealedHeader, headerCT); err != nil {
			return err
		}
		if err := expand(s, ratchetSecret, ratchet); err != nil {
			return err
		}
		if err := open(ratchet, sealed, ct); err != nil {
			return err
		}
		return s.Verify(pub, tbs, sig)
	}
	return encrypt, decrypt, errors.Join(err1, err2)
}

// A signed message is verified by a key that is not known before.
type signed struct{ pub, message, sig []byte }

// signedBy signs n messages. All have a key of their own, as the members of a group
// do.
func signedBy(s *primitive.Suite, label string, n, size int) ([]signed, error) {
	vs := make([]signed, n)
	for i := range vs {
		priv, pub, err := s.GenerateSignatureKey(material(s, fmt.Sprint("key", i), s.SeedSize()))
		if err != nil {
			return nil, err
		}
		m := material(s, fmt.Sprint(label, i), size)
		sig, err := s.Sign(priv, m)
		if err != nil {
			return nil, err
		}
		vs[i] = signed{pub, m, sig}
	}
	return vs, nil
}

// hashTree hashes as many bytes as the tree of a group whose parents are blank.
func hashTree(s *primitive.Suite, members int, leaf, parent []byte) {
	var space [64]byte
	for range members {
		s.Hash(space[:0], leaf)
	}
	for range members - 1 {
		s.Hash(space[:0], parent)
	}
}

// signatures are what joining and adding verify. They are made once for a suite.
type signatures struct{ leaves, keyPackages, infos []signed }

var groupSignatures = map[uint16]signatures{}

func signaturesOf(s *primitive.Suite) (v signatures, err error) {
	v, ok := groupSignatures[s.ID()]
	if ok {
		return v, nil
	}
	if v.leaves, err = signedBy(s, "leaf", floorMembers, leafTBSLen); err != nil {
		return v, err
	}
	if v.keyPackages, err = signedBy(s, "key package", floorMembers-1, keyPackageLen); err != nil {
		return v, err
	}
	if v.infos, err = signedBy(s, "group info", 1, groupInfoLen+floorMembers*leafLen); err != nil {
		return v, err
	}
	groupSignatures[s.ID()] = v
	return v, nil
}

// groupFloor returns the floors of joining a group of floorMembers, and of making
// one by one commit.
func groupFloor(s *primitive.Suite) (join, add func() error, err error) {
	const n = floorMembers
	v, err := signaturesOf(s)
	if err != nil {
		return nil, nil, err
	}
	leaves, keyPackages, infos := v.leaves, v.keyPackages, v.infos
	initPrivate, initPublic, err := s.DeriveKeyPair(material(s, "init", s.SeedSize()))
	if err != nil {
		return nil, nil, err
	}
	var (
		leaf, parent = material(s, "leaf", leafLen), material(s, "parent", parentLen)
		schedule     = make([]derivation, scheduleSteps)
		epochSecret  = material(s, "epoch secret", s.HashSize())
		key          = secret.Bytes(material(s, "welcome key", s.KeySize()))
		nonce        = secret.Bytes(material(s, "welcome nonce", s.NonceSize()))
		secrets      = material(s, "group secrets", secretsLen)
		seed         = secret.Bytes(material(s, "seed", s.SeedSize()))
		// RFC 9180 hashes the encrypted group info, with the tree inside, into each
		// seal. It is the same for all, so a floor hashes it once.
		info = material(s, "info", s.HashSize())
		room = make([]byte, 0, len(infos[0].message)+s.TagSize())
	)
	for i := range schedule {
		schedule[i] = newDerivation(s, fmt.Sprint("epoch", i), s.HashSize(), s.HashSize())
	}
	sealedInfo, err := s.SealAEAD(nil, key, nonce, nil, infos[0].message)
	if err != nil {
		return nil, nil, err
	}
	enc, sealedSecrets, err := s.Seal(initPublic, info, nil, secrets, seed)
	if err != nil {
		return nil, nil, err
	}
	verify := func(vs []signed) error {
		for i := range vs {
			if err := s.Verify(vs[i].pub, vs[i].message, vs[i].sig); err != nil {
				return err
			}
		}
		return nil
	}
	join = func() error {
		var space [64]byte
		s.Hash(space[:0], sealedInfo)
		if _, err := s.OpenWithPublicKey(initPrivate, initPublic, enc, info, nil, sealedSecrets); err != nil {
			return err
		}
		if _, err := s.OpenAEAD(room, key, nonce, nil, sealedInfo); err != nil {
			return err
		}
		if err := expand(s, epochSecret, schedule); err != nil {
			return err
		}
		hashTree(s, n, leaf, parent)
		return errors.Join(verify(infos), verify(leaves))
	}
	add = func() error {
		if err := errors.Join(verify(keyPackages), verify(leaves[1:])); err != nil {
			return err
		}
		hashTree(s, n, leaf, parent)
		if err := expand(s, epochSecret, schedule); err != nil {
			return err
		}
		if _, err := s.SealAEAD(room, key, nonce, nil, infos[0].message); err != nil {
			return err
		}
		var space [64]byte
		s.Hash(space[:0], sealedInfo)
		for range n - 1 {
			if _, _, err := s.Seal(initPublic, info, nil, secrets, seed); err != nil {
				return err
			}
		}
		return nil
	}
	return join, add, nil
}

// syncFloor opens a store in dir and returns one durable Apply.
func syncFloor(s *primitive.Suite, dir string) (op, closeStore func() error, err error) {
	st, err := store.Open(dir, store.Options{Key: material(s, "database key", store.KeySize)})
	if err != nil {
		return nil, nil, err
	}
	value := material(s, "record", 256)
	k := store.Client(1).Data(nil, []byte("sync"))
	op = func() error {
		var c store.ChangeSet
		c.Put(k, value)
		return st.Apply(&c)
	}
	return op, st.Close, nil
}

// floorKey names a floor. Each of procs goroutines has an instance of its own.
type floorKey struct {
	suite uint16
	work  string
	size  int
	procs int
}

// floors keeps the instances for the whole run.
var floors = map[floorKey][]func() error{}

// floorOf returns the instances of a floor, set up once.
func floorOf(b *testing.B, k floorKey) []func() error {
	b.Helper()
	s, ok := primitive.Lookup(k.suite)
	if !ok {
		b.Fatalf("no suite %d", k.suite)
	}
	for len(floors[k]) < k.procs {
		var op func() error
		var err error
		switch k.work {
		case workEncrypt:
			op, _, err = messageFloor(s, k.size)
		case workDecrypt:
			_, op, err = messageFloor(s, k.size)
		case workJoin:
			op, _, err = groupFloor(s)
		case workAdd:
			_, op, err = groupFloor(s)
		case workSync:
			var closeStore func() error
			if op, closeStore, err = syncFloor(s, scratchDir(b)); err == nil {
				atEnd = append(atEnd, closeStore)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		floors[k] = append(floors[k], op)
	}
	return floors[k]
}

// BenchmarkFloor has a line for each work. Joining, adding and syncing have no
// message and the size in their name means nothing; it is there for the tools.
func BenchmarkFloor(b *testing.B) {
	suites, sizes := []uint16{1, 2}, []int{16, 1 << 10, 64 << 10}
	if testing.Short() {
		suites, sizes = suites[:1], sizes[:1]
	}
	var cells []cell
	for _, suite := range suites {
		for _, work := range []string{workEncrypt, workDecrypt} {
			for _, size := range sizes {
				cells = append(cells, cell{suite: suite, work: work, size: size})
			}
		}
		for _, work := range []string{workJoin, workAdd, workSync} {
			cells = append(cells, cell{suite: suite, work: work, size: 1 << 10})
		}
	}
	if !testing.Short() {
		for suite := uint16(3); suite <= 7; suite++ {
			for _, work := range []string{workEncrypt, workDecrypt} {
				cells = append(cells, cell{suite: suite, work: work, size: 1 << 10})
			}
		}
	}
	for _, c := range cells {
		b.Run(c.name(), func(b *testing.B) {
			op := floorOf(b, floorKey{c.suite, c.work, c.size, 1})[0]
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if err := op(); err != nil {
					b.Fatal(err)
				}
			}
			if used := cpuTime() - start; used > 0 {
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
			}
			if perSecond := float64(b.N) / b.Elapsed().Seconds(); !math.IsInf(perSecond, 0) && c.work != workJoin && c.work != workAdd {
				b.ReportMetric(perSecond, "msg/s")
			}
		})
	}
}
