package actors

import (
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/messages"
)

// pointNames returns the addresses of n lists of a domain.
func pointNames(domain string, n int) []string {
	points := make([]string, n)
	for i := range points {
		points[i] = fmt.Sprintf("http://%s/%04d.crl", domain, i)
	}
	return points
}

// pointsWorld is a client whose conversation notes distribution points.
type pointsWorld struct {
	*peer
	conversation *conversation
}

func newPointsWorld(t *testing.T) *pointsWorld {
	w := &pointsWorld{peer: newWorld(t).peer("alice")}
	w.load()
	return w
}

func (w *pointsWorld) load() {
	w.t.Helper()
	c, ok := w.sys.clients.load(w.instance)
	if !ok {
		w.t.Fatal("no client")
	}
	w.conversation = &conversation{sys: w.sys, queue: queue{client: c}}
}

// restart leaves what is durable.
func (w *pointsWorld) restart() {
	w.t.Helper()
	w.reopen()
	w.load()
}

// apply makes stages durable as one batch, and then known.
func (w *pointsWorld) apply(stages ...*stage) {
	w.t.Helper()
	for _, st := range stages {
		if err := w.sys.apply(&st.changes); err != nil {
			w.t.Fatal(err)
		}
		w.conversation.client.publish(st.news...)
	}
}

// note notes points, as many in a batch as a step takes.
func (w *pointsWorld) note(points []string) {
	w.t.Helper()
	for some := range slices.Chunk(points, maxStepPoints) {
		st := new(stage)
		w.conversation.stagePoints(st, some)
		w.apply(st)
	}
}

// wantPoints holds what is listed, before and after a restart.
func (w *pointsWorld) wantPoints(want ...[]string) {
	w.t.Helper()
	sorted := slices.Sorted(slices.Values(slices.Concat(want...)))
	for _, when := range []string{"before", "after"} {
		got := ask[messages.DistributionPointsListed](w.t, w.sys, w.at(""), messages.ListDistributionPoints{}).DistributionPoints
		if !slices.Equal(got, sorted) {
			w.t.Errorf("%s a restart: %d points, want %d; or others", when, len(got), len(sorted))
		}
		if n := len(w.conversation.client.notedPoints()); n != len(sorted) {
			w.t.Errorf("%s a restart: %d points are noted, want %d", when, n, len(sorted))
		}
		w.restart()
	}
}

// TestPointsOfAStep: a step notes so many points and no more, and each once.
func TestPointsOfAStep(t *testing.T) {
	w := newPointsWorld(t)
	points := pointNames("flood.example", maxPoints+1)
	st := new(stage)
	w.conversation.stagePoints(st, points)
	w.apply(st)
	w.wantPoints(points[:maxStepPoints])
	st = new(stage)
	w.conversation.stagePoints(st, slices.Concat(points[:maxStepPoints], points[:maxStepPoints+1], points[maxStepPoints:maxStepPoints+1]))
	w.apply(st)
	w.wantPoints(points[:maxStepPoints+1])
}

// TestPointsMakeRoom: a full table takes new points in place of the oldest.
func TestPointsMakeRoom(t *testing.T) {
	w := newPointsWorld(t)
	flood := pointNames("flood.example", maxPoints)
	slices.Reverse(flood) // the order is that of noting
	w.note(flood)
	w.wantPoints(flood)
	late := pointNames("late.example", 3)
	w.note(late)
	w.wantPoints(flood[3:], late)
	w.note(flood[:1]) // displaced, and back
	w.wantPoints(flood[4:], late, flood[:1])
}

// TestPointsOfATransaction: all stages of a transaction, and all steps of each, count
// together, and nothing is forgotten before it is finished.
func TestPointsOfATransaction(t *testing.T) {
	w := newPointsWorld(t)
	before := pointNames("before.example", 200)
	w.note(before)
	tx := &transaction{client: w.conversation.client}
	points := pointNames("tx.example", maxPoints+1)
	stages := []*stage{{tx: tx}, {tx: tx}}
	i := 0
	for some := range slices.Chunk(points, maxStepPoints) {
		w.conversation.stagePoints(stages[i%2], some)
		i++
	}
	if n := len(w.conversation.client.notedPoints()); n != len(before) {
		t.Errorf("%d points while the transaction is open", n)
	}
	w.apply(stages...)
	w.wantPoints(points[:maxPoints])
}

// TestPointsOfABatch: so do all steps of a batch.
func TestPointsOfABatch(t *testing.T) {
	w := newPointsWorld(t)
	w.note(pointNames("before.example", 200))
	points := pointNames("batch.example", maxPoints+1)
	st := new(stage)
	for some := range slices.Chunk(points, maxStepPoints) {
		w.conversation.stagePoints(st, some)
	}
	w.apply(st)
	w.wantPoints(points[:maxPoints])
}

// TestPointsAtTheSameTime: stages that do not see each other may overfill the table and
// note a point twice; the next makes up for that.
func TestPointsAtTheSameTime(t *testing.T) {
	w := newPointsWorld(t)
	before := pointNames("before.example", maxPoints)
	w.note(before)
	a, b := pointNames("a.example", 2), pointNames("b.example", 2)
	stages := []*stage{new(stage), new(stage)}
	w.conversation.stagePoints(stages[0], a)
	w.conversation.stagePoints(stages[1], b)
	w.apply(stages...)
	w.wantPoints(before[2:], a, b)
	c := pointNames("c.example", 1)
	w.note(c)
	w.wantPoints(before[5:], a, b, c)
}

// TestPointsBeforeACommitInDoubt: what a transaction has noted and displaced before its
// commit left stands when it is aborted, or the engine dies, and is known at once.
func TestPointsBeforeACommitInDoubt(t *testing.T) {
	for _, crash := range []bool{false, true} {
		w, alice, _ := pair(t, func(o *Options) {
			o.host = func() host { return &sendHost{newProtoHost(), func(messages.ConversationID, letter) {}} }
		})
		p := &pointsWorld{peer: alice}
		p.load()
		flood := pointNames("flood.example", maxPoints)
		p.note(flood)
		tx := alice.begin()
		ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{})
		alice.notePoint(conv, tx, "http://crl.example/before")
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.in(conv, tx)))
		if crash {
			w.crash()
			p.load()
			alice.state(conv) // which loads it
		} else {
			alice.abort(tx)
		}
		p.wantPoints(flood[1:], []string{"http://crl.example/before"})
	}
}
