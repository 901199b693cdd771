package projections

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A plan is what the tables of a store mean to a set of views.
type plan struct {
	front    uint64      // where the furthest live table is
	serving  []viewTable // live, of today's version, at front: folded on together
	behind   []viewTable // of today's version, have to be built up to front
	floor    uint64      // where the live table that is least far, and is not serving, is
	building []string    // views without a live table of today's version
	lacking  string      // a view without any table of today's version; empty if there is none
	needed   []Table     // of today's versions, those that exist and those that do not
	leftover []string    // tables that no view will ever use
}

// A viewTable is a table and the view that it is a build of.
type viewTable struct {
	view View
	Progress
}

// survey tells what tables there are mean to these views. It leaves out of account the
// tables of views that it does not know: a newer program may know them.
func survey(views []View, tables []Progress) plan {
	s := plan{floor: math.MaxUint64}
	var chosen []viewTable
	for _, v := range views {
		mine, live, lastBuild := tablesOf(v, tables)
		best := choose(v, mine)
		if best == nil {
			name := tableName(v, lastBuild+1)
			s.needed = append(s.needed, Table{Name: name, View: v.Name, Version: v.Version, Indexes: v.Indexes})
			s.lacking = v.Name
		} else {
			s.needed = append(s.needed, Table{Name: best.Name, View: v.Name, Version: v.Version, Indexes: v.Indexes})
			chosen = append(chosen, viewTable{v, *best})
		}
		if best == nil || !best.Live {
			s.building = append(s.building, v.Name)
		}
		if live != nil {
			s.front = max(s.front, live.Position)
		}
		if live != nil && live != best {
			s.floor = min(s.floor, live.Position)
		}
		for _, t := range mine {
			if t != best && t != live {
				s.leftover = append(s.leftover, t.Name)
			}
		}
	}
	for _, t := range chosen {
		if t.Live && t.Position == s.front {
			s.serving = append(s.serving, t)
			continue
		}
		s.behind = append(s.behind, t)
		if t.Live {
			s.floor = min(s.floor, t.Position)
		}
	}
	return s
}

// tablesOf are a view's tables, the live one among them, and the greatest build number.
func tablesOf(v View, tables []Progress) (mine []*Progress, live *Progress, lastBuild int) {
	for i := range tables {
		t := &tables[i]
		if t.View != v.Name {
			continue
		}
		mine = append(mine, t)
		if t.Live {
			live = t
		}
		lastBuild = max(lastBuild, buildNumber(t.Name))
	}
	return mine, live, lastBuild
}

// choose picks the table of today's version that is live; else the one that is
// furthest; nil if there is none.
func choose(v View, mine []*Progress) *Progress {
	var best *Progress
	for _, t := range mine {
		if t.Version != v.Version {
			continue
		}
		if t.Live {
			return t
		}
		if best == nil || t.Position > best.Position {
			best = t
		}
	}
	return best
}

func tableName(v View, build int) string {
	return fmt.Sprintf("%s_%d_%d", v.Name, v.Version, build)
}

// buildNumber is the last part of a table's name.
func buildNumber(table string) int {
	n, err := strconv.Atoi(table[strings.LastIndexByte(table, '_')+1:])
	if err != nil {
		return 0
	}
	return n
}

// checkViews refuses views that cannot be stored, or not be told apart.
func checkViews(views []View) error {
	seen := map[string]bool{}
	for _, v := range views {
		switch {
		case !plainNames.MatchString(v.Name):
			return fmt.Errorf("view %q: its name is not of lower-case letters, digits and underscores", v.Name)
		case v.Version < 1:
			return fmt.Errorf("view %s: its version %d is below 1", v.Name, v.Version)
		case seen[v.Name]:
			return fmt.Errorf("view %s stands twice in the list", v.Name)
		}
		seen[v.Name] = true
	}
	return nil
}
