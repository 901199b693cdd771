package ledger

// What the vault hashes something for. The hash of one purpose tells nothing about another's. Most hashes
// stand in the log, so that no purpose ever gets another name.
const (
	PurposeEmail      = "email"         // to find who has an address, which is trimmed and in lower case
	PurposeAPIKey     = "apikey"        // to find an API key
	PurposeRefresh    = "refresh"       // to tell whether a refresh token is the one that is good
	PurposeNewRefresh = "refresh_token" // this hash is a part of the refresh token itself
	PurposeRequest    = "request"       // to tell whether an idempotency key comes with the same request
	PurposeAddress    = "address"       // to count who fails to log in from where
	PurposeCluster    = "cluster"       // to tell whether two servers have the same vault
)
