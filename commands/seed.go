package commands

import (
	"context"
	"fmt"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// Seed puts the first prices and packages into a new log, once for ever.
func (s *Service) Seed(ctx context.Context) error {
	prices := events.PricesSet{Version: 1, Message: 1, AudioMinute: 5, VideoMinute: 10, SignupBonus: 10}
	for key, decide := range map[string]ledger.Decision{
		"seed/prices":   ledger.SetPrices(prices),
		"seed/packages": ledger.SetPackages(events.PackagesSet{Version: 1, Packages: firstPackages()}),
	} {
		_, err := s.Writer.Do(ctx, writer.Command{Key: key, Actor: events.System, Joins: true, Decide: decide})
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// firstPackages are what can be bought at the start. The prices in INR are the
// product's; the others are theirs at a rough rate, to be set anew before selling there.
func firstPackages() []events.Package {
	prices := func(inr, usd, eur, gbp, cad, aud int64) map[events.Asset]int64 {
		return map[events.Asset]int64{
			events.INR: inr, events.USD: usd, events.EUR: eur, events.GBP: gbp, events.CAD: cad, events.AUD: aud,
		}
	}
	return []events.Package{
		{Name: "small", Credits: 50, Prices: prices(50_00, 60, 60, 50, 85, 95)},
		{Name: "medium", Credits: 120, Prices: prices(100_00, 1_20, 1_10, 95, 1_65, 1_85)},
		{Name: "large", Credits: 300, Prices: prices(200_00, 2_40, 2_20, 1_90, 3_30, 3_65)},
		{Name: "xlarge", Credits: 600, Prices: prices(350_00, 4_20, 3_85, 3_30, 5_75, 6_40)},
	}
}
