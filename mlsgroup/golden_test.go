package mlsgroup

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var golden = flag.String("golden", "", "write golden records and messages in the present formats to this new directory, e.g. testdata/golden/v2")

// goldenCase is one member's records, in every version that was ever released, with what it still has to be able to do with them: open what was sent to
// it, carry out the commit it had in flight, join by a Welcome. It needs none of the official vectors.
type goldenCase struct {
	CipherSuite CipherSuite
	Profile     Profile

	// A client joins by a Welcome for a stored key package.
	KeyPackageBundle    hexString
	Welcome             hexString
	JoinedAuthenticator hexString

	// The client as a member, later: its records, with skipped keys, a past epoch, proposals pending, an Update of its own among them.
	Records       map[string]hexString // by key, in hexadecimal
	Authenticator hexString
	// Messages that it processes in order.
	Messages []goldenMessage
	// InFlight is a commit of its own that had left, to be carried out instead of those messages.
	InFlight            hexString
	MergedAuthenticator hexString
}

type goldenMessage struct {
	Message       hexString
	Text          string    // of application data
	Authenticator hexString // of the epoch that a commit begins
}

type hexString []byte

func (h hexString) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexString) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// TestGolden reads the records and messages of all versions that were ever released.
func TestGolden(t *testing.T) {
	if *golden != "" {
		writeGolden(t, *golden)
	}
	names, err := filepath.Glob("testdata/golden/v*/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no golden cases", err)
	}
	for _, name := range names {
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var c goldenCase
			if err := json.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
			c.checkJoin(t)
			c.checkMessages(t)
			c.checkMerge(t)
		})
	}
}

func (c *goldenCase) input(t *testing.T) Input {
	return newClient(t, "reader", c.CipherSuite, 1).in()
}

func (c *goldenCase) checkJoin(t *testing.T) {
	bundle, err := ParseKeyPackageBundle(c.KeyPackageBundle)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bundle.Marshal(), c.KeyPackageBundle) {
		t.Error("the stored key package is written differently now")
	}
	m, err := ParseMLSMessage(c.Welcome)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Join(c.input(t), m.Welcome, JoinOptions{KeyPackage: bundle, Profile: c.Profile})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tr.Next.EpochAuthenticator(), c.JoinedAuthenticator) {
		t.Error("joined another group")
	}
}

// holder loads the records; a cold one again for every step.
func (c *goldenCase) holder(t *testing.T, cold bool) *holder {
	h := &holder{store: newRecords(), cold: cold}
	for key, value := range c.Records {
		k, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		h.store.m[string(k)] = bytes.Clone(value)
	}
	var err error
	if h.g, err = LoadGroup(h.store.m[string(HeadKey())]); err != nil {
		t.Fatal(err)
	}
	if h.g.CipherSuite() != c.CipherSuite || h.g.Profile() != c.Profile || !bytes.Equal(h.g.EpochAuthenticator(), c.Authenticator) {
		t.Fatal("loaded another group")
	}
	return h
}

func (c *goldenCase) checkMessages(t *testing.T) {
	for _, cold := range []bool{false, true} {
		h := c.holder(t, cold)
		for i, m := range c.Messages {
			tr, err := h.process(c.input(t), m.Message)
			if err != nil {
				t.Fatalf("message %d, cold %t: %v", i, cold, err)
			}
			if m.Text != "" && string(tr.Received.Application) != m.Text {
				t.Errorf("message %d, cold %t: %q, want %q", i, cold, tr.Received.Application, m.Text)
			}
			if len(m.Authenticator) > 0 && !bytes.Equal(h.g.EpochAuthenticator(), m.Authenticator) {
				t.Errorf("message %d, cold %t: another epoch", i, cold)
			}
			if _, err := h.process(c.input(t), m.Message); err == nil {
				t.Errorf("message %d, cold %t: accepted twice", i, cold)
			}
		}
	}
}

func (c *goldenCase) checkMerge(t *testing.T) {
	own, err := ParseOwnCommit(c.InFlight)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(own.Marshal(), c.InFlight) {
		t.Error("the in-flight commit is written differently now")
	}
	h := c.holder(t, true)
	if _, err := h.step(func(g *Group) (*Transition, error) { return g.Merge(own) }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(h.g.EpochAuthenticator(), c.MergedAuthenticator) {
		t.Error("merged to another epoch")
	}
	// What was sent before the commit can still be read after it.
	for _, m := range c.Messages {
		if m.Text == "" {
			break
		}
		if tr, err := h.process(c.input(t), m.Message); err != nil || string(tr.Received.Application) != m.Text {
			t.Errorf("after the merge: %v", err)
		}
	}
}

// writeGolden makes one case for every suite and profile.
func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s exists: golden cases are kept for good", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for cs := CipherSuite(1); cs <= 7; cs++ {
		for p, name := range map[Profile]string{ProfileRFC: "rfc", ProfileWire: "wire"} {
			if p == ProfileWire && cs > 2 {
				continue // the profiles differ in framing, not in suites
			}
			b, err := json.MarshalIndent(newGolden(t, cs, p), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("suite%d-%s.json", cs, name)), append(b, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func newGolden(t *testing.T, cs CipherSuite, p Profile) *goldenCase {
	t.Helper()
	w := newWorld(t, cs, p, 2)
	c := &goldenCase{CipherSuite: cs, Profile: p, Records: make(map[string]hexString)}
	a := w.members[0]

	// The hero joins a group of three that has talked.
	joined := w.add(a, 2, CommitOptions{})
	b := joined[0]
	w.say(b, "before the hero")
	hero := w.newClient()
	bundle := hero.keyPackage(p)
	own := w.commitOf(a, CommitOptions{Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: bundle.KeyPackage}}}})
	c.KeyPackageBundle, c.Welcome = hexString(bundle.Marshal()), own.Bundle.Welcome
	w.accept(a, own, map[*client]*KeyPackageBundle{hero: bundle})
	c.JoinedAuthenticator = hexString(hero.g.EpochAuthenticator().Clone())

	// One message of its first epoch comes late, and two of its second.
	text := func(from *client, text string) {
		c.Messages = append(c.Messages, goldenMessage{Message: w.encrypt(from, text), Text: text})
	}
	w.say(a, "hello")
	text(b, "late, of the epoch before")
	w.commit(b, CommitOptions{})
	text(a, "skipped")
	text(a, "skipped as well")
	m := w.encrypt(a, "out of order")
	_, err := hero.process(hero.in(), m)
	w.must(err)
	w.say(hero, "the hero speaks")

	text(b, "the newest")

	// Its own Update and another's Add wait for a commit.
	w.propose(hero, ProposalOptions{Update: new(LeafChange)})
	w.propose(b, ProposalOptions{Proposal: &Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: w.newClient().keyPackage(p).KeyPackage}}})
	w.must(hero.carryOut(&Transition{Next: hero.g, Changes: hero.g.Reserve(64, 64)}))
	inFlight := w.commitOf(hero, CommitOptions{})
	for key, value := range hero.store.m {
		c.Records[hex.EncodeToString([]byte(key))] = bytes.Clone(value)
	}
	c.Authenticator, c.InFlight = hexString(hero.g.EpochAuthenticator().Clone()), hexString(inFlight.Marshal())
	w.must(a.try(func(g *Group) error {
		tr, err := g.Process(a.in(), inFlight.Bundle.Commit)
		if err == nil {
			c.MergedAuthenticator = hexString(tr.Next.EpochAuthenticator().Clone())
		}
		return err
	}))

	// What comes next, for one who has lost that race: a proposal, a commit of all that is pending, and a text of the next epoch.
	tr, err := b.step(func(g *Group) (*Transition, error) {
		return g.Propose(b.in(), ProposalOptions{Proposal: &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: joined[1].g.OwnLeaf()}}})
	})
	w.must(err)
	for _, other := range []*client{a, joined[1]} {
		_, err := other.process(other.in(), tr.Outbound.Message)
		w.must(err)
	}
	c.Messages = append(c.Messages, goldenMessage{Message: tr.Outbound.Message})
	last := w.commitOf(a, CommitOptions{})
	merged, err := a.step(func(g *Group) (*Transition, error) { return g.Merge(last) })
	w.must(err)
	c.Messages = append(c.Messages, goldenMessage{Message: last.Bundle.Commit, Authenticator: hexString(merged.Next.EpochAuthenticator().Clone())})
	text(a, "in the next epoch")
	if len(merged.Received.Commit.Added) != 1 || !slices.ContainsFunc(merged.Received.Commit.Updated, func(m Member) bool { return m.Index == hero.g.OwnLeaf() }) {
		t.Fatal("the commit lacks what was proposed")
	}
	return c
}
