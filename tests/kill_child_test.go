package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/rpc"
	"os"
	"strconv"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/extreme"
)

// childWork opens the engine of a child and lets every client act at random, all at once, until one meets what it should not.
func childWork(dir string) error {
	ctx := context.Background()
	service := rpc.NewClient(pipe{os.Stdin, os.Stdout})
	n, err := strconv.ParseUint(os.Getenv(killSetting), 10, 64)
	if err != nil {
		return err
	}
	x := extreme.Of(n)
	e, err := conclave.Open(x.Open(ctx), dir, extremely(x, conclave.Options{Key: partyKey, RetryPause: time.Millisecond}))
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, id := range killClients {
		c := &childClient{id: id, service: service}
		if c.Client, err = e.Client(ctx, id, conclave.ClientOptions{Transport: c}); err != nil {
			return err
		}
		go func() {
			for {
				if err := c.act(ctx); err != nil {
					failed <- fmt.Errorf("%s: %w", id, err)
					return
				}
			}
		}()
	}
	return <-failed
}

// childClient is one client of a child.
type childClient struct {
	*conclave.Client
	id      conclave.ClientID
	service *rpc.Client
}

func (c *childClient) ask(method string, in Parcel) (Parcel, error) {
	var out Parcel
	in.Client = c.id
	err := c.service.Call("Line."+method, in, &out)
	return out, err
}

// SendCommitBundle implements conclave.Transport.
func (c *childClient) SendCommitBundle(_ context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	out, err := c.ask("Commit", Parcel{Bundle: b})
	return out.Verdict, err
}

// expected are the codes that a client meets who acts at random while others do.
var expected = []conclave.Code{
	conclave.CodeMessageRejected, conclave.CodeCommitInDoubt, conclave.CodePendingProposals, conclave.CodeConversationNotFound,
	conclave.CodeConversationAlreadyExists, conclave.CodeOrphanWelcome, conclave.CodeMemberNotFound, conclave.CodeConflict, conclave.CodeInvalidArgument,
}

// act does one thing at random.
func (c *childClient) act(ctx context.Context) error {
	id := killConversations[rand.IntN(len(killConversations))]
	var err error
	switch rand.IntN(10) {
	case 0, 1, 2:
		err = c.say(ctx, id)
	case 3:
		_, err = c.UpdateKeyMaterial(ctx, id)
	case 4:
		err = c.transaction(ctx, id, killConversations[rand.IntN(len(killConversations))])
	case 5:
		err = c.change(ctx, id)
	case 6:
		err = c.join(ctx, id)
	default:
		err = c.receive(ctx)
	}
	if err == nil || conclave.IsIgnorable(err) || isAny(err, expected) || errors.Is(err, errChangedMind) {
		return nil
	}
	return err
}

func (c *childClient) say(ctx context.Context, id conclave.ConversationID) error {
	sealed, err := c.EncryptMessage(ctx, id, []byte("hello"))
	if errors.Is(err, conclave.CodePendingProposals) {
		_, err = c.CommitPendingProposals(ctx, id)
		return err
	}
	if err == nil {
		_, err = c.ask("Send", Parcel{Conversation: id, Message: sealed})
	}
	return err
}

var errChangedMind = errors.New("changed its mind")

// transaction speaks in two conversations, in one of which it may commit, and may be aborted.
func (c *childClient) transaction(ctx context.Context, first, second conclave.ConversationID) error {
	return c.Transaction(ctx, func(tx *conclave.Tx) error {
		for _, id := range []conclave.ConversationID{first, second} {
			sealed, err := tx.EncryptMessage(ctx, id, []byte("in a transaction"))
			if err != nil {
				return err
			}
			if _, err := c.ask("HandOut", Parcel{Message: sealed}); err != nil {
				return err
			}
		}
		if rand.IntN(2) == 0 {
			if _, err := tx.UpdateKeyMaterial(ctx, first); err != nil {
				return err
			}
		}
		if rand.IntN(3) == 0 {
			return errChangedMind
		}
		return tx.SetData(ctx, []byte(first+second))
	})
}

// change removes a member or adds one that is none.
func (c *childClient) change(ctx context.Context, id conclave.ConversationID) error {
	ids, err := c.ClientIDs(ctx, id)
	if err != nil {
		return err
	}
	other := killClients[rand.IntN(len(killClients))]
	if other == c.id {
		return nil
	}
	for _, member := range ids {
		if member == other {
			if len(ids) < 3 {
				return nil
			}
			_, err = c.RemoveMembers(ctx, id, other)
			return err
		}
	}
	var out Parcel
	if err := c.service.Call("Line.Claim", Parcel{Client: other}, &out); err != nil || !out.OK {
		return err
	}
	_, err = c.AddMembers(ctx, id, out.Message)
	return err
}

// join joins a conversation of which the client is no member.
func (c *childClient) join(ctx context.Context, id conclave.ConversationID) error {
	out, err := c.ask("State", Parcel{Conversation: id})
	if err != nil || out.OK {
		return err
	}
	_, err = c.JoinByExternalCommit(ctx, out.Message, conclave.JoinOptions{})
	return err
}

// receive processes what waits for the client, and publishes a key package for one that a Welcome has used up.
func (c *childClient) receive(ctx context.Context) error {
	out, err := c.ask("Waiting", Parcel{})
	if err != nil {
		return err
	}
	for _, in := range out.Deliveries {
		if in.Welcome {
			_, err = c.ProcessWelcome(ctx, in.Message, conclave.JoinOptions{})
			if err == nil {
				err = c.publish(ctx)
			}
		} else {
			_, err = c.DecryptMessage(ctx, in.Conversation, in.Message)
		}
		if err != nil && !conclave.IsIgnorable(err) && !isAny(err, harmless) {
			return err
		}
		if _, err := c.ask("Done", Parcel{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *childClient) publish(ctx context.Context) error {
	made, err := c.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
	if err == nil {
		_, err = c.ask("Publish", Parcel{Message: made[0].KeyPackage})
	}
	return err
}
