package yokedcache

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"unsafe"
)

// MetricsOf returns the metrics of many caches as one text in the format of Prometheus, as [Cache.Metrics] does for one. The
// keys of the map name the caches: each sample has the name of its cache as the label cache. Each metric family is declared
// once; the samples are in the order of the names. MetricsOf contacts the servers of all caches at the same time, and occupies
// a thread until they have answered. A cache that is closed is left out.
//
// The module github.com/yokedcache/yokedcache-go/prom has a collector for programs that use Prometheus' client_golang.
//
// Errors: [ErrInvalid] for a name that is empty, longer than 256 bytes, or not UTF-8, and for a nil cache.
func MetricsOf(ctx context.Context, caches map[string]*Cache) (string, error) {
	if ctx == nil {
		return "", invalid("ctx is nil: pass context.Background()")
	}
	if ctx.Err() != nil {
		return "", ended(ctx)
	}
	page, err := newMetricsPage(ctx, caches)
	if err != nil {
		page.free()
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		defer page.free()
		text, err := page.text()
		done <- answer{text, err}
	}()
	select {
	case answer := <-done:
		return answer.text, answer.err
	case <-ctx.Done():
		return "", ended(ctx)
	}
}

// The open caches of a text, with their names. They stay open until it is freed.
type metricsPage struct {
	users   []user
	handles []*C.yc_cache
	names   []*C.char
}

// Also returns the page, which the caller frees, with an error.
func newMetricsPage(ctx context.Context, caches map[string]*Cache) (*metricsPage, error) {
	page := &metricsPage{}
	names := make([]string, 0, len(caches))
	for name := range caches {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.Contains(name, "\x00") {
			return page, invalid("the name %q of a cache contains a NUL byte", name)
		}
		cache := caches[name]
		user, err := cache.enter(ctx)
		if errors.Is(err, ErrClosed) {
			continue
		}
		if err != nil {
			return page, fmt.Errorf("the cache %q: %w", name, err)
		}
		page.users = append(page.users, user)
		page.handles = append(page.handles, cache.handle)
		page.names = append(page.names, C.CString(name))
	}
	return page, nil
}

func (page *metricsPage) text() (string, error) {
	var described *C.yc_error
	var value *C.yc_value
	count := C.size_t(len(page.handles))
	if status := C.yc_metrics_many(unsafe.SliceData(page.handles), unsafe.SliceData(page.names), count, &value, &described); status != C.YC_OK {
		return "", failure(status, described)
	}
	return string(takeValue(value)), nil
}

func (page *metricsPage) free() {
	for at, user := range page.users {
		user.leave()
		C.free(unsafe.Pointer(page.names[at]))
	}
}
