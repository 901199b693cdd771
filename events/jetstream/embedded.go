package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// An embedded is a NATS server inside this process, which nobody else can reach, and
// the lock on its folder.
type embedded struct {
	nats     *server.Server
	lock     *os.File
	blocks   blocks
	assembly *assembly
}

// startEmbedded starts a server on o.Dir/log. Every write is synced before it is
// acknowledged, and a whole batch with one sync.
func startEmbedded(ctx context.Context, o Options, logger *slog.Logger) (*embedded, error) {
	dir := o.Dir
	if dir == "" {
		return nil, errors.New("no data folder")
	}
	written := blocksIn(dir)
	dir = filepath.Join(dir, "log")
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock, blocks: written, assembly: assemblyOf(o.Dir)}
	look := func() error { return written.beforeStart(ctx, o.Durable) }
	if o.Damaged {
		look = written.markRemoved
	}
	if err = look(); err == nil {
		err = written.sync()
	}
	if err != nil {
		return nil, errors.Join(err, e.stop())
	}
	noises := &serverNoises{logger: logger}
	e.nats, err = server.NewServer(&server.Options{
		ServerName: "truebond",
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,
		DontListen: true,
		NoSigs:     true,
		// By default the server would take what is free on the disk at its start as a
		// bound for all that is in the log already.
		JetStreamMaxStore: math.MaxInt64,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the embedded server: %w", err), e.stop())
	}
	e.nats.SetLoggerV2(noises, false, false, false)
	e.nats.Start()
	for !e.nats.ReadyForConnections(50 * time.Millisecond) {
		if fatal := noises.fatal.Load(); fatal != nil || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("start the embedded server in %s: %w", dir,
				errors.Join(noises.err(), ctx.Err())), e.stop())
		}
	}
	return e, nil
}

// healthTries is how often the server is asked: it waits a millisecond for itself, and on a
// machine that has no time for it then says now and then that it has not started yet.
const healthTries = 5

// healthy fails when the stream could not be written or synced.
func (e *embedded) healthy() error {
	var h *server.HealthStatus
	for range healthTries {
		h = e.nats.Healthz(&server.HealthzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Stream: streamName})
		if h.Status == "ok" {
			return nil
		}
	}
	return fmt.Errorf("the log's server is %s: %s", h.Status, h.Error)
}

// stop shuts the server down, waits until all is written, and frees the folder.
func (e *embedded) stop() error {
	if e == nil || e.lock == nil {
		return nil
	}
	if e.nats != nil {
		e.nats.Shutdown()
		e.nats.WaitForShutdown()
	}
	e.assembly.remove()
	err := e.lock.Close()
	e.lock = nil
	return err
}

// lockFolder makes the folder and holds it for this process alone: two servers on one
// folder lose events that both have acknowledged.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another process has it open")
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: dir, Err: err}, f.Close())
	}
	return f, nil
}

// serverNoises carries what the server says into our logger. What it gives notice of
// is of use to those alone who look for a fault.
type serverNoises struct {
	logger *slog.Logger
	fatal  atomic.Pointer[string]
}

func (n *serverNoises) err() error {
	if fatal := n.fatal.Load(); fatal != nil {
		return errors.New(*fatal)
	}
	return nil
}

func (n *serverNoises) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	n.fatal.Store(&text)
	n.logger.Error("log: " + text)
}

func (n *serverNoises) Errorf(format string, v ...any) { n.logger.Error(noise(format, v)) }
func (n *serverNoises) Warnf(format string, v ...any)  { n.logger.Warn(noise(format, v)) }

func (n *serverNoises) Noticef(format string, v ...any) { n.logger.Debug(noise(format, v)) }
func (n *serverNoises) Debugf(format string, v ...any)  { n.logger.Debug(noise(format, v)) }
func (n *serverNoises) Tracef(string, ...any)           {}

func noise(format string, v []any) string {
	return "log: " + strings.TrimSpace(fmt.Sprintf(format, v...))
}
