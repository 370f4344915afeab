package bench

import (
	"context"
	"testing"

	"github.com/conclave-mls/conclave"
)

// BenchmarkRead reads the state of a conversation in which one caller sends message after
// message.
func BenchmarkRead(b *testing.B) {
	run(b, []cell{{suite: 1, conversations: 1, members: 1, size: 1 << 10, store: durable}}, func(b *testing.B, c cell) {
		e := openEngine(b, c.store, false, scratchDir(b))
		client, err := e.Client(b.Context(), "reader", conclave.ClientOptions{})
		if err != nil {
			b.Fatal(err)
		}
		conv := client.Conversation("busy")
		if err := client.CreateConversation(b.Context(), "busy", conclave.ConversationOptions{}); err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		busy := make(chan error)
		go func() {
			for ctx.Err() == nil {
				if _, err := conv.EncryptMessage(context.Background(), filler[:c.size]); err != nil {
					busy <- err
					return
				}
			}
			busy <- nil
		}()
		b.ReportAllocs()
		for b.Loop() {
			if s, err := conv.State(b.Context()); err != nil || !s.Exists {
				b.Fatalf("%v, %v", s, err)
			}
		}
		stop()
		if err := <-busy; err != nil {
			b.Fatal(err)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	})
}
