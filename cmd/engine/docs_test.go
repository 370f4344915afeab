package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedCommands takes each "go run ./cmd/engine" of the documents as far as its flags: what they say has to be what a command accepts. A folder
// that is not there, for its report or its state, ends each before anything is done.
func TestDocumentedCommands(t *testing.T) {
	const prefix = "go run ./cmd/engine "
	commands := 0
	for _, name := range []string{"README.md", "docs/performance.md", "bench/README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"} {
		b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for rest := string(b); ; {
			_, after, ok := strings.Cut(rest, prefix)
			if !ok {
				break
			}
			rest = after
			end := strings.IndexAny(after, "`#\n")
			args := strings.Fields(after[:end])
			commands++
			var without []string // but for the flags that name a place
			for i := 1; i < len(args); i++ {
				if args[i] == "-report" || args[i] == "-dir" {
					i++
					continue
				}
				without = append(without, args[i])
			}
			var want string
			switch args[0] {
			case "load":
				without, want = append(without, "-report", filepath.Join(t.TempDir(), "absent", "x")), "with -report"
			case "demo":
				without, want = append(without, "-dir", filepath.Join(t.TempDir(), "absent", "x")), "choose a directory"
			default:
				t.Errorf("%s: nothing is known of %q", name, args)
				continue
			}
			code, _, stderr := runCommand(t, append(args[:1:1], without...)...)
			if code != 1 || !strings.Contains(stderr, want) {
				t.Errorf("%s: engine %q: code %d\n%s", name, args, code, stderr)
			}
		}
	}
	if commands < 5 {
		t.Errorf("%d commands, want those of the documents", commands)
	}
}
