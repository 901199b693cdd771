package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/events/askagain"
)

// An entry is one value that the log's servers keep, with a revision that grows with each
// change. It is a key of a bucket, asked for and written without a pause after the servers
// have chosen another leader, which the client's own calls would sleep through.
type entry struct {
	conn        *nats.Conn
	bucket, key string
}

var errNoEntry = errors.New("there is no entry")

const (
	statusNotFound = "404"
	inProcess      = 10158 // the server writes another copy of this request just now
)

func (e entry) subject() string { return "$KV." + e.bucket + "." + e.key }

// read reads the value, from a server that may lag behind.
func (e entry) read(ctx context.Context) (value []byte, revision uint64, err error) {
	request := &nats.Msg{Subject: "$JS.API.DIRECT.GET.KV_" + e.bucket + "." + e.subject()}
	answer, err := askagain.Request(ctx, e.conn, request, nil)
	switch {
	case err != nil:
		return nil, 0, err
	case answer.Header.Get("Status") == statusNotFound:
		return nil, 0, errNoEntry
	case answer.Header.Get("Status") != "":
		return nil, 0, fmt.Errorf("read the entry: %s %s", answer.Header.Get("Status"), answer.Header.Get("Description"))
	}
	revision, err = strconv.ParseUint(answer.Header.Get("Nats-Sequence"), 10, 64)
	return answer.Data, revision, err
}

// A written is a server's answer to a write.
type written struct {
	Error *struct {
		Code        int    `json:"code"` // as in HTTP
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
	Revision uint64 `json:"seq"`
}

func (w written) failed() error {
	if w.Error == nil {
		return nil
	}
	return fmt.Errorf("%s (%d)", w.Error.Description, w.Error.ErrCode)
}

// write replaces the value of a revision, and no other; 0: there must be none. Copies of
// the request change nothing: the server knows them by their id, and the revision is
// another one by then.
func (e entry) write(ctx context.Context, value []byte, over uint64) (revision uint64, err error) {
	request := &nats.Msg{Subject: e.subject(), Data: value, Header: nats.Header{}}
	request.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(over, 10))
	request.Header.Set(nats.MsgIdHdr, nuid.Next())
	answer, err := askagain.Request(ctx, e.conn, request, func(answer *nats.Msg) error {
		var w written
		_ = json.Unmarshal(answer.Data, &w)
		if w.Error != nil && (w.Error.Code >= 500 || w.Error.ErrCode == inProcess) {
			return w.failed()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var w written
	if err := json.Unmarshal(answer.Data, &w); err != nil {
		return 0, fmt.Errorf("read the answer %q: %w", answer.Data, err)
	}
	return w.Revision, w.failed()
}
