package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"sync"
	"unsafe"
)

// A source is a handle of the library from which calls take items, and wait for them: the messages of a [Subscription], or
// the events of an [EventReader].
type source[Item any] struct {
	cache *Cache
	kind  *sourceKind[Item]

	// Held for reading by each call of next, so that the handle stays valid.
	lock   sync.RWMutex
	handle unsafe.Pointer // nil once closed.
}

// A sourceKind is how the library handles the sources of an item.
type sourceKind[Item any] struct {
	name string
	// The operation of a queue that waits for an item, which is the handle of its completion.
	operation C.int32_t
	// Takes an item that waits. Returns nil without one.
	waiting func(handle unsafe.Pointer) unsafe.Pointer
	// Copies an item and releases it.
	take func(item unsafe.Pointer) Item
	// Ends the operations that wait.
	end func(handle unsafe.Pointer)
	// Releases the handle.
	free func(handle unsafe.Pointer)
}

// Opens a source: open waits for a server, and occupies a thread until it has answered. It cannot be cancelled: without
// its caller it ends later, and what it has opened is closed.
func openSource[Source interface{ Close() error }](ctx context.Context, user user, open func() (Source, error)) (Source, error) {
	type opened struct {
		source Source
		err    error
	}
	done := make(chan opened)
	go func() {
		defer user.leave()
		source, err := open()
		select {
		case done <- opened{source, err}:
		case <-ctx.Done():
			if err == nil {
				source.Close()
			}
		}
	}()
	select {
	case result := <-done:
		return result.source, result.err
	case <-ctx.Done():
		var none Source
		return none, ended(ctx)
	}
}

// Returns the next item, and waits for it.
func (source *source[Item]) next(ctx context.Context) (item Item, err error) {
	user, err := source.cache.enter(ctx)
	if err != nil && !errors.Is(err, ErrClosed) {
		return item, err
	}
	if err == nil {
		defer user.leave()
	}
	source.lock.RLock()
	defer source.lock.RUnlock()
	if source.handle == nil {
		return item, &Error{Code: CodeClosed, Message: source.kind.name + " was closed"}
	}
	// Items that wait are returned also after the cache was closed.
	if waiting := source.kind.waiting(source.handle); waiting != nil {
		return source.kind.take(waiting), nil
	}
	if err != nil {
		return item, err
	}
	return source.wait(ctx)
}

// Waits for an item in the queue.
func (source *source[Item]) wait(ctx context.Context) (item Item, err error) {
	queue := source.cache.queue
	call := queue.begin(&operation{kind: source.kind.operation, handle: source.handle})
	defer call.release()
	select {
	case <-call.done:
	case <-ctx.Done():
		queue.cancel(call.entry)
		<-call.done
	case <-source.cache.flights.closing:
		queue.cancel(call.entry)
		<-call.done
	}
	// A call that was cancelled too late has an item.
	switch {
	case call.err == nil:
		return source.kind.take(call.handle), nil
	case source.cache.closed.Load() && errors.Is(call.err, ErrCancelled):
		return item, ErrClosed
	}
	return item, becauseOf(ctx, call.err)
}

// Returns the items as a sequence that ends without an error when next reports ErrClosed. Any other error is its last
// element.
func sequence[Item any](ctx context.Context, next func(context.Context) (Item, error)) func(yield func(Item, error) bool) {
	return func(yield func(Item, error) bool) {
		for {
			item, err := next(ctx)
			if errors.Is(err, ErrClosed) {
				return
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Ends the calls that wait, and releases the handle. Further calls have no effect.
func (source *source[Item]) close() {
	source.end()
	source.lock.Lock()
	defer source.lock.Unlock()
	source.kind.free(source.handle)
	source.handle = nil
}

// Ends the calls that wait.
func (source *source[Item]) end() {
	source.lock.RLock()
	defer source.lock.RUnlock()
	if source.handle != nil {
		source.kind.end(source.handle)
	}
}
