package tests

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// actedOn are the errors of CoreCrypto that a program has to act on, or to ignore knowingly.
const actedOn = `
	ConversationAlreadyExists DuplicateMessage BufferedFutureMessage WrongEpoch BufferedCommit MessageEpochTooOld SelfCommitIgnored UnmergedPendingGroup
	StaleProposal StaleCommit OrphanWelcome MessageRejected
	ConversationNotFound PendingConversation ClientNotFound PendingProposalNotFound ClearingPendingCommitError MlsTransportNotProvided
	CredentialNotFound CredentialStillInUse WrongCredential InvalidTransactionContext TransactionFailed TransactionCanceled
	CallerError DuplicateSignature InvalidDbKeySize NoProvisionalIdentityFound IdentityAlreadyPresent
`

// TestCoreCryptoErrors holds the table of errors of docs/corecrypto.md against the code: every error of CoreCrypto that a program acts on has a row, and the
// code or outcome in the row exists. A code that has CoreCrypto's name is spelt as it is.
func TestCoreCryptoErrors(t *testing.T) {
	codes := rootConstants(t, "errors.go")
	outcomes := rootConstants(t, "conversation.go")
	rows := coreCryptoRows(t, "| CoreCrypto | Conclave | what to do |")
	var named []string
	for _, row := range rows {
		if len(row) != 3 || row[2] == "" {
			t.Fatalf("row %q", row)
		}
		names := strings.FieldsFunc(row[0], func(r rune) bool { return r == ',' || r == ' ' })
		named = append(named, names...)
		name := strings.Trim(row[1], "`")
		value, isCode := codes[name]
		if _, isOutcome := outcomes[name]; !isCode && !isOutcome {
			t.Errorf("there is no %s", name)
		}
		if isCode && slices.Contains(names, strings.TrimPrefix(name, "Code")) && value != strings.TrimPrefix(name, "Code") {
			t.Errorf("%s is spelt %q", name, value)
		}
	}
	for _, name := range strings.Fields(actedOn) {
		if !slices.Contains(named, name) {
			t.Errorf("there is no row for %s", name)
		}
	}
}

// TestCoreCryptoWire holds the table of the wire profile against the tests.
func TestCoreCryptoWire(t *testing.T) {
	functions := testFunctions(t)
	for _, row := range coreCryptoRows(t, "| item | test |") {
		names := quoted.FindAllStringSubmatch(row[1], -1)
		if len(names) == 0 {
			t.Errorf("%q has no test", row[0])
		}
		for _, m := range names {
			if !functions[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
	}
}

// coreCryptoRows are the rows of the table of docs/corecrypto.md with a head.
func coreCryptoRows(t *testing.T, head string) [][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "corecrypto.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(b), head)
	if !found {
		t.Fatalf("docs/corecrypto.md has no table %s", head)
	}
	var rows [][]string
	for _, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
	}
	if len(rows) < 5 {
		t.Fatalf("the table %s has only %d rows", head, len(rows))
	}
	return rows
}

// rootConstants reads the constants of a file of the root package: name to value, "" where it is no string.
func rootConstants(t *testing.T, file string) map[string]string {
	t.Helper()
	constants := map[string]string{}
	for _, d := range parseGoFile(t, filepath.Join("..", file)).Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				constants[name.Name] = ""
				if i < len(spec.Values) {
					constants[name.Name], _ = stringLiteral(spec.Values[i])
				}
			}
		}
	}
	return constants
}
