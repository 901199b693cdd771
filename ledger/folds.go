package ledger

import "truebond/events"

// Folds are the writer's documents: all that decisions look at. None of them ever
// deletes a document.
func Folds() []events.Folding {
	return []events.Folding{
		Keys.Folding(),
		Accounts.Folding(),
		Users.Folding(),
		Emails.Folding(),
		Sessions.Folding(),
		APIKeys.Folding(),
		Prices.Folding(),
		Packages.Folding(),
		Payments.Folding(),
		Blocks.Folding(),
		Messages.Folding(),
		Calls.Folding(),
		Lines.Folding(),
	}
}
