package http

import (
	"truebond/commands"
	"truebond/queries"
)

func authRoutes(do *commands.Service, read *queries.Service) []Route {
	return []Route{
		post("/api/auth/signup", do.SignUp, "Sign up", public, created, limit(20, perMinute)),
		post("/api/auth/login", do.LogIn, "Log in", public, keyless, limit(20, perMinute),
			refuses(401)),
		post("/api/auth/refresh", do.Refresh, "Get new tokens for a refresh token", public, limit(60, perMinute),
			refuses(401)),
		post("/api/auth/logout", do.LogOut, "Log out", user, admin, finance, limit(60, perMinute)),
		get("/api/auth/me", read.Me, "Read who you are", user, admin, finance, limit(120, perMinute)),
	}
}
