// Package server puts a server together from its parts, and runs it: alone, or as a member of a cluster of
// which one leads at a time.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/settings"
	"truebond/commands"
	"truebond/commands/redis"
	"truebond/commands/stripe"
	"truebond/commands/token"
	"truebond/commands/vault"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/http"
	"truebond/ledger"
	"truebond/projections"
	"truebond/queries"
)

// A Server is all parts of a server, put together.
type Server struct {
	Options
	Log      *jetstream.Log
	Store    projections.Store
	Commands *commands.Service
	Queries  *queries.Service

	settings  settings.Settings
	folder    datafolder.Folder
	codec     *events.Codec
	reader    *projections.Reader
	projector *shown
	views     *views
	keys      keyStore
	vault     *vault.Vault
	tree      *checkpoints.Tree
	archiver  *archiver // nil: no archive is kept
	redis     goredis.UniversalClient
	clock     *commands.Clock
	writer    *writer.Seat
	timers    *commands.Timers
	http      *http.Server

	comparisons *comparisons
	scrubs      scrubs
	outside     net.Listener
	socket      net.Listener
	membership

	failures chan error                    // what it cannot go on from
	closers  []func(context.Context) error // the last one first
	work     *works
}

// Start starts all parts of a server and returns once it is serving, on its
// address and on the operator's socket of its data folder.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	s := &Server{
		Options: o, failures: make(chan error, 8), comparisons: newComparisons(), writer: &writer.Seat{},
	}
	s.led = make(chan struct{}, 1)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{
		s.takeSettings, s.openFolder, s.tryAddress, s.openLog, s.connect, s.openStore, s.openVault, s.openTree,
		s.openArchive, s.openRedis, s.join, s.putTogether, s.listen, s.openLease, s.run,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) onClose(do func(context.Context) error) { s.closers = append(s.closers, do) }

// close lets go of all that was opened, the last first.
func (s *Server) close(ctx context.Context) (err error) {
	for _, do := range slices.Backward(s.closers) {
		err = errors.Join(err, do(ctx))
	}
	s.closers = nil
	return err
}

// takeSettings takes those of the options, or else of the surroundings. Secrets that are not set are
// made up later: see FillSecrets.
func (s *Server) takeSettings(context.Context) (err error) {
	if s.Settings != nil {
		s.settings = *s.Settings
	} else if s.settings, err = settings.Read(); err != nil {
		return err
	}
	if s.TestClock {
		if err := s.settings.ValidateTestClock(); err != nil {
			return err
		}
	}
	s.lacking = s.lacks()
	for _, w := range s.settings.Warnings {
		s.Logger.Warn(w)
	}
	return nil
}

// openFolder opens the data folder, and keeps others off it. It refuses one in which a restore was cut off.
func (s *Server) openFolder(context.Context) error {
	folder, unlock, err := datafolder.Hold(s.Data)
	if err != nil {
		return err
	}
	s.folder = folder
	s.onClose(func(context.Context) error { return unlock() })
	return s.folder.CheckRestored()
}

// On outside servers, one that has just been lost never answers, and the next one is there
// in seconds.
const (
	clusterTry       = 2 * time.Second // for an append to be acknowledged, before the log is asked what became of it
	clusterHeartbeat = time.Second     // of what follows the log; after three without one it begins anew
)

func (s *Server) openLog(ctx context.Context) (err error) {
	if s.codec, err = events.NewCodec(); err != nil {
		return err
	}
	o := jetstream.Options{Dir: s.folder.Path, URL: s.NATS, Replicas: s.Replicas, Codec: s.codec, Logger: s.Logger,
		Durable: s.folder.SignedSize()}
	if s.NATS != "" {
		o.AppendTimeout, o.Heartbeat = clusterTry, clusterHeartbeat
	}
	s.Log, err = jetstream.Open(ctx, o)
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.Log.Close() })
	last, err := s.Log.Last(ctx)
	if err != nil {
		return err
	}
	return s.settings.FillSecrets(s.folder, last == 0)
}

// openStore opens the store of the views, and refuses to go on with a log that is not
// the one that the views were folded from.
func (s *Server) openStore(ctx context.Context) (err error) {
	if s.Store, err = OpenViews(ctx, s.settings.MongoURL, s.folder); err != nil {
		return err
	}
	s.onClose(s.Store.Close)
	s.reader = projections.NewReader(s.Store)
	positions, err := projections.NewProjector(s.Store, s.Log, projections.Catalogue(), s.Logger).Positions(ctx)
	if err != nil {
		return err
	}
	return s.explainViews(s.Log.Check(ctx, positions))
}

// explainViews says what to do with views that know another log than the one that is there.
func (s *Server) explainViews(err error) error {
	if !errors.Is(err, events.ErrShort) && !errors.Is(err, jetstream.ErrOther) {
		return err
	}
	views := "move views.db, and what begins with its name, away from " + s.folder.Path
	if s.settings.MongoURL != "" {
		views = "drop the database of MONGO_URL (not the one with _vault behind its name: it has people's keys)"
	}
	return fmt.Errorf("%w. The views were folded from a longer log, or another one. If this log was restored to an "+
		"earlier moment, %s, and empty Redis: views are built again from the log. If it was not, the log has lost "+
		"events: change nothing, and see \"Backup and restore\" in docs/operator.md", err, views)
}

func (s *Server) openVault(ctx context.Context) error {
	var err error
	if s.keys, err = OpenKeys(ctx, s.settings.MongoURL, s.folder); err != nil {
		return err
	}
	s.onClose(s.keys.Close)
	last, err := s.Log.Last(ctx)
	if err != nil {
		return err
	}
	var options []vault.Option
	if s.NATS != "" && len(s.lacking) == 0 {
		options = append(options, vault.Uncached()) // others may erase
	}
	s.vault, err = vault.Open(ctx, s.keys, s.settings.JWTSecret, last == 0, options...)
	return explainSecret(s.folder, err)
}

func (s *Server) openRedis(ctx context.Context) (err error) {
	s.redis, err = openRedis(ctx, s.settings.RedisURL, s.onClose)
	return err
}

// putTogether joins the parts. Nothing runs yet.
func (s *Server) putTogether(ctx context.Context) error {
	last, lastTime, err := s.lastEvent(ctx)
	if err != nil {
		return err
	}
	s.clock = commands.WallClock(lastTime)
	if s.TestClock {
		s.clock = commands.TestClock(lastTime)
	} else if ahead := s.clock.Ahead(); ahead > time.Second {
		s.Logger.Warn("the last event is from the future; the ledger's clock goes on from there",
			"ahead", ahead.Round(time.Second).String())
	}
	s.views = &views{reader: s.reader, projector: s.projector}
	parts := commands.Parts{
		Writer: s.writer, Vault: s.vault, Tokens: token.New(s.settings.JWTSecret, time.Now),
		Attempts: redis.NewAttempts(s.redis, loginFailuresMax, loginLock), Presence: redis.NewPresence(s.redis),
		Clock: s.clock, Logger: s.Logger, Wait: s.views.Wait, APIKeyHash: s.views.APIKeyHash,
		SessionOver: s.views.SessionOver, HashRequest: s.hashRequest,
		VerifyWebhook: func(body []byte, signature string) (ledger.Announcement, error) {
			return stripe.Verify(body, signature, s.settings.StripeWebhookSecret)
		},
	}
	if s.settings.StripeSecretKey != "" {
		parts.Payments = stripe.NewGateway(s.settings.StripeSecretKey, "")
	} else {
		webhook := func() string { return s.URL() + "/api/webhooks/stripe" }
		simulation := stripe.NewSimulation(s.settings.StripeWebhookSecret, webhook)
		parts.Payments, parts.Simulator = simulation, simulation
		s.Logger.Warn("STRIPE_SECRET_KEY is not set: payments are simulated, and anybody can pay with nothing")
	}
	s.Commands = commands.NewService(parts)
	s.Queries = queries.NewService(queries.Parts{
		Views: s.reader, Vault: s.vault, Now: s.clock.Now, Position: s.projector.Position,
		Changes: s.projector.Changes,
		Tree:    s.tree, Bodies: s.Log,
	})
	s.timers = commands.NewTimers(s.Commands, s.views, s.Logger)
	return s.makeHTTP(last)
}

// lastEvent is the position and the time of the log's last event; zero if there is none.
func (s *Server) lastEvent(ctx context.Context) (position uint64, at time.Time, err error) {
	if position, err = s.Log.Last(ctx); err != nil || position == 0 {
		return position, at, err
	}
	record, err := s.Log.Read(ctx, position)
	return position, record.Time, err
}

// A person who fails to log in so often from one address waits for so long.
const (
	loginFailuresMax = 5
	loginLock        = 15 * time.Minute
)

func (s *Server) makeHTTP(logEnd uint64) (err error) {
	config := http.Config{
		Routes: http.Routes(s.Commands, s.Queries, operator{s}),
		Tokens: token.New(s.settings.JWTSecret, time.Now), Sessions: s.Queries, APIKeys: s.Queries,
		Redis: s.redis, Log: s.Logger,
		HashRequest: s.hashRequest,
		Wait:        s.wait, LogEnd: logEnd, Stored: s.projector.Position,
		Checks: s.checks(), Metrics: s.metrics(), ConnectionsMax: connectionsMax(),
		Frontend: s.settings.FrontendURL, Backend: s.settings.BackendURL, Version: Version(), Proxies: s.Proxies,
	}
	if s.shared != nil {
		config.Positions, config.Cluster = s.shared, s
	}
	s.http, err = http.New(config)
	return err
}

func (s *Server) hashRequest(route string, body []byte) []byte {
	return s.vault.HashBytes(ledger.PurposeRequest, []byte(route), body)
}

// wait waits for the views to be at a position of the log.
func (s *Server) wait(ctx context.Context, position uint64) error {
	if err := s.within(ctx, position); err != nil {
		return err
	}
	return s.projector.Wait(ctx, position)
}

// Do has the writer decide what no route asks for.
func (s *Server) Do(ctx context.Context, c writer.Command) (writer.Done, error) {
	return s.writer.Do(ctx, c)
}

// CatchUp waits until the views show all that this server has decided.
func (s *Server) CatchUp(ctx context.Context) error { return s.projector.Wait(ctx, s.writer.Last()) }

// within refuses a position beyond the log's end.
func (s *Server) within(ctx context.Context, position uint64) error {
	if position <= s.last() {
		return nil
	}
	last, err := s.Log.Last(ctx)
	if err == nil && position > last && s.shared != nil && !s.Leads() {
		last, err = s.certainLast(ctx)
	}
	if err == nil && position > last {
		return ledger.Refuse("beyond_log", "The log ends at position %d.", last)
	}
	return ledger.Unavailable(ctx, err)
}

// run lets everything run, and returns once it serves: leading, or following a leader.
func (s *Server) run(ctx context.Context) error {
	s.work = newWorks(context.WithoutCancel(ctx), s.failures)
	s.onClose(s.work.stopAll)
	if s.projector.follower != nil {
		s.work.start("follower", s.projector.follower.Run)
	}
	// Each server keeps the tree and signs for itself: the key is the vault's.
	s.work.start("checkpoints", s.tree.Run)
	if s.NATS == "" {
		s.work.start("scrub", s.scrubNowAndThen)
	}
	if s.shared != nil {
		s.work.start("reach", s.watchReach)
		s.work.start("redis", s.watchRedis)
	}
	if s.lease == nil {
		s.work.start("ledger", s.lead)
	} else {
		s.work.start("lease", func(ctx context.Context) error { return s.lease.Run(ctx, s.lead) })
	}
	if err := unlessFailed(ctx, s.failures, s.awaitRole, s.awaitCheckpoint); err != nil {
		return err
	}
	serve := func(on func(net.Listener) error, l net.Listener) func(context.Context) error {
		return func(context.Context) error { return on(l) }
	}
	s.work.start("http", serve(s.http.Serve, s.outside))
	s.work.start("operator", serve(s.http.ServeOperator, s.socket))
	s.onClose(s.shutHTTP)
	note := datafolder.Note{PID: os.Getpid(), URL: s.URL(), Socket: s.socket.Addr().String(), Since: time.Now().UTC()}
	if err := s.folder.WriteNote(note); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.folder.RemoveNote() })
	return nil
}

// shutHTTP answers what is under way. It leaves half of the time that stopping has to
// the others: what takes longer is cut off.
func (s *Server) shutHTTP(ctx context.Context) error {
	if by, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(by)/2)
		defer cancel()
	}
	if err := s.http.Shutdown(ctx); err != nil && !errors.Is(err, nethttp.ErrServerClosed) {
		return err
	}
	return nil
}

// Stop ends a server in good order: no request is lost, and the log is flushed.
func (s *Server) Stop(ctx context.Context) error {
	s.Logger.Info("stopping")
	err := s.close(ctx)
	s.Logger.Info("stopped")
	return err
}
