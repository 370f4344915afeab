package actors

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/messages"
)

// TestEnrollEndIsLetIn ends an enrolment where neither it nor the engine lets in anything else.
func TestEnrollEndIsLetIn(t *testing.T) {
	p := newWorld(t).peer("4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example")
	begun := ask[messages.EnrollmentBegun](t, p.sys, p.at(""), messages.BeginEnrollment{DisplayName: "Alice Smith", Handle: "alice_wire", Lifetime: time.Hour})
	c, _ := p.sys.clients.load(p.instance)
	row := p.sys.find(enrollmentKey(c, begun.Enrollment))
	row.gate.maxRequests, p.sys.gate.maxRequests = 0, 0
	row.release()
	step := messages.StepEnrollment{Enrollment: begun.Enrollment, Run: func(*enrollment.Enrollment, time.Time, io.Reader) error { return nil }}
	if err := p.try(p.at(""), step); !errors.Is(err, messages.ErrBusy) {
		t.Fatalf("a step was answered with %v, want busy", err)
	}
	if err := p.try(p.at(""), messages.EndEnrollment{Enrollment: begun.Enrollment}); err != nil {
		t.Errorf("the end was answered with %v", err)
	}
	p.sys.gate.maxRequests = 10
	if err := p.try(p.at(""), step); !errors.Is(err, messages.ErrEnrollmentNotFound) {
		t.Errorf("after its end a step was answered with %v", err)
	}
}
