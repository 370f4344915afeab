package enrollment

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/conclave-mls/conclave/internal/clientid"
)

const (
	deviceIdentifier = "wireapp-device"
	userIdentifier   = "wireapp-user"
)

// identifier is what an order asks for. Its value is JSON within a string.
type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// subject is the value of an identifier. A user has no client id.
type subject struct {
	ClientID string `json:"client-id,omitempty"`
	Handle   string `json:"handle"`
	Name     string `json:"name"`
	Domain   string `json:"domain"`
}

// Order is the CA's record of what was asked for (RFC 8555 section 7.1.3).
type Order struct {
	// URL is where the order is, "" if the application has not said.
	URL string
	// Authorizations are two: which is the device's is seen when they are read.
	Authorizations [2]string
	Finalize       string
	// Expires, NotBefore and NotAfter are in Unix seconds, 0 if the CA does not say.
	Expires, NotBefore, NotAfter int64
}

// orderDocument is the form on the wire.
type orderDocument struct {
	Status         string       `json:"status"`
	Identifiers    []identifier `json:"identifiers"`
	Authorizations []string     `json:"authorizations"`
	Finalize       string       `json:"finalize"`
	Certificate    string       `json:"certificate"`
	Expires        string       `json:"expires"`
	NotBefore      string       `json:"notBefore"`
	NotAfter       string       `json:"notAfter"`
}

// orderPayload names the device first, as the reference does.
func orderPayload(e *Enrollment, _ *state, now time.Time) ([]byte, error) {
	s := subject{Handle: e.config.handleURI(), Name: e.config.DisplayName, Domain: e.config.ClientID.Domain}
	user, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	s.ClientID = e.config.ClientID.URI()
	device, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	return json.Marshal(struct {
		Identifiers [2]identifier `json:"identifiers"`
		NotBefore   string        `json:"notBefore"`
		NotAfter    string        `json:"notAfter"`
	}{
		[2]identifier{{deviceIdentifier, string(device)}, {userIdentifier, string(user)}},
		now.Format(time.RFC3339), now.Add(e.config.Lifetime).Format(time.RFC3339),
	})
}

// names tells whether an identifier is the one that the configuration asks for.
func (c *Config) names(i identifier) bool {
	s, err := decode[subject]([]byte(i.Value))
	if err != nil || s.Handle != c.handleURI() || s.Name != c.DisplayName || s.Domain != c.ClientID.Domain {
		return false
	}
	if i.Type == userIdentifier {
		return s.ClientID == ""
	}
	id, err := clientid.ParseURI(s.ClientID)
	return err == nil && id == c.ClientID
}

// readOrder takes an order of any status, and checks that it is ours and its time.
func readOrder(e *Enrollment, body []byte) (orderDocument, Order, error) {
	d, err := decode[orderDocument](body)
	if err != nil {
		return d, Order{}, err
	}
	if len(d.Identifiers) != 2 || len(d.Authorizations) != 2 || d.Authorizations[0] == d.Authorizations[1] {
		return d, Order{}, malformed("order without two identifiers and two authorizations")
	}
	o := Order{Authorizations: [2]string(d.Authorizations), Finalize: d.Finalize}
	if err := checkACME(o.Authorizations[0], o.Authorizations[1], o.Finalize); err != nil {
		return d, Order{}, fmt.Errorf("order: %w", err)
	}
	for _, t := range []struct {
		from string
		to   *int64
	}{{d.Expires, &o.Expires}, {d.NotBefore, &o.NotBefore}, {d.NotAfter, &o.NotAfter}} {
		if *t.to, err = unixTime(t.from); err != nil {
			return d, Order{}, err
		}
	}
	a, b := d.Identifiers[0], d.Identifiers[1]
	if a.Type == userIdentifier {
		a, b = b, a
	}
	if a.Type != deviceIdentifier || b.Type != userIdentifier || !e.config.names(a) || !e.config.names(b) {
		return d, Order{}, ErrWrongIdentifiers
	}
	return d, o, nil
}

// check compares whole seconds with now, as the reference does.
func (o *Order) check(now time.Time) error {
	t := now.Unix()
	switch {
	case o.Expires != 0 && o.Expires < t, o.NotAfter != 0 && o.NotAfter < t:
		return ErrOrderExpired
	case o.NotBefore > t:
		return ErrOrderNotYetValid
	}
	return nil
}

// unixTime reads a time of RFC 3339, "" as 0.
func unixTime(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() <= 0 {
		return 0, malformed("time")
	}
	return t.Unix(), nil
}

func acceptOrder(e *Enrollment, next *state, r reply) error {
	d, o, err := readOrder(e, r.body)
	if err != nil {
		return err
	}
	switch d.Status {
	case "pending":
	case "invalid":
		return ErrOrderInvalid
	case "processing", "valid", "ready":
		return ErrObjectStatus
	default:
		return malformed("order status")
	}
	if err := o.check(r.now); err != nil {
		return err
	}
	if r.location != "" {
		if err := checkACME(r.location); err != nil {
			return fmt.Errorf("order: %w", err)
		}
	}
	o.URL = r.location
	next.order, next.step = o, StepAuthorization
	return nil
}

func acceptOrderCheck(e *Enrollment, next *state, r reply) error {
	d, o, err := readOrder(e, r.body)
	if err != nil {
		return err
	}
	switch d.Status {
	case "ready":
	case "pending", "processing":
		return ErrOrderNotReady
	case "invalid":
		return ErrOrderInvalid
	case "valid": // it was finalized before, see later
		if !r.whole || d.Certificate == "" {
			return ErrObjectStatus
		}
	default:
		return malformed("order status")
	}
	if o.Authorizations != next.order.Authorizations && o.Authorizations != [2]string{next.order.Authorizations[1], next.order.Authorizations[0]} {
		return malformed("another order")
	}
	if err := o.check(r.now); err != nil {
		return err
	}
	o.URL = next.order.URL
	next.order, next.step = o, StepFinalize
	if d.Status == "valid" {
		return certificateAt(d, next)
	}
	return nil
}

func finalizePayload(e *Enrollment, s *state, now time.Time) ([]byte, error) {
	if err := s.order.check(now); err != nil {
		return nil, err
	}
	csr, err := e.certificateRequest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		CSR string `json:"csr"`
	}{base64URL.EncodeToString(csr)})
}

func acceptFinalize(e *Enrollment, next *state, r reply) error {
	d, o, err := readOrder(e, r.body)
	if err != nil {
		return err
	}
	switch d.Status {
	case "valid":
	case "invalid":
		return ErrOrderInvalid
	case "processing":
		if r.whole {
			return ErrOrderNotReady
		}
		return ErrObjectStatus
	case "pending", "ready":
		return ErrObjectStatus
	default:
		return malformed("order status")
	}
	if err := o.check(r.now); err != nil {
		return err
	}
	return certificateAt(d, next)
}

// certificateAt takes the URL of the certificate out of a valid order.
func certificateAt(d orderDocument, next *state) error {
	if err := checkACME(d.Certificate); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	next.certificate, next.step = d.Certificate, StepCertificate
	return nil
}
