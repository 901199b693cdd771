package jetstream

import (
	"testing"

	"truebond/events/jetstream/natstest"
)

// suite is what every log does, wherever it is.
func suite() map[string]func(*testing.T, *Log) {
	of := func(check func(*testing.T, *Log, int), count int) func(*testing.T, *Log) {
		return func(t *testing.T, l *Log) { check(t, l, count) }
	}
	return map[string]func(*testing.T, *Log){
		"what is appended is read":                      whatIsAppendedIsRead,
		"an empty log has nothing":                      anEmptyLogHasNothing,
		"an event at a taken position is beaten":        of(anAppendAtATakenPositionIsBeaten, 1),
		"a few at a taken position are beaten":          of(anAppendAtATakenPositionIsBeaten, 3),
		"a batch at a taken position is beaten":         of(anAppendAtATakenPositionIsBeaten, 20),
		"the same event again is in once":               of(theSameAppendAgainIsInOnce, 1),
		"the same few again are in once":                of(theSameAppendAgainIsInOnce, 3),
		"the same batch again is in once":               of(theSameAppendAgainIsInOnce, 20),
		"a few beaten halfway say how many are in":      of(anAppendThatIsBeatenHalfwaySaysHowManyAreIn, 5),
		"a batch beaten halfway says how many":          of(anAppendThatIsBeatenHalfwaySaysHowManyAreIn, 20),
		"a few that are half in are finished":           of(anAppendThatIsHalfInIsFinished, 5),
		"a batch that is half in is finished":           of(anAppendThatIsHalfInIsFinished, 20),
		"a key that stands elsewhere beats an append":   aKeyThatStandsElsewhereBeatsAnAppend,
		"what is sent ahead is in when it is appended":  whatIsSentAheadIsInWhenItIsAppended,
		"two appends are sent ahead":                    twoAppendsAreSentAhead,
		"what is sent ahead of others does no harm":     whatIsSentAheadOfOthersDoesNoHarm,
		"a follower sees all, however it is appended":   aFollowerSeesAllHoweverItIsAppended,
		"an append beyond the end is refused":           anAppendBeyondTheEndIsRefused,
		"headers say what a body says":                  headersSayWhatABodySays,
		"a follower sees what is there and what comes":  aFollowerSeesWhatIsThereAndWhatComes,
		"a follower takes no more than it wants":        aFollowerTakesNoMoreThanItWants,
		"a follower ends with its context and the log":  aFollowerEndsWithItsContextAndWithTheLog,
		"a follower beyond the end is told":             aFollowerBeyondTheEndIsTold,
		"a check knows the log again, and no other one": checkKnowsTheLogAgain,
	}
}

func TestEmbeddedLog(t *testing.T) {
	for name, check := range suite() {
		t.Run(name, func(t *testing.T) {
			o := patient(t)
			o.Dir = t.TempDir()
			check(t, open(t, o))
		})
	}
}

func TestClusterLog(t *testing.T) {
	url, servers := natstest.Cluster(t)
	conn := connected(t, servers[0])
	for name, check := range suite() {
		t.Run(name, func(t *testing.T) {
			o := patient(t)
			o.URL = url
			check(t, open(t, o))
			request(t, conn, "STREAM.DELETE."+streamName, nil)
		})
	}
}
