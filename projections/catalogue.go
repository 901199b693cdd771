package projections

import (
	"truebond/events"
	"truebond/ledger"
)

// Indexes of the writer's documents, for those who read them.
const (
	PaymentsByUser         = "user"
	MessagesByConversation = "conversation"
	CallsByParty           = "party"
	CallsActive            = "active"
	TimersByDue            = "due"
	APIKeysByID            = "id"
)

// Catalogue is every view there is: the writer's documents, and those that only
// queries read. An index serves each list that the API shows.
func Catalogue() []View {
	views := []View{
		view(ledger.Timers, Index{Name: TimersByDue, Fields: []string{"due"}}),
		view(Audit, auditIndexes...),
		view(History),
		view(Balances),
		view(Conversations, conversationIndexes...),
		view(Stats),
	}
	for _, f := range ledger.Folds() {
		views = append(views, View{Folding: f, Indexes: writersIndexes[f.Name]})
	}
	return views
}

var writersIndexes = map[string][]Index{
	ledger.APIKeys.Name:  {{Name: APIKeysByID, Fields: []string{"id"}}},
	ledger.Payments.Name: {{Name: PaymentsByUser, Fields: []string{"user", "position"}}},
	ledger.Messages.Name: {{Name: MessagesByConversation, Fields: []string{"conversation", "position"}}},
	ledger.Calls.Name: {
		{Name: CallsByParty, Fields: []string{"parties", "position"}, Each: true},
		{Name: CallsActive, Fields: []string{"going", "position"}},
	},
}

func view[D any](f events.Fold[D], indexes ...Index) View {
	return View{Folding: f.Folding(), Indexes: indexes}
}
