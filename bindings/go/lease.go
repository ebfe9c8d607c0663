package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// A State is the state of a key that [Cache.GetOrLease] read.
type State int

// The states of a key that was read for loading.
const (
	// StateFresh is the state of a key with a value that may be used. A lease means that the value is due for an early
	// refresh.
	StateFresh State = C.YC_OK
	// StateStale is the state of a key whose value is past its TTL, but within its stale time. A lease means that the
	// caller must load the value again.
	StateStale State = C.YC_STALE
	// StateAbsent is the state of a key whose last load found nothing.
	StateAbsent State = C.YC_ABSENT
	// StateVacant is the state of a key without a value. The caller has the lease and must load the value.
	StateVacant State = C.YC_LEASED
)

// A Lookup is the result of [Cache.GetOrLease].
type Lookup struct {
	// The state of the key.
	State State
	// The value; nil unless the state is [StateFresh] or [StateStale].
	Value []byte
	// The lease, if the caller must load the value, else nil.
	Lease *Lease
}

// GetOrLease returns the value of a key, or gives the caller the right to load it: a [Lease]. One caller at a time has
// the lease of a key, among all processes that share a store and a prefix. If another caller has it and there is no
// value, GetOrLease waits for that load, see [WithWait]. [GetOrLoad] is simpler, and lets the callers of one process
// share a load.
//
// The options [WithTags] and [WithLease] apply to the lease. The others that a fill uses are kept for [Lease.Fill].
//
// Errors: [ErrBusy] if the other caller is still loading when the wait is over, or if the last load failed and its
// holder asked for a pause; [ErrUnsupported] if the server denies what leases need. The message names it.
func (cache *Cache) GetOrLease(ctx context.Context, key string, options ...LoadOption) (Lookup, error) {
	settings, err := defaultLoadSettings.with(options)
	if err != nil {
		return Lookup{}, err
	}
	found := cache.lookupOwn(ctx, key, &settings)
	if errors.Is(found.err, ErrBusy) && settings.wait != NoWait {
		found = cache.lookupWaiting(ctx, key, &settings, settings.waitOf(ctx))
	}
	return found.Lookup, found.err
}

// A found is a lookup or its error. Its value may be in a buffer of the caller.
type found struct {
	Lookup
	borrowed bool
	err      error
}

// Gives the lookup a value of its own.
func (found *found) own() {
	if found.borrowed {
		found.Value, found.borrowed = cloned(found.Value), false
	}
}

// Reads a key for loading, and does not wait for another caller. The result is written to a zero value: a hit copies as
// little as it can.
func (cache *Cache) lookup(ctx context.Context, key string, settings *loadSettings, buffer []byte, result *found) {
	user, err := cache.enter(ctx)
	if err != nil {
		result.err = err
		return
	}
	defer user.leave()
	if cache.fastPath.Load() {
		if tracing := cache.tracing.Load(); tracing != nil {
			defer tracing.beginCall(ctx).end()
		}
		cache.lookupFastPath(key, settings, buffer, result)
		return
	}
	op := settings.lookupOp(key, NoWait)
	*result = cache.foundBy(cache.queue.lookup(ctx, &op), settings)
}

// Reads a key for loading on the calling thread.
func (cache *Cache) lookupFastPath(key string, settings *loadSettings, buffer []byte, result *found) {
	var tags *C.uint8_t
	if len(settings.tags) > 0 {
		block := blocks.Get().(*[]byte)
		defer blocks.Put(block)
		op := operation{tags: settings.tags}
		*block = op.appendPayload((*block)[:0])
		tags = (*C.uint8_t)(&(*block)[0])
	}
	answer := C.yoked_go_get_or_lease(cache.handle, bytesOf(key), C.size_t(len(key)), tags, C.size_t(len(settings.tags)),
		millis(settings.lease), (*C.uint8_t)(&buffer[0]), C.size_t(len(buffer)))
	if answer.status < 0 {
		result.err = failure(answer.status, answer.error)
		return
	}
	result.State = State(answer.status)
	switch {
	case answer.value != nil:
		result.Value = takeValue(answer.value)
	case result.State == StateFresh || result.State == StateStale:
		result.Value, result.borrowed = buffer[:answer.len], true
	}
	if answer.lease != nil {
		result.Lease = newLease(cache, answer.lease, settings)
	}
}

// Reads a key for loading, as lookup does. The value is the caller's own.
func (cache *Cache) lookupOwn(ctx context.Context, key string, settings *loadSettings) found {
	buffer := buffers.Get().(*[4096]byte)
	defer buffers.Put(buffer)
	var found found
	cache.lookup(ctx, key, settings, buffer[:], &found)
	found.own()
	return found
}

// Reads many keys for loading, together, and does not wait for other callers. If the context is done first, the leases
// go to others.
func (cache *Cache) lookups(ctx context.Context, keys []string, settings *loadSettings) ([]found, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	all := make([]found, 0, len(keys))
	if cache.fastPath.Load() {
		for _, key := range keys {
			all = append(all, cache.lookupOwn(ctx, key, settings))
		}
		return all, nil
	}
	ops := make([]operation, len(keys))
	for at, key := range keys {
		ops[at] = settings.lookupOp(key, NoWait)
	}
	for len(ops) > 0 {
		some := ops[:min(len(ops), together)]
		ops = ops[len(some):]
		for _, call := range cache.queue.lookups(ctx, some) {
			all = append(all, cache.foundBy(call, settings))
		}
	}
	return all, nil
}

// The longest wait of one operation. An operation continues when its caller leaves, as it may be taking a lease, which
// would be lost with its reply: it must end soon.
const longestWait = 500 * time.Millisecond

// Reads a key for loading, and waits for another caller's load; 0 selects the deadline of a call. A goroutine that waits
// occupies no thread.
func (cache *Cache) lookupWaiting(ctx context.Context, key string, settings *loadSettings, wait time.Duration) found {
	if wait == 0 {
		wait = cache.times.Load().call
	}
	for {
		begun, part := now(), min(wait, longestWait)
		found := cache.lookupPart(ctx, key, settings, part)
		taken := now().Sub(begun)
		wait -= taken
		// An operation that is busy before its time is over does not wait: the key is held back, or the queue is full.
		if !errors.Is(found.err, ErrBusy) || taken < part || wait < time.Millisecond {
			return found
		}
	}
}

func (cache *Cache) lookupPart(ctx context.Context, key string, settings *loadSettings, wait time.Duration) found {
	user, err := cache.enter(ctx)
	if err != nil {
		return found{err: err}
	}
	defer user.leave()
	op := settings.lookupOp(key, wait)
	return cache.foundBy(cache.queue.lookup(ctx, &op), settings)
}

// Returns the result of a call that read a key for loading, and releases the call.
func (cache *Cache) foundBy(call *call, settings *loadSettings) found {
	defer call.release()
	if call.err != nil {
		return found{err: call.err}
	}
	result := found{Lookup: Lookup{State: State(call.status), Value: call.takeValue()}}
	if call.lease != nil {
		result.Lease = newLease(cache, call.lease, settings)
	}
	return result
}

// Returns the time for which a call waits for the load of another caller; 0 selects the deadline of a call.
func (settings *loadSettings) waitOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if settings.wait != 0 || !ok {
		return settings.wait
	}
	left := time.Until(deadline)
	return min(max(left, time.Millisecond), longestLoad)
}

// A Lease is the right to load one key, see [Cache.GetOrLease]. A set, a delete, a pattern that matches the key and a
// flush end it. Use a lease once, by Fill, FillAbsent or Abandon, and free it. All methods are safe for concurrent use.
type Lease struct {
	cache    *Cache
	settings loadSettings

	lock   sync.Mutex
	handle *C.yc_lease
	users  int
	freed  bool
}

func newLease(cache *Cache, handle *C.yc_lease, settings *loadSettings) *Lease {
	lease := &Lease{cache: cache, handle: handle, settings: *settings}
	lease.settings.tags = nil
	runtime.SetFinalizer(lease, (*Lease).Free)
	return lease
}

// Fill stores the loaded value, with the tags of the lease and those of the options, and reports whether it did. The
// result is false if, since the lease was taken, the key was set or deleted, the key or one of the tags was
// invalidated, the lease expired, or the backend was switched. Options that are not given are those of
// [Cache.GetOrLease].
//
// Errors: [ErrInvalid] if the lease was used or freed; those of [Cache.Set]. After an error the lease can be used again.
func (lease *Lease) Fill(ctx context.Context, value []byte, options ...LoadOption) (stored bool, err error) {
	settings, err := lease.settingsWith(options)
	if err != nil {
		return false, err
	}
	op := fillOp(value, settings.ttl, settings.staleFor, settings.tags)
	return lease.run(ctx, &op)
}

// FillAbsent stores that the load found nothing, for the time of [WithAbsentTTL]. Result, options and errors are those
// of Fill.
func (lease *Lease) FillAbsent(ctx context.Context, options ...LoadOption) (stored bool, err error) {
	settings, err := lease.settingsWith(options)
	if err != nil {
		return false, err
	}
	op := fillAbsentOp(settings.absentTTL, settings.tags)
	return lease.run(ctx, &op)
}

// Abandon ends a lease whose load failed. No caller gets a lease for the key for the time retryAfter, at most a day. With
// 0 another caller may load the key at once.
//
// Errors: as Fill. A lease that has ended before is no error.
func (lease *Lease) Abandon(ctx context.Context, retryAfter time.Duration) error {
	op := abandonOp(retryAfter)
	_, err := lease.run(ctx, &op)
	return err
}

// Free releases the lease, and abandons one that was not used. It does not wait for a server. Further calls have no
// effect. The garbage collector frees a lease that was forgotten, but only after some time.
func (lease *Lease) Free() {
	if lease == nil || lease.cache == nil {
		return
	}
	lease.lock.Lock()
	defer lease.lock.Unlock()
	lease.freed = true
	lease.freeUnused()
}

// Releases the handle of a freed lease that no call uses. The lock is held.
func (lease *Lease) freeUnused() {
	if lease.freed && lease.users == 0 && lease.handle != nil {
		runtime.SetFinalizer(lease, nil)
		C.yc_lease_free(lease.handle)
		lease.handle = nil
	}
}

// The operations that end a lease, which their caller adds.
func fillOp(value []byte, ttl, staleFor time.Duration, tags []string) operation {
	return operation{kind: C.YC_OP_LEASE_FILL, value: value, ttl: millis(ttl), number: millis(staleFor), tags: tags}
}

func fillAbsentOp(ttl time.Duration, tags []string) operation {
	return operation{kind: C.YC_OP_LEASE_FILL, flags: C.YC_FILL_ABSENT, ttl: millis(ttl), tags: tags}
}

func abandonOp(retryAfter time.Duration) operation {
	return operation{kind: C.YC_OP_LEASE_ABANDON, ttl: millis(retryAfter)}
}

// Reports whether the fill of a lease was stored.
func isStored(outcome outcome) bool {
	return outcome.status == C.YC_OK
}

func (lease *Lease) settingsWith(options []LoadOption) (loadSettings, error) {
	if lease == nil {
		return defaultLoadSettings, nil
	}
	return lease.settings.with(options)
}

// Returns the handle, which stays valid until leave is called.
func (lease *Lease) enter() (unsafe.Pointer, error) {
	if lease == nil || lease.cache == nil {
		return nil, invalid("the lease is nil: only GetOrLease returns a lease")
	}
	lease.lock.Lock()
	defer lease.lock.Unlock()
	if lease.freed {
		return nil, invalid("the lease was freed")
	}
	lease.users++
	return unsafe.Pointer(lease.handle), nil
}

func (lease *Lease) leave() {
	lease.lock.Lock()
	defer lease.lock.Unlock()
	lease.users--
	lease.freeUnused()
}

// Runs an operation on the lease. The result is false if the fill was superseded.
func (lease *Lease) run(ctx context.Context, op *operation) (bool, error) {
	handle, err := lease.enter()
	if err != nil {
		return false, err
	}
	defer lease.leave()
	op.handle = handle
	return lease.cache.hit(ctx, op)
}
