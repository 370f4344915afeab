package conclave_test

import (
	"context"
	"fmt"
	"log"

	"github.com/conclave-mls/conclave"
)

// always is a delivery service that takes every commit and passes its Welcome on.
type always struct{ welcome chan []byte }

func (a always) SendCommitBundle(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	a.welcome <- b.Welcome
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

func Example() {
	ctx, ds := context.Background(), always{make(chan []byte, 1)}
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true})) // or a directory, and a Key
	defer func() { _ = eng.Close() }()
	alice := must(eng.Client(ctx, "alice", conclave.ClientOptions{Transport: ds}))
	bob := must(eng.Client(ctx, "bob", conclave.ClientOptions{Transport: ds}))
	keyPackages := must(bob.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1}))

	var sealed []byte
	err := alice.Transaction(ctx, func(tx *conclave.Tx) (err error) {
		if err = tx.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
			return err
		}
		if _, err = tx.AddMembers(ctx, "room", keyPackages[0].KeyPackage); err != nil {
			return err
		}
		sealed, err = tx.EncryptMessage(ctx, "room", []byte("hello"))
		return err
	}) // durable, all of it or nothing
	if err != nil {
		log.Fatal(err)
	}
	room := must(bob.ProcessWelcome(ctx, <-ds.welcome, conclave.JoinOptions{}))
	message := must(bob.DecryptMessage(ctx, room.Conversation, sealed))
	fmt.Printf("%s says %s\n", message.Sender.ClientID, []byte(message.Plaintext))
	// Output: alice says hello
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
