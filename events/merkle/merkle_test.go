package merkle

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"
)

// The leaves and roots that Certificate Transparency's implementations are tested with.
var (
	knownLeaves = []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f"}
	knownRoots = []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
)

func TestRootsAreTheKnownOnes(t *testing.T) {
	var tree Tree
	for size, want := range knownRoots {
		if got := tree.Root(); hex.EncodeToString(got[:]) != want {
			t.Errorf("the root of %d leaves is %x and must be %s", size, got, want)
		}
		if size < len(knownLeaves) {
			leaf, err := hex.DecodeString(knownLeaves[size])
			if err != nil {
				t.Fatal(err)
			}
			tree.Add(LeafHash(leaf), nil)
		}
	}
}

// rfcRoot is RFC 6962's definition of the tree's hash, word for word (section 2.1).
func rfcRoot(leaves [][]byte) Hash {
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
		left, right := rfcRoot(leaves[:k]), rfcRoot(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
}

func someLeaves(n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = fmt.Appendf(nil, `{"key":"%d"}`, i)
	}
	return leaves
}

func TestATreeGrownFromAnyEdgeIsTheRFCsTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := someLeaves(rapid.IntRange(0, 600).Draw(t, "leaves"))
		resumeAt := rapid.IntRange(0, len(leaves)).Draw(t, "resume at")
		var tree Tree
		nodes := map[[2]uint64]Hash{}
		for i, leaf := range leaves {
			if i == resumeAt {
				var edge []Hash
				for _, n := range EdgeOf(uint64(i)) {
					edge = append(edge, nodes[[2]uint64{uint64(n.Level), n.Index}])
				}
				var err error
				if tree, err = Resume(uint64(i), edge); err != nil {
					t.Fatal(err)
				}
			}
			tree.Add(LeafHash(leaf), func(n Node) { nodes[[2]uint64{uint64(n.Level), n.Index}] = n.Hash })
		}
		if tree.Size() != uint64(len(leaves)) || tree.Root() != rfcRoot(leaves) {
			t.Fatalf("the root of %d leaves is %v and must be %v", len(leaves), tree.Root(), rfcRoot(leaves))
		}
		for at, hash := range nodes {
			first := at[1] << at[0]
			if want := rfcRoot(leaves[first : first+1<<at[0]]); hash != want {
				t.Fatalf("the node %v is %v and must be %v", at, hash, want)
			}
		}
	})
}

func TestFoldIsTheRootOfAPerfectTree(t *testing.T) {
	leaves := someLeaves(256)
	var hashes []Hash
	for _, leaf := range leaves {
		hashes = append(hashes, LeafHash(leaf))
	}
	for n := 1; n <= 256; n *= 2 {
		if got := Fold(hashes[:n]); got != rfcRoot(leaves[:n]) {
			t.Errorf("%d hashes fold to %v", n, got)
		}
	}
}

func aSigner(t testing.TB, from byte) *Signer {
	t.Helper()
	s, err := NewSigner(bytes.Repeat([]byte{from}, SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACheckpointIsWhatOthersRead(t *testing.T) {
	s := aSigner(t, 1)
	root := LeafHash([]byte("x"))
	signed := s.Sign(1, root)
	verifier, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		t.Fatalf("the note package does not open it: %v\n%s", err, signed)
	}
	want := Checkpoint{s.Origin(), 1, root}
	if opened.Text != want.Text() {
		t.Errorf("it says %q", opened.Text)
	}
	if got, err := OpenCheckpoint(signed, s.VerifierKey()+"\n"); err != nil || got != want {
		t.Errorf("it is read as %+v, %v", got, err)
	}
	if got, err := ParseCheckpoint(signed); err != nil || got != want {
		t.Errorf("it is parsed as %+v, %v", got, err)
	}
}

func TestACheckpointThatAWitnessHasSignedTooIsRead(t *testing.T) {
	s := aSigner(t, 1)
	secret, _, err := note.GenerateKey(rand.Reader, "witness.example/w")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(s.Sign(7, LeafHash(nil)), note.VerifierList(ours))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(opened, witness)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCheckpoint(cosigned, s.VerifierKey()); err != nil || got.Size != 7 {
		t.Errorf("it is read as %+v, %v", got, err)
	}
}

func TestWhatIsNoCheckpointOfThisKeyIsRefused(t *testing.T) {
	s, other := aSigner(t, 1), aSigner(t, 2)
	good := string(s.Sign(7, LeafHash(nil)))
	changed := func(old, after string) string { return strings.Replace(good, old, after, 1) }
	foreign := string(other.Sign(7, LeafHash(nil)))
	for name, c := range map[string]struct {
		signed string
		key    string
		want   error
	}{
		"another size":        {changed("\n7\n", "\n8\n"), s.VerifierKey(), ErrSignature},
		"another key":         {foreign, s.VerifierKey(), ErrSignature},
		"a key that is none":  {good, "truebond", ErrKey},
		"no text":             {"", s.VerifierKey(), ErrCheckpoint},
		"no signature":        {Checkpoint{"o", 1, Hash{}}.Text(), s.VerifierKey(), ErrCheckpoint},
		"a flipped signature": {good[:len(good)-6] + "AAAA=\n", s.VerifierKey(), ErrSignature},
		"far too long":        {good + strings.Repeat("x", CheckpointMax), s.VerifierKey(), ErrCheckpoint},
	} {
		if _, err := OpenCheckpoint([]byte(c.signed), c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "o\n1\n", "o\n01\nAAAA\n", "\n1\n" + LeafHash(nil).String() + "\n",
		"o\n-1\n" + LeafHash(nil).String() + "\n", "o\n1\nAAAA\n"} {
		if _, err := ParseCheckpoint([]byte(text)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func checkpointOf(leaves [][]byte) Checkpoint {
	return Checkpoint{"o", uint64(len(leaves)), rfcRoot(leaves)}
}

func check(leaves [][]byte, against ...Checkpoint) error {
	c, err := NewChecker(against...)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		if err := c.Add(leaf); err != nil {
			return err
		}
	}
	return c.Done()
}

func TestACheckerFindsWhatWasDone(t *testing.T) {
	leaves := someLeaves(20)
	kept := []Checkpoint{checkpointOf(leaves[:0]), checkpointOf(leaves[:8]), checkpointOf(leaves[:16])}
	if err := check(leaves, kept...); err != nil {
		t.Fatalf("a log that has grown: %v", err)
	}
	with := func(change func([][]byte) [][]byte) [][]byte { return change(append([][]byte(nil), leaves...)) }
	for name, c := range map[string]struct {
		leaves [][]byte
		want   error
		says   string
	}{
		"changed": {with(func(l [][]byte) [][]byte { l[9] = []byte("x"); return l }), ErrRoot, "events 9 to 16"},
		"dropped": {with(func(l [][]byte) [][]byte { return append(l[:3], l[4:]...) }), ErrRoot, "events 1 to 8"},
		"swapped": {with(func(l [][]byte) [][]byte { l[9], l[10] = l[10], l[9]; return l }), ErrRoot, "events 9 to 16"},
		"cut":     {leaves[:12], ErrShort, "12 events, and 16"},
	} {
		if err := check(c.leaves, kept...); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check(with(func(l [][]byte) [][]byte { l[17] = []byte("x"); return l }), kept...); err != nil {
		t.Errorf("what was never signed cannot be told: %v", err)
	}
	other := Checkpoint{Size: 8, Root: LeafHash([]byte("x"))}
	err := check(leaves, kept[1], other, kept[2])
	if !errors.Is(err, ErrRoot) || !strings.Contains(err.Error(), "the same number of other events was signed") {
		t.Errorf("two checkpoints of as many events, and not of the same: %v", err)
	}
	if _, err := NewChecker(kept[2], kept[1]); err == nil {
		t.Error("checkpoints out of order are taken")
	}
}

func TestAKeySignsForOneLog(t *testing.T) {
	secret, key, err := note.GenerateKey(rand.Reader, "truebond/one")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]error{"truebond/one": nil, "truebond/two": ErrSignature} {
		signed, err := note.Sign(&note.Note{Text: Checkpoint{origin, 7, LeafHash(nil)}.Text()}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCheckpoint(signed, key); !errors.Is(err, want) {
			t.Errorf("a checkpoint of %s: %v", origin, err)
		}
	}
}
