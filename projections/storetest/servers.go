// Package storetest has what tests of stores need: real servers that go with the test,
// and the suite that every document store passes.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/events/porttest"
)

const (
	startTimeout = 60 * time.Second // a busy machine is slow, not broken
	startTries   = 3                // somebody else may take the free port first
)

// Mongo gives the URL of an empty database on a real mongod, a replica set of one node.
// All tests of a test binary share the server, which ends with the binary. The database
// is dropped when the test ends.
//
// Without a mongod the test is skipped, or fails where the environment has CI=true.
func Mongo(t testing.TB) (url string) {
	t.Helper()
	s, err := sharedMongod()
	if err != nil {
		missing(t, "mongod", err)
	}
	database := fmt.Sprintf("test_%d", databases.Add(1))
	t.Cleanup(func() { dropDatabase(t, s.addr, database) })
	return mongoURL(s.addr, database)
}

// LoneMongo gives the URL of a mongod of the test's own that is in no replica set.
func LoneMongo(t testing.TB) (url string) {
	t.Helper()
	s, err := start("mongod", "MONGOD", loneMongodArgs, mongodPings)
	if err != nil {
		missing(t, "mongod", err)
	}
	t.Cleanup(s.stop)
	return mongoURL(s.addr, "test")
}

// Redis gives the address of a real redis-server that is empty and the test's own.
// Without one the test is skipped, or fails where the environment has CI=true.
func Redis(t testing.TB) (addr string) {
	t.Helper()
	s, err := start("redis-server", "REDIS_SERVER", redisArgs, redisAnswers)
	if err != nil {
		missing(t, "redis-server", err)
	}
	t.Cleanup(s.stop)
	return s.addr
}

// One mongod for a binary: it takes a second to start. Nothing needs to stop it, see
// the keeper.
var (
	sharedMongod = sync.OnceValues(func() (*server, error) {
		return start("mongod", "MONGOD", mongodArgs, mongodAnswers)
	})
	databases atomic.Int64
)

// errNotInstalled says that there is no such program; other errors are failures.
var errNotInstalled = errors.New("not installed")

func missing(t testing.TB, name string, err error) {
	t.Helper()
	if !errors.Is(err, errNotInstalled) || os.Getenv("CI") == "true" {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Skipf("SKIPPED, NOTHING IS TESTED: %s: %v; install it with"+
		" `go tool -modfile=tools/go.mod task servers`", name, err)
}

// A server is a process that this one started.
type server struct {
	addr   string
	keeper *exec.Cmd
	stdin  io.Closer
	ended  chan struct{} // closed when the process has ended and its folder is gone
	stderr bytes.Buffer  // the end of its log; read it after ended
}

func (s *server) stop() {
	_ = s.stdin.Close()
	<-s.ended
}

// The keeper kills the server and removes its folder when its standard input closes.
// That happens when the test binary ends, however it ends, and is the same on every Unix.
const keeper = `
trap '' HUP INT TERM PIPE
dir=$1; shift
exec 3<&0
"$@" </dev/null >"$dir/log" 2>&1 3<&- &
server=$!
{ read -r _ <&3; kill -9 $server; } 2>/dev/null &
watcher=$!
wait $server
kill -9 $watcher 2>/dev/null
tail -n 5 "$dir/log" >&2
rm -rf "$dir"
`

// start starts a server on a free port and waits until it answers.
func start(
	name, env string, args func(dir, host, port string) []string, answers func(ctx context.Context, addr string) error,
) (*server, error) {
	program, err := find(name, env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for range startTries {
		var s *server
		if s, err = launch(program, args); err != nil {
			return nil, err
		}
		if err = s.await(ctx, answers); err == nil {
			return s, nil
		}
		s.stop()
	}
	return nil, err
}

func launch(program string, args func(dir, host, port string) []string) (*server, error) {
	addr, err := porttest.One()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "truebond-"+filepath.Base(program)+"-")
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(addr)
	line := append([]string{"-c", keeper, "keeper", dir, program}, args(dir, host, port)...)
	s := &server{addr: addr, keeper: exec.Command("sh", line...), ended: make(chan struct{})}
	s.keeper.Stderr = &s.stderr
	if s.stdin, err = s.keeper.StdinPipe(); err == nil {
		err = s.keeper.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		_ = s.keeper.Wait() // killed, so always an error
		close(s.ended)
	}()
	return s, nil
}

func (s *server) await(ctx context.Context, answers func(ctx context.Context, addr string) error) error {
	var err error
	for {
		select {
		case <-s.ended:
			return fmt.Errorf("it ended at once: %s", s.stderr.String())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
			if err = answers(ctx, s.addr); err == nil {
				return nil
			}
		}
	}
}

// find looks where the environment says, then in the repository's cache, then on PATH.
func find(name, env string) (string, error) {
	if named := os.Getenv(env); named != "" {
		return named, nil
	}
	if root, ok := repositoryRoot(); ok {
		cached := filepath.Join(root, ".cache", "bin", name)
		if _, err := os.Stat(cached); err == nil {
			return cached, nil
		}
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: neither in .cache/bin nor on PATH nor in $%s", errNotInstalled, env)
	}
	return found, nil
}

func repositoryRoot() (string, bool) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, true
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", false
}

func redisArgs(dir, host, port string) []string {
	return []string{
		"--bind", host, "--port", port, "--dir", dir, "--save", "", "--appendonly", "no",
	}
}

func redisAnswers(_ context.Context, addr string) error {
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is what counts
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, len("+PONG"))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != "+PONG" {
		return fmt.Errorf("it answers %q", answer)
	}
	return nil
}

const setName = "rs0"

func mongodArgs(dir, host, port string) []string {
	return append(loneMongodArgs(dir, host, port), "--replSet", setName, "--oplogSize", "256")
}

func loneMongodArgs(dir, host, port string) []string {
	return []string{
		"--bind_ip", host, "--port", port, "--dbpath", dir, "--nounixsocket",
		"--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false",
	}
}

// mongodAnswers makes the replica set when it is not yet made, and tells whether it can
// be written to.
func mongodAnswers(ctx context.Context, addr string) error {
	return onMongod(ctx, addr, func(admin *mongo.Database) error {
		set := bson.M{"_id": setName, "members": bson.A{bson.M{"_id": 0, "host": addr}}}
		err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: set}}).Err()
		if err != nil && !strings.Contains(err.Error(), "AlreadyInitialized") {
			return err
		}
		var hello struct{ IsWritablePrimary bool }
		if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
			return err
		}
		if !hello.IsWritablePrimary {
			return errors.New("it is not the primary yet")
		}
		return nil
	})
}

func mongodPings(ctx context.Context, addr string) error {
	return onMongod(ctx, addr, func(admin *mongo.Database) error { return admin.Client().Ping(ctx, nil) })
}

func onMongod(ctx context.Context, addr string, do func(admin *mongo.Database) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(mongoURL(addr, "admin")).
		SetServerSelectionTimeout(5*time.Second))
	if err != nil {
		return err
	}
	return errors.Join(do(client.Database("admin")), client.Disconnect(ctx))
}

func mongoURL(addr, database string) string {
	return "mongodb://" + addr + "/" + database + "?directConnection=true"
}

func dropDatabase(t testing.TB, addr, database string) {
	ctx := context.Background()
	err := onMongod(ctx, addr, func(admin *mongo.Database) error {
		return admin.Client().Database(database).Drop(ctx)
	})
	if err != nil {
		t.Errorf("drop the test's database: %v", err)
	}
}

func dial(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, time.Second) }
