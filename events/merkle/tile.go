package merkle

import (
	"errors"
	"strconv"
	"strings"
)

// Tiles are as C2SP's tlog-tiles has them: of a tile's level L, hash i of tile N is the
// root of the perfect subtree with 2^(8·L) leaves whose index is 256·N+i.
const (
	TileHeight = 8 // levels of the tree in one tile
	TileWidth  = 1 << TileHeight
	TileLevels = 8 // of tiles: room for 2^63 leaves
)

// ErrTile says that a text does not name a tile.
var ErrTile = errors.New("must name a tile like 067, x001/x234/067 or 067.p/5")

const tileIndexMax = 1 << (63 - TileHeight)

// ParseTile reads a tile's index and width as they stand in its path. Each tile has one
// name only. Errors: ErrTile.
func ParseTile(path string) (index uint64, width int, err error) {
	width = TileWidth
	whole, part, partial := strings.Cut(path, ".p/")
	if partial {
		width, err = strconv.Atoi(part)
		if err != nil || width < 1 || width >= TileWidth || part != strconv.Itoa(width) {
			return 0, 0, ErrTile
		}
	}
	elements := strings.Split(whole, "/")
	for i, element := range elements {
		if i < len(elements)-1 {
			var more bool
			if element, more = strings.CutPrefix(element, "x"); !more || i == 0 && element == "000" {
				return 0, 0, ErrTile
			}
		}
		three, err := strconv.ParseUint(element, 10, 16)
		if err != nil || len(element) != 3 || index > tileIndexMax/1000 {
			return 0, 0, ErrTile
		}
		index = index*1000 + three
	}
	if index >= tileIndexMax {
		return 0, 0, ErrTile
	}
	return index, width, nil
}

// HasTile tells whether all of a tile is in a tree of a size.
func HasTile(size uint64, level int, index uint64, width int) bool {
	hashes := size >> (TileHeight * level)
	return level < TileLevels && index < tileIndexMax && index*TileWidth+uint64(width) <= hashes
}
