package mlsgroup

import (
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Content authentication (RFC 9420 section 6.1), common to public and private
// messages. Group contexts come in encoded, as the group keeps them.

// noDo runs independent work in sequence, for callers that give no Do.
func noDo(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// sizeHint is about the encoded size of the content: exact enough that an
// application message is encoded without growing its buffer.
func (c *FramedContent) sizeHint() int {
	n := len(c.GroupID) + len(c.AuthenticatedData) + len(c.Application) + 32
	if c.ContentType != ContentTypeApplication {
		n += 512
	}
	switch {
	case c.commit != nil:
		n += len(c.commit)
	case c.Commit != nil:
		n += c.Commit.sizeHint()
	}
	return n
}

// appendTBS appends FramedContentTBS.
func (ac *AuthenticatedContent) appendTBS(b, groupContext []byte) []byte {
	b = appendUint16(b, uint16(ProtocolVersionMLS10))
	b = appendUint16(b, uint16(ac.WireFormat))
	b = ac.Content.append(b)
	switch ac.Content.Sender.Type {
	case SenderTypeMember, SenderTypeNewMemberCommit:
		b = append(b, groupContext...)
	}
	return b
}

// signed returns the bytes that the signature covers, SignContent with the
// FramedContentTBS in it. Their memory is as large as its size class, as a private
// message is made in it next.
func (ac *AuthenticatedContent) signed(groupContext []byte) []byte {
	const prefix = labelPrefix + labelFramedContentTBS
	b := slices.Grow([]byte(nil), 16+len(prefix)+ac.Content.sizeHint()+len(groupContext))
	b = appendOpaque(b, []byte(prefix))
	return appendVector(b, func(b []byte) []byte { return ac.appendTBS(b, groupContext) })
}

// tbsPieces returns FramedContentTBS in pieces, to be hashed one after the other:
// a commit as large as the group, or application data, is not copied for each hash
// that covers it.
func (ac *AuthenticatedContent) tbsPieces(groupContext []byte) [3][]byte {
	c := &ac.Content
	header := appendUint16(make([]byte, 0, 128+len(c.GroupID)+len(c.AuthenticatedData)), uint16(ProtocolVersionMLS10))
	header = c.appendHeader(appendUint16(header, uint16(ac.WireFormat)))
	body := c.commit
	switch {
	case c.ContentType == ContentTypeApplication:
		header, body = appendVarint(header, len(c.Application)), c.Application
	case body == nil:
		body = c.appendBody(make([]byte, 0, c.sizeHint()))
	}
	switch c.Sender.Type {
	case SenderTypeMember, SenderTypeNewMemberCommit:
		return [3][]byte{header, body, groupContext}
	}
	return [3][]byte{header, body, nil}
}

// sign sets the signature.
func (ac *AuthenticatedContent) sign(s *primitive.Suite, priv secret.Bytes, groupContext []byte) error {
	b := ac.signed(groupContext)
	sig, err := s.Sign(priv, b)
	if err != nil {
		return err
	}
	ac.Auth.Signature, ac.space = sig, b[:0]
	return nil
}

// verify checks the signature against the key that the sender's type selects.
func (ac *AuthenticatedContent) verify(s *primitive.Suite, signatureKey, groupContext []byte) error {
	return ac.verifyPieces(s, signatureKey, ac.tbsPieces(groupContext))
}

func (ac *AuthenticatedContent) verifyPieces(s *primitive.Suite, signatureKey []byte, tbs [3][]byte) error {
	pieces := signedPieces(tbs)
	if err := s.VerifyParts(signatureKey, ac.Auth.Signature, pieces[:]...); err != nil {
		return ac.signatureError()
	}
	return nil
}

// signedPieces returns the SignContent with a FramedContentTBS in it.
func signedPieces(tbs [3][]byte) [4][]byte {
	const label = labelPrefix + labelFramedContentTBS
	prefix := appendOpaque(make([]byte, 0, 8+len(label)), []byte(label))
	prefix = appendVarint(prefix, len(tbs[0])+len(tbs[1])+len(tbs[2]))
	return [4][]byte{prefix, tbs[0], tbs[1], tbs[2]}
}

// signatureError says whose signature is not valid.
func (ac *AuthenticatedContent) signatureError() error {
	c := &ac.Content
	return CheckMessageSignature.Errorf("content type %d, sender type %d, leaf %d", c.ContentType, c.Sender.Type, c.Sender.LeafIndex)
}

// checkSender holds content against what its sender may send (RFC 9420
// section 6.1).
func (c *FramedContent) checkSender() error {
	switch c.Sender.Type {
	case SenderTypeExternal:
		if c.ContentType != ContentTypeProposal {
			return CheckExternalContent.Errorf("content type %d", c.ContentType)
		}
		switch c.Proposal.Type {
		case ProposalTypeAdd, ProposalTypeRemove, ProposalTypePreSharedKey, ProposalTypeReInit,
			ProposalTypeGroupContextExtensions:
		default:
			return CheckExternalProposalType.Errorf("proposal type %d", c.Proposal.Type)
		}
	case SenderTypeNewMemberCommit:
		if c.ContentType != ContentTypeCommit {
			return CheckNewMemberCommitContent.Errorf("content type %d", c.ContentType)
		}
	case SenderTypeNewMemberProposal:
		if c.ContentType != ContentTypeProposal {
			return CheckNewMemberProposalContent.Errorf("content type %d", c.ContentType)
		}
		if c.Proposal.Type != ProposalTypeAdd {
			return CheckNewMemberProposalType.Errorf("proposal type %d", c.Proposal.Type)
		}
	}
	return nil
}
