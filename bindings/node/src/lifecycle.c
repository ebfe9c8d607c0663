/* Opening a cache, watching its queue in Node's loop, closing it, and the end of an environment. */
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
    free(cache);
}

/* ---- Watching ---- */

/* Lets JavaScript take the completions. An exception of it is reported as an uncaught one. */
static void call_exchange(handle *cache) {
    napi_env env = cache->env;
    napi_value exchange = NULL, on_readable = NULL, thrown;
    napi_get_reference_value(env, cache->exchange, &exchange);
    napi_get_reference_value(env, cache->on_readable, &on_readable);
    if (!exchange || !on_readable) return;
    napi_status status = napi_make_callback(env, cache->context, exchange, on_readable, 0, NULL, NULL);
    if (status == napi_pending_exception && napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
        napi_fatal_exception(env, thrown);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    handle *cache = poll->data;
    napi_handle_scope scope;
    if (napi_open_handle_scope(cache->env, &scope) != napi_ok) return;
    hold(cache);
    call_exchange(cache);
    napi_close_handle_scope(cache->env, scope);
    let_go(cache);
}

static void on_unwatched(uv_handle_t *poll) {
    handle *cache = poll->data;
    napi_handle_scope scope;
    bool opened = napi_open_handle_scope(cache->env, &scope) == napi_ok;
    if (cache->exchange) napi_delete_reference(cache->env, cache->exchange);
    if (cache->on_readable) napi_delete_reference(cache->env, cache->on_readable);
    if (cache->context) napi_async_destroy(cache->env, cache->context);
    if (opened) napi_close_handle_scope(cache->env, scope);
    if (cache->teardown) napi_remove_async_cleanup_hook(cache->teardown);
    let_go(cache);
}

static void unwatch(handle *cache) {
    if (!cache->watched || cache->unwatching) return;
    cache->unwatching = true;
    uv_close((uv_handle_t *)&cache->poll, on_unwatched);
}

/* The environment (a worker or the process) ends. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data) {
    (void)hook;
    unwatch(data);
}

/* Operations in flight keep the process and the object of their cache alive; an idle cache keeps neither. */
void flights_began(handle *cache, size_t count) {
    if (count && !cache->in_flight) {
        uv_ref((uv_handle_t *)&cache->poll);
        napi_reference_ref(cache->env, cache->exchange, NULL);
    }
    cache->in_flight += count;
}

void flights_ended(handle *cache, size_t count) {
    cache->in_flight -= count;
    if (count && !cache->in_flight) {
        uv_unref((uv_handle_t *)&cache->poll);
        napi_reference_unref(cache->env, cache->exchange, NULL);
    }
}

static bool begin_poll(handle *cache, int fd) {
    uv_loop_t *loop = NULL;
    if (!check(cache->env, napi_get_uv_event_loop(cache->env, &loop))) return false;
    if (uv_poll_init(loop, &cache->poll, fd) != 0) return false;
    cache->poll.data = cache;
    cache->watched = true;
    hold(cache);
    uv_unref((uv_handle_t *)&cache->poll);
    uv_poll_start(&cache->poll, UV_READABLE, on_readable);
    return true;
}

static bool begin_calls(handle *cache, napi_value exchange, napi_value on_readable) {
    napi_env env = cache->env;
    napi_value name;
    return check(env, napi_create_reference(env, exchange, 0, &cache->exchange)) &&
           check(env, napi_create_reference(env, on_readable, 1, &cache->on_readable)) &&
           check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
           check(env, napi_async_init(env, exchange, name, &cache->context)) &&
           check(env, napi_add_async_cleanup_hook(env, on_teardown, cache, &cache->teardown));
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
    if (!begin_poll(cache, fd)) return throw_text(env, "libuv cannot watch the descriptor of the queue");
    if (!begin_calls(cache, given[1], given[2])) unwatch(cache);
    return NULL;
}

/* ---- Calls on the thread pool ---- */

enum { OPEN_TEXT, OPEN_FILE, OPEN_ENVIRONMENT };

typedef struct work {
    napi_async_work work;
    napi_deferred deferred;
    handle *cache; /* To close; held meanwhile. */
    int32_t how;
    char *text, *environment;
    int64_t timeout_ms;
    yc_cache *opened;
    yc_value *summary;
    yc_error *error;
} work;

static void free_work(napi_env env, work *call) {
    if (call->work) napi_delete_async_work(env, call->work);
    yc_error_free(call->error);
    yc_cache_free(call->opened);
    yc_value_free(call->summary);
    free(call->text);
    free(call->environment);
    free(call);
}

/* Returns a promise that `finish` resolves. `call` is freed in any case. */
static napi_value begin_work(napi_env env, work *call, napi_async_execute_callback execute, napi_async_complete_callback finish) {
    napi_value promise, name;
    bool begun = check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
                 check(env, napi_create_async_work(env, NULL, name, execute, finish, call, &call->work)) &&
                 check(env, napi_create_promise(env, &call->deferred, &promise));
    if (begun && check(env, napi_queue_async_work(env, call->work))) return promise;
    if (call->cache) let_go(call->cache);
    free_work(env, call);
    return NULL;
}

static void resolve(napi_env env, work *call, napi_value value) {
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
    unwatch(cache);
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

static void finish_check(napi_env env, napi_status status, void *data) {
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
    return call ? begin_work(env, call, check_on_pool, finish_check) : NULL;
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
    unwatch(cache);
    free_queue(cache);
    free_leases(cache);
    return NULL;
}
