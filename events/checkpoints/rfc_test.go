package checkpoints

import (
	"crypto/sha256"

	"truebond/events/merkle"
)

// RFC 6962 and RFC 9162 in their own words, without a line of what is tested.

type hash = merkle.Hash

func node(left, right hash) hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// rfcRoot is the tree's hash (RFC 6962, section 2.1).
func rfcRoot(leaves [][]byte) hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return node(rfcRoot(leaves[:k]), rfcRoot(leaves[k:]))
	}
}

// rootFrom is where an inclusion proof leads (RFC 9162, section 2.1.3.2).
func rootFrom(leaf hash, index, size uint64, path []hash) hash {
	fn, sn, r := index, size-1, leaf
	for _, p := range path {
		if sn == 0 {
			return hash{}
		}
		if fn&1 == 1 || fn == sn {
			r = node(p, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = node(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 {
		return hash{}
	}
	return r
}

// isConsistent checks a consistency proof (RFC 9162, section 2.1.4.2).
func isConsistent(first, second uint64, firstRoot, secondRoot hash, path []hash) bool {
	if first == second {
		return len(path) == 0 && firstRoot == secondRoot
	}
	if first&(first-1) == 0 {
		path = append([]hash{firstRoot}, path...)
	}
	if len(path) == 0 {
		return false
	}
	fn, sn := first-1, second-1
	for fn&1 == 1 {
		fn, sn = fn>>1, sn>>1
	}
	fr, sr := path[0], path[0]
	for _, c := range path[1:] {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			fr, sr = node(c, fr), node(c, sr)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			sr = node(sr, c)
		}
		fn, sn = fn>>1, sn>>1
	}
	return fr == firstRoot && sr == secondRoot && sn == 0
}
