package yokedcache

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// A loadCall is one call of GetOrLoad or GetOrLoadMany. It reads the keys, loads those whose leases it got, and then
// waits for those that others load. A key that becomes free meanwhile is read again, until each key has its result.
type loadCall struct {
	ctx      context.Context
	cache    *Cache
	settings *loadSettings
	loader   loader
	keys     []string
	results  []loaded
	// With WithStaleIfError: the values to return if the load fails. Empty once a read of the store finds no stale value.
	stale [][]byte
	// The end of waits for others; zero if the deadline of the context is.
	end time.Time
	// The number of flights that were added before the first lookup of this call was looked at. Valid if asked is true.
	before uint64
	asked  bool

	waits    []waiter // To be begun.
	begun    int
	arrivals chan arrival
}

// A waiter is a key of a call that waits for the load of another caller.
type waiter struct {
	at     int
	flight *flight // Nil if another process has the lease.
	// True if the flight began to store its result before the caller came: only if it began after the call is its result
	// for this caller.
	late bool
	// True if this is not the first wait for another process.
	again bool
}

// An arrival is a key that was read, or that has its result.
type arrival struct {
	at      int
	found   found
	settled bool
	// True after a wait for another process.
	again bool
}

func newLoadCall(ctx context.Context, cache *Cache, keys []string, loader loader, settings *loadSettings) *loadCall {
	call := &loadCall{
		ctx: ctx, cache: cache, settings: settings, loader: loader, keys: keys,
		results: make([]loaded, len(keys)), stale: make([][]byte, len(keys)),
	}
	return call
}

// Brings each key to its result, from its first lookup.
func (call *loadCall) run(first []found) []loaded {
	arrivals := make([]arrival, len(first))
	for at := range first {
		arrivals[at] = arrival{at: at, found: first[at]}
	}
	defer call.drop()
	for len(arrivals) > 0 {
		if own := call.dispatch(arrivals); own != nil {
			call.waitForOwn(own)
		}
		arrivals = call.next()
	}
	return call.results
}

// Settles the keys that have a result, and begins loads of those whose leases the call got. Returns the load that it
// waits for, if there is one.
func (call *loadCall) dispatch(arrivals []arrival) *load {
	open := arrivals[:0]
	refreshed := false
	for _, arrival := range arrivals {
		if !call.settle(arrival.at, &arrival.found) {
			open = append(open, arrival)
		} else if arrival.found.Lease != nil {
			open, refreshed = append(open, arrival), true
		}
	}
	if len(open) == 0 {
		return nil
	}
	own := newLoad(call.ctx, call.cache, call.settings, call.loader, false)
	refresh := own
	if refreshed {
		refresh = newLoad(call.ctx, call.cache, call.settings, call.loader, true)
	}
	call.place(open, own, refresh)
	if refreshed {
		refresh.start()
	}
	own.start()
	if len(own.flights) == 0 {
		return nil
	}
	return own
}

// Gives a key the result of its lookup. Returns false if it has to be loaded.
func (call *loadCall) settle(at int, found *found) bool {
	if found.err == nil || isBusy(found.err) {
		// The value of an earlier read may have been invalidated.
		call.stale[at] = nil
	}
	switch {
	case found.err != nil:
		return call.settleFailed(at, found.err)
	case found.State == StateAbsent:
		call.results[at] = loaded{absent: true}
		return true
	case found.State == StateStale && call.settings.staleIfError:
		call.stale[at] = found.Value
		return false
	case found.State == StateVacant:
		return false
	}
	call.results[at] = loaded{bytes: found.Value}
	return true
}

func (call *loadCall) settleFailed(at int, err error) bool {
	if isBusy(err) && call.settings.wait != NoWait || isOutage(err) {
		return false
	}
	call.fail(at, err)
	return true
}

func isBusy(err error) bool {
	return errors.Is(err, ErrBusy)
}

// Reports whether an error of a lookup means that the store is down. The documentation of GetOrLoad has the list; the
// bindings of other languages use the same one. An error of the context and ErrBusy are not on it.
func isOutage(err error) bool {
	failed, ok := err.(*Error)
	if !ok || failed.cause != nil {
		return false
	}
	switch failed.Code {
	case CodeConnect, CodeAuth, CodeTLS, CodeTimeout, CodeServerMemory:
		return true
	}
	return failed.Retryable && failed.Code != CodeBusy
}

// Adds each key to a load, or to the waits.
func (call *loadCall) place(open []arrival, own, refresh *load) {
	flights := &call.cache.flights
	flights.lock.Lock()
	defer flights.lock.Unlock()
	if !call.asked {
		call.asked, call.before = true, flights.added
	}
	for _, arrival := range open {
		at, lease := arrival.at, arrival.found.Lease
		key := call.keys[at]
		current := call.currentFor(&arrival.found, flights.current(key))
		switch {
		case flights.closed:
			lease.Free()
			call.fail(at, ErrClosed)
		case lease != nil && call.isSettled(at):
			flights.refresh(refresh, current, key, at, lease)
		case lease != nil && current == nil:
			flights.add(own, key, at, lease)
		case current != nil && current.waitsFor(call.ctx):
			lease.Free()
			call.fail(at, invalid("the loader of key %q asks for the key that it loads: it would wait for itself", key))
		case lease != nil: // The key changed during the load, which runs still: a second one has to wait for its end.
			lease.Free()
			current.load.waiting++
			call.waits = append(call.waits, waiter{at: at, flight: current, late: true})
		case current != nil:
			current.load.waiting++
			call.waits = append(call.waits, waiter{at: at, flight: current, late: current.load.filling})
		case arrival.found.err == nil: // Stale, and another process refreshes it.
			call.results[at] = loaded{bytes: call.stale[at]}
		case isBusy(arrival.found.err):
			call.waits = append(call.waits, waiter{at: at, again: arrival.again})
		default:
			flights.add(own, key, at, nil)
		}
	}
}

// Returns the flight of a key, unless the lookup says more about the key than the flight does: a load without a lease does
// not see changes. A caller that reached the store may have begun after a change that ended after that load had begun.
func (call *loadCall) currentFor(found *found, current *flight) *flight {
	if current == nil || current.lease != nil || isOutage(found.err) || current.waitsFor(call.ctx) {
		return current
	}
	return nil
}

func (call *loadCall) isSettled(at int) bool {
	result := &call.results[at]
	return result.bytes != nil || result.absent || result.err != nil
}

// Gives a key the error of its load, or the stale value in its place.
func (call *loadCall) fail(at int, err error) {
	switch stale := call.stale[at]; {
	case call.cache != nil && call.cache.closed.Load():
		call.results[at] = loaded{err: ErrClosed}
	case stale != nil && !errors.Is(err, ErrCancelled):
		call.results[at] = loaded{bytes: stale}
	default:
		call.results[at] = loaded{err: err}
	}
}

// ---- Waiting ----

// Waits for the loader of this call, for as long as it likes: only the context limits that.
func (call *loadCall) waitForOwn(own *load) {
	select {
	case <-own.done:
		call.takeOwn(own)
	case <-call.ctx.Done():
		own.leave()
		call.failAll(own, ended(call.ctx))
	case <-call.cache.flights.closing:
		own.leave()
		call.failAll(own, ErrClosed)
	}
}

func (call *loadCall) takeOwn(own *load) {
	if own.panicked != nil {
		panic(own.panicked)
	}
	if !own.returned {
		runtime.Goexit()
	}
	if own.err != nil {
		call.failAll(own, own.err)
		return
	}
	for at, flight := range own.flights {
		if result := own.results[at]; result.err != nil {
			call.fail(flight.at, result.err)
		} else {
			call.results[flight.at] = result
		}
	}
}

func (call *loadCall) failAll(own *load, err error) {
	for _, flight := range own.flights {
		call.fail(flight.at, err)
	}
}

// Waits until at least one key was read again, or all have their results.
func (call *loadCall) next() []arrival {
	for call.begun+len(call.waits) > 0 {
		var open []arrival
		for _, arrival := range call.nextArrivals() {
			if !arrival.settled {
				open = append(open, arrival)
			}
		}
		if len(open) > 0 {
			return open
		}
	}
	return nil
}

// Waits on this goroutine for a single key, else on one for each key.
func (call *loadCall) nextArrivals() []arrival {
	if call.end.IsZero() {
		call.limitWaits()
	}
	if len(call.waits) == 1 && call.begun == 0 {
		waiter := call.waits[0]
		call.waits = nil
		return []arrival{call.waitFor(waiter)}
	}
	if call.arrivals == nil {
		call.arrivals = make(chan arrival, len(call.keys))
	}
	for _, one := range call.waits {
		go func(one waiter) { call.arrivals <- call.waitFor(one) }(one)
	}
	call.begun += len(call.waits)
	call.waits = nil
	arrivals := []arrival{<-call.arrivals}
	for len(call.arrivals) > 0 {
		arrivals = append(arrivals, <-call.arrivals)
	}
	call.begun -= len(arrivals)
	return arrivals
}

// Sets the end of waits.
func (call *loadCall) limitWaits() {
	limit := call.settings.wait
	if _, ok := call.ctx.Deadline(); ok && limit == 0 {
		return
	}
	if limit == 0 {
		limit = call.cache.times.Load().call
	}
	call.end = now().Add(max(limit, 0))
}

// Waits for the load of another caller.
func (call *loadCall) waitFor(waiter waiter) arrival {
	if waiter.flight == nil {
		return call.waitForOthers(waiter.at, waiter.again)
	}
	load := waiter.flight.load
	timer := time.NewTimer(time.Until(call.endBefore(load.ends)))
	defer timer.Stop()
	select {
	case <-load.done:
		if call.takeShared(waiter) {
			return arrival{at: waiter.at, settled: true}
		}
		return call.readAgain(waiter.at)
	case <-call.ctx.Done():
		load.leave()
		call.fail(waiter.at, ended(call.ctx))
	case <-call.cache.flights.closing:
		load.leave()
		call.fail(waiter.at, ErrClosed)
	case <-timer.C:
		load.leave()
		if !call.isOver() {
			return call.readAgain(waiter.at)
		}
		call.fail(waiter.at, stillLoading())
	}
	return arrival{at: waiter.at, settled: true}
}

func (call *loadCall) endBefore(end time.Time) time.Time {
	if !call.end.IsZero() && call.end.Before(end) {
		return call.end
	}
	return end
}

func (call *loadCall) isOver() bool {
	return !call.end.IsZero() && !now().Before(call.end)
}

func stillLoading() error {
	return &Error{Code: CodeBusy, Retryable: true,
		Message: "another caller is still loading the key: try again, or wait longer (WithWait)"}
}

// Gives a key the result of a load that it joined. Returns false if that may not be current, or if the load was cancelled:
// because the callers before this one had left, or because its lease ended.
//
// The result is current if it was stored, and the caller came before that: then no change came between. It is current,
// stored or not, if the load began after the call did.
func (call *loadCall) takeShared(waiter waiter) bool {
	flight := waiter.flight
	load := flight.load
	younger := flight.number > call.before
	switch {
	case waiter.late && !younger || (load.left || load.expired) && load.err != nil:
		return false
	case load.err != nil:
		call.fail(waiter.at, load.err)
		return true
	}
	return call.takeResult(waiter.at, load.results[flight.index], flight.shared || younger)
}

func (call *loadCall) takeResult(at int, result loaded, shared bool) bool {
	if result.err != nil {
		call.fail(at, result.err)
		return true
	}
	if shared {
		call.results[at] = loaded{bytes: result.bytes, absent: result.absent, cause: result.cause}
	}
	return shared
}

func (call *loadCall) readAgain(at int) arrival {
	if call.isOver() {
		call.fail(at, stillLoading())
		return arrival{at: at, settled: true}
	}
	return arrival{at: at, found: call.cache.lookupOwn(call.ctx, call.keys[at], call.settings)}
}

// The first wait for another process. It is short, since a caller of this process may have the lease and not have begun.
const firstWait = 10 * time.Millisecond

// Waits for the load of another process, then looks for a load of this process. If the other one is still loading at the
// end, that is the result.
func (call *loadCall) waitForOthers(at int, again bool) arrival {
	left := longestLoad
	if !call.end.IsZero() {
		left = time.Until(call.end)
	} else if deadline, ok := call.ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	part := firstWait
	if again {
		part = longestWait
	}
	begun := now()
	part = min(max(left, time.Millisecond), part)
	found := call.cache.lookupPart(call.ctx, call.keys[at], call.settings, part)
	// An operation that is busy before its time is over does not wait: the key is held back, or the queue is full.
	if isBusy(found.err) && (now().Sub(begun) < part || call.isOver()) {
		call.fail(at, found.err)
		return arrival{at: at, settled: true}
	}
	return arrival{at: at, found: found, again: true}
}

// Ends the waits of a call that panics: its leases go to others.
func (call *loadCall) drop() {
	for _, waiter := range call.waits {
		if waiter.flight != nil {
			waiter.flight.load.leave()
		}
	}
	if call.begun > 0 {
		go func(begun int) {
			for ; begun > 0; begun-- {
				arrival := <-call.arrivals
				arrival.found.Lease.Free()
			}
		}(call.begun)
	}
}
