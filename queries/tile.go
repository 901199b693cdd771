package queries

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/invopop/validation"

	"truebond/events/merkle"
	"truebond/ledger"
)

// HashTile is a tile of the tree, all of which the last checkpoint covers.
func (s *Service) HashTile(ctx context.Context, in TileOf) (Raw, error) {
	n, width, err := s.tile(in.Level, in.Index)
	if err != nil {
		return Raw{}, err
	}
	tile, err := s.Tree.Tile(in.Level, n, width)
	return Raw{Body: tile, ForEver: true}, ledger.Unavailable(ctx, err)
}

// EntryTile is events one after the other, each behind its length in two bytes.
func (s *Service) EntryTile(ctx context.Context, in EntriesOf) (Raw, error) {
	n, width, err := s.tile(0, in.Index)
	if err != nil {
		return Raw{}, err
	}
	bodies, err := s.Bodies.ReadBodies(ctx, n*merkle.TileWidth, width)
	if err != nil {
		return Raw{}, ledger.Unavailable(ctx, err)
	}
	var bundle []byte
	for i, body := range bodies {
		if len(body) > math.MaxUint16 {
			return Raw{}, ledger.Refuse(codeEntryTooLong,
				"Event %d is too long for a tile of entries. Read the events one by one.", n*merkle.TileWidth+uint64(i)+1)
		}
		bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(body)))
		bundle = append(bundle, body...)
	}
	return Raw{Body: bundle}, nil
}

// tile finds a tile that the last checkpoint covers.
func (s *Service) tile(level int, path string) (index uint64, width int, err error) {
	signed, err := s.signed()
	if err != nil {
		return 0, 0, err
	}
	if index, width, err = merkle.ParseTile(path); err != nil {
		return 0, 0, err // Validate has seen it
	}
	if !merkle.HasTile(signed.Size, level, index, width) {
		return 0, 0, ledger.ErrNotFound
	}
	return index, width, nil
}

const tileLevelMax = 63 // that a tile's name may have; no tree is so high

// TileOf names a tile as C2SP's tlog-tiles does.
type TileOf struct {
	// 0: hashes of events.
	Level int `param:"level" minimum:"0" maximum:"63"`
	// x001/x234/067, or x001/x234/067.p/5 for the first 5 of its hashes.
	Index string `param:"index"`
}

func (in TileOf) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Level, validation.Min(0), validation.Max(tileLevelMax)),
		validation.Field(&in.Index, tilePath))
}

// EntriesOf names a tile of entries.
type EntriesOf struct {
	Index string `param:"index"` // x001/x234/067, or x001/x234/067.p/5 for the first 5 of its events
}

func (in EntriesOf) Validate() error {
	return validation.ValidateStruct(&in, validation.Field(&in.Index, tilePath))
}

var tilePath = validation.By(func(value any) error {
	path, _ := value.(string)
	_, _, err := merkle.ParseTile(path)
	return err
})
