package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"slices"
)

// DistributionPoints returns the addresses of revocation lists that the certificates of a chain name, each once, in their order: absolute URLs of
// http and https, the first 16 of each certificate. It is nil if there are none. Only the first certificate has to parse.
func DistributionPoints(chain [][]byte) ([]string, error) {
	var points []string
	for i, der := range chain[:min(len(chain), MaxChainLength)] {
		c, err := parseCertificate(der)
		if err != nil {
			if i == 0 {
				return nil, err
			}
			continue
		}
		for _, u := range distributionPoints(c) {
			if !slices.Contains(points, u) {
				points = append(points, u)
			}
		}
	}
	return points, nil
}

// distributionPoints returns the addresses in one certificate.
func distributionPoints(c *x509.Certificate) []string {
	var points []string
	for _, u := range c.CRLDistributionPoints {
		if len(points) < maxDistributionPoint && fetchable(u) {
			points = append(points, u)
		}
	}
	return points
}

// fetchable tells whether a list may be had from an address.
func fetchable(s string) bool {
	if len(s) > MaxURLSize {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// NewDistributionPoints returns the addresses that the certificates of chains name (see [DistributionPoints]) and from which the snapshot has no list
// yet. As in CoreCrypto the result is nil if they name none at all, and empty if all are known. Certificates that do not parse name nothing, and of
// those behind a leaf only the authorities of the snapshot do: nobody has verified the others, so their addresses are whatever a member likes.
func (s *Snapshot) NewDistributionPoints(chains ...[][]byte) []string {
	var fresh []string
	seen := make(map[string]bool)
	for _, chain := range chains {
		for i, der := range chain[:min(len(chain), MaxChainLength)] {
			for _, u := range s.pointsIn(der, i == 0) {
				if seen[u] {
					continue
				}
				seen[u] = true
				if !slices.ContainsFunc(s.crls, func(l *crl) bool { return l.url == u }) {
					fresh = append(fresh, u)
				}
			}
		}
	}
	if fresh == nil && len(seen) > 0 {
		fresh = []string{}
	}
	return fresh
}

// pointsIn returns the addresses in a certificate that is an authority of the snapshot or a leaf. It parses only a leaf that is not remembered.
func (s *Snapshot) pointsIn(der []byte, leaf bool) []string {
	if len(der) > MaxCertificateSize {
		return nil
	}
	id := sha256.Sum256(der)
	if i, found := slices.BinarySearchFunc(s.intermediates, id, func(a *authority, id [sha256.Size]byte) int { return bytes.Compare(a.id[:], id[:]) }); found {
		return s.intermediates[i].facts.points
	}
	if i := slices.IndexFunc(s.anchors, func(a *authority) bool { return a.id == id }); i >= 0 {
		return s.anchors[i].facts.points
	}
	if !leaf {
		return nil
	}
	if j := s.memory.recall(memoryKey{id, s.digest}); j != nil {
		return j.cert.points
	}
	c, err := parseCertificate(der)
	if err != nil {
		return nil
	}
	return distributionPoints(c)
}
