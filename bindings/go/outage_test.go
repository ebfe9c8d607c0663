package yokedcache_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A server that is there, goes away in the midst of calls, and comes back: errors, no misses, then answers again.
func TestAServerThatIsStopped(t *testing.T) {
	port := os.Getenv("YC_TEST_PORT")
	if port == "" {
		t.Skip("only with a server whose port is in YC_TEST_PORT")
	}
	proxy := startProxy(t, port)
	scheme, _, _ := strings.Cut(os.Getenv("YC_TEST_URL"), ":")
	cache, err := yokedcache.Open(scheme + "://" + proxy.address + "?socket_timeout=500ms&key_prefix=outage")
	check(t, err)
	check(t, cache.Set(ctx, "k", []byte("value")))

	var all sync.WaitGroup
	var failed, read atomic.Int64
	stop := make(chan struct{})
	for number := 0; number < 50; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				value, err := cache.Get(ctx, "k")
				var described *yokedcache.Error
				switch {
				case err == nil && string(value) == "value":
					read.Add(1)
				case errors.Is(err, yokedcache.ErrMiss) || !errors.As(err, &described):
					t.Error(string(value), err)
				default:
					failed.Add(1)
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	proxy.cut()
	for begun := time.Now(); failed.Load() == 0 && time.Since(begun) < soon; {
		time.Sleep(time.Millisecond)
	}
	proxy.mend()
	before := read.Load()
	for begun := time.Now(); read.Load() == before && time.Since(begun) < soon; {
		time.Sleep(time.Millisecond)
	}
	if failed.Load() == 0 || read.Load() == before {
		t.Errorf("%d calls failed, %d succeeded behind them", failed.Load(), read.Load()-before)
	}
	proxy.cut()
	within(t, func() {
		close(stop)
		cache.Close()
		all.Wait()
	})
}

const exitVariable = "YOKEDCACHE_TEST_EXIT"

// A process that ends with calls in flight ends, with its own status.
func TestExitWithCallsInFlight(t *testing.T) {
	for _, way := range []string{"exit", "return", "panic"} {
		program := exec.Command(os.Args[0], "-test.run=TestExiting$")
		program.Env = append(os.Environ(), exitVariable+"="+way, "YC_TEST_SILENT="+silentServer(t))
		begun := time.Now()
		out, err := program.CombinedOutput()
		wanted := map[string]int{"exit": 7, "return": 0, "panic": 2}[way]
		if program.ProcessState.ExitCode() != wanted || time.Since(begun) > soon {
			t.Errorf("%s: %v after %v: %s", way, err, time.Since(begun), out)
		}
		if strings.Contains(string(out), "SIG") {
			t.Errorf("%s: %s", way, out)
		}
	}
}

// The process of TestExitWithCallsInFlight.
func TestExiting(t *testing.T) {
	way := os.Getenv(exitVariable)
	if way == "" {
		t.Skip("only as the program that TestExitWithCallsInFlight starts")
	}
	goroutines := 1000
	if raceEnabled {
		// Each of its busy goroutines delays the end of the process.
		goroutines = 50
	}
	for _, url := range []string{os.Getenv("YC_TEST_SILENT") + "?connect=lazy&socket_timeout=60s", testURL("")} {
		cache, err := yokedcache.Open(url)
		check(t, err)
		for number := 0; number < goroutines; number++ {
			go func() {
				for {
					cache.Set(ctx, "k", nil, yokedcache.WithTags("t"))
					cache.Get(ctx, "k")
				}
			}()
		}
	}
	time.Sleep(50 * time.Millisecond)
	switch way {
	case "exit":
		os.Exit(7)
	case "panic":
		panic("on purpose")
	}
}
