package enrollment_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/enrollment"
)

// FuzzResponses hands arbitrary bodies to each step: what is refused changes nothing, and
// what is accepted can be stashed.
func FuzzResponses(f *testing.F) {
	var at [][]byte
	for i, s := range responseSteps {
		w := newWorld(f, 1)
		w.until(s)
		r, err := w.e.Request(w.now)
		w.must(err)
		at = append(at, w.stash())
		response := w.ca.Do(r)
		f.Add(byte(i), uint16(response.Status), []byte(response.Body), "", "")
		f.Add(byte(i), uint16(400), []byte(`{"type":"urn:ietf:params:acme:error:badNonce","detail":""}`), "application/problem+json", "https://ca.example/")
	}
	w := newWorld(f, 1)
	f.Fuzz(func(t *testing.T, i byte, status uint16, body []byte, media, location string) {
		before := at[int(i)%len(at)]
		e, err := enrollment.Unmarshal(before)
		if err != nil {
			t.Fatal(err)
		}
		header := enrollment.Header{"Replay-Nonce": {"fresh"}, "Location": {location}}
		if media != "" {
			header["Content-Type"] = []string{media}
		}
		_, failed := e.Receive(w.now, enrollment.Response{Status: int(status), Header: header, Body: body})
		after, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if failed != nil && !bytes.Equal(before, after) {
			t.Errorf("%v changed the enrollment", failed)
		}
		if _, err := enrollment.Unmarshal(after); err != nil {
			t.Errorf("an enrollment that cannot be read again, at %v", e.Step())
		}
	})
}

// FuzzUnmarshal reads arbitrary stashes: what is taken marshals to the same bytes, and no
// call on it panics.
func FuzzUnmarshal(f *testing.F) {
	w := newWorld(f, 1)
	for w.e.Step() != enrollment.StepIssued {
		f.Add(w.stash())
		w.must(w.advance())
	}
	f.Add(w.stash())
	all := calls()
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := enrollment.Unmarshal(b)
		if err != nil {
			if !errors.Is(err, enrollment.ErrStash) {
				t.Error(err)
			}
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("marshals to other bytes: %v", err)
		}
		for _, c := range all {
			e, err := enrollment.Unmarshal(b)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.do(&world{t: t, now: w.now, rand: new(stream), trust: w.trust, e: e}) // it may fail, not panic
		}
	})
}
