package mlsgroup

import (
	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Public messages (RFC 9420 section 6.2).

// membershipMAC returns what the membership tag is taken over after the TBS:
// AuthenticatedContentTBM is both in a row.
func (ac *AuthenticatedContent) membershipMAC() []byte {
	b := make([]byte, 0, len(ac.Auth.Signature)+len(ac.Auth.ConfirmationTag)+8)
	return ac.Auth.append(b, ac.Content.ContentType)
}

// sealPublicMessage makes the message that carries signed content. The
// membership key may be nil when the sender is no member.
func sealPublicMessage(s *primitive.Suite, ac *AuthenticatedContent, membershipKey secret.Bytes, groupContext []byte) (*PublicMessage, error) {
	if ac.Content.ContentType == ContentTypeApplication {
		return nil, CheckApplicationPrivate.Errorf("application data in a public message")
	}
	if err := ac.Content.checkSender(); err != nil {
		return nil, err
	}
	m := &PublicMessage{Content: ac.Content, Auth: ac.Auth}
	if ac.Content.Sender.Type == SenderTypeMember {
		tbs := ac.tbsPieces(groupContext)
		m.MembershipTag = s.MAC(nil, membershipKey, tbs[0], tbs[1], tbs[2], ac.membershipMAC())
	}
	return m, nil
}

// openPublicMessage checks everything about a public message that needs no more
// than keys: what its sender may send, the membership tag and the signature.
// The signature key is that of the leaf, external sender, path or key package
// that the sender's type selects.
func openPublicMessage(in *Input, s *primitive.Suite, m *PublicMessage, membershipKey secret.Bytes, signatureKey, groupContext []byte) (*AuthenticatedContent, error) {
	if m.Content.ContentType == ContentTypeApplication {
		return nil, CheckApplicationPrivate.Errorf("application data in a public message")
	}
	if err := m.Content.checkSender(); err != nil {
		return nil, err
	}
	ac := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.Content, Auth: m.Auth}
	tbs := ac.tbsPieces(groupContext)
	tagged, err := true, error(nil)
	tag := func() {
		if m.Content.Sender.Type == SenderTypeMember {
			tagged = s.VerifyMAC(membershipKey, m.MembershipTag, tbs[0], tbs[1], tbs[2], ac.membershipMAC())
		}
	}
	// Who is no member cannot make the tag, and does not cost a signature.
	in.both(len(tbs[1]), tag, func() {
		if len(tbs[1]) >= bothBytes || tagged { // the first is when both run at once
			err = ac.verifyPieces(s, signatureKey, tbs)
		}
	})
	if !tagged {
		return nil, CheckMembershipTag.Errorf("sent by leaf %d", m.Content.Sender.LeafIndex)
	}
	if err != nil {
		return nil, err
	}
	return ac, nil
}
