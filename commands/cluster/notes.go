package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"truebond/events/askagain"
)

// NoteMax is how long a note may be; servers take 1 MiB by default.
const NoteMax = 512 << 10

const (
	codeNoMessage = 10037
	codeNoStream  = 10059
	// noStreamMax is how often it is said that there is no bucket before that is believed: a
	// server that has just begun to lead may not know yet of one that is there.
	noStreamMax = 4
)

// Note reads what is kept beside the lease under a name, as the servers' leader knows it;
// nil if nothing is.
func Note(ctx context.Context, conn *nats.Conn, name string) ([]byte, error) {
	text, _, err := entry{conn, bucket, name}.readLast(ctx)
	if errors.Is(err, errNoEntry) {
		return nil, nil
	}
	return text, err
}

// SetNote keeps a text beside the lease, for all members; empty: nothing. Who calls it holds
// the lease, and the bucket is there by then.
func SetNote(ctx context.Context, conn *nats.Conn, name string, text []byte) error {
	e := entry{conn, bucket, name}
	_, revision, err := e.readLast(ctx)
	if err != nil && !errors.Is(err, errNoEntry) {
		return err
	}
	_, err = e.write(ctx, text, revision)
	return err
}

// readLast reads the value from the servers' leader, so that none that was written is missed.
func (e entry) readLast(ctx context.Context) (value []byte, revision uint64, err error) {
	body, err := json.Marshal(map[string]string{"last_by_subj": e.subject()})
	if err != nil {
		return nil, 0, err
	}
	type last struct {
		written // for its error
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	var got last
	unknown := 0
	_, err = askagain.Request(ctx, e.conn, &nats.Msg{Subject: "$JS.API.STREAM.MSG.GET.KV_" + e.bucket, Data: body},
		func(answer *nats.Msg) error {
			got = last{}
			if err := json.Unmarshal(answer.Data, &got); err != nil {
				return fmt.Errorf("read the answer %q: %w", answer.Data, err)
			}
			if got.Error == nil {
				return nil
			}
			if got.Error.ErrCode == codeNoStream {
				unknown++
			}
			if got.Error.Code >= 500 || got.Error.ErrCode == codeNoStream && unknown < noStreamMax {
				return got.failed()
			}
			return nil
		})
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("read the note %s: %w", e.key, err)
	case got.Error != nil && (got.Error.ErrCode == codeNoMessage || got.Error.ErrCode == codeNoStream):
		return nil, 0, errNoEntry
	case got.Error != nil:
		return nil, 0, fmt.Errorf("read the note %s: %w", e.key, got.failed())
	}
	return got.Message.Data, got.Message.Seq, nil
}
