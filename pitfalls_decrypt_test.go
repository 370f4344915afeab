package conclave_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Past bugs of CoreCrypto in decrypting and in the order of messages, as tests; docs/corecrypto.md lists them.

// TestPitfallD1CommitBeforeItsProposals: a commit may come before the proposals it carries out, and they in any order.
func TestPitfallD1CommitBeforeItsProposals(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		r := newRoom(t, conclave.ClientOptions{})
		proposals := [][]byte{r.tom.propose(nil, public), r.fromOutside()}
		for _, p := range proposals {
			r.ada.read(p)
		}
		if got := r.decrypt(r.ada.commit().Commit); got.Outcome != conclave.OutcomeBufferedCommit {
			t.Fatalf("outcome %v", got.Outcome)
		}
		if got := r.decrypt(proposals[order[0]]); got.Outcome != conclave.OutcomeProposal || got.Released != nil || !got.HasCommitDelay {
			t.Errorf("the first proposal: %v, %d released", got.Outcome, len(got.Released))
		}
		if got := r.decrypt(proposals[order[1]]); got.Outcome != conclave.OutcomeProposal || len(got.Released) != 1 || got.Epoch != 2 {
			t.Errorf("the second proposal: %v, %d released, epoch %d", got.Outcome, len(got.Released), got.Epoch)
		}
		r.agree()
	}
}

// TestPitfallD2BufferedCommitGoesWithItsEpoch: a commit whose proposals never come makes no trouble in a later epoch, nor after joining anew.
func TestPitfallD2BufferedCommitGoesWithItsEpoch(t *testing.T) {
	for name, leave := range map[string]func(r *room){
		"another commit": func(r *room) { r.advance(1) },
		"own commit":     (*room).update,
		"joining anew": func(r *room) {
			if _, err := r.bob.JoinByExternalCommit(r.t.Context(), r.ada.groupInfo().Marshal(), conclave.JoinOptions{}); err != nil {
				r.t.Fatal(err)
			}
			r.ada.read(r.last().Commit)
			r.tom.read(r.last().Commit)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, conclave.ClientOptions{})
			then, toms := *r.ada, *r.tom
			r.ada.read(r.tom.propose(nil, public))
			if got := r.decrypt(r.ada.commit().Commit); got.Outcome != conclave.OutcomeBufferedCommit {
				t.Fatalf("outcome %v", got.Outcome)
			}
			*r.ada, *r.tom = then, toms
			leave(r)
			if got := r.decrypt(r.tom.propose(nil, public)); got.Outcome != conclave.OutcomeProposal || len(got.Released) != 0 {
				t.Errorf("the next proposal: %v, %d released", got.Outcome, len(got.Released))
			}
		})
	}
}

// TestPitfallD3BufferedGarbageFailsAlone: of the messages that were kept, one that is bad costs the others and the commit nothing.
func TestPitfallD3BufferedGarbageFailsAlone(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.ahead(1)
	bad := slices.Clone(r.ada.say("bad"))
	bad[len(bad)-1] ^= 1
	r.decrypt(bad)
	r.decrypt(r.ada.say("good"))
	released := r.catchUp()
	if len(released) != 2 || !slices.Equal(releasedTexts(released), []string{"good"}) {
		t.Fatalf("%d released, texts %q", len(released), releasedTexts(released))
	}
	r.agree()
	if got := r.catchUp(); len(got) != 0 {
		t.Error("released again")
	}
}

// TestPitfallD4RemovedMemberReadsNothingKept: a commit that removes the member ends what was kept as well, without an error.
func TestPitfallD4RemovedMemberReadsNothingKept(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	tom := *r.tom
	c := r.ada.commit(removeOf(bobsLeaf)).Commit
	tom.read(c)
	r.decrypt(tom.say("not for bob"))
	got := r.decrypt(c)
	if got.Outcome != conclave.OutcomeCommit || got.IsActive || len(got.Released) != 0 {
		t.Errorf("%v, active %t, %d released", got.Outcome, got.IsActive, len(got.Released))
	}
}

// TestPitfallD5OnlyTheNextEpochIsKept: messages of one epoch ahead are kept, those of two are refused and not kept.
func TestPitfallD5OnlyTheNextEpochIsKept(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.ahead(1)
	r.decrypt(r.ada.say("of the next epoch"))
	r.ahead(1)
	r.decrypt(r.kept[1]) // the commit that ends the next epoch
	far := r.ada.say("of the one after")
	r.refuse(far, conclave.CodeWrongEpoch)
	got := r.decrypt(r.kept[0])
	if got.Epoch != 3 || !slices.Equal(releasedTexts(got.Released), []string{"of the next epoch"}) || len(got.Released) != 2 {
		t.Errorf("epoch %d, %d released, texts %q", got.Epoch, len(got.Released), releasedTexts(got.Released))
	}
	if got := r.decrypt(far); string(got.Plaintext) != "of the one after" {
		t.Errorf("delivered again: %v", got.Outcome)
	}
	r.agree()
}

// TestPitfallD6ReplayIsIgnorable: everything of five epochs, delivered again, is answered with nothing but errors that ask nothing.
func TestPitfallD6ReplayIsIgnorable(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	var all [][]byte
	for range 5 {
		text, own := r.ada.say("text"), []byte(nil)
		p, outside := r.tom.propose(nil, public), r.fromBackend(0, removeOf(0))
		r.decrypt(text)
		r.ada.read(p)
		if got, err := r.bob.EncryptMessage(t.Context(), "room", []byte("own")); err != nil {
			t.Fatal(err)
		} else {
			own = got
		}
		r.decrypt(p)
		r.decrypt(outside)
		c := r.ada.commit().Commit
		r.decrypt(c)
		r.tom.read(c)
		all = append(all, text, own, p, outside, c)
		r.update()
		all = append(all, r.last().Commit)
	}
	for i, m := range all {
		if got, err := r.bob.DecryptMessage(t.Context(), "room", m); !conclave.IsIgnorable(err) {
			t.Errorf("message %d again: %v, %v", i, got.Outcome, err)
		}
	}
	r.agree()
}

// TestPitfallD7FailedSendHoldsUpNothing: after a commit that was refused or not sent every operation goes on; after one whose fate is unknown the next
// operation first sends the same bytes again, and then goes on.
func TestPitfallD7FailedSendHoldsUpNothing(t *testing.T) {
	operations := map[string]func(r *room) error{
		"update": func(r *room) error {
			_, err := r.bob.UpdateKeyMaterial(r.t.Context(), "room")
			return err
		},
		"add": func(r *room) error {
			_, err := r.bob.AddMembers(r.t.Context(), "room", newCoreMember(r.t, "eve").bundle.KeyPackage.Marshal())
			return err
		},
		"encrypt": func(r *room) error {
			_, err := r.bob.EncryptMessage(r.t.Context(), "room", []byte("and on"))
			return err
		},
		"propose": func(r *room) error {
			_, err := r.bob.Conversation("room").ProposeUpdate(r.t.Context())
			return err
		},
	}
	for verdict, tc := range map[string]struct {
		answer func(*room)
		want   conclave.Code
	}{
		"refused":  {func(r *room) { r.verdict = refusedVerdict }, conclave.CodeMessageRejected},
		"not sent": {func(r *room) { r.verdict = notSentVerdict }, conclave.CodeNotSent},
		"unknown":  {func(r *room) { r.verdict = noVerdict }, conclave.CodeCommitInDoubt},
	} {
		for name, operation := range operations {
			t.Run(verdict+", then "+name, func(t *testing.T) {
				r := newRoom(t, conclave.ClientOptions{})
				tc.answer(r)
				_, err := r.bob.UpdateKeyMaterial(t.Context(), "room")
				wantCode(t, err, tc.want)
				r.verdict = nil
				if err := operation(r); err != nil {
					t.Fatal(err)
				}
				again := len(r.sent) > 1 && r.sent[1].Hash == r.sent[0].Hash
				if (tc.want == conclave.CodeCommitInDoubt) != again {
					t.Errorf("sent again: %t", again)
				}
				for _, b := range r.sent[1:] {
					r.ada.read(b.Commit)
				}
				r.agree()
			})
		}
	}
}

// TestPitfallD8EchoBeforeTheVerdict: the own commit comes back before the delivery service has answered. The call succeeds, the epoch changes once, and one
// event tells of it.
func TestPitfallD8EchoBeforeTheVerdict(t *testing.T) {
	events := make(chan uint64, 8)
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) { events <- e.Epoch }}})
	r.verdict = r.echo
	merged, err := r.bob.UpdateKeyMaterial(t.Context(), "room")
	if err != nil || merged.Epoch != 2 || !merged.Sent {
		t.Fatalf("%+v, %v", merged, err)
	}
	r.ada.read(r.last().Commit)
	r.agree()
	r.reopen() // all events are told
	if got := drain(events); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("events of epochs %v", got)
	}
}

// TestPitfallD9MessageBeforeJoiningAnew: messages of the epochs before an own external join cannot be read any more, and that is an error to ignore.
func TestPitfallD9MessageBeforeJoiningAnew(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	older := r.ada.say("older")
	r.advance(1)
	last := r.ada.say("of the last epoch before")
	if _, err := r.bob.JoinByExternalCommit(t.Context(), r.ada.groupInfo().Marshal(), conclave.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][]byte{older, last} {
		if _, err := r.bob.DecryptMessage(t.Context(), "room", m); !conclave.IsIgnorable(err) {
			t.Errorf("error %v", err)
		}
	}
}

// TestPitfallD10LateMessageHasItsOwnSender: a late message is verified with the key that its sender had then, and named after who sat there then.
func TestPitfallD10LateMessageHasItsOwnSender(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{Profile: conclave.ProfileRFC9420})
	late := r.ada.say("before the new key")
	next := newSigner(t, "ada")
	c := r.ada.commitAs(mlsgroup.CommitOptions{Leaf: &mlsgroup.LeafChange{Signer: next}}).Commit
	r.ada.in.Signer = next
	r.decrypt(c)
	textOf("before the new key")(t, r.decrypt(late))

	// Somebody else in the place of the sender.
	r.tom.read(c)
	late = r.tom.say("before eve came")
	eve := newCoreMember(t, "eve")
	r.decrypt(r.ada.commit(removeOf(tomsLeaf)).Commit)
	b := r.ada.commit(addOf(eve.bundle.KeyPackage))
	r.decrypt(b.Commit)
	eve.join(b.Welcome)
	if eve.g.OwnLeaf() != tomsLeaf {
		t.Fatalf("eve is at leaf %d", eve.g.OwnLeaf())
	}
	if got := r.decrypt(late); got.Sender.ClientID != "tom" || string(got.Plaintext) != "before eve came" {
		t.Errorf("%q from %q", []byte(got.Plaintext), got.Sender.ClientID)
	}
	if got := r.decrypt(eve.say("hello")); got.Sender.ClientID != "eve" {
		t.Errorf("from %q", got.Sender.ClientID)
	}
}

// TestPitfallD11ReverseOrder: messages in reverse order are each read once, as many as the window holds.
func TestPitfallD11ReverseOrder(t *testing.T) {
	for window, want := range map[uint32]int{0: 4, 2: 2} { // Wire's clients have 2, which counts the newest
		r := newRoom(t, conclave.ClientOptions{Receive: conclave.ReceiveConfig{OutOfOrder: window}})
		var all [][]byte
		for range 4 {
			all = append(all, r.ada.say("text"))
		}
		slices.Reverse(all)
		read := 0
		for range 2 {
			for _, m := range all {
				_, err := r.bob.DecryptMessage(t.Context(), "room", m)
				if err == nil {
					read++
				} else {
					wantCode(t, err, conclave.CodeDuplicateMessage)
				}
			}
		}
		if read != want {
			t.Errorf("window %d: %d messages read, want %d", window, read, want)
		}
	}
}

// TestPitfallD12OwnMessageComesBack: the delivery service may return what one has sent.
func TestPitfallD12OwnMessageComesBack(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	m, err := r.bob.EncryptMessage(t.Context(), "room", []byte("mine"))
	if err != nil {
		t.Fatal(err)
	}
	r.refuse(m, conclave.CodeDuplicateMessage)
	r.advance(1)
	r.refuse(m, conclave.CodeDuplicateMessage)
}

// TestPitfallD13ErrorsHoldNoContent: what was said is in no error. That it is in no log either is TestLogsHoldNoSecret's.
func TestPitfallD13ErrorsHoldNoContent(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	if _, err := r.bob.Conversation("room").ProposeUpdate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, pending := r.bob.EncryptMessage(t.Context(), "room", []byte("what was said"))
	_, missing := r.bob.EncryptMessage(t.Context(), "elsewhere", []byte("what was said"))
	bad := r.ada.say("what was said")
	bad[len(bad)-1] ^= 1
	_, broken := r.bob.DecryptMessage(t.Context(), "room", bad)
	for _, err := range []error{pending, missing, broken} {
		if err == nil || strings.Contains(err.Error(), "what was said") {
			t.Errorf("error %v", err)
		}
	}
}

// TestPitfallD14IgnorableErrors: the errors that ask nothing, and they alone, are told by IsIgnorable.
func TestPitfallD14IgnorableErrors(t *testing.T) {
	ignorable := []conclave.Code{
		conclave.CodeDuplicateMessage, conclave.CodeSelfCommitIgnored, conclave.CodeStaleProposal, conclave.CodeStaleCommit, conclave.CodeMessageEpochTooOld,
	}
	seen := make(map[conclave.Code]bool)
	for _, row := range decryptTable() {
		if row.code == "" || seen[row.code] {
			continue
		}
		seen[row.code] = true
		t.Run(row.name, func(t *testing.T) {
			r := newRoom(t, row.options)
			_, err := r.bob.DecryptMessage(t.Context(), "room", row.message(r))
			if got, want := conclave.IsIgnorable(err), slices.Contains(ignorable, row.code); got != want {
				t.Errorf("IsIgnorable(%v) = %t", err, got)
			}
		})
	}
	for _, code := range ignorable {
		if !seen[code] {
			t.Errorf("the table has no %s", string(code))
		}
	}
}

// TestPitfallD15NoMessagePanics changes every byte of every kind of message, and puts senders where they do not belong.
func TestPitfallD15NoMessagePanics(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	then := *r.ada
	samples := [][]byte{
		r.ada.say("text"), r.fromBackend(0, removeOf(tomsLeaf)), r.fromOutside(), r.joinFromOutside(), r.tom.propose(nil, public), r.ada.commit().Commit,
		r.commitFrom(mlsgroup.Sender{Type: mlsgroup.SenderTypeExternal}), r.commitFrom(mlsgroup.Sender{Type: mlsgroup.SenderTypeNewMemberProposal}),
		r.commitFrom(mlsgroup.Sender{Type: mlsgroup.SenderTypeNewMemberCommit}),
	}
	*r.ada = then
	stop := errors.New("stop")
	for _, m := range samples {
		for i := 0; i < len(m); i += 1 + len(m)/64 {
			changed := slices.Clone(m)
			changed[i] ^= 0x41
			err := r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
				_, err := tx.DecryptMessage(t.Context(), "room", changed)
				return errors.Join(stop, err)
			})
			if errors.Is(err, conclave.CodeInternal) {
				t.Errorf("byte %d of %x: %v", i, m[:8], err)
			}
		}
	}
	textOf("still here")(t, r.decrypt(r.ada.say("still here")))
}

// TestPitfallD16DelayBelongsToItsProposal: a commit has no delay; a proposal that it releases has one of its own.
func TestPitfallD16DelayBelongsToItsProposal(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.ahead(1)
	r.decrypt(r.tom.propose(nil, public))
	got := r.decrypt(r.kept[0])
	if got.HasCommitDelay || len(got.Released) != 1 || !got.Released[0].Message.HasCommitDelay {
		t.Errorf("delay of the commit: %t; released %+v", got.HasCommitDelay, got.Released)
	}
}
