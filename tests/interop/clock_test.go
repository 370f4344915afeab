package interop

import (
	"sync/atomic"
	"time"
)

// clock is the time of day, ahead by what its user says. The zero value is not ahead.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// advance moves the clocks of a peer that has one: ours, its own, and those of certification authorities.
func (s *stage) advance(d time.Duration) {
	s.peer.clock.ahead.Add(int64(d))
	for _, p := range s.parties {
		if p, ok := p.(*peerParty); ok {
			must(p.do("advance", "", call{Seconds: int(d.Seconds())}))
			return // it is that of the process
		}
	}
	fail("no client of the peer has a clock")
}
