package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadFlags(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"--help"}, 0, "-mix"},
		{[]string{"-for", "soon"}, 2, "invalid"},
		{[]string{"-for", "1ms"}, 1, "choose 100ms to 168h"},
		{[]string{"-clients", "0"}, 1, "choose 1 to 10000"},
		{[]string{"-clients", "1"}, 1, "choose -clients 2 or more"},
		{[]string{"-conversations", "8,some"}, 2, "with commas between them"},
		{[]string{"-conversations", "0"}, 1, "choose 1 to 1000000"},
		{[]string{"-members", "1"}, 1, "choose at least 2 members"},
		{[]string{"-mix", "1/4/0", "-members", "100,4"}, 1, "choose at least 5 members"},
		{[]string{"-mix", "0/1/0"}, 1, "choose at least 1 to encrypt"},
		{[]string{"-mix", "1/1"}, 2, "want ENCRYPT/DECRYPT/COMMIT"},
		{[]string{"-mix", "1/1/-1"}, 2, "is not a weight"},
		{[]string{"-size", "15"}, 1, "choose 16 to 1048576"},
		{[]string{"-cores", "100000"}, 1, "choose 1 to "},
		{[]string{"-suite", "8"}, 1, "choose 1 to 7"},
		{[]string{"-state", "-1"}, 1, "choose 0 to 1048576"},
		{[]string{"-store", "tape"}, 1, "choose durable, unsynced or memory"},
		{[]string{"-store", "memory", "-dir", "somewhere"}, 1, "leave one of them out"},
		{[]string{"-report", filepath.Join(t.TempDir(), "absent", "report.html")}, 1, "with -report"},
		{[]string{"-dir", filepath.Join(t.TempDir(), "absent", "state")}, 1, "with -dir"},
		{[]string{"more"}, 2, "usage: engine load"},
	} {
		code, _, stderr := runCommand(t, append([]string{"load"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.stderr) {
			t.Errorf("engine load %q: code %d\n%s", c.args, code, stderr)
		}
	}
}

// TestMix counts what the shares come to in the long run.
func TestMix(t *testing.T) {
	for _, m := range []mix{{49, 49, 2}, {1, 3, 0}, {1, 0, 1}, {10, 25, 7}, {1, 1, 98}} {
		p, r := m.commitShare(), float64(m.readers())
		got := p / (p + (1-p)*(1+r))
		if want := float64(m.commit) / float64(m.encrypt+m.decrypt+m.commit); math.Abs(got-want) > 1e-9 {
			t.Errorf("-mix %s: %v of the calls commit, want %v", m.String(), got, want)
		}
	}
	if r := (&mix{2, 3, 0}).readers(); r != 2 {
		t.Errorf("-mix 2/3/0 has %d readers, want 2", r)
	}
}

// TestLoad runs short loads from end to end and reads their reports.
func TestLoad(t *testing.T) {
	for name, flags := range map[string][]string{
		"durable":  {"-members", "2,5", "-size", "16,1000", "-mix", "10/10/10", "-state", "1"},
		"memory":   {"-store", "memory", "-mix", "1/3/1", "-members", "6"},
		"unsynced": {"-store", "unsynced", "-mix", "1/0/0", "-members", "1", "-suite", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			args := append([]string{"load", "-for", "100ms", "-clients", "5", "-conversations", "6,1,6", "-cores", "1", "-report", file}, flags...)
			code, stdout, stderr := runCommand(t, args...)
			if code != 0 {
				t.Fatalf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
			for _, want := range []string{"conversations 6", "p99.9", "calls a second", "live heap", "report: "} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			titles, drawings := readReport(t, b)
			for _, want := range []string{"Throughput over conversations", "Throughput over cores", "Latency over time", "Memory over conversations", "Parameters", "Machine"} {
				if !slices.ContainsFunc(titles, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("no %q among the titles %q", want, titles)
				}
			}
			if drawings != 4 {
				t.Errorf("%d drawings, want 4", drawings)
			}
			for _, outside := range []string{"http://", "https://", "src=", "<link", "@import", "url(", filepath.Dir(file)} {
				if bytes.Contains(b, []byte(outside)) {
					t.Errorf("the report holds %q", outside)
				}
			}
			if left, err := filepath.Glob(file + "*"); err != nil || len(left) != 1 {
				t.Errorf("beside the report lies %q, %v", left, err)
			}
		})
	}
}

// readReport reads a report as XML, which is stricter than HTML, and returns its headings and how many drawings it has.
func readReport(t *testing.T, b []byte) (titles []string, drawings int) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	heading := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return titles, drawings
		}
		if err != nil {
			t.Fatalf("the report is not well-formed: %v", err)
		}
		switch v := token.(type) {
		case xml.StartElement:
			heading = v.Name.Local == "h2"
			if v.Name.Local == "svg" {
				drawings++
			}
			for _, a := range v.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s %s=%q>", v.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			if heading {
				titles = append(titles, string(v))
			}
			heading = false
		}
	}
}

// TestLoadEndsEarly wants a load that cannot go on to say so and to leave nothing behind.
func TestLoadEndsEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"load", "-report", filepath.Join(dir, "report.html")}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "cancel") {
		t.Errorf("canceled: code %d\n%s%s", code, out.String(), errs.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestLoadFindsWrongText gives a conversation a member whose text is not the one that was sent.
func TestLoadFindsWrongText(t *testing.T) {
	l := &load{options: loadOptions{clients: 2, members: counts{2}, sizes: counts{16}, mix: mix{1, 1, 0}, suite: 1, store: storeMemory}}
	l.enter("opening")
	if err := l.open(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.engine.Close() }()
	if err := l.grow(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r := l.rooms[0]
	if err := l.say(t.Context(), r, 0); err != nil {
		t.Fatal(err)
	}
	sealed, err := r.active[0].EncryptMessage(t.Context(), r.id, []byte("another text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.hear(t.Context(), r, 0, sealed); err == nil || !strings.Contains(err.Error(), "another text") {
		t.Errorf("a wrong text: %v", err)
	}
}
