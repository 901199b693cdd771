package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"truebond/events"
)

// try publishes the records once. nil means that they are in and synced; any other
// answer leaves that open.
func (l *Log) try(ctx context.Context, after uint64, records []events.Record, ahead *ahead) error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.AppendTimeout)
	defer cancel()
	defer context.AfterFunc(l.link.Load(), cancel)()
	want := pubAck{Stream: streamName, Seq: after + uint64(len(records))}
	if len(records) == 1 {
		answer, err := l.conn.RequestMsgWithContext(ctx, l.draft.first(records[0], l.codec, after))
		if err != nil {
			return err
		}
		return want.check(answer.Data)
	}
	if ahead == nil {
		ahead = newAhead(after)
	}
	want.Batch, want.Count = ahead.id, len(records)
	last := len(records) - 1
	for i := ahead.sent; i < last; i++ {
		if err := l.conn.PublishMsg(l.draft.member(records[i], l.codec, ahead, i)); err != nil {
			return err
		}
	}
	msg := l.draft.member(records[last], l.codec, ahead, last)
	l.draft.set(server.JSBatchCommit, "1")
	answer, err := l.conn.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return err
	}
	return want.check(answer.Data)
}

// A pubAck is the server's answer to a publish. A refusal has a stream and a sequence
// too, so Error comes first.
type pubAck struct {
	Error     *apiError `json:"error"`
	Stream    string    `json:"stream"`
	Seq       uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"`
	Batch     string    `json:"batch"`
	Count     int       `json:"count"`
}

// A duplicateError says that the server knows a key; at which position is 0 when it
// does not tell.
type duplicateError struct{ position uint64 }

func (e *duplicateError) Error() string {
	return fmt.Sprintf("the server knows the key already (position %d)", e.position)
}

// check is nil only for the very acknowledgement that was hoped for.
func (want pubAck) check(answer []byte) error {
	var got pubAck
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("read the acknowledgement %q: %w", answer, err)
	}
	switch {
	case got.Error != nil && got.Error.ErrCode == codeDuplicate:
		return errors.Join(&duplicateError{}, got.Error)
	case got.Error != nil:
		return got.Error
	case got.Duplicate:
		return &duplicateError{position: got.Seq}
	case got != want:
		return fmt.Errorf("not the acknowledgement of this append: %s", answer)
	}
	return nil
}

// A draft is a message that is filled again and again. The connection has copied it
// when a publish returns.
type draft struct {
	msg    nats.Msg
	values [headersMax]string
	used   int
}

const headersMax = events.HeadersMax + 5 // of NATS

// of fills the draft with a record's subject, body, key and CloudEvents headers.
func (d *draft) of(r events.Record, codec *events.Codec) *nats.Msg {
	if d.msg.Header == nil {
		d.msg.Header = make(nats.Header, headersMax)
	}
	clear(d.msg.Header)
	d.used = 0
	d.msg.Reply = ""
	d.msg.Subject = subjectPrefix + r.Data.Type()
	d.msg.Data = r.Body
	codec.EachHeader(r.Event, func(name, value string) { d.set(name, headerValue(value)) })
	d.set(nats.MsgIdHdr, headerValue(r.Key))
	return &d.msg
}

// first is a record that goes to the position behind `after` or nowhere.
func (d *draft) first(r events.Record, codec *events.Codec, after uint64) *nats.Msg {
	msg := d.of(r, codec)
	d.set(server.JSExpectedLastSeq, strconv.FormatUint(after, 10))
	return msg
}

// member is the record at an index of an atomic batch. The server looks at the position
// that the first one expects when the batch is complete.
func (d *draft) member(r events.Record, codec *events.Codec, batch *ahead, index int) *nats.Msg {
	msg := d.of(r, codec)
	if index == 0 {
		d.set(server.JSExpectedLastSeq, strconv.FormatUint(batch.after, 10))
	}
	d.set(server.JSBatchId, batch.id)
	d.set(server.JSBatchSeq, strconv.Itoa(index+1))
	return msg
}

func (d *draft) set(name, value string) {
	d.values[d.used] = value
	d.msg.Header[name] = d.values[d.used : d.used+1 : d.used+1]
	d.used++
}

// headerValue is a text as CloudEvents puts it into a header: what is not visible
// ASCII, and `"` and `%`, percent-encoded. Different texts stay different.
func headerValue(text string) string {
	for i := range len(text) {
		if !plainInHeader(text[i]) {
			return percentEncoded(text)
		}
	}
	return text
}

func percentEncoded(text string) string {
	var b []byte
	for i := range len(text) {
		if c := text[i]; plainInHeader(c) {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return string(b)
}

func plainInHeader(c byte) bool { return c > ' ' && c <= '~' && c != '"' && c != '%' }
