package clientid

import (
	"errors"
	"strings"
	"testing"
)

// TestForms holds each id in its three forms.
func TestForms(t *testing.T) {
	for _, x := range []struct {
		canonical, qualified, uri string
		device                    uint64
	}{
		{"4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com", "SvPfLlwBQi-6oddVRrkqpw:4c7@example.com", "wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@example.com", 1223},
		{"5aa12a73-d748-4682-a1dd-5c9427c93a40:1a2b@wire.localhost", "WqEqc9dIRoKh3VyUJ8k6QA:1a2b@wire.localhost", "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!1a2b@wire.localhost", 6699},
		{"00000000-0000-0000-0000-000000000000:0@d", "AAAAAAAAAAAAAAAAAAAAAA:0@d", "wireapp://AAAAAAAAAAAAAAAAAAAAAA!0@d", 0},
		{"ffffffff-ffff-ffff-ffff-ffffffffffff:ffffffffffffffff@D", "_____________________w:ffffffffffffffff@D", "wireapp://_____________________w!ffffffffffffffff@D", 1<<64 - 1},
	} {
		id, err := Parse(x.canonical)
		if err != nil {
			t.Fatal(err)
		}
		if id.Device != x.device || id.String() != x.canonical || id.Qualified() != x.qualified || id.URI() != x.uri {
			t.Errorf("%s is device %d, %s, %s, %s", x.canonical, id.Device, id, id.Qualified(), id.URI())
		}
		for form, parse := range map[string]func() (ID, error){
			"qualified":    func() (ID, error) { return ParseQualified(x.qualified) },
			"URI":          func() (ID, error) { return ParseURI(x.uri) },
			"URI, escaped": func() (ID, error) { return ParseURI(strings.Replace(x.uri, "!", "%21", 1)) },
			"upper case":   func() (ID, error) { return Parse(strings.ToUpper(x.canonical[:36]) + x.canonical[36:]) },
		} {
			if got, err := parse(); err != nil || got != id {
				t.Errorf("%s: %v, %v, want %v", form, got, err, id)
			}
		}
	}
	id, err := Parse("4af3df2e-5c01-422f-baa1-d75546b92aa7:004C7@example.com")
	if err != nil || id.Device != 1223 || !strings.Contains(id.String(), ":4c7@") {
		t.Errorf("a padded device is read as %v, %v", id, err)
	}
}

// TestRefused: nothing else is a client id, and no form is another.
func TestRefused(t *testing.T) {
	parsers := map[string]func(string) (ID, error){"canonical": Parse, "qualified": ParseQualified, "URI": ParseURI}
	for _, s := range []string{
		"", ":", "@", ":@", "wire-server", "history-client:4af3df2e-5c01-422f-baa1-d75546b92aa7", "wireapp://", "wireapp://%40alice@example.com",
		"4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7", "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@", "4af3df2e-5c01-422f-baa1-d75546b92aa7:@example.com",
		"4af3df2e-5c01-422f-baa1-d75546b92aa7:-1@example.com", "4af3df2e-5c01-422f-baa1-d75546b92aa7:+1@example.com", "4af3df2e-5c01-422f-baa1-d75546b92aa7:0x1@example.com",
		"4af3df2e-5c01-422f-baa1-d75546b92aa7:1_0@example.com", "4af3df2e-5c01-422f-baa1-d75546b92aa7:10000000000000000@example.com",
		"4af3df2e-5c01-422f-baa1-d75546b92aa7:1:2@example.com", "4af3df2e5c01422fbaa1d75546b92aa7:4c7@example.com", "4af3df2e-5c01-422f-baa1-d75546b92aag:4c7@example.com",
		"SvPfLlwBQi-6oddVRrkqpw==:4c7@example.com", "SvPfLlwBQi+6oddVRrkqpw:4c7@example.com", "SvPfLlwBQi-6oddVRrkqpx:4c7@example.com", "SvPfLlwBQi-6oddVRrkq:4c7@example.com",
		"wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@example.com/path", "SvPfLlwBQi-6oddVRrkqpw:4c7@example.com:443", "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@a@b",
		"https://SvPfLlwBQi-6oddVRrkqpw!4c7@example.com", "wireapp://SvPfLlwBQi-6oddVRrkqpw:4c7@example.com", "wireapp://SvPfLlwBQi-6oddVRrkqpw%224c7@example.com",
	} {
		for form, parse := range parsers {
			if id, err := parse(s); !errors.Is(err, ErrSyntax) || id != (ID{}) {
				t.Errorf("%q is read as %s: %v, %v", s, form, id, err)
			}
		}
	}
	canonical, qualified, uri := "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@d", "SvPfLlwBQi-6oddVRrkqpw:4c7@d", "wireapp://SvPfLlwBQi-6oddVRrkqpw!4c7@d"
	for form, parse := range parsers {
		read := 0
		for _, s := range []string{canonical, qualified, uri} {
			if _, err := parse(s); err == nil {
				read++
			}
		}
		if read != 1 {
			t.Errorf("%s reads %d of the three forms", form, read)
		}
	}
}

// FuzzParse: what is read is written in one way, and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add("4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@example.com")
	f.Add("wireapp://SvPfLlwBQi-6oddVRrkqpw%214c7@example.com")
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (ID, error){Parse, ParseQualified, ParseURI} {
			id, err := parse(s)
			if err != nil {
				continue
			}
			for form, again := range map[string]func() (ID, error){
				"canonical": func() (ID, error) { return Parse(id.String()) },
				"qualified": func() (ID, error) { return ParseQualified(id.Qualified()) },
				"URI":       func() (ID, error) { return ParseURI(id.URI()) },
			} {
				if got, err := again(); err != nil || got != id {
					t.Errorf("%q: %s form of %v is read as %v, %v", s, form, id, got, err)
				}
			}
		}
	})
}
