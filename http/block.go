package http

import "truebond/commands"

func blockRoutes(do *commands.Service) []Route {
	return []Route{
		post("/api/users/{id}/block", do.Block, "Block somebody", user, limit(60, perMinute)),
		del("/api/users/{id}/block", do.Unblock, "Unblock somebody", user, limit(60, perMinute)),
	}
}
