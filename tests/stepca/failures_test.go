package stepca

import (
	"context"
	"sync"

	"github.com/smallstep/certificates/acme"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
)

// failures is step-ca's ACME database, which also keeps why challenges failed: neither the answers nor the log of step-ca tell.
type failures struct {
	*acmedb.DB
	mu   sync.Mutex
	list []string
}

// UpdateChallenge notes the reason of a challenge that has become invalid.
func (f *failures) UpdateChallenge(ctx context.Context, ch *acme.Challenge) error {
	if ch.Error != nil && ch.Error.Err != nil {
		f.mu.Lock()
		f.list = append(f.list, string(ch.Type)+": "+ch.Error.Err.Error())
		f.mu.Unlock()
	}
	return f.DB.UpdateChallenge(ctx, ch)
}

// take returns the reasons noted since the last call.
func (f *failures) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}
