package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	streamName    = "EVENTS"
	subjectPrefix = "events."

	// duplicateWindow is how long the server knows a key. It is no guarantee of ours,
	// and each key costs memory, so it is just longer than a try of an append.
	duplicateWindow = 10 * time.Second
)

// settings are what the stream must be like. No event may leave it, by age, number,
// size, deletion, purge, roll-up or time to live, and none may be changed.
func settings(replicas int) server.StreamConfig {
	return server.StreamConfig{
		Name:               streamName,
		Subjects:           []string{subjectPrefix + ">"},
		Retention:          server.LimitsPolicy,
		Storage:            server.FileStorage,
		Discard:            server.DiscardNew,
		Replicas:           replicas,
		MaxConsumers:       -1,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPer:         -1,
		MaxMsgSize:         -1,
		Duplicates:         duplicateWindow,
		Compression:        server.NoCompression,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowAtomicPublish: true,
		AllowDirect:        true,
	}
}

// ensureStream makes the stream, or checks the one that is there.
func (l *Log) ensureStream(ctx context.Context) error {
	want := settings(l.opts.Replicas)
	got, err := l.streamConfig(ctx, "INFO", nil)
	if isRefused(err, codeStreamNotFound) && !l.opts.Existing {
		got, err = l.streamConfig(ctx, "CREATE", want)
	}
	exists := isRefused(err, codeStreamExists)
	l.there = err == nil || exists
	if exists {
		got, err = l.streamConfig(ctx, "INFO", nil) // another node was faster
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamName, err)
	}
	if others := differences(want, got); len(others) > 0 {
		return fmt.Errorf("stream %s is not set up as the log must be: %s",
			streamName, strings.Join(others, "; "))
	}
	return nil
}

func (l *Log) streamConfig(ctx context.Context, verb string, request any) (server.StreamConfig, error) {
	var answer struct {
		Config server.StreamConfig `json:"config"`
	}
	err := l.patiently(ctx, func(ctx context.Context) error {
		return l.call(ctx, "STREAM."+verb+"."+streamName, request, &answer)
	})
	return answer.Config, err
}

// differences tells where a stream is not as it must be, in the server's own words.
func differences(want, got server.StreamConfig) []string {
	wanted, have := fieldsOf(want), fieldsOf(got)
	names := slices.Sorted(maps.Keys(have))
	for name := range wanted {
		if _, both := have[name]; !both {
			names = append(names, name)
		}
	}
	var others []string
	for _, name := range names {
		if !reflect.DeepEqual(wanted[name], have[name]) {
			others = append(others, fmt.Sprintf("%s is %s and must be %s",
				name, jsonOf(have[name]), jsonOf(wanted[name])))
		}
	}
	return others
}

// fieldsOf are a stream's settings by name, without those that an operator is free
// in and those that say nothing.
func fieldsOf(c server.StreamConfig) map[string]any {
	c.Description, c.Metadata, c.Placement = "", nil, nil
	var fields map[string]any
	if err := json.Unmarshal([]byte(jsonOf(c)), &fields); err != nil {
		return nil // what was marshalled from a struct is an object
	}
	maps.DeleteFunc(fields, func(_ string, v any) bool {
		return v == nil || v == false || v == 0.0 || reflect.DeepEqual(v, map[string]any{})
	})
	return fields
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// streamState is what the stream's leader says of its events.
type streamState struct {
	Msgs       uint64 `json:"messages"`
	FirstSeq   uint64 `json:"first_seq"`
	LastSeq    uint64 `json:"last_seq"`
	NumDeleted int    `json:"num_deleted"`
}

// streamInfo is what a server says that takes itself for the stream's leader.
type streamInfo struct {
	State   streamState `json:"state"`
	Cluster struct {
		Replicas []struct {
			Active time.Duration `json:"active"` // since the leader heard of it
		} `json:"replicas"`
	} `json:"cluster"`
}

// contactMax is how long a leader may have heard of none that follow it. They choose
// another one after four seconds without it.
const contactMax = 3 * time.Second

// errOld says that a server takes itself for the leader, and is none any more: one that was
// cut off, and does not know yet that others have gone on.
var errOld = errors.New("a server that was cut off tells an old end of the log")

// old tells whether others may have gone on without this leader, so far as can be seen.
func (i streamInfo) old(replicas int, known uint64) bool {
	heard := 1 // itself
	for _, r := range i.Cluster.Replicas {
		if r.Active < contactMax {
			heard++
		}
	}
	return heard <= replicas/2 || i.State.LastSeq < known
}

func (l *Log) state(ctx context.Context) (streamState, error) {
	return l.stateFrom(ctx, l.known.Load())
}

// stateFrom asks until the log ends at a position that it had already, or behind it. If it
// never does, the answer is there beside errOld.
func (l *Log) stateFrom(ctx context.Context, known uint64) (streamState, error) {
	var answer streamInfo
	ctx, cancel := l.reading(ctx)
	defer cancel()
	err := l.patiently(ctx, func(ctx context.Context) error {
		var info streamInfo
		if err := l.call(ctx, "STREAM.INFO."+streamName, nil, &info); err != nil {
			return err
		}
		answer = info
		if l.server == nil && answer.old(l.opts.Replicas, known) {
			return errOld
		}
		return nil
	})
	if err != nil {
		return answer.State, fmt.Errorf("ask for the log's end: %w", err)
	}
	l.knows(answer.State.LastSeq)
	return answer.State, nil
}

// knows remembers that the log has a position, for certain.
func (l *Log) knows(position uint64) {
	for known := l.known.Load(); position > known; known = l.known.Load() {
		if l.known.CompareAndSwap(known, position) {
			return
		}
	}
}
