package primitive

import (
	"bytes"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
)

// repeat returns n times b, framed by the bytes a point's coordinate starts
// and ends with. It keeps the tables below readable.
func repeat(first []byte, b byte, n int, last ...byte) []byte {
	out := append([]byte(nil), first...)
	out = append(out, bytes.Repeat([]byte{b}, n)...)
	return append(out, last...)
}

// x25519SmallOrder is every encoding, top bit cleared, of a u coordinate of
// small order on Curve25519 or its twist: 0, 1, the two of order 8, p-1, and
// the unreduced p and p+1.
var x25519SmallOrder = [...]x25519.Key{
	x25519.Key(repeat(nil, 0, 32)),
	x25519.Key(repeat([]byte{1}, 0, 31)),
	{
		0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
	},
	{
		0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
	},
	x25519.Key(repeat([]byte{0xec}, 0xff, 30, 0x7f)),
	x25519.Key(repeat([]byte{0xed}, 0xff, 30, 0x7f)),
	x25519.Key(repeat([]byte{0xee}, 0xff, 30, 0x7f)),
}

// x448SmallOrder is every encoding of a u coordinate of small order on
// Curve448 or its twist: 0, 1, p-1, and the unreduced p and p+1, where
// p = 2^448 - 2^224 - 1.
var x448SmallOrder = [...]x448.Key{
	x448.Key(repeat(nil, 0, 56)),
	x448.Key(repeat([]byte{1}, 0, 55)),
	x448.Key(append(repeat([]byte{0xfe}, 0xff, 27), repeat([]byte{0xfe}, 0xff, 27)...)),
	x448.Key(append(repeat([]byte{0xff}, 0xff, 27), repeat([]byte{0xfe}, 0xff, 27)...)),
	x448.Key(append(repeat(nil, 0, 28), repeat(nil, 0xff, 28)...)),
}

// ed25519SmallOrder is the y coordinates, sign bit cleared, of the eight points
// of small order of edwards25519: 0, 1, p-1 and the two of order 8.
var ed25519SmallOrder = [...][32]byte{
	[32]byte(repeat(nil, 0, 32)),
	[32]byte(repeat([]byte{1}, 0, 31)),
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
	[32]byte(repeat([]byte{0xec}, 0xff, 30, 0x7f)),
}

// ed448SmallOrder is the encodings, sign bit cleared, of the four points of
// small order of edwards448: y = 0, 1, p-1, and the unreduced p and p+1.
var ed448SmallOrder = [...][57]byte{
	[57]byte(repeat(nil, 0, 57)),
	[57]byte(repeat([]byte{1}, 0, 56)),
	[57]byte(append(x448SmallOrder[2][:], 0)),
	[57]byte(append(x448SmallOrder[3][:], 0)),
	[57]byte(append(x448SmallOrder[4][:], 0)),
}

// ed25519Bad tells whether a point's encoding is not canonical or of small
// order. It looks at public bytes, so its time may depend on them.
func ed25519Bad(point *[32]byte) bool {
	y := *point
	y[31] &= 0x7f
	for i := range ed25519SmallOrder {
		if y == ed25519SmallOrder[i] {
			return true
		}
	}
	// Unreduced: p = 2^255 - 19 up to 2^255 - 1.
	if y[0] < 0xed || y[31] != 0x7f {
		return false
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return false
		}
	}
	return true
}
