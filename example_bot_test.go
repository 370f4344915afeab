package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/conclave-mls/conclave"
)

// post is a delivery service. It takes one commit for each epoch of a room, knows who is in it, and has an inbox for each client.
type post struct {
	mu       sync.Mutex
	epoch    map[conclave.ConversationID]uint64
	accepted map[[32]byte]bool
	members  map[conclave.ConversationID][]conclave.ClientID
	invited  map[conclave.ConversationID][]conclave.ClientID // whom the next Welcome is for
	inbox    map[conclave.ClientID][]letter
	lose     bool // the next answer
}

// letter is a message in an inbox, or a Welcome.
type letter struct {
	welcome bool
	room    conclave.ConversationID
	bytes   []byte
}

func newPost() *post {
	return &post{
		epoch: make(map[conclave.ConversationID]uint64), accepted: make(map[[32]byte]bool),
		members: make(map[conclave.ConversationID][]conclave.ClientID), invited: make(map[conclave.ConversationID][]conclave.ClientID),
		inbox: make(map[conclave.ClientID][]letter),
	}
}

// counter is the post as one client has it: its Transport.
type counter struct {
	*post
	client conclave.ClientID
}

// SendCommitBundle takes a commit that was taken before, since its answer was lost, refuses one whose epoch another commit has ended, and else hands the
// commit to the other members and the Welcome to those who are invited.
func (c counter) SendCommitBundle(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.accepted[b.Hash]:
		return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
	case b.Epoch != c.epoch[b.Conversation]:
		return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: "another commit was first"}, nil
	}
	c.accepted[b.Hash] = true
	c.epoch[b.Conversation]++
	c.deliver(c.client, letter{room: b.Conversation, bytes: b.Commit})
	if b.Welcome != nil {
		for _, id := range c.invited[b.Conversation] {
			c.inbox[id] = append(c.inbox[id], letter{welcome: true, room: b.Conversation, bytes: b.Welcome})
		}
		c.members[b.Conversation] = append(c.members[b.Conversation], c.invited[b.Conversation]...)
		delete(c.invited, b.Conversation)
	}
	if c.lose {
		c.lose = false
		return conclave.Verdict{}, errors.New("connection lost")
	}
	return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
}

// deliver puts a letter into the inboxes of all members but its sender.
func (p *post) deliver(from conclave.ClientID, l letter) {
	for _, id := range p.members[l.room] {
		if id != from {
			p.inbox[id] = append(p.inbox[id], l)
		}
	}
}

// send delivers what a call has returned: an encrypted message or a proposal.
func (p *post) send(from conclave.ClientID, room conclave.ConversationID, message []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deliver(from, letter{room: room, bytes: message})
}

// take empties an inbox.
func (p *post) take(id conclave.ClientID) []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	letters := p.inbox[id]
	delete(p.inbox, id)
	return letters
}

// found has the first client found a room with the others.
func (p *post) found(ctx context.Context, room conclave.ConversationID, first *conclave.Client, others ...*conclave.Client) {
	check(first.CreateConversation(ctx, room, conclave.ConversationOptions{}))
	p.members[room] = []conclave.ClientID{first.ID()}
	var keyPackages [][]byte
	for _, c := range others {
		p.invited[room] = append(p.invited[room], c.ID())
		keyPackages = append(keyPackages, must(c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1}))[0].KeyPackage)
	}
	must(first.AddMembers(ctx, room, keyPackages...))
	for _, c := range others {
		read(ctx, p, c)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// read processes what is in a client's inbox, in its order.
func read(ctx context.Context, p *post, c *conclave.Client) {
	for _, l := range p.take(c.ID()) {
		if l.welcome {
			joined := must(c.ProcessWelcome(ctx, l.bytes, conclave.JoinOptions{}))
			fmt.Println(c.ID(), "is in", joined.Conversation)
			continue
		}
		m, err := c.DecryptMessage(ctx, l.room, l.bytes)
		switch {
		case conclave.IsIgnorable(err): // a copy, too late, or one's own
		case errors.Is(err, conclave.CodeWrongEpoch): // something is missing: fetch it, or Client.JoinByExternalCommit
		case err != nil:
			log.Print(err) // a broken message changes nothing
		default:
			show(c, m)
			for _, kept := range m.Released { // messages that came before the commit of their epoch
				if kept.Err == nil {
					show(c, kept.Message)
				}
			}
		}
	}
}

func show(c *conclave.Client, m conclave.DecryptedMessage) {
	switch {
	case !m.IsActive && m.Outcome == conclave.OutcomeCommit:
		fmt.Println(c.ID(), "was removed by", m.Sender.ClientID)
	case m.Outcome == conclave.OutcomeText:
		fmt.Printf("%s reads %q of %s\n", c.ID(), []byte(m.Plaintext), m.Sender.ClientID)
	case m.Outcome == conclave.OutcomeCommit:
		fmt.Println(c.ID(), "is in epoch", m.Epoch, "by a commit of", m.Sender.ClientID)
	case m.Outcome == conclave.OutcomeProposal:
		fmt.Println(c.ID(), "has a proposal of", m.Sender.ClientID, "to commit")
	case m.Outcome.Buffered():
		fmt.Println(c.ID(), "keeps a message that came too early")
	}
}

// Two members commit at once. The one who loses reads the commit that won, and does it again.
func ExampleTransport() {
	ctx, p := context.Background(), newPost()
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true}))
	defer func() { _ = eng.Close() }()
	alice := must(eng.Client(ctx, "alice", conclave.ClientOptions{Transport: counter{p, "alice"}}))
	bob := must(eng.Client(ctx, "bob", conclave.ClientOptions{Transport: counter{p, "bob"}}))
	p.found(ctx, "room", alice, bob)

	must(alice.UpdateKeyMaterial(ctx, "room"))
	_, err := bob.UpdateKeyMaterial(ctx, "room")
	fmt.Println("bob's commit was first:", !errors.Is(err, conclave.CodeMessageRejected))
	read(ctx, p, bob)
	fmt.Println("bob begins epoch", must(bob.UpdateKeyMaterial(ctx, "room")).Epoch)
	read(ctx, p, alice)
	// Output:
	// bob is in room
	// bob's commit was first: false
	// bob is in epoch 2 by a commit of alice
	// bob begins epoch 3
	// alice is in epoch 3 by a commit of bob
}

// Messages that come in another order than they were sent: what is too early is kept, and comes out with the commit that it waited for.
func ExampleClient_DecryptMessage() {
	ctx, p := context.Background(), newPost()
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true}))
	defer func() { _ = eng.Close() }()
	alice := must(eng.Client(ctx, "alice", conclave.ClientOptions{Transport: counter{p, "alice"}}))
	bob := must(eng.Client(ctx, "bob", conclave.ClientOptions{Transport: counter{p, "bob"}}))
	p.found(ctx, "room", alice, bob)

	p.send("alice", "room", must(alice.EncryptMessage(ctx, "room", []byte("one"))))
	must(alice.UpdateKeyMaterial(ctx, "room"))
	p.send("alice", "room", must(alice.EncryptMessage(ctx, "room", []byte("two"))))
	slices.Reverse(p.inbox["bob"])
	p.inbox["bob"] = append(p.inbox["bob"], p.inbox["bob"]...) // and all of it twice
	read(ctx, p, bob)
	// Output:
	// bob is in room
	// bob keeps a message that came too early
	// bob is in epoch 2 by a commit of alice
	// bob reads "two" of alice
	// bob reads "one" of alice
}

// A commit whose answer was lost, over a restart: the engine sends the same bytes again until it knows what became of them.
func ExampleOpen() {
	ctx, p := context.Background(), newPost()
	parent := must(os.MkdirTemp("", "bot-"))
	defer func() { _ = os.RemoveAll(parent) }()
	dir, key := filepath.Join(parent, "state"), make(conclave.Secret, conclave.KeySize) // of crypto/rand, and kept elsewhere

	eng := must(conclave.Open(ctx, dir, conclave.Options{Key: key}))
	bot := must(eng.Client(ctx, "bot", conclave.ClientOptions{Transport: counter{p, "bot"}}))
	check(bot.CreateConversation(ctx, "room", conclave.ConversationOptions{}))
	p.lose = true
	_, err := bot.UpdateKeyMaterial(ctx, "room")
	fmt.Println("in doubt:", errors.Is(err, conclave.CodeCommitInDoubt))
	check(eng.Close())

	settled := make(chan conclave.CommitSettled, 1)
	eng = must(conclave.Open(ctx, dir, conclave.Options{Key: key}))
	bot = must(eng.Client(ctx, "bot", conclave.ClientOptions{
		Transport: counter{p, "bot"}, Observer: conclave.Observer{CommitSettled: func(c conclave.CommitSettled) { settled <- c }},
	}))
	fmt.Println("created:", bot.Created(), "in doubt:", len(bot.InDoubt()))
	c := <-settled
	fmt.Println("accepted:", c.Accepted, "epoch:", must(bot.ConversationEpoch(ctx, c.Conversation)))
	check(eng.Close())
	// Output:
	// in doubt: true
	// created: false in doubt: 1
	// accepted: true epoch: 1
}

// The client's data is a checkpoint: how far an inbox was read is durable together with what was read, so that after a crash neither is lost or done twice.
func ExampleClient_Transaction() {
	ctx, p := context.Background(), newPost()
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true}))
	defer func() { _ = eng.Close() }()
	alice := must(eng.Client(ctx, "alice", conclave.ClientOptions{Transport: counter{p, "alice"}}))
	bob := must(eng.Client(ctx, "bob", conclave.ClientOptions{Transport: counter{p, "bob"}}))
	p.found(ctx, "room", alice, bob)
	for _, text := range []string{"one", "two", "three"} {
		p.send("alice", "room", must(alice.EncryptMessage(ctx, "room", []byte(text))))
	}

	letters := p.take("bob")
	for _, fails := range []error{errors.New("no room on the application's disk"), nil} {
		err := bob.Transaction(ctx, func(tx *conclave.Tx) error {
			for i, l := range letters {
				m, err := tx.DecryptMessage(ctx, l.room, l.bytes)
				if err != nil {
					return err
				}
				fmt.Printf("%s ", []byte(m.Plaintext))
				if err := tx.SetData(ctx, fmt.Append(nil, i+1)); err != nil {
					return err
				}
			}
			return fails // and nothing was read
		})
		fmt.Printf("%v; read so far: %q\n", err, must(bob.Data(ctx)))
	}
	// Output:
	// bob is in room
	// one two three no room on the application's disk; read so far: ""
	// one two three <nil>; read so far: "3"
}

// A queue of many conversations. What comes back with OutcomeBusy is fed again, in its order.
func ExampleClient_DecryptAll() {
	ctx, p := context.Background(), newPost()
	eng := must(conclave.Open(ctx, "", conclave.Options{InMemory: true}))
	defer func() { _ = eng.Close() }()
	alice := must(eng.Client(ctx, "alice", conclave.ClientOptions{Transport: counter{p, "alice"}}))
	bob := must(eng.Client(ctx, "bob", conclave.ClientOptions{Transport: counter{p, "bob"}}))
	rooms := []conclave.ConversationID{"red", "blue"}
	for _, room := range rooms {
		p.found(ctx, room, alice, bob)
	}
	for i := range 200 {
		room := rooms[i%len(rooms)]
		p.send("alice", room, must(alice.EncryptMessage(ctx, room, fmt.Append(nil, i/len(rooms)))))
	}

	var queue []conclave.Incoming
	for _, l := range p.take("bob") {
		queue = append(queue, conclave.Incoming{Conversation: l.room, Message: l.bytes})
	}
	read := make(map[conclave.ConversationID]int)
	for len(queue) > 0 {
		batch := queue
		queue = nil
		for out, err := range bob.DecryptAll(ctx, slices.Values(batch)) {
			switch {
			case err != nil:
				log.Print(err)
			case out.Message.Outcome == conclave.OutcomeBusy:
				queue = append(queue, conclave.Incoming{Conversation: out.Conversation, Message: out.Returned})
			case string(out.Message.Plaintext) == fmt.Sprint(read[out.Conversation]):
				read[out.Conversation]++
			}
		}
	}
	for _, room := range rooms {
		fmt.Println(room, read[room])
	}
	// Output:
	// bob is in red
	// bob is in blue
	// red 100
	// blue 100
}
