//go:build !race

// Package race tells tests whether they run under the race detector, so that the slow cipher suites can be thinned out there.
package race

// Enabled says whether the race detector is built in.
const Enabled = false
