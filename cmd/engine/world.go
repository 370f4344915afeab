package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// demo is the world of "engine demo". Its delivery service outlives the engine, as a real one would.
type demo struct {
	options  demoOptions
	key      conclave.Secret
	delivery *enginetest.DeliveryService
	began    time.Time
	phase    atomic.Pointer[string]

	engine  *conclave.Engine
	devices map[conclave.ClientID]*enginetest.Device
	names   []conclave.ClientID
	rooms   []conclave.ConversationID

	decrypted     atomic.Int64
	recovery      time.Duration
	inDoubt       int
	memberships   int
	burst         struct{ messages, rate, bytes float64 }
	disagreements []error
}

func newDemo(o demoOptions, key conclave.Secret) *demo {
	d := &demo{options: o, key: key, delivery: enginetest.NewDeliveryService(), began: time.Now()}
	for i := range o.clients {
		d.names = append(d.names, conclave.ClientID(fmt.Sprintf("client %03d", i)))
	}
	for i := range o.conversations {
		d.rooms = append(d.rooms, conclave.ConversationID(fmt.Sprintf("conversation %05d", i)))
	}
	d.enter("opening")
	return d
}

func (d *demo) enter(phase string) { d.phase.Store(&phase) }

func (d *demo) run(ctx context.Context) error {
	if err := d.open(ctx); err != nil {
		return err
	}
	defer func() { _ = d.engine.Close() }()
	d.enter("creating")
	if err := d.found(ctx); err != nil {
		return err
	}
	d.enter("at work")
	if err := d.traffic(ctx, d.options.operations/2, true); err != nil {
		return err
	}
	d.enter("crashed, opening again")
	began := time.Now()
	if err := d.open(ctx); err != nil {
		return err
	}
	d.recovery = time.Since(began)
	d.enter("at work again")
	if err := d.traffic(ctx, d.options.operations-d.options.operations/2, false); err != nil {
		return err
	}
	d.enter("settling")
	if err := d.settle(ctx); err != nil {
		return err
	}
	d.enter("burst")
	if err := d.measure(ctx); err != nil {
		return err
	}
	d.enter("comparing")
	for _, room := range d.rooms {
		d.memberships += len(d.delivery.Members(room))
		if err := enginetest.Agree(ctx, d.delivery, room, d.devices); err != nil {
			d.disagreements = append(d.disagreements, err)
		}
	}
	return nil
}

func (d *demo) open(ctx context.Context) (err error) {
	if d.engine, err = conclave.Open(ctx, d.options.dir, conclave.Options{Key: d.key, RetryPause: 10 * time.Millisecond}); err != nil {
		return err
	}
	opened := make([]*enginetest.Device, len(d.names))
	err = parallel(ctx, len(d.names), func(i int) (err error) {
		transport := d.delivery.Transport(d.names[i])
		transport.Before = distance
		opened[i], err = enginetest.Open(ctx, d.engine, d.delivery, d.names[i], conclave.ClientOptions{
			CipherSuites: []conclave.CipherSuite{conclave.CipherSuite(d.options.suite)}, Transport: transport,
		})
		return err
	})
	if err != nil {
		return errors.Join(err, d.engine.Close())
	}
	d.devices = make(map[conclave.ClientID]*enginetest.Device)
	for _, device := range opened {
		d.devices[device.ID()] = device
		d.inDoubt += len(device.InDoubt())
	}
	return nil
}

// distance is the way of a commit to the delivery service: up to 10 ms, so that commits meet and a crash finds some on their way.
func distance(ctx context.Context, _ conclave.CommitBundle) enginetest.Fault {
	select {
	case <-time.After(time.Duration(rand.IntN(10_000)) * time.Microsecond):
		return enginetest.FaultNone
	case <-ctx.Done():
		return enginetest.FaultLoseRequest
	}
}

// found creates the conversations, each with some members added in one commit.
func (d *demo) found(ctx context.Context) error {
	err := parallel(ctx, len(d.rooms), func(i int) error {
		random := rand.New(rand.NewPCG(d.options.seed, uint64(i)))
		members := random.Perm(len(d.names))[:2+random.IntN(d.options.members-1)]
		founder := d.devices[d.names[members[0]]]
		if err := founder.CreateConversation(ctx, d.rooms[i], conclave.ConversationOptions{}); err != nil {
			return err
		}
		for _, m := range members[1:] {
			if err := d.replenish(ctx, d.names[m]); err != nil {
				return err
			}
		}
		var others []conclave.ClientID
		for _, m := range members[1:] {
			others = append(others, d.names[m])
		}
		return founder.Add(ctx, d.rooms[i], others...)
	})
	return errors.Join(err, d.receiveAll(ctx))
}

// replenish publishes key packages of a client that has few left.
func (d *demo) replenish(ctx context.Context, id conclave.ClientID) error {
	if d.delivery.KeyPackagesLeft(id) > 50 {
		return nil
	}
	return d.devices[id].Publish(ctx, 20)
}

// traffic makes operations in parallel while every device receives. With crash the engine is killed in the middle of the last of them.
func (d *demo) traffic(ctx context.Context, operations int, crash bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var receivers, workers sync.WaitGroup
	failures := make(chan error, 1)
	fail := func(err error) {
		if err == nil || dead(err) {
			return
		}
		select {
		case failures <- err:
		default:
		}
	}
	for _, device := range d.devices {
		receivers.Go(func() {
			for {
				select {
				case <-d.delivery.Arrived(device.ID()):
					fail(d.receive(ctx, device))
				case <-ctx.Done():
					return
				}
			}
		})
	}
	var next atomic.Int64
	for w := range 4 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(d.options.seed, uint64(w)+1<<32*uint64(operations)))
			for n := next.Add(1); n <= int64(operations) && ctx.Err() == nil; n = next.Add(1) {
				if crash && n == int64(operations)*9/10 {
					d.engine.Kill()
				}
				fail(d.operate(ctx, random))
			}
		})
	}
	workers.Wait()
	if crash {
		d.engine.Kill() // at the latest now, for very few operations
	}
	cancel()
	receivers.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

// operate lets a random member of a random conversation do something.
func (d *demo) operate(ctx context.Context, random *rand.Rand) error {
	room := d.rooms[random.IntN(len(d.rooms))]
	members := d.delivery.Members(room)
	if len(members) == 0 {
		return nil
	}
	device := d.devices[members[random.IntN(len(members))]]
	var err error
	switch dice := random.IntN(100); {
	case dice < 75:
		err = device.Say(ctx, room, fmt.Appendf(nil, "%s says %d", device.ID(), random.Uint64()))
	case dice < 85:
		_, err = device.UpdateKeyMaterial(ctx, room)
	case dice < 91:
		err = d.add(ctx, device, room, members, random)
	case dice < 95:
		if len(members) > 2 {
			_, err = device.RemoveMembers(ctx, room, members[random.IntN(len(members))])
		}
	default:
		var proposal conclave.ProposalBundle
		if proposal, err = device.ProposeUpdate(ctx, room); err == nil {
			d.delivery.Send(device.ID(), room, proposal.Message)
		}
	}
	if errors.Is(err, conclave.CodePendingProposals) {
		_, err = device.CommitPendingProposals(ctx, room)
	}
	return tolerate(err)
}

func (d *demo) add(ctx context.Context, device *enginetest.Device, room conclave.ConversationID, members []conclave.ClientID, random *rand.Rand) error {
	newcomer := d.names[random.IntN(len(d.names))]
	if slices.Contains(members, newcomer) {
		return nil
	}
	if err := d.replenish(ctx, newcomer); err != nil {
		return err
	}
	return device.Add(ctx, room, newcomer)
}

// tolerate drops the errors that belong to a life among others: commits that lost, conversations that were just joined or left, and a key package that somebody else was quicker to use.
func tolerate(err error) error {
	for _, code := range []conclave.Code{
		conclave.CodeMessageRejected, conclave.CodeCommitInDoubt, conclave.CodeConversationNotFound, conclave.CodeMemberNotFound,
		conclave.CodeInvalidArgument, conclave.CodeInvalidMessage,
	} {
		if errors.Is(err, code) {
			return nil
		}
	}
	return err
}

// dead tells whether an error only says that the engine was killed or the demo has ended.
func dead(err error) bool {
	for _, end := range []error{conclave.CodeClosed, conclave.CodeStoreFailed, conclave.CodeOutcomeUnknown, conclave.CodeCanceled, context.Canceled} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// receive processes what waits for a device. A member who was left behind joins anew.
func (d *demo) receive(ctx context.Context, device *enginetest.Device) error {
	events, err := device.Receive(ctx)
	for _, e := range events {
		d.decrypted.Add(int64(len(e.Texts())))
		switch {
		case e.Err == nil || conclave.IsIgnorable(e.Err):
		case errors.Is(e.Err, conclave.CodeConversationAlreadyExists), errors.Is(e.Err, conclave.CodeConversationNotFound):
			// A Welcome that was processed before the crash, or a message for a conversation that the device has been removed from.
		case errors.Is(e.Err, conclave.CodeOrphanWelcome), errors.Is(e.Err, conclave.CodeWrongEpoch):
			if _, joined := device.JoinByExternalCommit(ctx, d.delivery.GroupInfo(e.Delivery.Conversation), conclave.JoinOptions{}); tolerate(joined) != nil {
				return joined
			}
		default:
			return fmt.Errorf("%s in %s: %w", device.ID(), e.Delivery.Conversation, e.Err)
		}
	}
	return err
}

func (d *demo) receiveAll(ctx context.Context) error {
	return parallel(ctx, len(d.names), func(i int) error { return d.receive(ctx, d.devices[d.names[i]]) })
}

// settle receives until nothing waits and no commit is in doubt.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err := d.receiveAll(ctx); err != nil {
			return err
		}
		quiet := true
		for _, room := range d.rooms {
			for _, id := range d.delivery.Members(room) {
				state, err := d.devices[id].Conversation(room).State(ctx)
				if err != nil {
					return err
				}
				for _, doubt := range state.InDoubt {
					quiet = quiet && doubt.Refused
				}
			}
		}
		for _, id := range d.names {
			quiet = quiet && len(d.delivery.Waiting(id, 1)) == 0
		}
		if quiet {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("commits are still in doubt: %w", ctx.Err())
		}
	}
}

// measure lets one member of each conversation send a burst, and times how fast the others decrypt it.
func (d *demo) measure(ctx context.Context) error {
	const burst = 20
	text := make([]byte, 1024)
	err := parallel(ctx, len(d.rooms), func(i int) error {
		members := d.delivery.Members(d.rooms[i])
		if len(members) == 0 {
			return nil
		}
		device := d.devices[members[0]]
		if _, err := device.CommitPendingProposals(ctx, d.rooms[i]); err != nil {
			return err
		}
		for range burst {
			if err := device.Say(ctx, d.rooms[i], text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	before, written, began := d.decrypted.Load(), d.engine.Metrics().LogBytes, time.Now()
	if err := d.receiveAll(ctx); err != nil {
		return err
	}
	d.burst.messages = float64(d.decrypted.Load() - before)
	d.burst.rate = d.burst.messages / time.Since(began).Seconds()
	d.burst.bytes = float64(d.engine.Metrics().LogBytes-written) / max(1, d.burst.messages)
	return nil
}

// parallel calls f(0) to f(n-1), some at once, and returns the first error.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, 32) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
