package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"truebond/cmd/truebond/wording"
)

// A problem is a server's refusal (RFC 9457), told to a person in one line.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// readProblem makes the best of an answer that is no success, whoever gave it.
func readProblem(answer *http.Response) error {
	var p problem
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil || json.Unmarshal(body, &p) != nil {
		p = problem{} // a proxy's page, say
	}
	p.Status = answer.StatusCode
	return &p
}

func (p *problem) Error() string {
	said := p.Detail
	if said == "" {
		said = p.Title
	}
	if said == "" {
		said = http.StatusText(p.Status)
	}
	for _, e := range p.Errors {
		if e.Detail == p.Detail {
			continue // it says which field, and nothing else
		}
		said += fmt.Sprintf(" %s: %s", strings.TrimPrefix(e.Pointer, "#"), e.Detail)
	}
	code := ""
	if p.Code != "" {
		code = p.Code + ", "
	}
	return wording.OneLine(fmt.Sprintf("the server refused: %s (%s%d)", said, code, p.Status))
}
