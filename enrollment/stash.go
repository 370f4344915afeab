package enrollment

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/pki"
)

const (
	stashVersion = 1
	// maxStash is beyond what any enrollment marshals to, in bytes.
	maxStash = 1 << 20
)

// Marshal returns the whole enrollment, private keys and all: the caller seals it for
// storage, and wipes it. A response that is out stays out; who loads the stash later
// calls Retry. Equal enrollments marshal equally.
//
//	version, then config, keys and state in the order of their fields; numbers are big-endian,
//	and texts come after their length in four bytes
func (e *Enrollment) Marshal() (secret.Bytes, error) {
	if e.state.step == StepFinished {
		return nil, e.misplaced(StepFinished)
	}
	var size counter
	e.write(&size)
	w := stashWriter{make(secret.Bytes, 0, size)} // once, so that no copy is left behind
	e.write(&w)
	return w.b, nil
}

// Unmarshal returns the enrollment that was marshalled. It fails with [ErrStash].
func Unmarshal(b secret.Bytes) (*Enrollment, error) {
	if len(b) > maxStash {
		return nil, ErrStash
	}
	r := &stashReader{b: b}
	e := r.enrollment()
	if r.failed || len(r.b) > 0 || !e.possible() {
		e.Wipe()
		return nil, ErrStash
	}
	// One state has one form: what is read but would be written otherwise is refused.
	again, err := e.Marshal()
	defer again.Wipe()
	if err != nil || !again.Equal(b) {
		e.Wipe()
		return nil, ErrStash
	}
	return e, nil
}

// sink takes the fields of an enrollment.
type sink interface {
	number(uint64)
	text([]byte)
}

// counter is a sink that adds up the sizes.
type counter int

func (c *counter) number(uint64) { *c += 8 }
func (c *counter) text(b []byte) { *c += counter(4 + len(b)) }

// stashWriter is a sink that writes into memory of the right size.
type stashWriter struct{ b secret.Bytes }

func (w *stashWriter) number(n uint64) { w.b = binary.BigEndian.AppendUint64(w.b, n) }
func (w *stashWriter) text(b []byte) {
	w.b = append(binary.BigEndian.AppendUint32(w.b, uint32(len(b))), b...)
}

func (e *Enrollment) write(w sink) {
	texts := func(all ...string) {
		for _, s := range all {
			w.text([]byte(s))
		}
	}
	c, s := &e.config, &e.state
	w.number(stashVersion)
	w.number(uint64(c.CipherSuite))
	texts(c.ClientID.String(), c.DisplayName, c.Handle, c.Team)
	w.number(uint64(c.Lifetime / time.Second))
	texts(c.Directory)
	w.text(e.accountKey.private)
	w.text(e.signatureKey.private)
	w.number(uint64(s.step))
	w.number(uint64(s.out))
	w.number(flag(s.retried))
	w.number(uint64(s.polls))
	texts(s.nonce)
	w.number(uint64(len(s.spent)))
	texts(s.spent...)
	texts(s.directory.NewNonce, s.directory.NewAccount, s.directory.NewOrder, s.directory.RevokeCert, s.account)
	texts(s.order.URL, s.order.Authorizations[0], s.order.Authorizations[1], s.order.Finalize)
	w.number(uint64(s.order.Expires))
	w.number(uint64(s.order.NotBefore))
	w.number(uint64(s.order.NotAfter))
	w.number(uint64(s.asked))
	w.number(flag(s.read[0]))
	w.number(flag(s.read[1]))
	texts(s.device.URL, s.device.Token, s.device.Target, s.user.URL, s.user.Token, s.user.Target)
	w.text(s.accessToken)
	w.text(s.idToken)
	texts(s.certificate)
	w.number(uint64(len(s.chain)))
	for _, certificate := range s.chain {
		w.text(certificate)
	}
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// stashReader reads what write wrote. After the first failure it returns zeros.
type stashReader struct {
	b      secret.Bytes
	failed bool
}

// number reads a number of at most limit.
func (r *stashReader) number(limit uint64) uint64 {
	if r.failed || len(r.b) < 8 || binary.BigEndian.Uint64(r.b) > limit {
		r.failed = true
		return 0
	}
	n := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return n
}

func (r *stashReader) bytes() secret.Bytes {
	if r.failed || len(r.b) < 4 || uint64(binary.BigEndian.Uint32(r.b)) > uint64(len(r.b)-4) {
		r.failed = true
		return nil
	}
	n := binary.BigEndian.Uint32(r.b)
	b := r.b[4 : 4+n]
	r.b = r.b[4+n:]
	if n == 0 {
		return nil
	}
	return b.Clone()
}

func (r *stashReader) text() string {
	b := r.bytes()
	defer b.Wipe()
	return string(b)
}

func (r *stashReader) flag() bool { return r.number(1) == 1 }

// time reads a number of Unix seconds.
func (r *stashReader) time() int64 { return int64(r.number(maxTime)) }

// maxTime is the end of the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

func (r *stashReader) enrollment() *Enrollment {
	e := &Enrollment{}
	c, s := &e.config, &e.state
	r.failed = r.number(stashVersion) != stashVersion
	c.CipherSuite = uint16(r.number(7))
	id, err := clientid.Parse(r.text())
	r.failed = r.failed || err != nil
	c.ClientID = id
	c.DisplayName, c.Handle, c.Team = r.text(), r.text(), r.text()
	c.Lifetime = time.Duration(r.number(math.MaxUint32)) * time.Second
	c.Directory = r.text()
	e.accountKey, e.signatureKey = r.keyPair(c.CipherSuite), r.keyPair(c.CipherSuite)
	s.step = Step(r.number(uint64(StepIssued)))
	s.out = Step(r.number(uint64(StepCertificate)))
	s.retried = r.flag()
	s.polls = uint8(r.number(maxPolls))
	s.nonce = r.text()
	for range r.number(spentLimit) {
		s.spent = append(s.spent, r.text())
	}
	s.directory = Directory{r.text(), r.text(), r.text(), r.text()}
	s.account = r.text()
	s.order = Order{URL: r.text(), Authorizations: [2]string{r.text(), r.text()}, Finalize: r.text()}
	s.order.Expires, s.order.NotBefore, s.order.NotAfter = r.time(), r.time(), r.time()
	s.asked = uint8(r.number(1))
	s.read = [2]bool{r.flag(), r.flag()}
	s.device = Challenge{r.text(), r.text(), r.text()}
	s.user = Challenge{r.text(), r.text(), r.text()}
	s.accessToken, s.idToken = r.bytes(), r.bytes()
	s.certificate = r.text()
	for range r.number(pki.MaxChainLength) {
		s.chain = append(s.chain, r.bytes())
	}
	return e
}

func (r *stashReader) keyPair(suite uint16) keyPair {
	private := r.bytes()
	p, ok := lookupSuite(suite)
	if r.failed || !ok {
		private.Wipe()
		r.failed = true
		return keyPair{}
	}
	k, err := readKeyPair(p, private)
	r.failed = r.failed || err != nil
	return k
}

// possible tells whether an enrollment can be in that state: what the steps before have
// set is there and passes their checks, and nothing of the steps to come.
func (e *Enrollment) possible() bool {
	s := &e.state
	if _, err := e.config.check(); err != nil || s.step < StepDirectory || s.step == StepNonce {
		return false
	}
	at := func(from Step) bool { return s.step >= from }
	for _, p := range []struct{ is, wanted bool }{
		{s.directory != (Directory{}), at(StepAccount)},
		{s.account != "", at(StepOrder)},
		{s.order != (Order{}), at(StepAuthorization)},
		{s.read[0] && s.read[1], at(StepDPoPToken)},
		{s.device.URL != "" && s.user.URL != "", at(StepDPoPToken)},
		{(s.device.URL != "") != (s.user.URL != ""), s.read[0] != s.read[1]},
		{s.accessToken != nil, s.step == StepDPoPChallenge},
		{s.idToken != nil, s.step == StepOIDCChallenge},
		{s.certificate != "", at(StepCertificate)},
		{s.chain != nil, at(StepIssued)},
	} {
		if p.is != p.wanted {
			return false
		}
	}
	return s.possibleTransport() && s.possibleObjects()
}

// possibleTransport looks at nonces and at what is out.
func (s *state) possibleTransport() bool {
	posts := table[s.step] != nil && table[s.step].method == "POST"
	switch {
	case s.out == s.step && table[s.step] != nil, s.out == StepNonce && posts, s.out == stepNone:
	default:
		return false
	}
	if s.out != stepNone && s.nonce != "" || (s.retried || s.polls > 0) && !posts {
		return false
	}
	if s.out == StepAuthorization && s.read[s.asked] {
		return false
	}
	if s.step < StepAuthorization && s.read != [2]bool{} {
		return false
	}
	seen := state{}
	for _, n := range s.spent {
		if seen.checkNonce(n) != nil {
			return false
		}
		seen.take(n)
	}
	return s.nonce == "" || s.checkNonce(s.nonce) == nil
}

// possibleObjects looks at what the CA has named.
func (s *state) possibleObjects() bool {
	ok := true
	check := func(set bool, err error) { ok = ok && (!set || err == nil) }
	check(s.directory != (Directory{}), checkACME(s.directory.NewNonce, s.directory.NewAccount, s.directory.NewOrder, s.directory.RevokeCert))
	check(s.account != "", checkACME(s.account))
	check(s.order != (Order{}), checkACME(s.order.Authorizations[0], s.order.Authorizations[1], s.order.Finalize))
	check(s.order.URL != "", checkACME(s.order.URL))
	check(s.device != (Challenge{}), s.device.check(true))
	check(s.user != (Challenge{}), s.user.check(false))
	check(s.accessToken != nil, checkToken(string(s.accessToken)))
	check(s.idToken != nil, checkToken(string(s.idToken)))
	check(s.certificate != "", checkACME(s.certificate))
	for _, c := range s.chain {
		ok = ok && 0 < len(c) && len(c) <= pki.MaxCertificateSize
	}
	return ok
}
