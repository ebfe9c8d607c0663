/* Reads of one key on the caller's thread, for a cache whose backend is in this process. They cost one call from JavaScript: the key
   crosses as it is, and a short value lands in the slab, of which JavaScript makes its Buffer. Everything that is unusual is left to
   run(), which takes any request. */
#include "binding.h"

#include <string.h>

enum { SHORT_KEY = 1024 };

typedef struct reader {
    handle *cache;
    yc_value *value;
    napi_value result;
} reader;

/* Returns true if the bytes may contain U+FFFD, which V8 writes for half of a surrogate pair. */
static bool may_be_replaced(const char *text, size_t len) { return memchr(text, 0xEF, len) != NULL; }

/* Reads a key that is a short string; returns false for any other, which run() takes or refuses. */
static bool key_of(napi_env env, napi_value value, char *key, size_t *len) {
    if (napi_get_value_string_utf8(env, value, key, SHORT_KEY, len) != napi_ok) return false;
    /* V8 writes whole characters only: a text that was cut leaves up to three bytes free. */
    return *len < SHORT_KEY - 4 && !may_be_replaced(key, *len);
}

/* Looks a key up for read_bytes() and read_text(): false if `result` is final. */
static bool find(napi_env env, napi_callback_info info, napi_value *given, size_t count, reader *reader) {
    char key[SHORT_KEY];
    size_t len;
    void *data = NULL;
    yc_error *error = NULL;
    *reader = (struct reader){NULL, NULL, NULL};
    if (!check(env, napi_get_cb_info(env, info, &count, given, NULL, &data))) return false;
    if (!key_of(env, given[0], key, &len)) {
        check(env, napi_get_null(env, &reader->result));
        return false;
    }
    reader->cache = data;
    if (yc_get(reader->cache->cache, key, len, &reader->value, &error) < 0) reader->result = error_of(env, error);
    return reader->value != NULL;
}

/* readBytes(key, at) returns the length of the value, which is in the slab at `at`, or a Buffer, or undefined for a miss; null for a
   key that only run() takes, or an error. */
static napi_value read_bytes(napi_env env, napi_callback_info info) {
    napi_value given[2];
    reader reader;
    uint32_t at = 0;
    if (!find(env, info, given, 2, &reader)) return reader.result;
    size_t len = 0;
    const void *bytes = yc_value_data(reader.value, &len);
    span slab = reader.cache->slab;
    check(env, napi_get_value_uint32(env, given[1], &at));
    if (len <= SMALL_VALUE && at <= slab.len && len <= slab.len - at) {
        memcpy(slab.data + at, bytes, len);
        check(env, napi_create_uint32(env, (uint32_t)len, &reader.result));
    } else {
        check(env, napi_create_buffer_copy(env, len, bytes, NULL, &reader.result));
    }
    yc_value_free(reader.value);
    return reader.result;
}

/* readText(key) returns the value as a string, or undefined for a miss; null for a key that only run() takes, or an error. */
static napi_value read_text(napi_env env, napi_callback_info info) {
    napi_value given[1];
    reader reader;
    if (!find(env, info, given, 1, &reader)) return reader.result;
    size_t len = 0;
    const char *bytes = yc_value_data(reader.value, &len);
    check(env, napi_create_string_utf8(env, bytes, len, &reader.result));
    yc_value_free(reader.value);
    return reader.result;
}

static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    let_go(data);
}

/* Creates a function that reads from one cache, and keeps its handle alive. */
static bool put_reader(napi_env env, handle *cache, napi_value list, uint32_t at, napi_callback call) {
    napi_value function;
    if (!check(env, napi_create_function(env, NULL, 0, call, cache, &function)) ||
        !check(env, napi_add_finalizer(env, function, cache, on_collected, NULL, NULL))) {
        return false;
    }
    hold(cache);
    return check(env, napi_set_element(env, list, at, function));
}

/* readers(handle) returns [readBytes, readText] of a cache. */
napi_value readers(napi_env env, napi_callback_info info) {
    napi_value given[1], list = NULL;
    handle *cache = arguments(env, info, 1, given) ? handle_of(env, given[0]) : NULL;
    if (!cache || !check(env, napi_create_array_with_length(env, 2, &list))) return NULL;
    return put_reader(env, cache, list, 0, read_bytes) && put_reader(env, cache, list, 1, read_text) ? list : NULL;
}

/* useSlab(handle, slab) names the memory for short values. JavaScript keeps it until it names another, and calls readBytes() only
   while it is attached. */
napi_value use_slab(napi_env env, napi_callback_info info) {
    napi_value given[2];
    handle *cache = arguments(env, info, 2, given) ? handle_of(env, given[0]) : NULL;
    if (cache) cache->slab = bytes_of(env, given[1]);
    return NULL;
}
