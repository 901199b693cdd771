package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// DeductMany asks for many charges in one call. Each is what a call of its own would be.
type DeductMany struct {
	Items []DeductItem `json:"items"`
}

// DeductItem is one of many charges, with the idempotency key that a call of its own
// would send as a header.
type DeductItem struct {
	_              struct{} `additionalProperties:"false"`
	IdempotencyKey string   `json:"idempotency_key"`
	UserID         string   `json:"user_id"`
	Credits        int64    `json:"credits"`
	Reason         string   `json:"reason"`
}

// deductItemsMax is how many charges one call takes: what goes into the log at once.
const deductItemsMax = events.BatchMax

var deductKeyRules = []validation.Rule{validation.Required,
	validation.NewStringRule(IsIdempotencyKey, IdempotencyKeyRule)}

// Validate says which field of which item is not as it must be.
func (in DeductMany) Validate() error {
	err := validation.ValidateStruct(&in,
		validation.Field(&in.Items, validation.Required, validation.Length(1, deductItemsMax)))
	if err != nil {
		return err
	}
	first := make(map[string]int, len(in.Items))
	again := validation.Errors{}
	for i, item := range in.Items {
		if at, known := first[item.IdempotencyKey]; known {
			again[strconv.Itoa(i)] = validation.Errors{"idempotency_key": fmt.Errorf("is the key of item %d already", at)}
			continue
		}
		first[item.IdempotencyKey] = i
	}
	if len(again) == 0 {
		return nil
	}
	return validation.Errors{"items": again}
}

func (in DeductItem) Validate() error {
	return broken(
		judged{"idempotency_key", validation.Validate(in.IdempotencyKey, deductKeyRules...)},
		judged{"user_id", validation.Validate(in.UserID, deductUserRules...)},
		judged{"credits", validation.Validate(in.Credits, deductCreditsRules...)},
		judged{"reason", validation.Validate(in.Reason, deductReasonRules...)},
	)
}

// A DeductedItem is what one of many charges came to.
type DeductedItem struct {
	Deducted
	Err error
}

// deductRoute is where single charges are asked for.
const deductRoute = "POST /api/credits/deduct"

// DeductMany charges users, each charge by itself, and gives the results in the order of
// the items. A charge has the key and the request that a single call has, so it is the
// same charge whichever way it comes again. An error says that none was taken.
func (s *Service) DeductMany(ctx context.Context, in DeductMany) ([]DeductedItem, error) {
	actor := ledger.CallerOf(ctx).Actor
	all := make([]writer.Command, len(in.Items))
	for i, item := range in.Items {
		request, err := s.deductRequest(item)
		if err != nil {
			return nil, err
		}
		all[i] = writer.Command{Key: keyOf(actor, item.IdempotencyKey), Actor: actor, Request: request,
			Decide: ledger.DeductCredits(item.UserID, item.Credits, item.Reason)}
	}
	outcomes, err := s.Writer.DoAll(ctx, all)
	if err != nil {
		return nil, err
	}
	results := make([]DeductedItem, len(outcomes))
	for i, o := range outcomes {
		if o.Err != nil {
			results[i].Err = o.Err
			// What is wrapped around a refusal is for the log.
			if !errors.As(o.Err, new(*ledger.Refusal)) || errors.Unwrap(o.Err) != nil {
				s.Logger.ErrorContext(ctx, "a charge of many failed", "key", all[i].Key, "error", o.Err)
			}
			continue
		}
		results[i].Deducted = deducted(o.Done)
	}
	return results, nil
}

// deductRequest is the hash of a single call that asks for the same: its body's members
// stand in the order of their names.
func (s *Service) deductRequest(item DeductItem) ([]byte, error) {
	body, err := json.Marshal(struct {
		Credits int64  `json:"credits"`
		Reason  string `json:"reason"`
		UserID  string `json:"user_id"`
	}{item.Credits, item.Reason, item.UserID})
	if err != nil {
		return nil, fmt.Errorf("write what is asked: %w", err)
	}
	return s.HashRequest(deductRoute, body), nil
}
