package actors

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
	"github.com/conclave-mls/conclave/messages"
)

// TestSecretsDoNotPrint fills every type of the package and looks for secrets in
// all that fmt, JSON and the loggers make of it.
func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{
		new(abort), new(adopt), new(adopted), new(cancelTask), new(claim), new(client),
		new(clientActor), new(clientConfig), new(closeActor), new(contention), new(conversation),
		new(coordinator), new(coordinatorClose), new(credentialRecord), new(credentialUsed), new(directory),
		new(doom), new(drained), new(earlyMessage), new(edge), new(enlisted), new(entry),
		new(entryKey), new(event), new(events), new(evict), new(gate), new(generations),
		new(guard), new(history), new(holder), new(inbound), new(inflight), new(opened), new(opening), new(openers), new(join), new(keeper), new(keeperStage), new(keyPackageRecord), new(keyPackageTaken),
		new(namedGuard), new(need), new(needsHistory), new(Options), new(panicked), new(participant), new(place),
		new(unclaimEnrollment), new(pkiActor), new(pointer), new(pointChanges), new(notedPoint), new(putX509), new(registerChain), new(authentication), new(acceptAll), new(prepare), new(protoHost), new(protoRef), new(pskRead), new(pskValue), new(queue), new(room),
		new(readPSK), new(recordReader), new(requireAbsent), new(requireParent), new(resend), new(resendDue), new(resendResult),
		new(resource), new(result), new(rotate), new(run), new(sending), new(sendResult),
		new(settle), new(settleCommit), new(settled), new(spendKeyPackage), new(stage), new(state), new(table[int, *client]), new(stripe[int, *client]),
		new(published), new(heldAnswer), new(stepDone), new(storeFailed), new(System), new(takeKeyPackage), new(task), new(touchConversation), new(transaction),
		new(transactionActor), new(workers), new(transactionEnded), new(twoPhase), new(useCredential), new(view), new(vote), new(voting), new(waitGraph),
		new(wake), new(work), new(writer), new(session), new(sessionStage), new(reservation), new(encryptStep), new(envelopeMade),
		new(decryptStep), new(messageOpened), new(beginStep), new(adoptSession), new(sessionAdopted), new(deleteStep), new(readStep),
		new(readIdentity), new(identityRead), new(takePreKey), new(preKeyTaken), new(spendPreKey), new(adoptIdentity), new(adoptPreKey),
		new(enrollmentActor), new(openEnrollment), new(claimEnrollment), new(enrollmentClaimed), new(readExisting), new(putEnrollment), new(takeEnrollment), new(enrollmentTaken), new(dropJournal),
	}, []any{messages.EncryptMessage{}, messages.MessageDecrypted{}}, "")
}
