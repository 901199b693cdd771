package ledger

import (
	"cmp"

	"truebond/events"
)

// Current is the key of the one document that Prices and Packages have.
const Current = "current"

const (
	priceMax       = 1_000_000  // credits, for one thing; more is a slip of the finger
	packageMax     = 10_000_000 // credits in one package
	packageCostMax = 99_999_999 // minor units; the most that Stripe takes in one payment
	packagesMax    = 50
)

// PackageNameMax bounds a package's name, in bytes.
const PackageNameMax = 64

// Prices are what things cost now. Version 0: nobody has said it yet.
var Prices = newest[events.PricesSet]("prices")

// Packages are what can be bought now. Version 0: nobody has said it yet.
var Packages = newest[events.PackagesSet]("packages")

// newest has one document, the newest event of a type.
func newest[D events.Payload](name string) events.Fold[D] {
	return events.Fold[D]{
		Name:    name,
		Version: 1,
		Keys: func(e events.Event) []string {
			if _, ok := e.Data.(D); ok {
				return []string{Current}
			}
			return nil
		},
		Evolve: func(before D, _ string, e events.Event) (D, bool) {
			if d, ok := e.Data.(D); ok {
				return d, true
			}
			return before, true
		},
	}
}

// SetPrices says what things cost from now on. It refuses a version that does not
// follow the last one (`version_conflict`) and prices below 1 (`invalid_request`); the
// bonus may be 0, which gives none.
func SetPrices(p events.PricesSet) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkVersion(p.Version, Load(tx, Prices, Current).Version); err != nil {
			return nil, nil, err
		}
		for _, price := range []struct {
			field        string
			credits, min int64
		}{
			{"message", p.Message, 1}, {"audio_minute", p.AudioMinute, 1}, {"video_minute", p.VideoMinute, 1},
			{"signup_bonus", p.SignupBonus, 0},
		} {
			if price.credits < price.min || price.credits > priceMax {
				return nil, nil, Refuse(CodeInvalidRequest, "It must be from %d to %d credits.", price.min, priceMax).
					About(price.field)
			}
		}
		return p, nil, nil
	}
}

// SetPackages says what can be bought from now on. It refuses a version that does not
// follow the last one (`version_conflict`), and packages without a name of their own,
// credits or a price (`invalid_request`).
func SetPackages(p events.PackagesSet) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkVersion(p.Version, Load(tx, Packages, Current).Version); err != nil {
			return nil, nil, err
		}
		if err := checkPackages(p.Packages); err != nil {
			return nil, nil, err
		}
		return p, nil, nil
	}
}

func checkPackages(packages []events.Package) error {
	refuse := func(format string, args ...any) error {
		return Refuse(CodeInvalidRequest, format, args...).About("packages")
	}
	if len(packages) < 1 || len(packages) > packagesMax {
		return refuse("There must be 1 to %d packages.", packagesMax)
	}
	named := map[string]bool{}
	for _, p := range packages {
		switch {
		case p.Name == "" || len(p.Name) > PackageNameMax || named[p.Name]:
			return refuse("Each package needs a name of its own, of at most %d bytes.", PackageNameMax)
		case p.Credits < 1 || p.Credits > packageMax:
			return refuse("The package %s must have 1 to %d credits.", p.Name, packageMax)
		case len(p.Prices) == 0:
			return refuse("The package %s has no price.", p.Name)
		}
		named[p.Name] = true
		for currency, amount := range p.Prices {
			if !currency.IsCurrency() || amount < 1 || amount > packageCostMax {
				return refuse("The package %s must cost 1 to %d minor units, in currencies that are accepted.",
					p.Name, packageCostMax)
			}
		}
	}
	return nil
}

func checkVersion(version, last int) error {
	if version != last+1 {
		return Refuse(CodeVersionConflict, "The next version is %d.", last+1).About("version")
	}
	return nil
}

// loadPrices refuses while there are no prices: nothing is free by mistake.
func loadPrices(tx *Tx) (events.PricesSet, error) {
	prices := Load(tx, Prices, Current)
	if prices.Version == 0 {
		return prices, Refuse(CodePricesUnset, "There are no prices yet. Try again in a moment.")
	}
	return prices, nil
}

// perMinute is the price of a minute of a call, in credits.
func perMinute(prices events.PricesSet, kind events.CallKind) int64 {
	if kind == events.VideoCall {
		return prices.VideoMinute
	}
	return prices.AudioMinute
}

// A Quote is what a package costs, by a version of the packages.
type Quote struct {
	Packages int // the version
	Package  string
	Credits  int64
	Amount   int64 // minor units, tax included
	Tax      int64 // minor units
	Currency events.Asset
}

// QuotePackage tells what a package costs. No currency means the default one. It
// refuses a package that there is not (`unknown_package`) and a currency that it has no
// price in (`unknown_currency`).
func QuotePackage(packages events.PackagesSet, name string, currency events.Asset) (Quote, error) {
	currency = cmp.Or(currency, events.Currencies[0])
	for _, p := range packages.Packages {
		if p.Name != name {
			continue
		}
		amount, priced := p.Prices[currency]
		if !priced {
			return Quote{}, Refuse(CodeUnknownCurrency, "The package has no price in this currency.").About("currency")
		}
		return Quote{
			Packages: packages.Version, Package: p.Name, Credits: p.Credits, Amount: amount, Currency: currency,
		}, nil
	}
	return Quote{}, Refuse(CodeUnknownPackage, "There is no such package.").About("package")
}
