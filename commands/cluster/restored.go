package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// What a restore leaves beside the lease, where all members look.
const (
	restoringNote  = "restore-unfinished" // there while the log is not whole
	eraseAgainNote = "erase-again-"       // and a number: who was erased after the moment restored to
)

// RestoreUnfinished tells whether a restore into the cluster has not ended: the log is not whole.
func RestoreUnfinished(ctx context.Context, conn *nats.Conn) (bool, error) {
	note, err := Note(ctx, conn, restoringNote)
	return len(note) > 0, err
}

// BeginRestore keeps members from serving until EndRestore. Who calls them holds the lease.
func BeginRestore(ctx context.Context, conn *nats.Conn) error {
	return SetNote(ctx, conn, restoringNote, []byte("begun"))
}

// EndRestore says that the log is whole.
func EndRestore(ctx context.Context, conn *nats.Conn) error {
	return SetNote(ctx, conn, restoringNote, nil)
}

// NoteEraseAgain notes people whose erasure the restored log has not, for whoever
// leads first.
func NoteEraseAgain(ctx context.Context, conn *nats.Conn, users []string) error {
	const perNote = 4096
	n := 0
	for some := range slices.Chunk(users, perNote) {
		text := strings.Join(some, "\n")
		if len(text) > NoteMax {
			return fmt.Errorf("a note of %d bytes is too long", len(text))
		}
		if err := SetNote(ctx, conn, fmt.Sprint(eraseAgainNote, n), []byte(text)); err != nil {
			return err
		}
		n++
	}
	return nil
}

// EraseAgain are those whom NoteEraseAgain has noted.
func EraseAgain(ctx context.Context, conn *nats.Conn) (users []string, err error) {
	err = eachEraseAgain(ctx, conn, func(_ string, text []byte) error {
		users = append(users, strings.Fields(string(text))...)
		return nil
	})
	return users, err
}

// ForgetEraseAgain takes the notes away when all in them are erased.
func ForgetEraseAgain(ctx context.Context, conn *nats.Conn) error {
	return eachEraseAgain(ctx, conn, func(name string, _ []byte) error { return SetNote(ctx, conn, name, nil) })
}

// eachEraseAgain does something with each note of those to erase again.
func eachEraseAgain(ctx context.Context, conn *nats.Conn, do func(name string, text []byte) error) error {
	for n := 0; ; n++ {
		name := fmt.Sprint(eraseAgainNote, n)
		text, err := Note(ctx, conn, name)
		if err != nil || len(text) == 0 {
			return err
		}
		if err := do(name, text); err != nil {
			return err
		}
	}
}
