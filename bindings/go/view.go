package yokedcache

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"context"
	"fmt"
	"time"
	"unsafe"
)

// ViewOptions selects the defaults of a view. A field that is zero is that of the cache.
type ViewOptions struct {
	// The namespace of the keys and the tags of the view: 1 to 64 of A-Z a-z 0-9 _ . -
	Namespace string
	// The time limit of a call, rounded up to whole milliseconds, in place of socket_timeout: shorter or longer.
	Timeout time.Duration
	// The time to live of an entry that is set with [DefaultTTL], rounded up to whole milliseconds. A negative time selects
	// that the entry never expires.
	DefaultTTL time.Duration
	// Tags that each entry gets when it is stored, in addition to those of the call. They must be UTF-8.
	Tags []string
	// Sliding expiry: a get, also of many keys or for loading, gives its entry the default time to live of the view again.
	TouchOnGet bool
	// The largest age of an entry that reads accept, rounded up to whole milliseconds: an older entry is a miss for the view, and
	// stays, as described at [Cache.GetInfo]. Such a view does not load: GetOrLoad fails with [ErrUnsupported].
	MaxAge time.Duration
	// Selects how InvalidatePattern works: "walk" lists the keys and counts those that it removes; "barrier" makes misses of the older
	// entries that match in one step, also on a server that cannot list, and needs generations. "" stands for that of the cache.
	Patterns string
}

// The options as the library reads them.
type viewDocument struct {
	Namespace  string   `json:"namespace,omitempty"`
	Timeout    string   `json:"timeout,omitempty"`
	DefaultTTL string   `json:"default_ttl,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	TouchOnGet bool     `json:"touch_on_get,omitempty"`
	MaxAge     string   `json:"max_age,omitempty"`
	Patterns   string   `json:"patterns,omitempty"`
}

// Returns a time as the options have it, rounded up to whole milliseconds.
func timeOption(limit time.Duration) string {
	whole := limit.Milliseconds()
	if limit%time.Millisecond > 0 {
		whole++
	}
	return fmt.Sprintf("%dms", whole)
}

// View opens a view: a second cache on the same connections and threads, with other defaults. All methods work on a
// view, except [Cache.Switch] and [Cache.MigrateTo], which fail with [ErrUnsupported]. A switch of the cache applies to its
// views.
//
// With a namespace the keys and the tags of the view are apart from those of the cache and of other namespaces.
// [Cache.Keys], [Cache.Search] and events return them without the namespace, and [Cache.Clear] and [Cache.Flush] remove the
// entries of the namespace alone. Channels and [Cache.Redis] are those of the cache. All views of a namespace have the same statistics, which
// the statistics of the cache contain too.
//
// A view of a view has the options of both; the later one counts, and the tags are added.
//
// Close a view that is no longer needed: this closes no connection. A view may stay open longer than its cache; its calls
// fail with [ErrClosed] then.
//
// Errors: [ErrConfig] for options that cannot be used, [ErrInvalid] for a namespace in a view that has one, and [ErrClosed].
func (cache *Cache) View(options ViewOptions) (*Cache, error) {
	user, err := cache.enter(context.Background())
	if err != nil {
		return nil, err
	}
	defer user.leave()
	document := viewDocument{Namespace: options.Namespace, Tags: options.Tags, TouchOnGet: options.TouchOnGet, Patterns: options.Patterns}
	if options.Timeout != 0 {
		document.Timeout = timeOption(options.Timeout)
	}
	if options.MaxAge != 0 {
		document.MaxAge = timeOption(options.MaxAge)
	}
	switch {
	case options.DefaultTTL < 0:
		document.DefaultTTL = "0"
	case options.DefaultTTL > 0:
		document.DefaultTTL = timeOption(options.DefaultTTL)
	}
	text, err := newOptions(document, append([]string{options.Namespace}, options.Tags...)...)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	var described *C.yc_error
	view := &Cache{backend: cache.backend, flights: newFlights()}
	if status := C.yc_view(cache.handle, text, &view.handle, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	times := *cache.times.Load()
	if options.Timeout > 0 {
		times.call = options.Timeout
	}
	view.times.Store(&times)
	if view.queue, err = newQueue(view.handle, &view.users, &view.tracing); err != nil {
		C.yc_cache_free(view.handle)
		return nil, err
	}
	return view, nil
}
