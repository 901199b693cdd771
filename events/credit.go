package events

import "time"

// A Lot is credits that came together: how many, why, at what cost, until when.
type Lot struct {
	ID        string     `json:"id"`
	Kind      CreditKind `json:"kind"`
	Priority  int        `json:"priority,omitempty"` // lower is spent first
	Credits   int64      `json:"credits"`
	Price     int64      `json:"price,omitempty"` // net, in minor units; of paid lots
	Tax       int64      `json:"tax,omitempty"`   // in minor units, on top of Price
	Currency  Asset      `json:"currency,omitempty"`
	Payment   string     `json:"payment,omitempty"` // the PaymentIntent that paid for it
	ExpiresAt time.Time  `json:"expires_at,omitzero"`
}

// CreditsDeducted is a charge that a server of the app's asked for.
type CreditsDeducted struct {
	User      string `json:"user"`
	Credits   int64  `json:"credits"`
	Reason    string `json:"reason"`
	Available int64  `json:"available"` // the user's credits after it
}

// CreditsReserved sets credits aside for something that may come.
type CreditsReserved struct {
	User      string    `json:"user"`
	Hold      string    `json:"hold"`
	Credits   int64     `json:"credits"`
	Use       string    `json:"use"` // what they would be spent on: messages, calls, other
	ExpiresAt time.Time `json:"expires_at"`
	Available int64     `json:"available"`
}

// HoldCaptured spends credits of a hold and gives the rest back. It ends the hold.
type HoldCaptured struct {
	User      string `json:"user"`
	Hold      string `json:"hold"`
	Credits   int64  `json:"credits"` // spent
	Available int64  `json:"available"`
}

// HoldReleased gives a hold's credits back to the lots that they came from.
type HoldReleased struct {
	User      string `json:"user"`
	Hold      string `json:"hold"`
	Expired   bool   `json:"expired,omitempty"` // its time was over; else somebody asked
	Available int64  `json:"available"`
}

// SpendUndone gives what an event spent back to the lots that it came from.
type SpendUndone struct {
	User      string `json:"user"`
	Undoes    uint64 `json:"undoes"` // the position of the event that spent
	Credits   int64  `json:"credits"`
	Reason    string `json:"reason"`
	Available int64  `json:"available"`
	// Lots say where the credits came from and go back to; the moves do not show a lot
	// that expired meanwhile, nor one that owes what it gets.
	Lots []LotShare `json:"lots"`
}

// A LotShare is credits of a lot that were spent on something.
type LotShare struct {
	Lot     string `json:"lot"`
	Use     string `json:"use"`
	Credits int64  `json:"credits"`
}

// LotExpired ends a lot whose time is over: what was free in it is breakage.
type LotExpired struct {
	User      string `json:"user"`
	Lot       string `json:"lot"`
	Credits   int64  `json:"credits"` // what was free in it
	Available int64  `json:"available"`
}

// DebtForgiven lets a user off what a clawback left them owing.
type DebtForgiven struct {
	User      string `json:"user"`
	Credits   int64  `json:"credits"`
	Reason    string `json:"reason"`
	Available int64  `json:"available"`
}

func (CreditsDeducted) Type() string { return "credits.deducted" }
func (CreditsReserved) Type() string { return "credits.reserved" }
func (HoldCaptured) Type() string    { return "hold.captured" }
func (HoldReleased) Type() string    { return "hold.released" }
func (SpendUndone) Type() string     { return "spend.undone" }
func (LotExpired) Type() string      { return "lot.expired" }
func (DebtForgiven) Type() string    { return "debt.forgiven" }

func (d CreditsDeducted) Subjects() []string { return []string{d.User} }
func (d CreditsReserved) Subjects() []string { return []string{d.User} }
func (d HoldCaptured) Subjects() []string    { return []string{d.User} }
func (d HoldReleased) Subjects() []string    { return []string{d.User} }
func (d SpendUndone) Subjects() []string     { return []string{d.User} }
func (d LotExpired) Subjects() []string      { return []string{d.User} }
func (d DebtForgiven) Subjects() []string    { return []string{d.User} }

var creditTypes = []Type{
	typeOf[CreditsDeducted](1),
	typeOf[CreditsReserved](1),
	typeOf[HoldCaptured](1),
	typeOf[HoldReleased](1),
	typeOf[SpendUndone](1),
	typeOf[LotExpired](1),
	typeOf[DebtForgiven](1),
}
