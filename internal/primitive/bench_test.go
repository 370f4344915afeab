package primitive

import (
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func benchSuites(b *testing.B, f func(b *testing.B, s *Suite)) {
	for i := range suites {
		b.Run(fmt.Sprintf("suite%d", i+1), func(b *testing.B) {
			b.ReportAllocs()
			f(b, &suites[i])
		})
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func BenchmarkExpandInto(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		prk, info := material("prk", s.HashSize()), material("info", 30)
		out := make([]byte, s.HashSize())
		for b.Loop() {
			if err := s.ExpandInto(out, prk, info); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		data, out := material("data", 400), make([]byte, 0, 64)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			s.Hash(out, data)
		}
	})
}

func BenchmarkMAC(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		key, data, out := material("key", s.HashSize()), material("data", 400), make([]byte, 0, 64)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			s.MAC(out, key, data)
		}
	})
}

func BenchmarkAEAD(b *testing.B) {
	for _, n := range []int{100, 1 << 10, 64 << 10} {
		for _, id := range []uint16{1, 3, 4} {
			s, _ := Lookup(id)
			key, nonce := secret.Bytes(material("key", s.KeySize())), secret.Bytes(material("nonce", s.NonceSize()))
			plain, aad := make([]byte, n), material("aad", 40)
			ct := must(s.SealAEAD(nil, key, nonce, aad, plain))(b)
			buf := make([]byte, 0, len(ct))
			b.Run(fmt.Sprintf("seal/suite%d/%d", id, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					must(s.SealAEAD(buf, key, nonce, aad, plain))(b)
				}
			})
			b.Run(fmt.Sprintf("open/suite%d/%d", id, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					must(s.OpenAEAD(buf, key, nonce, aad, ct))(b)
				}
			})
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, form := range []string{"stored", "expanded"} {
		b.Run(form, func(b *testing.B) {
			benchSuites(b, func(b *testing.B, s *Suite) {
				priv, _, err := s.GenerateSignatureKey(seedFor(s, "signer"))
				if err != nil {
					b.Fatal(err)
				}
				if form == "expanded" {
					priv = must(s.ExpandSignatureKey(priv))(b)
				}
				message := material("message", 400)
				for b.Loop() {
					must(s.Sign(priv, message))(b)
				}
			})
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		v := signed(b, s, 1, 1)[0]
		for b.Loop() {
			if err := s.Verify(v.pub, v.message, v.sig); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerificationKey(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		v := signed(b, s, 1, 1)[0]
		key := s.VerificationKey(v.pub)
		b.Run("make", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.VerificationKey(v.pub)
			}
		})
		b.Run("verify", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := key.VerifyParts(v.sig, v.message); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// signed returns n signatures of 400-byte messages by some signers.
func signed(b *testing.B, s *Suite, n, signers int) []signature {
	b.Helper()
	vs := make([]signature, n)
	for i := range vs {
		priv, pub, err := s.GenerateSignatureKey(seedFor(s, fmt.Sprint("signer", i%signers)))
		if err != nil {
			b.Fatal(err)
		}
		message := material(fmt.Sprint("message", i), 400)
		vs[i] = signature{pub, message, must(s.Sign(priv, message))(b)}
	}
	return vs
}

func BenchmarkVerifyBatch(b *testing.B) {
	s, _ := Lookup(1)
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 256} {
		for _, signers := range []int{1, n} {
			vs := make([]Verification, n)
			keys := make(map[string]*VerificationKey)
			for i, v := range signed(b, s, n, signers) {
				if keys[string(v.pub)] == nil {
					keys[string(v.pub)] = s.VerificationKey(v.pub)
				}
				vs[i] = Verification{Key: keys[string(v.pub)], Sig: v.sig, Message: pieces(v.message)}
			}
			b.Run(fmt.Sprintf("%d/signers%d", n, signers), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for _, err := range VerifyBatch(vs) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sig")
			})
		}
	}
}

// BenchmarkVerifyEach verifies signatures of one signer each, and of one for two,
// beside as many one by one.
func BenchmarkVerifyEach(b *testing.B) {
	s, _ := Lookup(1)
	for _, n := range []int{strictMin, 500, 1000, 2000} {
		for _, each := range []int{1, 2} {
			list := make([]Signed, n)
			for i, v := range signed(b, s, n/each, n/each) {
				for j := range each {
					list[i*each+j] = Signed{v.pub, v.message, v.sig}
				}
			}
			name := fmt.Sprintf("%d/signers%d", n, n/each)
			b.Run(name+"/together", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !strictHolds(list, inSequence) {
						b.Fatal("the signatures do not hold")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sig")
			})
			b.Run(name+"/one-by-one", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for i := 0; i < n; i += each {
						for _, err := range s.VerifyEach(list[i:i+each], nil) {
							if err != nil {
								b.Fatal(err)
							}
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sig")
			})
		}
	}
}

func BenchmarkHPKE(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		priv, pub, err := s.DeriveKeyPair(seedFor(s, "receiver"))
		if err != nil {
			b.Fatal(err)
		}
		info, plain, seed := material("info", 300), material("plain", s.HashSize()), seedFor(s, "seal")
		enc, ct, err := s.Seal(pub, info, nil, plain, seed)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("derive", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.DeriveKeyPair(seed); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("seal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.Seal(pub, info, nil, plain, seed); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("open", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(s.Open(priv, enc, info, nil, ct))(b)
			}
		})
		b.Run("open-with-public-key", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(s.OpenWithPublicKey(priv, pub, enc, info, nil, ct))(b)
			}
		})
	})
}
