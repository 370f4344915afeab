package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pathInText matches what looks like a file or folder of the repository between backticks.
var pathInText = regexp.MustCompile("`(\\.?[a-zA-Z0-9_]+(?:/[a-zA-Z0-9_.-]+)+|[A-Za-z_]+\\.md|[a-z_]+\\.go)`")

// TestDocumentsNameFiles wants every file that a document names to be there.
func TestDocumentsNameFiles(t *testing.T) {
	documents := 0
	err := filepath.WalkDir(moduleRoot, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "node_modules" || len(e.Name()) > 2 && e.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".md") {
			return nil
		}
		documents++
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, match := range pathInText.FindAllStringSubmatch(string(b), -1) {
			first, _, _ := strings.Cut(match[1], "/")
			if _, err := os.Stat(filepath.Join(moduleRoot, first)); err != nil && !strings.HasSuffix(first, ".md") && !strings.HasSuffix(first, ".go") {
				continue // a unit, or a test's case
			}
			name := filepath.FromSlash(match[1])
			if _, err := os.Stat(filepath.Join(moduleRoot, name)); err == nil {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), name)); err != nil {
				t.Errorf("%s names %s, which is not there", file, match[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents < 5 {
		t.Errorf("%d documents, want the README and its company", documents)
	}
}
