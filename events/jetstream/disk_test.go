package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"truebond/cmd/truebond/disktest"
)

// fullDisk names the folder of a process that finds its disk full at some point.
const fullDisk = "TRUEBOND_TEST_FULL_DISK_AT"

func TestADiskThatFillsUpLeavesAnAppendUnknown(t *testing.T) {
	for _, count := range []int{1, 20} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			if dir := os.Getenv(fullDisk); dir != "" {
				fillUp(t, dir, count)
				return
			}
			t.Parallel() // it mostly waits
			dir := t.TempDir()
			child := exec.Command(os.Args[0], "-test.v", "-test.run=^"+
				strings.ReplaceAll(t.Name(), "/", "$/^")+"$") // #nosec G204 -- this program
			child.Env = append(os.Environ(), fullDisk+"="+dir)
			out, err := child.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			told := string(out)[strings.Index(string(out), "acknowledged"):]
			var acknowledged uint64
			if _, err := fmt.Sscanf(told, "acknowledged %d", &acknowledged); err != nil || acknowledged == 0 {
				t.Fatalf("%v\n%s", err, out)
			}

			o := patient(t)
			o.Dir = dir
			l := open(t, o)
			w := newWriting(t, "a")
			all := w.next(t, 0, int(acknowledged)+count)
			if last, err := l.Last(t.Context()); err != nil || last < acknowledged {
				t.Fatalf("%d were acknowledged, %d are in: %v", acknowledged, last, err)
			}
			appended(t, l, acknowledged, all[acknowledged:]) // what was left unknown
			holds(t, l, all)
			if err := l.Check(t.Context(), hashes(all, 1, acknowledged)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// fillUp appends until no file may grow any more.
func fillUp(t *testing.T, dir string, count int) {
	o, _ := small(t)
	o.Dir = dir
	l := open(t, o)
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 100_001, Max: 100_001}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	w := newWriting(t, "a")
	for last := uint64(0); ; last += uint64(count) {
		err := l.Append(t.Context(), last, w.next(t, last, count)) // it ends when the log knows that it is not well
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
		if l.Ping(t.Context()) == nil {
			t.Error("it says that it is well")
		}
		t.Log(err)
		fmt.Println("acknowledged", last)
		return
	}
}

// Whoever gives up on an append is not kept by a disk that hangs.
func TestAnAppendOnADiskThatHangsEndsInTime(t *testing.T) {
	d := disktest.New(t, 256<<20)
	o := patient(t)
	o.Dir = filepath.Join(d.Dir, "data")
	l := open(t, o)
	all := newWriting(t, "a").next(t, 0, 2)
	appended(t, l, 0, all[:1])
	thaw := d.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- l.Append(ctx, 1, all[1:]) }()
	select {
	case err := <-ended:
		failsWith(t, err, ErrUnknown)
	case <-time.After(time.Minute):
		t.Error("it waits for the disk")
	}
	thaw()
	appended(t, l, 1, all[1:])
	holds(t, l, all)
}
