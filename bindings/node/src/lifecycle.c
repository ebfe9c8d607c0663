/* Opening a cache, taking from its queue in Node's loop, and closing it; calls on the thread pool. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* ---- Owners ---- */

void hold(handle *cache) { cache->owners += 1; }

/* Releases the queue and its descriptor. */
static void free_queue(handle *cache) {
    for (; cache->done_at < cache->done_count; cache->done_at++) yc_completion_clear(&cache->done[cache->done_at]);
    yc_queue_free(cache->queue);
    cache->queue = NULL;
}

void let_go(handle *cache) {
    if (--cache->owners) return;
    free_queue(cache);
    free_leases(cache);
    yc_cache_free(cache->cache);
    yc_error_free(cache->refusal);
    free(cache->tickets);
    free(cache->slices);
    free(cache->room.data);
    free(cache);
}

/* ---- Watching ---- */

/* Operations in flight keep the process and the object of their cache alive; an idle cache keeps neither. */
void flights_began(handle *cache, size_t count) {
    if (count && !cache->in_flight) watch_keep(cache->watch, true);
    cache->in_flight += count;
}

void flights_ended(handle *cache, size_t count) {
    cache->in_flight -= count;
    if (count && !cache->in_flight) watch_keep(cache->watch, false);
}

static bool take_memory(handle *cache, napi_value memory) {
    span bytes = bytes_of(cache->env, memory);
    size_t replies = BATCH * sizeof(request), arena = replies + BATCH * sizeof(reply);
    if (bytes.len <= arena) return false;
    cache->requests = (const request *)bytes.data;
    cache->replies = (reply *)(bytes.data + replies);
    cache->arena = bytes.data + arena;
    cache->arena_len = bytes.len - arena;
    return true;
}

/* start(handle, exchange, onReadable, memory) returns undefined or an error. */
napi_value start(napi_env env, napi_callback_info info) {
    napi_value given[4];
    yc_error *error = NULL;
    int fd = -1;
    if (!arguments(env, info, 4, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache) return NULL;
    if (cache->queue || !take_memory(cache, given[3])) return throw_text(env, "start() has wrong arguments");
    if (yc_queue_open(cache->cache, QUEUE_CAPACITY, NULL, NULL, NULL, &cache->queue, &error) < 0 ||
        yc_queue_fd(cache->queue, &fd, &error) < 0) {
        return error_of(env, error);
    }
    if (watch_begin(env, fd, given[1], given[2], &cache->watch)) watch_listen(cache->watch, true);
    return NULL;
}

/* ---- Calls on the thread pool ---- */

enum { OPEN_TEXT, OPEN_FILE, OPEN_ENVIRONMENT };

void free_work(napi_env env, work *call) {
    if (call->work) napi_delete_async_work(env, call->work);
    yc_error_free(call->error);
    yc_cache_free(call->opened);
    yc_value_free(call->summary);
    release_many(call);
    yc_subscription_free(call->subscription);
    yc_events_free(call->events);
    free(call->text);
    free(call->environment);
    free(call->bytes);
    free(call->slices);
    free(call);
}

/* Returns a promise that `finish` resolves. `call` is freed in any case. */
napi_value begin_work(napi_env env, work *call, napi_async_execute_callback execute, napi_async_complete_callback finish) {
    napi_value promise, name;
    bool begun = check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
                 check(env, napi_create_async_work(env, NULL, name, execute, finish, call, &call->work)) &&
                 check(env, napi_create_promise(env, &call->deferred, &promise));
    if (begun && check(env, napi_queue_async_work(env, call->work))) return promise;
    if (call->cache) let_go(call->cache);
    free_work(env, call);
    return NULL;
}

void resolve(napi_env env, work *call, napi_value value) {
    if (!value) napi_get_undefined(env, &value);
    napi_resolve_deferred(env, call->deferred, value);
}

/* ---- Opening ---- */

static void open_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    if (call->how == OPEN_TEXT) yc_open(call->text, &call->opened, &call->error);
    else if (call->how == OPEN_FILE) yc_open_file(call->text, call->environment, &call->opened, &call->error);
    else yc_open_env(&call->opened, &call->error);
}

/* The JavaScript object was collected: releases its cache without waiting. */
static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    handle *cache = data;
    watch_end(cache->watch);
    let_go(cache);
}

static napi_value new_handle(napi_env env, work *call) {
    napi_value external;
    handle *cache = calloc(1, sizeof *cache);
    if (!cache) return NULL;
    *cache = (handle){.owners = 1, .env = env, .cache = call->opened};
    call->opened = NULL;
    if (napi_create_external(env, cache, on_collected, NULL, &external) == napi_ok) return external;
    let_go(cache);
    return NULL;
}

static void finish_open(napi_env env, napi_status status, void *data) {
    work *call = data;
    if (status == napi_ok && call->opened) {
        resolve(env, call, new_handle(env, call));
    } else {
        resolve(env, call, error_of(env, call->error));
        call->error = NULL;
    }
    free_work(env, call);
}

/* view(handle, options) returns a handle or an error. */
napi_value view(napi_env env, napi_callback_info info) {
    napi_value given[2];
    yc_error *error = NULL;
    handle *cache = arguments(env, info, 2, given) ? handle_of(env, given[0]) : NULL;
    if (!cache) return NULL;
    work call = {0};
    char *options = text_of(env, given[1]);
    yc_status status = yc_view(cache->cache, options, &call.opened, &error);
    free(options);
    if (status < 0) return error_of(env, error);
    napi_value opened = new_handle(env, &call);
    yc_cache_free(call.opened);
    return opened ? opened : throw_text(env, "out of memory");
}

/* Reads the arguments of open() and check(): how, text and environment. */
static work *new_work(napi_env env, napi_callback_info info) {
    napi_value given[3];
    if (!arguments(env, info, 3, given)) return NULL;
    work *call = calloc(1, sizeof *call);
    if (!call) {
        throw_text(env, "out of memory");
        return NULL;
    }
    napi_get_value_int32(env, given[0], &call->how);
    call->text = text_of(env, given[1]);
    call->environment = text_of(env, given[2]);
    return call;
}

/* open(how, text, environment) returns a promise of a handle or an error. */
napi_value open_cache(napi_env env, napi_callback_info info) {
    work *call = new_work(env, info);
    return call ? begin_work(env, call, open_on_pool, finish_open) : NULL;
}

/* ---- Checking a configuration: on the pool, because reading a file may take long ---- */

static void check_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    if (call->how == OPEN_TEXT) yc_config_check(call->text, &call->summary, &call->error);
    else yc_config_check_file(call->text, call->environment, &call->summary, &call->error);
}

/* Resolves with the text, or the error. */
void finish_text(napi_env env, napi_status status, void *data) {
    work *call = data;
    size_t len;
    napi_value text = NULL;
    if (status == napi_ok && call->summary) {
        const char *bytes = yc_value_data(call->summary, &len);
        check(env, napi_create_string_utf8(env, bytes, len, &text));
        resolve(env, call, text);
    } else {
        resolve(env, call, error_of(env, call->error));
        call->error = NULL;
    }
    free_work(env, call);
}

/* check(how, text, environment) returns a promise of a JSON text or an error. */
napi_value check_config(napi_env env, napi_callback_info info) {
    work *call = new_work(env, info);
    return call ? begin_work(env, call, check_on_pool, finish_text) : NULL;
}

/* ---- Closing ---- */

static void close_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    yc_close(call->cache->cache, call->timeout_ms, &call->error);
}

static void finish_close(napi_env env, napi_status status, void *data) {
    (void)status;
    work *call = data;
    resolve(env, call, call->error ? error_of(env, call->error) : NULL);
    call->error = NULL;
    let_go(call->cache);
    free_work(env, call);
}

/* close(handle, timeoutMs) returns a promise of undefined or an error. Replies still arrive meanwhile. The leases are given back
   first, because a closed cache cannot tell the server: yc_close() waits for them. One that a fill in flight uses is given back if
   the fill fails. */
napi_value close_cache(napi_env env, napi_callback_info info) {
    napi_value given[2];
    if (!arguments(env, info, 2, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache) return NULL;
    work *call = calloc(1, sizeof *call);
    if (!call) return throw_text(env, "out of memory");
    atomic_store(&cache->closing, true);
    free_leases(cache);
    hold(cache);
    *call = (work){.cache = cache, .timeout_ms = -1};
    napi_get_value_int64(env, given[1], &call->timeout_ms);
    return begin_work(env, call, close_on_pool, finish_close);
}

/* release(handle) frees the queue with its descriptor and the leases after the last reply was taken, because it may take long
   until the object is collected. */
napi_value release(napi_env env, napi_callback_info info) {
    napi_value given[1];
    handle *cache = arguments(env, info, 1, given) ? handle_of(env, given[0]) : NULL;
    if (!cache) return NULL;
    watch_end(cache->watch);
    free_queue(cache);
    free_leases(cache);
    return NULL;
}
