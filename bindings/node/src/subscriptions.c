/* Subscriptions: inboxes of messages of channels. */
#include "binding.h"

static void subscribe_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    yc_subscribe(call->cache->cache, &call->filter, &call->subscription, &call->error);
}

/* subscribe(handle, list, channels, patterns, maxBytes) returns a promise of an inbox or an error. The list has so many channels, then
   so many patterns. */
napi_value subscribe(napi_env env, napi_callback_info info) {
    napi_value given[5];
    uint32_t n_channels = 0, n_patterns = 0;
    double max_bytes = 0;
    if (!arguments(env, info, 5, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[2], &n_channels)) ||
        !check(env, napi_get_value_uint32(env, given[3], &n_patterns)) || !check(env, napi_get_value_double(env, given[4], &max_bytes))) {
        return NULL;
    }
    work *call = new_inbox_work(env, cache, bytes_of(env, given[1]), (size_t)n_channels + n_patterns);
    if (!call) return NULL;
    call->filter = (yc_filter){.struct_size = sizeof call->filter, .channels = call->slices, .n_channels = n_channels,
                               .patterns = call->slices + n_channels, .n_patterns = n_patterns, .max_bytes = (uint64_t)max_bytes};
    return open_inbox(env, call, subscribe_on_pool);
}

/* Writes the channel, the data and the number of lost messages; of a gap the last. */
bool put_message(napi_env env, napi_value found, const yc_message *message, bool as_text) {
    size_t channel_len, len;
    uint64_t lost = yc_message_lost(message);
    const void *channel = yc_message_channel(message, &channel_len), *data = yc_message_data(message, &len);
    if (!put_count(env, found, 2, lost)) return false;
    return lost || (put_bytes(env, found, 0, channel, channel_len, true) && put_bytes(env, found, 1, data, len, as_text));
}
