package actors

import (
	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/messages"
)

// event is told to a client's observer, after what it tells of is durable.
type event struct {
	to      *client
	epoch   *messages.EpochChanged
	settled *messages.CommitSettled
	history *messages.HistoryClientCreated
	// heard is who heard of settled when it was staged. It hears what was released with it
	// where the client has been opened again with an observer that does not: it is kept no more.
	heard func(messages.CommitSettled)
}

func (event) letter() {}

// events is the one actor that calls observers: in the order in which actors sent
// to it, which is the order of things within each conversation. A slow observer
// holds up events and nothing else.
type events struct{ log *zap.Logger }

func (o *events) receive(l letter) {
	e, ok := l.(event)
	if !ok {
		return
	}
	_ = safely(o.log, "observer", func() error {
		observer := e.to.config.Load().observer
		if e.epoch != nil && observer.EpochChanged != nil {
			observer.EpochChanged(*e.epoch)
		}
		if e.history != nil && observer.HistoryClientCreated != nil {
			observer.HistoryClientCreated(*e.history)
		}
		if e.settled != nil {
			tell := observer.CommitSettled
			if tell == nil && len(e.settled.Released) > 0 {
				tell = e.heard
			}
			if tell != nil {
				tell(*e.settled)
			}
		}
		return nil
	})
}

func (o *events) stopped() {}
