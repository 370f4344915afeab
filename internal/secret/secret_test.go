package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestBytesNeverPrint(t *testing.T) {
	b := Bytes("top secret value")
	type holder struct{ Key Bytes }
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", b)
	asJSON, err := json.Marshal(holder{b})
	if err != nil {
		t.Fatal(err)
	}
	outputs := []string{log.String(), string(asJSON), fmt.Sprint(b), fmt.Sprint(holder{b}), fmt.Sprint(&holder{b})}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		outputs = append(outputs, fmt.Sprintf(verb, b), fmt.Sprintf(verb, holder{b}))
	}
	for _, out := range outputs {
		if !strings.Contains(out, "[secret]") {
			t.Errorf("printed %q, want [secret] in it", out)
		}
		if strings.Contains(out, "top") || strings.Contains(out, "746f70") || strings.Contains(out, "116") {
			t.Errorf("leaked: %q", out)
		}
	}
}

func TestEqualCloneWipe(t *testing.T) {
	a := Bytes{1, 2, 3}
	c := a.Clone()
	if !a.Equal(c) || a.Equal(Bytes{1, 2}) || a.Equal(Bytes{1, 2, 4}) {
		t.Error("Equal compares wrongly")
	}
	a.Wipe()
	if !a.Equal(Bytes{0, 0, 0}) {
		t.Error("Wipe left bytes behind")
	}
	if !c.Equal(Bytes{1, 2, 3}) {
		t.Error("Clone shares memory")
	}
	if Bytes(nil).Clone() != nil {
		t.Error("Clone of nil is not nil")
	}
}
