package yokedcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// The loads of one cache that run in this process. The callers of a key share the load of the caller that has its lease.
type flights struct {
	// Closed when the cache is.
	closing chan struct{}
	// The time at which a failure was logged last, in nanoseconds.
	logged atomic.Int64

	lock    sync.Mutex
	byKey   map[string]*flight // The newest flight of each key.
	added   uint64             // The number of flights that were added.
	running map[*load]struct{}
	closed  bool
}

// A load is one run of a loader, for one key or more.
type load struct {
	cache      *Cache
	settings   *loadSettings
	loader     loader
	flights    []*flight
	background bool // It refreshes values that are served meanwhile: no caller waits for it.
	parent     *load
	ctx        context.Context
	cancel     context.CancelFunc
	// The end of its leases: no caller waits for it any longer.
	ends time.Time

	// Guarded by the lock of the flights.
	waiting int
	left    bool // All of its callers have left.
	filling bool // It stores its result: who comes now may have begun after an invalidation that the fill precedes.

	// Closed at the end. What follows may be read then.
	done     chan struct{}
	fill     Fill
	results  []loaded
	err      error
	returned bool // The loader returned: it did not panic, nor end its goroutine.
	expired  bool // The context of the loader had expired then.
	panicked *panicError
}

// A flight is the load of one key.
type flight struct {
	load  *load
	key   string
	at    int    // The place of the key in the call that loads.
	index int    // The place of the flight in its load.
	lease *Lease // Nil if the store cannot be reached.
	// The number of flights that were added before, and this one.
	number uint64
	// True if the result is current for each caller that joined. Valid once the load is done.
	shared bool
}

// A loader loads keys, and encodes the values.
type loader func(ctx context.Context, keys []string, fill *Fill) ([]loaded, error)

// A loaded value of a key.
type loaded struct {
	own    any    // A pointer to the value as the loader returned it, for its caller alone; or nil.
	bytes  []byte // The encoded value.
	absent bool
	// If absent: the error of the loader, which wraps ErrAbsent. Nil for a remembered absence.
	cause error
	err   error
}

// A panicError is the panic of a loader, on the goroutine of its caller.
type panicError struct {
	value any
	stack []byte
}

func (err *panicError) Error() string {
	return fmt.Sprintf("%v\n\nthe loader panicked:\n%s", err.value, err.stack)
}

func (err *panicError) Unwrap() error {
	cause, _ := err.value.(error)
	return cause
}

func newFlights() flights {
	return flights{closing: make(chan struct{}), byKey: map[string]*flight{}, running: map[*load]struct{}{}}
}

// loadKey is the key of the load whose loader has a context.
type loadKey struct{}

// Returns a load without a flight. Its context has the values of the caller's.
func newLoad(ctx context.Context, cache *Cache, settings *loadSettings, loader loader, background bool) *load {
	time := settings.lease
	if time == 0 {
		time = cache.times.Load().lease
	}
	load := &load{
		cache: cache, settings: settings, loader: loader, background: background, done: make(chan struct{}),
		ends: now().Add(time),
		fill: Fill{TTL: settings.ttl, StaleFor: settings.staleFor, AbsentTTL: settings.absentTTL},
	}
	load.parent = loadOf(ctx)
	values := context.WithValue(context.WithoutCancel(ctx), loadKey{}, load)
	if background {
		load.ctx, load.cancel = context.WithDeadline(values, load.ends)
	} else {
		load.ctx, load.cancel = context.WithCancel(values)
		load.waiting = 1
	}
	return load
}

func loadOf(ctx context.Context) *load {
	load, _ := ctx.Value(loadKey{}).(*load)
	return load
}

var now = time.Now

// ---- With the lock ----

// Adds the flight of a key, which takes the place of one whose leases have expired.
func (flights *flights) add(load *load, key string, at int, lease *Lease) {
	flights.added++
	flight := &flight{load: load, key: key, at: at, index: len(load.flights), lease: lease, number: flights.added}
	load.flights = append(load.flights, flight)
	flights.byKey[key] = flight
	flights.running[load] = struct{}{}
}

// Adds the flight of a key whose value is served meanwhile, unless an older one runs still.
func (flights *flights) refresh(load *load, current *flight, key string, at int, lease *Lease) {
	if current != nil {
		lease.Free()
		return
	}
	flights.add(load, key, at, lease)
}

// Returns the flight of a key that a caller can wait for, or nil.
func (flights *flights) current(key string) *flight {
	flight := flights.byKey[key]
	if flight == nil || !now().Before(flight.load.ends) {
		return nil
	}
	return flight
}

// Reports whether the loader that a context belongs to, or a loader that waits for it, loads the key.
func (flight *flight) waitsFor(ctx context.Context) bool {
	for load := loadOf(ctx); load != nil; load = load.parent {
		if load == flight.load {
			return true
		}
	}
	return false
}

// ---- Callers that wait ----

// Ends the wait of a caller. The context of the loader is cancelled when no caller is left.
func (load *load) leave() {
	flights := &load.cache.flights
	flights.lock.Lock()
	load.waiting--
	last := load.waiting == 0 && !load.background && !load.filling
	if last {
		load.left = true
	}
	flights.lock.Unlock()
	if last {
		load.cancel()
	}
}

// Cancels all loads and frees their leases: the cache is being closed.
func (flights *flights) shut() {
	flights.lock.Lock()
	defer flights.lock.Unlock()
	if flights.closed {
		return
	}
	flights.closed = true
	close(flights.closing)
	for load := range flights.running {
		load.cancel()
		for _, flight := range load.flights {
			flight.lease.Free()
		}
	}
}

// ---- The run of a loader ----

// Runs the loader on a goroutine of its own: its caller may leave.
func (load *load) start() {
	if len(load.flights) == 0 {
		load.cancel()
		return
	}
	go func() {
		// Also after a panic and runtime.Goexit.
		defer load.finish()
		keys := make([]string, len(load.flights))
		for at, flight := range load.flights {
			keys[at] = flight.key
		}
		load.results, load.err = load.loader(load.ctx, keys, &load.fill)
		load.returned = true
		load.expired = errors.Is(load.ctx.Err(), context.DeadlineExceeded)
	}()
}

// Ends the leases, then lets the callers go.
func (load *load) finish() {
	if value := recover(); !load.returned {
		load.fail(value)
	}
	flights := &load.cache.flights
	flights.lock.Lock()
	load.filling = true
	unheard := load.background || load.waiting == 0 && (!load.left || load.panicked != nil)
	flights.lock.Unlock()
	load.endLeases(unheard)
	flights.lock.Lock()
	for _, flight := range load.flights {
		if flights.byKey[flight.key] == flight {
			delete(flights.byKey, flight.key)
		}
	}
	delete(flights.running, load)
	flights.lock.Unlock()
	load.cancel()
	close(load.done)
	if unheard && load.err != nil {
		load.log("yokedcache: a load that no caller waits for failed", load.err)
	}
}

// Records how a loader failed that did not return.
func (load *load) fail(value any) {
	if value == nil {
		load.err = fmt.Errorf("yokedcache: the loader ended its goroutine (runtime.Goexit)")
		return
	}
	load.panicked = &panicError{value, debug.Stack()}
	load.err = fmt.Errorf("yokedcache: the loader panicked: %v", value)
}

// Fills or abandons the leases, together. A fill that the loader made of arguments that are not allowed is an error of
// its key; other failures of a fill are not, since the value is there.
func (load *load) endLeases(unheard bool) {
	var ops []operation
	var ending []*flight
	for at, flight := range load.flights {
		flight.shared = flight.lease == nil
		handle, err := flight.lease.enter()
		if err != nil {
			continue
		}
		op := load.endOp(at)
		op.handle = handle
		ops, ending = append(ops, op), append(ending, flight)
	}
	for at, result := range load.cache.outcomes(context.WithoutCancel(load.ctx), ops) {
		flight := ending[at]
		flight.shared = result.err == nil && isStored(result.outcome)
		flight.lease.leave()
		flight.lease.Free()
		isMistake := errors.Is(result.err, ErrInvalid)
		if isMistake && load.err == nil {
			load.results[flight.index].err = result.err
		}
		if result.err != nil && (unheard || !isMistake) {
			load.log("yokedcache: a lease was not ended", result.err)
		}
	}
}

// Returns the operation that ends the lease of a flight.
func (load *load) endOp(at int) operation {
	if load.err != nil || load.results[at].err != nil {
		return abandonOp(load.settings.retryAfter)
	}
	fill := load.fill.of(load.flights[at].key)
	if load.results[at].absent {
		return fillAbsentOp(fill.AbsentTTL, fill.Tags)
	}
	return fillOp(load.results[at].bytes, fill.TTL, fill.StaleFor, fill.Tags)
}

// Logs a failure that no caller learns of, at most one each second.
func (load *load) log(text string, err error) {
	flights := &load.cache.flights
	last, at := flights.logged.Load(), now().UnixNano()
	if load.cache.closed.Load() || at-last < int64(time.Second) || !flights.logged.CompareAndSwap(last, at) {
		return
	}
	if load.panicked != nil {
		slog.Error(text, "error", err, "stack", string(load.panicked.stack))
	} else {
		slog.Warn(text, "error", err)
	}
}
