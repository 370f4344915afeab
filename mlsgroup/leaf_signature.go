package mlsgroup

import "github.com/conclave-mls/conclave/internal/primitive"

// Signatures of leaves and of key packages (RFC 9420 sections 7.2 and 10). The
// strict rule of SECURITY.md decides on each of them; those of a tree or of a
// commit are verified together because that is faster.

// leafSignature is a signature that is to be verified: of a leaf, or of a key
// package.
type leafSignature struct {
	primitive.Signed
	check Check     // what it means if it does not verify
	i     LeafIndex // place of a leaf
}

// signature returns the signature of a leaf that is to stand at i.
func (l *LeafNode) signature(groupID []byte, i LeafIndex) leafSignature {
	tbs := l.appendTBS(make([]byte, 0, 512), groupID, i)
	return leafSignature{
		Signed: primitive.Signed{Pub: l.SignatureKey, Message: labeled(labelLeafNodeTBS, tbs), Sig: l.Signature},
		check:  CheckLeafSignature, i: i,
	}
}

// signatures returns those of the leaf and of the key package, which are by one key.
func (kp *KeyPackage) signatures() []leafSignature {
	tbs := kp.appendTBS(make([]byte, 0, 768))
	return []leafSignature{kp.LeafNode.signature(nil, 0), {
		Signed: primitive.Signed{Pub: kp.LeafNode.SignatureKey, Message: labeled(labelKeyPackageTBS, tbs), Sig: kp.Signature},
		check:  CheckKeyPackageSignature,
	}}
}

// failed is the error of a signature that does not verify. No signature verifies
// with a malformed key, so that a valid one has to be decoded only once.
func (sg *leafSignature) failed(s *primitive.Suite) error {
	if err := s.CheckSignatureKey(sg.Pub); err != nil {
		return CheckSignatureKey.Errorf("%v", err)
	}
	if sg.check == CheckLeafSignature {
		return sg.check.Errorf("leaf %d", sg.i)
	}
	return sg.check.Errorf("signature does not verify")
}

// verifySignatures verifies those of one leaf or key package.
func verifySignatures(s *primitive.Suite, signatures []leafSignature) error {
	list := make([]primitive.Signed, len(signatures))
	for i := range signatures {
		list[i] = signatures[i].Signed
	}
	for i, err := range s.VerifyEach(list, nil) {
		if err != nil {
			return signatures[i].failed(s)
		}
	}
	return nil
}

// leafBlock is how many leaves are verified together. What is held of each for it, a
// kilobyte or so, is let go of with its block: the tree of a Welcome takes some
// megabytes beside itself however many leaves it has, and a bad leaf makes no more
// than a block be verified one by one. What verifying signatures together costs once
// for a list is 4 % of its time in a block of this size.
const leafBlock = 8192

// verifyLeaves verifies n leaves or key packages: first what form does, then the
// signatures that form returns, then what rest does. The error is that of the
// smallest index, and its first, so that the result does not depend on the order.
// Leaves of the blocks behind that one are not looked at.
func (in *Input) verifyLeaves(s *primitive.Suite, n int, form func(i int) ([]leafSignature, error), rest func(i int) error) error {
	return in.verifyBlocks(s, n, leafBlock, form, rest)
}

// verifyBlocks is verifyLeaves by blocks of some size.
func (in *Input) verifyBlocks(s *primitive.Suite, n, size int, form func(i int) ([]leafSignature, error), rest func(i int) error) error {
	for first := 0; first < n; first += size {
		if err := in.verifyBlock(s, first, min(first+size, n), form, rest); err != nil {
			return err
		}
	}
	return nil
}

// verifyBlock verifies the leaves from first up to, not including, end.
func (in *Input) verifyBlock(s *primitive.Suite, first, end int, form func(i int) ([]leafSignature, error), rest func(i int) error) error {
	n := end - first
	signatures, errs := make([][]leafSignature, n), make([]error, n)
	in.do(n, func(i int) { signatures[i], errs[i] = form(first + i) })
	all := make([]primitive.Signed, 0, 2*n)
	for i := range signatures {
		if errs[i] != nil {
			signatures[i] = nil
		}
		for k := range signatures[i] {
			all = append(all, signatures[i][k].Signed)
		}
	}
	verdicts := s.VerifyEach(all, in.do)
	for i := range signatures {
		for k := range signatures[i] {
			if verdicts[k] != nil && errs[i] == nil {
				errs[i] = signatures[i][k].failed(s)
			}
		}
		verdicts = verdicts[len(signatures[i]):]
	}
	return in.doErr(n, func(i int) error {
		if errs[i] != nil {
			return errs[i]
		}
		return rest(first + i)
	})
}
