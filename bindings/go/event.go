package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// An EventKind is the kind of an [Event], or a set of kinds: EventTag|EventFlush.
type EventKind uint64

const (
	// EventTag is the invalidation of a tag. The name is the tag.
	EventTag EventKind = C.YC_EVENT_TAG
	// EventPattern is an InvalidatePattern. The name is the pattern.
	EventPattern EventKind = C.YC_EVENT_PATTERN
	// EventFlush is a Flush or a Clear. The name is "".
	EventFlush EventKind = C.YC_EVENT_FLUSH
	// EventDelete is the deletion of a key, also of one that did not exist. The name is the key. An entry that expires, is
	// evicted or is set again causes no event.
	EventDelete EventKind = C.YC_EVENT_DELETE
	// EventSwitch is a [Cache.Switch] of this cache. The name is that of the new backend.
	EventSwitch EventKind = C.YC_EVENT_SWITCH
	// EventFallbackBegin is a failure of the servers of this cache. The name is that of the backend that serves in their
	// place.
	EventFallbackBegin EventKind = C.YC_EVENT_FALLBACK_BEGIN
	// EventFallbackEnd is the end of such a failure: the servers serve again. The name is that of their backend.
	EventFallbackEnd EventKind = C.YC_EVENT_FALLBACK_END
	// EventGap is a place where events may have been lost.
	EventGap EventKind = C.YC_EVENT_GAP
)

// The names of the kinds, in the order of their bits.
var eventKindNames = [...]string{"tag", "pattern", "flush", "delete", "switch", "fallback begin", "fallback end", "gap"}

// String returns the name of a kind, such as "tag" or "fallback begin", and the names of a set with | between them.
func (kind EventKind) String() string {
	if kind == 0 || kind>>len(eventKindNames) != 0 {
		return fmt.Sprintf("EventKind(%d)", uint64(kind))
	}
	var names []string
	for bit, name := range eventKindNames {
		if kind&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// An EventFilter selects events. The zero value selects all events of other caches. Tags and Keys are 1024 together at
// most. They do not restrict the other kinds: an EventFlush or EventPattern may concern any tag and key.
type EventFilter struct {
	// The kinds. 0 selects all, except EventDelete if there are Tags but no Keys, and EventTag if there are Keys but no
	// Tags. EventGap is not allowed: gaps are always returned.
	Kinds EventKind
	// Only invalidations of these tags are returned; without any those of all tags.
	Tags []string
	// Only deletions of keys that match one of these globs are returned; without any those of all keys. The globs are
	// those of [Cache.InvalidatePattern].
	Keys []string
	// True if the events of this cache itself are returned too. Those of the kinds EventSwitch, EventFallbackBegin and
	// EventFallbackEnd always are.
	Own bool
	// The most bytes of the events that wait for Next; 0 selects 8 MiB.
	MaxBytes int
}

// An Event tells of something that was removed from the cache, or of a change of the cache itself; or it is a gap: events
// may have been lost at this place. It contains no value.
type Event struct {
	// The kind.
	Kind EventKind
	// The tag, the pattern, the key, or the backend: see the kinds. "" for a gap.
	Name string
	// The number of the opened cache that the event comes from: a random number. 0 for a gap.
	Origin uint64
	// The number of the event among those of its origin. Numbers increase; events of calls at the same time may come in
	// another order. 0 for a gap.
	Sequence uint64
	// When the change began, by the clock of its origin, in milliseconds. The zero time for a gap.
	Time time.Time
	// True if the event comes from the cache whose events are read.
	Own bool
	// For a gap the number of events that the reader dropped, or -1 if it is not known how many are missing, or whether
	// any; 0 for another event.
	Lost int64
}

// IsGap reports whether this is a gap.
func (event Event) IsGap() bool {
	return event.Kind == EventGap
}

// An EventReader receives events. [Cache.OpenEvents] returns one. All methods are safe for concurrent use: each event is
// returned to one caller of Next.
//
// Events wait in the reader until Next takes them, at most [EventFilter].MaxBytes. What comes beyond that is dropped, and
// a gap with the number of dropped events takes their place: a slow reader never slows down a writer. If the connection
// is lost, the library connects again, and a gap without a number marks the place; with the option events_journal no
// gap occurs while the same server has the events. A gap follows a [Cache.Switch] too. An event may come twice.
//
// Close a reader that is no longer needed, also one of a closed cache. The garbage collector closes a reader that was
// forgotten, but only after some time.
type EventReader struct {
	source[Event]
}

var eventReaders = sourceKind[Event]{
	name:      "the reader of events",
	operation: C.YC_OP_EVENTS_NEXT,
	waiting: func(handle unsafe.Pointer) unsafe.Pointer {
		return unsafe.Pointer(C.yoked_go_event_waiting((*C.yc_events)(handle)))
	},
	take: func(item unsafe.Pointer) Event { return takeEvent((*C.yc_event)(item)) },
	end:  func(handle unsafe.Pointer) { C.yc_events_close((*C.yc_events)(handle), nil) },
	free: func(handle unsafe.Pointer) { C.yc_events_free((*C.yc_events)(handle)) },
}

// Events returns the events that a filter selects, as a sequence for a range loop (Go 1.23):
//
//	for event, err := range cache.Events(ctx, yokedcache.EventFilter{Tags: []string{"prices"}}) {
//		if err != nil {
//			return err
//		}
//		if event.Kind == yokedcache.EventTag {
//			forget(event.Name)
//		} else {
//			forgetAll() // A flush, a pattern, a gap: anything may have changed.
//		}
//	}
//
// The loop opens a reader as [Cache.OpenEvents] does, and closes it at its end. What is removed before the reader is open
// causes no event: to read the state first, call OpenEvents, read the state, then range over [EventReader.All].
//
// The sequence ends without an error when the cache is closed. Any other error is its last element: an error of OpenEvents,
// also [ErrClosed], or one of [EventReader.Next], also that of ctx.
func (cache *Cache) Events(ctx context.Context, filter EventFilter) func(yield func(Event, error) bool) {
	return func(yield func(Event, error) bool) {
		reader, err := cache.OpenEvents(ctx, filter)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer reader.Close()
		reader.All(ctx)(yield)
	}
}

// OpenEvents begins to read the events that a filter selects, and waits until they are delivered: what is removed after
// this call has returned causes an event. It occupies a thread until the server has answered.
//
// An event tells other programs, with the same servers and key_prefix, of the invalidation of a tag or a pattern, a flush
// or a delete. On Redis each program needs the option events; on Memcached it names the Redis server that carries them. On
// the memory backend they come from this cache alone. An event comes after its change. It may also come for a change that
// failed. No result of the cache depends on an event: it serves to keep other copies in step.
//
// Errors: [ErrInvalid] for a filter that is not allowed; [ErrTooLarge] for a tag or glob over 64 KiB, and for more than 1024;
// [ErrDenied] if the user lacks the permission for the channel; [ErrUnsupported] on Redis and Memcached without the option
// events, see [CanEvents]. If the server is down, the error is as that of [Cache.Get].
func (cache *Cache) OpenEvents(ctx context.Context, filter EventFilter) (*EventReader, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	if filter.MaxBytes < 0 {
		user.leave()
		return nil, invalid("MaxBytes is %d: it must be 0 or more", filter.MaxBytes)
	}
	block := filter.block()
	return openSource(ctx, user, func() (*EventReader, error) { return cache.openEvents(&filter, block) })
}

// Returns the tags and globs as yoked_go_events_open() reads them.
func (filter *EventFilter) block() []byte {
	op := operation{keys: filter.Tags, tags: filter.Keys}
	return op.appendPayload(nil)
}

// Opens a reader with a filter, whose block this is.
func (cache *Cache) openEvents(filter *EventFilter, block []byte) (*EventReader, error) {
	var handle *C.yc_events
	var described *C.yc_error
	status := C.yoked_go_events_open(cache.handle, (*C.uint8_t)(unsafe.SliceData(block)), C.size_t(len(filter.Tags)),
		C.size_t(len(filter.Keys)), C.uint64_t(filter.Kinds), C.bool(filter.Own), C.uint64_t(filter.MaxBytes), &handle, &described)
	if err := failure(status, described); err != nil {
		return nil, err
	}
	reader := &EventReader{source[Event]{cache: cache, kind: &eventReaders, handle: unsafe.Pointer(handle)}}
	runtime.SetFinalizer(reader, (*EventReader).Close)
	return reader, nil
}

// Next returns the next event or gap, and waits for it: until ctx is done, or the reader or its cache is closed. A call
// that ends for one of these reasons takes no event: the next call gets it. While the server is down, Next waits. A
// goroutine that waits occupies no thread.
//
// Errors: [ErrClosed]; [ErrCancelled] or [ErrTimeout] if ctx is done, as of every method; [ErrDenied] if the server has
// refused the channel since; [ErrUnsupported] if [Cache.Switch] has selected a backend without events. All but those of ctx
// are final.
func (reader *EventReader) Next(ctx context.Context) (Event, error) {
	if reader == nil || reader.cache == nil {
		return Event{}, errNoEventReader()
	}
	return reader.next(ctx)
}

// Copies an event and releases it.
func takeEvent(handle *C.yc_event) Event {
	defer C.yc_event_free(handle)
	parts := C.yoked_go_event_parts(handle)
	event := Event{Kind: EventKind(parts.kind)}
	if event.IsGap() {
		event.Lost = int64(parts.lost)
		return event
	}
	event.Name = string(unsafe.Slice((*byte)(parts.name), int(parts.name_len)))
	event.Origin, event.Sequence = uint64(parts.origin), uint64(parts.sequence)
	event.Time = time.UnixMilli(int64(parts.time_ms))
	event.Own = parts.is_own != 0
	return event
}

// All returns the events and gaps as a sequence for a range loop (Go 1.23), as Next returns them. The sequence ends without
// an error when the reader or its cache is closed. Any other error, also that of ctx, is its last element. The reader stays
// open after the loop: another loop, or Next, continues.
func (reader *EventReader) All(ctx context.Context) func(yield func(Event, error) bool) {
	return sequence(ctx, reader.Next)
}

// Close ends the reader, drops the events that were not taken, and releases its memory. Calls of Next that wait fail with
// [ErrClosed], as later calls do. Further calls return nil and have no effect.
func (reader *EventReader) Close() error {
	if reader == nil || reader.cache == nil {
		return errNoEventReader()
	}
	runtime.SetFinalizer(reader, nil)
	reader.close()
	return nil
}

func errNoEventReader() error {
	return invalid("the reader of events is nil: only OpenEvents returns one")
}
