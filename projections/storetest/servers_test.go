package storetest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

func TestEachTestHasAnEmptyDatabaseThatCanRunTransactions(t *testing.T) {
	for range 2 {
		url := Mongo(t)
		ctx := context.Background()
		client, err := mongo.Connect(ctx, options.Client().ApplyURI(url))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Disconnect(ctx) })
		name := strings.TrimSuffix(url[strings.LastIndex(url, "/")+1:], "?directConnection=true")
		database := client.Database(name)
		if names, err := database.ListCollectionNames(ctx, bson.M{}); err != nil || len(names) != 0 {
			t.Fatalf("there is something in it: %v, %v", names, err)
		}
		err = client.UseSession(ctx, func(sc mongo.SessionContext) error {
			if err := sc.StartTransaction(); err != nil {
				return err
			}
			if _, err := database.Collection("a").InsertOne(sc, bson.M{"_id": 1}); err != nil {
				return err
			}
			return sc.CommitTransaction(sc)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestARedisEndsWithItsTest(t *testing.T) {
	var addr string
	t.Run("inner", func(t *testing.T) {
		addr = Redis(t)
		if err := redisAnswers(context.Background(), addr); err != nil {
			t.Fatal(err)
		}
	})
	if addr != "" && redisAnswers(context.Background(), addr) == nil {
		t.Fatal("it still answers")
	}
}

// The test binary is killed in the middle of a test; its servers must not stay.
func TestServersEndWithAKilledTestBinary(t *testing.T) {
	if dir := os.Getenv("STORETEST_VICTIM"); dir != "" {
		for name, addr := range map[string]string{"redis": Redis(t), "mongo": mustMongod(t)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(addr), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
	}
	dir, temp := t.TempDir(), t.TempDir()
	victim := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), "STORETEST_VICTIM="+dir, "TMPDIR="+temp)
	Mongo(t) // skips where there is none
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the servers serve", func() bool {
		written, _ := filepath.Glob(filepath.Join(dir, "*"))
		return len(written) == 2
	})
	if kept, _ := filepath.Glob(filepath.Join(temp, "truebond-*")); len(kept) != 2 {
		t.Fatalf("two servers have folders: %v", kept)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	until(t, "nothing of them is left", func() bool {
		kept, _ := filepath.Glob(filepath.Join(temp, "truebond-*"))
		return len(kept) == 0
	})
	for _, name := range []string{"redis", "mongo"} {
		addr, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if answers(string(addr)) {
			t.Errorf("%s still listens at %s", name, addr)
		}
	}
}

func mustMongod(t *testing.T) string {
	s, err := sharedMongod()
	if err != nil {
		t.Fatal(err)
	}
	return s.addr
}

func answers(addr string) bool {
	conn, err := dial(addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
