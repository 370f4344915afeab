package interop

import (
	"github.com/conclave-mls/conclave"
)

// mixed are scenarios of one group in which all three implementations are.
var mixed = []scenario{
	{name: "we create and add both; all update, add and remove", play: func(s *stage) { s.trio(0) }, brief: true},
	{name: "CoreCrypto creates and adds both; all update, add and remove", play: func(s *stage) { s.trio(1) }},
	{name: "ts-mls creates and adds both; all update, add and remove", play: func(s *stage) { s.trio(2) }},
	{name: "twelve random steps of up to eight clients of all three", play: func(s *stage) {
		founders := append(s.three(), s.one(2))
		for range 2 {
			s.one(0)
			s.one(1)
		}
		s.random(12, founders...)
	}},
}

// three opens a client of each implementation.
func (s *stage) three() []party { return []party{s.one(0), s.one(1), s.one(2)} }

// one opens a client of this engine (0), CoreCrypto (1) or ts-mls (2).
func (s *stage) one(of int) party {
	if of == 0 {
		return s.ours()
	}
	return s.theirsOf(s.peer.nodes[of-1])
}

// trio has one of the three found the conversation. Each then updates, adds a companion of its own kind and removes it again.
func (s *stage) trio(creator int) {
	all := s.three()
	first := all[creator]
	var others []party
	for _, p := range all {
		if p != first {
			others = append(others, p)
		}
	}
	s.found(first, others...)
	for i, p := range all {
		check(p.update(s.group))
		s.settle()
		s.talk()
		third := s.one(i)
		s.add(p, third)
		s.talk()
		check(all[(i+1)%3].remove(s.group, third.ID()))
		s.settle()
		s.talk()
	}
	s.add(all[1], s.oursWith(conclave.ClientOptions{}))
	s.talk()
}
