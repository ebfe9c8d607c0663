package yokedcache_test

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A handler that keeps its records, and calls a function for each of them.
type journal struct {
	lock    sync.Mutex
	records []slog.Record
	each    func(slog.Record)
	enabled func() bool // Nil for true.
}

func (journal *journal) WithAttrs([]slog.Attr) slog.Handler { return journal }
func (journal *journal) WithGroup(string) slog.Handler      { return journal }

func (journal *journal) Enabled(context.Context, slog.Level) bool {
	return journal.enabled == nil || journal.enabled()
}

func (journal *journal) Handle(_ context.Context, record slog.Record) error {
	journal.lock.Lock()
	journal.records = append(journal.records, record)
	journal.lock.Unlock()
	if journal.each != nil {
		journal.each(record)
	}
	return nil
}

func (journal *journal) all() []slog.Record {
	journal.lock.Lock()
	defer journal.lock.Unlock()
	return append([]slog.Record(nil), journal.records...)
}

// Returns the number of records with a text.
func (journal *journal) count(part string) (count int) {
	for _, record := range journal.all() {
		if strings.Contains(record.Message, part) {
			count++
		}
	}
	return count
}

func (journal *journal) has(level slog.Level, part string) bool {
	for _, record := range journal.all() {
		if record.Level == level && strings.Contains(record.Message, part) {
			return true
		}
	}
	return false
}

func (journal *journal) await(t *testing.T, level slog.Level, part string) {
	t.Helper()
	for begun := time.Now(); !journal.has(level, part); time.Sleep(time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatalf("no line with %q: %v", part, journal.all())
		}
	}
}

// Returns the number of lines that the records tell were dropped.
func droppedOf(records []slog.Record) (dropped uint64) {
	for _, record := range records {
		record.Attrs(func(attribute slog.Attr) bool {
			if attribute.Key == "dropped" {
				dropped += attribute.Value.Uint64()
			}
			return true
		})
	}
	return dropped
}

// Sets a logger until the test ends.
func setLogger(t *testing.T, handler slog.Handler, options ...yokedcache.LogOption) {
	t.Helper()
	check(t, yokedcache.SetLogger(slog.New(handler), options...))
	t.Cleanup(func() { check(t, yokedcache.SetLogger(nil)) })
}

// Writes two lines.
func openAndClose(t *testing.T, prefix string) {
	cache, err := yokedcache.Open("memory://?key_prefix=" + prefix)
	if err != nil {
		t.Error(err)
		return
	}
	cache.Close()
}

func TestLogHasTheLinesOfACache(t *testing.T) {
	journal := &journal{}
	begun := time.Now().Add(-time.Second)
	check(t, yokedcache.SetLogger(slog.New(journal), yokedcache.WithLogLevel(yokedcache.LevelTrace)))
	openAndClose(t, "seen")
	check(t, yokedcache.SetLogger(nil))
	if journal.count("seen") != 2 || !journal.has(slog.LevelInfo, "opened") || !journal.has(slog.LevelInfo, "closed") {
		t.Fatal(journal.all())
	}
	for _, record := range journal.all() {
		if record.Time.Before(begun) || record.Time.After(time.Now().Add(time.Second)) || record.PC != 0 {
			t.Error(record)
		}
	}
	openAndClose(t, "unseen")
	if journal.count("unseen") != 0 {
		t.Error(journal.all())
	}
}

func TestLogLevels(t *testing.T) {
	lines := func(options ...yokedcache.LogOption) (infos, warnings int) {
		journal := &journal{}
		check(t, yokedcache.SetLogger(slog.New(journal), options...))
		openAndClose(t, "levels")
		// Without a prefix: a warning.
		cache, err := yokedcache.Open("redis://127.0.0.1:1?connect=lazy")
		check(t, err)
		cache.Close()
		check(t, yokedcache.SetLogger(nil))
		for _, record := range journal.all() {
			switch {
			case record.Level == slog.LevelInfo && strings.Contains(record.Message, "levels"):
				infos++
			case record.Level == slog.LevelWarn && strings.Contains(record.Message, "key_prefix"):
				warnings++
			}
		}
		return infos, warnings
	}
	for _, each := range []struct {
		options         []yokedcache.LogOption
		infos, warnings int
	}{
		{nil, 2, 1},
		{[]yokedcache.LogOption{nil, yokedcache.WithLogLevel(slog.LevelDebug)}, 2, 1},
		{[]yokedcache.LogOption{yokedcache.WithLogLevel(slog.LevelInfo + 1)}, 0, 1},
		{[]yokedcache.LogOption{yokedcache.WithLogLevel(slog.LevelWarn)}, 0, 1},
		{[]yokedcache.LogOption{yokedcache.WithLogLevel(slog.LevelWarn + 1)}, 0, 0},
		{[]yokedcache.LogOption{yokedcache.WithLogLevel(slog.LevelError + 1)}, 0, 0},
	} {
		if infos, warnings := lines(each.options...); infos != each.infos || warnings != each.warnings {
			t.Errorf("%v: %d of INFO, %d of WARN", each.options, infos, warnings)
		}
	}
}

// A handler with a level of its own is not called for lines below it.
func TestLogLevelOfTheHandler(t *testing.T) {
	var text strings.Builder
	handler := slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn})
	check(t, yokedcache.SetLogger(slog.New(handler), yokedcache.WithLogLevel(yokedcache.LevelTrace)))
	openAndClose(t, "quiet")
	check(t, yokedcache.SetLogger(nil))
	if text.String() != "" {
		t.Error(text.String())
	}
}

func TestLogTellsOfAServerThatIsDownWithoutThePassword(t *testing.T) {
	journal := &journal{}
	setLogger(t, journal, yokedcache.WithLogLevel(yokedcache.LevelTrace))
	port := freePort(t)
	for _, url := range []string{
		"redis://user:hunter2@127.0.0.1:" + port + "?connect=lazy&key_prefix=secret",
		"redis://:hunter2@127.0.0.1:" + port + "?key_prefix=secret",
		"redis://user:hunter2@127.0.0.1:port",
		"memcached://user:hunter2@127.0.0.1:" + port + "?connect=lazy",
	} {
		cache, err := yokedcache.Open(url)
		if err != nil {
			continue
		}
		if _, err := cache.Get(ctx, "k"); err == nil {
			t.Error("a value from a server that is down")
		}
		journal.await(t, slog.LevelWarn, port)
		check(t, cache.Close())
	}
	check(t, yokedcache.SetLogger(nil))
	for _, record := range journal.all() {
		if strings.Contains(record.Message, "hunter2") {
			t.Error(record)
		}
	}
}

func TestLogTellsOfALostConnection(t *testing.T) {
	port := os.Getenv("YC_TEST_PORT")
	if port == "" {
		t.Skip("only with a server whose port is in YC_TEST_PORT")
	}
	journal := &journal{}
	setLogger(t, journal)
	proxy := startProxy(t, port)
	scheme, _, _ := strings.Cut(os.Getenv("YC_TEST_URL"), ":")
	// A second connection that is made meanwhile would not be cut.
	cache, err := yokedcache.Open(scheme + "://" + proxy.address + "?key_prefix=log&pool_size=1")
	check(t, err)
	defer cache.Close()
	check(t, cache.Set(ctx, "k", nil))
	journal.await(t, slog.LevelInfo, "connected")
	proxy.cut()
	journal.await(t, slog.LevelWarn, "a connection was lost")
	proxy.mend()
	journal.await(t, slog.LevelInfo, "connected again")
}

// Loggers that are replaced while goroutines write lines: none is called when the next one is set.
func TestLogReplacedDuringTraffic(t *testing.T) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for number := 0; number < 4; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				select {
				case <-stop:
					return
				default:
					openAndClose(t, "traffic")
				}
			}
		}()
	}
	var lines atomic.Int64
	for turn := 0; turn < 100; turn++ {
		var over atomic.Bool
		check(t, yokedcache.SetLogger(slog.New(&journal{each: func(slog.Record) {
			lines.Add(1)
			if over.Load() {
				t.Error("a handler was called after it was removed")
			}
		}})))
		time.Sleep(time.Duration(turn%3) * time.Millisecond)
		if turn%2 == 0 {
			check(t, yokedcache.SetLogger(nil))
		} else {
			check(t, yokedcache.SetLogger(slog.New(&journal{})))
		}
		over.Store(true)
	}
	check(t, yokedcache.SetLogger(nil))
	close(stop)
	all.Wait()
	if lines.Load() == 0 {
		t.Error("no lines")
	}
}

func TestLogSetByManyGoroutines(t *testing.T) {
	var all sync.WaitGroup
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for turn := 0; turn < 50; turn++ {
				if (turn+number)%3 == 0 {
					check(t, yokedcache.SetLogger(nil))
				} else {
					check(t, yokedcache.SetLogger(slog.New(&journal{})))
				}
				openAndClose(t, "many")
			}
		}(number)
	}
	within(t, all.Wait)
	check(t, yokedcache.SetLogger(nil))
}

// Writes the lines of many caches while a handler blocks at the first of them.
func dropLines(t *testing.T, journal *journal, caches int) {
	blocked, release := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(blocked) })
	journal.each = func(slog.Record) {
		begin()
		<-release
	}
	check(t, yokedcache.SetLogger(slog.New(journal)))
	openAndClose(t, "first")
	<-blocked
	within(t, func() {
		for number := 1; number < caches; number++ {
			openAndClose(t, "next")
		}
	})
	if records := journal.all(); len(records) != 1 {
		t.Errorf("%d records while the first one blocks", len(records))
	}
	close(release)
	check(t, yokedcache.SetLogger(nil))
}

// Calls end while the handler blocks. Each line is either passed or counted.
func TestLogHandlerThatBlocksStallsNoCall(t *testing.T) {
	const caches = 2000
	journal := &journal{}
	dropLines(t, journal, caches)
	records := journal.all()
	dropped := droppedOf(records)
	// A few lines may come from caches that other tests have left open.
	if sum := uint64(len(records)) + dropped; sum < 2*caches || sum > 2*caches+100 || dropped == 0 || len(records) < 1024 {
		t.Errorf("%d records, %d dropped", len(records), dropped)
	}
}

// The first line after the dropped ones is refused: the next record has their number.
func TestLogCountsDroppedLinesBeforeARefusedOne(t *testing.T) {
	const caches = 2000
	asked := 0
	journal := &journal{enabled: func() bool {
		asked++
		return asked != 2
	}}
	dropLines(t, journal, caches)
	records := journal.all()
	if sum := uint64(len(records)) + 1 + droppedOf(records); sum < 2*caches || sum > 2*caches+100 {
		t.Errorf("%d records, %d dropped", len(records), droppedOf(records))
	}
}

// A handler that opens caches writes no lines: it would never end.
func TestLogHandlerThatUsesCaches(t *testing.T) {
	cache, err := yokedcache.Open(testURL(""))
	check(t, err)
	defer cache.Close()
	journal := &journal{}
	journal.each = func(record slog.Record) {
		openAndClose(t, "inner")
		if err := cache.Set(ctx, "line", []byte(record.Message)); err != nil {
			t.Error(err)
		}
	}
	check(t, yokedcache.SetLogger(slog.New(journal), yokedcache.WithLogLevel(yokedcache.LevelTrace)))
	openAndClose(t, "outer")
	check(t, yokedcache.SetLogger(nil))
	if journal.count("inner") != 0 || journal.count("outer") != 2 {
		t.Error(journal.all())
	}
	text, err := cache.Get(ctx, "line")
	if err != nil || len(text) == 0 {
		t.Error(string(text), err)
	}
}

// The lines that are left are not passed.
func TestLogHandlerThatRemovesItself(t *testing.T) {
	for _, next := range []*slog.Logger{nil, slog.New(&journal{})} {
		opened := make(chan struct{})
		removed := make(chan struct{})
		journal := &journal{each: func(slog.Record) {
			<-opened
			check(t, yokedcache.SetLogger(next))
			close(removed)
		}}
		check(t, yokedcache.SetLogger(slog.New(journal)))
		openAndClose(t, "removed")
		openAndClose(t, "removed")
		close(opened)
		<-removed
		check(t, yokedcache.SetLogger(nil))
		if records := journal.all(); len(records) != 1 {
			t.Error(records)
		}
	}
}

func TestLogHandlerThatEndsItsGoroutine(t *testing.T) {
	journal := &journal{each: func(slog.Record) { runtime.Goexit() }}
	check(t, yokedcache.SetLogger(slog.New(journal)))
	openAndClose(t, "ended")
	openAndClose(t, "ended")
	check(t, yokedcache.SetLogger(nil))
	if journal.count("ended") != 4 {
		t.Error(journal.all())
	}
}

func TestLogIsNoLeak(t *testing.T) {
	turn := func(count int) {
		for number := 0; number < count; number++ {
			check(t, yokedcache.SetLogger(slog.New(slog.NewTextHandler(discard{}, nil))))
			openAndClose(t, "leak")
			check(t, yokedcache.SetLogger(nil))
		}
	}
	turn(50)
	goroutines, threads := runtime.NumGoroutine(), len(strings.Fields(readFile(t, "/proc/self/task")))
	turn(200)
	for begun := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(begun) < soon; time.Sleep(time.Millisecond) {
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines, then %d", goroutines, now)
	}
	if now := len(strings.Fields(readFile(t, "/proc/self/task"))); now > threads+50 {
		t.Errorf("%d threads, then %d", threads, now)
	}
}

type discard struct{}

func (discard) Write(bytes []byte) (int, error) { return len(bytes), nil }
