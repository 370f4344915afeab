package mlsgroup

// Own generations that left the process before the state that used them was
// final (design: an open transaction hands out ciphertext). They are reserved
// first, in a record of their own, and burnt if the state never becomes final.

// reserveRecordVersion is the first byte of a reserve record.
const reserveRecordVersion = 1

// Generations returns the next generations of the own ratchets. Errors: *Need.
func (g *Group) Generations() (application, handshake uint32, err error) {
	application, appErr := g.secrets.generation(g.head.own, applicationRatchet)
	handshake, handshakeErr := g.secrets.generation(g.head.own, handshakeRatchet)
	err = needBoth(secretError(appErr, g.Epoch()), secretError(handshakeErr, g.Epoch()))
	return application, handshake, err
}

// Reserve returns the change that reserves own generations below the two
// numbers in the current epoch.
func (g *Group) Reserve(application, handshake uint32) []Change {
	value := appendUint32(append(make([]byte, 0, 9), reserveRecordVersion), application)
	return []Change{{Op: Put, Key: ReserveKey(g.Epoch()), Value: appendUint32(value, handshake)}}
}

// ParseReserve reads a record that Reserve made. It fails with ErrRecord.
func ParseReserve(record []byte) (application, handshake uint32, err error) {
	r := reader{b: record}
	version := r.uint8()
	application, handshake = r.uint32(), r.uint32()
	if r.done() != nil || version != reserveRecordVersion {
		return 0, 0, recordError("reserve of %d bytes", len(record))
	}
	return application, handshake, nil
}

// Burn moves the own ratchets on so that no generation below the two numbers is
// used in the current epoch any more. Errors: *Need.
func (g *Group) Burn(application, handshake uint32) (*Transition, error) {
	t := &Transition{Next: g}
	for _, b := range []struct {
		kind ratchetKind
		to   uint32
	}{{applicationRatchet, application}, {handshakeRatchet, handshake}} {
		st, err := t.Next.secrets.skip(g.s, g.head.own, b.kind, b.to)
		if err != nil {
			return nil, secretError(err, g.Epoch())
		}
		t.Next = t.Next.withSecrets(g.Epoch(), st.next)
		t.Changes = append(t.Changes, secretChanges(g.Epoch(), st.changed)...)
		t.Consumed = append(t.Consumed, st.consumed...)
	}
	return t, nil
}
