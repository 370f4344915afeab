package conclave

import (
	"fmt"
	"hash/maphash"
	"testing"
)

// TestDecryptAllBounds parks messages of conversations that wait until none is taken any more: by their number and by their bytes, of one conversation and of
// all. Room that is given back is filled in the order in which messages came back.
func TestDecryptAllBounds(t *testing.T) {
	for _, c := range []struct{ size, each, all int }{
		{size: 16, each: 1024, all: 16_384},
		{size: 64 << 10, each: 64, all: 1024},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			d := &decryptAll{room: make(chan struct{}, 1), seed: maphash.MakeSeed()}
			numbered := func(n int) []byte { return append(fmt.Append(nil, n, " "), make([]byte, c.size)...)[:c.size] }
			park := func(l *lane, message []byte) bool {
				if !d.admit(l, message) {
					return false
				}
				d.room <- struct{}{}
				l.queue = append(l.queue, waiting{message: message})
				d.park(l, &l.queue[len(l.queue)-1])
				return true
			}
			first := &lane{waits: true}
			all := 0
			for l := first; all < c.all; all += c.each {
				n := 0
				for park(l, numbered(n)) {
					n++
				}
				if n != c.each {
					t.Fatalf("%d messages of a conversation are parked, want %d", n, c.each)
				}
				l = &lane{waits: true}
			}
			if other := (&lane{waits: true}); park(other, numbered(0)) {
				t.Errorf("%d messages are parked, and one more", all)
			}
			if park(first, numbered(c.each+1)) {
				t.Fatal("a message is parked where there is no room")
			}
			d.done(first, first.queue[:3])
			if park(first, numbered(c.each+1)) || park(first, numbered(c.each+2)) {
				t.Error("a message overtakes one that came back")
			}
			for n := range 3 {
				if !park(first, numbered(c.each+n)) {
					t.Errorf("what came back is not taken again, at %d", n)
				}
			}
			if park(first, numbered(0)) {
				t.Error("more is parked than there is room for")
			}
		})
	}
}
