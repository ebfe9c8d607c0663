package yokedcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openChannels(t *testing.T, options string) *yokedcache.Cache {
	t.Helper()
	cache := open(t, options)
	if cache.Capabilities()&yokedcache.CanPublish == 0 {
		t.Skip("the backend has no channels (CanPublish)")
	}
	return cache
}

func subscribe(t *testing.T, cache *yokedcache.Cache, filter yokedcache.Filter) *yokedcache.Subscription {
	t.Helper()
	subscription, err := cache.Subscribe(ctx, filter)
	check(t, err)
	t.Cleanup(func() { check(t, subscription.Close()) })
	return subscription
}

func onNews() yokedcache.Filter {
	return yokedcache.Filter{Channels: []string{"news"}}
}

func publish(t *testing.T, cache *yokedcache.Cache, channel, message string) {
	t.Helper()
	_, err := cache.Publish(ctx, channel, []byte(message))
	check(t, err)
}

// Checks the next message, or "" for a gap.
func expect(t *testing.T, subscription *yokedcache.Subscription, channel, data string) (lost int64) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	message, err := subscription.Next(limited)
	if err != nil || message.Channel != channel || string(message.Data) != data || message.IsGap() != (channel == "") {
		t.Fatalf("%.100q, %v in place of %q %.100q", message, err, channel, data)
	}
	return message.Lost
}

// Starts goroutines that wait for a message. The function waits for their ends, and returns their errors.
func startWaiting(subscription *yokedcache.Subscription, goroutines int) (wait func() []error) {
	var all sync.WaitGroup
	failures := make([]error, goroutines)
	for at := range failures {
		all.Add(1)
		go func(at int) {
			defer all.Done()
			_, failures[at] = subscription.Next(ctx)
		}(at)
	}
	time.Sleep(20 * time.Millisecond)
	return func() []error {
		all.Wait()
		return failures
	}
}

func checkClosed(t *testing.T, failures []error) {
	t.Helper()
	for _, err := range failures {
		var described *yokedcache.Error
		if !errors.Is(err, yokedcache.ErrClosed) || !errors.As(err, &described) || described.Message == "" {
			t.Error(err)
		}
	}
}

func TestABackendWithoutChannelsSaysSo(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanPublish != 0 {
		t.Skip("the backend has channels")
	}
	if _, err := cache.Publish(ctx, "news", nil); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := cache.Subscribe(ctx, onNews()); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
}

func TestMessagesComeAsTheyWerePublished(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, yokedcache.Filter{Channels: []string{"news"}, Patterns: []string{"user:*"}})
	for _, channel := range []string{"news", "user:\x00\xff" + strings.Repeat("x", 5000), "user:"} {
		for _, size := range []int{0, 1, 4095, 4097, 100000, 1000000} {
			data := string(bytes.Repeat([]byte{byte(size), 0, 0xff}, size)[:size])
			publish(t, cache, "others", data)
			publish(t, cache, channel, data)
			expect(t, subscription, channel, data)
		}
	}
	publish(t, cache, "news", "")
	if message, err := subscription.Next(ctx); err != nil || message.Data == nil {
		t.Errorf("an empty message is no empty slice: %v, %v", message, err)
	}
}

func TestNextWaitsForAMessage(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, onNews())
	came := make(chan string)
	go func() {
		message, err := subscription.Next(ctx)
		came <- fmt.Sprintf("%s %s %v", message.Channel, message.Data, err)
	}()
	select {
	case message := <-came:
		t.Error("before it was published", message)
	case <-time.After(50 * time.Millisecond):
	}
	publish(t, cache, "news", "hello")
	if message := <-came; message != "news hello <nil>" {
		t.Error(message)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, onNews())
	for number := 0; number < 10; number++ {
		within(t, func() {
			ctx, cancel := cancelledSoon()
			defer cancel()
			if _, err := subscription.Next(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, yokedcache.ErrCancelled) {
				t.Error(err)
			}
		})
	}
	late, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := subscription.Next(late); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, yokedcache.ErrTimeout) {
		t.Error(err)
	}
	publish(t, cache, "news", "hello")
	if _, err := subscription.Next(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	expect(t, subscription, "news", "hello")
}

// The moment of the cancel moves over the arrival of messages: each comes once, in its order.
func TestACancelLosesNoMessage(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, onNews())
	const messages = 2000
	var publisher sync.WaitGroup
	publisher.Add(1)
	defer publisher.Wait()
	go func() {
		defer publisher.Done()
		for number := 0; number < messages; number++ {
			if _, err := cache.Publish(ctx, "news", []byte(fmt.Sprint(number))); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(number%7) * 20 * time.Microsecond)
		}
	}()
	cancelled, begun := 0, time.Now()
	for number, turn := 0, 0; number < messages; turn++ {
		short, cancel := context.WithTimeout(ctx, time.Duration(turn%40)*5*time.Microsecond)
		message, err := subscription.Next(short)
		cancel()
		switch {
		case err == nil && string(message.Data) == fmt.Sprint(number):
			number++
		case errors.Is(err, context.DeadlineExceeded) && time.Since(begun) < soon:
			cancelled++
		default:
			t.Fatalf("%v, %v in place of %d", message, err, number)
		}
	}
	if cancelled == 0 {
		t.Error("no call was cancelled")
	}
	t.Logf("%d calls were cancelled", cancelled)
}

func TestManyGoroutinesGetEachMessageOnce(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, yokedcache.Filter{Patterns: []string{"*"}, MaxBytes: 64 << 20})
	const goroutines, messages = 16, 4000
	came := make(chan string, messages)
	var all sync.WaitGroup
	limited, stop := context.WithTimeout(ctx, soon)
	defer func() {
		stop()
		all.Wait()
	}()
	for number := 0; number < goroutines; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				message, err := subscription.Next(limited)
				if err != nil {
					if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					return
				}
				came <- message.Channel + string(message.Data)
			}
		}()
	}
	for number := 0; number < 4; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for at := 0; at < messages/4; at++ {
				if _, err := cache.Publish(ctx, fmt.Sprint(number), []byte(fmt.Sprint(" ", at))); err != nil {
					t.Error(err)
				}
			}
		}(number)
	}
	seen := map[string]bool{}
	for len(seen) < messages {
		select {
		case message := <-came:
			if seen[message] {
				t.Fatal(message, "came twice")
			}
			seen[message] = true
		case <-limited.Done():
			t.Fatalf("%d messages came", len(seen))
		}
	}
	stop()
	all.Wait()
	if len(came) > 0 {
		t.Errorf("%d more came", len(came))
	}
}

func TestCloseEndsCallsThatWaitForAMessage(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, onNews())
	other := subscribe(t, cache, onNews())
	wait := startWaiting(subscription, 50)
	within(t, func() {
		check(t, subscription.Close())
		checkClosed(t, wait())
	})
	check(t, subscription.Close())
	_, err := subscription.Next(ctx)
	checkClosed(t, []error{err})
	publish(t, cache, "news", "hello")
	expect(t, other, "news", "hello")
}

func TestClosesAndCallsAtOnce(t *testing.T) {
	cache := openChannels(t, "")
	for round := 0; round < 30; round++ {
		subscription := subscribe(t, cache, onNews())
		var all sync.WaitGroup
		for number := 0; number < 8; number++ {
			all.Add(1)
			go func(number int) {
				defer all.Done()
				for at := 0; at < 20; at++ {
					if number == 0 {
						if _, err := cache.Publish(ctx, "news", []byte("hello")); err != nil {
							t.Error(err)
						}
						continue
					}
					if message, err := subscription.Next(ctx); errors.Is(err, yokedcache.ErrClosed) {
						return
					} else if err != nil || string(message.Data) != "hello" {
						t.Error(message, err)
					}
				}
			}(number)
		}
		for number := 0; number < 3; number++ {
			all.Add(1)
			go func() {
				defer all.Done()
				time.Sleep(time.Duration(round) * 50 * time.Microsecond)
				if err := subscription.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		within(t, all.Wait)
	}
}

// A server that never answers does not hold up the end of the cache either.
func TestCloseEndsASubscribe(t *testing.T) {
	cache := openSilent(t)
	failed := make(chan error)
	go func() { failed <- second(cache.Subscribe(ctx, onNews())) }()
	time.Sleep(50 * time.Millisecond)
	within(t, func() {
		check(t, cache.Close())
		checkClosed(t, []error{<-failed})
	})
}

// Calls that wait for a message do not hold up the end of the cache.
func TestAClosedCacheEndsItsSubscriptions(t *testing.T) {
	for name, shut := range map[string]func(*yokedcache.Cache) error{
		"close": (*yokedcache.Cache).Close,
		"shutdown": func(cache *yokedcache.Cache) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return cache.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cache := openChannels(t, "")
			subscription := subscribe(t, cache, onNews())
			wait := startWaiting(subscription, 50)
			within(t, func() {
				check(t, shut(cache))
				checkClosed(t, wait())
			})
			_, err := subscription.Next(ctx)
			_, refused := cache.Subscribe(ctx, onNews())
			checkClosed(t, []error{err, refused})
			check(t, subscription.Close())
			_, err = subscription.Next(ctx)
			checkClosed(t, []error{err})
		})
	}
}

func TestASlowReaderFindsAGap(t *testing.T) {
	cache := openChannels(t, "")
	if !onMemory() {
		t.Skip("a server delivers later: the number of lost messages is not known")
	}
	filter := onNews()
	filter.MaxBytes = 1000
	subscription := subscribe(t, cache, filter)
	first, second := strings.Repeat("a", 600), strings.Repeat("b", 600)
	for _, message := range []string{first, second, second, second, second, second} {
		publish(t, cache, "news", message)
	}
	expect(t, subscription, "news", first)
	if lost := expect(t, subscription, "", ""); lost != 5 {
		t.Error(lost)
	}
	publish(t, cache, "news", second)
	expect(t, subscription, "news", second)
}

func TestReceiversAreCounted(t *testing.T) {
	cache := openChannels(t, "")
	for wanted := int64(0); wanted < 3; wanted++ {
		receivers, err := cache.Publish(ctx, "news", nil)
		if err != nil || receivers != wanted && receivers != -1 || onMemory() && receivers != wanted {
			t.Error(receivers, err)
		}
		subscribe(t, cache, onNews())
	}
}

// A call that waits continues at the new backend.
func TestASubscriptionFollowsASwitch(t *testing.T) {
	cache := openChannels(t, "")
	if !onMemory() {
		t.Skip("the conformance scripts do so on a server")
	}
	subscription := subscribe(t, cache, onNews())
	came := make(chan int64)
	go func() {
		message, err := subscription.Next(ctx)
		if err != nil {
			t.Error(err)
		}
		came <- message.Lost
	}()
	time.Sleep(20 * time.Millisecond)
	within(t, func() { check(t, second(cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{}))) })
	if lost := <-came; lost != -1 {
		t.Error(lost)
	}
	publish(t, cache, "news", "hello")
	expect(t, subscription, "news", "hello")
}

// A server goes away while a call waits, and comes back: the call waits for the gap.
func TestNextWaitsThroughAnOutage(t *testing.T) {
	port := os.Getenv("YC_TEST_PORT")
	if port == "" {
		t.Skip("only with a server whose port is in YC_TEST_PORT")
	}
	openChannels(t, "") // Skips the test on a backend without channels.
	proxy := startProxy(t, port)
	scheme, rest, _ := strings.Cut(testURL(""), "://")
	_, options, _ := strings.Cut(rest, "?")
	cache, err := yokedcache.Open(scheme + "://" + proxy.address + "?" + options)
	check(t, err)
	defer cache.Close()
	subscription := subscribe(t, cache, onNews())
	publish(t, cache, "news", "before")
	expect(t, subscription, "news", "before")

	proxy.cut()
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if message, err := subscription.Next(limited); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(message, err)
	}
	time.AfterFunc(100*time.Millisecond, proxy.mend)
	if lost := expect(t, subscription, "", ""); lost != -1 {
		t.Error(lost)
	}
	for published := false; !published; {
		_, err := cache.Publish(ctx, "news", []byte("after"))
		published = err == nil
	}
	expect(t, subscription, "news", "after")
}

// A thread for each would show: a goroutine that waits has none.
func TestCallsThatWaitForAMessageHaveNoThread(t *testing.T) {
	cache := openChannels(t, "")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	before := threads(t)
	for at := 0; at < 20; at++ {
		subscription := subscribe(t, cache, onNews())
		for number := 0; number < 20; number++ {
			all.Add(1)
			go func() {
				defer all.Done()
				if message, err := subscription.Next(ctx); !errors.Is(err, context.Canceled) {
					t.Error(message, err)
				}
			}()
		}
	}
	time.Sleep(200 * time.Millisecond)
	if now := threads(t); now > before+20 {
		t.Errorf("%d threads have become %d", before, now)
	}
	cancel()
	all.Wait()
}

// Calls one after another run on their own thread, also while a call waits for a message.
func TestACallThatWaitsForAMessageDisturbsNoOther(t *testing.T) {
	cache := openChannels(t, "")
	if onMemory() {
		t.Skip("the memory backend answers without the queue")
	}
	subscription := subscribe(t, cache, onNews())
	wait := startWaiting(subscription, 3)
	for at := 1; at <= 20; at++ {
		check(t, cache.Set(ctx, "k", nil))
		if alone := yokedcache.CallsAlone(cache); alone < at {
			t.Fatalf("%d of %d calls were alone", alone, at)
		}
	}
	check(t, subscription.Close())
	checkClosed(t, wait())
	if listening := yokedcache.CallsListening(cache); listening != 0 {
		t.Errorf("%d calls wait for messages", listening)
	}
}

func TestChannelsThatAreRefused(t *testing.T) {
	cache := openChannels(t, "&max_value_bytes=1000")
	long := strings.Repeat("c", 65537)
	many := make([]string, 1025)
	for at := range many {
		many[at] = fmt.Sprint("channel ", at)
	}
	of := func(channels, patterns []string, most int) error {
		return second(cache.Subscribe(ctx, yokedcache.Filter{Channels: channels, Patterns: patterns, MaxBytes: most}))
	}
	for name, refused := range map[string]struct {
		err, wanted error
	}{
		"publish, empty":        {second(cache.Publish(ctx, "", nil)), yokedcache.ErrInvalid},
		"publish, long channel": {second(cache.Publish(ctx, long, nil)), yokedcache.ErrTooLarge},
		"publish, long message": {second(cache.Publish(ctx, "c", make([]byte, 1001))), yokedcache.ErrTooLarge},
		"nothing":               {of(nil, nil, 0), yokedcache.ErrInvalid},
		"empty channel":         {of([]string{"c", ""}, nil, 0), yokedcache.ErrInvalid},
		"empty pattern":         {of(nil, []string{"*", ""}, 0), yokedcache.ErrInvalid},
		"long channel":          {of([]string{long}, nil, 0), yokedcache.ErrTooLarge},
		"long pattern":          {of(nil, []string{long}, 0), yokedcache.ErrTooLarge},
		"too many":              {of(many, nil, 0), yokedcache.ErrTooLarge},
		"too many together":     {of(many[:1000], many[1000:], 0), yokedcache.ErrTooLarge},
		"negative bytes":        {of(many[:1], nil, -1), yokedcache.ErrInvalid},
	} {
		if !errors.Is(refused.err, refused.wanted) {
			t.Errorf("%s: %v", name, refused.err)
		}
	}
	check(t, second(cache.Publish(ctx, long[1:], make([]byte, 1000))))
	subscribe(t, cache, yokedcache.Filter{Channels: many[:24], Patterns: many[24:1024]})
}

func TestNoSubscription(t *testing.T) {
	var none *yokedcache.Subscription
	for _, subscription := range []*yokedcache.Subscription{none, {}} {
		_, err := subscription.Next(ctx)
		found := 0
		subscription.All(ctx)(func(_ yokedcache.Message, err error) bool {
			found++
			return errors.Is(err, yokedcache.ErrInvalid)
		})
		if !errors.Is(err, yokedcache.ErrInvalid) || !errors.Is(subscription.Close(), yokedcache.ErrInvalid) || found != 1 {
			t.Error(err, found)
		}
	}
	subscription := subscribe(t, openChannels(t, ""), onNews())
	//lint:ignore SA1012 the mistake is what is tested
	if _, err := subscription.Next(nil); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
}

// A sequence of messages, for programs of any version of Go.
func TestTheSequenceOfMessages(t *testing.T) {
	cache := openChannels(t, "")
	subscription := subscribe(t, cache, onNews())
	for number := 0; number < 4; number++ {
		publish(t, cache, "news", fmt.Sprint(number))
	}
	var found []string
	subscription.All(ctx)(func(message yokedcache.Message, err error) bool {
		check(t, err)
		found = append(found, string(message.Data))
		return len(found)%2 != 0
	})
	expect(t, subscription, "news", "2")
	limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	subscription.All(limited)(func(message yokedcache.Message, err error) bool {
		if errors.Is(err, context.DeadlineExceeded) {
			found = append(found, "deadline")
			return true // The sequence has ended all the same.
		}
		check(t, err)
		found = append(found, string(message.Data))
		return true
	})
	time.AfterFunc(20*time.Millisecond, func() { subscription.Close() })
	subscription.All(ctx)(func(message yokedcache.Message, err error) bool {
		t.Error(message, err)
		return false
	})
	if came := strings.Join(found, " "); came != "0 1 3 deadline" {
		t.Error(came)
	}
}

// The collector closes a subscription that was dropped.
func TestAForgottenSubscriptionEnds(t *testing.T) {
	cache := openChannels(t, "")
	for at := 0; at < 10; at++ {
		check(t, second(cache.Subscribe(ctx, onNews())))
	}
	receivers := int64(10)
	for begun := time.Now(); receivers > 0 && time.Since(begun) < soon; time.Sleep(time.Millisecond) {
		runtime.GC()
		now, err := cache.Publish(ctx, "news", nil)
		check(t, err)
		receivers = now
	}
	if receivers > 0 {
		t.Errorf("%d subscriptions are left", receivers)
	}
}

// Subscriptions that are closed, dropped or cancelled in each way leave no memory, goroutine, thread or descriptor.
func TestSubscriptionsLeakNothing(t *testing.T) {
	large := strings.Repeat("x", 20000)
	one := func() {
		cache, err := yokedcache.Open(testURL(""))
		check(t, err)
		if cache.Capabilities()&yokedcache.CanPublish == 0 {
			check(t, cache.Close())
			t.Skip("the backend has no channels (CanPublish)")
		}
		for at := 0; at < 20; at++ {
			begun, cancel := context.WithTimeout(ctx, time.Duration(at)*100*time.Microsecond)
			if subscription, err := cache.Subscribe(begun, onNews()); err == nil && at%2 == 0 {
				check(t, subscription.Close())
			}
			cancel()
		}
		open := make([]*yokedcache.Subscription, 6)
		for at := range open {
			open[at], err = cache.Subscribe(ctx, onNews())
			check(t, err)
		}
		waiting := startWaiting(open[0], 5)
		for at := 0; at < 20; at++ {
			publish(t, cache, "news", large)
		}
		for at := 0; at < 20; at++ {
			if message, err := open[1].Next(ctx); err != nil || len(message.Data) != len(large) {
				t.Error(len(message.Data), err)
			}
		}
		for at := 0; at < 20; at++ {
			short, cancel := context.WithTimeout(ctx, time.Duration(at)*20*time.Microsecond)
			open[1].Next(short)
			cancel()
		}
		check(t, open[0].Close())
		waiting()
		check(t, open[2].Close())
		waiting = startWaiting(open[1], 5)
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
