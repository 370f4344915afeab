package messages

import "github.com/conclave-mls/conclave/mlsgroup"

// overhead is what a request is counted for beside the bytes it points to.
const overhead = 128

// Step is embedded by the requests and replies that actors exchange among
// themselves, which are no part of this vocabulary.
type Step struct{}

// Size implements [Request].
func (Step) Size() int { return overhead }

func (Step) request() {}
func (Step) reply()   {}

func total[T ~[]byte | ~string](list []T) int {
	n := 0
	for _, x := range list {
		n += len(x)
	}
	return n
}

// Size implements [Request].
func (InitClient) Size() int { return overhead }

// Size implements [Request].
func (GenerateKeypairs) Size() int { return overhead }

// Size implements [Request].
func (ListClients) Size() int { return overhead }

// Size implements [Request].
func (ListConversations) Size() int { return overhead }

// Size implements [Request].
func (r AddCredential) Size() int {
	return overhead + len(r.SignaturePrivate) + len(r.SignatureKey) + len(r.Credential.Identity) + total(r.Credential.Certificates)
}

// Size implements [Request].
func (RemoveCredential) Size() int { return overhead }

// Size implements [Request].
func (ListCredentials) Size() int { return overhead }

// Size implements [Request].
func (r GenerateKeyPackages) Size() int {
	n := overhead
	for _, list := range []mlsgroup.Extensions{r.Extensions, r.LeafExtensions} {
		for _, e := range list {
			n += len(e.Body)
		}
	}
	return n
}

// Size implements [Request].
func (r ImportKeyPackage) Size() int {
	return overhead + len(r.KeyPackage) + len(r.InitPrivate) + len(r.LeafPrivate) + len(r.SignaturePrivate)
}

// Size implements [Request].
func (ListKeyPackages) Size() int { return overhead }

// Size implements [Request].
func (CountKeyPackages) Size() int { return overhead }

// Size implements [Request].
func (r DeleteKeyPackages) Size() int { return overhead + total(r.Refs) }

// Size implements [Request].
func (DeleteStaleKeyPackages) Size() int { return overhead }

// Size implements [Request].
func (r PutPSK) Size() int { return overhead + len(r.ID) + len(r.PSK) }

// Size implements [Request].
func (r DeletePSK) Size() int { return overhead + len(r.ID) }

// Size implements [Request].
func (r SetData) Size() int { return overhead + len(r.Data) }

// Size implements [Request].
func (ReadData) Size() int { return overhead }

// Size implements [Request].
func (Begin) Size() int { return overhead }

// Size implements [Request].
func (r Touch) Size() int { return overhead + total(r.Conversations) }

// Size implements [Request].
func (Finish) Size() int { return overhead }

// Size implements [Request].
func (Abort) Size() int { return overhead }

// Size implements [Request].
func (CreateConversation) Size() int { return overhead }

// Size implements [Request].
func (r ProcessWelcome) Size() int { return overhead + len(r.Message) + len(r.RatchetTree) }

// Size implements [Request].
func (r JoinByExternalCommit) Size() int { return overhead + len(r.GroupInfo) + len(r.RatchetTree) }

// Size implements [Request].
func (r ProposeJoin) Size() int { return overhead + len(r.Conversation) }

// Size implements [Request].
func (r EncryptMessage) Size() int { return overhead + len(r.Plaintext) + len(r.AuthenticatedData) }

// Size implements [Request].
func (r DecryptMessage) Size() int { return overhead + len(r.Message) }

// Size implements [Request].
func (r DecryptMessages) Size() int { return overhead + total(r.Messages) }

// Size implements [Request].
func (r AddMembers) Size() int { return overhead + total(r.KeyPackages) }

// Size implements [Request].
func (r RemoveMembers) Size() int { return overhead + total(r.ClientIDs) }

// Size implements [Request].
func (UpdateKeyMaterial) Size() int { return overhead }

// Size implements [Request].
func (SetCredential) Size() int { return overhead }

// Size implements [Request].
func (CommitPendingProposals) Size() int { return overhead }

// Size implements [Request].
func (EnableHistorySharing) Size() int { return overhead }

// Size implements [Request].
func (DisableHistorySharing) Size() int { return overhead }

// Size implements [Request].
func (r ProposeAdd) Size() int { return overhead + len(r.KeyPackage) }

// Size implements [Request].
func (ProposeRemove) Size() int { return overhead }

// Size implements [Request].
func (r ProposePSK) Size() int { return overhead + len(r.ID) }

// Size implements [Request].
func (ProposeUpdate) Size() int { return overhead }

// Size implements [Request].
func (ClearPendingProposal) Size() int { return overhead }

// Size implements [Request].
func (DropInDoubt) Size() int { return overhead }

// Size implements [Request].
func (WipeConversation) Size() int { return overhead }

// Size implements [Request].
func (r MarkAsChildOf) Size() int { return overhead + len(r.Parent) }

// Size implements [Request].
func (ReadConversation) Size() int { return overhead }

// Size implements [Request].
func (ListMembers) Size() int { return overhead }

// Size implements [Request].
func (ExportSecret) Size() int { return overhead }

// Size implements [Request].
func (ExportGroupInfo) Size() int { return overhead }

// Size implements [Request].
func (r RegisterTrustAnchor) Size() int { return overhead + len(r.Certificate) }

// Size implements [Request].
func (RemoveTrustAnchor) Size() int { return overhead }

// Size implements [Request].
func (r RegisterIntermediate) Size() int { return overhead + len(r.Certificate) }

// Size implements [Request].
func (r RegisterCRL) Size() int { return overhead + len(r.DistributionPoint) + len(r.CRL) }

// Size implements [Request].
func (ReadPKI) Size() int { return overhead }

// Size implements [Request].
func (ListDistributionPoints) Size() int { return overhead }

// Size implements [Request].
func (CheckCredentials) Size() int { return overhead }

// Size implements [Request].
func (r SaveX509Credential) Size() int { return overhead + total(r.Chain) + len(r.SignaturePrivate) }

// Size implements [Request].
func (PutRotation) Size() int { return overhead }

// Size implements [Request].
func (ReadRotation) Size() int { return overhead }

// Size implements [Request].
func (ReadE2EIState) Size() int { return overhead }

// Size implements [Request].
func (r ReadGroupInfoState) Size() int { return overhead + len(r.GroupInfo) + len(r.RatchetTree) }

// Size implements [Request].
func (r ReadIdentities) Size() int { return overhead + total(r.Clients) + total(r.Users) }

// Size implements [Request].
func (r Identify) Size() int {
	return overhead + len(r.SignatureKey) + len(r.Credential.Identity) + total(r.Credential.Certificates)
}

func (InitClient) request()             {}
func (GenerateKeypairs) request()       {}
func (ListClients) request()            {}
func (ListConversations) request()      {}
func (AddCredential) request()          {}
func (RemoveCredential) request()       {}
func (ListCredentials) request()        {}
func (GenerateKeyPackages) request()    {}
func (ImportKeyPackage) request()       {}
func (ListKeyPackages) request()        {}
func (CountKeyPackages) request()       {}
func (DeleteKeyPackages) request()      {}
func (DeleteStaleKeyPackages) request() {}
func (PutPSK) request()                 {}
func (DeletePSK) request()              {}
func (SetData) request()                {}
func (ReadData) request()               {}
func (Begin) request()                  {}
func (Touch) request()                  {}
func (Finish) request()                 {}
func (Abort) request()                  {}
func (CreateConversation) request()     {}
func (ProcessWelcome) request()         {}
func (JoinByExternalCommit) request()   {}
func (ProposeJoin) request()            {}
func (EncryptMessage) request()         {}
func (DecryptMessage) request()         {}
func (DecryptMessages) request()        {}
func (AddMembers) request()             {}
func (RemoveMembers) request()          {}
func (UpdateKeyMaterial) request()      {}
func (SetCredential) request()          {}
func (CommitPendingProposals) request() {}
func (EnableHistorySharing) request()   {}
func (DisableHistorySharing) request()  {}
func (ProposeAdd) request()             {}
func (ProposeRemove) request()          {}
func (ProposePSK) request()             {}
func (ProposeUpdate) request()          {}
func (ClearPendingProposal) request()   {}
func (DropInDoubt) request()            {}
func (WipeConversation) request()       {}
func (MarkAsChildOf) request()          {}
func (ReadConversation) request()       {}
func (ListMembers) request()            {}
func (ExportSecret) request()           {}
func (ExportGroupInfo) request()        {}
func (RegisterTrustAnchor) request()    {}
func (RemoveTrustAnchor) request()      {}
func (RegisterIntermediate) request()   {}
func (RegisterCRL) request()            {}
func (ReadPKI) request()                {}
func (ListDistributionPoints) request() {}
func (CheckCredentials) request()       {}
func (SaveX509Credential) request()     {}
func (PutRotation) request()            {}
func (ReadRotation) request()           {}
func (ReadE2EIState) request()          {}
func (ReadGroupInfoState) request()     {}
func (ReadIdentities) request()         {}
func (Identify) request()               {}

func (ClientReady) reply()              {}
func (KeypairsGenerated) reply()        {}
func (ClientsListed) reply()            {}
func (ConversationsListed) reply()      {}
func (CredentialAdded) reply()          {}
func (CredentialRemoved) reply()        {}
func (CredentialsListed) reply()        {}
func (KeyPackagesGenerated) reply()     {}
func (KeyPackageImported) reply()       {}
func (KeyPackagesListed) reply()        {}
func (KeyPackagesCounted) reply()       {}
func (KeyPackagesDeleted) reply()       {}
func (PSKPut) reply()                   {}
func (PSKDeleted) reply()               {}
func (DataSet) reply()                  {}
func (DataRead) reply()                 {}
func (TransactionBegun) reply()         {}
func (Touched) reply()                  {}
func (Finished) reply()                 {}
func (Aborted) reply()                  {}
func (ConversationCreated) reply()      {}
func (ConversationJoined) reply()       {}
func (JoinProposed) reply()             {}
func (MessageEncrypted) reply()         {}
func (MessageDecrypted) reply()         {}
func (MessagesDecrypted) reply()        {}
func (CommitMerged) reply()             {}
func (ProposalCreated) reply()          {}
func (PendingProposalCleared) reply()   {}
func (InDoubtDropped) reply()           {}
func (ConversationWiped) reply()        {}
func (MarkedAsChild) reply()            {}
func (ConversationRead) reply()         {}
func (MembersListed) reply()            {}
func (SecretExported) reply()           {}
func (GroupInfoExported) reply()        {}
func (TrustAnchorRegistered) reply()    {}
func (TrustAnchorRemoved) reply()       {}
func (IntermediateRegistered) reply()   {}
func (CRLRegistered) reply()            {}
func (PKIRead) reply()                  {}
func (DistributionPointsListed) reply() {}
func (CredentialsChecked) reply()       {}
func (X509CredentialSaved) reply()      {}
func (RotationPut) reply()              {}
func (RotationRead) reply()             {}
func (E2EIStateRead) reply()            {}
func (IdentitiesRead) reply()           {}
func (Identified) reply()               {}
