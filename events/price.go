package events

// PricesSet says what things cost from now on, in credits. A call keeps the price
// that it was accepted at.
type PricesSet struct {
	Version     int   `json:"version"`
	Message     int64 `json:"message"`
	AudioMinute int64 `json:"audio_minute"`
	VideoMinute int64 `json:"video_minute"`
	SignupBonus int64 `json:"signup_bonus"`
}

// PackagesSet says what can be bought from now on.
type PackagesSet struct {
	Version  int       `json:"version"`
	Packages []Package `json:"packages"`
}

// A Package is a number of credits at a price.
type Package struct {
	Name    string          `json:"name"`
	Credits int64           `json:"credits"`
	Prices  map[Asset]int64 `json:"prices"` // in minor units, by currency
}

func (PricesSet) Type() string   { return "prices.set" }
func (PackagesSet) Type() string { return "packages.set" }

func (PricesSet) Subjects() []string   { return nil }
func (PackagesSet) Subjects() []string { return nil }

var priceTypes = []Type{
	typeOf[PricesSet](1),
	typeOf[PackagesSet](1),
}
