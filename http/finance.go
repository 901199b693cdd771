package http

import "truebond/queries"

func financeRoutes(read *queries.Service) []Route {
	return []Route{
		get("/api/finance/trial-balance", read.TrialBalance, "Read the books as of a time", finance, limit(60, perMinute),
			refuses(422)),
		get("/api/finance/journal", read.Journal, "Read the journal", finance, limit(120, perMinute)),
	}
}
