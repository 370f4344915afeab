// Command engine shows the engine at work: "engine demo" runs conversations among many clients without a network, "engine replay" runs official test
// vectors through a whole engine, "engine inspect" looks into an engine's directory, "engine load" measures an engine under load, and
// "engine enroll" gets a client a certificate.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

const usage = `usage: engine COMMAND [flags] [arguments]

  demo               run conversations among many clients, with a crash in the middle
  replay FILE...     run files of passive-client test vectors through the engine
  inspect DIR        list the clients and conversations of an engine's directory
  load               measure an engine under load, with a report to look at
  enroll DIR         get a client a certificate from an ACME server

"engine COMMAND --help" lists the flags of a command.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage says that the flags were wrong or help was asked for; it has been explained already.
var errUsage = errors.New("usage")

// run is the command: 0 for success, 1 for a failure, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{"demo": demoCommand, "replay": replayCommand, "inspect": inspectCommand, "load": loadCommand, "enroll": enrollCommand}
	command, known := commands[args[0]]
	if !known {
		switch args[0] {
		case "help", "-h", "-help", "--help":
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintf(stderr, "engine: there is no command %q; \"engine help\" lists them\n", args[0])
		return 2
	}
	switch err := command(ctx, args[1:], stdout, stderr); {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	default:
		fmt.Fprintf(stderr, "engine %s: %v\n", args[0], err)
		return 1
	}
}

// flags returns an empty set of flags whose help begins with what the command does.
func flags(name, arguments, about string, stderr io.Writer) *flag.FlagSet {
	set := flag.NewFlagSet(strings.TrimSpace(name+" [flags] "+arguments), flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprintf(stderr, "usage: engine %s\n\n%s\n\n", set.Name(), about)
		set.PrintDefaults()
	}
	return set
}

// parse reads the flags and checks how many arguments are left. What is wrong stands alone, not above a page of help that hides it.
func parse(set *flag.FlagSet, args []string, least, most int) error {
	out, help := set.Output(), set.Usage
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	err := set.Parse(args)
	set.SetOutput(out)
	switch n := set.NArg(); {
	case errors.Is(err, flag.ErrHelp):
		help()
		return err
	case err != nil:
	case n < least:
		err = errors.New("an argument is missing")
	case most >= 0 && n > most:
		err = fmt.Errorf("%q is one argument too many", set.Arg(most))
	default:
		return nil
	}
	name, _, _ := strings.Cut(set.Name(), " ")
	fmt.Fprintf(out, "engine %s: %v\nusage: engine %s\n\"engine %s --help\" lists the flags\n", name, err, set.Name(), name)
	return errUsage
}
