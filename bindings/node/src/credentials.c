/* Credentials that a JavaScript function supplies. Threads of the library and of this file send to the loop; none of them waits
   for an answer to a request. */
#include "binding.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The function of a cache. Its owners are the library, the thread that sets it, and the environment. */
typedef struct supplier {
    atomic_int owners;
    pthread_mutex_t lock;
    napi_threadsafe_function tell; /* NULL once the environment has ended: Node frees it then. */
} supplier;

/* Sets the function of a cache on a thread of its own: yc_set_credentials() waits for the answer of the loop's thread. */
typedef struct setting {
    handle *cache;              /* Held until the outcome was sent. */
    supplier *supplier;
    yc_error *error;
} setting;

/* What is sent: a request, or the outcome of a setting. */
typedef struct sent {
    yc_credentials_request *request;
    setting *outcome;
} sent;

static void fail(yc_credentials_request *request, const char *reason) { yc_credentials_fail(request, reason, strlen(reason), NULL); }

/* Sends to the loop; returns false if it has ended. */
static bool send_to(supplier *to, sent what) {
    sent *copy = malloc(sizeof *copy);
    if (!copy) return false;
    *copy = what;
    pthread_mutex_lock(&to->lock);
    bool was_sent = to->tell && napi_call_threadsafe_function(to->tell, copy, napi_tsfn_nonblocking) == napi_ok;
    pthread_mutex_unlock(&to->lock);
    if (!was_sent) free(copy);
    return was_sent;
}

static void disown(supplier *from) {
    if (atomic_fetch_sub(&from->owners, 1) > 1) return;
    pthread_mutex_destroy(&from->lock);
    free(from);
}

/* The library or the thread does not send any more. */
static void end_sending(supplier *from) {
    pthread_mutex_lock(&from->lock);
    if (from->tell) napi_release_threadsafe_function(from->tell, napi_tsfn_release);
    pthread_mutex_unlock(&from->lock);
    disown(from);
}

/* Nothing can be sent any more: both have ended, or the environment ends. */
static void on_finalised(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    supplier *ended = data;
    pthread_mutex_lock(&ended->lock);
    ended->tell = NULL;
    pthread_mutex_unlock(&ended->lock);
    disown(ended);
}

/* ---- On any thread ---- */

static void on_request(void *data, yc_credentials_request *request) {
    if (!send_to(data, (sent){.request = request})) fail(request, "the environment of the function has ended");
}

static void on_end(void *data) { end_sending(data); }

static void *set_on_thread(void *data) {
    setting *set = data;
    supplier *supplier = set->supplier;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    yc_set_credentials(set->cache->cache, on_request, supplier, on_end, &set->error);
    /* Without a loop no thread may release the cache: its connections end here. */
    if (!send_to(supplier, (sent){.outcome = set})) yc_close(set->cache->cache, 0, NULL);
    end_sending(supplier);
    return NULL;
}

/* ---- On the loop's thread ---- */

/* A request that JavaScript has not answered when it is collected fails. */
static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    yc_credentials_request **place = data;
    if (*place) fail(*place, "the function gave no answer");
    free(place);
}

static napi_value object_of(napi_env env, yc_credentials_request *request) {
    napi_value object = NULL;
    yc_credentials_request **place = malloc(sizeof *place);
    if (place) *place = request;
    if (place && napi_create_external(env, place, on_collected, NULL, &object) == napi_ok) return object;
    free(place);
    fail(request, "out of memory");
    return NULL;
}

static void call(napi_env env, napi_value function, bool done, napi_value what) {
    napi_value global, given[2], thrown;
    if (napi_get_global(env, &global) != napi_ok || napi_get_boolean(env, done, &given[0]) != napi_ok) return;
    given[1] = what;
    if (!what) napi_get_undefined(env, &given[1]);
    if (napi_call_function(env, global, function, 2, given, NULL) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
        napi_fatal_exception(env, thrown);
    }
}

static void end_setting(napi_env env, napi_value function, setting *set) {
    yc_error *error = set->error;
    let_go(set->cache);
    if (env) {
        /* An idle cache does not keep the process alive. */
        napi_unref_threadsafe_function(env, set->supplier->tell);
        call(env, function, true, error ? error_of(env, error) : NULL);
    } else {
        yc_error_free(error);
    }
    free(set);
}

/* Without an environment the loop is ending. */
static void on_sent(napi_env env, napi_value function, void *context, void *data) {
    (void)context;
    sent what = *(sent *)data;
    free(data);
    if (what.outcome) {
        end_setting(env, function, what.outcome);
    } else if (!env) {
        fail(what.request, "the environment of the function has ended");
    } else {
        napi_value object = object_of(env, what.request);
        if (object) call(env, function, false, object);
    }
}

static supplier *new_supplier(napi_env env, napi_value function) {
    napi_value name;
    supplier *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    atomic_init(&made->owners, 3);
    pthread_mutex_init(&made->lock, NULL);
    /* One thread is the library, one sets the function. */
    if (check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
        check(env, napi_create_threadsafe_function(env, function, NULL, name, 0, 2, made, on_finalised, NULL, on_sent, &made->tell))) {
        return made;
    }
    pthread_mutex_destroy(&made->lock);
    free(made);
    return NULL;
}

/* supply(handle, tell) calls tell(true, undefined or error) once a server has accepted the credentials, or none has, and
   tell(false, request) for each request. */
napi_value supply(napi_env env, napi_callback_info info) {
    napi_value given[2];
    pthread_t thread;
    handle *cache = arguments(env, info, 2, given) ? handle_of(env, given[0]) : NULL;
    if (!cache) return NULL;
    setting *set = calloc(1, sizeof *set);
    supplier *supplier = set ? new_supplier(env, given[1]) : NULL;
    if (!supplier) {
        free(set);
        return throw_text(env, "the credentials cannot be set: out of memory");
    }
    *set = (setting){.cache = cache, .supplier = supplier};
    hold(cache);
    if (pthread_create(&thread, NULL, set_on_thread, set) == 0) {
        pthread_detach(thread);
        return NULL;
    }
    end_sending(supplier);
    end_sending(supplier);
    let_go(cache);
    free(set);
    return throw_text(env, "the credentials cannot be set: the system has no thread left");
}

/* Takes the request of an object; NULL if it was answered. */
static yc_credentials_request *take_request(napi_env env, napi_value value) {
    void *place = NULL;
    if (!check(env, napi_get_value_external(env, value, &place)) || !place) return NULL;
    yc_credentials_request *request = *(yc_credentials_request **)place;
    *(yc_credentials_request **)place = NULL;
    return request;
}

/* giveCredentials(request, username, password, validMs) answers a request. */
napi_value give_credentials(napi_env env, napi_callback_info info) {
    napi_value given[4];
    int64_t valid_ms = 0;
    yc_credentials_request *request = arguments(env, info, 4, given) ? take_request(env, given[0]) : NULL;
    if (!request) return NULL;
    span user = bytes_of(env, given[1]), password = bytes_of(env, given[2]);
    napi_get_value_int64(env, given[3], &valid_ms);
    /* Wrong credentials fail the request. */
    yc_credentials_give(request, (const char *)user.data, user.len, (const char *)password.data, password.len, valid_ms, NULL);
    return NULL;
}

/* failCredentials(request, reason) fails a request. */
napi_value fail_credentials(napi_env env, napi_callback_info info) {
    napi_value given[2];
    yc_credentials_request *request = arguments(env, info, 2, given) ? take_request(env, given[0]) : NULL;
    if (!request) return NULL;
    span reason = bytes_of(env, given[1]);
    yc_credentials_fail(request, (const char *)reason.data, reason.len, NULL);
    return NULL;
}
