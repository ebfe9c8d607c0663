/* Subscriptions. Each has a descriptor, which Node's loop watches while JavaScript waits for a message: no operation of the
   queue waits for one. */
#include "binding.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

typedef struct subscription {
    yc_subscription *messages;  /* NULL after unsubscribe(). */
    int fd;
    watch *watch;
} subscription;

static void release_messages(subscription *from) {
    watch_end(from->watch);
    yc_subscription_free(from->messages);
    from->messages = NULL;
}

/* The JavaScript object was collected. */
static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    release_messages(data);
    free(data);
}

static subscription *subscription_of(napi_env env, napi_value value) {
    void *found = NULL;
    return check(env, napi_get_value_external(env, value, &found)) ? found : NULL;
}

/* ---- Subscribing: on the pool, because a server may take long to answer ---- */

static void subscribe_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    yc_subscribe(call->cache->cache, &call->filter, &call->subscription, &call->error);
}

/* Returns an object that owns the subscription of a call. */
static napi_value new_subscription(napi_env env, work *call) {
    napi_value external;
    subscription *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    *made = (subscription){.messages = call->subscription, .fd = -1};
    call->subscription = NULL;
    if (napi_create_external(env, made, on_collected, NULL, &external) == napi_ok) return external;
    on_collected(env, made, NULL);
    return NULL;
}

static void finish_subscribe(napi_env env, napi_status status, void *data) {
    work *call = data;
    if (status == napi_ok && call->subscription) {
        resolve(env, call, new_subscription(env, call));
    } else {
        resolve(env, call, error_of(env, call->error));
        call->error = NULL;
    }
    let_go(call->cache);
    free_work(env, call);
}

/* Copies the list of channels and patterns: JavaScript may collect it meanwhile. */
static bool copy_filter(work *call, span list, uint32_t n_channels, uint32_t n_patterns) {
    size_t count = (size_t)n_channels + n_patterns;
    call->bytes = malloc(list.len + 1);
    call->slices = calloc(count + 1, sizeof *call->slices);
    if (!call->bytes || !call->slices) return false;
    if (list.len) memcpy(call->bytes, list.data, list.len);
    call->filter = (yc_filter){.struct_size = sizeof call->filter, .channels = call->slices, .n_channels = n_channels,
                               .patterns = call->slices + n_channels, .n_patterns = n_patterns};
    return read_list((span){call->bytes, list.len}, 0, count, call->slices);
}

/* subscribe(handle, list, channels, patterns, maxBytes) returns a promise of a subscription or an error. The list has so many
   channels, then so many patterns. */
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
    work *call = calloc(1, sizeof *call);
    if (!call || !copy_filter(call, bytes_of(env, given[1]), n_channels, n_patterns)) {
        if (call) free_work(env, call);
        return throw_text(env, "out of memory, or the list is malformed");
    }
    call->filter.max_bytes = (uint64_t)max_bytes;
    call->cache = cache;
    hold(cache);
    return begin_work(env, call, subscribe_on_pool, finish_subscribe);
}

/* ---- Receiving ---- */

/* listen(subscription, object, onReadable) prepares wait(); returns undefined or an error. */
napi_value listen_to(napi_env env, napi_callback_info info) {
    napi_value given[3];
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given)) return NULL;
    subscription *from = subscription_of(env, given[0]);
    if (!from) return NULL;
    if (yc_subscription_fd(from->messages, &from->fd, &error) < 0) return error_of(env, error);
    watch_begin(env, from->fd, given[1], given[2], &from->watch);
    return NULL;
}

/* wait(subscription, on) begins or stops to call onReadable(). Meanwhile the process and the object stay alive. */
napi_value wait_for(napi_env env, napi_callback_info info) {
    napi_value given[2];
    bool on = false;
    if (!arguments(env, info, 2, given)) return NULL;
    subscription *from = subscription_of(env, given[0]);
    if (!from || !check(env, napi_get_value_bool(env, given[1], &on))) return NULL;
    watch_listen(from->watch, on);
    watch_keep(from->watch, on);
    return NULL;
}

/* Takes a message. Sets *ended if an error is the end of the subscription: the descriptor is readable after the end, and not
   while the subscription is interrupted. */
static yc_status take_message(subscription *from, yc_message **message, bool *ended, yc_error **error) {
    yc_status status = yc_subscription_next(from->messages, 0, message, error);
    if (status >= 0 || poll(&(struct pollfd){.fd = from->fd, .events = POLLIN}, 1, 0) != 1) return status;
    yc_error_free(*error);
    *error = NULL;
    /* A message may have come since. */
    status = yc_subscription_next(from->messages, 0, message, error);
    *ended = status < 0;
    return status;
}

static bool put(napi_env env, napi_value found, uint32_t place, napi_value value) {
    return check(env, napi_set_element(env, found, place, value));
}

static bool put_data(napi_env env, napi_value found, const void *data, size_t len, bool as_text) {
    napi_value value;
    napi_status made = as_text ? napi_create_string_utf8(env, data ? data : "", len, &value)
                               : napi_create_buffer_copy(env, len, data, NULL, &value);
    return check(env, made) && put(env, found, 1, value);
}

static bool put_message(napi_env env, napi_value found, const yc_message *message, bool as_text) {
    size_t channel_len, len;
    napi_value value;
    uint64_t lost = yc_message_lost(message);
    const void *channel = yc_message_channel(message, &channel_len), *data = yc_message_data(message, &len);
    if (!check(env, napi_create_double(env, lost == YC_COUNT_UNKNOWN ? -1 : (double)lost, &value)) || !put(env, found, 2, value)) {
        return false;
    }
    if (lost) return true;
    return check(env, napi_create_string_utf8(env, channel, channel_len, &value)) && put(env, found, 0, value) &&
           put_data(env, found, data, len, as_text);
}

static bool put_error(napi_env env, napi_value found, yc_error *error, bool ended) {
    napi_value value;
    return put(env, found, 0, error_of(env, error)) && check(env, napi_get_boolean(env, ended, &value)) && put(env, found, 1, value);
}

/* take(subscription, asText, found) returns a status. It writes the channel, the data and the number of lost messages to found; for an
   error the error, and true if the subscription has ended. */
napi_value take(napi_env env, napi_callback_info info) {
    napi_value given[3], result = NULL;
    bool as_text = false, ended = false;
    yc_message *message = NULL;
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given)) return NULL;
    subscription *from = subscription_of(env, given[0]);
    if (!from || !check(env, napi_get_value_bool(env, given[1], &as_text))) return NULL;
    yc_status status = take_message(from, &message, &ended, &error);
    bool told = status < 0 ? put_error(env, given[2], error, ended) : status != YC_OK || put_message(env, given[2], message, as_text);
    yc_message_free(message);
    if (told) check(env, napi_create_int32(env, status, &result));
    return result;
}

/* unsubscribe(subscription) ends it, and releases its descriptor and its connection. */
napi_value unsubscribe(napi_env env, napi_callback_info info) {
    napi_value given[1];
    if (!arguments(env, info, 1, given)) return NULL;
    subscription *from = subscription_of(env, given[0]);
    if (from) release_messages(from);
    return NULL;
}
