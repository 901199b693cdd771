package http

import (
	nethttp "net/http"

	"truebond/commands"
	"truebond/queries"
)

func paymentRoutes(do *commands.Service, read *queries.Service) []Route {
	signed := func(body []byte, header nethttp.Header) error {
		_, err := do.VerifyWebhook(body, header.Get("Stripe-Signature"))
		return err
	}
	routes := []Route{
		post("/api/payments/intent/create", do.Purchase, "Begin to buy a package", user, created, once,
			limit(30, perMinute), refuses(502)),
		get("/api/payments/intent/{id}", read.Intent, "Read one of your payments", user, limit(120, perMinute)),
		post("/api/payments/intent/{id}/cancel", do.CancelIntent, "Take a wish to buy back", user,
			limit(30, perMinute), refuses(502)),
		get("/api/payments/packages", read.Packages, "Read what can be bought", public, limit(120, perMinute)),
		get("/api/payments/history", read.PaymentHistory, "Read your payments", user, limit(120, perMinute)),
		post("/api/webhooks/stripe", do.TakeWebhook, "Take a webhook from Stripe", public, rawBody, vetted(signed)),
	}
	if do.Simulator != nil {
		routes = append(routes, post("/api/payments/simulate/payment", do.Simulate,
			"Pay in the buyer's place, without Stripe", user, limit(30, perMinute), refuses(404)))
	}
	return routes
}
