package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/settings"
	"truebond/cmd/truebond/wording"
	"truebond/commands/blob"
	"truebond/events/archive"
)

// Where an archive can be, beside a folder.
const (
	InBucket = "bucket" // the one of the cloud storage settings
	Nowhere  = "none"
)

// DefaultArchiveEvery is how far an archive may be behind, unless the operator says otherwise.
const DefaultArchiveEvery = time.Minute

const (
	firstLookMax = 10 * time.Second // at a start; an archive that cannot be reached keeps nobody waiting
	lastRoundMax = 5 * time.Second  // at a stop: `docker stop` kills after ten
)

// ErrInDataFolder says that an archive would be lost together with its log.
var ErrInDataFolder = errors.New("the archive cannot be kept in the data folder itself, nor in its log")

// OpenArchive opens where an archive is kept; nil if nowhere. What an operator leaves
// open is the bucket, where there is one. In the data folder itself, or in its log, the segments would
// stand among the log's files, and be set aside with a damaged log that is to be repaired from them.
func OpenArchive(place string, data datafolder.Folder, s settings.Settings) (blob.Store, error) {
	switch {
	case place == Nowhere, place == "" && !s.HasStorage():
		return nil, nil
	case place == "", place == InBucket:
		return s.Bucket()
	case data.IsOrHasInLog(place):
		return nil, fmt.Errorf("%w: %s", ErrInDataFolder, place)
	}
	return blob.OpenFolder(place)
}

// An archiver keeps a server's archive as the log grows.
type archiver struct {
	store   blob.Store
	log     archive.Log
	signed  func() []byte                                    // the newest signed checkpoint; nil if there is none
	covered func(ctx context.Context, position uint64) error // waits until that covers a position
	durable func() uint64                                    // the last position that is in the log for certain
	logger  *slog.Logger

	starting sync.Mutex
	keeper   atomic.Pointer[archive.Keeper]
	failing  atomic.Bool
	failures atomic.Uint64
	upToDate atomic.Int64 // Unix seconds
}

// begin looks at the archive before the server serves. It fails when the log has lost
// what the archive has, or is another one. What else goes wrong is tried again later.
func (a *archiver) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstLookMax)
	defer cancel()
	_, err := a.resume(ctx)
	if errors.Is(err, archive.ErrAhead) || errors.Is(err, archive.ErrOther) {
		return err
	}
	if err != nil {
		a.failed(ctx, err)
	}
	return nil
}

func (a *archiver) failed(ctx context.Context, err error) {
	a.failures.Add(1)
	a.failing.Store(true)
	a.logger.ErrorContext(ctx, "the log cannot be archived; trying again", "error", err)
}

func (a *archiver) resume(ctx context.Context) (*archive.Keeper, error) {
	a.starting.Lock()
	defer a.starting.Unlock()
	if k := a.keeper.Load(); k != nil {
		return k, nil
	}
	k, err := archive.Resume(ctx, a.store, a.log, a.logger)
	if err == nil {
		a.keeper.Store(k)
	}
	return k, err
}

// run archives now and then until ctx ends.
func (a *archiver) run(ctx context.Context, every time.Duration) error {
	for {
		if err := a.round(ctx); err != nil && ctx.Err() == nil {
			a.failed(ctx, err)
		}
		if !sleep(ctx, every) {
			return nil
		}
	}
}

// finish archives what the log has when its writer has stopped: the machine may go away with it. What does
// not get there is for the next start.
func (a *archiver) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastRoundMax)
	defer cancel()
	err := a.covered(ctx, a.durable())
	if err == nil {
		err = a.round(ctx)
	}
	if err != nil {
		a.failed(ctx, err)
	}
	if behind := a.behind(); behind > 0 {
		a.logger.WarnContext(ctx, "the archive is behind the log; the next start goes on", "events", behind)
	}
}

// round archives what the newest checkpoint covers; all that there is while there is none.
func (a *archiver) round(ctx context.Context) error {
	k, err := a.resume(ctx)
	if err != nil {
		return err
	}
	err = a.keep(ctx, k)
	if errors.Is(err, archive.ErrGone) {
		if k, err = a.resumeAnew(ctx, err); err == nil {
			err = a.keep(ctx, k)
		}
	}
	if err != nil {
		return err
	}
	a.failing.Store(false)
	a.upToDate.Store(time.Now().Unix())
	return nil
}

func (a *archiver) keep(ctx context.Context, k *archive.Keeper) error {
	if signed := a.signed(); signed != nil {
		return k.KeepSigned(ctx, signed)
	}
	return k.Keep(ctx, a.durable())
}

// resumeAnew goes on with what another server has made of the archive. When nothing is there any more, its
// disk is perhaps not mounted: all of the log would go to another one.
func (a *archiver) resumeAnew(ctx context.Context, gone error) (*archive.Keeper, error) {
	a.starting.Lock()
	defer a.starting.Unlock()
	k, err := archive.Resume(ctx, a.store, a.log, a.logger)
	if err == nil && k.Position() == 0 {
		err = fmt.Errorf("%w: nothing is in %s; the server archives into an empty place only after its start", gone, a.store)
	}
	if err == nil {
		a.keeper.Store(k)
	}
	return k, err
}

func (a *archiver) position() uint64 {
	if k := a.keeper.Load(); k != nil {
		return k.Position()
	}
	return 0
}

func (a *archiver) behind() uint64 {
	last, kept := a.durable(), a.position()
	return last - min(kept, last)
}

// check tells all how the archive is doing. Its failing is no reason to send people away.
func (a *archiver) check(context.Context) (string, error) {
	detail := wording.Events(a.behind()) + " behind"
	if a.failing.Load() {
		detail += ", and failing"
	}
	return detail, nil
}

func (a *archiver) metrics() []prometheus.Collector {
	return []prometheus.Collector{
		gauge("archive_position", "Position of the last event that is archived for certain.",
			func() float64 { return float64(a.position()) }),
		gauge("archive_behind_events", "Events that the archive lacks.",
			func() float64 { return float64(a.behind()) }),
		gauge("archive_up_to_date_timestamp_seconds", "When the archive last had all that was signed, in Unix time.",
			func() float64 { return float64(a.upToDate.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "truebond", Name: "archive_failures_total",
			Help: "Rounds of the archiver that have failed."},
			func() float64 { return float64(a.failures.Load()) }),
	}
}

// openArchive begins the archive, if one is to be kept. It is part of a server's start.
func (s *Server) openArchive(ctx context.Context) error {
	store, err := OpenArchive(s.Archive, s.folder, s.settings)
	if err != nil || store == nil {
		return err
	}
	s.archiver = &archiver{
		store: store, log: s.Log, logger: s.Logger,
		durable: func() uint64 { return s.writer.Last() },
		covered: s.tree.Await,
		signed: func() []byte {
			if signed := s.tree.Signed(); signed != nil {
				return signed.Note
			}
			return nil
		},
	}
	return s.archiver.begin(ctx)
}

func (s *Server) runArchiver(ctx context.Context) error {
	return s.archiver.run(ctx, cmp.Or(s.ArchiveEvery, DefaultArchiveEvery))
}
