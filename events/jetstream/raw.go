package jetstream

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/events"
)

// A RawBatch is messages that are ready to be published, with the subjects, headers and
// bodies that an append would give them. It is what appends are measured against: how
// fast the stream itself is with the same settings and sizes.
type RawBatch struct {
	log  *Log
	msgs []*nats.Msg
}

// NewRawBatch makes messages of records ahead of time. Each can be published once.
func (l *Log) NewRawBatch(records []events.Record) *RawBatch {
	b := &RawBatch{log: l}
	batch := nuid.Next()
	for i, r := range records {
		msg := nats.NewMsg(subjectPrefix + r.Data.Type())
		msg.Data = r.Body
		l.codec.EachHeader(r.Event, func(name, value string) { msg.Header[name] = []string{headerValue(value)} })
		msg.Header[nats.MsgIdHdr] = []string{headerValue(r.Key)}
		if len(records) > 1 {
			msg.Header[server.JSBatchId] = []string{batch}
			msg.Header[server.JSBatchSeq] = []string{strconv.Itoa(i + 1)}
		}
		if len(records) > 1 && i == len(records)-1 {
			msg.Header[server.JSBatchCommit] = []string{"1"}
		}
		b.msgs = append(b.msgs, msg)
	}
	return b
}

// Publish publishes the messages, as one atomic batch if there are several, and returns
// when the stream has them. It looks at no position and makes nothing sure.
func (b *RawBatch) Publish(ctx context.Context) error {
	last := len(b.msgs) - 1
	for _, msg := range b.msgs[:last] {
		if err := b.log.conn.PublishMsg(msg); err != nil {
			return err
		}
	}
	answer, err := b.log.conn.RequestMsgWithContext(ctx, b.msgs[last])
	if err != nil {
		return err
	}
	var got pubAck
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return err
	}
	if got.Error != nil {
		return got.Error
	}
	return nil
}
