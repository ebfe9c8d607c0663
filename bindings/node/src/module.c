/* The functions that lib/ calls. There is no state except the log's, because a process loads this file once for all of its workers. */
#include "binding.h"

#include <string.h>

/* capabilities(handle) returns the sum of YC_CAN_ numbers. */
static napi_value capabilities(napi_env env, napi_callback_info info) {
    napi_value given[1], result = NULL;
    uint64_t flags = 0;
    handle *cache = arguments(env, info, 1, given) ? handle_of(env, given[0]) : NULL;
    if (!cache) return NULL;
    yc_capabilities(cache->cache, &flags, NULL);
    check(env, napi_create_double(env, (double)flags, &result));
    return result;
}

/* redisName(handle, key) returns the name of a key for commands as a Buffer, or an error. */
static napi_value redis_name(napi_env env, napi_callback_info info) {
    napi_value given[2], result = NULL;
    yc_value *name = NULL;
    yc_error *error = NULL;
    size_t len;
    if (!arguments(env, info, 2, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache) return NULL;
    span key = bytes_of(env, given[1]);
    if (yc_redis_name(cache->cache, key.data, key.len, &name, &error) < 0) return error_of(env, error);
    const void *data = yc_value_data(name, &len);
    check(env, napi_create_buffer_copy(env, len, data, NULL, &result));
    yc_value_free(name);
    return result;
}

/* refusal(handle) returns the error of the last submit() that did not accept all requests. */
static napi_value refusal(napi_env env, napi_callback_info info) {
    napi_value given[1];
    handle *cache = arguments(env, info, 1, given) ? handle_of(env, given[0]) : NULL;
    if (!cache) return NULL;
    yc_error *error = cache->refusal;
    cache->refusal = NULL;
    return error_of(env, error);
}

/* statusName(status) returns the name of a status. */
static napi_value status_name(napi_env env, napi_callback_info info) {
    napi_value given[1], result = NULL;
    int32_t status = 0;
    if (!arguments(env, info, 1, given) || !check(env, napi_get_value_int32(env, given[0], &status))) return NULL;
    check(env, napi_create_string_utf8(env, yc_status_name(status), NAPI_AUTO_LENGTH, &result));
    return result;
}

static const struct {
    const char *name;
    napi_callback call;
} FUNCTIONS[] = {
    {"open", open_cache}, {"start", start},         {"close", close_cache},    {"release", release},
    {"submit", submit},   {"submitOne", submit_one}, {"run", run},             {"drain", drain},
    {"cancel", cancel},   {"keysOpen", keys_open},  {"keysNext", keys_next},   {"capabilities", capabilities},
    {"migrate", migrate}, {"switchTo", switch_to},  {"view", view},
    {"subscribe", subscribe}, {"events", events},   {"listen", listen_to},     {"take", take},            {"wait", wait_for},
    {"end", end_inbox},
    {"supply", supply},   {"giveCredentials", give_credentials}, {"failCredentials", fail_credentials},
    {"metricsOf", metrics_of},
    {"setLog", set_log},  {"takeLine", take_line},   {"endLog", end_of_log},
    {"freeLease", free_lease}, {"readers", readers}, {"useSlab", use_slab},
    {"redisName", redis_name}, {"refusal", refusal}, {"statusName", status_name}, {"check", check_config},
};

static bool add_functions(napi_env env, napi_value exports) {
    for (size_t at = 0; at < sizeof FUNCTIONS / sizeof *FUNCTIONS; at++) {
        napi_value function;
        const char *name = FUNCTIONS[at].name;
        bool added = check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, FUNCTIONS[at].call, NULL, &function)) &&
                     check(env, napi_set_named_property(env, exports, name, function));
        if (!added) return false;
    }
    return true;
}

NAPI_MODULE_INIT() {
    yc_error *error = NULL;
    napi_value version;
    if (yc_check_abi(YC_VERSION_NUMBER, &error) < 0) {
        napi_throw_error(env, "YC_E_ABI_MISMATCH", yc_error_message(error));
        yc_error_free(error);
        return NULL;
    }
    bool made = add_functions(env, exports) &&
                check(env, napi_create_string_utf8(env, yc_version(), NAPI_AUTO_LENGTH, &version)) &&
                check(env, napi_set_named_property(env, exports, "version", version));
    return made ? exports : NULL;
}
