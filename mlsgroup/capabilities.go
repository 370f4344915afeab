package mlsgroup

import "slices"

// defaultExtension tells whether a type need not, and must not, be listed in
// capabilities (RFC 9420 section 7.2).
func defaultExtension(t ExtensionType) bool {
	return t >= ExtensionTypeApplicationID && t <= ExtensionTypeExternalSenders
}

// defaultProposal is defaultExtension for proposals. A type that is not a
// default one cannot be read by this package at all.
func defaultProposal(t ProposalType) bool {
	return t >= ProposalTypeAdd && t <= ProposalTypeGroupContextExtensions
}

// greaseValue tells whether v is reserved by RFC 9420 section 13.5.
func greaseValue(v uint16) bool { return v>>8 == v&0xff && v&0x0f == 0x0a && v != 0xfafa }

func (c *Capabilities) extension(t ExtensionType) bool {
	return defaultExtension(t) || slices.Contains(c.Extensions, t)
}

func (c *Capabilities) proposal(t ProposalType) bool {
	return defaultProposal(t) || slices.Contains(c.Proposals, t)
}

func (c *Capabilities) credential(t CredentialType) bool { return slices.Contains(c.Credentials, t) }

// meets tells whether c lists everything that rc requires; rc may be nil.
func (c *Capabilities) meets(rc *RequiredCapabilities) bool {
	if rc == nil {
		return true
	}
	for _, t := range rc.Extensions {
		if !c.extension(t) {
			return false
		}
	}
	for _, t := range rc.Proposals {
		if !c.proposal(t) {
			return false
		}
	}
	for _, t := range rc.Credentials {
		if !c.credential(t) {
			return false
		}
	}
	return true
}

// unsupported returns the first type of the list that c does not support.
func (c *Capabilities) unsupported(es Extensions) (ExtensionType, bool) {
	for i := range es {
		if !c.extension(es[i].Type) {
			return es[i].Type, true
		}
	}
	return 0, false
}

// checkOwn refuses capabilities of ours that list what must not be listed.
func (c *Capabilities) checkOwn() error {
	for _, t := range c.Extensions {
		if defaultExtension(t) {
			return CheckCapabilitiesDefault.Errorf("extension type 0x%04x", uint16(t))
		}
	}
	for _, t := range c.Proposals {
		if defaultProposal(t) {
			return CheckCapabilitiesDefault.Errorf("proposal type 0x%04x", uint16(t))
		}
	}
	return nil
}

// checkOwn refuses an extension list of ours, for a group context or elsewhere,
// that must not be sent: a type twice, a GREASE value in a group context, or
// more entries than this package reads.
func (es Extensions) checkOwn(group bool) error {
	for i := range es {
		if _, twice := es[:i].find(es[i].Type); twice {
			return CheckExtensionTwice.Errorf("extension type 0x%04x", uint16(es[i].Type))
		}
		if group && greaseValue(uint16(es[i].Type)) {
			return CheckGREASE.Errorf("extension type 0x%04x in a group context", uint16(es[i].Type))
		}
	}
	if len(es) > maxExtensions {
		return errTooManyExtensions
	}
	return nil
}
