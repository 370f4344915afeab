package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/conclave-mls/conclave"
)

const aboutInspect = `Lists the clients of an engine's directory with their conversations: epoch, cipher suite, members, commits in
doubt, records and their size. It prints no secret. The engine must not be running.`

func inspectCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flags("inspect", "DIR", aboutInspect, stderr)
	keyFile := set.String("key", "", "file with the database key, 64 hexadecimal digits (default DIR.key, where \"engine demo -dir\" puts it)")
	if err := parse(set, args, 1, 1); err != nil {
		return err
	}
	dir := set.Arg(0)
	if *keyFile == "" {
		*keyFile = keyFileOf(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "STORE")); err != nil {
		return fmt.Errorf("%s is not an engine's directory (%v); \"engine demo -dir %s\" makes one", dir, err, dir)
	}
	key, err := readKey(*keyFile)
	if err != nil {
		return err
	}
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: key})
	if err != nil {
		return explain(err, dir)
	}
	defer func() { _ = e.Close() }()
	ids, err := e.Clients(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d clients, %s on disk\n", dir, len(ids), size(int64(e.Metrics().DiskBytes)))
	for _, id := range ids {
		if err := inspectClient(ctx, e, id, stdout); err != nil {
			return fmt.Errorf("client %q: %w", id, err)
		}
	}
	return nil
}

func inspectClient(ctx context.Context, e *conclave.Engine, id conclave.ClientID, stdout io.Writer) error {
	c, err := e.Client(ctx, id, conclave.ClientOptions{NoCredential: true})
	if err != nil {
		return err
	}
	keyPackages, err := c.KeyPackages(ctx)
	if err != nil {
		return err
	}
	conversations, err := c.Conversations(ctx)
	if err != nil {
		return err
	}
	slices.Sort(conversations)
	fmt.Fprintf(stdout, "\nclient %q: %d key packages, %d conversations\n", id, len(keyPackages), len(conversations))
	if len(conversations) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "  conversation\tepoch\tsuite\tmembers\tin doubt\trecords\tsize")
	for _, name := range conversations {
		conversation := c.Conversation(name)
		state, err := conversation.State(ctx)
		if err != nil {
			return err
		}
		members, err := conversation.ClientIDs(ctx)
		if err != nil {
			return err
		}
		records, bytes, err := conversation.Size(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %q\t%d\t%d\t%d\t%d\t%d\t%s\n", name, state.Epoch, uint16(state.CipherSuite), len(members), len(state.InDoubt), records, size(bytes))
	}
	return w.Flush()
}

func keyFileOf(dir string) string { return filepath.Clean(dir) + ".key" }

// readKey reads a database key written by writeKey.
func readKey(name string) (conclave.Secret, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("no key: %w; name the file that holds it with -key", err)
	}
	key := make(conclave.Secret, hex.DecodedLen(len(bytes.TrimSpace(b))))
	if _, err := hex.Decode(key, bytes.TrimSpace(b)); err != nil || len(key) != conclave.KeySize {
		return nil, fmt.Errorf("%s does not hold a key of %d hexadecimal digits", name, 2*conclave.KeySize)
	}
	return key, nil
}

// writeKey writes a database key for its owner only, into a file that must not exist.
func writeKey(name string, key conclave.Secret) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	return errors.Join(err, f.Close())
}

// explain adds the next step to an error of Open.
func explain(err error, dir string) error {
	switch {
	case errors.Is(err, conclave.CodeWrongKey):
		return fmt.Errorf("%w; name the file with the key of %s with -key", err, dir)
	case errors.Is(err, conclave.CodeDirectoryInUse):
		return fmt.Errorf("%w; end the engine that runs in %s first", err, dir)
	case errors.Is(err, conclave.CodeNewerFormat):
		return fmt.Errorf("%w; use the version that wrote %s", err, dir)
	}
	return err
}

// size prints a number of bytes.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
