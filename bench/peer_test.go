package bench

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Whoever is not measured needs no engine: peers are groups of the pure core, and
// members that never act are key packages whose private keys are thrown away.

// dialect is a suite spoken in a profile.
type dialect struct {
	suite uint16
	rfc   bool
}

func (d dialect) core() mlsgroup.Profile {
	if d.rfc {
		return mlsgroup.ProfileRFC
	}
	return mlsgroup.ProfileWire
}

func (d dialect) profile() conclave.Profile {
	if d.rfc {
		return conclave.ProfileRFC9420
	}
	return conclave.ProfileWire
}

// input is what a step of the core gets.
func (d dialect) input(signer *mlsgroup.Signer) mlsgroup.Input {
	return mlsgroup.Input{Rand: rand.Reader, Now: time.Now(), Signer: signer, Do: parallel}
}

// parallel runs f(0) to f(n-1) on all processors.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// forEach is parallel for work that can fail.
func forEach(n int, f func(i int) error) error {
	errs := make([]error, n)
	parallel(n, func(i int) { errs[i] = f(i) })
	return errors.Join(errs...)
}

// identity is a client with a signature key, in or outside of an engine.
type identity struct {
	dialect
	id     conclave.ClientID
	stored *mlsgroup.Signer // with the private key as it is stored
	signer *mlsgroup.Signer // with the private key ready to sign
}

func newIdentity(d dialect, name string) (*identity, error) {
	id := conclave.ClientID(fmt.Sprintf("%-32s", name))
	stored, err := mlsgroup.NewSigner(rand.Reader, mlsgroup.CipherSuite(d.suite), mlsgroup.BasicCredential([]byte(id)))
	if err != nil {
		return nil, err
	}
	signer, err := stored.Expanded()
	return &identity{dialect: d, id: id, stored: stored, signer: signer}, err
}

func (p *identity) keyPackage() (*mlsgroup.KeyPackageBundle, error) {
	in := p.input(p.signer)
	return mlsgroup.NewKeyPackage(in, mlsgroup.KeyPackageOptions{Profile: p.core()})
}

// peer is a member outside of any engine.
type peer struct {
	*identity
	group *mlsgroup.Group
}

// found makes a group of one.
func (p *identity) found(id conclave.ConversationID) (*peer, error) {
	t, err := mlsgroup.NewGroup(p.input(p.signer), mlsgroup.GroupOptions{GroupID: []byte(id), Profile: p.core()})
	if err != nil {
		return nil, err
	}
	return &peer{p, t.Next}, nil
}

// join is how a peer enters a group that an engine made.
func (p *identity) join(welcome []byte, kp *mlsgroup.KeyPackageBundle) (*peer, error) {
	w, err := welcomeOf(welcome)
	if err != nil {
		return nil, err
	}
	t, err := mlsgroup.Join(p.input(p.signer), w, mlsgroup.JoinOptions{KeyPackage: kp, Profile: p.core()})
	if err != nil {
		return nil, err
	}
	return &peer{p, t.Next}, nil
}

func welcomeOf(message []byte) (*mlsgroup.Welcome, error) {
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return nil, err
	}
	if m.Welcome == nil {
		return nil, errors.New("bench: no welcome")
	}
	return m.Welcome, nil
}

// commit makes and merges a commit of the proposals, with a path if asked for. The
// peer it is called on stays as it is.
func (p *peer) commit(path bool, proposals ...mlsgroup.Proposal) (*peer, mlsgroup.CommitBundle, error) {
	c, err := p.group.Commit(p.input(p.signer), mlsgroup.CommitOptions{Proposals: proposals, ForcePath: path, OmitPath: !path})
	if err != nil {
		return nil, mlsgroup.CommitBundle{}, err
	}
	t, err := p.group.Merge(c)
	if err != nil {
		return nil, mlsgroup.CommitBundle{}, err
	}
	return &peer{p.identity, t.Next}, c.Bundle, nil
}

func addProposals(keyPackages ...*mlsgroup.KeyPackage) []mlsgroup.Proposal {
	out := make([]mlsgroup.Proposal, len(keyPackages))
	for i, kp := range keyPackages {
		out[i] = mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: kp}}
	}
	return out
}

func removeProposal(leaf mlsgroup.LeafIndex) mlsgroup.Proposal {
	return mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: leaf}}
}

// encrypt moves the peer on.
func (p *peer) encrypt(plaintext []byte) ([]byte, error) {
	t, err := p.group.Encrypt(p.input(p.signer), plaintext, nil)
	if err != nil {
		return nil, err
	}
	p.group = t.Next
	return t.Outbound.Message, nil
}

// process moves the peer on; it returns the plaintext of an application message.
func (p *peer) process(message []byte) ([]byte, error) {
	t, err := p.group.Process(p.input(nil), message)
	if err != nil {
		return nil, err
	}
	p.group = t.Next
	return t.Received.Application, nil
}

// agrees fails unless the peer is in the epoch that an engine says it is in.
func (p *peer) agrees(s conclave.ConversationState) error {
	if p.group.Epoch() != s.Epoch || !bytes.Equal(p.group.EpochAuthenticator(), s.EpochAuthenticator) {
		return fmt.Errorf("bench: the engine is in epoch %d and its peer in %d, or their authenticators differ", s.Epoch, p.group.Epoch())
	}
	return nil
}

// leaves holds key packages of members that never act, for all groups of a run.
var leaves = map[dialect][]*mlsgroup.KeyPackage{}

// leafPackages returns the first n, each of a client of its own.
func leafPackages(d dialect, n int) ([]*mlsgroup.KeyPackage, error) {
	have := leaves[d]
	if len(have) < n {
		more := make([]*mlsgroup.KeyPackage, n-len(have))
		err := forEach(len(more), func(i int) error {
			p, err := newIdentity(d, fmt.Sprint("leaf ", len(have)+i))
			if err != nil {
				return err
			}
			kp, err := p.keyPackage()
			if err != nil {
				return err
			}
			kp.Wipe()
			more[i] = kp.KeyPackage
			return nil
		})
		if err != nil {
			return nil, err
		}
		leaves[d] = append(have, more...)
	}
	return leaves[d][:n], nil
}

// bundle is what an engine imports to be a client that a peer has added.
func (p *identity) bundle(kp *mlsgroup.KeyPackageBundle) conclave.KeyPackageBundle {
	return conclave.KeyPackageBundle{
		KeyPackage: kp.KeyPackage.Marshal(), InitPrivate: kp.InitPrivate.Clone(), LeafPrivate: kp.LeafPrivate.Clone(),
		SignaturePrivate: p.stored.Private.Clone(),
	}
}
