package enrollment_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave/enrollment"
)

// TestStashGolden reads an enrollment that the first version of the format wrote, before an
// OIDC challenge, and goes on with it.
func TestStashGolden(t *testing.T) {
	w := newWorld(t, 1)
	text, err := os.ReadFile(filepath.Join("testdata", "stash-v1.hex"))
	w.must(err)
	stash, err := hex.DecodeString(strings.TrimSpace(string(text)))
	w.must(err)
	w.e, err = enrollment.Unmarshal(stash)
	w.must(err)
	w.unchanged(stash)
	a, err := w.e.Authentication()
	w.must(err)
	r, err := w.e.Request(w.now)
	w.must(err)
	if r.Step != enrollment.StepOIDCChallenge || !strings.Contains(readJWS(t, r.Body).payload, "id_token") {
		t.Errorf("request of %v", r.Step)
	}
	token, _, _ := strings.Cut(a.KeyAuth, ".")
	_, err = w.e.Receive(w.now, enrollment.Response{
		Status: 200, Header: enrollment.Header{"Content-Type": {"application/json"}, "Replay-Nonce": {"AAAA"}},
		Body: fmt.Appendf(nil, `{"type":"wire-oidc-01","status":"valid","url":%q,"token":%q,"target":%q}`, r.URL, token, a.IdentityProvider),
	})
	if err != nil || w.e.Step() != enrollment.StepOrderCheck {
		t.Errorf("at %v: %v", w.e.Step(), err)
	}
}

// fields returns where the fields of a stash are, in which numbers have 8 bytes and
// texts their length in 4 bytes before them.
func fields(b []byte) (starts []int) {
	// N is a number, T a text, S and C counted lists of texts.
	const form = "NNTTTTNTTTNNNNTSTTTTTTTTTNNNNNNTTTTTTTTTC"
	at := 0
	text := func() { at += 4 + int(binary.BigEndian.Uint32(b[at:])) }
	for _, c := range form {
		starts = append(starts, at)
		switch c {
		case 'N':
			at += 8
		case 'T':
			text()
		default:
			n := binary.BigEndian.Uint64(b[at:])
			at += 8
			for range n {
				text()
			}
		}
	}
	return append(starts, at)
}

// TestStashRefuses changes every field of stashes of every place, in ways that none may
// have: the numbers one up and far up, the texts one byte shorter, longer and gone.
func TestStashRefuses(t *testing.T) {
	refused := func(place string, field int, b []byte) {
		e, err := enrollment.Unmarshal(b)
		if err == nil {
			// Some other state that can be: then it has that one form.
			again, err := e.Marshal()
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s, field %d: two forms of one state", place, field)
			}
		} else if !errors.Is(err, enrollment.ErrStash) {
			t.Errorf("%s, field %d: %v", place, field, err)
		}
	}
	for _, p := range places(t) {
		starts := fields(p.stash)
		if starts[len(starts)-1] != len(p.stash) {
			t.Fatalf("%s: fields end at %d of %d", p.name, starts[len(starts)-1], len(p.stash))
		}
		for i, from := range starts[:len(starts)-1] {
			till := starts[i+1]
			for _, other := range [][]byte{
				{}, {0, 0, 0, 1, 'x'}, bytes.Repeat([]byte{0xff}, 8), binary.BigEndian.AppendUint64(nil, 1), make([]byte, 8), make([]byte, 4),
			} {
				refused(p.name, i, slices.Concat(p.stash[:from], other, p.stash[till:]))
			}
		}
		for _, b := range [][]byte{nil, p.stash[:len(p.stash)-1], append(slices.Clone(p.stash), 0), make([]byte, 2<<20)} {
			if _, err := enrollment.Unmarshal(b); !errors.Is(err, enrollment.ErrStash) {
				t.Errorf("%s: %d bytes: %v", p.name, len(b), err)
			}
		}
	}
}

// TestStashKeepsSteps moves a stash to steps that it lacks the fields for.
func TestStashKeepsSteps(t *testing.T) {
	for _, p := range places(t) {
		step := fields(p.stash)[10]
		was := p.stash[step+7]
		for s := range byte(20) {
			b := slices.Clone(p.stash)
			b[step+7] = s
			_, err := enrollment.Unmarshal(b)
			// DPoP token, access token and ID token hold the same fields.
			same := func(s byte) bool {
				at := enrollment.Step(s)
				return at == enrollment.StepDPoPToken || at == enrollment.StepAccessToken || at == enrollment.StepIDToken ||
					at == enrollment.StepOrderCheck || at == enrollment.StepFinalize
			}
			if s != was && err == nil && !(same(s) && same(was)) {
				t.Errorf("%s: taken for an enrollment at %v", p.name, enrollment.Step(s))
			}
		}
	}
}

// TestUnmarshalCopies wipes the stash and the enrollment it came from.
func TestUnmarshalCopies(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepDPoPChallenge)
	stash := w.stash()
	e, err := enrollment.Unmarshal(stash)
	w.must(err)
	clear(stash)
	w.e.Wipe()
	w.e = e
	w.until(enrollment.StepIssued)
	if _, err := w.e.Issued(w.now, w.trust); err != nil {
		t.Error(err)
	}
}

// TestStashRefusesValues puts values into stashes that no step would have set.
func TestStashRefusesValues(t *testing.T) {
	w := newWorld(t, 1)
	w.until(enrollment.StepOIDCChallenge)
	stash := w.stash()
	starts := fields(stash)
	text := func(n int) []byte { return stash[starts[n]+4 : starts[n+1]] }
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	const nonce, spent, clientID, signatureKey = 14, 15, 2, 9
	expanded := append(slices.Clone(text(signatureKey)), w.e.SignaturePublicKey()...)
	last := stash[starts[spent+1]-len(text(nonce)) : starts[spent+1]]
	for what, b := range map[string][]byte{
		"client id in upper case":   slices.Concat(stash[:starts[clientID]], sized(bytes.ToUpper(text(clientID)[:36])), stash[starts[clientID]+4+36:]),
		"client id, another form":   slices.Concat(stash[:starts[clientID]+4], bytes.ToUpper(text(clientID)[:36]), text(clientID)[36:], stash[starts[clientID+1]:]),
		"key in its expanded form":  slices.Concat(stash[:starts[signatureKey]], sized(expanded), stash[starts[signatureKey+1]:]),
		"nonce that was used":       slices.Concat(stash[:starts[nonce]+4], last, stash[starts[nonce+1]:]),
		"nonce of another alphabet": slices.Concat(stash[:starts[nonce]], sized([]byte("a b")), stash[starts[nonce+1]:]),
		"newer version":             slices.Concat(binary.BigEndian.AppendUint64(nil, 2), stash[8:]),
	} {
		if _, err := enrollment.Unmarshal(b); !errors.Is(err, enrollment.ErrStash) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Every URL of the CA, the challenges' targets too.
	for n, at := 0, 0; ; n++ {
		next := bytes.Index(stash[at:], []byte("https://"))
		if next < 0 {
			if n != 14 {
				t.Errorf("%d URLs in the stash", n)
			}
			break
		}
		b := slices.Clone(stash)
		copy(b[at+next:], "ftp  ://")
		if _, err := enrollment.Unmarshal(b); !errors.Is(err, enrollment.ErrStash) {
			t.Errorf("URL %d is none: %v", n, err)
		}
		at += next + 1
	}
	b := slices.Clone(stash)
	id := bytes.LastIndexByte(b, '.')
	b[id] = '{'
	if _, err := enrollment.Unmarshal(b); !errors.Is(err, enrollment.ErrStash) {
		t.Errorf("ID token that is none: %v", err)
	}
}
