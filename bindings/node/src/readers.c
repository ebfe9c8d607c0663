/* Reads of one key on the caller's thread, which the memory of this process answers. They cost one call from JavaScript: the key
   crosses as it is, and a short value lands in the slab, of which JavaScript makes its Buffer. readBytes() and readText() are for a
   cache whose backend is in this process, and leave everything that is unusual to run(), which takes any request. nearBytes() and
   nearText() never wait, and are for every cache. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT_KEY = 1024,
    FIRST_ROOM = 65536 /* For copies of a near cache. Most are shorter, and are read in one call. */
};

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

/* Returns bytes as the length of what is in the slab now at the place `given`, or as a Buffer. */
static napi_value bytes_as_result(napi_env env, const handle *cache, napi_value given, const void *bytes, size_t len) {
    napi_value result = NULL;
    uint32_t at = 0;
    span slab = cache->slab;
    check(env, napi_get_value_uint32(env, given, &at));
    if (len <= SMALL_VALUE && at <= slab.len && len <= slab.len - at) {
        if (len) memcpy(slab.data + at, bytes, len);
        check(env, napi_create_uint32(env, (uint32_t)len, &result));
    } else {
        check(env, napi_create_buffer_copy(env, len, bytes, NULL, &result));
    }
    return result;
}

/* readBytes(key, at) returns the length of the value, which is in the slab at `at`, or a Buffer, or undefined for a miss; null for a
   key that only run() takes, or an error. */
static napi_value read_bytes(napi_env env, napi_callback_info info) {
    napi_value given[2];
    reader reader;
    if (!find(env, info, given, 2, &reader)) return reader.result;
    size_t len = 0;
    const void *bytes = yc_value_data(reader.value, &len);
    reader.result = bytes_as_result(env, reader.cache, given[1], bytes, len);
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

/* ---- Copies of a near cache ---- */

static bool grow_room(handle *cache, size_t len) {
    size_t room = cache->room.len ? cache->room.len : FIRST_ROOM;
    while (room < len) room *= 2;
    uint8_t *grown = realloc(cache->room.data, room);
    if (grown) cache->room = (span){grown, room};
    return grown;
}

/* Reads a value into the room. The room never shrinks, because a read that has to be repeated counts as two hits. */
static yc_status read_near(handle *cache, span key, size_t *len, yc_error **error) {
    size_t needed = FIRST_ROOM;
    for (;;) {
        if (needed > cache->room.len && !grow_room(cache, needed)) return YC_E_BUFFER_TOO_SMALL;
        yc_status status = yc_get_near(cache->cache, key.data, key.len, cache->room.data, cache->room.len, len, error);
        if (status != YC_E_BUFFER_TOO_SMALL) return status;
        yc_error_free(*error);
        *error = NULL;
        needed = *len;
    }
}

/* Reads the value of a key into the room for near_bytes() and near_text(): NULL if `result` is final. */
static handle *find_near(napi_env env, napi_callback_info info, napi_value *given, size_t count, size_t *len, napi_value *result) {
    char text[SHORT_KEY];
    void *data = NULL;
    yc_error *error = NULL;
    *result = NULL;
    if (!check(env, napi_get_cb_info(env, info, &count, given, NULL, &data))) return NULL;
    span key = {(uint8_t *)text, 0};
    napi_typedarray_type type = napi_float64_array;
    void *bytes = NULL;
    if (!key_of(env, given[0], text, &key.len)) {
        if (napi_get_typedarray_info(env, given[0], &type, &key.len, &bytes, NULL, NULL) != napi_ok || type != napi_uint8_array) {
            check(env, napi_get_null(env, result));
            return NULL;
        }
        key.data = bytes;
    }
    yc_status status = read_near(data, key, len, &error);
    if (status == YC_OK) return data;
    if (error) *result = error_of(env, error);
    else if (status < 0) throw_text(env, "out of memory");
    return NULL;
}

/* nearBytes(key, at) returns the length of the value, which is in the slab at `at`, or a Buffer, or undefined if this process has no
   value of the key; null for what is neither a Uint8Array nor a short string; or an error. */
static napi_value near_bytes(napi_env env, napi_callback_info info) {
    napi_value given[2], result;
    size_t len = 0;
    handle *cache = find_near(env, info, given, 2, &len, &result);
    return cache ? bytes_as_result(env, cache, given[1], cache->room.data, len) : result;
}

/* nearText(key) returns the value as a string; else what nearBytes() returns. */
static napi_value near_text(napi_env env, napi_callback_info info) {
    napi_value given[1], result;
    size_t len = 0;
    handle *cache = find_near(env, info, given, 1, &len, &result);
    if (cache) check(env, napi_create_string_utf8(env, (const char *)cache->room.data, len, &result));
    return result;
}

/* ---- Functions of one cache ---- */

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

/* readers(handle) returns [readBytes, readText, nearBytes, nearText] of a cache. */
napi_value readers(napi_env env, napi_callback_info info) {
    static const napi_callback CALLS[] = {read_bytes, read_text, near_bytes, near_text};
    enum { COUNT = sizeof CALLS / sizeof *CALLS };
    napi_value given[1], list = NULL;
    handle *cache = arguments(env, info, 1, given) ? handle_of(env, given[0]) : NULL;
    bool made = cache && check(env, napi_create_array_with_length(env, COUNT, &list));
    for (uint32_t at = 0; made && at < COUNT; at++) made = put_reader(env, cache, list, at, CALLS[at]);
    return made ? list : NULL;
}

/* useSlab(handle, slab) names the memory for short values. JavaScript keeps it until it names another, and calls readBytes() only
   while it is attached. */
napi_value use_slab(napi_env env, napi_callback_info info) {
    napi_value given[2];
    handle *cache = arguments(env, info, 2, given) ? handle_of(env, given[0]) : NULL;
    if (cache) cache->slab = bytes_of(env, given[1]);
    return NULL;
}
