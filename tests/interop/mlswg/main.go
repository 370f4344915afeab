// Command mlswg answers the contract of the MLS working group's interop test runner (package contract), so that the runner can drive this
// implementation against others:
//
//	go run ./mlswg -port 50001
//
// Groups speak the RFC profile and stand on package mlsgroup. With -engine, members that create a group or join one by a Welcome live in an engine each
// instead, and what its interface does not offer answers Unimplemented.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
)

func main() {
	host := flag.String("host", "localhost", "address to listen on")
	port := flag.Int("port", 50001, "port to listen on")
	engine := flag.Bool("engine", false, "run members that create or join a group through an engine")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mlswg: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(*host, strconv.Itoa(*port)))
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	log.Fatal(newGRPCServer(newServer(*engine)).Serve(listener))
}
