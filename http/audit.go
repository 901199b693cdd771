package http

import "truebond/queries"

func auditRoutes(read *queries.Service) []Route {
	return []Route{
		get("/api/admin/audit", read.Audit, "Look through all that happened", admin, limit(120, perMinute)),
	}
}
