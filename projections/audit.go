package projections

import (
	"encoding/json"
	"fmt"
	"time"

	"truebond/events"
)

// An AuditEntry is an event as admins and finance look for it. Personal text in Data
// stays sealed. Times are in milliseconds since 1970, UTC.
type AuditEntry struct {
	Position  uint64          `json:"position"`
	Key       string          `json:"key"`
	Type      string          `json:"type"`
	Actor     string          `json:"actor"`
	Cause     uint64          `json:"cause,omitempty"`
	At        int64           `json:"at"`
	Effective int64           `json:"effective"`
	Booked    *int64          `json:"booked,omitempty"` // Effective of an entry that moves something: the journal
	Subjects  []string        `json:"subjects,omitempty"`
	Accounts  []string        `json:"accounts,omitempty"` // each account once
	Moves     []events.Move   `json:"moves,omitempty"`
	Data      json.RawMessage `json:"data"`
}

// Audit is every event, one entry each, under its position. Its entries that move
// something are the journal.
var Audit = events.Fold[AuditEntry]{
	Name:    "audit",
	Version: 1,
	Keys:    func(e events.Event) []string { return []string{PositionID(e.Position)} },
	Evolve:  func(_ AuditEntry, _ string, e events.Event) (AuditEntry, bool) { return auditEntry(e), true },
}

// The audit view's indexes.
const (
	AuditByType    = "type"
	AuditByActor   = "actor"
	AuditBySubject = "subject"
	AuditByAccount = "account"
	AuditByBooked  = "booked"
)

var auditIndexes = []Index{
	{Name: AuditByType, Fields: []string{"type", "position"}},
	{Name: AuditByActor, Fields: []string{"actor", "position"}},
	{Name: AuditBySubject, Fields: []string{"subjects", "position"}, Each: true},
	{Name: AuditByAccount, Fields: []string{"accounts", "position"}, Each: true},
	{Name: AuditByBooked, Fields: []string{"booked"}},
}

func auditEntry(e events.Event) AuditEntry {
	data, err := json.Marshal(e.Data)
	if err != nil {
		panic(fmt.Sprintf("an event that was read cannot be written: %v", err)) // it came from JSON
	}
	entry := AuditEntry{
		Position: e.Position, Key: e.Key, Type: e.Data.Type(), Actor: e.Actor.String(), Cause: e.Cause,
		At: Millis(e.Time), Effective: Millis(e.Effective), Subjects: e.Data.Subjects(),
		Moves: e.Moves, Data: data,
	}
	if len(e.Moves) > 0 {
		entry.Booked = &entry.Effective
		entry.Accounts = accountsOf(e.Moves)
	}
	return entry
}

func accountsOf(moves []events.Move) []string {
	var accounts []string
	seen := map[events.Account]bool{}
	for _, m := range moves {
		for _, a := range []events.Account{m.From, m.To} {
			if !seen[a] {
				seen[a] = true
				accounts = append(accounts, string(a))
			}
		}
	}
	return accounts
}

// PositionID is a position as an id whose order is that of the numbers.
func PositionID(position uint64) string { return fmt.Sprintf("%016d", position) }

// Millis is a time as documents hold it.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// FromMillis is the time that a document holds.
func FromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
