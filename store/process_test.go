package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childDir names the store that this test binary, run as a child, should use.
const childDir = "CONCLAVE_TEST_STORE"

// TestChild is not a test of its own but what the children do: apply until killed,
// telling what has been answered.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	s, err := Open(dir, testOptions(nil))
	if err != nil {
		fmt.Println("refused:", errors.Is(err, ErrInUse))
		os.Exit(0)
	}
	for i := 0; ; i++ {
		mustApply(t, s, historySet(i))
		fmt.Println("applied", i)
	}
}

func child(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// TestKill kills a process in the middle of its work, more than once. Meanwhile
// nobody else gets in; afterwards all that it was answered is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for _, lines := range []int{3, 150, 400} {
		cmd, out := child(t, dir)
		last := -1
		for n := 0; n < lines && out.Scan(); n++ {
			if _, err := fmt.Sscanf(out.Text(), "applied %d", &last); err != nil {
				t.Fatalf("child says %q", out.Text())
			}
		}
		if _, err := Open(dir, testOptions(nil)); !errors.Is(err, ErrInUse) {
			t.Errorf("beside another process: %v", err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() { // what it had said before it died counts too
			_, _ = fmt.Sscanf(out.Text(), "applied %d", &last)
		}
		_ = cmd.Wait() // it was killed
		s, err := Open(dir, testOptions(nil))
		if err != nil {
			t.Fatal(err)
		}
		got := contents(t, s)
		var sequence int
		if _, err := fmt.Sscan(got["sequence"], &sequence); err != nil || sequence < last || last < lines-1 {
			t.Errorf("the store is at %q after %d was answered (%v)", got["sequence"], last, err)
		}
		// And the other way round.
		second, said := child(t, dir)
		if !said.Scan() || !strings.Contains(said.Text(), "refused: true") {
			t.Errorf("a second process says %q", said.Text())
			_ = second.Process.Kill()
		}
		_ = second.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
