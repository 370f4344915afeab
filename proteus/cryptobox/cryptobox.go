// Package cryptobox reads the directories in which Wire's older clients kept their
// Proteus identity, prekeys and sessions, so that an engine can take them over. It
// changes nothing in them.
//
// There are two unrelated layouts, and [Open] tells them apart: that of the native
// cryptobox, a file of CBOR for each object, with its oldest variant that kept the
// identity elsewhere; and that of the TypeScript cryptobox over a store of files, a
// JSON record for each object.
package cryptobox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/proteus"
)

// Errors of the package. An object that does not decode is none: it is reported in
// its Object.
var (
	// ErrNotFound says that the directory is missing or is no cryptobox.
	ErrNotFound = errors.New("cryptobox: no cryptobox at this path")
	// ErrNoIdentity says that the box holds no identity with its secret key, without
	// which nothing else in it is of use.
	ErrNoIdentity = errors.New("cryptobox: no identity with its secret key")
	// ErrForeign is a file that no cryptobox has written where only its own may be.
	ErrForeign = errors.New("cryptobox: foreign file")
)

// maxFile bounds what is read of one file: a session with all the keys it may keep
// takes less.
const maxFile = 64 << 20

// Box is a cryptobox on disk.
type Box struct {
	files  fs.FS
	layout layout
}

type layout struct {
	identities, preKeys, sessions string // directories
	extension                     string
	decode                        func([]byte) (secret.Bytes, error)
}

var (
	native = layout{"identities", "prekeys", "sessions", "", func(b []byte) (secret.Bytes, error) { return b, nil }}
	script = layout{"keys", "prekeys", "sessions", ".dat", decodeRecord}
)

// Open looks at a directory, as from os.DirFS, and answers ErrNotFound unless it has
// the three folders of one of the layouts.
func Open(files fs.FS) (*Box, error) {
	for _, l := range []layout{native, script} {
		whole := true
		for _, dir := range []string{l.identities, l.preKeys, l.sessions} {
			info, err := fs.Stat(files, dir)
			whole = whole && err == nil && info.IsDir()
		}
		if whole {
			return &Box{files, l}, nil
		}
	}
	return nil, ErrNotFound
}

// Identity reads the identity. The caller wipes it. It answers ErrNoIdentity, also
// for a box that was used with the public half only, an error of package proteus, or
// one of the file system.
func (b *Box) Identity() (*proteus.Identity, error) {
	if b.layout.identities == script.identities {
		return b.identity("local_identity", false)
	}
	id, err := b.identity("local_identity", false) // the oldest layout
	if errors.Is(err, ErrNoIdentity) {
		id, err = b.identity("local", true)
	}
	return id, err
}

func (b *Box) identity(name string, wrapped bool) (*proteus.Identity, error) {
	encoded, err := b.read(b.layout.identities, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoIdentity
	}
	if err != nil {
		return nil, fmt.Errorf("cryptobox: identity: %w", err)
	}
	defer encoded.Wipe()
	body := encoded
	if wrapped {
		// A number, 1 for a whole identity and 2 for its public half; then a map with
		// the identity under key 0.
		if len(body) < 3 || body[0] != 1 || body[1] != 0xa1 || body[2] != 0 {
			return nil, ErrNoIdentity
		}
		body = body[3:]
	}
	id, err := proteus.ParseIdentity(body)
	if err != nil {
		return nil, fmt.Errorf("cryptobox: identity: %w", err)
	}
	return id, nil
}

// Object is one prekey or session of the box. The caller wipes its bytes.
type Object struct {
	Name  string       // of a session: its id
	ID    uint16       // of a prekey
	Bytes secret.Bytes // as package proteus parses it; not looked at
}

// Format keeps the object from being printed.
func (Object) Format(f fmt.State, _ rune) { secret.Print(f, "cryptobox.Object") }

// Sessions yields the sessions by name. An error ends it: what a record of the
// TypeScript layout holds must at least be a record.
func (b *Box) Sessions() iter.Seq2[Object, error] {
	return b.objects(b.layout.sessions, func(name string) (Object, error) { return Object{Name: name}, nil })
}

// PreKeys yields the prekeys by name. An error ends it; ErrForeign is that of a name
// that is no id.
func (b *Box) PreKeys() iter.Seq2[Object, error] {
	return b.objects(b.layout.preKeys, func(name string) (Object, error) {
		id, err := strconv.ParseUint(name, 10, 16)
		if err != nil {
			return Object{}, fmt.Errorf("%w: prekey %q", ErrForeign, name)
		}
		return Object{Name: name, ID: uint16(id)}, nil
	})
}

func (b *Box) objects(dir string, named func(name string) (Object, error)) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		entries, err := fs.ReadDir(b.files, dir)
		if err != nil {
			yield(Object{}, fmt.Errorf("cryptobox: %w", err))
			return
		}
		for _, e := range entries {
			name, ours := strings.CutSuffix(e.Name(), b.layout.extension)
			// A crash leaves temporary files behind.
			if !ours || e.IsDir() || strings.HasSuffix(name, ".tmp") {
				continue
			}
			o, err := named(name)
			if err == nil {
				o.Bytes, err = b.read(dir, name)
			}
			if err != nil {
				yield(Object{}, fmt.Errorf("cryptobox: %s: %w", path.Join(dir, e.Name()), err))
				return
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (b *Box) read(dir, name string) (secret.Bytes, error) {
	f, err := b.files.Open(path.Join(dir, name+b.layout.extension))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrForeign, maxFile)
	}
	return b.layout.decode(content)
}

// decodeRecord takes the object out of a record: base64, with or without padding.
func decodeRecord(content []byte) (secret.Bytes, error) {
	defer clear(content)
	var record struct {
		Serialised *string `json:"serialised"`
	}
	if err := json.Unmarshal(content, &record); err != nil || record.Serialised == nil {
		return nil, fmt.Errorf("%w: no record of a cryptobox", ErrForeign)
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(*record.Serialised, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: record without base64", ErrForeign)
	}
	return decoded, nil
}
