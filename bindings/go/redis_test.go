package yokedcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openCommands(t *testing.T) *yokedcache.Cache {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanCommand == 0 {
		t.Skip("the backend has no commands (CanCommand)")
	}
	return cache
}

func reply(t *testing.T, cache *yokedcache.Cache, args ...any) yokedcache.Reply {
	t.Helper()
	reply, err := cache.Redis().Do(ctx, args...)
	check(t, err)
	return reply
}

func TestABackendWithoutCommandsSaysSo(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanCommand != 0 {
		t.Skip("the backend has commands")
	}
	for _, args := range [][]any{{"PING"}, {"GET", yokedcache.Key("a")}} {
		if _, err := cache.Redis().Do(ctx, args...); !errors.Is(err, yokedcache.ErrUnsupported) {
			t.Error(err)
		}
	}
}

func TestRepliesOfEachKind(t *testing.T) {
	cache := openCommands(t)
	key := yokedcache.Key("kinds")
	if got := reply(t, cache, "SET", key, []byte("a\x00\xff")); got.Kind != yokedcache.ReplyStatus || got.Text != "OK" {
		t.Error(got)
	}
	if got := reply(t, cache, "GET", key); got.Kind != yokedcache.ReplyString || got.Text != "a\x00\xff" {
		t.Error(got)
	}
	if got := reply(t, cache, "GET", yokedcache.Key("none")); !got.IsNil() {
		t.Error(got)
	}
	if got := reply(t, cache, "ZADD", yokedcache.Key("scores"), 1.5, "b", int64(-2), "a"); got.Integer != 2 {
		t.Error(got)
	}
	got := reply(t, cache, "EVAL", "return {1, {'two', false}, redis.error_reply('ERR own')}", 0)
	if len(got.Elements) != 3 || got.Elements[0].Integer != 1 || got.Elements[1].Elements[0].Text != "two" ||
		!got.Elements[1].Elements[1].IsNil() || got.Elements[2].Err() == nil || got.Elements[0].Err() != nil {
		t.Error(got)
	}
	if names := reply(t, cache, "ZRANGE", yokedcache.Key("scores"), 0, -1).Strings(); strings.Join(names, " ") != "a b" {
		t.Error(names)
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	cache := openCommands(t)
	for _, args := range [][]any{{"BLPOP", "a", 0}, {"select", 1}, {"MULTI"}, {"CLIENT", "REPLY", "OFF"}, {""}, {}, {"GET", true}, {"GET", nil}} {
		if _, err := cache.Redis().Do(ctx, args...); !errors.Is(err, yokedcache.ErrInvalid) {
			t.Error(args, err)
		}
	}
	for _, args := range [][]any{{"GET"}, {"NOSUCHCOMMAND"}} {
		if _, err := cache.Redis().Do(ctx, args...); !errors.Is(err, yokedcache.ErrServer) {
			t.Error(args, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := cache.Redis().Do(cancelled, "PING"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	check(t, cache.Close())
	if _, err := cache.Redis().Do(ctx, "PING"); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
}

// Commands of many goroutines run once each, and their data is not that of entries.
func TestCommandsAtOnce(t *testing.T) {
	cache := openCommands(t)
	check(t, cache.Set(ctx, "count", []byte("entry")))
	var all sync.WaitGroup
	for number := 0; number < 50; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := 0; turn < 20; turn++ {
				if _, err := cache.Redis().Do(ctx, "INCR", yokedcache.Key("count")); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	got, err := cache.Redis().Idempotent().Do(ctx, "GET", yokedcache.Key("count"))
	if err != nil || got.Text != "1000" {
		t.Error(got, err)
	}
	value, err := cache.Get(ctx, "count")
	if string(value) != "entry" || err != nil {
		t.Error(string(value), err)
	}
	reply(t, cache, "DEL", yokedcache.Key("count"))
}
