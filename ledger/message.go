package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"truebond/events"
)

// ReadMax bounds the messages that one event marks as read.
const ReadMax = 100

// A Message is a message and what has become of it. What only its readers look at is
// here too: one document for both is half the writing.
type Message struct {
	ID           string        `json:"id"`
	Position     uint64        `json:"position"` // of the event that sent it
	From         string        `json:"from"`     // empty: there is no such message
	To           string        `json:"to"`
	Conversation string        `json:"conversation"`
	Body         events.Sealed `json:"body,omitzero"` // nothing once it is deleted
	SentAt       time.Time     `json:"sent_at"`
	DeliveredAt  time.Time     `json:"delivered_at,omitzero"`
	ReadAt       time.Time     `json:"read_at,omitzero"`
	Deleted      bool          `json:"deleted,omitempty"`
}

// Delivered tells whether it has reached whom it was sent to.
func (m Message) Delivered() bool { return !m.DeliveredAt.IsZero() }

// Read tells whether it was read.
func (m Message) Read() bool { return !m.ReadAt.IsZero() }

// Messages are all messages, by id.
var Messages = events.Fold[Message]{
	Name:    "messages",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.MessageSent:
			return []string{d.Message}
		case events.MessageDelivered:
			return []string{d.Message}
		case events.MessagesRead:
			return d.Messages
		case events.MessageDeleted:
			return []string{d.Message}
		}
		return nil
	},
	Evolve: func(m Message, _ string, e events.Event) (Message, bool) {
		switch d := e.Data.(type) {
		case events.MessageSent:
			return Message{
				ID: d.Message, Position: e.Position, From: d.From, To: d.To, Conversation: d.Conversation,
				Body: d.Body, SentAt: e.Time,
			}, true
		case events.MessageDelivered:
			m.DeliveredAt = e.Time
		case events.MessagesRead:
			m.ReadAt = e.Time
			if !m.Delivered() {
				m.DeliveredAt = e.Time
			}
		case events.MessageDeleted:
			m.Deleted, m.Body = true, events.Sealed{}
		}
		return m, true
	},
}

// ConversationID names what two users say to each other, whoever begins. Users' ids are
// random, so it tells nothing of a person.
func ConversationID(a, b string) string {
	if a > b {
		a, b = b, a
	}
	sum := sha256.Sum256([]byte(a + "\x00" + b))
	return "conv_" + hex.EncodeToString(sum[:16])
}

// NewMessage is a message to be sent.
type NewMessage struct {
	Message  string // its id
	From, To string
	Body     events.Sealed // by the sender's key
}

// SendMessage sends a message and charges its sender today's price, by one event. It
// refuses oneself (`invalid_request`), who is not there (`unknown_user`), when either has
// blocked the other (`blocked`), and who cannot pay (`insufficient_credits`).
func SendMessage(m NewMessage) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkReach(tx, m.From, m.To); err != nil {
			return nil, nil, err
		}
		prices, err := loadPrices(tx)
		if err != nil {
			return nil, nil, err
		}
		effect, err := Load(tx, Accounts, m.From).Spend(prices.Message, UseMessages, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.MessageSent{
			Message: m.Message, Conversation: ConversationID(m.From, m.To), From: m.From, To: m.To,
			Body: m.Body, Charged: prices.Message, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// MarkDelivered notes that a message has reached whom it was sent to. It refuses others
// (`not_found`). A message that was delivered or read before is refused with
// `nothing_to_do`, so that a device may say it as often as it likes.
func MarkDelivered(message, to string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		m := Load(tx, Messages, message)
		switch {
		case m.To != to || m.Deleted || to == "":
			return nil, nil, notFound("message")
		case m.Delivered():
			return nil, nil, Refuse(CodeNothingToDo, "The message was delivered before.")
		}
		return events.MessageDelivered{Message: message, From: m.From, To: m.To}, nil, nil
	}
}

// MarkRead notes that messages of one conversation were read by whom they were sent to.
// It refuses others (`not_found`), none, more than 100, or several conversations
// (`invalid_request`). Those read before or deleted are left out; when no other is left,
// the refusal is `nothing_to_do`.
func MarkRead(reader string, messages []string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if len(messages) < 1 || len(messages) > ReadMax {
			return nil, nil, Refuse(CodeInvalidRequest, "There must be 1 to %d messages.", ReadMax).
				About("message_ids")
		}
		read := events.MessagesRead{Reader: reader}
		var refusal error // found at the end, so that one run names all documents that it needs
		for _, id := range messages {
			m := Load(tx, Messages, id)
			switch {
			case m.To != reader || reader == "":
				refusal = notFound("message")
			case read.Conversation != "" && read.Conversation != m.Conversation:
				refusal = Refuse(CodeInvalidRequest, "The messages must be of one conversation.").About("message_ids")
			}
			read.Conversation = m.Conversation
			if !m.Read() && !m.Deleted && !slices.Contains(read.Messages, id) {
				read.Messages = append(read.Messages, id)
			}
		}
		if refusal == nil && len(read.Messages) == 0 {
			refusal = Refuse(CodeNothingToDo, "These messages were read before.")
		}
		if refusal != nil {
			return nil, nil, refusal
		}
		return read, nil, nil
	}
}

// DeleteMessage takes a message out of both users' sight; its charge stays. Only its
// sender may (`not_yours` for who got it, `not_found` for others). One that is deleted
// already is refused with `nothing_to_do`.
func DeleteMessage(message, by string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		m := Load(tx, Messages, message)
		switch {
		case by == "" || by != m.From && by != m.To:
			return nil, nil, notFound("message")
		case by != m.From:
			return nil, nil, Refuse(CodeNotYours, "Only who sent a message can delete it.")
		case m.Deleted:
			return nil, nil, Refuse(CodeNothingToDo, "The message is deleted already.")
		}
		return events.MessageDeleted{
			Message: message, Conversation: m.Conversation, By: by, To: m.To, Unread: !m.Read(),
		}, nil, nil
	}
}
