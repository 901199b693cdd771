package http

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	nethttp "net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/ledger"
)

// The one table from what is refused to a status. Codes that have none here are 422.
// A test holds every code that the program can refuse with against it.
var statuses = map[string]int{
	// The form of a request.
	"malformed_json":           nethttp.StatusBadRequest,
	"malformed_request":        nethttp.StatusBadRequest,
	"missing_body":             nethttp.StatusBadRequest,
	"invalid_fields":           nethttp.StatusBadRequest,
	"invalid_cursor":           nethttp.StatusBadRequest,
	"invalid_position":         nethttp.StatusBadRequest,
	"beyond_log":               nethttp.StatusBadRequest,
	"beyond_checkpoint":        nethttp.StatusBadRequest,
	"idempotency_key_required": nethttp.StatusBadRequest,
	"idempotency_key_invalid":  nethttp.StatusBadRequest,
	"body_too_slow":            nethttp.StatusRequestTimeout,
	"body_too_large":           nethttp.StatusRequestEntityTooLarge,
	"unsupported_media_type":   nethttp.StatusUnsupportedMediaType,
	"method_not_allowed":       nethttp.StatusMethodNotAllowed,

	// Who asks, and how often.
	"unauthorized":      nethttp.StatusUnauthorized,
	"invalid_token":     nethttp.StatusUnauthorized,
	"login_failed":      nethttp.StatusUnauthorized,
	"refresh_failed":    nethttp.StatusUnauthorized,
	"forbidden":         nethttp.StatusForbidden,
	"too_many_requests": nethttp.StatusTooManyRequests,
	"login_locked":      nethttp.StatusTooManyRequests,

	// What a webhook must be.
	"webhook_signature":   nethttp.StatusBadRequest,
	"webhook_api_version": nethttp.StatusBadRequest,
	"webhook_body":        nethttp.StatusBadRequest,

	// The rules.
	"insufficient_credits": nethttp.StatusPaymentRequired,
	"not_found":            nethttp.StatusNotFound,
	"hold_not_found":       nethttp.StatusNotFound,
	"lot_not_found":        nethttp.StatusNotFound,
	"no_such_debt":         nethttp.StatusNotFound,
	"unknown_user":         nethttp.StatusNotFound,
	"erased":               nethttp.StatusGone,
	"not_yours":            nethttp.StatusForbidden,
	"blocked":              nethttp.StatusForbidden,
	"session_ended":        nethttp.StatusUnauthorized,
	"email_taken":          nethttp.StatusConflict,
	"busy":                 nethttp.StatusConflict,
	"call_over":            nethttp.StatusConflict,
	"call_active":          nethttp.StatusConflict,
	"not_due":              nethttp.StatusConflict,
	"intent_exists":        nethttp.StatusConflict,
	"payment_granted":      nethttp.StatusConflict,
	"packages_changed":     nethttp.StatusConflict,
	"version_conflict":     nethttp.StatusConflict,
	"no_archive":           nethttp.StatusConflict,
	"nothing_to_do":        nethttp.StatusConflict, // where a command does not make it a success
	"key_busy":             nethttp.StatusConflict,
	"already_granted":      nethttp.StatusConflict,
	"already_undone":       nethttp.StatusConflict,
	"hold_exists":          nethttp.StatusConflict,
	"hold_expired":         nethttp.StatusConflict,
	"lot_not_expired":      nethttp.StatusConflict,
	"nothing_to_undo":      nethttp.StatusConflict,
	"view_building":        nethttp.StatusConflict,
	"hold_too_small":       nethttp.StatusUnprocessableEntity,
	"too_many_credits":     nethttp.StatusUnprocessableEntity,
	"too_many_blocks":      nethttp.StatusUnprocessableEntity,
	"too_many_lots":        nethttp.StatusUnprocessableEntity,
	"under_age":            nethttp.StatusUnprocessableEntity,
	"unknown_package":      nethttp.StatusUnprocessableEntity,
	"unknown_view":         nethttp.StatusUnprocessableEntity,
	"entry_too_long":       nethttp.StatusUnprocessableEntity,
	"unknown_currency":     nethttp.StatusUnprocessableEntity,
	"key_reused":           nethttp.StatusUnprocessableEntity,
	"invalid_values":       nethttp.StatusUnprocessableEntity,
	"invalid_request":      nethttp.StatusUnprocessableEntity,

	// The server is not able to, just now.
	"no_leader":          nethttp.StatusServiceUnavailable,
	"no_answer":          nethttp.StatusServiceUnavailable,
	"overloaded":         nethttp.StatusServiceUnavailable,
	"stopping":           nethttp.StatusServiceUnavailable,
	"prices_unset":       nethttp.StatusServiceUnavailable,
	"timeout":            nethttp.StatusServiceUnavailable,
	"views_behind":       nethttp.StatusServiceUnavailable,
	"tree_building":      nethttp.StatusServiceUnavailable,
	"archive_failing":    nethttp.StatusServiceUnavailable,
	codeDamaged:          nethttp.StatusServiceUnavailable, // the disk has lost something; an operator has to look
	codeKeyMissing:       nethttp.StatusServiceUnavailable, // the vault is too old; an operator has to look
	"store_unavailable":  nethttp.StatusServiceUnavailable,
	"limits_unavailable": nethttp.StatusServiceUnavailable,
	"payment_provider":   nethttp.StatusBadGateway,
	"internal":           nethttp.StatusInternalServerError,
}

const (
	codeDamaged     = "damaged"
	codeKeyMissing  = "key_missing"
	problemType     = "application/problem+json"
	retryAfterFact  = "retry_after" // seconds: a fact of a refusal that sets the header, too
	retryAfterBusy  = time.Second
	statusCancelled = 499 // for the log alone: the client did not wait for the answer
)

// A problem is what a client is told of a failure (RFC 9457).
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Code      string         `json:"code"`
	RequestID string         `json:"request_id"`
	Errors    []fieldError   `json:"errors,omitempty"`
	facts     map[string]any // further members
	cause     error          // for the log, never for the client
	retry     time.Duration
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.Code + ": " + p.cause.Error()
	}
	return p.Code + ": " + p.Detail
}

// Unwrap is what went wrong within.
func (p *problem) Unwrap() error { return p.cause }

func newProblem(code, detail string, faults ...fieldError) *problem {
	status, ok := statuses[code]
	if !ok {
		status = nethttp.StatusUnprocessableEntity
	}
	p := &problem{Type: "urn:truebond:problem:" + code, Code: code, Status: status, Detail: detail, Errors: faults,
		Title: strings.TrimSuffix(sentence(strings.ReplaceAll(code, "_", " ")), ".")}
	forOperator := code == codeDamaged || code == codeKeyMissing // to ask again is of no use
	if status == nethttp.StatusServiceUnavailable && !forOperator {
		p.retry = retryAfterBusy
	}
	return p
}

// problemOf says what a client is told of an error. What is not meant for one becomes a
// plain 500.
func problemOf(err error) *problem {
	var (
		known   *problem
		refusal *ledger.Refusal
		routing *echo.HTTPError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refusal):
		p := refused(refusal)
		if _, plain := err.(*ledger.Refusal); !plain { //nolint:errorlint // what is wrapped around it is for the log
			p.cause = err
		}
		return p
	case errors.As(err, &routing) && routing.Code == nethttp.StatusNotFound:
		return newProblem("not_found", "There is nothing at this address.")
	case errors.As(err, &routing) && routing.Code == nethttp.StatusMethodNotAllowed:
		return newProblem("method_not_allowed", "The address does not take this method.")
	case errors.Is(err, context.DeadlineExceeded):
		p := newProblem("timeout", "It took too long. What was asked may be done all the same: "+
			"the same request with the same Idempotency-Key tells.")
		p.cause = err
		return p
	}
	p := newProblem("internal", "Something went wrong on the server. It has been logged under the request id.")
	p.cause = err
	return p
}

func refused(r *ledger.Refusal) *problem {
	p := newProblem(r.Code, r.Detail)
	if r.Field != "" {
		p.Errors = []fieldError{{Pointer: "#/" + pointerPart(r.Field), Detail: r.Detail}}
	}
	p.facts = r.Facts
	if seconds, ok := r.Facts[retryAfterFact].(int64); ok {
		p.retry = time.Duration(seconds) * time.Second
	}
	return p
}

// MarshalJSON puts the facts beside the members that every problem has.
func (p *problem) MarshalJSON() ([]byte, error) {
	type plain problem
	standard, err := json.Marshal((*plain)(p))
	if err != nil || len(p.facts) == 0 {
		return standard, err
	}
	members := maps.Clone(p.facts)
	if err := json.Unmarshal(standard, &members); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}

// fail answers with the problem that an error is. It returns what was answered.
func fail(c echo.Context, err error) *problem {
	told := *problemOf(err)
	p := &told
	p.RequestID = c.Response().Header().Get(headerRequestID)
	if c.Response().Committed {
		return p
	}
	header := c.Response().Header()
	if p.Status == nethttp.StatusUnauthorized && header.Get(echo.HeaderWWWAuthenticate) == "" {
		header.Set(echo.HeaderWWWAuthenticate, `Bearer realm="truebond"`)
	}
	if p.retry > 0 {
		header.Set(echo.HeaderRetryAfter, seconds(p.retry))
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"type":"about:blank","title":"Internal","status":500,"code":"internal"}`)
		p.Status = nethttp.StatusInternalServerError
	}
	_ = c.Blob(p.Status, problemType, body)
	return p
}

// seconds writes a pause in whole seconds, one at least.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
