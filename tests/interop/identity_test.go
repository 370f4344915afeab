package interop

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// certified is what a party does about certificates.
type certified interface {
	party
	// trust registers a trust anchor, intermediate an intermediate certificate, both in PEM.
	trust(root string) error
	intermediate(certificate string) error
	// revocations registers the CRL of a distribution point.
	revocations(point string, crl []byte) (registration, error)
	// enrol gets a certificate, which is the newest credential from then on.
	enrol(d *domain, o enrolment) error
	// certify commits the newest certificate.
	certify(id conclave.ConversationID) error
	// view reads what there is to know of members, and of all members of their users.
	view(id conclave.ConversationID, members []conclave.ClientID) (view, error)
	// discovered returns the new distribution points that calls have reported since it was asked last.
	discovered() []string
}

// registration is what registering a CRL says.
type registration struct {
	dirty      bool
	expiration int64 // unix seconds
}

// view is what a member sees of a conversation.
type view struct {
	state string
	// enabled tells whether the member itself has a certificate.
	enabled    bool
	identities map[conclave.ClientID]identity
}

// identity is what a member reads of another.
type identity struct {
	ClientID       string
	Status         string
	Thumbprint     string
	CredentialType int
	X509           certificate // zero for a Basic credential
}

// certificate is what the certificate of a member says.
type certificate struct {
	Handle       string
	DisplayName  string
	Domain       string
	Certificate  string // PEM
	SerialNumber string
	NotBefore    int64 // unix seconds
	NotAfter     int64
}

// newView arranges identities: CoreCrypto lists them in no order. Those that are read by user have to be the same.
func newView(state string, enabled bool, devices []identity, users map[string][]identity) view {
	v := view{state: state, enabled: enabled, identities: make(map[conclave.ClientID]identity)}
	for _, i := range devices {
		v.identities[conclave.ClientID(i.ClientID)] = i
	}
	byUser := 0
	for user, all := range users {
		for _, i := range all {
			if byUser++; !strings.HasPrefix(i.ClientID, user+":") || v.identities[conclave.ClientID(i.ClientID)] != i {
				fail("%s reads another identity by the user %s than by the client id", i.ClientID, user)
			}
		}
	}
	if byUser != len(devices) || len(v.identities) != len(devices) {
		fail("%d identities by user, %d by client id, %d of them different", byUser, len(devices), len(v.identities))
	}
	return v
}

// userOf returns the user of a client.
func userOf(id conclave.ClientID) string {
	user, _, _ := strings.Cut(string(id), ":")
	return user
}

func usersOf(ids []conclave.ClientID) []string {
	var users []string
	for _, id := range ids {
		users = append(users, userOf(id))
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// take returns distribution points in order, and forgets them.
func take(found *[]string) []string {
	slices.Sort(*found)
	all := slices.Compact(*found)
	*found = nil
	return all
}

func (p *engineParty) trust(root string) error {
	_, err := p.RegisterTrustAnchor(p.ctx, []byte(root))
	return err
}

func (p *engineParty) intermediate(certificate string) error {
	found, err := p.RegisterIntermediate(p.ctx, []byte(certificate))
	p.found = append(p.found, found...)
	return err
}

func (p *engineParty) revocations(point string, crl []byte) (registration, error) {
	r, err := p.RegisterCRL(p.ctx, point, crl)
	return registration{r.Dirty, unix(r.Expiration)}, err
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func (p *engineParty) certify(id conclave.ConversationID) error {
	_, err := p.E2EIRotate(p.ctx, id)
	return err
}

func (p *engineParty) view(id conclave.ConversationID, members []conclave.ClientID) (view, error) {
	state, err := p.E2EIState(p.ctx, id)
	if err != nil {
		return view{}, err
	}
	devices, err := p.DeviceIdentities(p.ctx, id, members...)
	if err != nil {
		return view{}, err
	}
	users, err := p.UserIdentities(p.ctx, id, usersOf(members)...)
	if err != nil {
		return view{}, err
	}
	byUser := make(map[string][]identity)
	for user, all := range users {
		byUser[user] = readIdentities(all)
	}
	enabled, err := p.E2EIEnabled(p.ctx, p.suite)
	return newView(state.String(), enabled, readIdentities(devices), byUser), err
}

func readIdentities(all []conclave.WireIdentity) []identity {
	var made []identity
	for _, i := range all {
		m := identity{ClientID: string(i.ClientID), Status: i.Status.String(), Thumbprint: i.Thumbprint, CredentialType: int(i.CredentialType)}
		if x := i.X509; x != nil {
			m.X509 = certificate{x.Handle, x.DisplayName, x.Domain, x.Certificate, x.SerialNumber, unix(x.NotBefore), unix(x.NotAfter)}
		}
		made = append(made, m)
	}
	return made
}

func (p *engineParty) discovered() []string { return take(&p.found) }

func (p *peerParty) trust(root string) error {
	_, err := p.do("registerAnchor", "", call{Certificate: root})
	return err
}

func (p *peerParty) intermediate(certificate string) error {
	_, err := p.do("registerIntermediate", "", call{Certificate: certificate})
	return err
}

func (p *peerParty) revocations(point string, crl []byte) (registration, error) {
	r, err := p.do("registerCRL", "", call{URL: point, Message: crl})
	return registration{r.Dirty, r.Expiration}, err
}

func (p *peerParty) certify(id conclave.ConversationID) error {
	_, err := p.do("certify", id, call{})
	return err
}

func (p *peerParty) view(id conclave.ConversationID, members []conclave.ClientID) (view, error) {
	c := call{Users: usersOf(members), Suite: uint16(p.suite)}
	for _, m := range members {
		c.Members = append(c.Members, string(m))
	}
	r, err := p.do("e2ei", id, c)
	if err != nil {
		return view{}, err
	}
	return newView(r.State, r.Enabled, r.Identities, r.Users), nil
}

func (p *peerParty) discovered() []string { return take(&p.found) }

// seen has every member read the state of the conversation and the identities of all, and wants all views to be the same and as expected. Members that are not
// named in statuses are Valid.
func (s *stage) seen(state conclave.E2EIState, statuses map[certified]conclave.DeviceStatus) {
	members := s.members()
	var ids []conclave.ClientID
	for _, p := range members {
		ids = append(ids, p.ID())
	}
	var first view
	for i, p := range members {
		v := must(p.(certified).view(s.group, ids))
		if v.state != state.String() {
			fail("%s reads %s, want %s: %+v", s.nameOf(p), v.state, state, v.identities)
		}
		if has := s.issued[p.ID()] != nil; v.enabled != has {
			fail("%s has a certificate: %t, and says %t", s.nameOf(p), has, v.enabled)
		}
		if i == 0 {
			first = v
		} else if !maps.Equal(v.identities, first.identities) {
			fail("%s reads other identities than %s: %+v and %+v", s.nameOf(p), s.nameOf(members[0]), v.identities, first.identities)
		}
	}
	for _, p := range members {
		status, named := statuses[p.(certified)]
		if !named {
			status = conclave.DeviceStatusValid
		}
		got, of := first.identities[p.ID()], s.certificates[p.ID()]
		want := identity{ClientID: string(p.ID()), Status: status.String(), Thumbprint: got.Thumbprint, CredentialType: int(mlsgroup.CredentialTypeBasic)}
		if of != nil {
			want.CredentialType, want.X509 = int(mlsgroup.CredentialTypeX509), *of
		}
		if got != want || got.Thumbprint == "" {
			fail("%s is %+v, want %+v", s.nameOf(p), got, want)
		}
	}
}
