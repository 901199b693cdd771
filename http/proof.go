package http

import "truebond/queries"

// proofRoutes are a transparency log as C2SP's tlog-tiles describes one, under the prefix
// /api/audit, and proofs for those who do not read tiles. What shows hashes alone is for
// everybody; what shows events is not.
func proofRoutes(read *queries.Service) []Route {
	text, octets := plain("text/plain; charset=utf-8"), plain(octetsType)
	return []Route{
		get("/api/audit/key", read.AuditKey, "Read the key that checkpoints are signed with",
			public, limit(600, perMinute), text),
		get("/api/audit/checkpoint", read.Checkpoint, "Read the last signed checkpoint of the log",
			public, limit(3000, perMinute), text),
		get("/api/audit/proof/{position}", read.Proof, "Prove that an event is in the log",
			public, limit(3000, perMinute)),
		get("/api/audit/consistency", read.Consistency, "Prove that the log begins with what it was before",
			public, limit(3000, perMinute)),
		get("/api/audit/tile/{level}/{index...}", read.HashTile, "Read a tile of the log's Merkle tree",
			public, limit(3000, perMinute), octets),
		get("/api/audit/tile/entries/{index...}", read.EntryTile, "Read a tile of events",
			admin, finance, operator, limit(600, perMinute), octets),
		get("/api/audit/events/{position}", read.AuditEvent, "Read an event's exact bytes",
			admin, finance, operator, limit(3000, perMinute), plain(jsonType)),
		get("/api/audit/receipt/{position}", read.Receipt, "Make an event's receipt",
			admin, finance, operator, limit(3000, perMinute)),
	}
}
