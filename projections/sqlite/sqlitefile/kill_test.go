package sqlitefile

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"

	"truebond/cmd/truebond/disktest"
)

// Processes write, copy the log and read for long; some are others, which write no notes. They are killed, the
// power goes or the disk is full, at any moment. Nothing is damaged then, and a transaction is there or is not; after a kill
// alone, each is there that was acknowledged. TRUEBOND_ROUNDS=1000 tries it for longer.
func TestAKillLeavesNoDamageWhateverWasGoingOn(t *testing.T) {
	if path := os.Getenv(usedFile); path != "" {
		useUntilKilled(path, os.Getenv(usedHow))
		return
	}
	rounds, err := strconv.Atoi(os.Getenv("TRUEBOND_ROUNDS"))
	if err != nil {
		rounds = 8
	}
	t.Run("kill", func(t *testing.T) {
		path := countedVersions(t, t.TempDir())
		for round := range rounds {
			checkVersions(t, round, path, use(t, path, nil))
			if rand.IntN(4) == 0 { // the folder is copied
				path = left(t, filesOf(t, path), func(log []byte) []byte { return log })
			}
		}
	})
	t.Run("power cut", func(t *testing.T) {
		disk := disktest.New(t, 256<<20)
		path := countedVersions(t, disk.Dir)
		for round := range rounds {
			use(t, path, func() { disk.CutPower(t) })
			disk.Restart(t)
			checkVersions(t, round, path, 0)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		disk := disktest.New(t, 32<<20)
		path := countedVersions(t, disk.Dir)
		for round := range rounds {
			acknowledged := use(t, path, func() {
				rest, err := os.Create(filepath.Join(disk.Dir, "rest"))
				must(t, err)
				for err == nil {
					_, err = rest.Write(make([]byte, 1<<(12+rand.IntN(6))))
				}
				must(t, rest.Close())
				time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			})
			must(t, os.Remove(filepath.Join(disk.Dir, "rest")))
			checkVersions(t, round, path, acknowledged)
		}
	})
}

const (
	usedFile = "TRUEBOND_TEST_USED_FILE"
	usedHow  = "TRUEBOND_TEST_USED_HOW"
	versions = 500 // rows, each with how often it has changed
)

func countedVersions(t *testing.T, folder string) (path string) {
	t.Helper()
	path = filepath.Join(folder, "used.db")
	db := open(t, path)
	for _, statement := range []string{
		"CREATE TABLE versions (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL)",
		"CREATE INDEX bodies ON versions (body)",
		"CREATE TABLE total (versions INTEGER NOT NULL)",
		"INSERT INTO total VALUES (0)",
		fmt.Sprintf("INSERT INTO versions SELECT value, 0, value || ' 0 ' FROM generate_series(1, %d)", versions),
	} {
		must(t, exec(db, statement))
	}
	must(t, db.Close())
	return path
}

// use has one or two processes use a file for a moment, and tells how many versions they have acknowledged.
func use(t *testing.T, path string, spoil func()) (acknowledged int64) {
	t.Helper()
	const ours, others = "ours", "others"
	mixes := [][]string{{ours}, {ours}, {others}, {ours, ours}, {ours, others}, {others, ours}}
	spoils := spoil != nil
	var ends []func() int64
	for _, how := range mixes[rand.IntN(len(mixes))] {
		user := osexec.Command(os.Args[0], "-test.run=^TestAKillLeavesNoDamageWhateverWasGoingOn$")
		user.Env = append(os.Environ(), usedFile+"="+path, usedHow+"="+how)
		out, err := user.StdoutPipe()
		must(t, err)
		must(t, user.Start())
		said := make(chan int64, 1)
		go func() {
			var total int64
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if _, err := fmt.Sscan(lines.Text(), &total); err != nil && !spoils {
					t.Errorf("%s: %s", how, lines.Text())
				}
			}
			said <- total
		}()
		ends = append(ends, func() int64 {
			must(t, user.Process.Kill())
			total := <-said
			_ = user.Wait() // it was killed
			return total
		})
	}
	for _, end := range ends {
		time.Sleep(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		if spoils {
			spoil()
			spoil = func() {}
		}
		acknowledged = max(acknowledged, end())
	}
	return acknowledged
}

// useUntilKilled is another process. It says after each transaction how many versions there are.
func useUntilKilled(path, how string) {
	pragmas := []string{
		"synchronous(" + []string{"NORMAL", "FULL"}[rand.IntN(2)] + ")",
		fmt.Sprintf("wal_autocheckpoint(%d)", []int{0, 1, 5, 50, 1000}[rand.IntN(5)]),
		fmt.Sprintf("cache_size(%d)", []int{10, 1000}[rand.IntN(2)]),
	}
	file, err := At(path)
	var db *sql.DB
	switch {
	case err != nil:
	case how == "ours":
		db, err = file.Open(Settings{Connections: 4, Writes: true, Pragmas: pragmas})
	default:
		vfs.Register("others", othersVFS{vfs.Find("").(vfs.VFSFilename)})
		db, err = driver.Open("file:" + path + "?vfs=others&_txlock=immediate&_pragma=busy_timeout(10000)" +
			"&_pragma=journal_mode(WAL)&_pragma=" + strings.Join(pragmas, "&_pragma="))
	}
	for failures := 0; err == nil && failures < 1000; {
		if failed := useOnce(db); failed != nil {
			fmt.Println(file.Explained(failed), file.Damage(failed))
			failures++
		}
	}
	fmt.Println(err)
}

// othersVFS is the driver's, without memory maps: it fails when a file with checksums is mapped.
type othersVFS struct{ vfs.VFSFilename }

func (v othersVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, opened, err := v.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, opened, err
	}
	return struct{ osFile }{file.(osFile)}, opened, nil
}

func useOnce(db *sql.DB) error {
	for range 1 + rand.IntN(8) {
		if err := addVersions(db); err != nil {
			return err
		}
	}
	if rand.IntN(4) == 0 { // who reads holds the log back
		reads, err := db.Query("SELECT id FROM versions")
		if err != nil {
			return err
		}
		defer reads.Close()
		reads.Next()
	}
	for range rand.IntN(4) {
		if err := addVersions(db); err != nil {
			return err
		}
	}
	statement, patience := "SELECT 1", time.Minute
	switch rand.IntN(10) {
	case 0, 1, 2:
		statement = "PRAGMA wal_checkpoint(PASSIVE)"
	case 3, 4:
		statement = "PRAGMA wal_checkpoint(" + []string{"FULL", "RESTART", "TRUNCATE"}[rand.IntN(3)] + ")"
		patience = 100 * time.Millisecond
	case 5:
		statement = "CREATE TABLE IF NOT EXISTS more AS SELECT * FROM versions"
	case 6:
		statement = "DROP TABLE IF EXISTS more"
	case 7:
		statement, patience = "VACUUM", time.Duration(rand.IntN(20))*time.Millisecond
	case 8:
		statement, patience = "PRAGMA wal_checkpoint(PASSIVE)", time.Duration(rand.IntN(2000))*time.Microsecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := db.ExecContext(ctx, statement)
	if isBusy(err) || ctx.Err() != nil {
		return nil
	}
	return err
}

func isBusy(err error) bool { return errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED) }

func addVersions(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		if isBusy(err) {
			return nil
		}
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it fails when all has gone well
	changes := 1 + rand.IntN(20)
	if rand.IntN(20) == 0 {
		changes = versions // more than a small cache takes
	}
	for range changes {
		_, err := tx.Exec(`UPDATE versions SET version = version + 1,
			body = id || ' ' || (version + 1) || ' ' || hex(randomblob(?)) WHERE id = ?`, rand.IntN(200), 1+rand.IntN(versions))
		if err != nil {
			return err
		}
	}
	var total int64
	if err := tx.QueryRow("UPDATE total SET versions = versions + ? RETURNING versions", changes).Scan(&total); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	fmt.Println(total)
	return nil
}

func checkVersions(t *testing.T, round int, path string, acknowledged int64) {
	t.Helper()
	crashed := filesOf(t, path)
	err := Verify(path)
	if err == nil {
		err = countVersions(path, acknowledged, (*File).Read)
	}
	if err == nil && !maps.EqualFunc(crashed, filesOf(t, path), bytes.Equal) {
		err = errors.New("who has only read has changed the files")
	}
	if err == nil && rand.IntN(3) > 0 { // else who uses it next is the first
		err = countVersions(path, acknowledged, opened)
	}
	if err == nil {
		return
	}
	kept, _ := os.MkdirTemp("", "killed-")
	for end, content := range crashed {
		writeFile(t, filepath.Join(kept, "used.db"+end), content)
	}
	t.Fatalf("after round %d, see %s: %v", round, kept, err)
}

func countVersions(path string, acknowledged int64, open func(*File) (*sql.DB, error)) error {
	file, err := At(path)
	if err != nil {
		return err
	}
	db, err := open(file)
	if err != nil {
		return err
	}
	defer db.Close()
	var rows, wrong, is, total int64
	err = file.Check(context.Background(), db)
	if err == nil {
		err = db.QueryRow(`SELECT count(*), sum(body NOT LIKE id || ' ' || version || ' %'), sum(version),
			(SELECT versions FROM total) FROM versions`).Scan(&rows, &wrong, &is, &total)
	}
	switch {
	case err != nil:
		return errors.Join(err, file.Damage(err))
	case rows != versions, wrong != 0, is != total, total < acknowledged:
		return fmt.Errorf("there are %d rows, %d of them wrong, with %d versions of %d, and %d were acknowledged",
			rows, wrong, is, total, acknowledged)
	}
	return nil
}
