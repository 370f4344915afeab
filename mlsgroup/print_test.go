package mlsgroup

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(Add), new(appliedProposals), new(AuthenticatedContent), new(builtCommit), new(builtNode), new(Capabilities),
		new(Change), new(CheckError), new(Commit), new(commitBuild), new(CommitBundle), new(CommitEffect),
		new(CommitOptions), new(cover), new(createdPath), new(Credential), new(derivedKey), new(EncryptedGroupSecrets),
		new(EpochError), new(epochSecrets), new(epochView), new(errMissingChunk), new(Extension), new(ExternalInit),
		new(ExternalJoinOptions), new(ExternalProposalOptions), new(ExternalSender), new(FramedContent), new(FramedContentAuth), new(Group),
		new(GroupContext), new(GroupContextExtensions), new(GroupInfo), new(groupLink), new(GroupOptions), new(GroupSecrets),
		new(head), new(HPKECiphertext), new(HPKECiphertexts), new(Input), new(joiner), new(JoinOptions), new(KeyPackage), new(lastCapabilities),
		new(KeyPackageBundle), new(KeyPackageOptions), new(keySet), new(LeafChange), new(LeafNode), new(leafRules), new(leafSignature),
		new(Lifetime), new(Lineage), new(listedProposal), new(listedUpdate), new(listRules), new(Loaded),
		new(loadedLeaf), new(Member), new(messageKey), new(MessageKey), new(missingSecret), new(MLSMessage), new(Need),
		new(newLeaf), new(nodeKey), new(nodeReader), new(nodeRecord), new(originalHash), new(Outbound), new(OwnCommit),
		new(parentHashVerifier), new(ParentNode), new(Part), new(pastEpoch), new(pastLeaf), new(pathKeys),
		new(pathOptions), new(pathSecret), new(pathStep), new(pendingProposal), new(PendingProposal), new(PreSharedKey), new(preSharedKey), new(PreSharedKeyID),
		new(PrivateMessage), new(profileRules), new(Proposal), new(proposalCache), new(proposalList), new(ProposalOptions),
		new(ProposalOrRef), new(PSKError), new(PublicMessage), new(ratchet), new(ratchetStep), new(RatchetTree),
		new(reader), new(ReceiveConfig), new(Received), new(Record), new(RecordRange), new(ReInit),
		new(Remove), new(RequiredCapabilities), new(SealedMessage), new(secretChange), new(secretStep), new(secretTree),
		new(Sender), new(senderData), new(Signer), new(signer), new(signers), new(skipChunk), new(Successor), new(SuccessorOptions),
		new(sweeper), new(sweptProposals), new(Transition), new(treeBuilder), new(treeEdit), new(treeHasher),
		new(treeKeys), new(treeNode), new(typeCounts), new(UnknownProposalError), new(UnknownProposalTypeError), new(UnverifiedMessage), new(Update), new(UpdatePath), new(UpdatePathNode),
		new(slab[cover]), new(vec[cover]), new(vecEdit[cover]), new(Welcome),
	}, nil, "")
	secrettest.Silent(t, reader{b: []byte(secrettest.Marker)}, []byte(secrettest.Marker))
}
