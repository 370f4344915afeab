package messages

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(Abort), new(Aborted), new(AddCredential), new(AddMembers), new(Address), new(Begin),
		new(ClearPendingProposal), new(ClientEntry), new(ClientReady), new(ClientsListed), new(CommitBundle), new(CommitInDoubt),
		new(CommitMerged), new(CommitPendingProposals), new(CommitSettled), new(ConversationCreated), new(ConversationJoined), new(ConversationRead),
		new(ConversationsListed), new(ConversationWiped), new(CountKeyPackages), new(CreateConversation), new(CredentialAdded), new(CredentialEntry),
		new(CredentialInUse), new(CredentialRemoved), new(CredentialsListed), new(DataRead), new(DataSet), new(DecryptMessage), new(DecryptMessages), new(MessagesDecrypted), new(ProposePSK), new(DecryptResult),
		new(DeleteKeyPackages), new(DeleteStaleKeyPackages), new(DeletePSK), new(DisableHistorySharing), new(DropInDoubt), new(EnableHistorySharing), new(HistoryClientCreated), new(EncryptMessage), new(GenerateKeypairs), new(Keypair), new(KeypairsGenerated), new(EpochChanged), new(ExportGroupInfo),
		new(ExportSecret), new(FinalConversation), new(Finish), new(Finished), new(GenerateKeyPackages), new(GroupInfoExported),
		new(ImportKeyPackage), new(InDoubtDropped), new(InitClient), new(JoinByExternalCommit), new(JoinProposed), new(ProposeJoin), new(KeyPackageEntry), new(KeyPackageImported),
		new(KeyPackagesCounted), new(KeyPackagesDeleted), new(KeyPackagesGenerated), new(KeyPackagesListed), new(ListClients), new(ListConversations),
		new(ListCredentials), new(ListKeyPackages), new(ListMembers), new(Member), new(MembersListed), new(MessageDecrypted),
		new(MarkAsChildOf), new(MarkedAsChild), new(MessageEncrypted), new(MessageRejected), new(Observer), new(PendingProposalCleared), new(ProcessWelcome), new(ProposalCreated),
		new(ProposeAdd), new(ProposeRemove), new(ProposeUpdate), new(PSKDeleted), new(PSKPut), new(PutPSK),
		new(ReadConversation), new(ReadData), new(Released), new(RemoveCredential), new(RemoveMembers),
		new(SecretExported), new(Sender), new(SetCredential), new(SetData), new(Step), new(Touch),
		new(Touched), new(TransactionBegun), new(TransactionFailed), new(transactionKey), new(UpdateKeyMaterial), new(Verdict),
		new(WipeConversation), new(InitProteus), new(ProteusReady), new(ReadProteus), new(ProteusRead), new(CreatePreKey), new(PreKeyCreated),
		new(BeginSession), new(SessionBegun), new(DecryptProteus), new(ProteusDecrypted), new(EncryptProteus), new(ProteusEncrypted),
		new(DeleteSession), new(SessionDeleted), new(ReadSession), new(SessionRead), new(MigrateCryptobox), new(CryptoboxMigrated),
		new(RegisterTrustAnchor), new(TrustAnchorRegistered), new(RemoveTrustAnchor), new(TrustAnchorRemoved), new(RegisterIntermediate),
		new(IntermediateRegistered), new(RegisterCRL), new(CRLRegistered), new(ReadPKI), new(PKIRead),
		new(ListDistributionPoints), new(DistributionPointsListed), new(CheckCredentials), new(CredentialsChecked), new(CheckedCredential),
		new(SaveX509Credential), new(X509CredentialSaved), new(Rotation), new(PutRotation), new(RotationPut), new(ReadRotation), new(RotationRead),
		new(WireIdentity), new(ReadE2EIState), new(ReadGroupInfoState), new(E2EIStateRead), new(ReadIdentities),
		new(IdentitiesRead), new(Identify), new(Identified), new(CryptoboxReport), new(CryptoboxSkipped),
		new(BeginEnrollment), new(EnrollmentBegun), new(StepEnrollment), new(EnrollmentStepped), new(StashEnrollment), new(EnrollmentStashed),
		new(PopEnrollment), new(InstallCertificate), new(EndEnrollment), new(EnrollmentEnded), new(MissingExistingClient),
	}, nil, "")
}
