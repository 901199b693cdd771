package http

import (
	"truebond/commands"
	"truebond/ledger"
	"truebond/queries"
)

func creditRoutes(do *commands.Service, read *queries.Service) []Route {
	return []Route{
		get("/api/credits/balance", read.Balance, "Read your balance", user, limit(120, perMinute)),
		get("/api/credits/history", read.History, "Read your statement", user, limit(120, perMinute)),
		get("/api/credits/pricing", read.Pricing, "Read what things cost", public, limit(120, perMinute)),
		post("/api/credits/purchase", do.Purchase, "Begin to buy a package", user, created, once, limit(30, perMinute),
			refuses(502)),
		post("/api/credits/deduct", do.Deduct, "Charge a user", app(ledger.ScopeDeduct), created, once,
			refuses(402, 404)),
		post("/api/credits/deduct/bulk", bulk{do}.deduct, "Charge many users", app(ledger.ScopeDeduct), keyless,
			bodyUpTo(bulkBodyMax)),
	}
}
