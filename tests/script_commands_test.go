package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

var faultNames = map[string]enginetest.Fault{
	"refuse": enginetest.FaultRefuse, "not-sent": enginetest.FaultNotSent, "retry": enginetest.FaultRetry,
	"lose-request": enginetest.FaultLoseRequest, "lose-answer": enginetest.FaultLoseAnswer,
}

// scriptCommands are the words of a scenario. A command that takes a client acts in the transaction the client has open, if any.
var scriptCommands map[string]func(s *script, args []string)

func init() {
	scriptCommands = map[string]func(s *script, args []string){
		// new-client NAME...: open clients and publish key packages
		"new-client": func(s *script, args []string) {
			for _, name := range args {
				s.device(conclave.ClientID(name))
			}
		},
		// new-group CLIENT ROOM [MEMBER...]: create a conversation, add members in one commit and let them join
		"new-group": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.result("epoch 0", a.calls().CreateConversation(s.t.Context(), room, conclave.ConversationOptions{}))
			if len(args) > 2 {
				scriptCommands["add"](s, args)
				scriptCommands["deliver"](s, args[2:])
			}
		},
		// add CLIENT ROOM MEMBER...
		"add": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.merged(a.calls().AddMembers(s.t.Context(), room, s.claim(args[2:])...))
		},
		// remove CLIENT ROOM MEMBER...
		"remove": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			var ids []conclave.ClientID
			for _, name := range args[2:] {
				ids = append(ids, conclave.ClientID(name))
			}
			s.merged(a.calls().RemoveMembers(s.t.Context(), room, ids...))
		},
		// update CLIENT ROOM
		"update": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.merged(a.calls().UpdateKeyMaterial(s.t.Context(), room))
		},
		// commit CLIENT ROOM: commit pending proposals
		"commit": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.merged(a.calls().CommitPendingProposals(s.t.Context(), room))
		},
		// join CLIENT ROOM: by external commit
		"join": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			joined, err := a.calls().JoinByExternalCommit(s.t.Context(), s.ds.GroupInfo(room), conclave.JoinOptions{})
			s.merged(conclave.CommitMerged{Epoch: joined.Epoch, Sent: true, Released: joined.Released}, err)
		},
		// propose-add CLIENT ROOM MEMBER, propose-remove CLIENT ROOM MEMBER, propose-update CLIENT ROOM
		"propose-add": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			p, err := a.calls().ProposeAdd(s.t.Context(), room, s.claim(args[2:])[0])
			s.send(a, room, p.Message, "proposed", err)
		},
		"propose-remove": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			p, err := a.calls().ProposeRemove(s.t.Context(), room, conclave.ClientID(args[2]))
			s.send(a, room, p.Message, "proposed", err)
		},
		"propose-update": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			p, err := a.calls().ProposeUpdate(s.t.Context(), room)
			s.send(a, room, p.Message, "proposed", err)
		},
		// say CLIENT ROOM WORD...: encrypt and send
		"say": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			sealed, err := a.calls().EncryptMessage(s.t.Context(), room, []byte(strings.Join(args[2:], " ")))
			s.send(a, room, sealed, "sent", err)
		},
		// keep CLIENT ROOM WORD...: encrypt, and send it only with "release CLIENT ROOM"
		"keep": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			sealed, err := a.calls().EncryptMessage(s.t.Context(), room, []byte(strings.Join(args[2:], " ")))
			s.result("kept", err)
			a.kept = sealed
		},
		"release": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.send(a, room, a.kept, "sent", nil)
		},
		// deliver [CLIENT...] [drop=CLIENT]: let clients, or all, process what waits for them; drop loses what waits for one
		"deliver": func(s *script, args []string) {
			var names []conclave.ClientID
			for _, word := range args {
				if lost, ok := strings.CutPrefix(word, "drop="); ok {
					n := len(s.ds.Waiting(conclave.ClientID(lost), 1<<20))
					s.ds.Done(conclave.ClientID(lost), n)
					s.print("%s: %d lost", lost, n)
					continue
				}
				names = append(names, conclave.ClientID(word))
			}
			if len(names) == 0 {
				names = slices.Sorted(maps.Keys(s.devices))
			}
			for _, name := range names {
				s.deliver(s.devices[name])
			}
		},
		// deliver-one CLIENT: let a client process the oldest thing that waits for it
		"deliver-one": func(s *script, args []string) {
			s.deliverOne(s.devices[conclave.ClientID(args[0])])
		},
		// reverse CLIENT: turn round the order of what waits for a client
		"reverse": func(s *script, args []string) {
			s.ds.Reverse(conclave.ClientID(args[0]))
		},
		// fault CLIENT [WHAT...]: what goes wrong with its next commits, one after the other
		"fault": func(s *script, args []string) {
			a := s.devices[conclave.ClientID(args[0])]
			var list []enginetest.Fault
			for _, word := range args[1:] {
				f, ok := faultNames[word]
				if !ok {
					s.t.Fatalf("no fault %q", word)
				}
				list = append(list, f)
			}
			a.faults.set(list)
		},
		// settle CLIENT ROOM: wait until no commit is in doubt
		"settle": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			for s.doubts(a, room) > 0 {
				select {
				case <-s.settled:
				case <-s.t.Context().Done():
					s.t.Fatal("still in doubt")
				}
			}
			s.print("settled")
		},
		// drop-in-doubt CLIENT ROOM
		"drop-in-doubt": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			n, err := a.calls().DropInDoubt(s.t.Context(), room)
			if err == nil {
				s.print("%d dropped", n)
				return
			}
			s.result("", err)
		},
		// crash: kill the engine and open its directory again; reopen: close it in order instead
		"crash": func(s *script, _ []string) {
			s.engine.Kill()
			s.open()
		},
		"reopen": func(s *script, _ []string) {
			if err := s.engine.Close(); err != nil {
				s.t.Fatal(err)
			}
			s.open()
		},
		// wipe CLIENT ROOM
		"wipe": func(s *script, args []string) {
			a, room := s.actorAndRoom(args)
			s.result("wiped", a.calls().WipeConversation(s.t.Context(), room))
		},
		// begin CLIENT, finish CLIENT, abort CLIENT: a transaction around what the client does in between
		"begin": func(s *script, args []string) {
			a := s.devices[conclave.ClientID(args[0])]
			tx, err := a.Begin(s.t.Context())
			s.result("begun", err)
			a.tx = tx
		},
		"finish": func(s *script, args []string) {
			a := s.devices[conclave.ClientID(args[0])]
			final, err := a.tx.Finish(s.t.Context())
			s.ended(a, "finished", final, err)
		},
		"abort": func(s *script, args []string) {
			a := s.devices[conclave.ClientID(args[0])]
			final, err := a.tx.Abort(s.t.Context())
			s.ended(a, "aborted", final, err)
		},
		// set-data CLIENT WORD...; data CLIENT
		"set-data": func(s *script, args []string) {
			s.result("set", s.devices[conclave.ClientID(args[0])].calls().SetData(s.t.Context(), []byte(strings.Join(args[1:], " "))))
		},
		"data": func(s *script, args []string) {
			data, err := s.devices[conclave.ClientID(args[0])].calls().Data(s.t.Context())
			s.result(fmt.Sprintf("%q", data), err)
		},
		// epochs ROOM: where every client stands, and whether the members agree
		"epochs": func(s *script, args []string) {
			room := conclave.ConversationID(args[0])
			epoch, _ := s.ds.Epoch(room)
			s.print("delivery service: epoch %d, members %s", epoch, joinIDs(s.ds.Members(room)))
			devices := make(map[conclave.ClientID]*enginetest.Device)
			for _, name := range slices.Sorted(maps.Keys(s.devices)) {
				devices[name] = s.devices[name].Device
				state, err := s.devices[name].Conversation(room).State(s.t.Context())
				switch {
				case err != nil:
					s.t.Fatal(err)
				case !state.Exists:
					s.print("%s: not in it", name)
				default:
					s.print("%s: epoch %d%s", name, state.Epoch, s.pending(state))
				}
			}
			if err := enginetest.Agree(s.t.Context(), s.ds, room, devices); err != nil {
				s.print("they do not agree")
				return
			}
			s.print("they agree")
		},
	}
}

// claim takes a key package of each client.
func (s *script) claim(names []string) [][]byte {
	s.t.Helper()
	var ids []conclave.ClientID
	for _, name := range names {
		ids = append(ids, conclave.ClientID(name))
	}
	keyPackages, err := s.ds.Claim(ids...)
	if err != nil {
		s.t.Fatal(err)
	}
	return keyPackages
}

// send hands a message to the delivery service if there is no error.
func (s *script) send(a *actor, room conclave.ConversationID, message []byte, ok string, err error) {
	s.result(ok, err)
	if err == nil {
		s.ds.Send(a.ID(), room, message)
	}
}

// deliver lets a client process what waits for it, one after the other.
func (s *script) deliver(a *actor) {
	s.t.Helper()
	for s.deliverOne(a) {
	}
}

func (s *script) deliverOne(a *actor) bool {
	s.t.Helper()
	batch := s.ds.Waiting(a.ID(), 1)
	if len(batch) == 0 {
		return false
	}
	in := batch[0]
	s.out.WriteString(string(a.ID()) + ": ")
	if in.Welcome {
		joined, err := a.calls().ProcessWelcome(s.t.Context(), in.Message, conclave.JoinOptions{})
		s.result(fmt.Sprintf("Welcome to %s, epoch %d", joined.Conversation, joined.Epoch), err)
		s.released(joined.Released)
	} else {
		got, err := a.calls().DecryptMessage(s.t.Context(), in.Conversation, in.Message)
		s.result(describe(got), err)
		s.released(got.Released)
	}
	s.ds.Done(a.ID(), 1)
	return true
}

// doubts counts the commits whose fate is unknown.
func (s *script) doubts(a *actor, room conclave.ConversationID) int {
	s.t.Helper()
	state, err := a.Conversation(room).State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, d := range state.InDoubt {
		if !d.Refused {
			n++
		}
	}
	return n
}

// pending prints what is unsettled in a state.
func (s *script) pending(state conclave.ConversationState) string {
	text := ""
	if n := len(state.PendingProposals); n > 0 {
		text += fmt.Sprintf(", %d proposals pending", n)
	}
	for _, d := range state.InDoubt {
		if d.Refused {
			text += ", a commit refused"
		} else {
			text += ", a commit in doubt"
		}
	}
	return text
}

// ended prints how a transaction ended and what is final all the same.
func (s *script) ended(a *actor, ok string, final []conclave.FinalConversation, err error) {
	a.tx = nil
	s.result(ok, err)
	for _, f := range final {
		how := "in doubt"
		if f.Merged {
			how = "merged"
		}
		s.print("  final: %s, commit of epoch %d %s", f.Conversation, f.Epoch, how)
	}
}

func joinIDs(ids []conclave.ClientID) string {
	var names []string
	for _, id := range ids {
		names = append(names, string(id))
	}
	return strings.Join(names, " ")
}
