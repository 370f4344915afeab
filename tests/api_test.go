package tests

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const seedFunctions = `
	get_or_create_client_keypackages client_valid_key_packages_count delete_keypackages delete_stale_key_packages
	mls_init mls_generate_keypairs mls_init_with_client_id client_public_key client_id random_bytes mls_provider
	new_conversation set_raw_external_senders conversation_exists conversation_epoch conversation_ciphersuite get_client_ids export_secret_key
	wipe_conversation mark_conversation_as_child_of conversation_guard decrypt_message clear_pending_proposal process_raw_welcome_message
	process_welcome_message join_by_external_commit new_external_add_proposal new_add_proposal new_remove_proposal new_update_proposal
	finish abort set_data get_data clone clone_from fmt remove_credential generate_keypackage set_credential_by_ref
	e2ei_new_enrollment e2ei_mls_init_only save_x509_credential e2ei_is_enabled e2ei_conversation_state e2ei_verify_group_state
	get_device_identities get_user_identities e2ei_register_crl get_credential_in_use e2ei_is_pki_env_setup e2ei_dump_pki_env
	e2ei_register_acme_ca e2ei_register_intermediate_ca_pem e2ei_rotate e2ei_new_activation_enrollment e2ei_new_rotate_enrollment
	e2ei_enrollment_stash e2ei_enrollment_stash_pop
	acme_directory_response acme_new_account_request acme_new_account_response acme_new_order_request acme_new_order_response
	acme_new_authz_request acme_new_authz_response new_dpop_token acme_dpop_challenge_request acme_oidc_challenge_request
	acme_new_challenge_response acme_check_order_request acme_check_order_response acme_finalize_request acme_finalize_response
	acme_x509_certificate_request
	proteus_init proteus_reload_sessions proteus_session_from_prekey proteus_session_from_message proteus_session_save
	proteus_session_delete proteus_session proteus_session_exists proteus_decrypt proteus_encrypt proteus_encrypt_batched
	proteus_new_prekey proteus_new_prekey_auto proteus_last_resort_prekey proteus_last_resort_prekey_id proteus_fingerprint
	proteus_fingerprint_local proteus_fingerprint_remote proteus_cryptobox_migrate
	KeyPackage::builder KeyPackage::ciphersuite KeyPackage::leaf_node KeyPackage::hpke_init_key KeyPackage::extensions
	KeyPackage::hash_ref KeyPackage::last_resort KeyPackage::life_time KeyPackage::check_extension_support
	KeyPackageBuilder::new KeyPackageBuilder::key_package_lifetime KeyPackageBuilder::key_package_extensions
	KeyPackageBuilder::mark_as_last_resort KeyPackageBuilder::leaf_node_capabilities KeyPackageBuilder::leaf_node_extensions
	KeyPackageBuilder::build KeyPackageBundle::key_package KeyPackageBundle::init_private_key InitKey::key InitKey::as_slice
	KeyPackageIn::validate
`

// laterWork is what a row may wait for.
var laterWork = []string{"targeted messages"}

// TestAPIDocument holds docs/api.md against the seeds and the code: every function of the seeds has a row, every Go name in a row exists, and so does the test beside it.
func TestAPIDocument(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := readModule(t)
	tests := testFunctions(t)
	var named []string
	rows := 0
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			if strings.HasPrefix(line, "|") {
				t.Errorf("docs/api.md:%d: %d cells, want 4", i+1, len(cells)-2)
			}
			continue
		}
		seed, name, semantics, test := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])
		if seed == "seed" || strings.HasPrefix(seed, "---") {
			continue
		}
		rows++
		if first, _, ok := strings.Cut(strings.TrimPrefix(seed, "`"), "`"); ok && strings.HasPrefix(seed, "`") {
			named = append(named, first)
		}
		if semantics == "" {
			t.Errorf("docs/api.md:%d: says nothing about what it does", i+1)
		}
		if work, later := strings.CutPrefix(name, "not yet: "); later {
			if !slices.Contains(laterWork, work) {
				t.Errorf("docs/api.md:%d: no later work is called %q", i+1, work)
			}
			if test != "" {
				t.Errorf("docs/api.md:%d: not built, but tested by %s", i+1, test)
			}
			continue
		}
		if !m.declares(strings.Trim(name, "`")) {
			t.Errorf("docs/api.md:%d: there is no %s", i+1, name)
		}
		if !tests[strings.Trim(test, "`")] {
			t.Errorf("docs/api.md:%d: there is no test %s", i+1, test)
		}
	}
	for _, f := range strings.Fields(seedFunctions) {
		if !slices.Contains(named, f) {
			t.Errorf("docs/api.md has no row for %s", f)
		}
	}
	if rows < len(strings.Fields(seedFunctions)) {
		t.Errorf("docs/api.md has %d rows, fewer than the seeds have functions", rows)
	}
}

// declares tells whether a name of docs/api.md exists: Name, Type.Member, or either behind "mlsgroup." or "enrollment.".
func (m *module) declares(name string) bool {
	dir := "."
	for _, pure := range []string{"mlsgroup", "enrollment"} {
		if rest, ok := strings.CutPrefix(name, pure+"."); ok {
			dir, name = pure, rest
		}
	}
	typ, member, hasMember := strings.Cut(name, ".")
	if !ast.IsExported(typ) || hasMember && !ast.IsExported(member) {
		return false
	}
	if !hasMember {
		return m.typeSpec(dir, typ) != nil || m.function(dir, "", typ) || m.value(dir, typ)
	}
	return m.hasMember(dir, typ, member)
}

// hasMember looks for a method or field, through aliases of other packages and embedded structs.
func (m *module) hasMember(dir, typ, member string) bool {
	if m.function(dir, typ, member) {
		return true
	}
	spec := m.typeSpec(dir, typ)
	if spec == nil {
		return false
	}
	switch t := spec.Type.(type) {
	case *ast.SelectorExpr: // an alias
		if x, ok := t.X.(*ast.Ident); ok {
			return m.hasMember(m.directory(x.Name), t.Sel.Name, member)
		}
	case *ast.Ident:
		return m.hasMember(dir, t.Name, member)
	case *ast.StructType:
		for _, field := range t.Fields.List {
			for _, n := range field.Names {
				if n.Name == member {
					return true
				}
			}
			if x, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 && m.hasMember(dir, x.Name, member) {
				return true
			}
		}
	case *ast.InterfaceType:
		for _, field := range t.Methods.List {
			if len(field.Names) == 1 && field.Names[0].Name == member {
				return true
			}
		}
	}
	return false
}

// directory finds the package of the module with a name.
func (m *module) directory(name string) string {
	for _, p := range m.packages {
		if path.Base(p.dir) == name {
			return p.dir
		}
	}
	return ""
}

func (m *module) typeSpec(dir, name string) (found *ast.TypeSpec) {
	m.declarations(dir, func(d ast.Decl) {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				if spec, ok := s.(*ast.TypeSpec); ok && spec.Name.Name == name {
					found = spec
				}
			}
		}
	})
	return found
}

// value looks for a constant or a variable.
func (m *module) value(dir, name string) (found bool) {
	m.declarations(dir, func(d ast.Decl) {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				if spec, ok := s.(*ast.ValueSpec); ok {
					found = found || slices.ContainsFunc(spec.Names, func(n *ast.Ident) bool { return n.Name == name })
				}
			}
		}
	})
	return found
}

func (m *module) function(dir, receiver, name string) (found bool) {
	m.declarations(dir, func(d ast.Decl) {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			of := ""
			if f.Recv != nil {
				of = receiverType(f.Recv)
			}
			found = found || of == receiver
		}
	})
	return found
}

func (m *module) declarations(dir string, f func(ast.Decl)) {
	for _, p := range m.packages {
		if p.dir != dir {
			continue
		}
		for _, file := range p.files {
			if file.test {
				continue
			}
			for _, d := range file.syntax.Decls {
				f(d)
			}
		}
	}
}
