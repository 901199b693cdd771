package projections

import "truebond/events"

// A Conversation is one side's sight of the messages between two people.
type Conversation struct {
	User         string        `json:"user"`
	Conversation string        `json:"conversation"`
	Partner      string        `json:"partner"`
	LastMessage  string        `json:"last_message"` // its id
	LastFrom     string        `json:"last_from"`
	LastBody     events.Sealed `json:"last_body,omitzero"` // nothing once it is deleted
	LastAt       int64         `json:"last_at"`            // milliseconds
	LastPosition uint64        `json:"last_position"`
	Unread       int64         `json:"unread"`
}

// Conversations are what each user has going on with whom, under
// `<user>/<conversation>`.
var Conversations = events.Fold[Conversation]{
	Name:    "conversations",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.MessageSent:
			return []string{d.From + "/" + d.Conversation, d.To + "/" + d.Conversation}
		case events.MessagesRead:
			return []string{d.Reader + "/" + d.Conversation}
		case events.MessageDeleted:
			return []string{d.By + "/" + d.Conversation, d.To + "/" + d.Conversation}
		}
		return nil
	},
	Evolve: func(doc Conversation, key string, e events.Event) (Conversation, bool) {
		switch d := e.Data.(type) {
		case events.MessageSent:
			doc.User, doc.Partner = d.From, d.To
			if key == d.To+"/"+d.Conversation {
				doc.User, doc.Partner = d.To, d.From
				doc.Unread++
			}
			doc.Conversation, doc.LastMessage, doc.LastFrom, doc.LastBody = d.Conversation, d.Message, d.From, d.Body
			doc.LastAt, doc.LastPosition = Millis(e.Time), e.Position
		case events.MessagesRead:
			doc.Unread -= int64(len(d.Messages))
		case events.MessageDeleted:
			if d.Unread && doc.User == d.To {
				doc.Unread--
			}
			if doc.LastMessage == d.Message {
				doc.LastBody = events.Sealed{}
			}
		}
		return doc, true
	},
}

// ConversationsByUser orders a user's conversations by their last message.
const ConversationsByUser = "user"

var conversationIndexes = []Index{{Name: ConversationsByUser, Fields: []string{"user", "last_position"}}}

// MessageStats counts one user's messages.
type MessageStats struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Unread   int64 `json:"unread"`
	Deleted  int64 `json:"deleted"` // of those sent
	Charged  int64 `json:"charged"` // credits
}

// Stats are each user's counts of messages, under their id.
var Stats = events.Fold[MessageStats]{
	Name:    "message_stats",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.MessageSent:
			return []string{d.From, d.To}
		case events.MessagesRead:
			return []string{d.Reader}
		case events.MessageDeleted:
			return []string{d.By, d.To}
		}
		return nil
	},
	Evolve: func(doc MessageStats, user string, e events.Event) (MessageStats, bool) {
		switch d := e.Data.(type) {
		case events.MessageSent:
			if user == d.From {
				doc.Sent++
				doc.Charged += d.Charged
			} else {
				doc.Received++
				doc.Unread++
			}
		case events.MessagesRead:
			doc.Unread -= int64(len(d.Messages))
		case events.MessageDeleted:
			if user == d.By {
				doc.Deleted++
			} else if d.Unread {
				doc.Unread--
			}
		}
		return doc, true
	},
}
