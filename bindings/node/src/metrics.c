/* The metrics of many caches as one text. */
#include "binding.h"

#include <stdlib.h>

void release_many(work *call) {
    for (size_t at = 0; at < call->n_many; at++) {
        let_go(call->many[at]);
        free(call->names[at]);
    }
    free(call->many);
    free(call->names);
}

static void ask_on_pool(napi_env env, void *data) {
    (void)env;
    work *call = data;
    yc_cache **caches = calloc(call->n_many + 1, sizeof *caches);
    for (size_t at = 0; caches && at < call->n_many; at++) caches[at] = call->many[at]->cache;
    /* Without memory, the caches are NULL: an error. */
    yc_metrics_many(caches, (const char *const *)call->names, call->n_many, &call->summary, &call->error);
    free(caches);
}

/* Adds a cache and its name, two elements of a list. */
static bool add_cache(napi_env env, work *call, napi_value list, uint32_t at) {
    napi_value cache, name;
    if (!check(env, napi_get_element(env, list, at, &cache)) || !check(env, napi_get_element(env, list, at + 1, &name))) return false;
    handle *found = handle_of(env, cache);
    char *text = found ? text_of(env, name) : NULL;
    if (!text) return false;
    hold(found);
    call->many[call->n_many] = found;
    call->names[call->n_many++] = text;
    return true;
}

static bool add_caches(napi_env env, work *call, napi_value list) {
    uint32_t length = 0;
    if (!check(env, napi_get_array_length(env, list, &length))) return false;
    call->many = calloc(length + 1, sizeof *call->many);
    call->names = calloc(length + 1, sizeof *call->names);
    bool added = call->many && call->names;
    for (uint32_t at = 0; added && at + 1 < length; at += 2) added = add_cache(env, call, list, at);
    return added;
}

/* metricsOf([handle, name, ...]) returns a promise of the text or an error. */
napi_value metrics_of(napi_env env, napi_callback_info info) {
    napi_value given[1];
    if (!arguments(env, info, 1, given)) return NULL;
    work *call = calloc(1, sizeof *call);
    if (call && add_caches(env, call, given[0])) return begin_work(env, call, ask_on_pool, finish_text);
    if (call) free_work(env, call);
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    return pending ? NULL : throw_text(env, "out of memory, or the list is malformed");
}
