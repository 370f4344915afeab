package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/conclave-mls/conclave/tests/enginetest"
)

const aboutReplay = `Runs each case of each file, in the official passive-client format, through an engine of its own in a
temporary directory: the key package is imported, the Welcome joined, and all proposals and commits are
processed. Prints a line for each file and then "N passed, N failed"; ends with 1 if a case failed.`

func replayCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flags("replay", "FILE...", aboutReplay, stderr)
	reopen := set.Bool("reopen", false, "close and open the engine again between every two messages")
	if err := parse(set, args, 1, -1); err != nil {
		return err
	}
	passed, failed := 0, 0
	for _, name := range set.Args() {
		cases, err := enginetest.ReadPassiveClients(name)
		if err != nil {
			return fmt.Errorf("%w; give it one of the passive-client-*.json files of the MLS test vectors", err)
		}
		good := 0
		for i := range cases {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := replayCase(ctx, &cases[i], *reopen); err != nil {
				fmt.Fprintf(stdout, "%s: case %d (suite %d): %v\n", filepath.Base(name), i, cases[i].CipherSuite, err)
				continue
			}
			good++
		}
		fmt.Fprintf(stdout, "%s: %d of %d cases\n", filepath.Base(name), good, len(cases))
		passed, failed = passed+good, failed+len(cases)-good
	}
	fmt.Fprintf(stdout, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return fmt.Errorf("%d cases failed; the lines above name them", failed)
	}
	return nil
}

func replayCase(ctx context.Context, p *enginetest.PassiveClient, reopen bool) error {
	dir, err := os.MkdirTemp("", "engine-replay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return p.Replay(ctx, filepath.Join(dir, "state"), enginetest.ReplayOptions{Reopen: reopen})
}
