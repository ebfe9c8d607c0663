/* Inboxes: what waits to be taken, the messages of a subscription or the events of a reader. Each has a descriptor, which Node's loop
   watches while JavaScript waits: no operation of the queue waits for a message or an event. */
#include "binding.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static void release_inbox(inbox *from) {
    watch_end(from->watch);
    yc_subscription_free(from->messages);
    yc_events_free(from->events);
    from->messages = NULL;
    from->events = NULL;
}

/* The JavaScript object was collected. */
static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    release_inbox(data);
    free(data);
}

static inbox *inbox_of(napi_env env, napi_value value) {
    void *found = NULL;
    return check(env, napi_get_value_external(env, value, &found)) ? found : NULL;
}

/* ---- Opening ---- */

/* Returns an object that owns what a call has opened. */
static napi_value new_inbox(napi_env env, work *call) {
    napi_value external;
    inbox *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    *made = (inbox){.messages = call->subscription, .events = call->events, .fd = -1};
    call->subscription = NULL;
    call->events = NULL;
    if (napi_create_external(env, made, on_collected, NULL, &external) == napi_ok) return external;
    on_collected(env, made, NULL);
    return NULL;
}

static void finish_inbox(napi_env env, napi_status status, void *data) {
    work *call = data;
    if (status == napi_ok && (call->subscription || call->events)) {
        resolve(env, call, new_inbox(env, call));
    } else {
        resolve(env, call, error_of(env, call->error));
        call->error = NULL;
    }
    let_go(call->cache);
    free_work(env, call);
}

/* Returns a call at a cache with a copy of a list of so many names: JavaScript may collect the list meanwhile. Returns NULL with an
   exception. */
work *new_inbox_work(napi_env env, handle *cache, span list, size_t count) {
    work *call = calloc(1, sizeof *call);
    bool made = call && (call->bytes = malloc(list.len + 1)) && (call->slices = calloc(count + 1, sizeof *call->slices));
    if (made && list.len) memcpy(call->bytes, list.data, list.len);
    if (made && read_list((span){call->bytes, list.len}, 0, count, call->slices)) {
        call->cache = cache;
        return call;
    }
    if (call) free_work(env, call);
    throw_text(env, "out of memory, or the list is malformed");
    return NULL;
}

/* Opens on the pool, because a server may take long to answer. Returns a promise of an inbox or an error. */
napi_value open_inbox(napi_env env, work *call, napi_async_execute_callback open) {
    hold(call->cache);
    return begin_work(env, call, open, finish_inbox);
}

/* ---- Taking ---- */

/* listen(inbox, object, onReadable) prepares wait(); returns undefined or an error. */
napi_value listen_to(napi_env env, napi_callback_info info) {
    napi_value given[3];
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given)) return NULL;
    inbox *from = inbox_of(env, given[0]);
    if (!from) return NULL;
    yc_status status = from->events ? yc_events_fd(from->events, &from->fd, &error) : yc_subscription_fd(from->messages, &from->fd, &error);
    if (status < 0) return error_of(env, error);
    watch_begin(env, from->fd, given[1], given[2], &from->watch);
    return NULL;
}

/* wait(inbox, on) begins or stops to call onReadable(). Meanwhile the process and the object stay alive. */
napi_value wait_for(napi_env env, napi_callback_info info) {
    napi_value given[2];
    bool on = false;
    if (!arguments(env, info, 2, given)) return NULL;
    inbox *from = inbox_of(env, given[0]);
    if (!from || !check(env, napi_get_value_bool(env, given[1], &on))) return NULL;
    watch_listen(from->watch, on);
    watch_keep(from->watch, on);
    return NULL;
}

/* A message or an event. */
typedef struct taken {
    yc_message *message;
    yc_event *event;
} taken;

static yc_status next_of(inbox *from, taken *one, yc_error **error) {
    return from->events ? yc_events_next(from->events, 0, &one->event, error) : yc_subscription_next(from->messages, 0, &one->message, error);
}

/* Takes one. Sets *ended if an error is the end of the inbox: the descriptor is readable after the end, and not while the inbox is
   interrupted. */
static yc_status take_one(inbox *from, taken *one, bool *ended, yc_error **error) {
    yc_status status = next_of(from, one, error);
    if (status >= 0 || poll(&(struct pollfd){.fd = from->fd, .events = POLLIN}, 1, 0) != 1) return status;
    yc_error_free(*error);
    *error = NULL;
    /* One may have come since. */
    status = next_of(from, one, error);
    *ended = status < 0;
    return status;
}

bool put_found(napi_env env, napi_value found, uint32_t place, napi_value value) {
    return check(env, napi_set_element(env, found, place, value));
}

/* Puts bytes as a string or as a Buffer. */
bool put_bytes(napi_env env, napi_value found, uint32_t place, const void *data, size_t len, bool as_text) {
    napi_value value;
    napi_status made = as_text ? napi_create_string_utf8(env, data ? data : "", len, &value)
                               : napi_create_buffer_copy(env, len, data, NULL, &value);
    return check(env, made) && put_found(env, found, place, value);
}

/* Puts a number, -1 for one that is unknown. */
bool put_count(napi_env env, napi_value found, uint32_t place, uint64_t count) {
    napi_value value;
    return check(env, napi_create_double(env, count == YC_COUNT_UNKNOWN ? -1 : (double)count, &value)) && put_found(env, found, place, value);
}

bool put_flag(napi_env env, napi_value found, uint32_t place, bool flag) {
    napi_value value;
    return check(env, napi_get_boolean(env, flag, &value)) && put_found(env, found, place, value);
}

/* take(inbox, asText, found) returns a status. It writes the parts of a message or of an event to found; for an error the error, and
   true if the inbox has ended. */
napi_value take(napi_env env, napi_callback_info info) {
    napi_value given[3], result = NULL;
    bool as_text = false, ended = false;
    taken one = {NULL, NULL};
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given)) return NULL;
    inbox *from = inbox_of(env, given[0]);
    if (!from || !check(env, napi_get_value_bool(env, given[1], &as_text))) return NULL;
    yc_status status = take_one(from, &one, &ended, &error);
    bool told = status < 0    ? put_found(env, given[2], 0, error_of(env, error)) && put_flag(env, given[2], 1, ended)
                : one.event   ? put_event(env, given[2], one.event, as_text)
                : one.message ? put_message(env, given[2], one.message, as_text)
                              : true;
    yc_message_free(one.message);
    yc_event_free(one.event);
    if (told) check(env, napi_create_int32(env, status, &result));
    return result;
}

/* end(inbox) ends it, and releases its descriptor and its connection. */
napi_value end_inbox(napi_env env, napi_callback_info info) {
    napi_value given[1];
    if (!arguments(env, info, 1, given)) return NULL;
    inbox *from = inbox_of(env, given[0]);
    if (from) release_inbox(from);
    return NULL;
}
