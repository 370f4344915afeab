package enginetest

import (
	"maps"
	"slices"
)

// Clone returns a copy of the delivery service, taken together with what during does, which may be nil: nothing is sent, taken or processed meanwhile.
// Tests of crashes clone the disk in it, to have both as they were at one moment.
func (ds *DeliveryService) Clone(during func()) *DeliveryService {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if during != nil {
		during()
	}
	c := NewDeliveryService()
	c.Echo, c.conflicts, c.sent = ds.Echo, ds.conflicts, ds.sent
	for id, d := range ds.conversations {
		// Members and GroupInfo are replaced as a whole, never changed.
		c.conversations[id] = &delivered{epoch: d.epoch, members: d.members, groupInfo: d.groupInfo, accepted: maps.Clone(d.accepted)}
	}
	for id, in := range ds.inboxes {
		for _, d := range in.waiting {
			c.deliver(id, d)
		}
	}
	for id, list := range ds.keyPackages {
		c.keyPackages[id] = slices.Clone(list)
	}
	return c
}
