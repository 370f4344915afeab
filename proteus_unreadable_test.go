package conclave_test

import (
	"maps"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave"
)

// proteusDisk is an engine that is opened again and again, on a disk in memory.
type proteusDisk struct {
	t      *testing.T
	fs     vfs.FS
	engine *conclave.Engine
}

// reopen closes the engine and returns a device of it that has nothing in memory.
func (d *proteusDisk) reopen(id conclave.ClientID) conclave.Proteus {
	d.t.Helper()
	d.close()
	var err error
	if d.engine, err = conclave.OpenOn(d.t.Context(), d.fs, "state", conclave.Options{Key: testKey}); err != nil {
		d.t.Fatal(err)
	}
	c, err := d.engine.Client(d.t.Context(), id, conclave.ClientOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	return c.Proteus()
}

func (d *proteusDisk) close() {
	d.t.Helper()
	if d.engine == nil {
		return
	}
	if err := d.engine.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.engine = nil
}

func (d *proteusDisk) dump() map[string]string {
	d.t.Helper()
	records, err := d.engine.Dump()
	if err != nil {
		d.t.Fatal(err)
	}
	return records
}

// changedBy returns the keys of the records that f makes or changes.
func (d *proteusDisk) changedBy(f func()) []string {
	d.t.Helper()
	before := d.dump()
	f()
	var keys []string
	for key, value := range d.dump() {
		if old, was := before[key]; !was || old != value {
			keys = append(keys, key)
		}
	}
	return keys
}

// put gives a record another value.
func (d *proteusDisk) put(record, value string) {
	d.t.Helper()
	err := d.engine.Damage(func(key, old string) string {
		if key == record {
			return value
		}
		return old
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// TestProteusUnreadable tells a session that cannot be read from one that does not exist: every call says so, and nothing takes its place until it is deleted.
func TestProteusUnreadable(t *testing.T) {
	ctx := t.Context()
	disk := &proteusDisk{t: t, fs: vfs.NewMem()}
	defer disk.close()
	disk.reopen("alice")
	alice := openProteus(t, disk.engine, "alice")
	others := proteusEngine(t)
	bob, carol := openProteus(t, others, "bob"), openProteus(t, others, "carol")
	record := make(map[conclave.SessionID]string)
	for id, d := range map[conclave.SessionID]*proteusDevice{"bob": bob, "carol": carol} {
		meet(alice, id, d)
		d.wantText("alice", alice.encrypt(id, "first"), "first")
		keys := disk.changedBy(func() { alice.wantText(id, d.encrypt("alice", "answer"), "answer") })
		if len(keys) != 1 {
			t.Fatalf("a message changes %d records, want that of its session", len(keys))
		}
		record[id] = keys[0]
	}
	waiting := bob.encrypt("alice", "waiting")
	_, bundle, err := bob.NewPreKeyAuto(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, own, err := alice.NewPreKeyAuto(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.SessionFromPreKey(ctx, "alice again", own); err != nil {
		t.Fatal(err)
	}
	first := bob.encrypt("alice again", "anew")
	whole := disk.dump()[record["bob"]]

	calls := map[string]func(p conclave.Proteus, id conclave.SessionID) error{
		"Encrypt": func(p conclave.Proteus, id conclave.SessionID) error { _, err := p.Encrypt(ctx, id, nil); return err },
		"Decrypt": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.Decrypt(ctx, id, waiting)
			return err
		},
		"FingerprintLocal": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.FingerprintLocal(ctx, id)
			return err
		},
		"FingerprintRemote": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.FingerprintRemote(ctx, id)
			return err
		},
		"SessionExists": func(p conclave.Proteus, id conclave.SessionID) error { _, err := p.SessionExists(ctx, id); return err },
		"DecryptSafe": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.DecryptSafe(ctx, id, first)
			return err
		},
		"SessionFromMessage": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.SessionFromMessage(ctx, id, first)
			return err
		},
		"SessionFromPreKey": func(p conclave.Proteus, id conclave.SessionID) error { return p.SessionFromPreKey(ctx, id, bundle) },
		"EncryptBatch": func(p conclave.Proteus, id conclave.SessionID) error {
			_, err := p.EncryptBatch(ctx, []conclave.SessionID{"carol", id, "nobody"}, nil)
			return err
		},
	}
	for what, damaged := range map[string]string{
		"nonsense": "nonsense", "empty": "", "cut off": whole[:len(whole)-1], "too long": whole + "x", "another session's": disk.dump()[record["carol"]],
	} {
		p := disk.reopen("alice")
		disk.put(record["bob"], damaged)
		before := disk.dump()
		for name, call := range calls {
			if err := call(p, "bob"); !conclaveIs(err, conclave.CodeCorrupt) {
				t.Errorf("%s of a record that is %s: %v", name, what, err)
			}
		}
		if !maps.Equal(disk.dump(), before) {
			t.Errorf("calls on a record that is %s have changed the store", what)
		}
		for _, name := range []string{"Encrypt", "Decrypt", "FingerprintLocal", "FingerprintRemote"} {
			wantCode(t, calls[name](p, "nobody"), conclave.CodeSessionNotFound)
		}
		if ok, err := p.SessionExists(ctx, "nobody"); err != nil || ok {
			t.Errorf("nobody's session exists: %t, %v", ok, err)
		}
		if _, err := p.EncryptBatch(ctx, []conclave.SessionID{"carol", "nobody"}, nil); err != nil {
			t.Error(err)
		}
		disk.put(record["bob"], whole)
	}
	back := &proteusDevice{Proteus: disk.reopen("alice"), t: t}
	back.wantText("bob", waiting, "waiting")
	back = &proteusDevice{Proteus: disk.reopen("alice"), t: t}
	disk.put(record["bob"], "nonsense")
	if err := back.DeleteSession(ctx, "bob"); err != nil {
		t.Fatal(err)
	}
	if ok, err := back.SessionExists(ctx, "bob"); err != nil || ok {
		t.Errorf("deleted, it exists: %t, %v", ok, err)
	}
	back.wantText("bob", first, "anew")
}

// TestProteusUnreadableIdentity: nothing takes the place of an identity that cannot be read, and only ReplacePreKey that of a prekey.
func TestProteusUnreadableIdentity(t *testing.T) {
	ctx := t.Context()
	disk := &proteusDisk{t: t, fs: vfs.NewMem()}
	defer disk.close()
	p := disk.reopen("alice")
	made := disk.changedBy(func() {
		if _, err := p.Init(ctx); err != nil {
			t.Fatal(err)
		}
	})
	replaced := disk.changedBy(func() {
		if _, err := p.ReplacePreKey(ctx, conclave.LastResortPreKeyID); err != nil {
			t.Fatal(err)
		}
	})
	if len(made) != 2 || len(replaced) != 1 {
		t.Fatalf("Init has made %d records, ReplacePreKey has changed %d, want 2 and 1", len(made), len(replaced))
	}
	whole := disk.dump()
	for _, key := range made {
		p = disk.reopen("alice")
		disk.put(key, "nonsense")
		before := disk.dump()
		_, err := p.Init(ctx)
		wantCode(t, err, conclave.CodeCorrupt)
		_, err = p.LastResortPreKey(ctx)
		wantCode(t, err, conclave.CodeCorrupt)
		_, err = p.NewPreKey(ctx, conclave.LastResortPreKeyID)
		wantCode(t, err, conclave.CodeCorrupt)
		if !maps.Equal(disk.dump(), before) {
			t.Error("something took its place")
		}
		if key != replaced[0] {
			_, err = p.Fingerprint(ctx)
			wantCode(t, err, conclave.CodeCorrupt)
			_, err = p.ReplacePreKey(ctx, 1)
			wantCode(t, err, conclave.CodeCorrupt)
		} else if _, err := p.ReplacePreKey(ctx, conclave.LastResortPreKeyID); err != nil {
			t.Error(err)
		}
		disk.put(key, whole[key])
	}
	if created, err := disk.reopen("alice").Init(ctx); err != nil || created {
		t.Errorf("Init has made another identity: %t, %v", created, err)
	}
}
