package yokedcache_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Starts a Redis whose user app has a password, which the function changes. It ends the connections of the user.
func startLocked(t *testing.T) (url string, change func(password string)) {
	t.Helper()
	if onMemory() || !strings.HasPrefix(testURL(""), "redis") {
		t.Skip("the servers of this test are Redis")
	}
	port := freePort(t)
	startRedis(t, port)
	change = func(password string) {
		t.Helper()
		check(t, exec.Command("redis-cli", "-p", port, "ACL", "SETUSER", "app", "on", "resetpass", ">"+password, "~*", "&*", "+@all").Run())
		check(t, exec.Command("redis-cli", "-p", port, "CLIENT", "KILL", "USER", "app").Run())
	}
	return "redis://127.0.0.1:" + port + "?credentials=callback", change
}

func TestFunctionSuppliesCredentials(t *testing.T) {
	url, change := startLocked(t)
	change("first")
	var password atomic.Value
	password.Store("first")
	var asked atomic.Int64
	done := make(chan struct{})
	cache, err := yokedcache.Open(url, nil, yokedcache.WithCredentials(func(ctx context.Context) (yokedcache.Credentials, error) {
		if asked.Add(1) == 1 {
			context.AfterFunc(ctx, func() { close(done) })
		}
		return yokedcache.Credentials{Username: "app", Password: password.Load().(string), ValidFor: time.Hour}, nil
	}))
	check(t, err)
	ctx := context.Background()
	check(t, cache.Set(ctx, "k", []byte("v")))
	if asked.Load() != 1 {
		t.Fatalf("the function was called %d times", asked.Load())
	}
	password.Store("second")
	change("second")
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err = cache.Get(ctx, "k"); err == nil || time.Since(begun) > soon {
			break
		}
	}
	check(t, err)
	check(t, cache.Close())
	<-done
}

func TestErrorOfCredentialsHasItsCause(t *testing.T) {
	url, change := startLocked(t)
	change("first")
	for _, test := range []struct {
		given yokedcache.Credentials
		err   error
		text  string
	}{
		{yokedcache.Credentials{}, errors.New("the identity service is away"), "the identity service is away"},
		{yokedcache.Credentials{Username: "app"}, nil, "the password is empty"},
		{yokedcache.Credentials{Username: "app", Password: "p", ValidFor: -1}, nil, "ValidFor is negative"},
		{yokedcache.Credentials{Username: "app", Password: "c4n4ry"}, nil, "WRONGPASS"},
	} {
		_, err := yokedcache.Open(url, yokedcache.WithCredentials(func(context.Context) (yokedcache.Credentials, error) {
			return test.given, test.err
		}))
		if !errors.Is(err, yokedcache.ErrAuth) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}

func TestCredentialsNeedAnOptionOfTheConfiguration(t *testing.T) {
	var option = yokedcache.WithCredentials(func(context.Context) (yokedcache.Credentials, error) {
		return yokedcache.Credentials{}, nil
	})
	if _, err := yokedcache.Open("memory://", option); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
}
