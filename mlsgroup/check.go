package mlsgroup

import "fmt"

// Check is the identifier of one requirement of RFC 9420 that this package
// enforces: the section of the RFC that states it, a hyphen and a running
// number. docs/rfc9420.md has a row for each. Identifiers never change their
// meaning and are never used again, because hosts log them.
//
// A Check is itself an error, so that errors.Is(err, CheckLeafSignature) tells
// whether err reports that this requirement was not met.
type Check string

// Error returns the text of a Check without detail.
func (c Check) Error() string { return "mlsgroup: check " + string(c) }

// Errorf returns a *CheckError for c whose detail is formatted as by
// fmt.Sprintf. The arguments must not hold secrets, and a wrapped error among
// them is printed, not kept.
func (c Check) Errorf(format string, args ...any) error {
	return &CheckError{Check: c, Detail: fmt.Sprintf(format, args...)}
}

// CheckError reports input or a request that does not meet one requirement of
// RFC 9420. The group it was meant for has not changed.
type CheckError struct {
	Check  Check  // the requirement that was not met
	Detail string // what was found, without secrets
}

// Error returns the identifier of the check and the detail.
func (e *CheckError) Error() string { return e.Check.Error() + ": " + e.Detail }

// Is reports whether target is the Check that e reports.
func (e *CheckError) Is(target error) bool {
	c, ok := target.(Check)
	return ok && c == e.Check
}

// Presentation language (section 2.1).
const (
	// CheckOptionalPresence: the presence octet of an optional value is 0 or 1 (2.1.1).
	CheckOptionalPresence Check = "2.1.1-1"
	// CheckVectorLengthMinimal: a vector's length is encoded in the fewest bytes that hold it (2.1.2).
	CheckVectorLengthMinimal Check = "2.1.2-1"
	// CheckVectorLengthPrefix: a vector's length does not start with the bits 11 (2.1.2).
	CheckVectorLengthPrefix Check = "2.1.2-2"
)

// Cryptographic objects (section 5).
const (
	// CheckSignatureKey: a leaf's or external sender's signature_key is a public key of the
	// suite's signature algorithm, an X.509 end-entity key included (5.1.2, 10).
	CheckSignatureKey Check = "5.1.2-1"
	// CheckX509PublicKey: the end-entity certificate's public key is the leaf's signature_key (5.3).
	CheckX509PublicKey Check = "5.3-1"
	// CheckCredential: the authentication argument accepts each credential that enters the group (5.3.1, 7.3).
	CheckCredential Check = "5.3.1-1"
	// CheckExternalSenderCredential: the authentication argument accepts each sender of an added or
	// changed external_senders extension (5.3.1).
	CheckExternalSenderCredential Check = "5.3.1-2"
	// CheckCredentialSuccessor: the authentication argument accepts a changed credential as
	// successor of the one it replaces (5.3.1).
	CheckCredentialSuccessor Check = "5.3.1-3"
)

// Message framing (section 6).
const (
	// CheckApplicationPrivate: application data is carried by a PrivateMessage (6).
	CheckApplicationPrivate Check = "6-1"
	// CheckExternalContent: an external sender's content is a proposal (6.1).
	CheckExternalContent Check = "6.1-2"
	// CheckExternalProposalType: an external sender's proposal is of a type that such senders may send (6.1, 12.1.8).
	CheckExternalProposalType Check = "6.1-3"
	// CheckNewMemberCommitContent: the content of a new_member_commit sender is a commit (6.1).
	CheckNewMemberCommitContent Check = "6.1-4"
	// CheckNewMemberProposalContent: the content of a new_member_proposal sender is a proposal (6.1).
	CheckNewMemberProposalContent Check = "6.1-5"
	// CheckNewMemberProposalType: the proposal of a new_member_proposal sender is an Add (6.1).
	CheckNewMemberProposalType Check = "6.1-6"
	// CheckMessageSignature: the signature of a FramedContent verifies under the key that its
	// sender type selects (6.1, 6.2, 6.3.1, 12.1, 12.4.2, 12.4.3.2).
	CheckMessageSignature Check = "6.1-7"
	// CheckMembershipTag: a member's PublicMessage has the right membership_tag (6.2, 12.4.2).
	CheckMembershipTag Check = "6.2-2"
	// CheckPadding: the padding of a PrivateMessageContent is all zero (6.3.1).
	CheckPadding Check = "6.3.1-2"
	// CheckMessageSize: authenticated data and ciphertext stay below the AEAD's limits (6.3.1).
	CheckMessageSize Check = "6.3.1-6"
	// CheckSenderLeaf: the leaf index of a member sender names a non-blank leaf (6.1, 6.3.2).
	CheckSenderLeaf Check = "6.3.2-2"
)

// Ratchet tree operations (section 7).
const (
	// CheckUnmergedSorted: unmerged_leaves are strictly increasing (7.1).
	CheckUnmergedSorted Check = "7.1-1"
	// CheckCapabilitiesDefault: own capabilities list no default proposal or extension type (7.2).
	CheckCapabilitiesDefault Check = "7.2-1"
	// CheckLeafExtensions: non-default extensions of a leaf are listed in its capabilities (7.2, 7.3, 10).
	CheckLeafExtensions Check = "7.2-3"
	// CheckLeafCredentialType: a leaf's credential type is listed in its capabilities (7.2).
	CheckLeafCredentialType Check = "7.2-4"
	// CheckLifetimeTotal: a leaf's whole lifetime is at most the maximum that the caller set (7.2).
	CheckLifetimeTotal Check = "7.2-6"
	// CheckLeafSignature: the signature of a leaf verifies under its signature_key (7.3).
	CheckLeafSignature Check = "7.3-1"
	// CheckRequiredCapabilities: a leaf's capabilities list all that required_capabilities names (7.3, 11.1).
	CheckRequiredCapabilities Check = "7.3-2"
	// CheckLeafVersionSuite: a leaf's capabilities list the group's version and suite (7.3, 11.1).
	CheckLeafVersionSuite Check = "7.3-3"
	// CheckCredentialTypeSupported: every member supports a leaf's credential type (7.3, 13.3).
	CheckCredentialTypeSupported Check = "7.3-4"
	// CheckCredentialTypesInUse: a leaf supports every credential type in use in the group (7.3, 13.3).
	CheckCredentialTypesInUse Check = "7.3-5"
	// CheckLifetime: the current time is within the lifetime of a leaf that we send (7.3).
	CheckLifetime Check = "7.3-6"
	// CheckLeafSourceKeyPackage: the leaf of a KeyPackage has source key_package (7.3, 10).
	CheckLeafSourceKeyPackage Check = "7.3-7"
	// CheckLeafSourceUpdate: the leaf of an Update has source update (7.3).
	CheckLeafSourceUpdate Check = "7.3-8"
	// CheckUpdateEncryptionKey: the leaf of an Update has another encryption_key than the leaf it replaces (7.3).
	CheckUpdateEncryptionKey Check = "7.3-9"
	// CheckLeafSourceCommit: the leaf of an UpdatePath has source commit (7.3, 12.4.2).
	CheckLeafSourceCommit Check = "7.3-10"
	// CheckSignatureKeyUnique: no two members have the same signature_key (7.3).
	CheckSignatureKeyUnique Check = "7.3-11"
	// CheckEncryptionKeyUnique: no two members have the same encryption_key (7.3).
	CheckEncryptionKeyUnique Check = "7.3-12"
	// CheckPathPublicKeys: the keys derived from a path secret are those of the UpdatePath (7.5).
	CheckPathPublicKeys Check = "7.5-4"
	// CheckPathCiphertexts: an UpdatePathNode has one ciphertext for each node of its copath
	// resolution, new leaves excluded (7.6).
	CheckPathCiphertexts Check = "7.6-1"
	// CheckPathLength: an UpdatePath has one node for each node of the filtered direct path (7.5, 7.6).
	CheckPathLength Check = "7.6-2"
	// CheckTreeParentHash: every non-blank parent node of a joined tree is parent-hash valid (7.9.2, 12.4.3.1).
	CheckTreeParentHash Check = "7.9.2-1"
	// CheckPathParentHash: the parent_hash of an UpdatePath's leaf is the one recomputed (7.5, 7.9.2).
	CheckPathParentHash Check = "7.9.2-2"
)

// Key packages (section 10).
const (
	// CheckInitKey: init_key is a public key of the suite's KEM (10).
	CheckInitKey Check = "10-1"
	// CheckEncryptionKey: encryption_key of a leaf or parent node is a public key of the suite's KEM (10).
	CheckEncryptionKey Check = "10-3"
	// CheckKeyPackageSignature: the signature of a KeyPackage verifies under its leaf's signature_key (10, 10.1).
	CheckKeyPackageSignature Check = "10-4"
	// CheckKeyPackageMessageVersion: a KeyPackage has the version of the MLSMessage that carries it (10).
	CheckKeyPackageMessageVersion Check = "10-5"
	// CheckKeyPackageExtensions: non-default extensions of a KeyPackage are listed in its leaf's capabilities (10).
	CheckKeyPackageExtensions Check = "10-6"
	// CheckKeyPackageVersion: a KeyPackage to add has the group's version (10.1).
	CheckKeyPackageVersion Check = "10.1-1"
	// CheckKeyPackageSuite: a KeyPackage to add has the group's cipher suite (10.1).
	CheckKeyPackageSuite Check = "10.1-2"
	// CheckInitKeyDistinct: init_key differs from the leaf's encryption_key (10.1).
	CheckInitKeyDistinct Check = "10.1-3"
)

// Reinitialization and branching (section 11).
const (
	// CheckReInitParameters: the new group has the version, suite, id and extensions of the ReInit (11.2, 12.4.3.1).
	CheckReInitParameters Check = "11.2-1"
	// CheckSuccessorEpoch: a group that continues another by reinit or branch is joined at epoch 1 (11.2, 11.3, 12.4.3.1).
	CheckSuccessorEpoch Check = "11.2-2"
	// CheckReInitPSK: the Welcome of a reinitialized group names the old group's resumption PSK
	// of the epoch after the ReInit (11.2, 12.4.1).
	CheckReInitPSK Check = "11.2-3"
	// CheckBranchParameters: a branched group has the version and suite of the old group (11.3, 12.4.3.1).
	CheckBranchParameters Check = "11.3-1"
	// CheckBranchMembers: every member of a branched group is one of the old group,
	// by the authentication argument (11.3, 12.4.3.1).
	CheckBranchMembers Check = "11.3-2"
)

// Proposals (sections 12.1 and 12.2).
const (
	// CheckEpoch: a proposal or commit is of the current epoch (12.1, 12.4.2).
	CheckEpoch Check = "12.1-1"
	// CheckRemoveLeaf: a Remove names a non-blank leaf (12.1.3).
	CheckRemoveLeaf Check = "12.1.3-1"
	// CheckPSKUsageReInit: usage reinit is for reinitializing only (11.2, 12.1.4).
	CheckPSKUsageReInit Check = "12.1.4-1"
	// CheckPSKUsageBranch: usage branch is for branching only (11.3, 12.1.4).
	CheckPSKUsageBranch Check = "12.1.4-2"
	// CheckPSKNonceLength: psk_nonce is KDF.Nh bytes long (8.4, 12.1.4).
	CheckPSKNonceLength Check = "12.1.4-3"
	// CheckReInitVersion: the version of a ReInit is not below the group's (12.1.5).
	CheckReInitVersion Check = "12.1.5-1"
	// CheckExtensionsRequiredCapabilities: every member of the next epoch meets the required_capabilities
	// that a GroupContextExtensions brings (11.1, 12.1.7).
	CheckExtensionsRequiredCapabilities Check = "12.1.7-1"
	// CheckExternalSender: an external sender's index is one of the group's external_senders (6.1, 12.1.8).
	CheckExternalSender Check = "12.1.8-2"
	// CheckUpdateByCommitter: no Update of a commit was made by its committer (12.2).
	CheckUpdateByCommitter Check = "12.2-1"
	// CheckRemoveCommitter: no Remove of a commit removes its committer (12.2).
	CheckRemoveCommitter Check = "12.2-2"
	// CheckProposalsPerLeaf: at most one Update or Remove applies to a leaf (12.2).
	CheckProposalsPerLeaf Check = "12.2-3"
	// CheckAddTwice: no two Adds are for the same client (12.2).
	CheckAddTwice Check = "12.2-4"
	// CheckAddMember: no Add is for a client that is a member and stays one (12.2).
	CheckAddMember Check = "12.2-5"
	// CheckPSKTwice: no two PreSharedKey proposals have the same PreSharedKeyID (12.2).
	CheckPSKTwice Check = "12.2-6"
	// CheckGroupContextExtensionsTwice: at most one GroupContextExtensions is committed (12.2).
	CheckGroupContextExtensionsTwice Check = "12.2-7"
	// CheckReInitAlone: a ReInit is committed with no other proposal (12.2).
	CheckReInitAlone Check = "12.2-8"
	// CheckExternalInitByMember: a member's commit has no ExternalInit (12.1.6, 12.2, 12.4.3.2).
	CheckExternalInitByMember Check = "12.2-9"
	// CheckProposalTypeSupported: all members that process a commit support its non-default proposal types (12.2, 13.2).
	CheckProposalTypeSupported Check = "12.2-10"
	// CheckExternalInitOnce: an external commit has exactly one ExternalInit (12.2).
	CheckExternalInitOnce Check = "12.2-12"
	// CheckExternalRemoveOnce: an external commit has at most one Remove (12.2).
	CheckExternalRemoveOnce Check = "12.2-13"
	// CheckExternalRemoveSuccessor: the leaf of an external commit with a Remove could be an Update of
	// the removed leaf, its identity included (12.2).
	CheckExternalRemoveSuccessor Check = "12.2-14"
	// CheckExternalProposals: an external commit has no proposals but ExternalInit, Remove and PreSharedKey (12.2).
	CheckExternalProposals Check = "12.2-15"
)

// Commits (sections 12.4 to 12.4.2).
const (
	// CheckProposalsPending: no application data is sent while valid proposals of the epoch wait for a commit (12.4).
	CheckProposalsPending Check = "12.4-1"
	// CheckPathRequired: a commit that is empty or has a proposal that needs a path has a path (12.4, 12.4.1, 12.4.2).
	CheckPathRequired Check = "12.4-3"
	// CheckPSKAvailable: every PSK that a commit or Welcome names is at hand (12.4.2, 12.4.3.1).
	CheckPSKAvailable Check = "12.4.2-1"
	// CheckPathLeafKey: the leaf of an UpdatePath has another encryption_key than the committer's leaf (12.4.2, 7.5).
	CheckPathLeafKey Check = "12.4.2-2"
	// CheckPathKeysUnique: no public key of an UpdatePath is in another node of the new tree (12.4.2).
	CheckPathKeysUnique Check = "12.4.2-3"
	// CheckConfirmationTag: the confirmation_tag of a commit is the new epoch's (6.1, 6.2, 6.3.1, 12.4.2).
	CheckConfirmationTag Check = "12.4.2-4"
	// CheckReInitCommitted: a group whose ReInit was committed sends nothing any more (12.4.2).
	CheckReInitCommitted Check = "12.4.2-5"
)

// Joining (section 12.4.3).
const (
	// CheckGroupInfoSigner: the signer of a GroupInfo is a non-blank leaf (12.4.3, 12.4.3.1).
	CheckGroupInfoSigner Check = "12.4.3-3"
	// CheckGroupInfoSignature: the signature of a GroupInfo verifies under its signer's key (12.4.3, 12.4.3.1).
	CheckGroupInfoSignature Check = "12.4.3-4"
	// CheckTreePresent: a joiner has the ratchet tree (12.4.3.1).
	CheckTreePresent Check = "12.4.3.1-1"
	// CheckWelcomeKeyPackage: a Welcome has secrets for the KeyPackage at hand (12.4.3.1).
	CheckWelcomeKeyPackage Check = "12.4.3.1-2"
	// CheckWelcomeSuite: a Welcome has the KeyPackage's suite (12.4.3.1).
	CheckWelcomeSuite Check = "12.4.3.1-3"
	// CheckResumptionPSKAlone: a Welcome names at most one resumption PSK of usage reinit or branch (12.4.3.1).
	CheckResumptionPSKAlone Check = "12.4.3.1-5"
	// CheckGroupInfoSuite: the GroupInfo of a Welcome has the KeyPackage's suite (12.4.3.1).
	CheckGroupInfoSuite Check = "12.4.3.1-6"
	// CheckTreeHash: the root hash of the ratchet tree is the GroupContext's tree_hash (12.4.3.1, 12.4.3.3).
	CheckTreeHash Check = "12.4.3.1-7"
	// CheckUnmergedLeaf: an unmerged leaf is a non-blank descendant of its parent node (12.4.3.1).
	CheckUnmergedLeaf Check = "12.4.3.1-8"
	// CheckUnmergedBetween: non-blank nodes between a parent and its unmerged leaf list that leaf too (12.4.3.1).
	CheckUnmergedBetween Check = "12.4.3.1-9"
	// CheckParentKeyUnique: a parent node's encryption_key is in no other node (12.4.3.1).
	CheckParentKeyUnique Check = "12.4.3.1-10"
	// CheckOwnLeaf: the joined tree has a leaf identical to the KeyPackage's (12.4.3.1).
	CheckOwnLeaf Check = "12.4.3.1-11"
	// CheckPathSecretKey: the keys derived from a Welcome's path secret are those of the tree (12.4.3.1).
	CheckPathSecretKey Check = "12.4.3.1-12"
	// CheckGroupInfoConfirmationTag: the confirmation_tag of a Welcome's GroupInfo is the epoch's (12.4.3.1).
	CheckGroupInfoConfirmationTag Check = "12.4.3.1-13"
	// CheckReInitProposed: the group that a reinit Welcome continues ended with a committed ReInit (12.4.3.1).
	CheckReInitProposed Check = "12.4.3.1-15"
	// CheckReInitMembers: all members of the old group are in the reinitialized one, by the
	// authentication argument (12.4.1, 12.4.3.1).
	CheckReInitMembers Check = "12.4.3.1-16"
	// CheckExternalCommitPath: an external commit has a path (12.4.3.2).
	CheckExternalCommitPath Check = "12.4.3.2-1"
	// CheckExternalCommitByValue: an external commit has no proposal by reference (12.4.3.2).
	CheckExternalCommitByValue Check = "12.4.3.2-2"
	// CheckExternalPub: a GroupInfo to join by external commit has an external_pub extension (12.4.3.2).
	CheckExternalPub Check = "12.4.3.2-6"
	// CheckTreeTrailingBlank: the last node of a ratchet_tree is not blank (12.4.3.3).
	CheckTreeTrailingBlank Check = "12.4.3.3-2"
	// CheckTreeNodeType: a ratchet_tree has leaves at even places and parents at odd ones (12.4.3.3).
	CheckTreeNodeType Check = "12.4.3.3-3"
)

// Extensibility and restrictions (sections 13 and 15).
const (
	// CheckExtensionTwice: no list of extensions has two of one type (13.4).
	CheckExtensionTwice Check = "13.4-4"
	// CheckLeafGroupExtensions: a new member's leaf supports every extension of the GroupContext (13.4).
	CheckLeafGroupExtensions Check = "13.4-5"
	// CheckJoinerExtensions: a joiner supports every extension of the GroupContext (12.4.3, 13.4).
	CheckJoinerExtensions Check = "13.4-6"
	// CheckGroupExtensionsSupported: every member supports each extension that a
	// GroupContextExtensions brings (13.4).
	CheckGroupExtensionsSupported Check = "13.4-7"
	// CheckGREASE: we send no GREASE value as proposal type, credential type or extension of the group (13.5).
	CheckGREASE Check = "13.5-1"
	// CheckEpochLimit: a sender encrypts no more in an epoch than the AEAD's bounds permit (15.2).
	CheckEpochLimit Check = "15.2-1"
)
