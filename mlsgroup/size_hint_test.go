package mlsgroup

import "testing"

// TestSizeHints holds the hints that are to be no less than what is encoded against
// values whose every field has the longest header.
func TestSizeHints(t *testing.T) {
	big := make([]byte, 1<<14)
	extensions := Extensions{{Type: 1, Body: big}, {Type: 2, Body: big}}
	leaf := LeafNode{
		EncryptionKey: big, SignatureKey: big, Credential: X509Credential([][]byte{big, big}),
		Capabilities: Capabilities{
			Versions: make([]ProtocolVersion, 1<<14), CipherSuites: make([]CipherSuite, 1<<14), Extensions: make([]ExtensionType, 1<<14),
			Proposals: make([]ProposalType, 1<<14), Credentials: make([]CredentialType, 1<<14),
		},
		Source: LeafNodeSourceKeyPackage, Extensions: extensions, Signature: big,
	}
	update := leaf
	update.Source, update.ParentHash = LeafNodeSourceCommit, big
	kp := KeyPackage{InitKey: big, LeafNode: &leaf, Extensions: extensions, Signature: big}
	gi := GroupInfo{
		GroupContext: GroupContext{GroupID: big, TreeHash: big, ConfirmedTranscriptHash: big, Extensions: extensions},
		Extensions:   extensions, ConfirmationTag: big, Signature: big,
	}
	secrets := EncryptedGroupSecrets{NewMember: big, EncryptedGroupSecrets: HPKECiphertext{big, big}}
	welcome := Welcome{Secrets: []EncryptedGroupSecrets{secrets, secrets}, EncryptedGroupInfo: big}
	groupSecrets := GroupSecrets{
		JoinerSecret: big, PathSecret: big,
		PSKs: []PreSharedKeyID{{Type: PSKTypeExternal, ExternalID: big, Nonce: big}, {Type: PSKTypeResumption, GroupID: big, Nonce: big}},
	}
	effect := CommitEffect{
		Added: []Member{{Leaf: &leaf}}, Updated: []Member{{Leaf: &update}}, Removed: []Member{{Leaf: &leaf}},
		Committed: []ProposalRef{big, big}, ReInit: &ReInit{GroupID: big, Extensions: extensions},
	}
	past := pastEpoch{context: big, senderData: big, leaves: []pastLeaf{{leaf: &leaf}, {leaf: &update}, {}}}
	own := OwnCommit{
		Bundle: CommitBundle{big, big, big, big}, GroupID: big, ConfirmationTag: big, Base: Lineage{ConfirmedTranscriptHash: big},
		After: []Change{{Op: Put, Key: big, Value: big}, {Op: DeleteRange, Key: big, High: big}}, past: &past, effect: &effect,
	}
	for name, is := range map[string]struct{ size, hint int }{
		"leaf of a key package": {len(leaf.append(nil)), leaf.sizeHint()},
		"leaf of a commit":      {len(update.append(nil)), update.sizeHint()},
		"key package":           {len(kp.append(nil)), kp.sizeHint()},
		"group info":            {len(gi.append(nil)), gi.sizeHint()},
		"welcome":               {len(welcome.append(nil)), welcome.sizeHint()},
		"group secrets":         {len(groupSecrets.append(nil)), groupSecrets.sizeHint()},
		"external PSK":          {len(groupSecrets.PSKs[0].append(nil)), groupSecrets.PSKs[0].sizeHint()},
		"resumption PSK":        {len(groupSecrets.PSKs[1].append(nil)), groupSecrets.PSKs[1].sizeHint()},
		"effect":                {len(effect.append(nil)), effect.sizeHint()},
		"past epoch":            {len(past.record()), past.sizeHint()},
		"own commit":            {len(own.Marshal()), own.SizeHint()},
	} {
		if is.size > is.hint {
			t.Errorf("%s: %d bytes, the hint says %d", name, is.size, is.hint)
		}
	}
}
