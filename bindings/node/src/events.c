/* Readers of events: inboxes of what caches with the same servers and prefix remove. */
#include "binding.h"

static void events_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    yc_events_open(call->cache->cache, &call->events_filter, &call->events, &call->error);
}

/* events(handle, list, tags, keys, kinds, own, maxBytes) returns a promise of an inbox or an error. The list has so many tags, then so
   many globs of keys. */
napi_value events(napi_env env, napi_callback_info info) {
    napi_value given[7];
    uint32_t n_tags = 0, n_keys = 0, kinds = 0;
    bool own = false;
    double max_bytes = 0;
    if (!arguments(env, info, 7, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[2], &n_tags)) || !check(env, napi_get_value_uint32(env, given[3], &n_keys)) ||
        !check(env, napi_get_value_uint32(env, given[4], &kinds)) || !check(env, napi_get_value_bool(env, given[5], &own)) ||
        !check(env, napi_get_value_double(env, given[6], &max_bytes))) {
        return NULL;
    }
    work *call = new_inbox_work(env, cache, bytes_of(env, given[1]), (size_t)n_tags + n_keys);
    if (!call) return NULL;
    call->events_filter = (yc_events_filter){.struct_size = sizeof call->events_filter, .flags = own ? YC_EVENTS_OWN : 0, .kinds = kinds,
                                             .tags = call->slices, .n_tags = n_tags, .keys = call->slices + n_tags, .n_keys = n_keys,
                                             .max_bytes = (uint64_t)max_bytes};
    return open_inbox(env, call, events_on_pool);
}

/* Writes the name, the kind, the number of lost events, the origin, the sequence, the time and whether it is the cache's own; of a gap
   only the kind and the number. */
bool put_event(napi_env env, napi_value found, const yc_event *event, bool as_text) {
    size_t len;
    napi_value origin, time;
    uint64_t kind = yc_event_kind(event);
    const void *name = yc_event_name(event, &len);
    if (!put_count(env, found, 1, kind) || !put_count(env, found, 2, yc_event_lost(event))) return false;
    if (kind == YC_EVENT_GAP) return true;
    return put_bytes(env, found, 0, name, len, as_text) &&
           check(env, napi_create_bigint_uint64(env, yc_event_origin(event), &origin)) && put_found(env, found, 3, origin) &&
           put_count(env, found, 4, yc_event_sequence(event)) &&
           check(env, napi_create_double(env, (double)yc_event_time_ms(event), &time)) && put_found(env, found, 5, time) &&
           put_flag(env, found, 6, yc_event_is_own(event));
}
