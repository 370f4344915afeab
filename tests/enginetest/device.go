package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/conclave-mls/conclave"
)

// Device is a client and its way to the delivery service: what one application on one device is.
type Device struct {
	*conclave.Client
	Delivery  *DeliveryService
	Transport *Transport
}

// Open opens a client of an engine as a device, with a transport of its own unless o brings one of this package, and publishes key packages where nobody
// can claim one any more and there is a credential for them.
func Open(ctx context.Context, e *conclave.Engine, ds *DeliveryService, id conclave.ClientID, o conclave.ClientOptions) (*Device, error) {
	transport, ok := o.Transport.(*Transport)
	if !ok {
		transport = ds.Transport(id)
	}
	o.Transport = transport
	d := &Device{Delivery: ds, Transport: transport}
	var err error
	if d.Client, err = e.Client(ctx, id, o); err != nil {
		return nil, err
	}
	if o.NoCredential || ds.KeyPackagesLeft(id) > 0 {
		return d, nil
	}
	return d, d.Publish(ctx, 10)
}

// Publish makes key packages of the client's first suite and publishes them.
func (d *Device) Publish(ctx context.Context, count int) error {
	made, err := d.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: count})
	if err != nil {
		return err
	}
	d.Delivery.Publish(d.ID(), made...)
	return nil
}

// Add claims a key package of each client and adds them.
func (d *Device) Add(ctx context.Context, id conclave.ConversationID, clients ...conclave.ClientID) error {
	keyPackages, err := d.Delivery.Claim(clients...)
	if err != nil {
		return err
	}
	_, err = d.AddMembers(ctx, id, keyPackages...)
	return err
}

// Say encrypts an application message and hands it to the delivery service.
func (d *Device) Say(ctx context.Context, id conclave.ConversationID, text []byte) error {
	sealed, err := d.EncryptMessage(ctx, id, text)
	if err != nil {
		return err
	}
	d.Delivery.Send(d.ID(), id, sealed)
	return nil
}

// Event is what became of one delivery.
type Event struct {
	Delivery Delivery
	Message  conclave.DecryptedMessage // of a message
	Joined   conclave.Joined           // of a Welcome
	Err      error
}

// Texts returns the plaintexts of an event: its own and those it has released.
func (e Event) Texts() []string {
	var texts []string
	if e.Err == nil && e.Message.Outcome == conclave.OutcomeText {
		texts = append(texts, string(e.Message.Plaintext))
	}
	for _, list := range [][]conclave.Released{e.Message.Released, e.Joined.Released} {
		for _, r := range list {
			if r.Err == nil && r.Message.Outcome == conclave.OutcomeText {
				texts = append(texts, string(r.Message.Plaintext))
			}
		}
	}
	return texts
}

// errStop marks errors that say nothing about the delivery but that it has to be processed again.
var errStop = []error{
	conclave.CodeClosed, conclave.CodeStoreFailed, conclave.CodeOutcomeUnknown, conclave.CodeBusy, conclave.CodeCanceled, context.Canceled, context.DeadlineExceeded,
}

// Receive processes what waits for the device, in parallel over conversations, and returns what became of it in no order between conversations. It
// stops at an error that says nothing about the message; what has not been processed waits on.
func (d *Device) Receive(ctx context.Context) ([]Event, error) {
	const most = 4096
	var all []Event
	for {
		batch := d.Delivery.Waiting(d.ID(), most)
		if len(batch) == 0 {
			return all, nil
		}
		events, err := d.process(ctx, batch)
		if err != nil {
			return all, err
		}
		all = append(all, events...)
		d.Delivery.Done(d.ID(), len(batch))
	}
}

func (d *Device) process(ctx context.Context, batch []Delivery) ([]Event, error) {
	lanes := make(map[conclave.ConversationID][]Delivery)
	for _, in := range batch {
		lanes[in.Conversation] = append(lanes[in.Conversation], in)
	}
	var (
		mu     sync.Mutex
		events []Event
		failed error
		all    sync.WaitGroup
	)
	for _, lane := range lanes {
		all.Go(func() {
			for _, in := range lane {
				e := d.one(ctx, in)
				mu.Lock()
				for _, stop := range errStop {
					if errors.Is(e.Err, stop) {
						failed = e.Err
						mu.Unlock()
						return
					}
				}
				events = append(events, e)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return events, failed
}

func (d *Device) one(ctx context.Context, in Delivery) Event {
	e := Event{Delivery: in}
	if in.Welcome {
		e.Joined, e.Err = d.ProcessWelcome(ctx, in.Message, conclave.JoinOptions{})
	} else {
		e.Message, e.Err = d.DecryptMessage(ctx, in.Conversation, in.Message)
	}
	return e
}

// Agree compares the devices' states of a conversation and returns an error that names the first that is not in the delivery service's epoch, or whose
// epoch authenticator is another than the first one's.
func Agree(ctx context.Context, ds *DeliveryService, id conclave.ConversationID, devices map[conclave.ClientID]*Device) error {
	epoch, _ := ds.Epoch(id)
	var first *conclave.ConversationState
	for _, member := range ds.Members(id) {
		d := devices[member]
		if d == nil {
			return fmt.Errorf("enginetest: %s is a member of %s and no device", member, id)
		}
		state, err := d.Conversation(id).State(ctx)
		if err != nil {
			return err
		}
		if !state.Exists || state.Epoch != epoch {
			return fmt.Errorf("enginetest: %s is in epoch %d of %s (exists: %t), the delivery service in %d", member, state.Epoch, id, state.Exists, epoch)
		}
		if first == nil {
			first = &state
		} else if !first.EpochAuthenticator.Equal(state.EpochAuthenticator) {
			return fmt.Errorf("enginetest: %s has another state of epoch %d of %s than the first member", member, epoch, id)
		}
	}
	return nil
}
