// Package merkle makes a log provable: a Merkle tree (RFC 6962) over the exact bytes of
// its events, and checkpoints of that tree, signed in C2SP's form. It is pure; where
// hashes and keys are kept is told elsewhere.
//
// A leaf is the body of one event. Its index is the event's position less one.
package merkle

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A Hash is SHA-256 of a leaf or of two hashes, as RFC 6962 tells them apart.
type Hash = tlog.Hash

// LeafHash is the hash of an event's exact bytes.
func LeafHash(body []byte) Hash { return tlog.RecordHash(body) }

// ParseHash reads a hash as JSON and checkpoints write it: base64.
func ParseHash(text string) (Hash, error) {
	var h Hash
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(decoded) != len(h) {
		return h, fmt.Errorf("%q is not a hash in base64", text)
	}
	copy(h[:], decoded)
	return h, nil
}

// A Tree is the right edge of a Merkle tree: all that is needed to grow it and to know
// its root, which is one hash for each bit that its size has set. The zero value is the
// empty tree.
type Tree struct {
	size  uint64
	nodes []Hash // of perfect subtrees, the greatest first
}

// A Node is the root of a perfect subtree: the Index-th of those with 2^Level leaves.
type Node struct {
	Level int
	Index uint64
	Hash  Hash
}

// Resume is a tree of a size, from the roots of its perfect subtrees, the greatest first
// (see EdgeOf).
func Resume(size uint64, nodes []Hash) (Tree, error) {
	if want := len(EdgeOf(size)); len(nodes) != want {
		return Tree{}, fmt.Errorf("a tree of %d leaves has an edge of %d hashes and not of %d", size, want, len(nodes))
	}
	return Tree{size: size, nodes: append([]Hash(nil), nodes...)}, nil
}

// EdgeOf names the perfect subtrees that a tree of a size is made of, the greatest first.
func EdgeOf(size uint64) []Node {
	var edge []Node
	for level := 63; level >= 0; level-- {
		if size>>level&1 == 1 {
			edge = append(edge, Node{Level: level, Index: size>>level - 1})
		}
	}
	return edge
}

// Size is how many leaves the tree has.
func (t *Tree) Size() uint64 { return t.size }

// Add adds a leaf. It tells of each perfect subtree that is complete by it, the leaf
// itself first; told may be nil.
func (t *Tree) Add(leaf Hash, told func(Node)) {
	n := Node{Level: 0, Index: t.size, Hash: leaf}
	for {
		if told != nil {
			told(n)
		}
		if n.Index&1 == 0 {
			break
		}
		left := t.nodes[len(t.nodes)-1]
		t.nodes = t.nodes[:len(t.nodes)-1]
		n = Node{Level: n.Level + 1, Index: n.Index >> 1, Hash: tlog.NodeHash(left, n.Hash)}
	}
	t.nodes = append(t.nodes, n.Hash)
	t.size++
}

// Root is the tree's hash.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	root := t.nodes[len(t.nodes)-1]
	for i := len(t.nodes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.nodes[i], root)
	}
	return root
}

// Fold is the root of the perfect subtree over hashes, whose number is a power of two.
func Fold(hashes []Hash) Hash {
	level := append([]Hash(nil), hashes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}
