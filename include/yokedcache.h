/*
 * yokedcache.h - a cache with identical semantics over memory, Redis and
 * Memcached.
 *
 * Conventions that hold for every function:
 *
 * - A function that can fail returns a yc_status: 0 for success, a positive
 *   number for an outcome that is not a failure (YC_MISS), a negative number
 *   for a failure. A failure of a server is never reported as a miss.
 * - Keys, tags, patterns and values are a pointer and a length. They may
 *   contain any bytes, also NUL. The pointer may be NULL only if the length
 *   is 0. The library copies all arguments before the call returns.
 * - A function writes its results only on success. The exceptions are *len of
 *   yc_get_into() and yc_get_near(), *accepted of yc_queue_submit(), and the arrays of
 *   yc_get_many(), yc_set_many() and yc_delete_many(). If err is not NULL,
 *   every call writes *err: an error, or NULL.
 * - The caller frees every object that the library returns, once, with the
 *   yc_..._free() function of its type. These functions accept NULL.
 * - Any thread may call any function on a cache at any time. A handle that is
 *   NULL or closed results in a status, never in a crash. In the child process
 *   after a fork, handles of the parent return YC_E_FORKED.
 * - A call blocks until its reply arrives or its deadline passes. The
 *   yc_queue_ functions that submit operations do not block.
 * - Times to live are in milliseconds. Sizes and lengths are in bytes.
 *
 * Each section begins with an example. The examples use these variables:
 *
 *   yc_cache *cache;       An open cache.
 *   yc_error *err = NULL;
 *
 * Contents:
 *
 *   Errors and statuses
 *   Bytes and values
 *   Opening and closing
 *   Entries
 *   Conditional operations and counters
 *   Many keys
 *   Loading
 *   Tags, patterns, clear and flush
 *   Keys and search
 *   Redis commands
 *   Channels
 *   Events
 *   Views
 *   Credentials
 *   Switch and migrate
 *   Reports and metrics
 *   Configuration check
 *   Batch
 *   Queue
 *   Log
 *   Traces
 *   Version
 */

#ifndef YOKEDCACHE_H
#define YOKEDCACHE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors and statuses ---- */

// Example:
//
//     yc_status status = yc_ping(cache, &err);
//     if (status < 0) {
//         const char *hint = yc_error_retryable(err) ? " (retryable)" : "";
//         fprintf(stderr, "%s: %s%s\n", yc_status_name(status),
//                 yc_error_message(err), hint);
//         yc_error_free(err);
//     }

// The status that a function returns: 0 is success, a positive number is an
// outcome that is not a failure, and a negative number is a failure. A number
// never changes its meaning. Later versions may add numbers: treat an unknown
// negative number as a failure.
typedef int32_t yc_status;

// The operation succeeded.
#define YC_OK 0

// The key does not exist, has expired, or was invalidated through a tag.
#define YC_MISS 1

// The listing has no more keys.
#define YC_END 2

// The value is past its time to live, but may still be served.
#define YC_STALE 3

// An earlier load found nothing, and the cache remembers that.
#define YC_ABSENT 4

// There is no value to serve; the caller holds the lease and must load it.
#define YC_LEASED 5

// The loaded value was not stored: since its lease was taken, the key was set,
// deleted or invalidated, or the lease expired.
#define YC_SUPERSEDED 6

// The condition does not hold. Nothing changed.
#define YC_UNMET 7

// An argument is not allowed: it is NULL, empty or out of range.
#define YC_E_INVALID -101

// The configuration is not usable. The message names the option.
#define YC_E_CONFIG -102

// A key, value or list of tags exceeds the limit of this cache. Nothing was
// stored.
#define YC_E_TOO_LARGE -103

// The buffer is too small. The required length was written.
#define YC_E_BUFFER_TOO_SMALL -104

// The backend or server does not support the operation. The message gives
// the reason.
#define YC_E_UNSUPPORTED -105

// The program was compiled against a header that this library does not
// support.
#define YC_E_ABI_MISMATCH -106

// The cache, queue or subscription is closed.
#define YC_E_CLOSED -201

// The handle was opened before a fork, and this process is the child. Open a
// new cache.
#define YC_E_FORKED -202

// The operation was cancelled.
#define YC_E_CANCELLED -203

// Too many operations are in flight, or the process has no memory or file
// descriptor left for the call. Retry later.
#define YC_E_BUSY -204

// The server is not reachable: connection refused, unknown host, no route.
#define YC_E_CONNECT -301

// The server rejected the credentials.
#define YC_E_AUTH -302

// The server accepted the user but denies the command.
#define YC_E_DENIED -303

// The TLS handshake failed: certificate, host name or version.
#define YC_E_TLS -304

// The deadline passed before the server replied.
#define YC_E_TIMEOUT -305

// The server is out of memory.
#define YC_E_SERVER_MEMORY -306

// The reply violates the protocol of the server.
#define YC_E_PROTOCOL -307

// The server replied with an error that has no status of its own.
#define YC_E_SERVER -308

// The library failed inside the function: this is a bug. The cache remains
// usable. Please report it.
#define YC_E_PANIC -901

// Returns the name of a status, such as "YC_E_TIMEOUT", or "YC_E_UNKNOWN" for a
// number that this version does not know. The string is static: do not free it.
const char *yc_status_name(yc_status status);

// An error: a status, a message, and a flag that tells whether a retry can
// succeed. Every function that can fail has a last parameter `yc_error **err`,
// which may be NULL. If it is not NULL, every call writes *err: an error if the
// status is negative, else NULL. The caller frees the error with
// yc_error_free(). An error is immutable: any thread may read it.
typedef struct yc_error yc_error;

// Returns the status of an error, or YC_OK for NULL.
yc_status yc_error_status(const struct yc_error *error);

// Returns the message of an error: one line of UTF-8 that names the object that
// failed, the cause and the remedy. It never contains a password or a value.
// The error owns the string. Returns "" for NULL.
const char *yc_error_message(const struct yc_error *error);

// Returns 1 if the same call may succeed later without a change by the caller,
// else 0. Returns 0 for NULL. An error with YC_E_SERVER is retryable if the
// state of the server is temporary (LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
// MASTERDOWN, BUSY, MISCONF, NOREPLICAS, or a Memcached server that is busy).
int32_t yc_error_retryable(const struct yc_error *error);

// Frees an error. NULL is allowed.
void yc_error_free(struct yc_error *error);

/* ---- Bytes and values ---- */

// Example:
//
//     yc_value *value = NULL;
//     if (yc_get(cache, "user:1", 6, &value, NULL) == YC_OK) {
//         size_t len;
//         const void *data = yc_value_data(value, &len);
//         fwrite(data, 1, len, stdout);
//         yc_value_free(value);
//     }

// A sequence of bytes: a key, a tag or a value. The caller owns the bytes that
// it passes; the library copies them before the call returns.
typedef struct yc_slice {
  // Points to the first byte. May be NULL if len is 0.
  const void *data;
  // Number of bytes.
  size_t len;
} yc_slice;

// A value that the library returns: the bytes of an entry, or the text of a
// report. It is immutable and reference-counted. A value of the memory backend
// shares the memory of the cache without a copy. It remains valid if its entry
// is replaced, evicted or invalidated, and after the cache is freed. Any thread
// may read it. The caller frees it with yc_value_free().
typedef struct yc_value yc_value;

// Returns the bytes of a value and writes their number to *len. len may be
// NULL. The value owns the bytes. The result is not NULL for a value, even for
// an empty one. For NULL the function returns NULL and writes 0.
const void *yc_value_data(const struct yc_value *value, size_t *len);

// Returns the name of a tag of the entry that yc_get_info() has read, and writes its
// length to *len. len may be NULL. The tags have the index 0, 1 and so on, in the
// order in which the entry was set with them, each once, and without the namespace
// of a view. The value owns the bytes, which are not NUL-terminated.
//
// Returns NULL and writes 0 behind the last tag, for NULL, for a value of another
// function, and for an entry that does not store the names of its tags: it was set
// without the option tag_names, or its names take more than 2 KiB (two bytes more
// each, with their namespaces). yc_entry_info.tag_count has the number of tags in
// any case.
const void *yc_value_tag(const struct yc_value *value, size_t index, size_t *len);

// Returns a second handle on the same bytes without copying them. The caller
// frees each handle with yc_value_free(). Returns NULL for NULL.
struct yc_value *yc_value_clone(const struct yc_value *value);

// Frees a value. NULL is allowed.
void yc_value_free(struct yc_value *value);

// Value of ttl_ms: use the default_ttl of the cache, varied by its ttl_jitter.
#define YC_TTL_DEFAULT -1

// Value of ttl_ms: the entry never expires.
#define YC_TTL_NEVER 0

// A number that is not known: of removed entries, of receivers, or of lost
// messages.
#define YC_COUNT_UNKNOWN UINT64_MAX

// Frees user_data. The library calls the function once, when it does not use
// user_data any more.
typedef void (*yc_finalise_fn)(void *user_data);

/* ---- Opening and closing ---- */

// Example:
//
//     yc_cache *users = NULL;
//     if (yc_open("memory://?max_size=10000", &users, &err) != YC_OK) {
//         fprintf(stderr, "%s\n", yc_error_message(err));
//         yc_error_free(err);
//         return 1;
//     }
//     yc_close(users, -1, NULL);
//     yc_cache_free(users);

// A cache. Any thread may call any function on it at any time, also while
// another thread closes it. yc_cache_free() must be the last call. In the child
// process after a fork, every call returns YC_E_FORKED at once: open a new
// cache there.
typedef struct yc_cache yc_cache;

// Opens a cache from a configuration text: a URL
// ("memory://?max_size=1000&key_prefix=app"), or a YAML or JSON document of at
// most 256 KiB ("{backend: memory, memory: {max_size: 1000}}"). If the document
// has environments, the variable ENVIRONMENT selects one; the default is
// "development".
//
// On success *out is the cache. The caller closes it with yc_close() and frees
// it with yc_cache_free(). On failure nothing stays open.
//
// Errors: YC_E_CONFIG (the message contains the unknown option and the nearest
// known name); YC_E_UNSUPPORTED for a backend that this build does not contain.
yc_status yc_open(const char *config, struct yc_cache **out, struct yc_error **err);

// Opens a cache from a YAML or JSON file. The file contains environments
// ("cache: {development: {…}, production: {…}}") or the body of one.
// environment selects one of them; NULL uses the variable ENVIRONMENT, whose
// default is "development".
//
// Result and errors: see yc_open(). Returns YC_E_CONFIG also if the file is not
// readable or does not contain the environment.
yc_status yc_open_file(const char *path,
                       const char *environment,
                       struct yc_cache **out,
                       struct yc_error **err);

// Opens a cache from environment variables. Uses the first that is set of
// YOKEDCACHE_URL (a URL), YOKEDCACHE_CONFIG (the path of a file, see
// yc_open_file()) and REDIS_URL (a Redis URL).
//
// Result and errors: see yc_open(). Returns YC_E_CONFIG also if no variable is
// set.
yc_status yc_open_env(struct yc_cache **out, struct yc_error **err);

// Closes a cache and its queues. Calls in flight finish or return YC_E_CLOSED.
// Later calls return YC_E_CLOSED. All threads and connections of the cache have
// ended when the function returns. It waits at most timeout_ms milliseconds; -1
// selects 5000. Values and pages that the library has returned remain valid. A
// second close returns YC_OK and has no effect.
//
// Errors: YC_E_TIMEOUT if the time ran out (the cache is closed nevertheless);
// YC_E_FORKED in a child process.
yc_status yc_close(struct yc_cache *cache, int64_t timeout_ms, struct yc_error **err);

// Frees a cache. No other thread may use the handle any more. A cache that is
// not closed is closed without waiting. Never blocks. NULL is allowed.
void yc_cache_free(struct yc_cache *cache);

/* ---- Entries ---- */

// Example:
//
//     yc_slice tag = {"users", 5};
//     yc_set(cache, "user:1", 6, "Ada", 3, 60000, &tag, 1, NULL);
//
//     char name[64];
//     size_t len;
//     if (yc_get_into(cache, "user:1", 6, name, sizeof name, &len, NULL) == YC_OK)
//         printf("%.*s\n", (int)len, name);
//
//     int64_t left;
//     yc_expire(cache, "user:1", 6, YC_TTL_NEVER, NULL);
//     if (yc_ttl(cache, "user:1", 6, &left, NULL) == YC_OK && left == -1)
//         puts("user:1 never expires");
//     yc_delete(cache, "user:1", 6, NULL);

// Reads the value of a key without copying it. A key is 1 byte to 64 KiB of any
// bytes.
//
// Returns:
// - YC_OK: *out is the value. The caller frees it with yc_value_free().
// - YC_MISS: the key does not exist. *out is not written.
// - Errors: YC_E_INVALID, YC_E_TOO_LARGE, and the errors of the backend. A
//   failure of the backend is never reported as a miss.
yc_status yc_get(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 struct yc_value **out,
                 struct yc_error **err);

// Reads the value of a key into a buffer of the caller. cap is the size of the
// buffer in bytes; buf may be NULL if cap is 0. The memory backend allocates no
// memory in this call.
//
// Returns:
// - YC_OK: the value was copied. *len is its length.
// - YC_MISS: the key does not exist. Nothing is written.
// - YC_E_BUFFER_TOO_SMALL: *len is the required length. buf is not written. The
//   value may have another length in the next call.
// - Other errors: see yc_get().
yc_status yc_get_into(struct yc_cache *cache,
                      const void *key,
                      size_t key_len,
                      void *buf,
                      size_t cap,
                      size_t *len,
                      struct yc_error **err);

// Reads the value of a key into a buffer of the caller if the value is in the
// memory of this process: that of the memory backend, or of a near cache (option
// near). The call sends no request and never waits, so that an event loop may
// use it. cap and buf: see yc_get_into().
//
// Returns:
// - YC_OK: the value was copied. *len is its length.
// - YC_MISS: this process has no such value. On Redis and Memcached the key may
//   exist nevertheless: call yc_get(). A miss is not counted.
// - YC_E_BUFFER_TOO_SMALL: see yc_get_into().
// - YC_E_INVALID, YC_E_TOO_LARGE: the key is empty, or exceeds 64 KiB.
yc_status yc_get_near(struct yc_cache *cache,
                      const void *key,
                      size_t key_len,
                      void *buf,
                      size_t cap,
                      size_t *len,
                      struct yc_error **err);

// Stores a value under a key and replaces the previous value and tags of the
// key. ttl_ms is the time to live in milliseconds, YC_TTL_DEFAULT or
// YC_TTL_NEVER. An entry has at most 128 tags; tags may be NULL if n_tags is 0.
// The value may be empty. The library copies all arguments before it returns.
//
// Errors:
// - YC_E_INVALID: the key or a tag is empty, or ttl_ms is below -1 or over 100
//   years.
// - YC_E_TOO_LARGE: the key or a tag exceeds 64 KiB, there are more than 128
//   tags, or the value exceeds max_value_bytes or the item size of its Memcached
//   server.
// - The errors of the backend.
//
// After YC_E_INVALID or YC_E_TOO_LARGE nothing is stored and the previous entry
// remains. Exception: Memcached removes the previous entry if the server itself
// rejects the value. This happens with YC_E_SERVER_MEMORY, and with
// YC_E_TOO_LARGE behind a proxy that does not report the settings of its
// servers.
yc_status yc_set(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 const void *value,
                 size_t value_len,
                 int64_t ttl_ms,
                 const struct yc_slice *tags,
                 size_t n_tags,
                 struct yc_error **err);

// Deletes a key. Returns YC_OK if the key existed, or YC_MISS if it did not.
// A delete whose reply is lost is not repeated. It fails with YC_E_CONNECT or
// YC_E_TIMEOUT, and the server may have executed it.
yc_status yc_delete(struct yc_cache *cache, const void *key, size_t key_len, struct yc_error **err);

// Checks whether a key exists. Returns YC_OK if it exists, or YC_MISS if it does
// not. The check is not counted as a hit or a miss and does not change the order
// of eviction.
yc_status yc_exists(struct yc_cache *cache, const void *key, size_t key_len, struct yc_error **err);

// Sets a new time to live for a key and keeps its value and tags. The time
// starts at the call. ttl_ms: see yc_set(). Returns YC_OK on success, or YC_MISS
// if the key does not exist.
yc_status yc_expire(struct yc_cache *cache,
                    const void *key,
                    size_t key_len,
                    int64_t ttl_ms,
                    struct yc_error **err);

// Reads the remaining time to live of a key.
//
// Returns:
// - YC_OK: *ttl_ms is the remaining time in milliseconds, at least 1, or -1 if
//   the entry never expires.
// - YC_MISS: the key does not exist. *ttl_ms is not written.
yc_status yc_ttl(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 int64_t *ttl_ms,
                 struct yc_error **err);

/* ---- Conditional operations and counters ---- */

// Example: change a value unless another caller has changed it meanwhile.
//
//     yc_value *seats = NULL;
//     uint64_t version;
//     yc_status status = yc_get_versioned(cache, "seats", 5, &seats, &version, NULL);
//     if (status == YC_OK) {
//         yc_value_free(seats);
//         status = yc_set_if(cache, "seats", 5, "11", 2, YC_TTL_NEVER, NULL, 0,
//                            YC_IF_VERSION, version, &version, NULL);
//         if (status == YC_UNMET)
//             puts("read the key again");
//     }
//
// Example: count the requests of a minute.
//
//     int64_t requests;
//     if (yc_counter_add(cache, "requests", 8, 1, 0, 60000, &requests, NULL) == YC_OK &&
//         requests > 100)
//         puts("too many requests");

// Example: read a value with its age and its remaining time to live.
//
//     yc_entry_info info = YC_ENTRY_INFO_INIT;
//     yc_value *price = NULL;
//     if (yc_get_info(cache, "price:7", 7, 60000, &price, &info, NULL) == YC_OK) {
//         if (info.age_ms != YC_AGE_UNKNOWN)
//             printf("%lld ms old\n", (long long)info.age_ms);
//         if (info.remaining_ms >= 0)
//             printf("%lld ms left\n", (long long)info.remaining_ms);
//         // The tags, if the cache has the option tag_names.
//         size_t len;
//         const char *tag;
//         for (size_t i = 0; (tag = yc_value_tag(price, i, &len)); i++)
//             printf("tag %.*s\n", (int)len, tag);
//         yc_value_free(price);
//     }

// The age of an entry, if the time of its set is not stored.
#define YC_AGE_UNKNOWN -1

// The properties of an entry that yc_get_info() has read. Initialise it with
// YC_ENTRY_INFO_INIT.
typedef struct yc_entry_info {
  // The size of the struct, sizeof(yc_entry_info). The library writes no field
  // beyond it.
  size_t struct_size;
  // The version of the entry, for yc_set_if() and yc_delete_if(); see
  // yc_get_versioned().
  uint64_t version;
  // The time since the entry was set, in milliseconds, or YC_AGE_UNKNOWN. It is
  // never too short, and up to 2200 ms too long: an entry stores the second of
  // its set. Another time to live does not change it. On Redis the clocks of the
  // machines that set and that read the entry count: an age is wrong by the
  // difference between them.
  int64_t age_ms;
  // The remaining time to live in milliseconds, or YC_TTL_DEFAULT (-1) if the
  // entry never expires, as yc_ttl() returns it.
  int64_t remaining_ms;
  // The number of tags of the entry. yc_value_tag() returns their names if the
  // entry stores them.
  uint64_t tag_count;
  // Set to zero.
  uint64_t reserved[4];
} yc_entry_info;

// Initialises a yc_entry_info with its size.
#define YC_ENTRY_INFO_INIT \
    { sizeof(yc_entry_info), 0, 0, 0, 0, { 0, 0, 0, 0 } }

// Reads the value of a key with its version, its age, its remaining time to live
// and its tags. On Redis and Memcached this takes as many round
// trips as yc_get(), which is one as a rule, and one more while a caller loads the
// key again. The value comes from the servers, also if the near cache has a copy.
// While a fallback serves, the properties are those of its entry.
//
// max_age_ms is the largest age of an entry that is accepted, or 0 for any age. An
// older entry is a miss for this call: it stays, with its time to live, and
// counts as a miss and not as an expiry. Since an age may be up to 2200 ms too
// long, an entry that is younger than max_age_ms by less than that may be a miss
// too; an older one is never returned. An entry of unknown age is a miss if
// max_age_ms is not 0: in memory an entry that was set without a time to live, on
// Redis a counter, and an entry of a version of the library that did not store
// the time of the set.
//
// An entry stores hashes of its tags, and their names only with the option
// tag_names: then yc_value_tag() returns those of *value, also for a YC_OP_GET_INFO
// of a batch or a queue. Without names, yc_explain() tells for given ones whether
// the entry has them.
//
// On Redis the remaining time is read directly before the value. If another
// program sets the key between the two, it may be that of the entry before.
//
// Returns:
// - YC_OK: *value is the value, which the caller frees with yc_value_free();
//   *info has the properties. info may be NULL.
// - YC_MISS: the key does not exist, or its entry is too old. Nothing is written.
// - Errors: YC_E_INVALID if max_age_ms is negative or info->struct_size is too
//   small; see yc_get().
yc_status yc_get_info(struct yc_cache *cache,
                      const void *key,
                      size_t key_len,
                      int64_t max_age_ms,
                      struct yc_value **value,
                      struct yc_entry_info *info,
                      struct yc_error **err);

// Condition of yc_set_if(): the key does not exist.
#define YC_IF_ABSENT 1

// Condition of yc_set_if(): the key exists.
#define YC_IF_PRESENT 2

// Condition of yc_set_if(): the key has the entry of this version.
#define YC_IF_VERSION 3

// Reads the value of a key and the version of its entry. Each set gives the
// entry of a key another version, also a set of the same value. A change of the
// time to live keeps the version. A version is valid for its key in its store:
// after a switch or a migration the entry has another one.
//
// Returns:
// - YC_OK: *value is the value, which the caller frees with yc_value_free();
//   *version is the version.
// - YC_MISS: the key does not exist. Nothing is written.
// - Errors: see yc_get().
yc_status yc_get_versioned(struct yc_cache *cache,
                           const void *key,
                           size_t key_len,
                           struct yc_value **value,
                           uint64_t *version,
                           struct yc_error **err);

// Stores a value as yc_set() does, if a condition holds: YC_IF_ABSENT,
// YC_IF_PRESENT or YC_IF_VERSION with the version that yc_get_versioned() or an
// earlier yc_set_if() reported. A key is absent if yc_get() would return
// YC_MISS. Comparison and set are one step: of several callers with the same
// version, one succeeds. new_version may be NULL.
//
// Returns:
// - YC_OK: the value was stored. *new_version is the version of the new entry.
// - YC_UNMET: the condition does not hold. Nothing changed or was written.
// - YC_E_TIMEOUT: no reply came; the value may have been stored. The library
//   does not repeat the call.
// - YC_E_BUSY: other callers changed the key at each attempt. Nothing changed.
// - YC_E_UNSUPPORTED: see YC_CAN_COMPARE.
// - Other errors: YC_E_INVALID for an unknown condition; see yc_set().
yc_status yc_set_if(struct yc_cache *cache,
                    const void *key,
                    size_t key_len,
                    const void *value,
                    size_t value_len,
                    int64_t ttl_ms,
                    const struct yc_slice *tags,
                    size_t n_tags,
                    int32_t condition,
                    uint64_t version,
                    uint64_t *new_version,
                    struct yc_error **err);

// Deletes a key if its entry has this version.
//
// Returns:
// - YC_OK: the entry was deleted.
// - YC_UNMET: the entry has another version. Nothing changed.
// - YC_MISS: the key does not exist.
// - Errors: see yc_set_if().
yc_status yc_delete_if(struct yc_cache *cache,
                       const void *key,
                       size_t key_len,
                       uint64_t version,
                       struct yc_error **err);

// Reads the value of a key and sets a new time to live for it, as one step.
// Value, tags and version stay. ttl_ms: see yc_set().
//
// Returns:
// - YC_OK: *value is the value. The caller frees it with yc_value_free().
// - YC_MISS: the key does not exist. *value is not written.
// - Errors: see yc_set_if().
yc_status yc_get_and_expire(struct yc_cache *cache,
                            const void *key,
                            size_t key_len,
                            int64_t ttl_ms,
                            struct yc_value **value,
                            struct yc_error **err);

// Adds delta, which may be negative, to the counter of a key, as one step. A
// counter that does not exist begins with initial and lives for ttl_ms from
// then on (see yc_set()); an addition changes neither its time to live nor its
// tags. The value of a counter is its number in decimal digits: every function
// on entries works on it, and an entry with such a value is a counter. value may
// be NULL.
//
// Returns:
// - YC_OK: *value is the sum.
// - YC_E_INVALID: the value of the key is not a number, or the sum does not fit
//   in 64 bits. Nothing changed.
// - YC_E_TIMEOUT: no reply came; delta may have been added. The library does not
//   repeat the call.
// - Other errors: see yc_set_if().
yc_status yc_counter_add(struct yc_cache *cache,
                         const void *key,
                         size_t key_len,
                         int64_t delta,
                         int64_t initial,
                         int64_t ttl_ms,
                         int64_t *value,
                         struct yc_error **err);

/* ---- Many keys ---- */

// Example:
//
//     yc_slice keys[] = {{"user:1", 6}, {"user:2", 6}};
//     yc_slice names[] = {{"Ada", 3}, {"Grace", 5}};
//     yc_set_many(cache, keys, names, 2, YC_TTL_DEFAULT, NULL, 0, NULL, NULL);
//
//     yc_value *values[2];
//     yc_status statuses[2];
//     yc_get_many(cache, keys, 2, values, statuses, NULL);
//     for (int i = 0; i < 2; i++) {
//         puts(yc_status_name(statuses[i]));
//         yc_value_free(values[i]);
//     }

// Reads n keys. values is an array of n elements. The library sets each element
// to a value, which the caller frees with yc_value_free(), or to NULL. statuses
// is an array of n elements, or NULL. The library sets each element to YC_OK,
// YC_MISS or the failure of that key.
//
// Returns YC_OK if every key was a hit or a miss. Otherwise it returns the
// status and the error of the first key that failed. Both arrays are always
// written, even if the deadline ends the call: a server that does not reply
// fails only its own keys (YC_E_TIMEOUT), and the other keys keep their outcome.
// If the call is refused (YC_E_INVALID, YC_E_TOO_LARGE, YC_E_CLOSED,
// YC_E_FORKED), nothing is read: every element of values is NULL, and every
// element of statuses has that status.
yc_status yc_get_many(struct yc_cache *cache,
                      const struct yc_slice *keys,
                      size_t n,
                      struct yc_value **values,
                      yc_status *statuses,
                      struct yc_error **err);

// Stores n entries: values[i] under keys[i]. All entries have the same time to
// live and the same tags, see yc_set(); use yc_batch() for different ones.
// statuses may be NULL, see yc_get_many().
//
// If one entry is refused (YC_E_INVALID, YC_E_TOO_LARGE), no entry is stored.
yc_status yc_set_many(struct yc_cache *cache,
                      const struct yc_slice *keys,
                      const struct yc_slice *values,
                      size_t n,
                      int64_t ttl_ms,
                      const struct yc_slice *tags,
                      size_t n_tags,
                      yc_status *statuses,
                      struct yc_error **err);

// Deletes n keys. statuses may be NULL, see yc_get_many(): YC_OK if the key
// existed, YC_MISS if it did not.
yc_status yc_delete_many(struct yc_cache *cache,
                         const struct yc_slice *keys,
                         size_t n,
                         yc_status *statuses,
                         struct yc_error **err);

/* ---- Loading ---- */

// Example: read a value, or load it. Of many callers one loads. The value is
// not stored if one of its tags was invalidated during the load.
//
//     yc_slice tag = {"users", 5};
//     yc_lease_options options;
//     memset(&options, 0, sizeof options);
//     options.struct_size = sizeof options;
//     options.tags = &tag, options.n_tags = 1;
//
//     yc_value *user = NULL;
//     yc_lease *lease = NULL;
//     yc_status status = yc_get_or_lease(cache, "user:1", 6, &options, &user,
//                                        &lease, NULL);
//     if (lease) { /* This caller loads the value, also if it has a stale one. */
//         yc_fill fill;
//         memset(&fill, 0, sizeof fill);
//         fill.struct_size = sizeof fill;
//         fill.value = "Ada", fill.value_len = 3;
//         fill.ttl_ms = YC_TTL_DEFAULT;
//         yc_lease_fill(lease, &fill, NULL);
//         yc_lease_free(lease);
//     }
//     puts(yc_status_name(status));
//     yc_value_free(user);

// The right to load one key. One caller at a time has it, among all processes
// that share a store and a prefix. A set, a delete, a pattern that matches the
// key, or a flush ends a lease. A lease is used once, by yc_lease_fill() or
// yc_lease_abandon(), on any thread. The caller frees it with yc_lease_free(),
// also after the cache is closed or freed.
typedef struct yc_lease yc_lease;

// Value of stale_for_ms: use the stale_for of the cache.
#define YC_STALE_FOR_DEFAULT -1

// Flag of a fill: the load found nothing, and the cache remembers that.
#define YC_FILL_ABSENT 1

// The options of yc_get_or_lease(). Set the struct to zero, then set struct_size
// and the fields that you need.
typedef struct yc_lease_options {
  // Set to sizeof(yc_lease_options).
  uint32_t struct_size;
  // 0.
  uint32_t flags;
  // The time for which the lease is valid if its holder does nothing: 1 to
  // 86400000; 0 selects the option `lease` of the cache (10 s).
  int64_t lease_ms;
  // The time to wait for the load of another holder: 1 to 86400000. 0 waits
  // until the deadline of a call (socket_timeout, or 1 s on the memory
  // backend); -1 does not wait.
  int64_t wait_ms;
  // The tags of the value to be loaded, as far as they are known before the
  // load. May be NULL if n_tags is 0.
  const struct yc_slice *tags;
  // Number of tags.
  size_t n_tags;
  // Set to zero.
  uint64_t reserved[4];
} yc_lease_options;

// The result of a load. Set the struct to zero, then set struct_size and the
// fields that you need.
typedef struct yc_fill {
  // Set to sizeof(yc_fill).
  uint32_t struct_size;
  // 0 or YC_FILL_ABSENT.
  uint32_t flags;
  // The loaded value. May be NULL if value_len is 0. YC_FILL_ABSENT ignores it.
  const void *value;
  // Length of value in bytes.
  size_t value_len;
  // Time to live, see yc_set(). With YC_FILL_ABSENT, YC_TTL_DEFAULT selects the
  // option `negative_ttl` of the cache.
  int64_t ttl_ms;
  // The time after ttl_ms in which the value may be served as stale; 0: not at
  // all. YC_STALE_FOR_DEFAULT selects the option `stale_for` of the cache.
  int64_t stale_for_ms;
  // Tags in addition to those of the lease, known only after the load. May be
  // NULL if n_tags is 0.
  const struct yc_slice *tags;
  // Number of tags.
  size_t n_tags;
  // Set to zero.
  uint64_t reserved[4];
} yc_fill;

// Reads the value of a key, or gives the caller the right to load it. If another
// caller loads the key, the function waits for that load. options may be NULL.
//
// Returns:
// - YC_OK: *value is the fresh value. *lease is NULL; or the lease, if the value
//   is due for an early refresh (option `refresh_ahead`) and this caller must
//   refresh it.
// - YC_STALE: *value is past its time to live, but within stale_for. *lease is
//   the lease for one caller, which must load the value again; it is NULL for the
//   others.
// - YC_ABSENT: an earlier load found nothing. *value and *lease are NULL.
// - YC_LEASED: there is no value. *value is NULL. The caller holds *lease and must
//   load the value, then call yc_lease_fill() or yc_lease_abandon().
// - YC_E_BUSY (retryable): wait_ms has elapsed and the holder is still loading;
//   or the last load failed, and its holder asked for a pause.
// - Other errors: see yc_get(). YC_E_INVALID also for options out of range;
//   YC_E_TOO_LARGE for more than 128 tags; YC_E_UNSUPPORTED if the backend has no
//   leases.
//
// The caller frees *value with yc_value_free() and *lease with yc_lease_free().
yc_status yc_get_or_lease(struct yc_cache *cache,
                          const void *key,
                          size_t key_len,
                          const struct yc_lease_options *options,
                          struct yc_value **value,
                          struct yc_lease **lease,
                          struct yc_error **err);

// Stores the result of a load with the tags of the lease and of the fill, if the
// lease is still valid and none of the tags was invalidated since the lease was
// taken. The library copies all arguments before it returns.
//
// Returns:
// - YC_OK: the value, or its absence, was stored.
// - YC_SUPERSEDED: nothing was stored. Since the lease was taken, the key was set
//   or deleted, the key or one of the tags was invalidated, the lease expired, or
//   the cache was switched to another backend.
// - YC_E_INVALID: the lease was used already, or an argument is not allowed.
//   YC_E_TOO_LARGE: the value exceeds max_value_bytes, or the lease and the fill
//   have more than 128 tags. YC_E_CLOSED, YC_E_FORKED, and the errors of the
//   backend. After an error the lease is unused: it can be filled again or
//   abandoned.
//
// An error does not show that the lease is still valid: limits of sizes are also
// checked before a server is asked. After YC_E_TOO_LARGE or YC_E_SERVER_MEMORY the
// value may go to callers that asked for the key before its load began. Others
// must read the key again: it may have changed during the load.
yc_status yc_lease_fill(struct yc_lease *lease, const struct yc_fill *fill, struct yc_error **err);

// Ends a lease without a result: the load failed. No caller gets a lease for the
// key for retry_after_ms, 0 to 86400000; callers get a stale value, or YC_E_BUSY.
// With 0 another caller may load the key at once.
//
// Returns YC_OK, also if the lease has ended before. Errors: see yc_lease_fill().
yc_status yc_lease_abandon(struct yc_lease *lease, int64_t retry_after_ms, struct yc_error **err);

// Frees a lease, and abandons one that was neither filled nor abandoned. Does not
// wait for a server. NULL is allowed.
void yc_lease_free(struct yc_lease *lease);

/* ---- Tags, patterns, clear and flush ---- */

// Example:
//
//     uint64_t removed;
//     yc_slice tags[] = {{"users", 5}, {"admins", 6}};
//     yc_invalidate_tag(cache, "users", 5, NULL, NULL);
//     yc_invalidate_tags(cache, tags, 2, NULL, NULL);
//     if (yc_invalidate_pattern(cache, "user:*", 6, &removed, NULL) == YC_OK &&
//         removed != YC_COUNT_UNKNOWN)
//         printf("%llu entries removed\n", (unsigned long long)removed);
//     yc_flush(cache, NULL, NULL);

// Invalidates every entry that was set with a tag. After the call has returned,
// no process reads an entry that was set with the tag before the call.
//
// *removed is the number of readable entries that were invalidated, or
// YC_COUNT_UNKNOWN if the backend cannot count them. If removed is NULL, the
// library counts nothing; the memory backend then needs the same time for any
// number of entries. An unknown tag removes 0 entries.
//
// A Redis server that fails may lose the invalidation. Each process replays its
// invalidations of the last `replay_window` before it reads from a server that
// restarted or was replaced. Until then another process may read an invalidated
// entry again. With `invalidation_replicas`, YC_E_TIMEOUT reports that too few
// replicas received the invalidation.
//
// Errors: YC_E_INVALID for an empty tag; the errors of the backend.
yc_status yc_invalidate_tag(struct yc_cache *cache,
                            const void *tag,
                            size_t tag_len,
                            uint64_t *removed,
                            struct yc_error **err);

// Invalidates every entry that has at least one of the tags. An entry with
// several of the tags is counted once. Nothing is removed if n_tags is 0.
// Result and errors: see yc_invalidate_tag().
//
// A dry run counts the entries that an invalidation or a flush would remove, and
// removes nothing: set YC_OP_DRY_RUN in a yc_op of yc_batch() or
// yc_queue_submit(). It lists the keys of the cache, which takes time in
// proportion to their number, and about 20 bytes of memory for each counted key
// of a shared store. `removed` is the number of keys that were readable during
// the whole walk; an entry that is set or removed meanwhile may be counted. It is
// YC_COUNT_UNKNOWN if a fallback serves. With a near cache the entries of the
// servers are counted. Errors: YC_E_UNSUPPORTED if the backend cannot list
// keys, also where the invalidation itself works: Memcached servers without their
// crawler. yc_keys_open_tagged() and yc_keys_open() list the keys.
yc_status yc_invalidate_tags(struct yc_cache *cache,
                             const struct yc_slice *tags,
                             size_t n_tags,
                             uint64_t *removed,
                             struct yc_error **err);

// Removes every key that matches a glob. The glob matches the whole key and is
// case-sensitive: "*" matches any sequence of bytes, "?" any byte, "[a-z]" one
// byte of the set, "[^a]" or "[!a]" one byte outside the set, and "\x" the byte
// x itself. Entries that are set during the call may remain.
//
// The call lists the keys. With the option `patterns: barrier` of the cache or
// view it makes misses of the entries that match and were set before, in the same
// time for any number of entries, also where a server cannot list keys.
//
// *removed is the number of removed entries, or YC_COUNT_UNKNOWN, as with a
// barrier. removed may be NULL.
//
// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB, with a barrier over 1,024
// bytes; YC_E_UNSUPPORTED if the backend cannot list keys, or for a barrier cannot
// compare (YC_CAN_COMPARE).
yc_status yc_invalidate_pattern(struct yc_cache *cache,
                                const void *pattern,
                                size_t pattern_len,
                                uint64_t *removed,
                                struct yc_error **err);

// Makes a miss of every entry of a view with a namespace, or of a cache with the
// option `generations`, in one write for any number of entries, also where a
// server cannot list keys. After the call has returned, no process reads an entry
// that was set before the call, and the fill of a lease that was given before is
// not stored (YC_E_SUPERSEDED). Entries of other namespaces stay.
//
// Each entry has a tag of the namespace that no caller can name; the call replaces
// its version as yc_invalidate_tag() does, which says what a server that fails
// may lose. The memory of the entries is freed by their times to live and by
// eviction, in memory also by the sweeper; until then yc_size() of a server may
// count them.
//
// *removed is the number of readable entries in memory, which takes time in
// proportion to their number, and YC_COUNT_UNKNOWN on servers. removed may be NULL.
//
// Errors: YC_E_UNSUPPORTED if the entries have no generations: use yc_flush(), or
// set `generations: true` in every program that shares the key_prefix. Entries
// that were set without the option are not reached: flush the cache once.
yc_status yc_clear(struct yc_cache *cache, uint64_t *removed, struct yc_error **err);

// Removes every entry under the key_prefix of this cache, and no other entry.
// *removed is the number of readable entries that were removed, or
// YC_COUNT_UNKNOWN. removed may be NULL.
yc_status yc_flush(struct yc_cache *cache, uint64_t *removed, struct yc_error **err);

/* ---- Keys and search ---- */

// Example: list keys.
//
//     yc_cursor *cursor = NULL;
//     yc_keys *page = NULL;
//     yc_keys_open(cache, "user:*", 6, &cursor, NULL);
//     while (yc_keys_next(cursor, 0, &page, NULL) == YC_OK) {
//         size_t count;
//         const yc_slice *keys = yc_keys_data(page, &count);
//         for (size_t i = 0; i < count; i++)
//             printf("%.*s\n", (int)keys[i].len, (const char *)keys[i].data);
//         yc_keys_free(page);
//     }
//     yc_cursor_free(cursor);
//
// Example: search for keys.
//
//     yc_search_options options = YC_SEARCH_OPTIONS_INIT;
//     options.threshold = 70;
//     yc_matches *matches = NULL;
//     if (yc_search(cache, "usr:1", 5, &options, &matches, NULL) == YC_OK) {
//         for (size_t i = 0; i < yc_matches_count(matches); i++) {
//             const yc_match *match = yc_matches_at(matches, i);
//             printf("%.*s: %.1f\n", (int)match->key.len,
//                    (const char *)match->key.data, match->score);
//         }
//         yc_matches_free(matches);
//     }

// A cursor of a listing of keys. It remains valid after yc_close(), and then
// returns YC_E_CLOSED. Several threads may share it; each page is returned to
// one of them. The caller frees it with yc_cursor_free().
typedef struct yc_cursor yc_cursor;

// A page of keys. It is immutable: any thread may read it. It remains valid
// after the cursor and the cache are freed. The caller frees it with
// yc_keys_free().
typedef struct yc_keys yc_keys;

// Opens a cursor for the keys that match a glob. For the syntax see
// yc_invalidate_pattern(); "*" matches all keys. The call reads no key.
//
// On success *out is the cursor. The caller frees it with yc_cursor_free().
//
// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB.
yc_status yc_keys_open(struct yc_cache *cache,
                       const void *pattern,
                       size_t pattern_len,
                       struct yc_cursor **out,
                       struct yc_error **err);

// Opens a cursor for the keys that match a glob and whose entry has at least one
// of the tags. With the pattern "*" these are the keys that yc_invalidate_tags()
// would invalidate; but if n_tags is 0, the tags restrict nothing. Otherwise as
// yc_keys_open(). The library copies the tags. The listing reads the tags of every
// entry whose key may match.
//
// Errors: YC_E_INVALID for an empty tag; YC_E_TOO_LARGE for a pattern or a tag over
// 64 KiB.
yc_status yc_keys_open_tagged(struct yc_cache *cache,
                              const void *pattern,
                              size_t pattern_len,
                              const struct yc_slice *tags,
                              size_t n_tags,
                              struct yc_cursor **out,
                              struct yc_error **err);

// Reads the next page of a listing: at least 1 and at most limit keys. limit 0
// selects 512. A key that exists during the whole listing is returned at least
// once. It is returned more than once only if the set of servers changed and
// servers were listed again. A key that is added or removed during the listing
// may be returned. The listing does not block writers.
//
// Returns:
// - YC_OK: *out is the page. The caller frees it with yc_keys_free().
// - YC_END: there are no more keys. *out is not written.
// - Errors: YC_E_UNSUPPORTED if the backend cannot list keys; YC_E_CLOSED; the
//   errors of the backend.
yc_status yc_keys_next(struct yc_cursor *cursor,
                       size_t limit,
                       struct yc_keys **out,
                       struct yc_error **err);

// Returns the keys of a page as an array and writes their number to *count.
// count may be NULL. The page owns the array. For NULL the function returns NULL
// and writes 0.
const struct yc_slice *yc_keys_data(const struct yc_keys *keys, size_t *count);

// Frees a page of keys. NULL is allowed.
void yc_keys_free(struct yc_keys *keys);

// Frees a cursor. The listing need not have ended. NULL is allowed.
void yc_cursor_free(struct yc_cursor *cursor);
// Default of yc_search_options.threshold.
#define YC_SEARCH_THRESHOLD 80.0

// Default of yc_search_options.limit.
#define YC_SEARCH_LIMIT 10

// The options of yc_search(). Initialise them with YC_SEARCH_OPTIONS_INIT, which
// sets struct_size and the defaults.
typedef struct yc_search_options {
  // Set to sizeof(yc_search_options).
  size_t struct_size;
  // Lowest score of a match, 0 to 100.
  double threshold;
  // Largest number of matches, at least 1.
  size_t limit;
  // Search only entries that have at least one of these tags. NULL searches all
  // entries.
  const struct yc_slice *tags;
  // Number of tags.
  size_t n_tags;
  // Set to zero.
  uint64_t reserved[4];
} yc_search_options;

// Initialises a yc_search_options with its size and the defaults.
#define YC_SEARCH_OPTIONS_INIT \
    { sizeof(yc_search_options), YC_SEARCH_THRESHOLD, YC_SEARCH_LIMIT, NULL, 0, { 0, 0, 0, 0 } }

// A match of a search. Later versions may add fields at the end.
typedef struct yc_match {
  // The key. The yc_matches own its bytes.
  struct yc_slice key;
  // Similarity of the key to the query, 0 to 100.
  double score;
  // Zero.
  uint64_t reserved[2];
} yc_match;

// The matches of a search. They are immutable: any thread may read them. They
// remain valid after the cache is freed. The caller frees them with
// yc_matches_free().
typedef struct yc_matches yc_matches;

// Finds the keys that are most similar to a query of 1 byte to 1 KiB. Matches
// are ordered by score, best first; equal scores are ordered by key. The score
// is the partial ratio of rapidfuzz on bytes: it compares the query with the
// best-matching part of the key, and is 100 if the key contains the query.
// options may be NULL: threshold 80, limit 10, all tags.
//
// The call reads every key of the cache in pages and does not block writers.
// Each page has the deadline of a call. The scoring as a whole has the deadline
// of one more call: socket_timeout, or 5 s on the memory backend.
//
// On success *out is the list of matches, which may be empty. The caller frees it
// with yc_matches_free().
//
// Errors: YC_E_INVALID (empty query, threshold outside 0 to 100, limit 0,
// unknown struct_size); YC_E_TOO_LARGE (query over 1 KiB); YC_E_TIMEOUT (the
// scoring exceeded its deadline); YC_E_UNSUPPORTED if the backend cannot list
// keys.
yc_status yc_search(struct yc_cache *cache,
                    const void *query,
                    size_t query_len,
                    const struct yc_search_options *options,
                    struct yc_matches **out,
                    struct yc_error **err);

// Returns the number of matches, or 0 for NULL.
size_t yc_matches_count(const struct yc_matches *matches);

// Returns the match of a rank. Rank 0 is the best match. The matches own the
// result. Returns NULL if rank is not below yc_matches_count().
const struct yc_match *yc_matches_at(const struct yc_matches *matches, size_t rank);

// Frees the matches of a search. NULL is allowed.
void yc_matches_free(struct yc_matches *matches);

/* ---- Redis commands ---- */

// Example: write two fields of a hash and read the whole hash.
//
//     static void print_profile(yc_cache *cache) {
//         yc_value *value = NULL;
//         yc_reply *reply = NULL;
//         yc_slice name;
//         if (yc_redis_name(cache, "profile:1", 9, &value, NULL) != YC_OK)
//             return; /* Not Redis. */
//         name.data = yc_value_data(value, &name.len);
//         yc_slice set[] = {{"HSET", 4}, name, {"name", 4}, {"Ada", 3}, {"born", 4}, {"1815", 4}};
//         yc_slice get[] = {{"HGETALL", 7}, name};
//         if (yc_redis_command(cache, set, 6, 1, &reply, NULL) == YC_OK)
//             yc_reply_free(reply);
//         if (yc_redis_command(cache, get, 2, 1, &reply, NULL) == YC_OK) {
//             for (size_t i = 0; i < yc_reply_count(reply); i++) {
//                 size_t len;
//                 const char *text = yc_reply_string(yc_reply_at(reply, i), &len);
//                 printf("%.*s\n", (int)len, text);
//             }
//             yc_reply_free(reply);
//         }
//         yc_value_free(value);
//     }

// The reply to a command: a tree, since an array has replies. It is immutable:
// any thread may read it. It remains valid after the cache is freed. The caller
// frees the reply of a command with yc_reply_free(); the elements belong to it.
typedef struct yc_reply yc_reply;

// The key_index of a command without a key.
#define YC_NO_KEY -1

// Runs a command of Redis on a connection of the cache, with its deadline
// (socket_timeout), credentials and TLS. args is the name of the command and its
// arguments. key_index is the index in args of a key, or YC_NO_KEY: in a cluster,
// the command goes to the primary of this key; without a key, to a primary that
// the library chooses.
//
// The names are not changed: use yc_redis_name() to keep them under key_prefix.
// The data lies outside the entries of the cache: yc_flush(), invalidations,
// yc_switch(), yc_migrate() and a fallback do not concern it, and the other
// backends have nothing like it.
//
// The library never sends a command twice if the server may have run it. To
// allow that, set YC_OP_IDEMPOTENT in an operation of yc_batch() or of a queue.
//
// Returns:
// - YC_OK: *reply is the reply. The caller frees it with yc_reply_free().
// - YC_E_INVALID: the command blocks (BLPOP, XREAD with BLOCK) or changes the
//   state of a connection (SELECT, MULTI, SUBSCRIBE); the name is empty, or
//   key_index is not the index of an argument. Nothing was sent.
// - YC_E_SERVER: the server refused the command; the message has its text.
// - YC_E_DENIED: the user lacks the permission for the command.
// - YC_E_TOO_LARGE: an argument, or a string of the reply, is longer than
//   max_value_bytes.
// - YC_E_TIMEOUT: no reply came; the server may have run the command.
// - YC_E_UNSUPPORTED: the backend is not Redis, see YC_CAN_COMMAND.
// - Other errors: see yc_get().
yc_status yc_redis_command(struct yc_cache *cache,
                           const struct yc_slice *args,
                           size_t n_args,
                           int32_t key_index,
                           struct yc_reply **reply,
                           struct yc_error **err);

// Returns the name of a key for yc_redis_command(): under key_prefix, and apart
// from the names of entries. Equal parts in braces still share a slot of a
// cluster: {user:1}:queue and {user:1}:log.
//
// On success *name is the name. The caller frees it with yc_value_free().
//
// Errors: YC_E_UNSUPPORTED if the backend is not Redis.
yc_status yc_redis_name(struct yc_cache *cache,
                        const void *key,
                        size_t key_len,
                        struct yc_value **name,
                        struct yc_error **err);

// Kind of a reply: no value.
#define YC_REPLY_NIL 0

// Kind of a reply: bytes, see yc_reply_string().
#define YC_REPLY_STRING 1

// Kind of a reply: a short text such as OK, see yc_reply_string().
#define YC_REPLY_STATUS 2

// Kind of a reply: a whole number, see yc_reply_integer().
#define YC_REPLY_INTEGER 3

// Kind of a reply: an array of replies, see yc_reply_count() and yc_reply_at().
#define YC_REPLY_ARRAY 4

// Kind of an element of an array: an error, see yc_reply_string(). An error that
// is the whole reply is the error of the call.
#define YC_REPLY_ERROR 5

// Returns the kind of a reply: a YC_REPLY_ number. Returns YC_REPLY_NIL for NULL.
int32_t yc_reply_kind(const struct yc_reply *reply);

// Returns the bytes of a string, a status or an error and writes their number to
// *len. len may be NULL. The reply owns the bytes. For another kind, and for
// NULL, the function returns NULL and writes 0.
const void *yc_reply_string(const struct yc_reply *reply, size_t *len);

// Returns the number of a reply of the kind YC_REPLY_INTEGER; else 0.
int64_t yc_reply_integer(const struct yc_reply *reply);

// Returns the number of elements of a reply of the kind YC_REPLY_ARRAY; else 0.
size_t yc_reply_count(const struct yc_reply *reply);

// Returns an element of a reply of the kind YC_REPLY_ARRAY. It belongs to the
// reply. Returns NULL if there is no such element.
const struct yc_reply *yc_reply_at(const struct yc_reply *reply, size_t index);

// Frees the reply of a command with its elements. NULL is allowed.
void yc_reply_free(struct yc_reply *reply);

/* ---- Channels ---- */

// Example: subscribe to the channels of orders and print ten messages.
//
//     static void print_orders(yc_cache *cache) {
//         yc_slice patterns[] = {{"orders:*", 8}};
//         yc_filter filter = {.struct_size = sizeof filter, .patterns = patterns, .n_patterns = 1};
//         yc_subscription *orders = NULL;
//         yc_message *message = NULL;
//         if (yc_subscribe(cache, &filter, &orders, NULL) != YC_OK)
//             return;
//         for (int i = 0; i < 10 && yc_subscription_next(orders, -1, &message, NULL) == YC_OK; i++) {
//             size_t channel_len, len;
//             const char *channel = yc_message_channel(message, &channel_len);
//             const char *text = yc_message_data(message, &len);
//             if (yc_message_lost(message))
//                 printf("messages may be missing here\n");
//             else
//                 printf("%.*s: %.*s\n", (int)channel_len, channel, (int)len, text);
//             yc_message_free(message);
//         }
//         yc_subscription_free(orders);
//     }
//
// Example: publish a message.
//
//     uint64_t receivers = 0;
//     yc_publish(cache, "orders:new", 10, "4711", 4, &receivers, NULL);

// The channels of a subscription: those of the given names, and those that match
// a pattern. Set the struct to zero, then set struct_size and the fields that you
// need. At least one channel or pattern is needed; the limit is 1024 together,
// with 8 MiB.
typedef struct yc_filter {
  // Set to sizeof(yc_filter).
  uint32_t struct_size;
  // Set to zero.
  uint32_t flags;
  // Names of channels, 1 byte to 64 KiB each. May be NULL if n_channels is 0.
  const struct yc_slice *channels;
  // Number of channels.
  size_t n_channels;
  // Globs, for the syntax see yc_invalidate_pattern(). May be NULL if n_patterns
  // is 0.
  const struct yc_slice *patterns;
  // Number of patterns.
  size_t n_patterns;
  // The most bytes of the messages that wait to be taken; 0 selects 8 MiB.
  uint64_t max_bytes;
  // Set to zero.
  uint64_t reserved[4];
} yc_filter;

// A subscription. Any thread may call any function on it at any time; each
// message is returned to one caller. yc_subscription_free() must be the last
// call. It remains valid after the cache is freed, and then returns YC_E_CLOSED;
// until it is freed, the thread of the library may live on. A child process gets
// YC_E_FORKED.
typedef struct yc_subscription yc_subscription;

// A message, or a gap: messages may have been lost at this place. It is
// immutable: any thread may read it. It remains valid after the subscription and
// the cache are freed. The caller frees it with yc_message_free().
typedef struct yc_message yc_message;

// Sends a message to every subscription that selects the channel, in every
// process that uses the same servers and key_prefix. A channel need not be
// created. The name has 1 byte to 64 KiB. The message has up to max_value_bytes;
// it may be empty. It is not stored: who is not subscribed does not get it. The
// library never sends a message twice.
//
// On the memory backend the message goes to the subscriptions of this cache. On
// Redis, and on Memcached with the option events, which names a Redis server, it
// goes to those of all programs on the server or cluster: names lie under
// key_prefix unless the option raw_channels is set, and the option db does not
// separate channels.
//
// On success *receivers is the number of subscriptions that the message was sent
// to, or YC_COUNT_UNKNOWN in a cluster of Redis. Redis counts a subscription once
// for the name of the channel, and once for each pattern that matches. receivers
// may be NULL.
//
// Errors: YC_E_TOO_LARGE; YC_E_DENIED if the user lacks the permission for the
// channel; YC_E_UNSUPPORTED on Memcached without the option events, see
// YC_CAN_PUBLISH; YC_E_TIMEOUT if no reply came: the message may have been sent;
// YC_E_CONNECT also while a fallback serves, which has no channels; others as
// yc_get().
yc_status yc_publish(struct yc_cache *cache,
                     const void *channel,
                     size_t channel_len,
                     const void *message,
                     size_t message_len,
                     uint64_t *receivers,
                     struct yc_error **err);

// Subscribes to the channels of a filter, and waits until their messages are
// delivered: what is published after this call has returned is received. The
// library copies the filter. On Redis each subscription has a connection of its
// own.
//
// Messages wait in the subscription until they are taken, at most max_bytes. What
// comes beyond that is dropped, and a gap with the number of dropped messages
// takes their place: a slow reader never slows down a publisher. If the
// connection is lost, the library subscribes again; a gap without a number marks
// the place. A message that several channels or patterns select comes once. A
// message of another program that is longer than max_value_bytes may be a gap of 1.
// After yc_switch() the subscription continues at the new backend, after a gap.
//
// On success *subscription is the subscription. The caller frees it with
// yc_subscription_free().
//
// Errors: YC_E_INVALID for a filter without a channel or with an empty one;
// YC_E_TOO_LARGE for a name over 64 KiB or too many; YC_E_DENIED; YC_E_UNSUPPORTED
// on Memcached without the option events; others as yc_get().
yc_status yc_subscribe(struct yc_cache *cache,
                       const struct yc_filter *filter,
                       struct yc_subscription **subscription,
                       struct yc_error **err);

// Takes the next message of a subscription. Waits for it for at most timeout_ms
// milliseconds; 0 does not wait, -1 waits without a limit.
//
// Returns:
// - YC_OK: *message is a message or a gap, see yc_message_lost(). The caller
//   frees it with yc_message_free().
// - YC_MISS: no message came in time. *message is not written.
// - YC_E_CLOSED: the cache or the subscription was closed.
// - YC_E_UNSUPPORTED: after yc_switch(), the backend has no channels.
// - YC_E_DENIED: the server has refused the channels since.
// - YC_E_CONNECT and all other errors of a server: no message came in time, and
//   the subscription is interrupted at present. It continues by itself, with a
//   gap.
//
// The first three errors are the end of the subscription: they come after its
// last message, and again for each further call.
yc_status yc_subscription_next(struct yc_subscription *subscription,
                               int64_t timeout_ms,
                               struct yc_message **message,
                               struct yc_error **err);

// Returns in *fd a file descriptor that is readable while messages wait, and once
// the subscription has ended, for epoll, poll or libuv. Then call
// yc_subscription_next() with timeout_ms 0 as long as it returns YC_OK. The
// subscription owns the descriptor until yc_subscription_free(). Watch it; do not
// read, write or close it. It tells of the gap after an outage, not of the outage.
//
// Errors: YC_E_BUSY if the process cannot open another file.
yc_status yc_subscription_fd(struct yc_subscription *subscription, int *fd, struct yc_error **err);

// Ends a subscription: no more messages are received. Those that wait can still
// be taken; then yc_subscription_next() returns YC_E_CLOSED, also to callers that
// wait. A second close returns YC_OK and has no effect. yc_close() ends the
// subscriptions of its cache.
yc_status yc_subscription_close(struct yc_subscription *subscription, struct yc_error **err);

// Frees a subscription and the messages that were not taken, and ends it if it
// was not closed. No other thread may use the handle any more. Never blocks. NULL
// is allowed.
void yc_subscription_free(struct yc_subscription *subscription);

// Returns the channel of a message and writes its length to *len. len may be
// NULL. The message owns the bytes. For a gap, and for NULL, the function returns
// NULL and writes 0.
const void *yc_message_channel(const struct yc_message *message, size_t *len);

// Returns the bytes of a message and writes their number to *len. len may be
// NULL. The message owns the bytes. For a gap, and for NULL, the function returns
// NULL and writes 0.
const void *yc_message_data(const struct yc_message *message, size_t *len);

// Returns the number of messages that were lost at this place, or
// YC_COUNT_UNKNOWN if it is not known, or not known whether any was. Returns 0 for
// a message that was published, and for NULL.
uint64_t yc_message_lost(const struct yc_message *message);

// Frees a message. NULL is allowed.
void yc_message_free(struct yc_message *message);

/* ---- Events ---- */

// Example: remove a local copy when another program invalidates its tag.
//
//     static void follow_prices(yc_cache *cache) {
//         yc_slice tags[] = {{"prices", 6}};
//         yc_events_filter filter = {.struct_size = sizeof filter, .tags = tags, .n_tags = 1};
//         yc_events *events = NULL;
//         yc_event *event = NULL;
//         if (yc_events_open(cache, &filter, &events, NULL) != YC_OK)
//             return;
//         while (yc_events_next(events, -1, &event, NULL) == YC_OK) {
//             size_t len;
//             const char *name = yc_event_name(event, &len);
//             if (yc_event_kind(event) == YC_EVENT_TAG)
//                 printf("%.*s was invalidated\n", (int)len, name);
//             else
//                 printf("anything may have changed\n"); /* a flush, a pattern, a gap */
//             yc_event_free(event);
//         }
//         yc_events_free(events);
//     }

// Event: a tag was invalidated. The name is the tag.
#define YC_EVENT_TAG 1

// Event: yc_invalidate_pattern() removed the keys that match a pattern. The name
// is the pattern.
#define YC_EVENT_PATTERN 2

// Event: yc_flush() or yc_clear() removed all entries. The name is empty.
#define YC_EVENT_FLUSH 4

// Event: a key was deleted, or a delete found that it did not exist. The name is
// the key. An entry that expires, is evicted or is set again causes no event.
#define YC_EVENT_DELETE 8

// Event: yc_switch() has switched this cache to another backend, whose name it has.
#define YC_EVENT_SWITCH 16

// Event: the servers of this cache failed, and the fallback serves. The name is that of
// the backend that serves.
#define YC_EVENT_FALLBACK_BEGIN 32

// Event: the servers of this cache serve again. The name is that of their backend.
#define YC_EVENT_FALLBACK_END 64

// Event: events may have been lost at this place.
#define YC_EVENT_GAP 128

// Flag of a filter of events: the events of this cache are returned too.
#define YC_EVENTS_OWN 1

// The events that a reader wants. Set the struct to zero, then set struct_size
// and the fields that you need. Tags and keys are 1024 together at most.
typedef struct yc_events_filter {
  // Set to sizeof(yc_events_filter).
  uint32_t struct_size;
  // YC_EVENTS_OWN, or zero.
  uint32_t flags;
  // The sum of the YC_EVENT_ numbers of the wanted kinds. 0 selects all, except
  // YC_EVENT_DELETE if there are tags but no keys, and YC_EVENT_TAG if there are
  // keys but no tags. YC_EVENT_GAP is not allowed: it is always returned.
  uint64_t kinds;
  // Only invalidations of these tags are wanted. May be NULL if n_tags is 0: then
  // those of all tags are.
  const struct yc_slice *tags;
  // Number of tags.
  size_t n_tags;
  // Only deletions of keys that match one of these globs are wanted; for the
  // syntax see yc_invalidate_pattern(). May be NULL if n_keys is 0: then those of
  // all keys are.
  const struct yc_slice *keys;
  // Number of globs.
  size_t n_keys;
  // The most bytes of the events that wait to be taken; 0 selects 8 MiB.
  uint64_t max_bytes;
  // Set to zero.
  uint64_t reserved[4];
} yc_events_filter;

// A reader of events. Any thread may call any function on it at any time; each
// event is returned to one caller. yc_events_free() must be the last call. It
// remains valid after the cache is freed, and then returns YC_E_CLOSED. A child
// process gets YC_E_FORKED.
typedef struct yc_events yc_events;

// An event. It contains no value. It is immutable: any thread may read it. It
// remains valid after its reader and the cache are freed. The caller frees it
// with yc_event_free().
typedef struct yc_event yc_event;

// Begins to read events, and waits until they are delivered: what is removed
// after this call has returned causes an event. filter may be NULL: all events
// are wanted. The library copies the filter.
//
// An event tells other programs, with the same servers and key_prefix, of an
// invalidation of a tag or a pattern, a flush or a delete. On Redis each program
// needs the option events; on Memcached it names the Redis server that carries
// them. On the memory backend they come from this cache alone. The events of this
// cache itself are returned with YC_EVENTS_OWN only; those of the kinds
// YC_EVENT_SWITCH and YC_EVENT_FALLBACK_ concern this cache, and are always
// returned. An event comes after its change. It may also come for a change that
// failed, and it may come twice. Where it cannot be sent with its change, in a
// cluster of Redis and for Memcached, it is sent after it, and the call waits for
// that, for a second at most. yc_close() waits as long for events that are left. With the option near, read with YC_OP_FRESH after
// an event: a copy may live for max_staleness.
//
// No result of the cache depends on an event: it serves to keep other copies in
// step. Events wait until they are taken, at most max_bytes; later ones are
// dropped, and a gap takes their place. A slow reader never slows down a writer.
// If the connection is lost, the library continues, and a gap marks the place;
// with the option events_journal there is none as long as the same server has the
// events. The end of a server may cost the last ones: then there is a gap.
//
// On success *events is the reader. The caller frees it with yc_events_free().
//
// Errors: YC_E_INVALID for a filter that is not allowed; YC_E_TOO_LARGE for too
// many or too long names; YC_E_DENIED if the user may not read the channel;
// YC_E_UNSUPPORTED on Redis and Memcached without the option events, see
// YC_CAN_EVENTS; others as yc_get().
yc_status yc_events_open(struct yc_cache *cache,
                         const struct yc_events_filter *filter,
                         struct yc_events **events,
                         struct yc_error **err);

// Takes the next event. Waits for it for at most timeout_ms milliseconds; 0 does
// not wait, -1 waits without a limit.
//
// Returns:
// - YC_OK: *event is an event or a gap, see yc_event_kind(). The caller frees it
//   with yc_event_free().
// - YC_MISS: no event came in time. *event is not written.
// - YC_E_CLOSED: the cache or the reader was closed.
// - YC_E_UNSUPPORTED: after yc_switch(), the backend has no events.
// - YC_E_DENIED: the server has refused the channel since.
// - YC_E_CONNECT and all other errors of a server: no event came in time, and
//   events are not delivered at present. The reader continues by itself.
//
// The first three errors are the end of the reader: they come after its last
// event, and again for each further call.
yc_status yc_events_next(struct yc_events *events,
                         int64_t timeout_ms,
                         struct yc_event **event,
                         struct yc_error **err);

// Returns in *fd a file descriptor that is readable while events wait, and once
// the reader has ended. Use it as that of yc_subscription_fd().
//
// Errors: YC_E_BUSY if the process cannot open another file.
yc_status yc_events_fd(struct yc_events *events, int *fd, struct yc_error **err);

// Ends a reader: no more events are delivered. Those that wait can still be
// taken; then yc_events_next() returns YC_E_CLOSED, also to callers that wait. A
// second close returns YC_OK and has no effect. yc_close() ends the readers of
// its cache.
yc_status yc_events_close(struct yc_events *events, struct yc_error **err);

// Frees a reader and the events that were not taken, and ends it if it was not
// closed. No other thread may use the handle any more. Never blocks. NULL is
// allowed.
void yc_events_free(struct yc_events *events);

// Returns the kind of an event: a YC_EVENT_ number. Returns 0 for NULL.
uint64_t yc_event_kind(const struct yc_event *event);

// Returns the name of an event and writes its length to *len: the tag, the
// pattern, the key or the backend. len may be NULL. The event owns the bytes. For
// a gap, and for NULL, the function returns NULL and writes 0.
const void *yc_event_name(const struct yc_event *event, size_t *len);

// Returns the number of the opened cache that an event comes from: a random
// number. Returns 0 for a gap and for NULL.
uint64_t yc_event_origin(const struct yc_event *event);

// Returns the number of an event among those of its origin. Numbers increase;
// events of calls at the same time may come in another order. Returns 0 for a gap
// and for NULL.
uint64_t yc_event_sequence(const struct yc_event *event);

// Returns the time at which the change of an event began, in milliseconds since
// 1970-01-01 UTC by the clock of its origin. Returns 0 for a gap and for NULL.
int64_t yc_event_time_ms(const struct yc_event *event);

// Returns 1 if an event comes from the cache that its reader was opened on, else
// 0. Returns 0 for NULL.
int yc_event_is_own(const struct yc_event *event);

// Returns the number of events that the reader dropped at a gap, or
// YC_COUNT_UNKNOWN if it is not known how many are missing. Returns 0 for another
// event, and for NULL.
uint64_t yc_event_lost(const struct yc_event *event);

// Frees an event. NULL is allowed.
void yc_event_free(struct yc_event *event);

/* ---- Views ---- */

// Example: give a tenant keys of its own, and calls a limit of 20 ms, on the
// connections of an open cache.
//
//     yc_cache *users = NULL;
//     if (yc_view(cache, "{namespace: users, timeout: 20ms}", &users, &err) == YC_OK) {
//         yc_set(users, "1", 1, "Ada", 3, YC_TTL_DEFAULT, NULL, 0, &err);
//         yc_clear(users, NULL, &err);    /* other namespaces stay */
//         yc_cache_free(users);
//     }

// Opens a view of a cache: a second yc_cache on the same connections and
// threads, with other defaults. Every function accepts a view, except
// yc_migrate() and yc_switch(), which return YC_E_UNSUPPORTED. A switch of the
// cache applies to its views.
//
// options is a YAML or JSON document; NULL selects no options. An option that is
// not given is that of the cache:
// - namespace: 1 to 64 of A-Z a-z 0-9 _ . - ; the keys and the tags of the view
//   are apart from those of the cache and of other namespaces. Listings, search
//   and events return them without the namespace. yc_clear() and yc_flush() remove
//   the entries of the namespace. Channels and yc_redis_command() are those of the cache. The
//   namespace, the key and 2 bytes are at most 64 KiB.
// - timeout: the time limit of a call, shorter or longer than socket_timeout,
//   such as 20ms. It also limits wait_ms of yc_get_or_lease().
// - default_ttl: the time to live for YC_TTL_DEFAULT, such as 1m; 0 never
//   expires.
// - tags: a list of tags that each entry gets in addition to those of the call.
// - touch_on_get: true selects sliding expiry. yc_get(), yc_get_into(),
//   yc_get_many() and a fresh value of yc_get_or_lease() give the entry the default
//   time to live again; near copies are not used.
// - max_age: the largest age of an entry that reads of the view accept, such as
//   10s. An older entry, or one of unknown age, is a miss for yc_get(),
//   yc_get_into(), yc_get_many(), yc_get_versioned(), yc_get_info() and
//   yc_get_and_expire(), and stays; see yc_get_info() for the accuracy. Near copies
//   are not used. yc_get_or_lease() returns YC_E_UNSUPPORTED.
// - patterns: walk or barrier, how yc_invalidate_pattern() works.
//
// A view of a view has the options of both; the later one counts, and the tags
// are added. All views of a namespace have the same statistics: yc_stats() and
// yc_metrics() of a view report them, and those of the cache report the first 64
// namespaces.
//
// On success *out is the view. The caller closes it with yc_close() and frees it
// with yc_cache_free(). This closes no connection, and no other view. yc_close()
// of the cache closes its views: calls on them return YC_E_CLOSED. A view may be
// freed after its cache.
//
// Errors: YC_E_CONFIG (the message contains the unknown option); YC_E_INVALID if
// the view has a namespace and options names another; YC_E_CLOSED.
yc_status yc_view(struct yc_cache *cache,
                  const char *options,
                  struct yc_cache **out,
                  struct yc_error **err);

/* ---- Credentials ---- */

// Example: log in with tokens that expire.
//
//     static void supply_token(void *user_data, yc_credentials_request *request) {
//         char token[4096];
//         FILE *file = fopen((const char *)user_data, "r"); /* Another program renews it. */
//         size_t len = file ? fread(token, 1, sizeof token, file) : 0;
//         if (file)
//             fclose(file);
//         if (len > 0)
//             yc_credentials_give(request, "app", 3, token, len, 900000, NULL);
//         else
//             yc_credentials_fail(request, "there is no token", 17, NULL);
//     }
//
//     static yc_status open_with_tokens(char *path, yc_cache **cache, yc_error **err) {
//         const char *url = "rediss://cache.example.com:6379?credentials=callback";
//         yc_status status = yc_open(url, cache, err);
//         return status == YC_OK ? yc_set_credentials(*cache, supply_token, path, NULL, err) : status;
//     }

// A request for credentials. Answer it once, with yc_credentials_give() or
// yc_credentials_fail(), which free it: in the callback, or later in any thread.
typedef struct yc_credentials_request yc_credentials_request;

// Supplies credentials: answers the request. The library calls the function on a
// thread of its own, where it may block: before the first connection needs
// credentials, shortly before they expire, and when a server has refused them.
// It calls it again only after the request was answered. The function must not
// call the library with the same cache, throw or call longjmp().
typedef void (*yc_credentials_fn)(void *user_data, struct yc_credentials_request *request);

// Sets the callback that supplies the credentials of a cache, in place of the
// previous one. The cache needs the option `credentials: callback`, with which
// yc_open() does not wait for the servers. All connections of the cache log in
// with the answer, which is kept until shortly before it expires. Then open
// connections log in again, and no call fails because of that.
//
// Unless the cache has `connect: lazy`, the function waits for the answer and for
// the servers, for at most socket_connect_timeout each, and returns the error if
// they cannot be used. The callback remains set then, and the library tries
// again. If supply is NULL, no
// callback is set, and new connections fail. With a view, the function sets the
// callback of its cache.
//
// The library calls finalise, which may be NULL, with user_data once, after the
// last call of supply: when the callback is replaced, when the cache is closed,
// or before this function returns YC_E_INVALID, YC_E_CLOSED or
// YC_E_UNSUPPORTED.
//
// Errors: YC_E_UNSUPPORTED if no server of the cache takes credentials of a
// callback; YC_E_AUTH if the callback fails or the server refuses; the errors of
// the servers.
yc_status yc_set_credentials(struct yc_cache *cache,
                             yc_credentials_fn supply,
                             void *user_data,
                             yc_finalise_fn finalise,
                             struct yc_error **err);

// Answers a request with credentials. username may be NULL for the default user
// of Redis. Both texts are UTF-8, and the library copies them. valid_ms is the
// time from now for which a server accepts them, in milliseconds; 0: they do not
// expire. A time below 1000 counts as 1000.
//
// Frees the request, also on failure: the request fails then. Has no effect if
// the callback was replaced or the cache was closed meanwhile.
//
// Errors: YC_E_INVALID for a password that is empty, a text that is not UTF-8 or
// contains NUL, or a negative time.
yc_status yc_credentials_give(struct yc_credentials_request *request,
                              const char *username,
                              size_t username_len,
                              const char *password,
                              size_t password_len,
                              int64_t valid_ms,
                              struct yc_error **err);

// Answers a request with the reason why there are no credentials: a text of
// UTF-8, which becomes part of error messages and log lines. It must not contain
// a secret. Calls that need a new connection return YC_E_AUTH. The library calls
// the callback again after a pause, half a second at first and at most ten
// seconds.
//
// Frees the request. Has no effect if the callback was replaced or the cache was
// closed meanwhile.
//
// Errors: YC_E_INVALID if request is NULL.
yc_status yc_credentials_fail(struct yc_credentials_request *request,
                              const char *reason,
                              size_t reason_len,
                              struct yc_error **err);

/* ---- Switch and migrate ---- */

// Example: replace the backend of an open cache and copy its entries.
//
//     yc_value *report = NULL;
//     if (yc_switch(cache, "memory://?max_size=50000", "{copy: true}", &report,
//                   &err) != YC_OK) {
//         fprintf(stderr, "%s\n", yc_error_message(err));
//         yc_error_free(err);
//     }
//     yc_value_free(report);
//
// Example: copy the entries of one cache to another and print the progress.
//
//     static int32_t print_progress(void *user_data, const yc_progress *progress) {
//         (void)user_data;
//         printf("%llu copied\n", (unsigned long long)progress->copied);
//         return 0;
//     }
//
//     static yc_status copy_users(yc_cache *source, yc_cache *target) {
//         return yc_migrate(source, target, "{pattern: 'user:*'}", print_progress,
//                           NULL, NULL, NULL, NULL);
//     }

// Replaces the backend of an open cache. config is a text that yc_open()
// accepts. Calls in flight finish on the old backend, later calls use the new
// one, and no call fails. Key prefix, default TTL and fallback come from the new
// configuration; counters and latencies are kept. The function returns after the
// old backend is closed.
//
// options is a YAML or JSON map, or NULL. "{copy: true}" first copies the
// entries as yc_migrate() does, while the old backend serves calls. Writes and
// invalidations during the copy are applied to the new backend too. Without
// copy, the new backend starts with its own entries. Existing entries in the new
// backend are kept, even if they are older. Flush the new backend first if it
// may hold stale data.
//
// On success *report is one JSON object: backend, and copied, which is the
// report of the copy. The caller frees it with yc_value_free(). report may be
// NULL.
//
// Errors: YC_E_CONFIG; the errors of opening the new backend; YC_E_BUSY during
// another switch of this cache; YC_E_UNSUPPORTED if the old backend cannot list
// the keys to copy. After an error the cache uses the old backend.
yc_status yc_switch(struct yc_cache *cache,
                    const char *config,
                    const char *options,
                    struct yc_value **report,
                    struct yc_error **err);

// The progress of a migration. Later versions may use the reserved fields.
typedef struct yc_progress {
  // sizeof(yc_progress) in the library.
  size_t struct_size;
  // Number of keys that were examined.
  uint64_t examined;
  // Number of entries that were stored in the target. In a dry run: that would
  // be stored.
  uint64_t copied;
  // Number of entries that were skipped without a failure: the target already
  // has the key, or the source has it no longer.
  uint64_t skipped;
  // Number of entries that could not be copied.
  uint64_t failed;
  // Value for the option `resume` that continues the migration here or slightly
  // earlier, also in another process. NULL at the end. Valid during the call.
  const char *resume;
  // Zero.
  uint64_t reserved[4];
} yc_progress;

// Receives the progress of a migration. The library calls the function every few
// hundred keys on the thread that called yc_migrate(). Return 0 to continue.
// Return another number to stop the migration; its report can be resumed. The
// function may call the library. It must not throw or call longjmp().
typedef int32_t (*yc_progress_fn)(void *user_data, const struct yc_progress *progress);

// Copies the entries of one cache to another: values, tags and remaining times to
// live. Entries that the target already has, or that are written there during
// the migration, are kept. Both caches remain in use. An entry that is written
// to the source during the migration may or may not be copied; use yc_switch()
// to copy and to follow writes.
//
// A migration does not undo an invalidation that this process makes through any
// handle. Tag, pattern, delete and flush operations on the target stop the
// copying of the entries that they name. Those on the source are repeated on the
// target before this function returns. Tag invalidations by other processes are
// followed, except on the target for a tag that the migration has not yet met.
// Repeat deletes, patterns and flushes by other processes on the target after
// the migration.
//
// options is a YAML or JSON map, or NULL: "{pattern: 'user:*', rate: 5000,
// dry_run: true, resume: '…'}". The guide lists the options. The library calls
// progress, which may be NULL, with user_data. It calls finalise, which may be
// NULL, with user_data before this function returns, also on failure. The
// migration retries a server that fails for about three seconds.
//
// On success *report is one JSON object: examined, copied, skipped and failed
// with their reasons, largest_ttl_drift_ms of a sample, complete, and, if it is
// not complete, resume. The caller frees it with yc_value_free(). report may be
// NULL.
//
// Errors: YC_E_INVALID if both caches have the same servers and prefix, or for
// an invalid resume; YC_E_CONFIG for invalid options; YC_E_UNSUPPORTED if the
// source cannot list keys; YC_E_CLOSED if one of the caches is closed; the
// errors of the servers. Entries that were copied before the error remain. The
// last progress can be resumed.
yc_status yc_migrate(struct yc_cache *source,
                     struct yc_cache *target,
                     const char *options,
                     yc_progress_fn progress,
                     void *user_data,
                     yc_finalise_fn finalise,
                     struct yc_value **report,
                     struct yc_error **err);

/* ---- Reports and metrics ---- */

// Example:
//
//     yc_value *json = NULL;
//     if (yc_stats(cache, &json, NULL) == YC_OK) {
//         size_t len;
//         const char *text = yc_value_data(json, &len);
//         printf("%.*s\n", (int)len, text);
//         yc_value_free(json);
//     }
//
//     uint64_t flags = 0;
//     uint64_t keys, bytes;
//     yc_capabilities(cache, &flags, NULL);
//     if (yc_size(cache, &keys, &bytes, NULL) == YC_OK)
//         printf("%s%llu keys\n", flags & YC_CAN_SIZE ? "" : "about ",
//                (unsigned long long)keys);
//
// Example: ask why a key is a miss.
//
//     yc_slice tag = {"users", 5};
//     yc_value *why = NULL;
//     if (yc_explain(cache, "user:1", 6, &tag, 1, &why, NULL) == YC_OK) {
//         size_t len;
//         const char *text = yc_value_data(why, &len);
//         printf("%.*s\n", (int)len, text);
//         yc_value_free(why);
//     }
//
// Example: serve the metrics of two caches under one path.
//
//     yc_cache *caches[] = {cache, cache};
//     const char *names[] = {"users", "pages"};
//     yc_value *page = NULL;
//     if (yc_metrics_many(caches, names, 2, &page, NULL) == YC_OK) {
//         size_t len;
//         const char *text = yc_value_data(page, &len);
//         printf("%.*s", (int)len, text);
//         yc_value_free(page);
//     }

// Reports statistics as one JSON object: the counters since the cache was
// opened, its size, and latencies in microseconds of a sample of the calls. The
// guide lists the names; later versions may add some. A number that is not known
// at the moment is null, such as the number of keys on a server that is down;
// yc_size() then returns the reason.
//
// On success *json is UTF-8 without a NUL at the end: use its length. The caller
// frees it with yc_value_free().
yc_status yc_stats(struct yc_cache *cache, struct yc_value **json, struct yc_error **err);

// Reports the state of the cache as one JSON object. "status" is "healthy",
// "degraded" (a part does not work, for example one of several servers is down)
// or "unhealthy". "reasons" explains the status. "details" contains the report
// of each server. The function asks each server within the time of one call and
// changes no counter. An idle cache is healthy.
//
// Returns YC_OK also if the cache is unhealthy. *json: see yc_stats().
yc_status yc_health(struct yc_cache *cache, struct yc_value **json, struct yc_error **err);

// Explains a key as one JSON object: whether yc_get() returns its value, why, and
// where the key is. The call is not counted as a hit or a miss, is no use of the
// entry, changes nothing, and does not load anything. tags is an array of names
// of tags, or NULL if n_tags is 0: entries contain hashes of their tags, and
// those of the named ones are reported by name.
//
// The object has these fields. A field that does not apply is null:
// - "exists": true if yc_get() returns a value.
// - "state": "fresh"; "stale" (past the time to live, but yc_get_or_lease() may
//   return it); "absent" (the cache remembers that a load found nothing); or
//   "missing".
// - "reason": null if the key exists, else the reason of the miss: "not_stored",
//   "expired", "invalidated", "absent", "leased" (a caller loads the key),
//   "held_back" (the last load failed), "damaged", "foreign" (another program
//   wrote the bytes), "later_version" (a later version of the library did) or
//   "outdated" (on Memcached with failover: eject or discovery: config).
// - "message": the state and its reason as text, which may change.
// - "ttl_ms": the time left of a fresh value or of an absence; null if it never
//   ends.
// - "stale_ms": the time left of a stale value, or the time after "ttl_ms" in
//   which a fresh one may be served as stale; null for none.
// - "age_ms": the time since the entry was set, up to two seconds more; a change
//   of the time to live and a copy do not change it. Null with "age_unknown", the
//   reason as text, if the time of the set is not stored: in memory with entries
//   that never expire, on Redis with counters, and with entries of earlier
//   versions of the library.
// - "version": the version of the entry in decimal digits, as a string: it has 64
//   bits.
// - "value_bytes": the length of the value. "stored_bytes": the bytes that the
//   server stores under the name, or the memory that the entry takes.
// - "tags": an array with an object for each tag of the entry: "name" (null if it
//   is not among tags and the entry does not store it), "hash" (16 hexadecimal
//   digits, as in the stored name of its version) and "status": "current",
//   "invalidated", or "lost" if the server does not have its version any more,
//   which counts as an invalidation.
// - "tags_not_carried": an array with the names among tags that the entry does not
//   have; empty without an entry.
// - "lease": null, or an object: "kind" is "held" or "held_back", "left_ms" the
//   time after which it ends by itself.
// - "serving": "primary", or "fallback" if the fallback serves.
// - "backend": "memory", "redis" or "memcached"; "server": the server of the key
//   as yc_health() names it, or "memory".
// - "topology": "single", "sentinel" or "cluster" on Redis; "slot": the slot of
//   the key in a cluster.
// - "stored_name": the name under which the server stores the entry; null on
//   memory.
//
// In names of tags and in "stored_name", backslashes and bytes that cannot be
// printed are escaped (\\ \n \r \t \xNN). Servers count the read among their own
// hits. Redis, and Memcached over the binary protocol, also take it for a use of
// the entry when they evict.
//
// Returns YC_OK also if the key does not exist. *json: see yc_stats(). Errors:
// see yc_get().
yc_status yc_explain(struct yc_cache *cache,
                     const void *key,
                     size_t key_len,
                     const struct yc_slice *tags,
                     size_t n_tags,
                     struct yc_value **json,
                     struct yc_error **err);

// Reports counters, gauges and a latency histogram in the text format of
// Prometheus (0.0.4, "text/plain; version=0.0.4"). The guide lists the names;
// later versions may add some. Each sample has the labels backend and
// key_prefix. One text describes one cache. Do not concatenate the texts of two
// caches, because each of them declares the metric families: use
// yc_metrics_many(). The function asks each server for its health, as
// yc_health() does, changes no counter, and does not list the keys of servers.
//
// Returns YC_OK also if a server is down: yokedcache_up reports that. *text: see
// *json of yc_stats().
yc_status yc_metrics(struct yc_cache *cache, struct yc_value **text, struct yc_error **err);

// Reports the metrics of many caches as one text, as yc_metrics() does for one.
// Each metric family is declared once. Each sample has the label cache, the name
// of its cache, in addition to those of yc_metrics(). caches and names are arrays
// of count items; both may be NULL if count is 0. A name is a string of 1 to 256
// bytes of UTF-8, and no two names are equal. The samples are in the order of the
// arrays. The servers of all caches are asked at the same time.
//
// A cache that is closed is left out. Without any other cache, *text is empty.
// *text: see *json of yc_stats().
//
// Errors: YC_E_INVALID for a cache or a name that is NULL, for a name that is
// empty, too long, not UTF-8 or given twice; YC_E_FORKED for a cache of the parent
// process.
yc_status yc_metrics_many(struct yc_cache *const *caches,
                          const char *const *names,
                          size_t count,
                          struct yc_value **text,
                          struct yc_error **err);

// Reports the size of the cache: *keys is the number of entries, and *bytes is
// the size of keys, values and bookkeeping. Each of the two pointers may be
// NULL. An exact count is the number of keys that a listing returns: entries
// that expired or were invalidated are not counted. The count is exact with
// YC_CAN_SIZE. Without it, the count is exact while the prefix has up to 1000
// entries on each server and the server has few other names. "size_estimated" of
// yc_stats() reports whether the count is an estimate. The memory backend counts
// in small steps that do not block other calls. For the view of a namespace (see
// yc_view()), the call lists the keys, and *bytes is YC_COUNT_UNKNOWN.
yc_status yc_size(struct yc_cache *cache, uint64_t *keys, uint64_t *bytes, struct yc_error **err);

// Checks that every server of the backend replies. Returns YC_OK, or the failure
// of a server.
yc_status yc_ping(struct yc_cache *cache, struct yc_error **err);

// Capability: the backend can list keys. Listing, patterns and search work.
#define YC_CAN_LIST 1

// Capability: an invalidation can count the entries that it removes.
#define YC_CAN_COUNT 2

// Capability: other processes use the same entries.
#define YC_CAN_SHARE 4

// Capability: yc_size() is exact, not an estimate.
#define YC_CAN_SIZE 8

// Capability: yc_set_if(), yc_delete_if(), yc_get_and_expire(),
// yc_counter_add() and yc_get_or_lease() work. Redis needs the permission for
// scripts (+eval), Memcached must not run with -C.
#define YC_CAN_COMPARE 16

// Capability: yc_redis_command() works.
#define YC_CAN_COMMAND 32

// Capability: yc_publish() and yc_subscribe() work.
#define YC_CAN_PUBLISH 64

// Capability: the memory of this process may have values, which yc_get_near()
// reads: the memory backend, or a near cache.
#define YC_CAN_NEAR 128

// Capability: yc_events_open() works.
#define YC_CAN_EVENTS 256

// Reports the capabilities of the backend: *flags is a sum of YC_CAN_ numbers.
// An operation that the backend does not support returns YC_E_UNSUPPORTED.
yc_status yc_capabilities(struct yc_cache *cache, uint64_t *flags, struct yc_error **err);

/* ---- Configuration check ---- */

// Example:
//
//     yc_value *json = NULL;
//     if (yc_config_check("redis://localhost:6379/0", &json, &err) == YC_OK) {
//         size_t len;
//         const char *text = yc_value_data(json, &len);
//         printf("%.*s\n", (int)len, text);
//         yc_value_free(json);
//     } else {
//         fprintf(stderr, "%s\n", yc_error_message(err));
//         yc_error_free(err);
//     }

// Checks a configuration text without opening a cache. config is the text that
// yc_open() accepts. The function contacts no server and reads no certificate.
//
// On success *json is one JSON object, in UTF-8 without a NUL, that describes
// the resulting configuration: "backend", "servers", "key_prefix", and the
// options by name, with times in milliseconds ("default_ttl_ms"). "password" is
// true or false, never the password. "notes" lists accepted options that are
// probably a mistake, one sentence each; yc_open() logs them at YC_LOG_WARN. The
// caller frees *json with yc_value_free(). json may be NULL.
//
// Errors: YC_E_CONFIG and YC_E_UNSUPPORTED, as yc_open() returns them.
yc_status yc_config_check(const char *config, struct yc_value **json, struct yc_error **err);

// Checks a configuration file without opening a cache. path and environment are
// the arguments of yc_open_file(). Result and errors: see yc_config_check().
yc_status yc_config_check_file(const char *path,
                               const char *environment,
                               struct yc_value **json,
                               struct yc_error **err);

/* ---- Batch ---- */

// Example:
//
//     yc_op ops[2];
//     memset(ops, 0, sizeof ops);
//     ops[0].kind = YC_OP_SET;
//     ops[0].key = "hits", ops[0].key_len = 4;
//     ops[0].value = "1", ops[0].value_len = 1;
//     ops[0].ttl_ms = YC_TTL_DEFAULT;
//     ops[1].kind = YC_OP_GET;
//     ops[1].key = "user:1", ops[1].key_len = 6;
//     if (yc_batch(cache, ops, 2, sizeof(yc_op), NULL) == YC_OK)
//         for (int i = 0; i < 2; i++) {
//             puts(yc_status_name(ops[i].status));
//             yc_value_free(ops[i].result);
//             yc_error_free(ops[i].error);
//         }
//
//     yc_cancel_token *token = yc_cancel_token_new();
//     // Another thread may call yc_cancel_token_cancel(token).
//     if (yc_batch_cancellable(cache, ops, 1, sizeof(yc_op), token, NULL) == YC_E_CANCELLED)
//         puts("cancelled");
//     yc_cancel_token_free(token);

// Kind of operation: yc_get().
#define YC_OP_GET 1

// Kind of operation: yc_set().
#define YC_OP_SET 2

// Kind of operation: yc_delete().
#define YC_OP_DELETE 3

// Kind of operation: yc_exists().
#define YC_OP_EXISTS 4

// Kind of operation: yc_expire().
#define YC_OP_EXPIRE 5

// Kind of operation: yc_ttl().
#define YC_OP_TTL 6

// Kind of operation: yc_invalidate_tags().
#define YC_OP_INVALIDATE_TAGS 7

// Kind of operation: yc_invalidate_pattern(). The field key contains the pattern.
#define YC_OP_INVALIDATE_PATTERN 8

// Kind of operation: yc_flush().
#define YC_OP_FLUSH 9

// Kind of operation: yc_ping().
#define YC_OP_PING 10

// Kind of operation: yc_stats().
#define YC_OP_STATS 11

// Kind of operation: yc_health().
#define YC_OP_HEALTH 12

// Kind of operation: yc_metrics().
#define YC_OP_METRICS 13

// Flag of a YC_OP_REDIS_COMMAND: the library may send the command again if its
// reply was lost. Set it only if the command does the same when it runs twice.
#define YC_OP_IDEMPOTENT 2

// Flag of a YC_OP_GET or YC_OP_GET_OR_LEASE: read from the servers, also if the
// near cache has a copy. Without a near cache it has no effect.
#define YC_OP_FRESH 4

// Flag of a YC_OP_INVALIDATE_TAGS, YC_OP_INVALIDATE_PATTERN, YC_OP_CLEAR or
// YC_OP_FLUSH: count the entries that it would remove, and remove nothing. No other
// process notices a dry run, and it causes no event. See yc_invalidate_tags().
#define YC_OP_DRY_RUN 8

// Kind of completion: yc_queue_get_many(). Not allowed in yc_op.kind.
#define YC_OP_GET_MANY 14

// Kind of completion: yc_queue_set_many(). Not allowed in yc_op.kind.
#define YC_OP_SET_MANY 15

// Kind of completion: yc_queue_delete_many(). Not allowed in yc_op.kind.
#define YC_OP_DELETE_MANY 16

// Kind of completion: yc_queue_keys_next(). Not allowed in yc_op.kind.
#define YC_OP_KEYS_NEXT 17

// Kind of completion: yc_queue_search(). Not allowed in yc_op.kind.
#define YC_OP_SEARCH 18

// Kind of operation: yc_get_versioned().
#define YC_OP_GET_VERSIONED 19

// Kind of operation: yc_set_if().
#define YC_OP_SET_IF 20

// Kind of operation: yc_delete_if().
#define YC_OP_DELETE_IF 21

// Kind of operation: yc_get_and_expire().
#define YC_OP_GET_AND_EXPIRE 22

// Kind of operation: yc_counter_add().
#define YC_OP_COUNTER_ADD 23

// Kind of operation: yc_get_or_lease(). The field value points to the
// yc_lease_options, and value_len is their size; or both are 0. The fields tags
// and n_tags are not used.
#define YC_OP_GET_OR_LEASE 24

// Kind of operation: yc_lease_fill(). The field lease is the lease, value points
// to the yc_fill, and value_len is its size.
#define YC_OP_LEASE_FILL 25

// Kind of operation: yc_lease_abandon(). The field lease is the lease, and ttl_ms
// is retry_after_ms.
#define YC_OP_LEASE_ABANDON 26

// Kind of operation: yc_explain(). The field key is the key, and tags are the
// names of tags to report by.
#define YC_OP_EXPLAIN 27

// Kind of operation: yc_redis_command(). The field tags has the arguments, n_tags
// is their number, and number is key_index.
#define YC_OP_REDIS_COMMAND 28

// Kind of operation: yc_publish(). The field key is the channel, and value is the
// message. The result is in number.
#define YC_OP_PUBLISH 29

// Kind of completion: yc_queue_subscription_next(). Not allowed in yc_op.kind.
#define YC_OP_SUBSCRIPTION_NEXT 30

// Kind of completion: yc_queue_events_next(). Not allowed in yc_op.kind.
#define YC_OP_EVENTS_NEXT 31

// Kind of operation: yc_get_info(). The field number is max_age_ms. The results
// are result, version, remaining_ms, age_ms in number, and tag_count.
#define YC_OP_GET_INFO 32

// Kind of operation: yc_clear().
#define YC_OP_CLEAR 33

// Flag of an operation: count the entries that an invalidation or a flush
// removes.
#define YC_OP_COUNT 1

// An operation and its result. Set the struct to zero, then set the fields that
// the kind needs. "Result" marks the fields that yc_batch() writes.
typedef struct yc_op {
  // Kind of the operation: one of YC_OP_GET to YC_OP_METRICS, of
  // YC_OP_GET_VERSIONED to YC_OP_PUBLISH, YC_OP_GET_INFO, or YC_OP_CLEAR.
  int32_t kind;
  // 0, YC_OP_COUNT, YC_OP_IDEMPOTENT, YC_OP_FRESH or YC_OP_DRY_RUN.
  uint32_t flags;
  // The key or pattern. May be NULL if key_len is 0.
  const void *key;
  // Length of key in bytes.
  size_t key_len;
  // The value to store, or the struct that the kind needs. May be NULL if
  // value_len is 0.
  const void *value;
  // Length of value in bytes.
  size_t value_len;
  // The tags to set, to invalidate or to report by, or the arguments of a
  // YC_OP_REDIS_COMMAND. May be NULL if n_tags is 0.
  const struct yc_slice *tags;
  // Number of tags.
  size_t n_tags;
  // Time to live for YC_OP_SET, YC_OP_EXPIRE, YC_OP_SET_IF,
  // YC_OP_GET_AND_EXPIRE and YC_OP_COUNTER_ADD, see yc_set(); retry_after_ms for
  // YC_OP_LEASE_ABANDON.
  int64_t ttl_ms;
  // Data of the caller. The library does not use it.
  uint64_t user_data;
  // Result: the status that the function of this kind returns.
  yc_status status;
  // Condition of a YC_OP_SET_IF: YC_IF_ABSENT, YC_IF_PRESENT or
  // YC_IF_VERSION; else zero.
  int32_t condition;
  // Result: the value of a YC_OP_GET, YC_OP_GET_VERSIONED, YC_OP_GET_INFO or
  // YC_OP_GET_AND_EXPIRE with status YC_OK or of a YC_OP_GET_OR_LEASE, or the
  // text of a YC_OP_STATS, YC_OP_HEALTH, YC_OP_METRICS or YC_OP_EXPLAIN; else
  // NULL. The caller frees it with yc_value_free().
  struct yc_value *result;
  // Result: the error if status is negative, else NULL. The caller frees it
  // with yc_error_free().
  struct yc_error *error;
  // Result of YC_OP_TTL and YC_OP_GET_INFO: the remaining time in milliseconds, or
  // -1 if the entry never expires; else 0.
  int64_t remaining_ms;
  // Result: the number of removed entries, or YC_COUNT_UNKNOWN. With
  // YC_OP_DRY_RUN the number of those that would be removed.
  uint64_t removed;
  // The version that a YC_OP_SET_IF or YC_OP_DELETE_IF compares. Result: the
  // version of a YC_OP_GET_VERSIONED or YC_OP_GET_INFO, or of the entry that a
  // YC_OP_SET_IF has stored; else 0.
  uint64_t version;
  // The delta of a YC_OP_COUNTER_ADD, the key_index of a YC_OP_REDIS_COMMAND, the
  // max_age_ms of a YC_OP_GET_INFO. Result: the value of the counter, the number
  // of subscriptions that a YC_OP_PUBLISH was sent to, -1 if it is unknown, or the
  // age_ms of a YC_OP_GET_INFO; else 0.
  int64_t number;
  // The initial value of the counter of a YC_OP_COUNTER_ADD.
  int64_t initial;
  // The lease to fill or to abandon. Result of a YC_OP_GET_OR_LEASE: the lease,
  // or NULL. The caller frees it with yc_lease_free().
  struct yc_lease *lease;
  // Result: the reply to a YC_OP_REDIS_COMMAND with status YC_OK; else NULL. The
  // caller frees it with yc_reply_free().
  struct yc_reply *reply;
  // Result: the number of tags of the entry of a YC_OP_GET_INFO; else 0.
  uint64_t tag_count;
  // Time limit of the operation in milliseconds, up to a day: shorter or longer than
  // socket_timeout, but in yc_batch() no longer than what is left of the call. 0
  // selects that of the call. Reports and dry runs refuse it with YC_E_INVALID.
  uint64_t timeout_ms;
  // Set to zero.
  uint64_t reserved[1];
} yc_op;

// Runs n operations in order, each as the function of its kind does. Operations
// that can share a round trip to a server do so. ops is an array of n operations
// of stride bytes each; stride is sizeof(yc_op). With the stride, a program that
// was compiled against a later, longer yc_op works with this library.
//
// All operations share the deadline of the call (socket_timeout). An operation
// that was not reached in time gets YC_E_TIMEOUT and was not sent. YC_OP_FLUSH,
// YC_OP_INVALIDATE_PATTERN and dry runs walk the whole cache and have no time
// limit; the operations after them have the time that was left.
//
// Returns YC_OK if all operations were run: check the status of each. On any
// other status the arguments were refused, no operation was run, and the fields
// of the operations are not written.
yc_status yc_batch(struct yc_cache *cache,
                   struct yc_op *ops,
                   size_t n,
                   size_t stride,
                   struct yc_error **err);

// A token with which any thread cancels a call of yc_batch_cancellable().
typedef struct yc_cancel_token yc_cancel_token;

// Creates a token. The caller frees it with yc_cancel_token_free().
struct yc_cancel_token *yc_cancel_token_new(void);

// Cancels the call that uses a token, and every later call with it. Does not
// wait for the call. Any thread may call it at any time; NULL has no effect.
void yc_cancel_token_cancel(const struct yc_cancel_token *token);

// Frees a token. No call may be using it. NULL has no effect.
void yc_cancel_token_free(struct yc_cancel_token *token);

// Runs n operations as yc_batch() does, until another thread cancels the token
// with yc_cancel_token_cancel(). A call that waits for a server or for the load
// of another caller ends within about 10 ms then. Operations that the memory
// backend executes are not interrupted. One call at a time uses a token.
//
// Returns, in addition to the statuses of yc_batch():
// - YC_E_CANCELLED: the token was cancelled before or during the call. The
//   server may have executed some of the operations. The fields of the
//   operations are not written; leases that were taken are abandoned.
// - YC_E_INVALID: token is NULL, or another call uses it.
yc_status yc_batch_cancellable(struct yc_cache *cache,
                               struct yc_op *ops,
                               size_t n,
                               size_t stride,
                               const struct yc_cancel_token *token,
                               struct yc_error **err);

/* ---- Queue ---- */

// Example:
//
//     yc_queue *queue = NULL;
//     yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL);
//
//     yc_op op;
//     memset(&op, 0, sizeof op);
//     op.kind = YC_OP_GET;
//     op.key = "user:1", op.key_len = 6;
//     op.user_data = 42;
//     size_t accepted;
//     yc_queue_submit(queue, &op, 1, sizeof op, NULL, &accepted, NULL);
//
//     yc_completion done;
//     size_t count;
//     if (yc_queue_wait(queue, &done, 1, sizeof done, 1000, &count, NULL) == YC_OK) {
//         printf("%llu: %s\n", (unsigned long long)done.user_data,
//                yc_status_name(done.status));
//         yc_completion_clear(&done);
//     }
//     yc_queue_close(queue, -1, NULL);
//     yc_queue_free(queue);

// Identifies an operation of a queue until its completion is taken. A ticket is
// never 0 and is never reused in one queue.
typedef uint64_t yc_ticket;

// The results of yc_queue_get_many(), yc_queue_set_many() or
// yc_queue_delete_many(), in the order of the keys. They are immutable: any
// thread may read them. They remain valid after the cache is freed. The caller
// frees them with yc_results_free().
typedef struct yc_results yc_results;

// Returns the status of each key (YC_OK, YC_MISS or a failure) and writes their
// number to *count. count may be NULL. The results own the array. For NULL the
// function returns NULL and writes 0.
const yc_status *yc_results_statuses(const struct yc_results *results, size_t *count);

// Returns the value of each key, NULL for a key without a value, and writes
// their number to *count. count may be NULL. The results own the array and the
// values; use yc_value_clone() to keep a value. For NULL the function returns
// NULL and writes 0.
const struct yc_value *const *yc_results_values(const struct yc_results *results, size_t *count);

// Frees results and their values. NULL is allowed.
void yc_results_free(struct yc_results *results);

// The completion of an operation of a queue. The caller owns the handles in it:
// free each of them, or all with yc_completion_clear().
typedef struct yc_completion {
  // The ticket of the operation.
  yc_ticket ticket;
  // The user_data of the operation, unchanged.
  uint64_t user_data;
  // The status that the function of this kind returns, or YC_E_CANCELLED,
  // YC_E_CLOSED, YC_E_PANIC.
  yc_status status;
  // Kind of the operation: a YC_OP_ number.
  int32_t kind;
  // The value of a YC_OP_GET, YC_OP_GET_VERSIONED, YC_OP_GET_INFO or
  // YC_OP_GET_AND_EXPIRE with status YC_OK or of a YC_OP_GET_OR_LEASE, or the text of a YC_OP_STATS,
  // YC_OP_HEALTH, YC_OP_METRICS or YC_OP_EXPLAIN; else NULL. The caller frees it
  // with yc_value_free().
  struct yc_value *result;
  // The error if status is negative, else NULL. The caller frees it with
  // yc_error_free().
  struct yc_error *error;
  // The result of YC_OP_TTL and YC_OP_GET_INFO: the remaining time in
  // milliseconds, or -1 if the entry never expires; else 0.
  int64_t remaining_ms;
  // The number of removed entries, or YC_COUNT_UNKNOWN. With YC_OP_DRY_RUN the
  // number of those that would be removed.
  uint64_t removed;
  // The results of an operation on many keys, else NULL. The caller frees them
  // with yc_results_free().
  struct yc_results *results;
  // The page of a YC_OP_KEYS_NEXT with status YC_OK, else NULL. The caller
  // frees it with yc_keys_free().
  struct yc_keys *keys;
  // The matches of a YC_OP_SEARCH, else NULL. The caller frees them with
  // yc_matches_free().
  struct yc_matches *matches;
  // The version of a YC_OP_GET_VERSIONED or YC_OP_GET_INFO, or of the entry that a
  // YC_OP_SET_IF has stored; else 0.
  uint64_t version;
  // The value of the counter of a YC_OP_COUNTER_ADD, the number of subscriptions
  // that a YC_OP_PUBLISH was sent to, -1 if it is unknown, or the age_ms of a
  // YC_OP_GET_INFO; else 0.
  int64_t number;
  // The lease of a YC_OP_GET_OR_LEASE, if the caller must load the value, else
  // NULL. The caller frees it with yc_lease_free().
  struct yc_lease *lease;
  // The reply to a YC_OP_REDIS_COMMAND with status YC_OK; else NULL. The caller
  // frees it with yc_reply_free().
  struct yc_reply *reply;
  // The message of a YC_OP_SUBSCRIPTION_NEXT with status YC_OK; else NULL. The
  // caller frees it with yc_message_free().
  struct yc_message *message;
  // The event of a YC_OP_EVENTS_NEXT with status YC_OK; else NULL. The caller
  // frees it with yc_event_free().
  struct yc_event *event;
  // The number of tags of the entry of a YC_OP_GET_INFO; else 0.
  uint64_t tag_count;
} yc_completion;

// Frees the handles of a completion and sets them to NULL. To keep a handle, set
// its field to NULL before the call. The completion itself belongs to the
// caller. NULL is allowed.
void yc_completion_clear(struct yc_completion *completion);

// A completion queue. A submission returns at once, and yc_queue_poll() or
// yc_queue_wait() returns the completion later. If no other operation is in
// flight, a submission of one operation, or of up to 64 gets, sets or deletes of
// one kind for one server, may wait for the replies of a near server, for about
// 0.2 ms; after replies that take longer, the next submissions do not wait.
//
// Every accepted operation has exactly one completion, also if it fails, is
// cancelled, or the queue or cache is closed. Operations of a queue run
// concurrently and in no defined order: submit an operation that depends on
// another after that one has completed.
//
// Any thread may call any function on a queue at any time. yc_queue_free() must
// be the last call. A child process gets YC_E_FORKED. Closing the cache closes
// the queue; freeing the cache does not free it.
typedef struct yc_queue yc_queue;

// Reports that the queue has changed from empty to not empty: poll it. The
// library calls the function on one of its own threads, never inside a call of
// the program. One call may report several changes. The function may call the
// library. It must not block, throw or call longjmp().
typedef void (*yc_wake_fn)(void *user_data);

// Opens a queue. capacity is the largest number of operations that are in flight
// or not yet taken, at most 1000000; 0 selects 1024. The arguments of all
// operations may take 64 MiB. The library calls wake with user_data when a
// completion is available; wake may be NULL. It calls finalise with user_data
// when it will not call wake any more, unless this function fails; finalise may
// be NULL.
//
// On success *out is the queue. The caller closes it with yc_queue_close() and
// frees it with yc_queue_free().
//
// Errors: YC_E_INVALID for a capacity over the limit; YC_E_BUSY if the thread
// that calls wake could not be started.
yc_status yc_queue_open(struct yc_cache *cache,
                        size_t capacity,
                        yc_wake_fn wake,
                        void *user_data,
                        yc_finalise_fn finalise,
                        struct yc_queue **out,
                        struct yc_error **err);

// Submits n operations. ops and stride: see yc_batch(). The library reads only
// user_data and the fields that the kind needs, copies keys, values and tags,
// and writes to no operation. tickets is an array of n elements, or NULL.
// *accepted is the number of accepted operations, counted from the first; their
// tickets are written before their completions can be taken. An invalid
// operation (for example, with an empty key) is accepted and completes with its
// error.
//
// Returns:
// - YC_OK: all n operations were accepted.
// - YC_E_BUSY: the queue is full; the first *accepted operations were queued.
//   Take completions, then submit the rest again.
// - Other errors: YC_E_CLOSED, YC_E_INVALID. No operation was accepted.
yc_status yc_queue_submit(struct yc_queue *queue,
                          const struct yc_op *ops,
                          size_t n,
                          size_t stride,
                          yc_ticket *tickets,
                          size_t *accepted,
                          struct yc_error **err);

// Submits yc_get_many(). The results of the completion contain a status and a
// value for each key. The library copies the keys. ticket may be NULL.
//
// Returns YC_OK if the operation was accepted. Errors: YC_E_BUSY, YC_E_CLOSED.
// Invalid keys are reported in the completion.
yc_status yc_queue_get_many(struct yc_queue *queue,
                            const struct yc_slice *keys,
                            size_t n,
                            uint64_t user_data,
                            yc_ticket *ticket,
                            struct yc_error **err);

// Submits yc_set_many(). The results of the completion contain a status for each
// key. The library copies all arguments. Otherwise as yc_queue_get_many().
yc_status yc_queue_set_many(struct yc_queue *queue,
                            const struct yc_slice *keys,
                            const struct yc_slice *values,
                            size_t n,
                            int64_t ttl_ms,
                            const struct yc_slice *tags,
                            size_t n_tags,
                            uint64_t user_data,
                            yc_ticket *ticket,
                            struct yc_error **err);

// Submits yc_delete_many(). The results of the completion contain a status for
// each key. Otherwise as yc_queue_get_many().
yc_status yc_queue_delete_many(struct yc_queue *queue,
                               const struct yc_slice *keys,
                               size_t n,
                               uint64_t user_data,
                               yc_ticket *ticket,
                               struct yc_error **err);

// Submits yc_keys_next() on a cursor of the same cache. The completion contains
// the page, or has the status YC_END at the end of the listing. The caller may
// free the cursor at once. If the operation is cancelled, its page may be lost:
// start a new listing. ticket may be NULL.
//
// Returns YC_OK if the operation was accepted. Errors: YC_E_INVALID if cursor is
// NULL or belongs to another cache; YC_E_BUSY; YC_E_CLOSED.
yc_status yc_queue_keys_next(struct yc_queue *queue,
                             struct yc_cursor *cursor,
                             size_t limit,
                             uint64_t user_data,
                             yc_ticket *ticket,
                             struct yc_error **err);

// Submits yc_subscription_next() without a limit of time, on a subscription of
// the same cache. The completion contains the message. If the operation is
// cancelled, its message goes to the next one. The operation ends only with a
// message or with the subscription: cancel it, or close the subscription, before
// yc_queue_close(), which otherwise waits for it. The caller may free the
// subscription: the operation then completes with YC_E_CLOSED. ticket may be
// NULL.
//
// Returns YC_OK if the operation was accepted. Errors: YC_E_INVALID if
// subscription is NULL or belongs to another cache; YC_E_BUSY; YC_E_CLOSED.
yc_status yc_queue_subscription_next(struct yc_queue *queue,
                                     struct yc_subscription *subscription,
                                     uint64_t user_data,
                                     yc_ticket *ticket,
                                     struct yc_error **err);

// Submits yc_events_next() without a limit of time, on a reader of the same cache.
// The completion contains the event. Otherwise as yc_queue_subscription_next().
yc_status yc_queue_events_next(struct yc_queue *queue,
                               struct yc_events *events,
                               uint64_t user_data,
                               yc_ticket *ticket,
                               struct yc_error **err);

// Submits yc_search(). The completion contains the matches. The library copies
// the query and the options. Otherwise as yc_queue_get_many().
yc_status yc_queue_search(struct yc_queue *queue,
                          const void *query,
                          size_t query_len,
                          const struct yc_search_options *options,
                          uint64_t user_data,
                          yc_ticket *ticket,
                          struct yc_error **err);

// Takes up to max completions in the order of their arrival. Returns at once.
// completions is an array of max structs of stride bytes each; stride is
// sizeof(yc_completion). With the stride, a program that was compiled against a
// later, longer struct works with this library.
//
// Returns YC_OK: *count completions were taken, possibly 0. Errors: YC_E_CLOSED
// if the queue is closed and its last completion has been taken.
yc_status yc_queue_poll(struct yc_queue *queue,
                        struct yc_completion *completions,
                        size_t max,
                        size_t stride,
                        size_t *count,
                        struct yc_error **err);

// Takes completions as yc_queue_poll() does, but waits for the first one, at most
// timeout_ms milliseconds; -1 waits without a limit. max is at least 1. Several
// threads may wait; each completion is returned to one of them.
//
// Errors: YC_E_TIMEOUT if no completion arrived in time; those of
// yc_queue_poll(), also for a thread that waits while the queue is closed.
yc_status yc_queue_wait(struct yc_queue *queue,
                        struct yc_completion *completions,
                        size_t max,
                        size_t stride,
                        int64_t timeout_ms,
                        size_t *count,
                        struct yc_error **err);

// Returns in *fd a file descriptor that is readable while completions are
// available, for epoll, poll or libuv. It becomes readable once for each change
// from empty to not empty, and stays readable until a poll or wait takes the
// last completion. The queue owns the descriptor until yc_queue_free(). Watch
// it; do not read, write or close it.
//
// Errors: YC_E_BUSY if the process cannot open another file.
yc_status yc_queue_fd(struct yc_queue *queue, int *fd, struct yc_error **err);

// Cancels an operation. It completes with YC_E_CANCELLED at once, but a server
// may still execute it.
//
// Returns YC_OK if the operation was in flight, or YC_MISS if it has completed
// or the ticket does not exist.
yc_status yc_queue_cancel(struct yc_queue *queue, yc_ticket ticket, struct yc_error **err);

// Closes a queue. The queue accepts no more operations. Operations in flight may
// finish within timeout_ms milliseconds (-1 selects 5000, 0 does not wait); the
// others complete with YC_E_CANCELLED. All completions can still be taken. The
// library does not call wake after this function has returned, unless wake
// itself calls it. A second close returns YC_OK and has no effect. yc_close()
// closes the queues of its cache in the same way, but completes the remaining
// operations with YC_E_CLOSED.
yc_status yc_queue_close(struct yc_queue *queue, int64_t timeout_ms, struct yc_error **err);

// Frees a queue and the completions that were not taken. No other thread may use
// the handle any more. A queue that is not closed is closed without waiting, and
// its operations in flight are dropped. Never blocks. NULL is allowed.
void yc_queue_free(struct yc_queue *queue);

/* ---- Log ---- */

// Example:
//
//     static void print_line(void *user_data, int32_t level, const char *line,
//                            size_t len) {
//         (void)user_data;
//         fprintf(stderr, "%d %.*s\n", (int)level, (int)len, line);
//     }
//
//     static yc_status start_log(void) {
//         return yc_set_log(YC_LOG_WARN, print_line, NULL, NULL, NULL);
//     }

// Log level: no lines.
#define YC_LOG_OFF 0

// Log level: failures that should not occur.
#define YC_LOG_ERROR 1

// Log level: problems that the library has handled.
#define YC_LOG_WARN 2

// Log level: events for an operator: opened, closed, reconnected.
#define YC_LOG_INFO 3

// Log level: details that help to find a fault.
#define YC_LOG_DEBUG 4

// Log level: all lines.
#define YC_LOG_TRACE 5

// Receives a log line: len bytes of UTF-8, followed by a NUL, without a line
// end. A line never contains a value or a password. The library calls the
// function from any thread, also from several at the same time. The function may
// call the library; such calls write no log lines. It must not block for long,
// throw or call longjmp().
typedef void (*yc_log_fn)(void *user_data, int32_t level, const char *line, size_t len);

// Sets the log callback of the process for all caches, in place of the previous
// one. The callback receives the lines of a level and of the more severe ones.
// If log is NULL or level is YC_LOG_OFF, logging ends. Logging is off by
// default. The library calls finalise, which may be NULL, with user_data after
// the last line, unless this function fails.
//
// Errors: YC_E_INVALID for an unknown level.
yc_status yc_set_log(int32_t level,
                     yc_log_fn log,
                     void *user_data,
                     yc_finalise_fn finalise,
                     struct yc_error **err);

/* ---- Traces ---- */

// Example: print one call in 100, and the request that made it.
//
//     static void print_span(void *user_data, int32_t phase, const yc_span *span) {
//         (void)user_data;
//         if (phase == YC_SPAN_END)
//             fprintf(stderr, "request %llu: kind %d on %.*s: %s, %llu ns\n",
//                     (unsigned long long)span->context, (int)span->kind,
//                     (int)span->backend.len, (const char *)span->backend.data,
//                     yc_status_name(span->status),
//                     (unsigned long long)span->duration_ns);
//     }
//
//     static yc_status start_trace(yc_cache *traced) {
//         yc_trace_options options;
//         memset(&options, 0, sizeof options);
//         options.struct_size = sizeof options;
//         options.interval = 100;
//         return yc_set_trace(traced, &options, print_span, NULL, NULL, NULL);
//     }
//
//     static void handle_request(yc_cache *traced, uint64_t request) {
//         uint64_t before = yc_set_trace_context(request);
//         yc_delete(traced, "user:1", 6, NULL);
//         yc_set_trace_context(before);
//     }

// Flag of yc_trace_options: spans have the keys of their calls.
#define YC_TRACE_KEYS 1

// Phase of a span: the call begins. The fields of the result are 0.
#define YC_SPAN_BEGIN 1

// Phase of a span: the call has ended.
#define YC_SPAN_END 2

// Flag of a span: the value came from the near cache, without a request.
#define YC_SPAN_NEAR 1

// Flag of a span: the fallback serves in place of the servers.
#define YC_SPAN_FALLBACK 2

// The options of yc_set_trace(). Set the struct to zero, then set struct_size and
// the fields that you need.
typedef struct yc_trace_options {
  // Set to sizeof(yc_trace_options).
  uint32_t struct_size;
  // 0 or YC_TRACE_KEYS.
  uint32_t flags;
  // One call in so many has a span, selected at random; 0 and 1 select every call.
  // With 64 or more, hits in memory without a span cost nothing; with less, every
  // hit takes longer.
  uint64_t interval;
  // Set to zero.
  uint64_t reserved[4];
} yc_trace_options;

// A call. The library owns the struct and its strings, which are valid until the
// callback returns. Strings are not followed by a NUL.
typedef struct yc_span {
  // Size of the struct in bytes. Later versions of the library have more fields.
  uint32_t struct_size;
  // Kind of the operation: a YC_OP_ number.
  int32_t kind;
  // Identifies the span in this process. Never 0.
  uint64_t id;
  // The context of the thread at the beginning: see yc_set_trace_context().
  uint64_t context;
  // The user_data of an operation of yc_batch() or of a queue; else 0.
  uint64_t user_data;
  // The backend: "memory", "redis" or "memcached".
  struct yc_slice backend;
  // The server as yc_health() names it; empty if there is no server, if the keys
  // may be on several, or if the server is not known yet.
  struct yc_slice server;
  // The key_prefix of the cache.
  struct yc_slice key_prefix;
  // The namespace of the view; empty for a cache.
  struct yc_slice name_space;
  // The key with YC_TRACE_KEYS; empty without it, and for operations that do not
  // have exactly one.
  struct yc_slice key;
  // Number of keys.
  uint64_t keys;
  // Result: the status that the function of this kind returns.
  yc_status status;
  // YC_SPAN_FALLBACK. Result: also YC_SPAN_NEAR.
  uint32_t flags;
  // Result: the bytes of the values that were read or written.
  uint64_t bytes;
  // Result: the time from the beginning to the outcome in nanoseconds.
  uint64_t duration_ns;
  // Zero.
  uint64_t reserved[4];
} yc_span;

// Receives the beginning (phase YC_SPAN_BEGIN) and the end (YC_SPAN_END) of a
// call. Each beginning is followed by one end with the same id. The beginning is
// reported on the thread that makes or submits the call, before it runs. The end
// is reported on the thread that gets the result: inside the call, in
// yc_queue_poll() or yc_queue_wait(), or in yc_queue_free() for a completion that
// was not taken. Several threads may call the function at the same time.
//
// The function must not block for long, throw or call longjmp(). It may call the
// library, but must not close, free, switch or migrate a cache, or wait for a
// queue. Its own calls have no spans.
typedef void (*yc_trace_fn)(void *user_data, int32_t phase, const struct yc_span *span);

// Sets the function that receives the spans of a cache and of its views, in place
// of the previous one. If trace is NULL, tracing ends. Tracing is off by default.
// options may be NULL: every call has a span, without its key.
//
// A call has a span if it runs an operation on entries, tags, leases or channels,
// a Redis command, or yc_ping(). Every operation of yc_batch() and of a queue has
// a span of its own, with its user_data. yc_get_near(), listings, searches and
// reports have none outside of a batch and a queue, and neither has a call that is
// refused because of a NULL, a length or a closed handle. Retries, and requests
// that several operations share, have no spans of their own.
//
// Calls that begin after the function has returned have no span of the previous
// function. The spans of earlier calls still end there. The library calls finalise,
// which may be NULL, with user_data after the last call of trace, at the latest
// when the cache, its views and its queues are freed, unless this function fails.
// It calls it on any thread.
//
// Errors: YC_E_INVALID for unknown flags; YC_E_CLOSED, YC_E_FORKED.
yc_status yc_set_trace(struct yc_cache *cache,
                       const struct yc_trace_options *options,
                       yc_trace_fn trace,
                       void *user_data,
                       yc_finalise_fn finalise,
                       struct yc_error **err);

// Sets the context of the spans that begin on the calling thread, for all caches,
// and returns the previous one. It is 0 by default. The library does not use it: it
// is for example the number of a parent span.
uint64_t yc_set_trace_context(uint64_t context);

/* ---- Version ---- */

// Example:
//
//     if (yc_check_abi(YC_VERSION_NUMBER, &err) != YC_OK) {
//         fprintf(stderr, "%s\n", yc_error_message(err));
//         yc_error_free(err);
//         return 1;
//     }
//     printf("YokedCache %s\n", yc_version());

// The version of this header: major * 10000 + minor * 100 + patch.
#define YC_VERSION_NUMBER 100

// Returns the version of the library, such as "0.1.0". The string is static: do
// not free it.
const char *yc_version(void);

// Checks that this library supports a program that was compiled against a
// header of the given version. Call yc_check_abi(YC_VERSION_NUMBER, &err) once
// when the program starts. The check succeeds if the library is at least as new
// as the header and has the same major version, or before 1.0 the same minor
// version.
//
// Errors: YC_E_ABI_MISMATCH. The message contains both versions.
yc_status yc_check_abi(uint32_t header_version, struct yc_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  /* YOKEDCACHE_H */
