package pki

// Bounds on what comes from outside, applied before memory is taken for it.
const (
	// MaxCertificateSize is how many bytes of DER one certificate may have.
	MaxCertificateSize = 16 << 10
	// MaxChainLength is how many certificates a chain may have, the leaf included.
	MaxChainLength = 16
	// MaxPEMSize is how many bytes a text with certificates may have.
	MaxPEMSize = 1 << 20
	// MaxCRLSize is how many bytes of DER one revocation list may have: some hundred thousand entries.
	MaxCRLSize = 4 << 20
	// MaxURLSize is how many bytes the address of a revocation list may have.
	MaxURLSize = 2 << 10
	// MaxTrustAnchors, MaxIntermediates and MaxCRLs are how many of each a snapshot holds.
	MaxTrustAnchors  = 64
	MaxIntermediates = 1024
	MaxCRLs          = 1024

	maxPEMCertificates   = 256
	maxDistributionPoint = 16   // addresses that count of one certificate
	maxCRLExtensions     = 64   // of a list; each is compared with those before it
	maxCRLsPerSigner     = 256  // new ones are refused beyond it; stored ones load all the same
	maxPaths             = 32   // from one certificate to anchors
	maxPathSteps         = 1024 // while looking for them
	maxSerialSize        = 64   // bytes; RFC 5280 allows 20
)
