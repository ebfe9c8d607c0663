/* Descriptors that Node's loop watches. When one is readable, a function of a JavaScript object takes what there is. */
#include "binding.h"

#include <stdlib.h>

struct watch {
    napi_env env;
    watch **place;              /* The pointer of the owner, which is NULL after the end. */
    uv_poll_t poll;
    napi_ref object;            /* Weak unless watch_keep() says otherwise, so that it can be collected. */
    napi_ref on_readable;
    napi_async_context context;
    napi_async_cleanup_hook_handle teardown;
};

/* Calls the function of the object. An exception of it is reported as an uncaught one. */
static void call(watch *watch) {
    napi_env env = watch->env;
    napi_value object = NULL, on_readable = NULL, thrown;
    napi_get_reference_value(env, watch->object, &object);
    napi_get_reference_value(env, watch->on_readable, &on_readable);
    if (!object || !on_readable) return;
    napi_status status = napi_make_callback(env, watch->context, object, on_readable, 0, NULL, NULL);
    if (status == napi_pending_exception && napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
        napi_fatal_exception(env, thrown);
    }
}

static void on_event(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    watch *watch = poll->data;
    napi_env env = watch->env;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    call(watch);
    napi_close_handle_scope(env, scope);
}

static void on_closed(uv_handle_t *poll) {
    watch *watch = poll->data;
    napi_env env = watch->env;
    napi_handle_scope scope;
    bool opened = napi_open_handle_scope(env, &scope) == napi_ok;
    if (watch->object) napi_delete_reference(env, watch->object);
    if (watch->on_readable) napi_delete_reference(env, watch->on_readable);
    if (watch->context) napi_async_destroy(env, watch->context);
    if (opened) napi_close_handle_scope(env, scope);
    if (watch->teardown) napi_remove_async_cleanup_hook(watch->teardown);
    free(watch);
}

/* The environment (a worker or the process) ends. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data) {
    (void)hook;
    watch_end(data);
}

static watch *new_watch(napi_env env, int fd, watch **place) {
    uv_loop_t *loop = NULL;
    if (!check(env, napi_get_uv_event_loop(env, &loop))) return NULL;
    watch *made = calloc(1, sizeof *made);
    if (!made || uv_poll_init(loop, &made->poll, fd) != 0) {
        free(made);
        throw_text(env, "libuv cannot watch a descriptor of the library");
        return NULL;
    }
    made->env = env;
    made->place = place;
    made->poll.data = made;
    uv_unref((uv_handle_t *)&made->poll);
    return made;
}

static bool add_references(watch *watch, napi_value object, napi_value on_readable) {
    napi_env env = watch->env;
    napi_value name;
    return check(env, napi_create_reference(env, object, 0, &watch->object)) &&
           check(env, napi_create_reference(env, on_readable, 1, &watch->on_readable)) &&
           check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
           check(env, napi_async_init(env, object, name, &watch->context)) &&
           check(env, napi_add_async_cleanup_hook(env, on_teardown, watch, &watch->teardown));
}

/* Prepares to watch a descriptor, for the owner of *place. Returns false with an exception in JavaScript. */
bool watch_begin(napi_env env, int fd, napi_value object, napi_value on_readable, watch **place) {
    *place = new_watch(env, fd, place);
    if (!*place) return false;
    if (add_references(*place, object, on_readable)) return true;
    watch_end(*place);
    return false;
}

/* Begins or stops to call the function. The descriptor is readable until it has taken everything. */
void watch_listen(watch *watch, bool on) {
    if (!watch) return;
    if (on) uv_poll_start(&watch->poll, UV_READABLE, on_event);
    else uv_poll_stop(&watch->poll);
}

/* Keeps the process and the object alive, or no longer. */
void watch_keep(watch *watch, bool on) {
    if (!watch) return;
    if (on) {
        uv_ref((uv_handle_t *)&watch->poll);
        napi_reference_ref(watch->env, watch->object, NULL);
    } else {
        uv_unref((uv_handle_t *)&watch->poll);
        napi_reference_unref(watch->env, watch->object, NULL);
    }
}

/* Ends a watch: the descriptor may be closed at once. */
void watch_end(watch *watch) {
    if (!watch || uv_is_closing((uv_handle_t *)&watch->poll)) return;
    *watch->place = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}
