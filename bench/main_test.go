// Package bench measures the engine. README.md beside it says how to run it and
// how to read the figures.
package bench

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

// atEnd holds what the fixtures of a run have to close, newest last.
var atEnd []func() error

// closeAll runs atEnd backwards.
func closeAll() error {
	var errs []error
	for i := len(atEnd) - 1; i >= 0; i-- {
		errs = append(errs, atEnd[i]())
	}
	atEnd = nil
	return errors.Join(errs...)
}

func TestMain(m *testing.M) {
	if ran, err := runChild(); ran {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	code := m.Run()
	if err := closeAll(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: closing the fixtures:", err)
		code = 1
	}
	os.Exit(code)
}
