package events

// PaymentIntended is a wish to buy. It adds no credits.
type PaymentIntended struct {
	User         string `json:"user"`
	Intent       string `json:"intent"` // Stripe's `pi_…`
	Package      string `json:"package"`
	Packages     int    `json:"packages"` // the version of the packages it was chosen from
	Credits      int64  `json:"credits"`
	Amount       int64  `json:"amount"` // what the buyer pays, in minor units, tax included
	Tax          int64  `json:"tax,omitempty"`
	Currency     Asset  `json:"currency"`
	Lot          string `json:"lot"` // the id that the lot will have
	ClientSecret Sealed `json:"client_secret"`
}

// PaymentGranted is a payment that Stripe has announced, and its credits. There is
// one for a PaymentIntent at most.
type PaymentGranted struct {
	User        string `json:"user"`
	Intent      string `json:"intent"`
	StripeEvent string `json:"stripe_event"`
	StripeType  string `json:"stripe_type"`
	Lot         Lot    `json:"lot"`
	Available   int64  `json:"available"` // the user's credits after it
}

// PaymentMismatched is an announced payment that differs from our intent, or for which the
// account has no room. It adds no credits, leaves the intent payable and waits for a person
// to look at it.
type PaymentMismatched struct {
	User        string `json:"user"`
	Intent      string `json:"intent"`
	StripeEvent string `json:"stripe_event"`
	StripeType  string `json:"stripe_type"`
	Amount      int64  `json:"amount"`   // what was announced
	Currency    string `json:"currency"` // likewise
	Why         string `json:"why"`
}

// PaymentCanceled is a wish to buy that was taken back. Money that comes in for it
// all the same is still granted.
type PaymentCanceled struct {
	User   string `json:"user"`
	Intent string `json:"intent"`
}

// PaymentFactsLearned is what Stripe says of a payment's refunds and disputes. Facts
// are merged, so that their order and repeats do not matter.
type PaymentFactsLearned struct {
	User        string       `json:"user"`
	Intent      string       `json:"intent"`
	StripeEvent string       `json:"stripe_event"`
	Facts       PaymentFacts `json:"facts"`
	Available   int64        `json:"available"`
}

// PaymentFacts are what is known of the money that went back. Amounts are in minor
// units of the payment's currency.
type PaymentFacts struct {
	AmountRefunded int64              `json:"amount_refunded,omitempty"` // the largest seen
	Refunds        map[string]Refund  `json:"refunds,omitempty"`         // by id
	Disputes       map[string]Dispute `json:"disputes,omitempty"`        // by id
}

// A Refund is money given back to the buyer.
type Refund struct {
	Amount int64        `json:"amount"`
	Status RefundStatus `json:"status"`
}

// RefundStatus is Stripe's word for how far a refund is.
type RefundStatus string

// The states of a refund, by rank.
const (
	RefundRequiresAction RefundStatus = "requires_action"
	RefundPending        RefundStatus = "pending"
	RefundSucceeded      RefundStatus = "succeeded"
	RefundFailed         RefundStatus = "failed"
	RefundCanceled       RefundStatus = "canceled"
)

// A Dispute is money that the buyer's bank wants back. Only its balance
// transactions move money; a status does not.
type Dispute struct {
	Amount       int64            `json:"amount"`
	Transactions map[string]int64 `json:"transactions,omitempty"` // by id: below zero withdrawn, above reinstated
}

// StripeEventNoted is a verified webhook that changes nothing here.
type StripeEventNoted struct {
	StripeEvent string `json:"stripe_event"`
	StripeType  string `json:"stripe_type"`
	Object      string `json:"object"` // the id of what it is about
	Why         string `json:"why"`    // why it changes nothing
}

func (PaymentIntended) Type() string     { return "payment.intended" }
func (PaymentGranted) Type() string      { return "payment.granted" }
func (PaymentMismatched) Type() string   { return "payment.mismatched" }
func (PaymentCanceled) Type() string     { return "payment.canceled" }
func (PaymentFactsLearned) Type() string { return "payment.facts_learned" }
func (StripeEventNoted) Type() string    { return "stripe.event_noted" }

func (d PaymentIntended) Subjects() []string     { return []string{d.User, d.Intent} }
func (d PaymentGranted) Subjects() []string      { return []string{d.User, d.Intent} }
func (d PaymentMismatched) Subjects() []string   { return []string{d.User, d.Intent} }
func (d PaymentCanceled) Subjects() []string     { return []string{d.User, d.Intent} }
func (d PaymentFactsLearned) Subjects() []string { return []string{d.User, d.Intent} }
func (d StripeEventNoted) Subjects() []string    { return []string{d.Object} }

var paymentTypes = []Type{
	typeOf[PaymentIntended](1),
	typeOf[PaymentGranted](1),
	typeOf[PaymentMismatched](1),
	typeOf[PaymentCanceled](1),
	typeOf[PaymentFactsLearned](1),
	typeOf[StripeEventNoted](1),
}
