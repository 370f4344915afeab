package mlsgroup

import "errors"

// join is what we do with the epoch's Welcome.
func (g *forgedGroup) join(w forgedWelcome) (*RatchetTree, error) {
	g.t.Helper()
	kp := g.added[LeafIndex(len(g.members)-1)]
	ref, err := kp.Ref()
	g.must(err)
	c := g.known[string(kp.LeafNode.SignatureKey)]
	welcome := g.welcome(w)
	gs, err := openGroupSecrets(g.s, welcome, ref, c.init)
	if err != nil {
		return nil, err
	}
	psk, err := newPSKSecret(g.s, g.psks)
	g.must(err)
	gi, err := openWelcomeGroupInfo(g.s, welcome, gs.JoinerSecret, psk)
	if err != nil {
		return nil, err
	}
	body, ok := gi.Extensions.find(ExtensionTypeRatchetTree)
	if !ok {
		return nil, errors.New("no tree")
	}
	tree, err := ParseRatchetTree(body)
	if err != nil {
		return nil, err
	}
	tree = tree.withHashes(g.s, nil)
	if string(tree.rootHash()) != string(gi.GroupContext.TreeHash) {
		return nil, CheckTreeHash.Errorf("")
	}
	if err := tree.verify(g.s); err != nil {
		return nil, err
	}
	_, err = tree.joinPath(g.s, LeafIndex(len(g.members)-1), c.leaf, gi.Signer, gs.PathSecret)
	return tree, err
}

// process is what we make of a message.
func (g *forgedGroup) process(message []byte) error {
	m, err := ParseMLSMessage(message)
	if err != nil {
		return err
	}
	if m.PublicMessage != nil {
		_, err = openPublicMessage(g.s, m.PublicMessage, g.epoch.membership, g.members[m.PublicMessage.Content.Sender.LeafIndex].signatureKey, g.encoded)
		return err
	}
	d, err := openSenderData(g.s, g.epoch.senderData, m.PrivateMessage)
	if err != nil {
		return err
	}
	tree, _ := newSecretTree(g.epoch.encryption.Clone(), g.tree.LeafCount())
	st, err := tree.take(g.s, d.leaf, ratchetOf(m.PrivateMessage.ContentType), d.generation, ReceiveConfig{}.withDefaults())
	if err != nil {
		return err
	}
	_, err = openPrivateMessage(g.s, m.PrivateMessage, d, st.key, g.members[d.leaf].signatureKey, g.encoded)
	return err
}
