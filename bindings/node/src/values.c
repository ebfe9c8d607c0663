/* JavaScript values: reads arguments, and converts errors. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* Returns false, with an exception in JavaScript, if a call of Node failed. */
bool check(napi_env env, napi_status status) {
    bool pending = false;
    if (status == napi_ok) return true;
    const napi_extended_error_info *info = NULL;
    napi_get_last_error_info(env, &info);
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_error(env, NULL, info && info->error_message ? info->error_message : "a call of Node-API failed");
    return false;
}

napi_value throw_text(napi_env env, const char *text) {
    napi_throw_error(env, NULL, text);
    return NULL;
}

/* Reads the arguments of a call; missing ones are undefined. */
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
    return check(env, napi_get_cb_info(env, info, &count, values, NULL, NULL));
}

handle *handle_of(napi_env env, napi_value value) {
    void *cache = NULL;
    return check(env, napi_get_value_external(env, value, &cache)) ? cache : NULL;
}

/* Returns the bytes of a Uint8Array; NULL and 0 for another value, or a detached array. */
span bytes_of(napi_env env, napi_value value) {
    void *data = NULL;
    size_t len = 0;
    napi_typedarray_type type = napi_float64_array;
    if (napi_get_typedarray_info(env, value, &type, &len, &data, NULL, NULL) != napi_ok || type != napi_uint8_array) {
        return (span){NULL, 0};
    }
    return (span){data, data ? len : 0};
}

/* Returns a string with its NUL, which the caller frees; NULL for another value. */
char *text_of(napi_env env, napi_value value) {
    size_t len;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &len) != napi_ok) return NULL;
    char *text = malloc(len + 1);
    if (text) napi_get_value_string_utf8(env, value, text, len + 1, &len);
    return text;
}

/* Returns an error as [status, message, retryable], and frees it. */
napi_value error_of(napi_env env, yc_error *error) {
    napi_value parts[3], list = NULL;
    const char *message = yc_error_message(error);
    bool made = check(env, napi_create_array_with_length(env, 3, &list)) &&
                check(env, napi_create_int32(env, yc_error_status(error), &parts[0])) &&
                check(env, napi_create_string_utf8(env, message, strlen(message), &parts[1])) &&
                check(env, napi_get_boolean(env, yc_error_retryable(error) == 1, &parts[2]));
    for (uint32_t at = 0; made && at < 3; at++) made = check(env, napi_set_element(env, list, at, parts[at]));
    yc_error_free(error);
    return made ? list : NULL;
}
