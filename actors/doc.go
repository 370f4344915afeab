// Package actors runs the engine: every conversation, client and transaction is an
// actor with state of its own, and they talk by messages. It is the only package that
// knows the actor library, and of that only what host.go says.
//
// # Who is there
//
//	System                       routing, admission, start and end; the one exported type
//	├── directory                which client id is which instance; opens clients
//	├── events                   calls observers
//	├── client, one a client     credentials, key packages, pre-shared keys, the data blob
//	├── PKI, one a client        whom it trusts: trust anchors, intermediates, revocation lists
//	├── coordinator, one a client   who waits for whom
//	│   └── transaction, one each   participants, votes, decision
//	├── enrollment, one each     the way to a certificate: its keys, its nonce, its journal
//	└── conversation, one each   a group, what is staged on it, its commits on their way
//
// Each mutable thing has one owner:
//
//	thing                                      owner
//	committed group and in-flight commits      its conversation
//	what a transaction has staged              the participant it was staged at
//	a guard and the queue before it            the actor of the guarded thing
//	the graph of waits                         the client's coordinator
//	a transaction's decision                   its transaction actor
//	routes, and how many use each              table.go, behind locks
//	messages that wait to be opened            opening.go, behind a lock
//	distribution points noted in a stage       points.go, behind a lock
//	what is published of a client              nobody: it is replaced as a whole, client.published
//	what a conversation has published          who reads it and its actor; the last wipes it
//
// # How a request goes
//
// Ask lets a request in or answers ErrBusy, finds the actor, sends it a task and
// waits for the answer. Operations that touch several actors (a creation, a Welcome, an
// external join, another credential) are sequences of such steps in a transaction,
// the caller's or one of their own, on the caller's goroutine; see operation.go.
//
// The law is stage, persist, swap, release. A single call is staged on the state
// that the one before it left; all that wait are applied in one batch; then the new
// state is current; then they are answered. A transaction's steps are staged in the
// same way and wait for the decision (twophase.go).
//
// A guard is taken at first touch and kept until the transaction ends (guard.go). A
// cycle of waits is found when it closes and one transaction gives way
// (coordinator.go). Reads outside of the transaction that holds the guard see what is
// committed, and wait for nobody: those of no transaction are answered by the caller's
// goroutine, from what the conversation has published (view.go). From the moment that
// the store has a transaction's changes until they are swapped, a read of what they
// change may wait for that, and so for the disk: nobody hears of them before they are
// durable, nor misses them after another has. Each kind does it in its way:
//
//	conversation     view.go: memory, or the read is parked
//	Proteus session  session.go: the same
//	client           keeper.go: it reads the store alone; the answer is held until the
//	                 transaction is settled there
//	conversations    listing.go: those that come or go are asked
//	PKI              pki.go, points.go: published when the transaction is decided,
//	                 before any participant is told
//	enrolment        nothing is read of it; who claims it hides it from then on
//
// # Commits on their way
//
// The delivery service cannot roll back, so a commit is written down before it leaves
// (inflight.go, sending.go, resend.go). What becomes of it:
//
//	accepted                      merged at once, with all that was staged before it
//	refused                       MessageRejected; kept as refused until its epoch ends
//	not sent                      forgotten; nothing has changed
//	try again                     the same bytes, a few times
//	no answer, a timeout          in doubt: CommitInDoubt, the same bytes in the background
//	its bytes come back           accepted, also if it was refused
//	a GroupInfo with its tag      accepted, also if it was refused
//	a message of its epoch        accepted, also if it was refused
//	another's commit              merged; every commit of that epoch is forgotten
//	another's commit removes us   forgotten, save an own join that ends a later epoch
//	a resend is refused           nothing: the first copy may have been accepted
//	an external join is refused   forgotten
//
// # State and request
//
// What a conversation answers, for each state and request: joining is an external
// join without a verdict and without an older group; sending is the transaction, or
// the single call, whose commit is with the delivery service, asking from the
// callback; others wait for it, save that their DecryptMessage is served while
// nothing else is staged. TestStateTable walks every cell.
//
//	request                 absent     joining    active     sending    in-doubt
//	CreateConversation      ok         exists     exists     sending    exists
//	ProcessWelcome          ok         ok         exists     sending    exists
//	JoinByExternalCommit    ok         in-doubt   ok         sending    in-doubt
//	ProposeJoin             ok         ok         ok         ok         ok
//	EncryptMessage          not-found  in-doubt   ok         sending    in-doubt
//	DecryptMessage          not-found  kept       ok         ok         ok
//	DecryptMessages         ok         ok         ok         ok         ok
//	AddMembers              not-found  in-doubt   ok         sending    in-doubt
//	RemoveMembers           not-found  in-doubt   ok         sending    in-doubt
//	UpdateKeyMaterial       not-found  in-doubt   ok         sending    in-doubt
//	SetCredential           not-found  in-doubt   ok         sending    in-doubt
//	CommitPendingProposals  not-found  in-doubt   ok         sending    in-doubt
//	EnableHistorySharing    not-found  in-doubt   ok         sending    in-doubt
//	DisableHistorySharing   not-found  in-doubt   ok         sending    in-doubt
//	ProposeAdd              not-found  in-doubt   ok         sending    in-doubt
//	ProposeRemove           not-found  in-doubt   ok         sending    in-doubt
//	ProposeUpdate           not-found  in-doubt   ok         sending    in-doubt
//	ProposePSK              not-found  in-doubt   ok         sending    in-doubt
//	ClearPendingProposal    not-found  in-doubt   ok         sending    in-doubt
//	DropInDoubt             not-found  ok         ok         sending    ok
//	WipeConversation        not-found  ok         ok         sending    ok
//	MarkAsChildOf           not-found  in-doubt   ok         sending    ok
//	ReadConversation        ok         ok         ok         ok         ok
//	ListMembers             not-found  not-found  ok         ok         ok
//	ReadE2EIState           not-found  not-found  ok         ok         ok
//	ReadIdentities          not-found  not-found  ok         ok         ok
//	ExportSecret            not-found  not-found  ok         ok         ok
//	ExportGroupInfo         not-found  not-found  ok         ok         ok
//
// # End-to-end identity
//
// The PKI actor (pki.go) makes one snapshot after another of what is registered; who
// judges a certificate reads the last durable one, or the one that its transaction has
// staged, and asks nobody (authentication.go, identity.go).
//
// # Proteus
//
// A session (session.go) is a conversation without a delivery service, with the same
// queue (queue.go). Its requests come through proteus.go, which brings what the client's actor has: the identity,
// and for a first message the prekey.
//
// # Enrolments
//
// An enrolment (enrollment_actor.go) is in memory from its beginning to its end and
// belongs to no transaction, save while one pops it, stashes it or installs its
// certificate: it is then hidden from all others, and nobody waits for it.
//
//	request             in memory   claimed     ended
//	BeginEnrollment     running     running     ok          with a journal, else always ok
//	StepEnrollment      ok          not-found   not-found
//	StashEnrollment     ok          not-found   not-found
//	PopEnrollment       ok          ok          ok          by the handle of a stash, once
//	InstallCertificate  ok          not-found   not-found
//	EndEnrollment       ok          ok          ok          claimed, it does nothing
//
// With a journal, what a step has changed is applied before the step is answered. So
// a request that has left was written down, and after a crash it is built again: same
// account key, fresh nonce.
//
// # Failures
//
// A panic in a step costs that request its answer (ErrInternal) and the actor its
// memory, which it reads back from the store. When the store fails, whoever was being
// applied is answered ErrOutcomeUnknown, everybody later ErrStoreFailed, and nothing
// is swapped or released. Whoever waits is answered ErrStoreFailed then, as the decision
// it waits for may never come; so is the operation whose commit is on its way, which is
// in doubt when the engine is opened again. Finish and Abort name such commits, and the
// accepted ones, beside ErrStoreFailed. Close answers what waits with ErrClosed.
package actors
