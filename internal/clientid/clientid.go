// Package clientid reads and writes the ids of Wire's clients. A client is a device
// of a user at a domain, and there are three ways to write that:
//
//	4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com   canonical: credentials, and what users see
//	SvPfLlwBQi-6oddVRrkqpw:4c7@example.com                 qualified: inside of an enrolment
//	wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@example.com       URI: ACME, certificates, DPoP tokens
//
// The user is a UUID, with hyphens or in base64url; the device a number of 64 bits in
// hexadecimal without leading zeros.
package clientid

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSyntax reports a text that is no client id of the form asked for.
var ErrSyntax = errors.New("clientid: not a client id")

// UUID is the id of a user (RFC 9562).
type UUID [16]byte

// ParseUUID reads a UUID of 36 characters, in upper or lower case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("%w: user %q", ErrSyntax, s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, fmt.Errorf("%w: user %q", ErrSyntax, s)
	}
	return u, nil
}

// String returns the UUID in lower case with hyphens.
func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// base64 returns the 22 characters of the qualified form.
func (u UUID) base64() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

func parseBase64(s string) (UUID, error) {
	var u UUID
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("%w: user %q", ErrSyntax, s)
	}
	return UUID(b), nil
}

// ID is a device of a user at a domain. Two are the same if they are ==: domains are
// compared exactly, as Wire does.
type ID struct {
	User   UUID
	Device uint64
	Domain string
}

// Parse reads the canonical form. A device may have upper-case digits and leading
// zeros, as CoreCrypto has it; the id that is written of it has none.
func Parse(s string) (ID, error) { return parse(s, ':', ParseUUID) }

// ParseQualified reads the qualified form.
func ParseQualified(s string) (ID, error) { return parse(s, ':', parseBase64) }

// scheme begins the URI form.
const scheme = "wireapp://"

// ParseURI reads the URI form, with a ! as clients write it or a %21 as it stands in
// certificates.
func ParseURI(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return ID{}, fmt.Errorf("%w: no %s", ErrSyntax, scheme)
	}
	if user, device, escaped := strings.Cut(rest, "%21"); escaped && !strings.Contains(user, "!") {
		rest = user + "!" + device
	}
	return parse(rest, '!', parseBase64)
}

// String returns the canonical form, which is the identity in a Basic credential.
func (id ID) String() string { return id.format(id.User.String(), ":") }

// Qualified returns the qualified form.
func (id ID) Qualified() string { return id.format(id.User.base64(), ":") }

// URI returns the URI form as clients write it, with a !. Wire's backend compares it
// byte by byte.
func (id ID) URI() string { return scheme + id.format(id.User.base64(), "!") }

func (id ID) format(user, separator string) string {
	return user + separator + strconv.FormatUint(id.Device, 16) + "@" + id.Domain
}

func parse(s string, separator byte, user func(string) (UUID, error)) (ID, error) {
	first, rest, found := strings.Cut(s, string(separator))
	device, domain, at := strings.Cut(rest, "@")
	// What ends the host of a URI is in no domain, so all forms lead to each other.
	if !found || !at || domain == "" || strings.ContainsAny(domain, ":/?#@!%") {
		return ID{}, fmt.Errorf("%w: want user%cdevice@domain", ErrSyntax, separator)
	}
	id := ID{Domain: domain}
	var err error
	if id.User, err = user(first); err != nil {
		return ID{}, err
	}
	// ParseUint takes neither a sign nor, in base 16, an underscore or a prefix.
	if id.Device, err = strconv.ParseUint(device, 16, 64); err != nil {
		return ID{}, fmt.Errorf("%w: device %q", ErrSyntax, device)
	}
	return id, nil
}
