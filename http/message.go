package http

import (
	"truebond/commands"
	"truebond/queries"
)

func messageRoutes(do *commands.Service, read *queries.Service) []Route {
	return []Route{
		post("/api/v2/messages/send", do.SendMessage, "Send a message", user, created, once, limit(120, perMinute),
			refuses(402, 404)),
		get("/api/v2/messages/conversation/{partner_id}", read.Conversation, "Read the messages with somebody", user,
			limit(120, perMinute)),
		get("/api/v2/messages/conversations", read.Conversations, "List your conversations", user, limit(120, perMinute)),
		post("/api/v2/messages/mark-delivered/{message_id}", do.MarkDelivered, "Say that a message has reached you", user,
			limit(600, perMinute)),
		post("/api/v2/messages/mark-read", do.MarkRead, "Say that you have read messages", user, limit(120, perMinute),
			refuses(404)),
		get("/api/v2/messages/unread-count", read.UnreadCount, "Count your unread messages", user, limit(120, perMinute)),
		del("/api/v2/messages/{message_id}", do.DeleteMessage, "Take a message of yours out of sight", user,
			limit(120, perMinute)),
		get("/api/v2/messages/stats", read.MessageStats, "Count your messages", user, limit(120, perMinute)),
	}
}
