/* Implements trace.h. */
#include "trace.h"

#include "_cgo_export.h"

#include <string.h>

static void on_span(void *data, int32_t phase, const yc_span *span)
{
    yokedGoSpan((uintptr_t)data, phase, (yc_span *)span);
}

static void on_finalised(void *data) { yokedGoEndTracing((uintptr_t)data); }

yc_status yoked_go_set_trace(yc_cache *cache, uintptr_t tracing, uint32_t flags, uint64_t interval, yc_error **error)
{
    yc_trace_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = flags;
    options.interval = interval;
    if (!tracing) return yc_set_trace(cache, &options, NULL, NULL, NULL, error);
    return yc_set_trace(cache, &options, on_span, (void *)tracing, on_finalised, error);
}
