package mlsgroup

import (
	"errors"
	"strings"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
)

// forgedAuth believes every credential that does not end with mallory's name,
// and that a client stays the same if its name only grows.
type forgedAuth struct{}

func (forgedAuth) ValidateCredential(c *Credential, _ []byte) error {
	if strings.HasSuffix(string(c.Identity), "mallory") {
		return errors.New("mallory is not believed")
	}
	return nil
}

func (forgedAuth) ValidSuccessor(old, next *Credential) error {
	if len(old.Identity) == 0 || !strings.HasPrefix(string(next.Identity), string(old.Identity)) {
		return errors.New("another name")
	}
	return nil
}

// forgedPSK is the key of an external PSK or of a resumption PSK of another
// group; one named "unknown" is at nobody's hand.
func forgedPSK(id PreSharedKeyID) secret.Bytes {
	return append(secret.Bytes("key of "), id.ExternalID...)
}

// input is that of a client that signs nothing.
func (f *forger) input() Input {
	return Input{
		Rand: f.rand, Now: time.Unix(forgedNow, 0), Auth: forgedAuth{},
		PSK: func(id PreSharedKeyID) (secret.Bytes, bool) {
			return forgedPSK(id), string(id.ExternalID) != "unknown"
		},
	}
}

// briefly is the input of somebody who takes no lifetime of more than an hour.
func (f *forger) briefly() Input {
	in := f.input()
	in.MaxLifetime = time.Hour
	return in
}

// inputOf is the input of a client.
func (f *forger) inputOf(c *forgedClient) Input {
	in := f.input()
	in.Signer = &Signer{CipherSuite: CipherSuite(f.s.ID()), Credential: c.credential, Private: c.signPriv, Public: c.signatureKey}
	return in
}

// ourInput is the input of the last member.
func (g *forgedGroup) ourInput() Input { return g.inputOf(g.members[us]) }

// joinOptions are those of the first client that the epoch's commit added.
func (g *forgedGroup) joinOptions() JoinOptions {
	for i := LeafIndex(0); ; i++ {
		if kp := g.added[i]; kp != nil {
			return JoinOptions{KeyPackage: g.bundles[kp], Profile: g.profile}
		}
	}
}

// join is what we do with the epoch's Welcome.
func (g *forgedGroup) join(w forgedWelcome) (*Group, error) {
	g.t.Helper()
	o := g.joinOptions()
	if w.options != nil {
		w.options(&o)
	}
	t, err := Join(g.input(), g.welcome(w), o)
	if err != nil {
		return nil, err
	}
	return t.Next, nil
}

// joinWith is what we make of the Welcome with another input.
func (g *forgedGroup) joinWith(in Input) error {
	g.t.Helper()
	_, err := Join(in, g.welcome(forgedWelcome{}), g.joinOptions())
	return err
}

// our is our view of the group, after what process gave it.
func (g *forgedGroup) our() *Group {
	g.t.Helper()
	if g.now == nil {
		var err error
		g.now, err = g.join(forgedWelcome{})
		g.must(err)
	}
	return g.now
}

// process is what we make of the last message. Those before it are accepted.
func (g *forgedGroup) process(messages ...[]byte) error {
	g.t.Helper()
	for i, m := range messages {
		t, err := g.our().Process(g.ourInput(), m)
		if err != nil {
			if i < len(messages)-1 {
				g.t.Fatalf("message %d of %d: %v", i, len(messages), err)
			}
			return err
		}
		g.now = t.Next
	}
	return nil
}
