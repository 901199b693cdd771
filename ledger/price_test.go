package ledger

import (
	"strings"
	"testing"

	"truebond/events"
)

func TestPricesFollowTheirLastVersion(t *testing.T) {
	second := menu
	second.Version, second.Message = 2, 3
	s := given(t, did(SetPrices(menu))).when(SetPrices(second)).then(second)
	if got := doc(s, Prices, Current); got != second {
		t.Errorf("the prices are %+v", got)
	}
	s.when(SetPrices(second)).refused(CodeVersionConflict, "version")
	s.when(SetPrices(menu)).refused(CodeVersionConflict, "version")
	given(t).when(SetPrices(second)).refused(CodeVersionConflict, "version")
}

func TestPricesAreInReason(t *testing.T) {
	for field, change := range map[string]func(*events.PricesSet, int64){
		"message":      func(p *events.PricesSet, n int64) { p.Message = n },
		"audio_minute": func(p *events.PricesSet, n int64) { p.AudioMinute = n },
		"video_minute": func(p *events.PricesSet, n int64) { p.VideoMinute = n },
		"signup_bonus": func(p *events.PricesSet, n int64) { p.SignupBonus = n },
	} {
		for _, n := range []int64{-1, 0, 1_000_001} {
			p := menu
			change(&p, n)
			o := given(t).when(SetPrices(p))
			if field == "signup_bonus" && n == 0 {
				o.then(p)
				continue
			}
			o.refused(CodeInvalidRequest, field)
		}
	}
}

func TestTheLowestAndTheHighestPricesAreTaken(t *testing.T) {
	for _, n := range []int64{1, 1_000_000} {
		p := events.PricesSet{Version: 1, Message: n, AudioMinute: n, VideoMinute: n, SignupBonus: n}
		given(t).when(SetPrices(p)).then(p)
	}
	packages := make([]events.Package, 50)
	for i := range packages {
		packages[i] = events.Package{Name: strings.Repeat("n", 64-i), Credits: 10_000_000,
			Prices: map[events.Asset]int64{events.INR: 99_999_999}}
	}
	packages[0].Credits, packages[0].Prices[events.INR] = 1, 1
	given(t).when(SetPackages(events.PackagesSet{Version: 1, Packages: packages})).
		then(events.PackagesSet{Version: 1, Packages: packages})
}

func TestPackagesFollowTheirLastVersion(t *testing.T) {
	second := shelf
	second.Version = 2
	given(t, open).when(SetPackages(second)).then(second).
		when(SetPackages(second)).refused(CodeVersionConflict, "version")
	given(t).when(SetPackages(second)).refused(CodeVersionConflict, "version")
}

func TestPackagesAreInReason(t *testing.T) {
	inr := func(amount int64) map[events.Asset]int64 { return map[events.Asset]int64{events.INR: amount} }
	good := events.Package{Name: "small", Credits: 50, Prices: inr(5000)}
	for why, packages := range map[string][]events.Package{
		"none":           nil,
		"too many":       make([]events.Package, 51),
		"no name":        {{Credits: 50, Prices: inr(5000)}},
		"a long name":    {{Name: strings.Repeat("n", 65), Credits: 50, Prices: inr(5000)}},
		"one name twice": {good, good},
		"no credits":     {{Name: "small", Prices: inr(5000)}},
		"credits gone":   {{Name: "small", Credits: -1, Prices: inr(5000)}},
		"many credits":   {{Name: "small", Credits: 10_000_001, Prices: inr(5000)}},
		"no price":       {{Name: "small", Credits: 50}},
		"free":           {{Name: "small", Credits: 50, Prices: inr(0)}},
		"money back":     {{Name: "small", Credits: 50, Prices: inr(-1)}},
		"too dear":       {{Name: "small", Credits: 50, Prices: inr(100_000_000)}},
		"for credits":    {{Name: "small", Credits: 50, Prices: map[events.Asset]int64{events.Credit: 1}}},
		"in yen":         {{Name: "small", Credits: 50, Prices: map[events.Asset]int64{"JPY": 100}}},
	} {
		t.Run(why, func(t *testing.T) {
			given(t).when(SetPackages(events.PackagesSet{Version: 1, Packages: packages})).
				refused(CodeInvalidRequest, "packages")
		})
	}
}

func TestAQuoteIsWhatThePackageCosts(t *testing.T) {
	for _, c := range []struct {
		name     string
		currency events.Asset
		want     Quote
		code     string
	}{
		{"small", "", Quote{Packages: 1, Package: "small", Credits: 50, Amount: 5000, Currency: "INR"}, ""},
		{"small", "USD", Quote{Packages: 1, Package: "small", Credits: 50, Amount: 99, Currency: "USD"}, ""},
		{"medium", "USD", Quote{}, CodeUnknownCurrency},
		{"small", "CREDIT", Quote{}, CodeUnknownCurrency},
		{"huge", "INR", Quote{}, CodeUnknownPackage},
	} {
		got, err := QuotePackage(shelf, c.name, c.currency)
		if c.code == "" && err != nil || c.code != "" && !isRefused(err, c.code) || got != c.want {
			t.Errorf("%s in %q: %+v and %v, want %+v and %q", c.name, c.currency, got, err, c.want, c.code)
		}
	}
}
