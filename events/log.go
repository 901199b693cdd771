package events

import "errors"

// What a log takes in one append. More is refused before anything is sent.
const (
	BatchMax      = 1000     // events; what its server takes in one atomic batch
	BatchBytesMax = 32 << 20 // of bodies; its server buffers 128 MiB at most
)

// ErrBeaten says that an append failed, and why it did for certain: another event holds
// its position. Nothing of it is in the log.
var ErrBeaten = errors.New("another event holds this position in the log")

// ErrGap says that a log lacks an event between two that it has. A reader that meets
// one stops: what it would build from the rest would be wrong.
var ErrGap = errors.New("the log lacks an event")

// ErrShort says that a log ends before a position that was in it, or should have been: it is not
// the log that it was.
var ErrShort = errors.New("the log ends too early")

// ErrUnreadable says that an event is not one, or that this program is too old for it.
// Trying again does not help.
var ErrUnreadable = errors.New("an event in the log cannot be read")

// ErrNewer says that an event is of a type, or of a schema, that this program does not know: as far as
// can be told, a newer program has written it, and nothing is wrong with it. It comes with ErrUnreadable.
var ErrNewer = errors.New("a newer program has written it")

// ErrBroken says that a log takes nothing any more until it is opened again: its disk is
// full, read-only or broken. Whether what was under way is in it shows then.
var ErrBroken = errors.New("the log takes nothing until it is opened again")
