/* Spans of calls, which the library reports to Go on the goroutine that calls it. */
#ifndef YOKED_GO_TRACE_H
#define YOKED_GO_TRACE_H

#include <yokedcache.h>

/* Reports the spans of a cache and its views to the tracing of a cgo.Handle, which is deleted after its last span; 0 ends
   that. If it fails, the handle stays the caller's. */
yc_status yoked_go_set_trace(yc_cache *cache, uintptr_t tracing, uint32_t flags, uint64_t interval, yc_error **error);

#endif
