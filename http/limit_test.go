package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	miniredisserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections/storetest"
)

// Both Redis servers, the one inside the process and the real one, count alike.
func onEachRedis(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	for name, start := range map[string]func(testing.TB) string{
		"redis":     storetest.Redis,
		"miniredis": func(t testing.TB) string { return miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: start(t)})
			t.Cleanup(func() { _ = client.Close() })
			test(t, client)
		})
	}
}

func limitedRoutes() []Route {
	return []Route{
		post("/message", whoAsks, "Send", user, limit(3, time.Hour)),
		get("/messages", whoAsks, "Read", user, limit(3, time.Hour)),
		post("/login", whoAsks, "Log in", public, limit(2, time.Hour)),
		post("/free", whoAsks, "Do", user, app("a")),
		post("/hook", func(context.Context, struct {
			Body []byte `body:"raw"`
		}) (nothing, error) {
			return nothing{}, nil
		}, "Take", public, rawBody),
	}
}

func TestAUserHasALimitOnEachRoute(t *testing.T) {
	onEachRedis(t, func(t *testing.T, client redis.UniversalClient) {
		b := serving(t, limitedRoutes(), func(cfg *Config) { cfg.Redis = client })
		one, two := b.as("usr_1", "user"), b.as("usr_2", "user")
		for left := 2; left >= 0; left-- {
			a := b.send("POST", "/message", "", "Authorization", one)
			a.wants(t, 200, "")
			if a.header.Get("X-RateLimit-Limit") != "3" || a.header.Get("X-RateLimit-Remaining") != strconv.Itoa(left) {
				t.Errorf("%d left: %v", left, a.header)
			}
			if !strings.Contains(a.header.Get("RateLimit-Policy"), `"user";q=3;w=3600`) ||
				!strings.Contains(a.header.Get("RateLimit"), fmt.Sprintf(`"user";r=%d;t=`, left)) {
				t.Errorf("%d left: %v", left, a.header)
			}
		}
		a := b.send("POST", "/message", "", "Authorization", one)
		a.wants(t, 429, "too_many_requests")
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 1200 {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
		if !strings.Contains(a.header.Get("RateLimit"), `"user";r=0;t=`+a.header.Get("Retry-After")) {
			t.Errorf("RateLimit is %q", a.header.Get("RateLimit"))
		}
		if reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64); err != nil ||
			time.Unix(reset, 0).After(time.Now().Add(2*time.Hour)) || a.header.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("the headers are %v", a.header)
		}
		b.send("POST", "/message", "", "Authorization", two).wants(t, 200, "")
		b.send("GET", "/messages", "", "Authorization", one).wants(t, 200, "")
	})
}

func TestAnAddressHasALimitOnAPublicRouteAndOverAll(t *testing.T) {
	onEachRedis(t, func(t *testing.T, client redis.UniversalClient) {
		b := serving(t, limitedRoutes(), func(cfg *Config) {
			cfg.Redis, cfg.AddressPerMinute = client, 12
			cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		b.keys["tb_key"] = []string{"a"}
		from := func(address, method, path string, headers ...string) answer {
			return b.send(method, path, "", append(headers, "X-Forwarded-For", address)...)
		}
		from("2001:db8::1", "POST", "/login").wants(t, 200, "")
		from("2001:db8::2", "POST", "/login").wants(t, 200, "")
		from("2001:db8::3", "POST", "/login").wants(t, 429, "too_many_requests")
		from("2001:db8:0:1::1", "POST", "/login").wants(t, 200, "")

		// Whoever fails to say who he is uses up his address's limit; nothing lifts it.
		limited := 0
		for range 20 {
			if from("198.51.100.1", "POST", "/message").status == 429 {
				limited++
			}
		}
		if limited < 7 || limited > 8 { // a twelfth of a minute may pass meanwhile
			t.Errorf("%d of 20 were one too many", limited)
		}
		from("198.51.100.1", "GET", "/messages", "Authorization", b.as("usr_1", "user")).wants(t, 429, "too_many_requests")
		from("198.51.100.1", "POST", "/hook").wants(t, 200, "")
		app := from("198.51.100.1", "POST", "/free", "X-API-Key", "tb_key")
		app.wants(t, 200, "")
		if app.header.Get("RateLimit-Policy") != "" {
			t.Errorf("an API key is told of limits: %v", app.header)
		}
		from("198.51.100.1", "GET", "/livez").wants(t, 200, "")
	})
}

// A flood would keep Redis from counting anybody.
func TestRedisIsNotAskedAgainAboutWhoHasJustBeenRefused(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	b := serving(t, limitedRoutes(), func(cfg *Config) { cfg.Redis = client })
	access := b.as("usr_1", "user")
	for range 3 {
		b.send("POST", "/message", "", "Authorization", access).wants(t, 200, "")
	}
	b.send("POST", "/message", "", "Authorization", access).wants(t, 429, "too_many_requests")
	before := server.CommandCount()
	a := b.send("POST", "/message", "", "Authorization", access)
	a.wants(t, 429, "too_many_requests")
	if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 1200 {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	if asked := server.CommandCount() - before; asked != 0 {
		t.Errorf("Redis was asked %d times", asked)
	}
	b.send("GET", "/messages", "", "Authorization", access).wants(t, 200, "")
}

// Else it would be left alone, and whoever comes next would not be counted.
func TestARedisThatManyWaitForIsNotSilent(t *testing.T) {
	server := miniredis.RunT(t)
	var one sync.Mutex
	server.Server().SetPreHook(func(_ *miniredisserver.Peer, cmd string, _ ...string) bool {
		if strings.HasPrefix(cmd, "EVAL") {
			one.Lock()
			defer one.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	b := serving(t, limitedRoutes(), func(cfg *Config) { cfg.Redis = client })
	access := b.as("usr_1", "user")
	b.send("POST", "/free", "", "Authorization", access).wants(t, 200, "") // Redis has the script now
	const many = 300                                                       // so many take longer than Redis may for one
	statuses := make(chan int, many)
	for range many {
		go func() { statuses <- b.send("POST", "/free", "", "Authorization", access).status }()
	}
	for range many {
		<-statuses
	}
	b.send("POST", "/free", "", "Authorization", access).wants(t, 200, "")
}

func TestWhoWaitsTooLongToBeCountedIsAnsweredAsWithoutRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(client, 10, slog.New(slog.DiscardHandler))
		for range cap(l.places) {
			l.places <- struct{}{} // others ask, and are not answered
		}
		ann := ledger.Caller{Address: "192.0.2.1", Actor: events.Actor{Kind: events.ActorUser, ID: "usr_1"}}
		read, write := get("/r", whoAsks, "Read", user), post("/w", whoAsks, "Write", user)
		if err := l.allow(t.Context(), nethttp.Header{}, &read, ann); err != nil {
			t.Errorf("a read is answered with %v", err)
		}
		err := l.allow(t.Context(), nethttp.Header{}, &write, ann)
		if !errors.Is(err, ledger.Refuse("limits_unavailable", "")) {
			t.Errorf("a command is answered with %v", err)
		}
	})
}

func TestAllOfAPeriodsRequestsMayComeAtOnce(t *testing.T) {
	onEachRedis(t, func(t *testing.T, client redis.UniversalClient) {
		b := serving(t, []Route{post("/message", whoAsks, "Send", user, limit(120, perMinute))},
			func(cfg *Config) { cfg.Redis = client })
		access := b.as("usr_1", "user")
		answers := make(chan int, 120)
		for range 120 {
			go func() { answers <- b.send("POST", "/message", "", "Authorization", access).status }()
		}
		for range 120 {
			if status := <-answers; status != 200 {
				t.Fatalf("answered %d", status)
			}
		}
	})
}

// Without Redis what changes something is closed, and reading goes on: it is logged,
// not once a request.
func TestWithoutRedisMoneyIsClosedAndReadingGoesOn(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) string{
		"gone": func(t *testing.T) string {
			l := listening(t, "tcp", "127.0.0.1:0")
			l.Close()
			return l.Addr().String()
		},
		"frozen": frozen,
	} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: open(t), MaxRetries: -1, ReadTimeout: 50 * time.Millisecond})
			t.Cleanup(func() { _ = client.Close() })
			b := serving(t, limitedRoutes(), func(cfg *Config) { cfg.Redis = client })
			b.keys["tb_key"] = []string{"a"}
			access := b.as("usr_1", "user")
			for range 5 {
				a := b.send("POST", "/message", "", "Authorization", access)
				a.wants(t, 503, "limits_unavailable")
				if a.header.Get("Retry-After") == "" {
					t.Error("it does not say when to try again")
				}
				b.send("POST", "/login", "").wants(t, 503, "limits_unavailable")
				b.send("GET", "/messages", "", "Authorization", access).wants(t, 200, "")
				b.send("POST", "/message", "").wants(t, 401, "unauthorized")
				b.send("POST", "/hook", "{}").wants(t, 200, "")
				b.send("POST", "/free", "", "X-API-Key", "tb_key").wants(t, 200, "")
			}
			if lines := linesWith(b.log.String(), "does not count"); len(lines) != 1 {
				t.Errorf("logged %d times: %q", len(lines), lines)
			}
		})
	}
}

// frozen is a server that takes connections and answers nothing.
func frozen(t *testing.T) string {
	l := listening(t, "tcp", "127.0.0.1:0")
	var open []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
		for _, c := range open {
			c.Close()
		}
	})
	return l.Addr().String()
}

func TestRedisIsAskedAgainWhenItIsBack(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	b := serving(t, limitedRoutes(), func(cfg *Config) { cfg.Redis = client })
	access := b.as("usr_1", "user")
	b.send("POST", "/message", "", "Authorization", access).wants(t, 200, "")
	server.SetError("LOADING Redis is loading the dataset in memory")
	b.send("POST", "/message", "", "Authorization", access).wants(t, 503, "limits_unavailable")
	server.SetError("")
	for b.send("POST", "/message", "", "Authorization", access).status == nethttp.StatusServiceUnavailable {
		time.Sleep(20 * time.Millisecond) // until it is asked again; the test's own time limit ends a vain wait
	}
	b.send("POST", "/message", "", "Authorization", access).wants(t, 200, "")
}

// Views that are silent take a look-up's time. Others are counted all the same.
func TestWhoHasNoTimeLeftSaysNothingAboutRedis(t *testing.T) {
	b := serving(t, limitedRoutes())
	late, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	caller := ledger.Caller{Address: "192.0.2.1"}
	route := &b.server.cfg.Routes[0]
	if err := b.server.limits.allow(late, nethttp.Header{}, route, caller); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who comes too late is told %v", err)
	}
	b.send("POST", "/message", "", "Authorization", b.as("usr_1", "user")).wants(t, 200, "")
}
