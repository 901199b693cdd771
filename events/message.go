package events

// MessageSent is a message and its charge: never one without the other.
type MessageSent struct {
	Message      string `json:"message"`
	Conversation string `json:"conversation"`
	From         string `json:"from"`
	To           string `json:"to"`
	Body         Sealed `json:"body"`
	Charged      int64  `json:"charged"`   // credits
	Available    int64  `json:"available"` // the sender's credits after it
}

// MessageDelivered says that a message has reached the other one's device.
type MessageDelivered struct {
	Message string `json:"message"`
	From    string `json:"from"`
	To      string `json:"to"`
}

// MessagesRead says that messages of a conversation were read, each for the first time.
type MessagesRead struct {
	Reader       string   `json:"reader"`
	Conversation string   `json:"conversation"`
	Messages     []string `json:"messages"`
}

// MessageDeleted takes a message out of sight. Its charge stays.
type MessageDeleted struct {
	Message      string `json:"message"`
	Conversation string `json:"conversation"`
	By           string `json:"by"`
	To           string `json:"to"`
	Unread       bool   `json:"unread,omitempty"` // it had not been read yet
}

func (MessageSent) Type() string      { return "message.sent" }
func (MessageDelivered) Type() string { return "message.delivered" }
func (MessagesRead) Type() string     { return "messages.read" }
func (MessageDeleted) Type() string   { return "message.deleted" }

func (d MessageSent) Subjects() []string      { return []string{d.From, d.To} }
func (d MessageDelivered) Subjects() []string { return []string{d.To, d.From} }
func (d MessagesRead) Subjects() []string     { return []string{d.Reader} }
func (d MessageDeleted) Subjects() []string   { return []string{d.By, d.To} }

var messageTypes = []Type{
	typeOf[MessageSent](1),
	typeOf[MessageDelivered](1),
	typeOf[MessagesRead](1),
	typeOf[MessageDeleted](1),
}
