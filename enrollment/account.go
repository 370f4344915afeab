package enrollment

import (
	"fmt"
	"strings"
	"time"
)

// Directory is where the CA takes requests (RFC 8555 section 7.1.1).
type Directory struct {
	NewNonce   string `json:"newNonce"`
	NewAccount string `json:"newAccount"`
	NewOrder   string `json:"newOrder"`
	RevokeCert string `json:"revokeCert"`
}

func acceptDirectory(_ *Enrollment, next *state, r reply) error {
	d, err := decode[Directory](r.body)
	if err != nil {
		return err
	}
	if err := checkACME(d.NewNonce, d.NewAccount, d.NewOrder, d.RevokeCert); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	next.directory, next.step = d, StepAccount
	return nil
}

func accountPayload(*Enrollment, *state, time.Time) ([]byte, error) {
	return []byte(`{"termsOfServiceAgreed":true,"contact":["anonymous@anonymous.invalid"],"onlyReturnExisting":false}`), nil
}

// acceptAccount takes the account's URL from where its orders are, which step-ca always
// says and an application that hands in no header has. Location has to agree.
func acceptAccount(_ *Enrollment, next *state, r reply) error {
	a, err := decode[struct {
		Status string `json:"status"`
		Orders string `json:"orders"`
	}](r.body)
	if err != nil {
		return err
	}
	switch a.Status {
	case "valid":
	case "deactivated":
		return ErrAccountDeactivated
	case "revoked":
		return ErrAccountRevoked
	default:
		return malformed("account status")
	}
	account, ok := strings.CutSuffix(a.Orders, "/orders")
	if !ok || r.location != "" && r.location != account {
		return malformed("account URL")
	}
	if err := checkACME(account); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	next.account, next.step = account, StepOrder
	return nil
}
