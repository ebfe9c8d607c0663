package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func onRedis() bool {
	return strings.HasPrefix(os.Getenv("YC_TEST_URL"), "redis:")
}

// A URL with events: the options that turn them on are in YC_TEST_OPTIONS; Redis needs none.
func eventsURL(options string) string {
	if given := os.Getenv("YC_TEST_OPTIONS"); given != "" {
		options += "&" + given
	} else if onRedis() {
		options += "&events=true"
	}
	return testURL(options)
}

func openURL(t *testing.T, url string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(url)
	check(t, err)
	t.Cleanup(func() {
		cache.Flush(ctx)
		check(t, cache.Close())
	})
	if cache.Capabilities()&yokedcache.CanEvents == 0 {
		t.Skip("the backend has no events (CanEvents)")
	}
	return cache
}

func openWithEvents(t *testing.T) *yokedcache.Cache {
	t.Helper()
	return openURL(t, eventsURL(""))
}

func readEvents(t *testing.T, cache *yokedcache.Cache, filter yokedcache.EventFilter) *yokedcache.EventReader {
	t.Helper()
	reader, err := cache.OpenEvents(ctx, filter)
	check(t, err)
	t.Cleanup(func() { check(t, reader.Close()) })
	return reader
}

var own = yokedcache.EventFilter{Own: true}

func expectEvent(t *testing.T, reader *yokedcache.EventReader, kind yokedcache.EventKind, name string) yokedcache.Event {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	event, err := reader.Next(limited)
	if err != nil || event.Kind != kind || event.Name != name || event.IsGap() != (kind == yokedcache.EventGap) {
		t.Fatalf("%v %.100q, %v in place of %v %.100q", event.Kind, event.Name, err, kind, name)
	}
	return event
}

// Starts goroutines that wait for an event. The function waits for their ends, and returns their errors.
func startWaitingForEvents(reader *yokedcache.EventReader, goroutines int) (wait func() []error) {
	var all sync.WaitGroup
	failures := make([]error, goroutines)
	for at := range failures {
		all.Add(1)
		go func(at int) {
			defer all.Done()
			_, failures[at] = reader.Next(ctx)
		}(at)
	}
	time.Sleep(20 * time.Millisecond)
	return func() []error {
		all.Wait()
		return failures
	}
}

// Invalidates a tag again and again, until the function is called.
func keepInvalidating(t *testing.T, cache *yokedcache.Cache, tag string) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
				if err := cache.InvalidateTag(ctx, tag); err != nil && !errors.Is(err, yokedcache.ErrClosed) {
					t.Error(err)
				}
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

func TestABackendWithoutEventsSaysSo(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanEvents != 0 {
		t.Skip("the backend has events")
	}
	if _, err := cache.OpenEvents(ctx, own); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
	found := 0
	cache.Events(ctx, own)(func(event yokedcache.Event, err error) bool {
		if found++; !errors.Is(err, yokedcache.ErrUnsupported) {
			t.Error(event, err)
		}
		return true
	})
	if found != 1 {
		t.Error(found)
	}
}

func TestEachRemovalIsAnEvent(t *testing.T) {
	cache := openWithEvents(t)
	begun := time.Now()
	reader := readEvents(t, cache, own)
	long := "key\x00\xff" + strings.Repeat("k", 60000)
	check(t, cache.Set(ctx, "k", nil, yokedcache.WithTags("t")))
	check(t, cache.InvalidateTags(ctx, "t", "\xff\x00"))
	check(t, second(cache.Delete(ctx, "none")))
	check(t, second(cache.DeleteMany(ctx, []string{"a", long})))
	check(t, cache.Flush(ctx))
	events := []yokedcache.Event{
		expectEvent(t, reader, yokedcache.EventTag, "t"),
		expectEvent(t, reader, yokedcache.EventTag, "\xff\x00"),
		expectEvent(t, reader, yokedcache.EventDelete, "none"),
		expectEvent(t, reader, yokedcache.EventDelete, "a"),
		expectEvent(t, reader, yokedcache.EventDelete, long),
		expectEvent(t, reader, yokedcache.EventFlush, ""),
	}
	if cache.Capabilities()&yokedcache.CanList != 0 {
		check(t, second(cache.InvalidatePattern(ctx, "user:*")))
		events = append(events, expectEvent(t, reader, yokedcache.EventPattern, "user:*"))
	}
	for at, event := range events {
		if !event.Own || event.Lost != 0 || event.Origin == 0 || event.Origin != events[0].Origin || at > 0 && event.Sequence <= events[at-1].Sequence {
			t.Errorf("%.100v after %.100v", event, events[max(at, 1)-1])
		}
		if event.Time.Before(begun.Add(-time.Second)) || event.Time.After(time.Now().Add(time.Second)) {
			t.Error(event.Kind, event.Time, begun)
		}
	}
}

func TestAnotherCacheReadsEvents(t *testing.T) {
	url := eventsURL("")
	cache, other := openURL(t, url), openURL(t, url)
	if cache.Capabilities()&yokedcache.CanShare == 0 {
		t.Skip("the memory backend has no other cache")
	}
	reader, all := readEvents(t, cache, yokedcache.EventFilter{}), readEvents(t, cache, own)
	for _, writer := range []*yokedcache.Cache{other, cache, openURL(t, eventsURL("")), other} {
		check(t, writer.InvalidateTag(ctx, "t"))
		check(t, second(writer.Delete(ctx, "k")))
	}
	var origins []uint64
	for turn := 0; turn < 2; turn++ {
		for _, event := range []yokedcache.Event{expectEvent(t, reader, yokedcache.EventTag, "t"), expectEvent(t, reader, yokedcache.EventDelete, "k")} {
			origins = append(origins, event.Origin)
			if event.Own || event.Origin == 0 || event.Origin != origins[0] {
				t.Error(event)
			}
		}
	}
	owned := 0
	for at := 0; at < 6; at++ {
		limited, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		event, err := all.Next(limited)
		check(t, err)
		if event.Own {
			owned++
		}
		if event.Own == (event.Origin == origins[0]) {
			t.Error(event)
		}
	}
	if owned != 2 {
		t.Error(owned)
	}
}

func TestAFilterSelectsEvents(t *testing.T) {
	cache := openWithEvents(t)
	readers := map[string]*yokedcache.EventReader{}
	for name, filter := range map[string]yokedcache.EventFilter{
		"not own": {},
		"tags":    {Own: true, Tags: []string{"t", "\x00"}},
		"keys":    {Own: true, Keys: []string{"user:*", "[!a]?"}},
		"both":    {Own: true, Tags: []string{"t"}, Keys: []string{"user:*"}},
		"kinds":   {Own: true, Kinds: yokedcache.EventFlush | yokedcache.EventTag},
	} {
		readers[name] = readEvents(t, cache, filter)
	}
	check(t, cache.InvalidateTags(ctx, "s", "t", "\x00"))
	check(t, second(cache.DeleteMany(ctx, []string{"user:1", "ab", "bc"})))
	check(t, cache.Flush(ctx))
	for name, wanted := range map[string][]string{
		"tags":  {"tag t", "tag \x00", "flush "},
		"keys":  {"delete user:1", "delete bc", "flush "},
		"both":  {"tag t", "delete user:1", "flush "},
		"kinds": {"tag s", "tag t", "tag \x00", "flush "},
	} {
		for _, event := range wanted {
			limited, cancel := context.WithTimeout(ctx, soon)
			defer cancel()
			came, err := readers[name].Next(limited)
			if err != nil || came.Kind.String()+" "+came.Name != event {
				t.Fatalf("%s: %v, %v in place of %q", name, came, err, event)
			}
		}
	}
	// All events have come by now.
	for name, reader := range readers {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if event, err := reader.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(name, event, err)
		}
	}
}

func TestNextWaitsForAnEvent(t *testing.T) {
	cache := openWithEvents(t)
	reader := readEvents(t, cache, own)
	came := make(chan string)
	go func() {
		event, err := reader.Next(ctx)
		came <- fmt.Sprint(event.Kind, " ", event.Name, " ", err)
	}()
	select {
	case event := <-came:
		t.Error("before the invalidation", event)
	case <-time.After(50 * time.Millisecond):
	}
	check(t, cache.InvalidateTag(ctx, "t"))
	if event := <-came; event != "tag t <nil>" {
		t.Error(event)
	}
}

func TestNextEndsWithItsContextAlsoForEvents(t *testing.T) {
	cache := openWithEvents(t)
	reader := readEvents(t, cache, own)
	for number := 0; number < 10; number++ {
		within(t, func() {
			ctx, cancel := cancelledSoon()
			defer cancel()
			if _, err := reader.Next(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, yokedcache.ErrCancelled) {
				t.Error(err)
			}
		})
	}
	late, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := reader.Next(late); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, yokedcache.ErrTimeout) {
		t.Error(err)
	}
	check(t, cache.InvalidateTag(ctx, "t"))
	if _, err := reader.Next(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	expectEvent(t, reader, yokedcache.EventTag, "t")
}

// The moment of the cancel moves over the arrival of events: each comes once, in its order.
func TestACancelLosesNoEvent(t *testing.T) {
	cache := openWithEvents(t)
	reader := readEvents(t, cache, own)
	const events = 500
	var writer sync.WaitGroup
	writer.Add(1)
	defer writer.Wait()
	go func() {
		defer writer.Done()
		for number := 0; number < events; number++ {
			if _, err := cache.Delete(ctx, fmt.Sprint(number)); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(number%7) * 20 * time.Microsecond)
		}
	}()
	cancelled, begun := 0, time.Now()
	for number, turn := 0, 0; number < events; turn++ {
		short, cancel := context.WithTimeout(ctx, time.Duration(turn%40)*5*time.Microsecond)
		event, err := reader.Next(short)
		cancel()
		switch {
		case err == nil && event.Name == fmt.Sprint(number):
			number++
		case errors.Is(err, context.DeadlineExceeded) && time.Since(begun) < soon:
			cancelled++
		default:
			t.Fatalf("%v, %v in place of %d", event, err, number)
		}
	}
	if cancelled == 0 {
		t.Error("no call was cancelled")
	}
}

func TestCloseEndsCallsThatWaitForAnEvent(t *testing.T) {
	cache := openWithEvents(t)
	reader, other := readEvents(t, cache, own), readEvents(t, cache, own)
	wait := startWaitingForEvents(reader, 50)
	within(t, func() {
		check(t, reader.Close())
		checkClosed(t, wait())
	})
	check(t, reader.Close())
	_, err := reader.Next(ctx)
	checkClosed(t, []error{err})
	check(t, cache.InvalidateTag(ctx, "t"))
	expectEvent(t, other, yokedcache.EventTag, "t")
}

func TestClosesOfEventsAndCallsAtOnce(t *testing.T) {
	cache := openWithEvents(t)
	for round := 0; round < 30; round++ {
		reader := readEvents(t, cache, own)
		var all sync.WaitGroup
		for number := 0; number < 8; number++ {
			all.Add(1)
			go func(number int) {
				defer all.Done()
				for at := 0; at < 20; at++ {
					if number == 0 {
						if err := cache.InvalidateTag(ctx, "t"); err != nil {
							t.Error(err)
						}
						continue
					}
					if event, err := reader.Next(ctx); errors.Is(err, yokedcache.ErrClosed) {
						return
					} else if err != nil || event.Name != "t" {
						t.Error(event, err)
					}
				}
			}(number)
		}
		for number := 0; number < 3; number++ {
			all.Add(1)
			go func(round int) {
				defer all.Done()
				time.Sleep(time.Duration(round) * 50 * time.Microsecond)
				if err := reader.Close(); err != nil {
					t.Error(err)
				}
			}(round)
		}
		within(t, all.Wait)
	}
}

// Calls that wait for an event do not hold up the end of the cache. Events that wait are returned afterwards.
func TestAClosedCacheEndsItsEventReaders(t *testing.T) {
	for name, shut := range map[string]func(*yokedcache.Cache) error{
		"close": (*yokedcache.Cache).Close,
		"shutdown": func(cache *yokedcache.Cache) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return cache.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cache := openWithEvents(t)
			reader, waiting, probe := readEvents(t, cache, yokedcache.EventFilter{}), readEvents(t, cache, own), readEvents(t, cache, own)
			wait := startWaitingForEvents(reader, 50)
			check(t, cache.InvalidateTag(ctx, "t"))
			expectEvent(t, probe, yokedcache.EventTag, "t")
			within(t, func() {
				check(t, shut(cache))
				checkClosed(t, wait())
			})
			_, err := reader.Next(ctx)
			_, refused := cache.OpenEvents(ctx, own)
			checkClosed(t, []error{err, refused})
			if onMemory() {
				expectEvent(t, waiting, yokedcache.EventTag, "t")
			}
			check(t, reader.Close())
			_, err = reader.Next(ctx)
			checkClosed(t, []error{err})
		})
	}
}

// A server that never answers does not hold up the end of the cache either.
func TestCloseEndsAnOpenOfEvents(t *testing.T) {
	cache := openSilent(t)
	failed := make(chan error)
	go func() { failed <- second(cache.OpenEvents(ctx, own)) }()
	time.Sleep(50 * time.Millisecond)
	within(t, func() {
		check(t, cache.Close())
		checkClosed(t, []error{<-failed})
	})
}

func TestAReaderThatIsTooSlowFindsAGap(t *testing.T) {
	cache := openWithEvents(t)
	if !onMemory() {
		t.Skip("a server delivers later: the number of lost events is not known")
	}
	reader := readEvents(t, cache, yokedcache.EventFilter{Own: true, MaxBytes: 1000})
	first, second := strings.Repeat("a", 600), strings.Repeat("b", 600)
	for _, tag := range []string{first, second, second, second, second, second} {
		check(t, cache.InvalidateTag(ctx, tag))
	}
	expectEvent(t, reader, yokedcache.EventTag, first)
	gap := expectEvent(t, reader, yokedcache.EventGap, "")
	if gap != (yokedcache.Event{Kind: yokedcache.EventGap, Lost: 5}) || !gap.Time.IsZero() {
		t.Error(gap)
	}
	check(t, cache.InvalidateTag(ctx, second))
	if event := expectEvent(t, reader, yokedcache.EventTag, second); event.Lost != 0 {
		t.Error(event)
	}
}

// A call that waits continues at the new backend.
func TestAnEventReaderFollowsASwitch(t *testing.T) {
	cache := openWithEvents(t)
	if !onMemory() {
		t.Skip("the conformance scripts do so on a server")
	}
	reader := readEvents(t, cache, yokedcache.EventFilter{})
	came := make(chan yokedcache.Event)
	go func() {
		event, err := reader.Next(ctx)
		if err != nil {
			t.Error(err)
		}
		came <- event
	}()
	time.Sleep(20 * time.Millisecond)
	within(t, func() { check(t, second(cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{}))) })
	if event := <-came; event.Kind != yokedcache.EventSwitch || event.Name != "memory" || !event.Own {
		t.Error(event)
	}
	if gap := expectEvent(t, reader, yokedcache.EventGap, ""); gap.Lost != -1 {
		t.Error(gap)
	}
	check(t, second(cache.Switch(ctx, "redis://127.0.0.1:1?connect=lazy", yokedcache.SwitchOptions{})))
	expectEvent(t, reader, yokedcache.EventSwitch, "redis")
	for turn := 0; turn < 2; turn++ {
		if event, err := reader.Next(ctx); !errors.Is(err, yokedcache.ErrUnsupported) {
			t.Error(event, err)
		}
	}
	if cache.Capabilities()&yokedcache.CanEvents != 0 {
		t.Error("the new backend has events")
	}
}

// A server goes away while a call waits, and comes back: a gap marks what was missed, or the journal has it.
func TestAnEventReaderWaitsThroughAnOutage(t *testing.T) {
	port := os.Getenv("YC_TEST_PORT")
	if port == "" || !onRedis() {
		t.Skip("only with a server of Redis whose port is in YC_TEST_PORT")
	}
	proxy := startProxy(t, port)
	url := eventsURL("")
	other := openURL(t, url)
	_, options, _ := strings.Cut(url, "?")
	cache := openURL(t, "redis://"+proxy.address+"?"+options)
	reader := readEvents(t, cache, yokedcache.EventFilter{})
	check(t, other.InvalidateTag(ctx, "before"))
	expectEvent(t, reader, yokedcache.EventTag, "before")

	proxy.cut()
	check(t, other.InvalidateTag(ctx, "missed"))
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if event, err := reader.Next(limited); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(event, err)
	}
	time.AfterFunc(100*time.Millisecond, proxy.mend)
	if strings.Contains(url, "events_journal") {
		expectEvent(t, reader, yokedcache.EventTag, "missed")
	} else if gap := expectEvent(t, reader, yokedcache.EventGap, ""); gap.Lost != -1 {
		t.Error(gap)
	}
	check(t, other.InvalidateTag(ctx, "after"))
	expectEvent(t, reader, yokedcache.EventTag, "after")
}

// A server that is killed and comes back, behind a fallback.
func TestAFallbackIsAnEvent(t *testing.T) {
	if !onRedis() {
		t.Skip("only beside a server of Redis")
	}
	port := freePort(t)
	kill := startRedis(t, port)
	cache, err := yokedcache.Open(fmt.Sprintf("{backend: redis, redis: {url: 'redis://127.0.0.1:%s', socket_timeout: 500ms, events: true}, fallback: memory}", port))
	check(t, err)
	defer cache.Close()
	reader := readEvents(t, cache, yokedcache.EventFilter{Kinds: yokedcache.EventFallbackBegin | yokedcache.EventFallbackEnd})
	expectNext := func(kind yokedcache.EventKind, name string) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		event, err := reader.Next(limited)
		for err == nil && event.IsGap() {
			event, err = reader.Next(limited)
		}
		if err != nil || event.Kind != kind || event.Name != name || !event.Own {
			t.Fatal(event, err)
		}
	}
	kill()
	for begun := time.Now(); !fallbackOf(t, cache).Active && time.Since(begun) < soon; time.Sleep(5 * time.Millisecond) {
		if _, err := cache.Exists(ctx, "k"); err != nil {
			t.Error(err)
		}
	}
	expectNext(yokedcache.EventFallbackBegin, "memory")
	startRedis(t, port)
	expectNext(yokedcache.EventFallbackEnd, "redis")
}

// Calls one after another run on their own thread, also while a call waits for an event.
func TestACallThatWaitsForAnEventDisturbsNoOther(t *testing.T) {
	cache := openWithEvents(t)
	if onMemory() {
		t.Skip("the memory backend answers without the queue")
	}
	reader := readEvents(t, cache, own)
	wait := startWaitingForEvents(reader, 3)
	if listening := yokedcache.CallsListening(cache); listening != 3 {
		t.Errorf("%d calls wait for events", listening)
	}
	for at := 1; at <= 20; at++ {
		check(t, cache.Set(ctx, "k", nil))
		if alone := yokedcache.CallsAlone(cache); alone < at {
			t.Fatalf("%d of %d calls were alone", alone, at)
		}
	}
	check(t, reader.Close())
	checkClosed(t, wait())
	if listening := yokedcache.CallsListening(cache); listening != 0 {
		t.Errorf("%d calls wait for events", listening)
	}
}

func TestFiltersOfEventsThatAreRefused(t *testing.T) {
	cache := openWithEvents(t)
	long := strings.Repeat("c", 65537)
	many := make([]string, 1025)
	for at := range many {
		many[at] = fmt.Sprint("name ", at)
	}
	for name, refused := range map[string]struct {
		filter yokedcache.EventFilter
		wanted error
	}{
		"gap":               {yokedcache.EventFilter{Kinds: yokedcache.EventGap}, yokedcache.ErrInvalid},
		"unknown kind":      {yokedcache.EventFilter{Kinds: 1 << 40}, yokedcache.ErrInvalid},
		"empty tag":         {yokedcache.EventFilter{Tags: []string{"t", ""}}, yokedcache.ErrInvalid},
		"long tag":          {yokedcache.EventFilter{Tags: []string{long}}, yokedcache.ErrTooLarge},
		"long glob":         {yokedcache.EventFilter{Keys: []string{long}}, yokedcache.ErrTooLarge},
		"too many":          {yokedcache.EventFilter{Tags: many}, yokedcache.ErrTooLarge},
		"too many together": {yokedcache.EventFilter{Tags: many[:1000], Keys: many[1000:]}, yokedcache.ErrTooLarge},
		"negative bytes":    {yokedcache.EventFilter{MaxBytes: -1}, yokedcache.ErrInvalid},
	} {
		if _, err := cache.OpenEvents(ctx, refused.filter); !errors.Is(err, refused.wanted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	readEvents(t, cache, yokedcache.EventFilter{Tags: many[:24], Keys: many[24:1024]})
}

func TestNamesOfKindsOfEvents(t *testing.T) {
	for kind, wanted := range map[yokedcache.EventKind]string{
		yokedcache.EventTag: "tag", yokedcache.EventPattern: "pattern", yokedcache.EventFlush: "flush", yokedcache.EventDelete: "delete",
		yokedcache.EventSwitch: "switch", yokedcache.EventFallbackBegin: "fallback begin", yokedcache.EventFallbackEnd: "fallback end",
		yokedcache.EventGap: "gap", yokedcache.EventFlush | yokedcache.EventTag: "tag|flush", 0: "EventKind(0)", 257: "EventKind(257)",
	} {
		if kind.String() != wanted {
			t.Error(kind, wanted)
		}
	}
}

func TestNoEventReader(t *testing.T) {
	var none *yokedcache.EventReader
	for _, reader := range []*yokedcache.EventReader{none, {}} {
		_, err := reader.Next(ctx)
		found := 0
		reader.All(ctx)(func(_ yokedcache.Event, err error) bool {
			found++
			return errors.Is(err, yokedcache.ErrInvalid)
		})
		if !errors.Is(err, yokedcache.ErrInvalid) || !errors.Is(reader.Close(), yokedcache.ErrInvalid) || found != 1 {
			t.Error(err, found)
		}
	}
	reader := readEvents(t, openWithEvents(t), own)
	//lint:ignore SA1012 the mistake is what is tested
	if _, err := reader.Next(nil); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
}

// The loop of a reader leaves it open, for programs of any version of Go.
func TestTheSequenceOfAnEventReader(t *testing.T) {
	cache := openWithEvents(t)
	reader := readEvents(t, cache, own)
	for number := 0; number < 4; number++ {
		check(t, second(cache.Delete(ctx, fmt.Sprint(number))))
	}
	var found []string
	reader.All(ctx)(func(event yokedcache.Event, err error) bool {
		check(t, err)
		found = append(found, event.Name)
		return len(found)%2 != 0
	})
	expectEvent(t, reader, yokedcache.EventDelete, "2")
	expectEvent(t, reader, yokedcache.EventDelete, "3")
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	reader.All(limited)(func(event yokedcache.Event, err error) bool {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(event, err)
		}
		found = append(found, "deadline")
		return true // The sequence has ended all the same.
	})
	time.AfterFunc(20*time.Millisecond, func() { reader.Close() })
	reader.All(ctx)(func(event yokedcache.Event, err error) bool {
		t.Error(event, err)
		return false
	})
	if came := strings.Join(found, " "); came != "0 1 deadline" {
		t.Error(came)
	}
}

// Reports whether the readers of a cache subscribe to a channel of its server: those of a journal read a stream.
func onChannel(url string) bool {
	return onRedis() && !strings.Contains(url, "events_journal")
}

// The number of channels of a cache on the server, to which its readers subscribe.
func channelsOf(t *testing.T, cache *yokedcache.Cache, prefix string) int {
	t.Helper()
	reply, err := cache.Redis().Do(ctx, "PUBSUB", "CHANNELS", "*"+prefix+"*")
	check(t, err)
	return len(reply.Elements)
}

// Waits until the readers of a cache are closed: the server knows their connections for a moment longer.
func waitForNoChannel(t *testing.T, cache *yokedcache.Cache, prefix string, meanwhile func()) {
	t.Helper()
	for begun := time.Now(); channelsOf(t, cache, prefix) > 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatal("a reader is open")
		}
		meanwhile()
	}
}

func prefixOf(url string) string {
	_, prefix, _ := strings.Cut(url, "key_prefix=")
	prefix, _, _ = strings.Cut(prefix, "&")
	return prefix
}

// The loop of a cache opens a reader, and closes it however it ends.
func TestTheSequenceOfEvents(t *testing.T) {
	// The collector would close a reader that is left open.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	url := eventsURL("")
	cache := openURL(t, url)
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := keepInvalidating(t, cache, "t")
	defer func() { stop() }()
	turns := 0
	cache.Events(limited, yokedcache.EventFilter{Own: true, Tags: []string{"t"}})(func(event yokedcache.Event, err error) bool {
		check(t, err)
		if event.Kind != yokedcache.EventTag || event.Name != "t" || !event.Own {
			t.Error(event)
		}
		turns++
		return turns < 3
	})
	if turns != 3 {
		t.Error(turns)
	}
	var last error
	cache.Events(limited, own)(func(event yokedcache.Event, err error) bool {
		if last != nil {
			t.Error("after the error", event, err)
		}
		last = err
		cancel()
		return true
	})
	if !errors.Is(last, context.Canceled) || !errors.Is(last, yokedcache.ErrCancelled) {
		t.Error(last)
	}
	if onChannel(url) {
		waitForNoChannel(t, cache, prefixOf(url), func() {})
	}
	within(t, func() {
		cache.Events(ctx, own)(func(event yokedcache.Event, err error) bool {
			check(t, err)
			go cache.Close()
			return true
		})
	})
	found := 0
	cache.Events(ctx, own)(func(_ yokedcache.Event, err error) bool {
		found++
		checkClosed(t, []error{err})
		return true
	})
	if found != 1 {
		t.Error(found)
	}
}

// The collector closes a reader that was dropped.
func TestAForgottenEventReaderEnds(t *testing.T) {
	url := eventsURL("")
	if !onChannel(url) {
		t.Skip("only a channel of Redis tells who reads")
	}
	cache := openURL(t, url)
	func() {
		reader, err := cache.OpenEvents(ctx, own)
		check(t, err)
		if channelsOf(t, cache, prefixOf(url)) == 0 {
			t.Error("a reader subscribes to no channel")
		}
		runtime.KeepAlive(reader)
	}()
	waitForNoChannel(t, cache, prefixOf(url), runtime.GC)
}

// Readers that are closed, dropped or cancelled in each way leave no memory, goroutine, thread or descriptor.
func TestEventReadersLeakNothing(t *testing.T) {
	keys := make([]string, 20)
	for at := range keys {
		keys[at] = fmt.Sprint(at, strings.Repeat("x", 20000))
	}
	one := func() {
		cache, err := yokedcache.Open(eventsURL(""))
		check(t, err)
		if cache.Capabilities()&yokedcache.CanEvents == 0 {
			check(t, cache.Close())
			t.Skip("the backend has no events (CanEvents)")
		}
		for at := 0; at < 20; at++ {
			begun, cancel := context.WithTimeout(ctx, time.Duration(at)*100*time.Microsecond)
			if reader, err := cache.OpenEvents(begun, own); err == nil && at%2 == 0 {
				check(t, reader.Close())
			}
			cancel()
		}
		open := make([]*yokedcache.EventReader, 6)
		for at := range open {
			open[at], err = cache.OpenEvents(ctx, own)
			check(t, err)
		}
		waiting := startWaitingForEvents(open[0], 5)
		check(t, second(cache.DeleteMany(ctx, keys)))
		for at := range keys {
			expectEvent(t, open[1], yokedcache.EventDelete, keys[at])
		}
		for at := 0; at < 20; at++ {
			short, cancel := context.WithTimeout(ctx, time.Duration(at)*20*time.Microsecond)
			open[1].Next(short)
			cancel()
		}
		check(t, open[0].Close())
		waiting()
		check(t, open[2].Close())
		waiting = startWaitingForEvents(open[1], 5)
		check(t, cache.Close())
		checkClosed(t, waiting())
		check(t, open[3].Close())
	}
	some := func() {
		for at := 0; at < 20; at++ {
			one()
		}
	}
	some()
	runtime.GC()
	descriptors, tasks, goroutines := len(readFile(t, "/proc/self/fd")), threads(t), runtime.NumGoroutine()
	checkMemoryStays(t, some)
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	if now := len(readFile(t, "/proc/self/fd")); now > descriptors+8 {
		t.Errorf("descriptors: %d became %d: %s", descriptors, now, readFile(t, "/proc/self/fd"))
	}
	if now := threads(t); now > tasks+4 {
		t.Errorf("%d threads have become %d", tasks, now)
	}
	// One that has ended may be counted a moment longer.
	for begun := time.Now(); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatalf("%d goroutines have become %d", goroutines, runtime.NumGoroutine())
		}
	}
}
