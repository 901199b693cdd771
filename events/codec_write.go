package events

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// envelopeBytes is room for all but the payload, of an event with two moves.
const envelopeBytes = 512

// write writes an event's JSON exactly as encoding/json does, in a third of the time, which
// the writer's loop has for nothing else meanwhile.
func write(w wire[Payload]) ([]byte, error) {
	data, err := json.Marshal(w.Data)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, envelopeBytes+len(data))
	b = appendText(append(b, `{"key":`...), w.Key)
	b = appendText(append(b, `,"type":`...), w.Type)
	b = strconv.AppendInt(append(b, `,"schema":`...), int64(w.Schema), 10)
	b = appendTime(append(b, `,"time":`...), w.Time)
	if !w.Effective.IsZero() {
		b = appendTime(append(b, `,"effective":`...), w.Effective)
	}
	b = appendText(append(b, `,"actor":`...), w.Actor.String())
	if w.Cause != 0 {
		b = strconv.AppendUint(append(b, `,"cause":`...), w.Cause, 10)
	}
	if len(w.Request) > 0 {
		b = append(b, `,"request":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, w.Request), '"')
	}
	for i, m := range w.Moves {
		b = append(b, `,`...)
		if i == 0 {
			b = append(b, `"moves":[`...)
		}
		b = appendText(append(b, `{"from":`...), string(m.From))
		b = appendText(append(b, `,"to":`...), string(m.To))
		b = appendText(append(b, `,"asset":`...), string(m.Asset))
		b = append(strconv.AppendInt(append(b, `,"amount":`...), m.Amount, 10), '}')
	}
	if len(w.Moves) > 0 {
		b = append(b, ']')
	}
	b = append(append(b, `,"data":`...), data...)
	return append(b, '}'), nil
}

// appendText writes a string. Nearly all of ours need no escapes.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			escaped, _ := json.Marshal(text) // a string can always be written
			return append(b, escaped...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
