package conclave_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
)

var errKilled = errors.New("killed")

// TestEnrollKilled kills the engine before and after every call of a hook, in the middle of an enrolment. The next engine goes on, with the same account key.
func TestEnrollKilled(t *testing.T) {
	for at, over := 0, false; !over; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			o, fs := newOffice(t), crashfs.New()
			engine, err := openOn(t.Context(), fs, crashDir, extreme.Of(uint64(at)), crashOptions())
			must1(t, engine, err)
			calls := 0
			o.fail = func(string, bool) error {
				if calls++; calls != at+1 {
					return nil
				}
				engine.Kill()
				return errKilled
			}
			_, err = o.client(engine, conclave.ClientOptions{NoCredential: true}).Enroll(t.Context(), o.options(), o.hooks())
			if over = err == nil; over {
				if at < 28 {
					t.Errorf("only %d kills", at)
				}
				_ = engine.Close()
				return
			}
			o.fail = nil
			o.resume(fs)
		})
	}
}

// resume opens the engine that was killed and enrols again, unless the certificate is there already.
func (o *office) resume(fs vfs.FS) {
	o.t.Helper()
	engine, err := conclave.OpenOn(o.t.Context(), fs, crashDir, crashOptions())
	must1(o.t, engine, err)
	defer func() {
		if err := engine.Close(); err != nil {
			o.t.Error(err)
		}
	}()
	c := o.client(engine, conclave.ClientOptions{NoCredential: true})
	if len(certified(o.t, c)) == 0 {
		if _, err := c.Enroll(o.t.Context(), o.options(), o.hooks()); err != nil {
			o.t.Fatalf("enrolling again: %v", err)
		}
	}
	if found := certified(o.t, c); len(found) != 1 {
		o.t.Errorf("%d certificates, want 1", len(found))
	}
	if s := o.Stats(); s.Devices[enrolledURI] != 1 || s.Certificates != 1 {
		o.t.Errorf("%d account keys have ordered and %d certificates were issued, want 1 and 1", s.Devices[enrolledURI], s.Certificates)
	}
	records, err := engine.Dump()
	must1(o.t, records, err)
	for key := range records {
		if len(key) > 9 && key[0] == 0x02 && key[9] == 0x32 {
			o.t.Errorf("a record of the enrolment is left: %x", key)
		}
	}
}

// TestEnrollDiskFails has the disk refuse every write from the first on, the second on, and so forth; what was synced before is there when the power comes back.
func TestEnrollDiskFails(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 5
	}
	for at, over := int64(0), false; !over; at += stride {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			o, mem := newOffice(t), crashfs.New()
			fault := &diskFault{at: at, forever: true, match: func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }}
			engine, err := conclave.OpenOn(t.Context(), errorfs.Wrap(mem, fault), crashDir, crashOptions())
			must1(t, engine, err)
			c := o.client(engine, conclave.ClientOptions{NoCredential: true})
			fault.armed.Store(true)
			_, err = c.Enroll(t.Context(), o.options(), o.hooks())
			over = !fault.struck.Load()
			if over && err != nil {
				t.Fatal(err)
			}
			cut := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			engine.Kill()
			o.resume(cut)
		})
	}
}
