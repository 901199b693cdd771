package ledger

// The codes of all refusals of this package, for programs. What each says is told
// where it is refused.
const (
	CodeInvalidRequest      = "invalid_request" // a value that cannot be meant; the field says which
	CodeNothingToDo         = "nothing_to_do"   // all is as wished already: success, to whoever asked
	CodeNotFound            = "not_found"       // there is none, or it is somebody else's
	CodeNotYours            = "not_yours"       // the caller may see it, but not do this to it
	CodeNotDue              = "not_due"         // a timer came too early
	CodeStoreUnavailable    = "store_unavailable"
	CodePricesUnset         = "prices_unset" // nothing can be charged before the first prices
	CodeVersionConflict     = "version_conflict"
	CodeUnknownUser         = "unknown_user"
	CodeEmailTaken          = "email_taken"
	CodeUnderAge            = "under_age"
	CodeSessionEnded        = "session_ended"
	CodeBlocked             = "blocked"
	CodeTooManyBlocks       = "too_many_blocks"
	CodeTooManyLots         = "too_many_lots"
	CodeUnknownPackage      = "unknown_package"
	CodeUnknownCurrency     = "unknown_currency"
	CodePackagesChanged     = "packages_changed"
	CodeIntentExists        = "intent_exists"
	CodePaymentGranted      = "payment_granted"
	CodeBusy                = "busy"
	CodeCallOver            = "call_over"
	CodeCallActive          = "call_active"
	CodeInsufficientCredits = "insufficient_credits"
	CodeAlreadyGranted      = "already_granted"
	CodeTooManyCredits      = "too_many_credits"
	CodeHoldExists          = "hold_exists"
	CodeHoldNotFound        = "hold_not_found"
	CodeHoldExpired         = "hold_expired"
	CodeHoldTooSmall        = "hold_too_small"
	CodeLotNotFound         = "lot_not_found"
	CodeLotNotExpired       = "lot_not_expired"
	CodeAlreadyUndone       = "already_undone"
	CodeNothingToUndo       = "nothing_to_undo"
	CodeNoSuchDebt          = "no_such_debt"
)
