package merkle

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func TestATileHasItsNameAndNoOther(t *testing.T) {
	for path, want := range map[string]struct {
		index uint64
		width int
	}{
		"000":                {0, 256},
		"067":                {67, 256},
		"x001/234":           {1234, 256},
		"x001/x234/067":      {1234067, 256},
		"x001/x234/067.p/5":  {1234067, 5},
		"000.p/255":          {0, 255},
		"x123/x000/000.p/10": {123000000, 10},
	} {
		index, width, err := ParseTile(path)
		if err != nil || index != want.index || width != want.width {
			t.Errorf("%s: %d, %d, %v", path, index, width, err)
		}
		if got := tilePath(index, width); got != path {
			t.Errorf("%s is written %s", path, got)
		}
	}
	for _, path := range []string{"", "0", "67", "1000", "x001", "x001/", "001/234", "x000/001", "000.p/0", "000.p/256",
		"000.p/05", "000.p/", "000.p/1.p/2", "000/", "/000", "+01", "x-01/000", "../000",
		"x999/x999/x999/x999/x999/x999/x999/999"} {
		if _, _, err := ParseTile(path); !errors.Is(err, ErrTile) {
			t.Errorf("%q is read: %v", path, err)
		}
	}
}

// Go's checksum database has the same tiles under other names.
func TestTilesAreThoseOfTlog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1<<40).Draw(t, "size")
		for _, tile := range tlog.NewTiles(TileHeight, 0, min(size, 1<<18)) {
			if !HasTile(uint64(min(size, 1<<18)), tile.L, uint64(tile.N), tile.W) {
				t.Fatalf("a tree of %d lacks %+v", size, tile)
			}
		}
		index := rapid.Uint64Range(0, tileIndexMax-1).Draw(t, "index")
		width := rapid.IntRange(1, TileWidth).Draw(t, "width")
		gotIndex, gotWidth, err := ParseTile(tilePath(index, width))
		if err != nil || gotIndex != index || gotWidth != width {
			t.Fatalf("%d, %d is read as %d, %d, %v", index, width, gotIndex, gotWidth, err)
		}
		level := rapid.IntRange(0, 4).Draw(t, "level")
		hashes := uint64(size) >> (TileHeight * level)
		if hashes > 0 && HasTile(uint64(size), level, hashes/TileWidth, int(hashes%TileWidth)+1) {
			t.Fatalf("a tree of %d has more than %d hashes on level %d", size, hashes, level)
		}
	})
}

// tilePath is what ParseTile reads.
func tilePath(index uint64, width int) string {
	digits := strconv.FormatUint(index, 10)
	digits = strings.Repeat("0", (3-len(digits)%3)%3) + digits
	var path strings.Builder
	for ; len(digits) > 3; digits = digits[3:] {
		path.WriteString("x" + digits[:3] + "/")
	}
	path.WriteString(digits)
	if width < TileWidth {
		path.WriteString(".p/" + strconv.Itoa(width))
	}
	return path.String()
}
