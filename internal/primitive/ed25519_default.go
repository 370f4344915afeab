//go:build !conclave_std_ed25519

package primitive

// ed25519Engine has a concrete type so that calls cost no dispatch.
var ed25519Engine voiEd25519
