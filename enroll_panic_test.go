package conclave_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
)

// TestEnrollHookEnds has hooks panic, or end their goroutine as a test's Fatal does. The panic goes on to the caller, and the enrolment can be resumed.
func TestEnrollHookEnds(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("hook") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			c := o.client(newWorld(t).engine, conclave.ClientOptions{NoCredential: true})
			h := o.hooks()
			h.Authenticate = func(context.Context, enrollment.Authentication) (string, error) { end(); return "", nil }
			over := make(chan any)
			go func() {
				returned := false
				defer func() {
					if said := recover(); returned {
						over <- "it has returned"
					} else {
						over <- said
					}
				}()
				_, _ = c.Enroll(t.Context(), o.options(), h)
				returned = true
			}()
			if said := <-over; name == "panic" && said != "hook" || name == "Goexit" && said != nil {
				t.Errorf("the call ended with %v", said)
			}
			if _, err := c.Enroll(t.Context(), o.options(), o.hooks()); err != nil {
				t.Fatal(err)
			}
			if s := o.Stats(); s.Accounts != 1 || s.Orders != 1 {
				t.Errorf("the server saw %+v", s)
			}
		})
	}
}
