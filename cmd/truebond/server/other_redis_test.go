package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/commands/cluster"
	"truebond/commands/redis"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/events/jetstream/natstest"
	"truebond/projections"
	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

func leader(mark string) cluster.Sight {
	return cluster.Sight{Alive: true, Holder: cluster.Member{ID: "leader", Mark: mark}}
}

func TestARedisIsAnotherOneWhenItLastsThatItHasNotTheLeadersMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a redisSight
		says := func(what string, sight cluster.Sight, mark string, want bool) {
			t.Helper()
			if got := a.isOther(sight, mark); got != want {
				t.Errorf("%s, and that it is another one is %t", what, got)
			}
		}
		says("no leader is seen", cluster.Sight{}, "", false)
		says("it is new here, and empty", leader("a"), "", true)
		says("it is new here", leader("a"), "b", true)
		says("it is the leader's", leader("a"), "a", false)
		says("it has just forgotten", leader("a"), "", false)
		time.Sleep(otherMax)
		says("it was the leader's until just now", leader("a"), "", false)
		time.Sleep(time.Millisecond)
		says("it lasts", leader("a"), "", true)
		for _, silent := range []cluster.Sight{leader(""), {Holder: cluster.Member{Mark: "a"}},
			{Alive: true, Mine: true, Holder: cluster.Member{Mark: "a"}}} {
			says("the leader does not say", silent, "1", false)
			time.Sleep(2 * otherMax)
			says("the leader has not said for long", silent, "1", false)
			says("another begins to", leader("c"), "1", false)
			time.Sleep(otherMax + time.Millisecond)
			says("it lasts", leader("c"), "1", true)
		}
	})
}

func redisClient(t *testing.T, addr string) *goredis.Client {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestWhoseRedisIsNotTheLeadersWaitsForTheLogsEnd(t *testing.T) {
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	log, err := jetstream.Open(t.Context(), jetstream.Options{Dir: t.TempDir(), Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // it goes with its folder
	e := events.Event{Position: 1, Key: "k", Time: time.Unix(1, 0).UTC(), Effective: time.Unix(1, 0).UTC(),
		Actor: events.Actor{Kind: events.ActorSystem, ID: "test"},
		Data:  events.CreditsDeducted{User: "usr_1", Credits: 3, Reason: "r", Available: 7}}
	body, err := codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), 0, []events.Record{{Event: e, Body: body}}); err != nil {
		t.Fatal(err)
	}
	positions := redis.NewPositions(redisClient(t, storetest.Redis(t)))
	mark, err := positions.Vouch(t.Context(), func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for leads, want := range map[string]uint64{mark: 0, "": 0, "another": 1} {
		s := sharedPositions{redis: positions, shown: newShown(log, nil, nil), log: log, mark: func() string { return leads }}
		if got, err := s.Of(t.Context(), "user/usr_1"); err != nil || got != want {
			t.Errorf("by the leader's mark %q, a caller is at %d, not %d: %v", leads, got, want, err)
		}
	}
}

// The one before may have led with another Redis, also where it has left the mark.
func TestWhoLeadsSaysWhichMarkItHasSetAsLongAsItIsThere(t *testing.T) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background()) //nolint:errcheck // it goes with its folder
	p := projections.NewProjector(store, noLog{}, projections.Catalogue(), slog.New(slog.DiscardHandler))
	if err := p.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	views := make(chan error, 1)
	go func() { views <- p.Run(ctx) }()
	way := natstest.NewProxy(t, storetest.Redis(t))
	client := redisClient(t, way.Addr())
	positions := redis.NewPositions(client)
	before, err := positions.Vouch(ctx, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	s := sharedPositions{redis: positions, shown: newShown(nil, nil, nil)}
	s.shown.take(p)
	said := make(chan string, 8)
	term, end := context.WithCancel(ctx)
	defer end()
	vouching := make(chan error, 1)
	go func() {
		vouching <- s.vouch(term, func() uint64 { return 0 }, func(mark string) { said <- mark })
	}()
	first := <-said
	if there, err := positions.Mark(ctx); err != nil || there != first || first == before {
		t.Fatalf("it says %q, in Redis is %q, and was %q: %v", first, there, before, err)
	}
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if mark := <-said; mark != "" {
		t.Fatalf("Redis has forgotten, and it says %q", mark)
	}
	second := <-said
	if second == "" || second == first {
		t.Fatalf("it says %q after %q", second, first)
	}
	way.Freeze()
	if mark := <-said; mark != "" {
		t.Fatalf("it cannot ask Redis, and says %q", mark)
	}
	way.Heal()
	if mark := <-said; mark != second {
		t.Fatalf("Redis was away and has the mark %q still, and it says %q", second, mark)
	}
	end()
	if mark := <-said; mark != "" {
		t.Errorf("it leads no more, and says %q", mark)
	}
	stop()
	if err := <-vouching; err != nil {
		t.Error(err)
	}
	if err := <-views; err != nil {
		t.Error(err)
	}
}
