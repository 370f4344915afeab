package interop

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/pki"
)

// certifiedScenarios are the rows of conversations with X.509 credentials.
var certifiedScenarios = slices.Concat(
	brief(certifiedBoth("we create and add them, both with certificates; theirs is revoked", "they create and add us, both with certificates; ours is revoked", certifiedPair)),
	certifiedBoth("we add a third with a certificate, after CRLs", "they add a third with a certificate, after CRLs", certifiedAdd),
	certifiedBoth("we join by external commit, with a certificate", "they join by external commit, with a certificate", certifiedExternalJoin),
	certifiedBoth("a member of ours has no certificate", "a member of theirs has no certificate", mixedCredentials),
	certifiedBoth("we get certificates while in a conversation, then they", "they get certificates while in a conversation, then we", activate),
	certifiedBoth("we renew a certificate, with another name", "they renew a certificate, with another name", renew),
	certifiedBoth("we have no other credential than a certificate", "they have no other credential than a certificate", certificateOnly),
	certifiedBoth("our certificate is revoked by one list after another, then replaced", "theirs is revoked by one list after another, then replaced", revoked),
	certifiedBoth("certificates expire; we renew ours first", "certificates expire; they renew theirs first", expired),
	certifiedBoth("they do not know the intermediate of ours", "we do not know the intermediate of theirs", unknownIntermediate),
	certifiedBoth("our certificate is of another domain, cross-signed", "their certificate is of another domain, cross-signed", crossSigned),
	certifiedBoth("we refuse a certificate of another time for ourselves", "they refuse a certificate of another time for themselves", anotherTime),
	certifiedBoth("we register the revocation of the intermediate first", "they register the revocation of the intermediate first", revokedIntermediate),
	[]scenario{{name: "a list that is out of date, or older, brings a revoked certificate back with them; not with us", play: func(s *stage) {
		certifiedPlay(outdated)(s, s.ours(), s.theirs())
	}}},
)

// certifiedPlay has parties trust a domain before a scene.
func certifiedPlay(scene func(s *stage, d *domain, first, second certified)) func(s *stage, first, second party) {
	return func(s *stage, first, second party) {
		d := s.newDomain("Home")
		s.trusting(d, first, second)
		scene(s, d, first.(certified), second.(certified))
	}
}

// certifiedBoth makes the two rows of a scene whose parties trust a domain.
func certifiedBoth(ours, theirs string, scene func(s *stage, d *domain, first, second certified)) []scenario {
	return both(ours, theirs, certifiedPlay(scene))
}

// trusting has parties trust a domain.
func (s *stage) trusting(d *domain, all ...party) {
	for _, p := range all {
		check(p.(certified).trust(d.ca.Root()))
		check(p.(certified).intermediate(d.ca.Intermediate()))
	}
}

// pointOf is the distribution point in the certificates of a party, one for each so that one sees whose were reported.
func pointOf(p party) string { return "https://crl.example/" + string(p.ID()) }

// enrol has a party get a certificate, which is its newest credential from then on.
func (s *stage) enrol(d *domain, p certified, kind conclave.EnrollmentKind) {
	s.said++
	d.point = pointOf(p)
	e := enrolment{kind, fmt.Sprintf("Zoë Müller %d", s.said), fmt.Sprintf("zoe_%d", s.said)}
	check(p.enrol(d, e))
	s.ds.Withdraw(p.ID()) // key packages with the old credential
	c := d.issued
	s.issued[p.ID()] = &certificate{
		Handle: "wireapp://%40" + e.handle + "@" + homeDomain, DisplayName: e.displayName, Domain: homeDomain,
		Certificate: pki.EncodePEM(c.Raw), SerialNumber: fmt.Sprintf("%x", serialBytes(c.SerialNumber)), NotBefore: c.NotBefore.Unix(), NotAfter: c.NotAfter.Unix(),
	}
}

// serialBytes returns the content of the INTEGER that a serial number is in DER.
func serialBytes(n *big.Int) []byte {
	if b := n.Bytes(); len(b) > 0 && b[0] < 0x80 {
		return b
	}
	return append([]byte{0}, n.Bytes()...)
}

// shown says that a party's leaf carries its newest certificate.
func (s *stage) shown(all ...party) {
	for _, p := range all {
		s.certificates[p.ID()] = s.issued[p.ID()]
	}
}

// enrolled has parties get a certificate before they are in a conversation.
func (s *stage) enrolled(d *domain, all ...certified) {
	for _, p := range all {
		s.enrol(d, p, conclave.EnrollmentActivation)
		s.shown(p)
		s.discovers(p, p)
	}
}

// friend opens one more client of the implementation that a party is of, which trusts the domain.
func (s *stage) friend(d *domain, p party) certified {
	f := s.companion(p)
	s.trusting(d, f)
	return f.(certified)
}

// discovers wants a party to have been told of the new distribution points of others, and no more, since it was last asked.
func (s *stage) discovers(p certified, of ...certified) {
	var want []string
	for _, o := range of {
		want = append(want, pointOf(o))
	}
	slices.Sort(want)
	if got := p.discovered(); !slices.Equal(got, want) {
		fail("%s is told of %q, want %q", s.nameOf(p), got, want)
	}
}

func certifiedPair(s *stage, d *domain, creator, other certified) {
	s.enrolled(d, creator, other)
	s.found(creator, other)
	s.discovers(creator, other)
	s.discovers(other, creator, other)
	s.seen(conclave.E2EIStateVerified, nil)
	l := s.newList(d, other)
	s.register(l, s.serialOf(other))
	s.seen(conclave.E2EIStateNotVerified, map[certified]conclave.DeviceStatus{other: conclave.DeviceStatusRevoked})
	s.talk()
}

func certifiedAdd(s *stage, d *domain, adder, other certified) {
	s.enrolled(d, adder, other)
	s.found(adder, other)
	s.discovers(adder, other)
	third := s.friend(d, other)
	s.enrolled(d, third)
	l := s.newList(d, other)
	must(third.revocations(pointOf(other), l.next()))
	s.add(adder, third)
	s.discovers(adder, third)
	s.discovers(other, adder, other, third)
	s.discovers(third, adder, third)
	check(third.update(s.group))
	s.settle()
	s.discovers(adder, third) // the new leaf names it again
	s.discovers(other, third)
	s.register(l)
	check(other.update(s.group))
	s.settle()
	s.discovers(adder) // whose list is registered
	s.talk()
	s.seen(conclave.E2EIStateVerified, nil)
}

// list makes the CRLs of a distribution point, each with a higher number.
type list struct {
	d      *domain
	point  string
	from   time.Time
	number int64
}

func (s *stage) newList(d *domain, p party) *list {
	return &list{d: d, point: pointOf(p), from: s.peer.clock.now()}
}

const listLifetime = time.Hour

func (l *list) next(revoked ...*big.Int) []byte {
	l.number++
	return l.d.ca.CRL(l.number, l.from.Add(-time.Hour), l.from.Add(listLifetime), revoked...)
}

// register has all members register the next CRL, and returns whether they were told that it revokes other certificates than the one before it.
func (s *stage) register(l *list, revoked ...*big.Int) (dirty bool) {
	crl := l.next(revoked...)
	for i, p := range s.members() {
		got := must(p.(certified).revocations(l.point, crl))
		if i == 0 {
			dirty = got.dirty
		}
		if want := (registration{dirty, l.from.Add(listLifetime).Unix()}); got != want {
			fail("%s registers a list with %+v, want %+v", s.nameOf(p), got, want)
		}
	}
	return dirty
}

// serialOf returns the serial number of a party's newest certificate.
func (s *stage) serialOf(p party) *big.Int {
	n, ok := new(big.Int).SetString(s.issued[p.ID()].SerialNumber, 16)
	if !ok {
		fail("no serial number %q", s.issued[p.ID()].SerialNumber)
	}
	return n
}

func certifiedExternalJoin(s *stage, d *domain, joiner, other certified) {
	third := s.friend(d, joiner)
	s.enrolled(d, joiner, other, third)
	s.found(other, third)
	s.discovers(other, third)
	s.discovers(third, other, third)
	check(joiner.externalJoin(s.ds.GroupInfo(s.group)))
	s.settle()
	if _, ours := joiner.(*engineParty); ours {
		s.discovers(joiner, joiner, other, third) // as with a Welcome
	} else {
		s.discovers(joiner, other, third) // CoreCrypto looks before it is a member itself
	}
	s.discovers(other, joiner)
	s.discovers(third, joiner)
	s.talk()
	s.seen(conclave.E2EIStateVerified, nil)
}

func mixedCredentials(s *stage, d *domain, plain, other certified) {
	third := s.friend(d, plain)
	s.enrolled(d, other, third)
	s.found(other, plain, third)
	s.seen(conclave.E2EIStateNotVerified, nil)
	check(other.remove(s.group, plain.ID()))
	s.settle()
	s.seen(conclave.E2EIStateVerified, nil)
	check(plain.externalJoin(s.ds.GroupInfo(s.group)))
	s.settle()
	s.seen(conclave.E2EIStateNotVerified, nil)
	s.talk()
}

func activate(s *stage, d *domain, first, second certified) {
	s.found(first, second)
	s.seen(conclave.E2EIStateNotEnabled, nil)
	for i, p := range []certified{first, second} {
		s.enrol(d, p, conclave.EnrollmentActivation)
		s.discovers(p, p)
		check(p.certify(s.group))
		s.shown(p)
		s.settle()
		s.talk()
		if i == 0 {
			s.discovers(second, first)
			s.seen(conclave.E2EIStateNotVerified, nil)
		} else {
			s.discovers(first, second)
			s.seen(conclave.E2EIStateVerified, nil)
		}
	}
}

func renew(s *stage, d *domain, renewer, other certified) {
	s.enrolled(d, renewer, other)
	s.found(other, renewer)
	s.seen(conclave.E2EIStateVerified, nil)
	for range 2 {
		s.enrol(d, renewer, conclave.EnrollmentRotation)
		s.seen(conclave.E2EIStateVerified, nil) // the old certificate until then
		check(renewer.certify(s.group))
		s.shown(renewer)
		s.settle()
		s.talk()
		s.seen(conclave.E2EIStateVerified, nil)
	}
}

func certificateOnly(s *stage, d *domain, other, second certified) {
	first := s.unnamed(other)
	s.trusting(d, first)
	s.enrol(d, first, conclave.EnrollmentNew)
	s.shown(first)
	s.discovers(first, first)
	s.enrolled(d, second)
	s.found(first, second)
	s.seen(conclave.E2EIStateVerified, nil)
	check(first.update(s.group))
	s.settle()
	s.add(second, other)
	s.seen(conclave.E2EIStateNotVerified, nil)
	s.talk()
}

// unnamed opens one more client of the implementation that a party is of, without a credential.
func (s *stage) unnamed(p party) certified {
	if _, ours := p.(*engineParty); ours {
		return s.oursWith(conclave.ClientOptions{NoCredential: true}).(certified)
	}
	return s.theirsWithout().(certified)
}

func revoked(s *stage, d *domain, bad, other certified) {
	s.enrolled(d, bad, other)
	s.found(other, bad)
	l := s.newList(d, bad)
	want := func(dirty bool, revoked ...*big.Int) {
		if got := s.register(l, revoked...); got != dirty {
			fail("list %d is dirty: %t, want %t", l.number, got, dirty)
		}
	}
	want(false)
	s.seen(conclave.E2EIStateVerified, nil)
	want(false)
	want(true, s.serialOf(bad))
	s.seen(conclave.E2EIStateNotVerified, map[certified]conclave.DeviceStatus{bad: conclave.DeviceStatusRevoked})
	want(false, s.serialOf(bad))
	s.talk()
	check(bad.update(s.group))
	s.settle()
	s.talk()

	s.enrol(d, bad, conclave.EnrollmentRotation)
	check(bad.certify(s.group))
	s.shown(bad)
	s.settle()
	s.talk()
	s.seen(conclave.E2EIStateVerified, nil)
}

func expired(s *stage, d *domain, first, second certified) {
	s.enrolled(d, first, second)
	s.found(second, first)
	s.seen(conclave.E2EIStateVerified, nil)
	s.advance(certificateLifetime + time.Hour)
	s.seen(conclave.E2EIStateNotVerified, map[certified]conclave.DeviceStatus{first: conclave.DeviceStatusExpired, second: conclave.DeviceStatusExpired})
	s.talk()
	check(second.update(s.group))
	s.settle()

	s.enrol(d, first, conclave.EnrollmentRotation)
	check(first.certify(s.group))
	s.shown(first)
	s.settle()
	s.talk()
	s.seen(conclave.E2EIStateNotVerified, map[certified]conclave.DeviceStatus{second: conclave.DeviceStatusExpired})
	s.enrol(d, second, conclave.EnrollmentRotation)
	check(second.certify(s.group))
	s.shown(second)
	s.settle()
	s.talk()
	s.seen(conclave.E2EIStateVerified, nil)
}

func unknownIntermediate(s *stage, d *domain, member, other certified) {
	stranger := s.companion(other).(certified)
	check(stranger.trust(d.ca.Root()))
	s.found(member, other, stranger)
	s.enrol(d, member, conclave.EnrollmentActivation)
	check(member.certify(s.group))
	s.shown(member)
	must(s.next(other))
	commit := s.take(stranger).Message
	_, err := stranger.decrypt(s.group, commit)
	s.wantCode(err, "InvalidMessage", "Other")
	check(stranger.intermediate(d.ca.Intermediate()))
	must(stranger.decrypt(s.group, commit))
	s.settle()
	s.talk()
	s.seen(conclave.E2EIStateNotVerified, nil)
}

func crossSigned(s *stage, d *domain, member, other certified) {
	foreign := s.newDomain("Foreign")
	foreign.above = d.ca.CrossSign(foreign.ca)
	s.enrolled(d, other)
	s.enrolled(foreign, member) // its own domain has the cross-signed certificate issued with each
	third := s.friend(d, other)
	for _, p := range []certified{other, third} {
		check(p.intermediate(foreign.above))
	}
	s.enrolled(d, third)
	s.found(other, member, third)
	s.seen(conclave.E2EIStateVerified, nil)
	check(member.update(s.group))
	s.settle()
	s.talk()
	s.seen(conclave.E2EIStateVerified, nil)
}

func anotherTime(s *stage, d *domain, certifiedOne, other certified) {
	s.enrolled(d, certifiedOne, other)
	s.found(certifiedOne, other)
	for _, d.shift = range []time.Duration{-2 * certificateLifetime, 2 * certificateLifetime} {
		if err := certifiedOne.enrol(d, enrolment{conclave.EnrollmentRotation, "Another Time", "another"}); err == nil {
			fail("%s takes a certificate that is shifted by %v", s.nameOf(certifiedOne), d.shift)
		}
	}
	check(certifiedOne.certify(s.group))
	s.settle()
	s.seen(conclave.E2EIStateVerified, nil)
	s.talk()
}

func revokedIntermediate(s *stage, d *domain, first, second certified) {
	s.enrolled(d, first, second)
	s.found(second, first)
	now := s.peer.clock.now()
	crl := d.ca.RootCRL(1, now.Add(-time.Hour), now.Add(listLifetime), big.NewInt(2))
	revoked := map[conclave.ClientID]string{first.ID(): "Revoked", second.ID(): "Revoked"}
	must(first.revocations("https://crl.example/root", crl))
	s.sees(first, conclave.E2EIStateNotVerified, revoked)
	s.sees(second, conclave.E2EIStateVerified, map[conclave.ClientID]string{first.ID(): "Valid", second.ID(): "Valid"})
	must(second.revocations("https://crl.example/root", crl))
	s.sees(second, conclave.E2EIStateNotVerified, revoked)
	s.talk()
}

// outdated holds what SECURITY.md says of lists against CoreCrypto: it fails open, and we do not.
func outdated(s *stage, d *domain, ours, theirs certified) {
	bad := s.friend(d, theirs)
	s.enrolled(d, ours, theirs, bad)
	s.found(ours, theirs, bad)
	l := s.newList(d, bad)
	s.register(l, s.serialOf(bad))
	revoked := map[conclave.ClientID]string{ours.ID(): "Valid", theirs.ID(): "Valid", bad.ID(): "Revoked"}
	valid := map[conclave.ClientID]string{ours.ID(): "Valid", theirs.ID(): "Valid", bad.ID(): "Valid"}
	s.sees(ours, conclave.E2EIStateNotVerified, revoked)
	s.sees(theirs, conclave.E2EIStateNotVerified, revoked)
	s.advance(2 * listLifetime)
	s.sees(ours, conclave.E2EIStateNotVerified, revoked)
	s.sees(theirs, conclave.E2EIStateVerified, valid)

	l.from = s.peer.clock.now()
	s.register(l, s.serialOf(bad))
	s.sees(theirs, conclave.E2EIStateNotVerified, revoked)
	older := d.ca.CRL(0, l.from.Add(-2*time.Hour), l.from.Add(listLifetime))
	_, err := ours.revocations(l.point, older)
	s.wantCode(err, string(conclave.CodeInvalidCRL))
	s.sees(ours, conclave.E2EIStateNotVerified, revoked)
	if r := must(theirs.revocations(l.point, older)); !r.dirty {
		fail("their client does not tell that the older list revokes less")
	}
	s.sees(theirs, conclave.E2EIStateVerified, valid)
	s.talk()
}

// sees has one member read the state and the statuses of all.
func (s *stage) sees(p certified, state conclave.E2EIState, statuses map[conclave.ClientID]string) {
	v := must(p.view(s.group, slices.Collect(maps.Keys(statuses))))
	got := make(map[conclave.ClientID]string)
	for id, i := range v.identities {
		got[id] = i.Status
	}
	if v.state != state.String() || !maps.Equal(got, statuses) {
		fail("%s reads %s and %v, want %s and %v", s.nameOf(p), v.state, got, state, statuses)
	}
}
