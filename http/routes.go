package http

import (
	"slices"

	"truebond/commands"
	"truebond/queries"
)

// Routes is the whole table: what each path does, for whom, and how often.
func Routes(do *commands.Service, read *queries.Service, run Operator) []Route {
	return slices.Concat(
		authRoutes(do, read),
		creditRoutes(do, read),
		paymentRoutes(do, read),
		messageRoutes(do, read),
		callRoutes(do, read),
		blockRoutes(do),
		auditRoutes(read),
		financeRoutes(read),
		proofRoutes(read),
		operatorRoutes(do, read, run),
	)
}
