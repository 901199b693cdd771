package commands

import (
	"context"
	"time"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// SendMessage asks to send a message. What it costs is the server's to say.
type SendMessage struct {
	To   string `json:"to"`
	Body string `json:"body"`
}

func (in SendMessage) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.To, validation.Required, validation.Length(1, idMax)),
		validation.Field(&in.Body, validation.Required, validation.RuneLength(1, 4000)),
	)
}

// SentMessage is a message that was sent, and its charge.
type SentMessage struct {
	Receipt
	Message struct {
		ID             string    `json:"id"`
		ConversationID string    `json:"conversation_id"`
		From           string    `json:"from"`
		To             string    `json:"to"`
		Body           string    `json:"body"`
		SentAt         time.Time `json:"sent_at"`
	} `json:"message"`
	Charged   int64 `json:"charged"`
	Available int64 `json:"available"`
}

// SendMessage sends a message and charges for it, by one event.
func (s *Service) SendMessage(ctx context.Context, in SendMessage) (SentMessage, error) {
	from := ledger.CallerOf(ctx).Actor.ID
	key, request := once(ctx)
	body, err := s.Vault.Seal(ctx, from, key, "body", in.Body)
	if err != nil {
		return SentMessage{}, err
	}
	done, err := s.ask(ctx, key, request, ledger.SendMessage(ledger.NewMessage{
		Message: newID("msg"), From: from, To: in.To, Body: body,
	}))
	if err != nil {
		return SentMessage{}, err
	}
	sent := done.Event.Data.(events.MessageSent)
	answer := SentMessage{Receipt: receipt(done), Charged: sent.Charged, Available: sent.Available}
	m := &answer.Message
	m.ID, m.ConversationID, m.From, m.To = sent.Message, sent.Conversation, sent.From, sent.To
	m.Body, m.SentAt = in.Body, done.Event.Time // a replay's body is the first one's: its key was made for it
	return answer, nil
}

// MessageID names a message in a path.
type MessageID struct {
	ID string `param:"message_id"`
}

// Marked says how many messages have changed.
type Marked struct {
	Receipt
	Marked int `json:"marked"`
}

// MarkDelivered notes that a message has reached the caller. Again is no harm.
func (s *Service) MarkDelivered(ctx context.Context, in MessageID) (Marked, error) {
	to := ledger.CallerOf(ctx).Actor.ID
	done, err := s.ask(ctx, "delivered/"+to+"/"+in.ID, nil, ledger.MarkDelivered(in.ID, to))
	return s.marked(done, 1, err)
}

// MarkRead asks to mark messages of the caller's as read.
type MarkRead struct {
	MessageIDs []string `json:"message_ids"`
}

func (in MarkRead) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.MessageIDs, validation.Required, validation.Length(1, ledger.ReadMax),
			validation.Each(validation.Required, validation.Length(1, idMax))))
}

// MarkRead notes that the caller has read messages. Those read before do not count.
func (s *Service) MarkRead(ctx context.Context, in MarkRead) (Marked, error) {
	reader := ledger.CallerOf(ctx).Actor.ID
	key, request := once(ctx)
	done, err := s.ask(ctx, key, request, ledger.MarkRead(reader, in.MessageIDs))
	n := 0
	if read, ok := done.Event.Data.(events.MessagesRead); ok {
		n = len(read.Messages)
	}
	return s.marked(done, n, err)
}

// DeleteMessage takes a message of the caller's out of sight.
func (s *Service) DeleteMessage(ctx context.Context, in MessageID) (Marked, error) {
	by := ledger.CallerOf(ctx).Actor.ID
	done, err := s.ask(ctx, "deleted/"+by+"/"+in.ID, nil, ledger.DeleteMessage(in.ID, by))
	return s.marked(done, 1, err)
}

// marked answers a mark. What was marked already is as well as marked.
func (s *Service) marked(done writer.Done, n int, err error) (Marked, error) {
	if isNothingToDo(err) {
		return Marked{Receipt: s.receiptOrEnd(done)}, nil
	}
	if err != nil {
		return Marked{}, err
	}
	return Marked{Receipt: receipt(done), Marked: n}, nil
}
