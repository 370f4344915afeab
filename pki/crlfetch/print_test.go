package crlfetch

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint holds the types of the package against the rule for secrets. There are none among them: lists are public.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{new(fetcher), new(Options), new(outcome), new(plan)}, nil, "")
}
