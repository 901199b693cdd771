package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// Message is a message as its two people see it. A deleted one has no body.
type Message struct {
	ID             string     `json:"id"`
	ConversationID string     `json:"conversation_id"`
	From           string     `json:"from"`
	To             string     `json:"to"`
	Body           string     `json:"body"`
	SentAt         time.Time  `json:"sent_at"`
	DeliveredAt    *time.Time `json:"delivered_at"`
	ReadAt         *time.Time `json:"read_at"`
	Deleted        bool       `json:"deleted"`
}

// WithPartner asks for the messages between the caller and somebody.
type WithPartner struct {
	Page
	PartnerID string `param:"partner_id"`
}

// Conversation shows the caller the messages between them and somebody, the newest first.
func (s *Service) Conversation(ctx context.Context, in WithPartner) (List[Message], error) {
	return listing[ledger.Message, Message]{
		view: ledger.Messages.Name,
		query: projections.Query{
			Index: projections.MessagesByConversation, Equal: []any{ledger.ConversationID(me(ctx), in.PartnerID)}, Desc: true,
		},
		after: func(f projections.Found[ledger.Message]) []any { return []any{int64(f.Doc.Position)} },
		show:  func(found []ledger.Message) ([]Message, error) { return s.messages(ctx, found) },
	}.page(ctx, s.Views, in.Page)
}

func (s *Service) messages(ctx context.Context, found []ledger.Message) ([]Message, error) {
	bodies := make([]events.Sealed, len(found))
	for i, m := range found {
		if !m.Deleted {
			bodies[i] = m.Body
		}
	}
	texts, err := s.Vault.Texts(ctx, bodies)
	if err != nil {
		return nil, err
	}
	shown := make([]Message, len(found))
	for i, m := range found {
		shown[i] = Message{
			ID: m.ID, ConversationID: m.Conversation, From: m.From, To: m.To, Body: texts[i], SentAt: m.SentAt,
			DeliveredAt: unlessZero(m.DeliveredAt), ReadAt: unlessZero(m.ReadAt), Deleted: m.Deleted,
		}
	}
	return shown, nil
}

// ConversationSummary is what the caller has going on with somebody.
type ConversationSummary struct {
	ConversationID string `json:"conversation_id"`
	PartnerID      string `json:"partner_id"`
	LastMessage    struct {
		ID     string    `json:"id"`
		From   string    `json:"from"`
		Body   string    `json:"body"`
		SentAt time.Time `json:"sent_at"`
	} `json:"last_message"`
	Unread int64 `json:"unread"`
}

// Conversations shows the caller what they have going on, the latest first.
func (s *Service) Conversations(ctx context.Context, in Page) (List[ConversationSummary], error) {
	return listing[projections.Conversation, ConversationSummary]{
		view: projections.Conversations.Name,
		query: projections.Query{
			Index: projections.ConversationsByUser, Equal: []any{me(ctx)}, Desc: true,
		},
		after: func(f projections.Found[projections.Conversation]) []any {
			return []any{int64(f.Doc.LastPosition)}
		},
		show: func(found []projections.Conversation) ([]ConversationSummary, error) {
			return s.summaries(ctx, found)
		},
	}.page(ctx, s.Views, in)
}

func (s *Service) summaries(ctx context.Context, found []projections.Conversation) ([]ConversationSummary, error) {
	bodies := make([]events.Sealed, len(found))
	for i, c := range found {
		bodies[i] = c.LastBody
	}
	texts, err := s.Vault.Texts(ctx, bodies)
	if err != nil {
		return nil, err
	}
	shown := make([]ConversationSummary, len(found))
	for i, c := range found {
		shown[i].ConversationID, shown[i].PartnerID, shown[i].Unread = c.Conversation, c.Partner, c.Unread
		last := &shown[i].LastMessage
		last.ID, last.From, last.Body, last.SentAt = c.LastMessage, c.LastFrom, texts[i], projections.FromMillis(c.LastAt)
	}
	return shown, nil
}

// UnreadCount is how many messages the caller has not read yet.
type UnreadCount struct {
	Unread int64 `json:"unread"`
}

// UnreadCount shows how many messages the caller has not read yet.
func (s *Service) UnreadCount(ctx context.Context, _ Nothing) (UnreadCount, error) {
	stats, err := s.MessageStats(ctx, Nothing{})
	return UnreadCount{Unread: stats.Unread}, err
}

// MessageStats shows counts of the caller's messages, and what they cost.
func (s *Service) MessageStats(ctx context.Context, _ Nothing) (projections.MessageStats, error) {
	stats, _, err := projections.OneAs[projections.MessageStats](ctx, s.Views, projections.Stats.Name, me(ctx))
	return stats, err
}
