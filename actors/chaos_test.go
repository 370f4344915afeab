package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/messages"
)

// TestChaos lets several members of several conversations do everything at once, with
// a delivery service that loses answers, refuses and asks to try again, randomness
// that panics, and conversations that are dropped from memory. When it is over and
// the service behaves, all settle, agree and understand each other.
func TestChaos(t *testing.T) {
	for seed := range uint64(4) {
		for _, x := range extreme.Over(seed) {
			t.Run(fmt.Sprintf("seed %d, %s", seed, x.Name), func(t *testing.T) { chaos(t, seed, x) })
		}
		for _, x := range extreme.Over(seed + 4) {
			t.Run(fmt.Sprintf("RFC_9420, seed %d, %s", seed, x.Name), func(t *testing.T) { chaos(t, seed, x) })
		}
	}
}

func chaos(t *testing.T, seed uint64, x extreme.Setting) {
	r := new(brittle)
	// All conversations leave memory as soon as they may, or none does.
	swept := &sweptHost{host: &viewedHost{newProtoHost(), t}}
	w := newWorld(t, func(o *Options) {
		o.Rand, o.RetryPause, o.StateBytes, o.host = r, 1, -1, func() host { return swept }
		o.Step, o.LeaseGenerations = x.Step, x.LeaseGenerations
	})
	if x.StateBytes > 0 {
		swept.sys = w.sys
	}
	var members []*peer
	for i := range 4 {
		members = append(members, w.peer(fmt.Sprint("member ", i)))
	}
	ids := []messages.ConversationID{"x", "y", "z"}
	for _, id := range ids {
		members[0].create(id)
		members[0].add(id, members[1:]...)
	}
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 3))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return dice.IntN(n)
	}
	w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		switch roll(8) {
		case 0:
			return messages.Verdict{}, errLost
		case 1:
			w.service.accept(b)
			return messages.Verdict{}, errLost
		case 2:
			w.service.accept(b)
			return messages.Verdict{Kind: messages.VerdictRefused, Reason: "or so it seems"}, nil
		case 3:
			return messages.Verdict{Kind: messages.VerdictRetry}, nil
		case 4:
			return messages.Verdict{Kind: messages.VerdictNotSent}, nil
		}
		return messages.Verdict{}, nil
	})
	// Everything anybody sends, for everybody to read at any time, or never.
	var posts [][]byte
	post := func(m []byte) {
		mu.Lock()
		defer mu.Unlock()
		posts = append(posts, m)
	}
	pick := func() []byte {
		mu.Lock()
		defer mu.Unlock()
		if len(posts) == 0 {
			return nil
		}
		return posts[dice.IntN(len(posts))]
	}
	step := func(p *peer, to messages.Address) error {
		switch roll(9) {
		case 0, 1:
			reply, err := w.sys.Ask(context.Background(), to, messages.EncryptMessage{Plaintext: []byte("text")})
			if err == nil {
				post(reply.(messages.MessageEncrypted).Message)
			}
			return err
		case 2:
			return p.update(to)
		case 3:
			if to.Transaction != 0 {
				return nil // a proposal may only be sent once it cannot be aborted
			}
			reply, err := w.sys.Ask(context.Background(), to, messages.ProposeUpdate{})
			if err == nil {
				post(reply.(messages.ProposalCreated).Message)
			}
			return err
		case 4:
			return p.try(to, messages.CommitPendingProposals{})
		case 5:
			log := w.service.since(to.Conversation, 0)
			return p.try(to, messages.DecryptMessage{Message: log[roll(len(log))].Commit})
		}
		if m := pick(); m != nil {
			return p.try(to, messages.DecryptMessage{Message: m})
		}
		return nil
	}
	var wg sync.WaitGroup
	for _, p := range members {
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 60 {
					id := ids[roll(len(ids))]
					switch roll(12) {
					case 0:
						w.sys.passivate(0)
					case 1:
						r.breaks.Store(true)
					case 2, 3, 4:
						begun, err := w.sys.Ask(context.Background(), p.at(""), messages.Begin{})
						if err != nil {
							continue
						}
						tx := begun.(messages.TransactionBegun).Transaction
						for range roll(4) {
							_ = step(p, p.in(ids[roll(len(ids))], tx))
						}
						end := messages.Request(messages.Finish{})
						if roll(2) == 0 {
							end = messages.Abort{}
						}
						if err := p.try(p.in("", tx), end); err != nil && !errors.Is(err, messages.ErrTransactionFailed) {
							t.Errorf("%s: %T: %v", p.name, end, err)
						}
					case 5:
						// Losing hope, and joining anew.
						info, err := w.sys.Ask(context.Background(), members[roll(len(members))].at(id), messages.ExportGroupInfo{})
						if err == nil && roll(3) == 0 {
							_ = p.try(p.at(""), messages.JoinByExternalCommit{GroupInfo: info.(messages.GroupInfoExported).GroupInfo})
						}
					case 6, 7:
						log := w.service.since(id, 0)
						for _, b := range log {
							_ = p.try(p.at(id), messages.DecryptMessage{Message: b.Commit})
						}
					default:
						_ = step(p, p.at(id))
					}
				}
			}()
		}
	}
	wg.Wait()
	r.breaks.Store(false)
	w.service.set(nil)
	for _, id := range ids {
		// Proposals and commits come again and again until everybody has what is there, and
		// once more while the service takes nothing new: a join in doubt may be sent at any
		// time, and change the epoch behind those who have been looked at.
		full := false
		for round := 0; ; round++ {
			behind := 0
			for _, p := range members {
				for _, m := range posts {
					_ = p.try(p.at(id), messages.DecryptMessage{Message: m})
				}
				for _, b := range w.service.since(id, 0) {
					_ = p.try(p.at(id), messages.DecryptMessage{Message: b.Commit})
				}
				state := p.state(id)
				if !state.Exists {
					// It gave up on a join that was accepted after all, and that join
					// has removed the member it was before. So it joins once more.
					behind++
					for _, q := range members {
						if got := q.state(id); got.Exists && got.Epoch == uint64(w.service.length(id)) {
							info := ask[messages.GroupInfoExported](t, w.sys, q.at(id), messages.ExportGroupInfo{}).GroupInfo
							_ = p.try(p.at(""), messages.JoinByExternalCommit{GroupInfo: info})
							break
						}
					}
					continue
				}
				if len(state.PendingProposals) > 0 {
					_ = p.try(p.at(id), messages.CommitPendingProposals{})
					behind++
				} else if p.try(p.at(id), messages.EncryptMessage{}) != nil || state.Epoch != uint64(w.service.length(id)) {
					behind++
				}
			}
			if behind == 0 && full {
				break
			}
			full = behind == 0
			w.service.setFull(full)
			if round >= 100 && behind > 0 {
				t.Errorf("%s: %d members are behind", id, behind)
				break
			}
		}
		agree(t, id, members...)
		for _, p := range members {
			text := fmt.Sprint("from ", p.name)
			m := p.encrypt(p.at(id), text)
			for _, q := range members {
				if q != p {
					q.expectText(id, m, text)
				}
			}
		}
		w.service.setFull(false)
	}
}
