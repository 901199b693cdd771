package checkpoints

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"truebond/events/merkle"
)

// What an event costs the tree, and a proof, in short logs and in long ones.
func BenchmarkTree(b *testing.B) {
	signer, err := merkle.NewSigner(bytes.Repeat([]byte{1}, merkle.SeedBytes))
	if err != nil {
		b.Fatal(err)
	}
	for _, length := range []int{1000, 1_000_000} {
		files, err := openHashes(filepath.Join(b.TempDir(), treeFolder))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = files.close() })
		t := &Tree{files: files, signer: signer}
		bodies := make([][]byte, 1000)
		for i := range bodies {
			bodies[i] = bytes.Repeat([]byte{byte(i)}, 600)
		}
		grow := func() {
			if err := t.add(bodies); err != nil {
				b.Fatal(err)
			}
			if err := t.files.flush(); err != nil {
				b.Fatal(err)
			}
		}
		for t.edge.Size() < uint64(length) {
			grow()
		}
		now := merkle.Checkpoint{Origin: signer.Origin(), Size: t.edge.Size(), Root: t.edge.Root()}
		t.signed.Store(&merkle.Signed{Checkpoint: now})
		b.Run(fmt.Sprintf("prove one of %d", length), func(b *testing.B) {
			for i := range b.N {
				if _, _, err := t.Inclusion(uint64(i*7919)%now.Size, now); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("sign an earlier one of %d", length), func(b *testing.B) {
			for i := range b.N {
				if _, err := t.At(uint64(i*7919)%(now.Size-1) + 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("add to %d", length), func(b *testing.B) {
			for range b.N/len(bodies) + 1 {
				grow()
			}
		})
	}
}
