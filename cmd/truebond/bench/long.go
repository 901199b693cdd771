package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/projections"
)

// A longBench is a data folder whose server runs in a process of its own, so that its
// start and its memory can be measured.
type longBench struct {
	name   string // short or long
	folder string
	ledger *ledgerBench // without a server of its own

	starts, first, commands []measured
	mib, cachedMiB          []float64 // the first without the second
}

// longLog measures a server on a long log next to one on a short log, which has the
// accounts alone: how long it takes to serve, what one caller waits, and its memory.
func (b *bench) longLog(ctx context.Context) error {
	return inFolder(func(folder string) error {
		short := &longBench{name: "short", folder: filepath.Join(folder, "short")}
		long := &longBench{name: "long", folder: filepath.Join(folder, "long")}
		for _, l := range []*longBench{short, long} {
			if err := l.prepare(ctx, b.Accounts); err != nil {
				return err
			}
		}
		if err := b.lengthen(ctx, datafolder.Folder{Path: long.folder}); err != nil {
			return fmt.Errorf("make a long log: %w", err)
		}
		if err := long.comeToRest(ctx); err != nil {
			return fmt.Errorf("start on the long log: %w", err)
		}
		for range b.Rounds {
			for _, l := range []*longBench{short, long} {
				if err := l.round(ctx, b.burst()); err != nil {
					return fmt.Errorf("%s log: %w", l.name, err)
				}
			}
		}
		for _, l := range []*longBench{short, long} {
			l.rows(b)
		}
		return nil
	})
}

// prepare makes the accounts and an API key.
func (l *longBench) prepare(ctx context.Context, accounts int) error {
	funded, err := openLedger(ctx, l.folder, accounts)
	if err != nil {
		return err
	}
	l.ledger = &ledgerBench{key: funded.key, accounts: accounts}
	return errors.Join(giveKeys(ctx, funded.server), funded.server.Stop(context.WithoutCancel(ctx)))
}

// giveKeys gives those who came last a key. A server would say at each start that its vault lacks theirs.
func giveKeys(ctx context.Context, s *server.Server) error {
	newest, err := s.Queries.NewestPeople(ctx, server.NewestPeople)
	for _, user := range newest {
		err = errors.Join(err, s.Commands.Vault.MakeKey(ctx, user))
	}
	return err
}

// lengthen appends charges to the log of a server that does not run, until there are as
// many events as are wanted, and folds them into the views.
func (b *bench) lengthen(ctx context.Context, folder datafolder.Folder) (err error) {
	codec, err := events.NewCodec()
	if err != nil {
		return err
	}
	log, err := jetstream.Open(ctx, jetstream.Options{Dir: folder.Path, Codec: codec})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	last, err := log.Last(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	for last < b.Events {
		records, err := sampleCharges(codec, b.Accounts, last, int(min(events.BatchMax, b.Events-last)))
		if err != nil {
			return err
		}
		if err := log.Append(ctx, last, records); err != nil {
			return err
		}
		last += uint64(len(records))
	}
	b.tell("a log of %d events was written in %s", last, time.Since(begun).Round(time.Second))
	store, err := server.OpenViews(ctx, "", folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	p := projections.NewProjector(store, log, projections.Catalogue(), slog.New(slog.DiscardHandler))
	if err := p.Prepare(ctx); err != nil {
		return err
	}
	begun = time.Now()
	if _, err := fold(ctx, p, last); err != nil {
		return err
	}
	b.tell("its views were folded in %s", time.Since(begun).Round(time.Second))
	return nil
}

// round starts a server, charges accounts for a while, at once and when it is warm, and
// stops it.
func (l *longBench) round(ctx context.Context, length time.Duration) error {
	begun := time.Now()
	process, url, err := spawnServer(ctx, l.folder)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	l.starts = append(l.starts, measured{events: 1, took: took, waits: []time.Duration{took}})
	err = l.measure(ctx, url, process.Process.Pid, length)
	return errors.Join(err, process.Process.Signal(syscall.SIGTERM), process.Wait())
}

func (l *longBench) measure(ctx context.Context, url string, pid int, length time.Duration) error {
	l.ledger.url = url
	first, err := l.charge(ctx, length)
	if err != nil {
		return err
	}
	if err := l.warmUp(ctx); err != nil {
		return err
	}
	then, err := l.charge(ctx, length)
	if err != nil {
		return err
	}
	l.first, l.commands = append(l.first, first), append(l.commands, then)
	if err := l.fillUp(ctx, length); err != nil {
		return err
	}
	return l.weigh(ctx, pid)
}

// fillUp charges until garbage was collected a few times. A server that has just started takes less
// memory than it will have, and one that has had more to read at its start is nearer to that.
func (l *longBench) fillUp(ctx context.Context, length time.Duration) error {
	const collections = "go_gc_duration_seconds_count"
	begun, err := l.metrics(ctx)
	if err != nil {
		return err
	}
	for now := begun; now[collections] < begun[collections]+3; {
		if _, err := l.charge(ctx, length); err != nil {
			return err
		}
		if now, err = l.metrics(ctx); err != nil {
			return err
		}
	}
	return nil
}

// weigh notes the memory of a server beyond what it has of the views' file, and that.
func (l *longBench) weigh(ctx context.Context, pid int) error {
	resident, err := residentMiB(pid)
	if err != nil {
		return err
	}
	metrics, err := l.metrics(ctx)
	cached := metrics["truebond_views_cached_bytes"] / (1 << 20)
	l.mib, l.cachedMiB = append(l.mib, resident-cached), append(l.cachedMiB, cached)
	return err
}

// charge has one caller charge accounts, over a connection of its own.
func (l *longBench) charge(ctx context.Context, length time.Duration) (m measured, err error) {
	one, err := l.ledger.overHTTP(ctx, l.ledger.anyAccount)
	if err != nil {
		return m, err
	}
	return together(ctx, []caller{one}, lasting(length), 0)
}

// comeToRest runs a server until it has made up for events that were not appended by one: its
// tree covers them.
func (l *longBench) comeToRest(ctx context.Context) error {
	process, url, err := spawnServer(ctx, l.folder)
	if err != nil {
		return err
	}
	l.ledger.url = url
	err = l.until(ctx, func(m map[string]float64) bool {
		return m["truebond_checkpoint_position"] >= m["truebond_log_position"]
	})
	return errors.Join(err, process.Process.Signal(syscall.SIGTERM), process.Wait())
}

// warmUp waits until the folder's server knows the keys that were used, and has read the log's
// files once, as it does after each start.
func (l *longBench) warmUp(ctx context.Context) error {
	return l.until(ctx, func(m map[string]float64) bool {
		return m["truebond_writer_warm"] == 1 && m["truebond_log_scrubbed_timestamp_seconds"] > 0
	})
}

// until waits until the folder's server has metrics as they are wanted.
func (l *longBench) until(ctx context.Context, wanted func(map[string]float64) bool) error {
	for {
		metrics, err := l.metrics(ctx)
		if err != nil || wanted(metrics) {
			return err
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// metrics are what the folder's server tells of itself.
func (l *longBench) metrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.ledger.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // a server that stops would wait for a connection that is kept
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	metrics := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		var name string
		var value float64
		if n, _ := fmt.Sscan(lines.Text(), &name, &value); n == 2 {
			metrics[name] = value
		}
	}
	return metrics, answer.Body.Close()
}

func (l *longBench) rows(b *bench) {
	b.add(row("start-"+l.name, 1, l.starts))
	b.add(row("command-first-"+l.name, 1, l.first))
	b.add(row("command-"+l.name, 1, l.commands))
	b.rows = append(b.rows, Row{Case: "memory-" + l.name, Callers: 1, MiB: median(l.mib)},
		Row{Case: "cache-" + l.name, Callers: 1, MiB: median(l.cachedMiB)})
}

// spawnServer starts this program as a server and returns once it serves.
func spawnServer(ctx context.Context, folder string) (*exec.Cmd, string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, program, "serve", "--data", folder, //nolint:gosec // it is this program
		"--listen", "127.0.0.1:0", "--log-level", "error")
	cmd.Stderr = os.Stderr
	cmd.Dir, cmd.Env = folder, withoutSettings(os.Environ())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("the server did not come up: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // until the process ends
	return cmd, strings.TrimSpace(strings.TrimPrefix(line, "TrueBond serves on ")), nil
}

// withoutSettings is an environment in which everything is embedded.
func withoutSettings(environment []string) []string {
	return slices.DeleteFunc(environment, func(line string) bool {
		return slices.ContainsFunc(settings.Names(), func(name string) bool { return strings.HasPrefix(line, name+"=") })
	})
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// residentMiB is the memory that a process has.
func residentMiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return kib / 1024, nil
}
