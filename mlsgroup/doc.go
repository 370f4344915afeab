// Package mlsgroup is RFC 9420, complete and pure: it computes the next state of
// a group and has no I/O, clock, goroutine, lock or log.
//
// A [Group] is one member's view of one epoch and never changes. A step takes
// what it needs as an [Input] and gives back a [Transition]: the next group,
// what to write, and what may leave once that is written. To drop a transition
// is to undo the step, so there is no rollback, and after an error there is
// nothing to undo.
//
//	NewGroup, Join                      the first epoch one is part of
//	Group.Process                       any received message
//	Group.Encrypt, Group.Propose        a message of ours, and the state after it
//	Group.Commit, JoinByExternalCommit  an [OwnCommit], which changes nothing yet
//	Group.Merge                         the epoch after it, once it is accepted
//
// # Records and parts
//
// What a transition changes is a list of small records: a message writes one
// ratchet, a commit the tree nodes it replaced. A group is loaded from its head
// record by [LoadGroup] and has nothing else in memory then. A step that lacks a
// part answers with a [*Need]; the caller reads the ranges of its parts, calls
// [Group.WithParts] and takes the step again. So a message of a large group is
// read without its tree.
//
// # Profiles
//
// A [Profile] is RFC 9420 as it stands or what Wire's clients speak. Every
// difference is a field of profileRules in profile.go.
//
// # Where things are
//
//	2.1         codec.go; every wire type is encoded beside its declaration
//	5.1, 5.2    crypto.go
//	5.3         credential.go, certificate.go, AuthenticationService in input.go
//	6           framing.go, authenticated_content.go, public_message.go,
//	            private_message.go, sender_data.go, message_key.go, signers.go
//	7.1-7.2     leaf_node.go, ratchet_tree.go
//	7.3         leaf_validation.go, capabilities.go
//	7.4-7.6     update_path.go, path_keys.go
//	7.7-7.9     tree_edit.go, tree_hash.go, parent_hash.go, tree_validation.go
//	8           key_schedule.go, transcript.go, psk_secret.go
//	9           secret_tree.go, ratchet.go
//	10          key_package.go
//	11          group.go, reinit.go
//	12.1-12.3   proposal.go, pending_proposal.go, proposal_list.go, sweep.go
//	12.4.1      commit_build.go, own_commit.go
//	12.4.2      process.go, process_commit.go, epoch.go, past_epoch.go
//	12.4.3      join.go, external_join.go, welcome.go, welcome_seal.go
//	15          send.go, reserve.go, wipe.go
//	records     head.go, load.go, part.go, record_key.go, node_record.go,
//	            ratchet_record.go
//
// docs/rfc9420.md lists every requirement of the RFC with the place that meets
// it and the test that fails without it. Requirements that are not met come out
// as a [*CheckError].
package mlsgroup
