package events

// A BalanceChange is a payload that may change what a user has to spend, and says what
// it left them.
type BalanceChange interface {
	Payload
	// Leaves is the user and their available credits right after the event.
	Leaves() (user string, availableCredits int64)
}

func (d UserSignedUp) Leaves() (string, int64)        { return d.User, d.Available }
func (d CreditsDeducted) Leaves() (string, int64)     { return d.User, d.Available }
func (d CreditsReserved) Leaves() (string, int64)     { return d.User, d.Available }
func (d HoldCaptured) Leaves() (string, int64)        { return d.User, d.Available }
func (d HoldReleased) Leaves() (string, int64)        { return d.User, d.Available }
func (d SpendUndone) Leaves() (string, int64)         { return d.User, d.Available }
func (d LotExpired) Leaves() (string, int64)          { return d.User, d.Available }
func (d DebtForgiven) Leaves() (string, int64)        { return d.User, d.Available }
func (d PaymentGranted) Leaves() (string, int64)      { return d.User, d.Available }
func (d PaymentFactsLearned) Leaves() (string, int64) { return d.User, d.Available }
func (d MessageSent) Leaves() (string, int64)         { return d.From, d.Available }
func (d CallAccepted) Leaves() (string, int64)        { return d.From, d.Available }
func (d CallCharged) Leaves() (string, int64)         { return d.From, d.Available }
