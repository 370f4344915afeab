package actors

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave/messages"
)

// readStateTable reads the table of doc.go: the states, and for each request what is
// answered in each.
func readStateTable(t *testing.T) (states []string, rows map[string][]string) {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	rows = make(map[string][]string)
	for line := range strings.Lines(string(source)) {
		fields := strings.Fields(strings.TrimPrefix(line, "//"))
		switch {
		case len(fields) == 6 && fields[0] == "request":
			states = fields[1:]
		case states != nil && len(fields) == 6:
			rows[fields[0]] = fields[1:]
		case states != nil:
			return states, rows
		}
	}
	t.Fatal("doc.go has no table of states and requests")
	return nil, nil
}

// cell is a world in which bob is in one state, and what the requests need.
type cell struct {
	*world
	alice, bob, dave *peer
	welcome          []byte
	info             []byte
	message          []byte
	proposal         messages.ProposalCreated
}

// request makes the request of a row.
func (c *cell) request(name string) (messages.Address, messages.Request) {
	bob := c.bob.at(conv)
	client := c.bob.at("")
	switch name {
	case "CreateConversation":
		return bob, messages.CreateConversation{}
	case "ProcessWelcome":
		return client, messages.ProcessWelcome{Message: c.welcome}
	case "JoinByExternalCommit":
		return client, messages.JoinByExternalCommit{GroupInfo: c.info}
	case "ProposeJoin":
		return client, messages.ProposeJoin{Conversation: conv}
	case "EncryptMessage":
		return bob, messages.EncryptMessage{Plaintext: []byte("x")}
	case "DecryptMessage":
		return bob, messages.DecryptMessage{Message: c.message}
	case "DecryptMessages":
		return bob, messages.DecryptMessages{Messages: [][]byte{c.message}}
	case "AddMembers":
		return bob, messages.AddMembers{KeyPackages: [][]byte{c.dave.keyPackage()}}
	case "RemoveMembers":
		return bob, messages.RemoveMembers{ClientIDs: []messages.ClientID{"alice"}}
	case "UpdateKeyMaterial":
		return bob, messages.UpdateKeyMaterial{}
	case "SetCredential":
		return bob, messages.SetCredential{Credential: ask[messages.CredentialsListed](c.t, c.sys, client, messages.ListCredentials{}).Credentials[0].Ref}
	case "CommitPendingProposals":
		return bob, messages.CommitPendingProposals{}
	case "EnableHistorySharing":
		return bob, messages.EnableHistorySharing{}
	case "DisableHistorySharing":
		return bob, messages.DisableHistorySharing{}
	case "ProposeAdd":
		return bob, messages.ProposeAdd{KeyPackage: c.dave.keyPackage()}
	case "ProposeRemove":
		return bob, messages.ProposeRemove{ClientID: "alice"}
	case "ProposePSK":
		ask[messages.PSKPut](c.t, c.sys, client, messages.PutPSK{ID: []byte("id"), PSK: []byte("key")})
		return bob, messages.ProposePSK{ID: []byte("id")}
	case "ProposeUpdate":
		return bob, messages.ProposeUpdate{}
	case "ClearPendingProposal":
		if c.proposal.Ref == nil && c.bob.state(conv).Exists && len(c.bob.state(conv).InDoubt) == 0 {
			c.proposal = ask[messages.ProposalCreated](c.t, c.sys, bob, messages.ProposeUpdate{})
		}
		return bob, messages.ClearPendingProposal{Ref: c.proposal.Ref}
	case "DropInDoubt":
		return bob, messages.DropInDoubt{}
	case "WipeConversation":
		return bob, messages.WipeConversation{}
	case "MarkAsChildOf":
		c.bob.create("parent")
		return bob, messages.MarkAsChildOf{Parent: "parent"}
	case "ReadConversation":
		return bob, messages.ReadConversation{}
	case "ListMembers":
		return bob, messages.ListMembers{}
	case "ReadE2EIState":
		return bob, messages.ReadE2EIState{}
	case "ReadIdentities":
		return bob, messages.ReadIdentities{Clients: []messages.ClientID{"bob"}}
	case "ExportSecret":
		return bob, messages.ExportSecret{Label: "x", Length: 16}
	case "ExportGroupInfo":
		return bob, messages.ExportGroupInfo{}
	}
	c.t.Fatalf("row %q is no request", name)
	return bob, nil
}

// newCell puts bob into a state. inside is where the request is asked from.
func newCell(t *testing.T, state string) (c *cell, inside func(func(tx messages.TransactionID))) {
	w := newWorld(t, func(o *Options) { o.RetryPause = maxResendPause })
	c = &cell{world: w, alice: w.peer("alice"), bob: w.peer("bob"), dave: w.peer("dave")}
	c.alice.create(conv)
	outside := func(f func(messages.TransactionID)) { f(0) }
	exportInfo := func() {
		c.info = ask[messages.GroupInfoExported](t, w.sys, c.alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	}
	member := state == "active" || state == "sending" || state == "in-doubt"
	if member {
		c.alice.add(conv, c.bob)
	}
	c.message = c.alice.encrypt(c.alice.at(conv), "hello")
	kp := c.bob.keyPackage()
	if member {
		exportInfo()
		if state != "active" {
			// A Welcome for bob exists because alice has removed and added him.
			ask[messages.CommitMerged](t, w.sys, c.alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
			ask[messages.CommitMerged](t, w.sys, c.alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{kp}})
			c.welcome = w.service.last(conv).Welcome
		}
	} else {
		ask[messages.CommitMerged](t, w.sys, c.alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{kp}})
		c.welcome = w.service.last(conv).Welcome
		ask[messages.CommitMerged](t, w.sys, c.alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
		exportInfo()
	}
	switch state {
	case "joining":
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, c.bob.try(c.bob.at(""), messages.JoinByExternalCommit{GroupInfo: c.info}))
	case "in-doubt":
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, c.bob.update(c.bob.at(conv)))
	case "sending":
		return c, func(f func(messages.TransactionID)) {
			w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
				f(messages.TransactionFrom(ctx))
				return messages.Verdict{Kind: messages.VerdictRefused}, nil
			})
			tx := c.bob.begin()
			wantErrorAs[*messages.MessageRejected](t, c.bob.update(c.bob.in(conv, tx)))
			c.bob.abort(tx)
		}
	}
	return c, outside
}

func outcomeOf(reply messages.Reply, err error) string {
	var doubt *messages.CommitInDoubt
	switch {
	case errors.Is(err, messages.ErrConversationNotFound):
		return "not-found"
	case errors.Is(err, messages.ErrConversationAlreadyExists):
		return "exists"
	case errors.Is(err, messages.ErrSending):
		return "sending"
	case errors.As(err, &doubt):
		return "in-doubt"
	case err != nil:
		return err.Error()
	}
	if m, ok := reply.(messages.MessageDecrypted); ok && m.Outcome.Buffered() {
		return "kept"
	}
	return "ok"
}

func TestStateTable(t *testing.T) {
	states, rows := readStateTable(t)
	source, err := os.ReadFile("../messages/conversation.go")
	if err != nil {
		t.Fatal(err)
	}
	requests, err := os.ReadFile("../messages/request.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(source)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "type" || !strings.Contains(string(requests), "func ("+fields[1]+") request()") {
			continue
		}
		if rows[fields[1]] == nil {
			t.Errorf("the table of doc.go has no row for %s", fields[1])
		}
	}
	for name, want := range rows {
		for i, state := range states {
			t.Run(name+"/"+state, func(t *testing.T) {
				c, inside := newCell(t, state)
				if name == "ProcessWelcome" && state == "active" {
					// Another conversation of the same id cannot be had in this world;
					// a Welcome to the one bob has been removed from can.
					kp := c.bob.keyPackage()
					ask[messages.CommitMerged](t, c.sys, c.alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
					ask[messages.CommitMerged](t, c.sys, c.alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{kp}})
					c.welcome = c.service.last(conv).Welcome
				}
				to, r := c.request(name)
				inside(func(tx messages.TransactionID) {
					to.Transaction = tx
					reply, err := c.sys.Ask(context.Background(), to, r)
					if got := outcomeOf(reply, err); got != want[i] {
						t.Errorf("got %s, want %s", got, want[i])
					}
				})
			})
		}
	}
}
