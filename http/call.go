package http

import (
	"truebond/commands"
	"truebond/queries"
)

func callRoutes(do *commands.Service, read *queries.Service) []Route {
	return []Route{
		post("/api/calls/initiate", do.InitiateCall, "Call somebody", user, created, limit(30, perMinute),
			refuses(402, 404)),
		post("/api/calls/accept", do.AcceptCall, "Accept a call", user, limit(60, perMinute), refuses(402, 404)),
		post("/api/calls/reject", do.RejectCall, "Reject a call", user, limit(60, perMinute), refuses(404)),
		post("/api/calls/end", do.EndCall, "Hang up", user, limit(60, perMinute), refuses(404)),
		post("/api/calls/heartbeat", do.Heartbeat, "Say that you are still in a call", user, limit(120, perMinute),
			refuses(404)),
		get("/api/calls/active", read.ActiveCalls, "Read your call that rings or goes on", user, limit(120, perMinute)),
		get("/api/calls/history", read.CallHistory, "List your calls", user, limit(120, perMinute)),
	}
}
