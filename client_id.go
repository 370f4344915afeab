package conclave

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/messages"
)

// ClientID is the identity a client carries in its credentials.
type ClientID = messages.ClientID

// QualifiedID is a client id of the form that Wire gives them, taken apart: a device of a user at a domain. Its methods write the canonical form (String, which
// is the [ClientID]), the qualified form of an enrolment, and the URI of certificates.
type QualifiedID = clientid.ID

// ParseClientID reads a Wire client id in its canonical form, such as 4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com.
func ParseClientID(id ClientID) (QualifiedID, error) {
	return parseClientID(clientid.Parse, string(id))
}

// ParseQualifiedClientID reads a Wire client id in its qualified form, such as SvPfLlwBQi-6oddVRrkqpw:4c7@example.com.
func ParseQualifiedClientID(s string) (QualifiedID, error) {
	return parseClientID(clientid.ParseQualified, s)
}

// ParseClientURI reads a Wire client id in its URI form, such as wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@example.com, also with a %21 as certificates have it.
func ParseClientURI(s string) (QualifiedID, error) { return parseClientID(clientid.ParseURI, s) }

func parseClientID(parse func(string) (QualifiedID, error), s string) (QualifiedID, error) {
	id, err := parse(s)
	if err != nil {
		err = wrap("ParseClientID", "", fmt.Errorf("%w: %w", messages.ErrInvalidArgument, err))
	}
	return id, err
}
