// Command race reads rows with GetOrLoad, for the tests of programs in several languages: tests/together/race.c changes
// the rows and describes the counters.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

var failures, calls, loads atomic.Int64

// The loaders of this process that run, by row.
var running = map[string]*atomic.Int64{"calm": new(atomic.Int64), "wild": new(atomic.Int64)}

func check(holds bool, format string, arguments ...any) {
	if !holds {
		fmt.Printf("FAILED race.go: "+format+"\n", arguments...)
		failures.Add(1)
	}
}

func add(cache *yokedcache.Cache, row, counter string, delta int64) int64 {
	for {
		value, err := cache.CounterAdd(context.Background(), row+":"+counter, delta, yokedcache.WithTTL(yokedcache.NoExpiry))
		if !errors.Is(err, yokedcache.ErrBusy) {
			check(err == nil, "%s:%s: %v", row, counter, err)
			return value
		}
	}
}

func load(cache *yokedcache.Cache, row string, fill *yokedcache.Fill) string {
	check(running[row].Add(1) == 1, "%s: two loaders of one process run", row)
	defer running[row].Add(-1)
	check(add(cache, row, "running", 1) == 1 || row != "calm", "%s: two loaders run", row)
	if row == "wild" {
		fill.Tags = []string{row}
	}
	version := add(cache, row, "version", 0)
	time.Sleep(2 * time.Millisecond)
	add(cache, row, "running", -1)
	add(cache, row, "loads", 1)
	loads.Add(1)
	return strconv.FormatInt(version, 10)
}

func read(cache *yokedcache.Cache, row string) {
	options := []yokedcache.LoadOption{yokedcache.WithTTL(time.Hour), yokedcache.WithWait(20 * time.Second)}
	if row == "calm" {
		options = append(options, yokedcache.WithTags(row))
	}
	least := add(cache, row, "known", 0)
	seen, err := yokedcache.GetOrLoad(context.Background(), cache, row, func(_ context.Context, fill *yokedcache.Fill) (string, error) {
		return load(cache, row, fill), nil
	}, options...)
	version, _ := strconv.ParseInt(seen, 10, 64)
	check(err == nil && version >= least, "%s: version %q (%v) after %d was known", row, seen, err, least)
	calls.Add(1)
}

func readRows(cache *yokedcache.Cache) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && add(cache, "all", "stop", 0) == 0; {
		read(cache, "calm")
		read(cache, "wild")
	}
}

func main() {
	cache, err := yokedcache.Open(os.Getenv("YC_TEST_URL"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	add(cache, "all", "ready", 1)
	var callers sync.WaitGroup
	for i := 0; i < 4; i++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			readRows(cache)
		}()
	}
	callers.Wait()
	check(cache.Close() == nil, "the cache does not close")
	fmt.Printf("go: %d calls, %d loads\n", calls.Load(), loads.Load())
	if failures.Load() > 0 || calls.Load() == 0 {
		os.Exit(1)
	}
}
