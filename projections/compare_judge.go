package projections

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// judge holds documents against what follows from the log, and gives the ids of those
// about which nothing can be said yet: they have changed since the position of the new
// table. While everything stands still, no document can have.
func (c *comparing) judge(ids []string, stored, built []Document, still bool) (changed []string) {
	liveOf, anewOf := byID(stored), byID(built)
	for _, id := range ids {
		live, isStored := liveOf[id]
		anew, isBuilt := anewOf[id]
		switch {
		case !isStored && !isBuilt:
			continue // it has come and gone
		case !still && (!isStored || live.Position > c.anew.position):
			changed = append(changed, id)
			continue
		case !isStored:
			c.found(Difference{ID: id, What: Lost, Built: anew.Position})
		case !isBuilt:
			c.found(Difference{ID: id, What: Extra, Stored: live.Position})
		case !sameDocument(live, anew):
			c.found(Difference{ID: id, What: Differs, Stored: live.Position, Built: anew.Position})
		}
		c.result.Documents++
	}
	return changed
}

func (c *comparing) found(d Difference) {
	c.result.Drift++
	if len(c.result.Differences) < differencesMax {
		c.result.Differences = append(c.result.Differences, d)
	}
}

func byID(docs []Document) map[string]Document {
	all := make(map[string]Document, len(docs))
	for _, d := range docs {
		all[d.ID] = d
	}
	return all
}

// sameDocument compares all that is stored, also what the view's program would not read.
// A store may change the order of fields.
func sameDocument(a, b Document) bool {
	if a.Position != b.Position {
		return false
	}
	if bytes.Equal(a.Body, b.Body) {
		return true
	}
	valueA, errA := jsonValue(a.Body)
	valueB, errB := jsonValue(b.Body)
	return errA == nil && errB == nil && reflect.DeepEqual(valueA, valueB)
}

func jsonValue(body []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}
