package yokedcache

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Cache is an open cache. All methods are safe for concurrent use, also while another goroutine closes the
// cache.
//
// Close a cache that is no longer needed. The garbage collector does not release its memory and connections, and
// its entries do not count towards GOMEMLIMIT.
type Cache struct {
	handle *C.yc_cache
	queue  *queue
	// That of all views of a cache.
	*backend

	flights flights
	times   atomic.Pointer[loadTimes]

	users  users
	closed atomic.Bool
	close  sync.Mutex
	freed  bool
}

// A backend is the present backend of a cache and of its views. A switch can change it.
type backend struct {
	// Set if short operations run on the calling thread: the backend is in this process.
	fastPath atomic.Bool
	// Set if the backend is shared and has a near cache.
	hasNear      atomic.Bool
	capabilities atomic.Uint64
	describing   sync.Mutex
	tracing      tracingPlace
	tracingLock  sync.Mutex
}

// Open opens a cache from a configuration: a URL such as "memory://?max_size=1000&key_prefix=app" or
// "redis://localhost:6379/0", or a YAML or JSON document. If the document has environments, the variable
// ENVIRONMENT selects one ("development" if unset).
//
// Unless the configuration sets "connect: lazy", Open waits for the servers for at most socket_connect_timeout.
//
// Errors: [ErrConfig] for a configuration that cannot be used, [ErrUnsupported] for a backend that the library was
// built without, [ErrABIMismatch] for a library of another release, and the errors of a server that cannot be
// used, such as [ErrConnect], [ErrAuth] and [ErrTLS].
func Open(config string, options ...OpenOption) (*Cache, error) {
	text, err := newCString(config, "config")
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	return open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
		return C.yc_open(text, handle, described)
	}, func() (json.RawMessage, error) { return CheckConfig(config) }, options)
}

// OpenFile opens a cache from a YAML or JSON file. The file has environments, or consists of the body of one. The
// argument environment selects an environment; if it is "", the variable ENVIRONMENT does ("development" if
// unset).
//
// Errors: as [Open]; also [ErrConfig] for a file that cannot be read and for an environment that the file does not
// have.
func OpenFile(path, environment string, options ...OpenOption) (cache *Cache, err error) {
	failed := withFile(path, environment, func(file, name *C.char) {
		cache, err = open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
			return C.yc_open_file(file, name, handle, described)
		}, func() (json.RawMessage, error) { return CheckConfigFile(path, environment) }, options)
	})
	if failed != nil {
		return nil, failed
	}
	return cache, err
}

// OpenEnv opens a cache from the environment variables of the process: YOKEDCACHE_URL, else YOKEDCACHE_CONFIG (the
// path of a file), else REDIS_URL.
//
// Errors: as [Open]; also [ErrConfig] if none of the variables is set.
func OpenEnv(options ...OpenOption) (*Cache, error) {
	return open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
		return C.yc_open_env(handle, described)
	}, checkEnv, options)
}

// Version returns the version of the linked library, such as "0.1.0".
func Version() string {
	return C.GoString(C.yc_version())
}

// Opens a cache. The function check returns the summary of its configuration.
func open(open func(**C.yc_cache, **C.yc_error) C.yc_status, check func() (json.RawMessage, error), options []OpenOption) (*Cache, error) {
	var described *C.yc_error
	if status := C.yc_check_abi(C.YC_VERSION_NUMBER, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	var handle *C.yc_cache
	if status := open(&handle, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	cache := &Cache{handle: handle, backend: &backend{}, flights: newFlights()}
	cache.times.Store(timesOf(check()))
	err := setCredentials(handle, options)
	if err == nil {
		err = cache.start()
	}
	if err != nil {
		C.yc_close(handle, 0, nil)
		C.yc_cache_free(handle)
		return nil, err
	}
	return cache, nil
}

// Reads the capabilities of the backend and opens the queue.
func (cache *Cache) start() error {
	if err := cache.describe(); err != nil {
		return err
	}
	queue, err := newQueue(cache.handle, &cache.users, &cache.tracing)
	cache.queue = queue
	return err
}

// Reads the capabilities of the current backend, and selects the path of its operations.
func (cache *Cache) describe() error {
	cache.describing.Lock()
	defer cache.describing.Unlock()
	if err := cache.readCapabilities(); err != nil {
		return err
	}
	can := Capabilities(cache.capabilities.Load())
	cache.fastPath.Store(can&CanShare == 0)
	cache.hasNear.Store(can&CanShare != 0 && can&CanNear != 0)
	return nil
}

// Reads the capabilities of the current backend. The caller holds describing.
func (cache *Cache) readCapabilities() error {
	var described *C.yc_error
	var flags C.uint64_t
	if status := C.yc_capabilities(cache.handle, &flags, &described); status != C.YC_OK {
		return failure(status, described)
	}
	cache.capabilities.Store(uint64(flags))
	return nil
}

// Capabilities is a bit set of the optional abilities of a backend. Test it with the constants:
// capabilities&CanList != 0.
type Capabilities uint64

// The optional abilities of a backend. An operation that the backend cannot perform fails with [ErrUnsupported].
const (
	// CanList is set if Keys, InvalidatePattern and Search work.
	CanList Capabilities = C.YC_CAN_LIST
	// CanCount is set if invalidations return the number of removed entries.
	CanCount Capabilities = C.YC_CAN_COUNT
	// CanShare is set if other processes see the same entries.
	CanShare Capabilities = C.YC_CAN_SHARE
	// CanSize is set if the number of keys in [Stats] is exact. Otherwise it is an estimate.
	CanSize Capabilities = C.YC_CAN_SIZE
	// CanCompare is set if SetIf, DeleteIf, GetAndExpire, CounterAdd, GetOrLoad and GetOrLease work. Redis needs the
	// permission for scripts.
	CanCompare Capabilities = C.YC_CAN_COMPARE
	// CanCommand is set if [Redis.Do] works: the backend is Redis.
	CanCommand Capabilities = C.YC_CAN_COMMAND
	// CanPublish is set if Publish and Subscribe work.
	CanPublish Capabilities = C.YC_CAN_PUBLISH
	// CanNear is set if the memory of this process may have values, which GetNear reads: on the memory backend, and with
	// the option near of the configuration.
	CanNear Capabilities = C.YC_CAN_NEAR
	// CanEvents is set if Events and OpenEvents work.
	CanEvents Capabilities = C.YC_CAN_EVENTS
)

// Capabilities returns the abilities of the current backend. The result changes with [Cache.Switch], and with
// "connect: lazy" when the first server was reached. A nil cache has none. A closed cache keeps its last ones.
func (cache *Cache) Capabilities() Capabilities {
	if cache == nil || cache.backend == nil {
		return 0
	}
	if user, err := cache.enter(context.Background()); err == nil {
		defer user.leave()
		cache.describing.Lock()
		defer cache.describing.Unlock()
		// On failure the last ones remain.
		_ = cache.readCapabilities()
	}
	return Capabilities(cache.capabilities.Load())
}

// Close closes the cache. Calls in flight may finish for five seconds; then they fail with [ErrClosed], as later
// calls do. Calls that wait for a message or an event end at once, and so do calls that load or wait for a load: they
// fail with ErrClosed, the contexts of their loaders are cancelled, and their leases go to other processes. A lease that
// arrives while the cache is being closed ends by itself when it expires. When Close returns, all threads, connections and
// memory of the cache are released, except what waits in a [Subscription] or an [EventReader] that is not closed yet.
// Further calls of Close return nil and have no effect.
//
// Errors: [ErrTimeout] if calls in flight were interrupted. The cache is closed nevertheless.
func (cache *Cache) Close() error {
	return cache.shut(-1)
}

// Shutdown closes the cache as [Cache.Close] does, but calls in flight may finish until ctx is done. They then
// fail with [ErrClosed]. Calls that load or wait for a message or an event do not finish: they end at once, as with
// Close. A context without a deadline that cannot be cancelled gives them five seconds.
//
// Errors: [ErrTimeout] if calls in flight were interrupted. The cache is closed nevertheless.
func (cache *Cache) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return invalid("ctx is nil: pass context.Background()")
	}
	if cache == nil {
		return invalid("the cache is nil: open it with Open, OpenFile or OpenEnv")
	}
	if ctx.Done() == nil || cache.queue == nil {
		return cache.shut(-1)
	}
	cache.closed.Store(true)
	cache.flights.shut()
	for cache.users.any() {
		select {
		case <-ctx.Done():
			return cache.shut(0)
		case <-time.After(time.Millisecond):
		}
	}
	return cache.shut(-1)
}

// Closes the cache and releases everything, once.
func (cache *Cache) shut(timeoutMillis C.int64_t) error {
	if cache == nil {
		return invalid("the cache is nil: open it with Open, OpenFile or OpenEnv")
	}
	if cache.queue == nil {
		return invalid("the cache was not opened: open it with Open, OpenFile or OpenEnv")
	}
	cache.closed.Store(true)
	cache.flights.shut()
	cache.close.Lock()
	defer cache.close.Unlock()
	if cache.freed {
		return nil
	}
	var described *C.yc_error
	err := failure(C.yc_close(cache.handle, timeoutMillis, &described), described)
	// Each call in flight has its completion now, and ends.
	for cache.users.any() {
		time.Sleep(50 * time.Microsecond)
	}
	cache.queue.free()
	C.yc_cache_free(cache.handle)
	cache.freed = true
	return err
}

// Begins a call. The handles stay valid until leave is called on the returned user.
func (cache *Cache) enter(ctx context.Context) (user, error) {
	if cache == nil {
		return user{}, invalid("the cache is nil: open it with Open, OpenFile or OpenEnv")
	}
	if cache.queue == nil {
		return user{}, invalid("the cache was not opened: open it with Open, OpenFile or OpenEnv")
	}
	if ctx == nil {
		return user{}, invalid("ctx is nil: pass context.Background()")
	}
	if ctx.Done() != nil && ctx.Err() != nil {
		return user{}, ended(ctx)
	}
	user := cache.users.enter()
	if cache.closed.Load() {
		user.leave()
		return user, ErrClosed
	}
	return user, nil
}

// Counts the calls inside the library. Several counters in separate cache lines keep processors from contending
// for one.
type users [16]struct {
	count atomic.Int64
	_     [56]byte
}

// A user is one call inside the library, by its counter.
type user struct{ count *atomic.Int64 }

// Goroutines have different stacks: the address of a local variable selects the counter.
func (users *users) enter() user {
	var local byte
	address := uintptr(unsafe.Pointer(&local))
	place := &users[(address>>11^address>>15)%uintptr(len(users))]
	place.count.Add(1)
	return user{&place.count}
}

func (user user) leave() {
	user.count.Add(-1)
}

func (users *users) any() bool {
	for at := range users {
		if users[at].count.Load() != 0 {
			return true
		}
	}
	return false
}

// Copies a text into C memory; the caller releases it with C.free.
func newCString(text, name string) (*C.char, error) {
	for at := 0; at < len(text); at++ {
		if text[at] == 0 {
			return nil, &Error{Code: CodeConfig, Message: name + " contains a NUL byte: remove it"}
		}
	}
	return C.CString(text), nil
}
