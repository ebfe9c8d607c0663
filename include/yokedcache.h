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
 *   yc_get_into(), *accepted of yc_queue_submit(), and the arrays of
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
 *   Many keys
 *   Tags, patterns and flush
 *   Keys and search
 *   Switch and migrate
 *   Reports and metrics
 *   Configuration check
 *   Batch
 *   Queue
 *   Log
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

// What a function answers: 0 is success, a positive number an outcome that
// is no failure, a negative one a failure. Numbers never change meaning;
// later versions may add some, so treat an unknown negative as a failure.
typedef int32_t yc_status;

// Success.
#define YC_OK 0

// The key is not there (or has expired, or a tag of it was invalidated).
#define YC_MISS 1

// The listing is at its end.
#define YC_END 2

// An argument is not allowed: NULL, empty, out of range.
#define YC_E_INVALID -101

// The configuration cannot be used; the message names the option.
#define YC_E_CONFIG -102

// A key, value or tag list is larger than this cache takes; nothing was stored.
#define YC_E_TOO_LARGE -103

// The buffer is too small; the needed length was written.
#define YC_E_BUFFER_TOO_SMALL -104

// This backend or server cannot do it; the message says why.
#define YC_E_UNSUPPORTED -105

// The program was compiled against a header this library does not serve.
#define YC_E_ABI_MISMATCH -106

// The cache was closed.
#define YC_E_CLOSED -201

// The cache was opened before a fork and this is the child: open a new one.
#define YC_E_FORKED -202

// The operation was cancelled.
#define YC_E_CANCELLED -203

// Too much is in flight, or the process has no memory or file descriptor left
// for the call; try again later.
#define YC_E_BUSY -204

// The server cannot be reached: refused, unknown host, no route.
#define YC_E_CONNECT -301

// The server refused the credentials.
#define YC_E_AUTH -302

// The server knows the user and forbids the command.
#define YC_E_DENIED -303

// TLS could not be agreed on: certificate, host name or version.
#define YC_E_TLS -304

// The deadline passed before the server answered.
#define YC_E_TIMEOUT -305

// The server has no memory for it.
#define YC_E_SERVER_MEMORY -306

// What came back is not the server's protocol.
#define YC_E_PROTOCOL -307

// The server answered with an error of another kind.
#define YC_E_SERVER -308

// The library failed inside this function; the cache stays usable.
// Please report it.
#define YC_E_PANIC -901

// The name of a status, such as "YC_E_TIMEOUT"; "YC_E_UNKNOWN" for a number
// this version does not know. The text is static: never free it.
const char *yc_status_name(yc_status status);

// What went wrong: a status, a sentence, whether a retry can help. Every
// function that can fail takes a trailing `yc_error **`, which may be NULL.
// Where it is not NULL the library writes it on every call: NULL on success
// and on a miss, or an error to release with yc_error_free(). Immutable:
// any thread may read it.
typedef struct yc_error yc_error;

// The status of an error; YC_OK for NULL.
yc_status yc_error_status(const struct yc_error *error);

// What happened, to which thing, and what to do about it: one line of UTF-8
// that never holds a password or a value. Lives as long as the error; ""
// for NULL.
const char *yc_error_message(const struct yc_error *error);

// Returns 1 if the same call may succeed later with nothing changed by the
// caller, else 0; 0 for NULL. An error with YC_E_SERVER is retryable if the
// state of the server passes (LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
// MASTERDOWN, BUSY, MISCONF, NOREPLICAS; a Memcached server that is busy).
int32_t yc_error_retryable(const struct yc_error *error);

// Releases an error. NULL is fine.
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

// A run of bytes: a key, a tag or a value. `data` may be NULL when `len` is 0.
typedef struct yc_slice {
  // The first byte.
  const void *data;
  // How many bytes.
  size_t len;
} yc_slice;

// Bytes the library hands out: a cached value, or a report. Immutable and
// reference counted: it shares the cache's memory without a copy and stays
// valid when the entry is replaced, evicted or invalidated and after the
// cache is freed. Any thread may read it; release it once with
// yc_value_free().
typedef struct yc_value yc_value;

// The bytes, and in *len their number (len may be NULL). Never NULL for a
// value, also an empty one; NULL and 0 for NULL. They live as long as the
// value.
const void *yc_value_data(const struct yc_value *value, size_t *len);

// A second handle on the same bytes, released on its own; nothing is copied.
// NULL for NULL.
struct yc_value *yc_value_clone(const struct yc_value *value);

// Releases a value. NULL is fine.
void yc_value_free(struct yc_value *value);

// ttl_ms: the cache's default_ttl, spread by its ttl_jitter.
#define YC_TTL_DEFAULT -1

// ttl_ms: never expires.
#define YC_TTL_NEVER 0

// *removed: the backend cannot know how many entries went.
#define YC_COUNT_UNKNOWN UINT64_MAX

// Releases user_data; called once, when the library will not use it again.
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
// another closes it; only yc_cache_free() must come last. After a fork the
// child gets YC_E_FORKED from it at once and opens one of its own.
typedef struct yc_cache yc_cache;

// Opens a cache from a configuration text: a URL
// ("memory://?max_size=1000&key_prefix=app"), or a YAML or JSON document of
// at most 256 KiB ("{backend: memory, memory: {max_size: 1000}}"). A document
// with environments takes that of the variable ENVIRONMENT, "development" if
// unset.
//
// On success *out is the cache: yc_close() it, then yc_cache_free() it.
//
// Errors: YC_E_CONFIG names the option and its nearest known name;
// YC_E_UNSUPPORTED for a backend this build lacks. Nothing stays open.
yc_status yc_open(const char *config, struct yc_cache **out, struct yc_error **err);

// Opens a cache from a YAML or JSON file with environments ("cache:
// {development: {…}, production: {…}}") or with the body of one.
// `environment` names the one to take; NULL takes that of the variable
// ENVIRONMENT, "development" if unset.
//
// Result and errors as yc_open(); YC_E_CONFIG also for a file that cannot be
// read and for an environment the file does not have.
yc_status yc_open_file(const char *path,
                       const char *environment,
                       struct yc_cache **out,
                       struct yc_error **err);

// Opens a cache from the environment variables: YOKEDCACHE_URL (a
// URL), else YOKEDCACHE_CONFIG (the path of a file, see yc_open_file()), else
// REDIS_URL (a Redis URL).
//
// Result and errors as yc_open(); YC_E_CONFIG when none is set.
yc_status yc_open_env(struct yc_cache **out, struct yc_error **err);

// Closes a cache: calls that are in flight finish or get YC_E_CLOSED, later
// ones get YC_E_CLOSED, its queues are closed, and every thread and
// connection of it is gone when this returns. Waits at most timeout_ms
// milliseconds (-1: 5000). Values and pages handed out stay valid. Closing
// again is YC_OK and does nothing.
//
// Errors: YC_E_TIMEOUT when the time was over first; the cache is closed
// all the same. YC_E_FORKED in a child.
yc_status yc_close(struct yc_cache *cache, int64_t timeout_ms, struct yc_error **err);

// Releases a cache, once no thread uses the handle any more. One that was
// not closed is closed without waiting. Never blocks; NULL is fine.
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

// Reads a value without copying it. A key is 1 byte to 64 KiB of any bytes.
//
// YC_OK: *out is the value, to be released with yc_value_free().
// YC_MISS: no such key; *out is not written.
// Errors: YC_E_INVALID, YC_E_TOO_LARGE, those of the backend; an error is
// never a miss, and a miss never an error.
yc_status yc_get(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 struct yc_value **out,
                 struct yc_error **err);

// Copies a value into the caller's buffer of cap bytes (buf may be NULL when
// cap is 0). The memory backend allocates nothing here.
//
// YC_OK: *len is the value's length, and that many bytes were written.
// YC_MISS: no such key; nothing is written.
// YC_E_BUFFER_TOO_SMALL: *len is the length that is needed; buf is not
// written. The value may have changed when you ask again.
// Other errors as yc_get().
yc_status yc_get_into(struct yc_cache *cache,
                      const void *key,
                      size_t key_len,
                      void *buf,
                      size_t cap,
                      size_t *len,
                      struct yc_error **err);

// Stores a value, in place of any other under its key, with a time to live
// in milliseconds (YC_TTL_DEFAULT, YC_TTL_NEVER, or exactly that many) and up
// to 64 tags, which replace the key's old ones; tags may be NULL when n_tags
// is 0. Everything is copied before this returns. An empty value is a value.
//
// Errors: YC_E_INVALID (empty key or tag, ttl_ms below -1 or over 100 years);
// YC_E_TOO_LARGE (key or tag over 64 KiB, more than 64 tags, value over
// max_value_bytes, or over the item size of its Memcached server). Nothing is
// stored then, and an older entry stays. Memcached removes the older entry when
// it refuses a value itself: with YC_E_SERVER_MEMORY, or with YC_E_TOO_LARGE
// behind a proxy that does not report the server's settings.
yc_status yc_set(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 const void *value,
                 size_t value_len,
                 int64_t ttl_ms,
                 const struct yc_slice *tags,
                 size_t n_tags,
                 struct yc_error **err);

// Removes a key. YC_OK: it was there. YC_MISS: it was not.
yc_status yc_delete(struct yc_cache *cache, const void *key, size_t key_len, struct yc_error **err);

// Whether a key is there: YC_OK or YC_MISS. Does not count as a use of the
// entry for eviction, nor as a hit or a miss.
yc_status yc_exists(struct yc_cache *cache, const void *key, size_t key_len, struct yc_error **err);

// Gives a key another time to live, counted from now (ttl_ms as in yc_set());
// its value and tags stay. YC_OK: done. YC_MISS: no such key.
yc_status yc_expire(struct yc_cache *cache,
                    const void *key,
                    size_t key_len,
                    int64_t ttl_ms,
                    struct yc_error **err);

// Reports the remaining time to live of a key. YC_OK: *ttl_ms is the
// milliseconds left, at least 1, or -1 if the entry never expires. YC_MISS:
// no such key; nothing is written.
yc_status yc_ttl(struct yc_cache *cache,
                 const void *key,
                 size_t key_len,
                 int64_t *ttl_ms,
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

// Reads n keys. values is an array of n places: each gets a value to be
// released with yc_value_free(), or NULL. statuses (may be NULL) is an array
// of n places: YC_OK, YC_MISS, or what went wrong with that key.
//
// Returns YC_OK if every key was a hit or a miss. Otherwise it returns the
// status and the error of the first key that failed. Both arrays are always
// written, also when the deadline ends the call: a server that does not
// answer fails only its own keys (YC_E_TIMEOUT), and keys that were answered
// keep their outcome. If the call is refused (YC_E_INVALID,
// YC_E_TOO_LARGE, YC_E_CLOSED, YC_E_FORKED), nothing is read: values holds
// NULL and statuses holds that status for every key.
yc_status yc_get_many(struct yc_cache *cache,
                      const struct yc_slice *keys,
                      size_t n,
                      struct yc_value **values,
                      yc_status *statuses,
                      struct yc_error **err);

// Stores n entries, keys[i] with values[i], all with one time to live and
// the same tags (see yc_set(); yc_batch() takes different ones). statuses
// (may be NULL) as in yc_get_many().
//
// When one entry is refused (YC_E_INVALID, YC_E_TOO_LARGE) none is stored.
yc_status yc_set_many(struct yc_cache *cache,
                      const struct yc_slice *keys,
                      const struct yc_slice *values,
                      size_t n,
                      int64_t ttl_ms,
                      const struct yc_slice *tags,
                      size_t n_tags,
                      yc_status *statuses,
                      struct yc_error **err);

// Removes n keys. statuses (may be NULL) as in yc_get_many(): YC_OK was
// there, YC_MISS was not.
yc_status yc_delete_many(struct yc_cache *cache,
                         const struct yc_slice *keys,
                         size_t n,
                         yc_status *statuses,
                         struct yc_error **err);

/* ---- Tags, patterns and flush ---- */

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

// Makes every entry that was set with the tag a miss: once this has
// returned, no process reads one that was set before. *removed is how many
// entries could be read until now, or YC_COUNT_UNKNOWN where the backend
// cannot know. With removed NULL nothing is counted, and the memory backend
// takes the same time for any number of entries. An unknown tag removes 0.
//
// A Redis server that fails may lose the invalidation. Each process replays
// its removals of the last `replay_window` before it reads from a server that
// restarted or was replaced. Until then another process may read an
// invalidated entry again. With `invalidation_replicas`, YC_E_TIMEOUT reports
// that too few replicas received the invalidation.
//
// Errors: YC_E_INVALID for an empty tag, those of the backend.
yc_status yc_invalidate_tag(struct yc_cache *cache,
                            const void *tag,
                            size_t tag_len,
                            uint64_t *removed,
                            struct yc_error **err);

// As yc_invalidate_tag() for entries that have any of the tags; an entry
// with several of them is counted once. Without tags nothing is removed.
yc_status yc_invalidate_tags(struct yc_cache *cache,
                             const struct yc_slice *tags,
                             size_t n_tags,
                             uint64_t *removed,
                             struct yc_error **err);

// Removes every key that matches a glob, on the whole key and case-sensitive:
// "*" any run of bytes, "?" any byte, "[a-z]" one of these, "[^a]" or "[!a]"
// none of these, "\x" the byte x itself. Entries set while it runs may stay.
//
// *removed (may be NULL) is how many there were, or YC_COUNT_UNKNOWN.
// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB; YC_E_UNSUPPORTED where
// the backend cannot list keys.
yc_status yc_invalidate_pattern(struct yc_cache *cache,
                                const void *pattern,
                                size_t pattern_len,
                                uint64_t *removed,
                                struct yc_error **err);

// Removes every entry of this cache's key_prefix and nobody else's.
//
// *removed (may be NULL) is how many could be read, or YC_COUNT_UNKNOWN.
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

// A listing of keys that is under way. It keeps what it needs of the cache:
// after yc_close() it answers YC_E_CLOSED. Threads may share it; each page
// goes to one of them.
typedef struct yc_cursor yc_cursor;

// A page of keys. Immutable: any thread may read it; it outlives cursor and
// cache, until yc_keys_free().
typedef struct yc_keys yc_keys;

// Begins a listing of the keys that match a glob (see
// yc_invalidate_pattern(); "*" is all). Nothing is read yet.
//
// On success *out is the cursor, to be released with yc_cursor_free().
// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB.
yc_status yc_keys_open(struct yc_cache *cache,
                       const void *pattern,
                       size_t pattern_len,
                       struct yc_cursor **out,
                       struct yc_error **err);

// The next keys of a listing, at least 1 and at most `limit` of them (0: 512).
// A key that exists for the whole listing is returned at least once. It is
// returned more than once only if servers changed and were listed again. A
// key that is added or removed meanwhile may be returned. Writers are not
// blocked.
//
// YC_OK: *out is a page, to be released with yc_keys_free().
// YC_END: there are no more; *out is not written.
// Errors: YC_E_UNSUPPORTED where the backend cannot list keys.
yc_status yc_keys_next(struct yc_cursor *cursor,
                       size_t limit,
                       struct yc_keys **out,
                       struct yc_error **err);

// The keys of a page as an array, and in *count their number (count may be
// NULL). They live as long as the page. NULL and 0 for NULL.
const struct yc_slice *yc_keys_data(const struct yc_keys *keys, size_t *count);

// Releases a page. NULL is fine.
void yc_keys_free(struct yc_keys *keys);

// Releases a cursor, at its end or before. NULL is fine.
void yc_cursor_free(struct yc_cursor *cursor);
// The score a match must reach unless another is asked for.
#define YC_SEARCH_THRESHOLD 80.0

// The most matches unless another number is asked for.
#define YC_SEARCH_LIMIT 10

// What a search looks for beside its query. Begin with
// YC_SEARCH_OPTIONS_INIT, which sets struct_size and the defaults.
typedef struct yc_search_options {
  // sizeof(yc_search_options).
  size_t struct_size;
  // The lowest score that counts, 0 to 100.
  double threshold;
  // The most matches, at least 1.
  size_t limit;
  // Only entries with one of these tags; NULL for all.
  const struct yc_slice *tags;
  // How many tags.
  size_t n_tags;
  // Zero.
  uint64_t reserved[4];
} yc_search_options;

// Initialises a yc_search_options with its size and the defaults.
#define YC_SEARCH_OPTIONS_INIT \
    { sizeof(yc_search_options), YC_SEARCH_THRESHOLD, YC_SEARCH_LIMIT, NULL, 0, { 0, 0, 0, 0 } }

// One match. Later versions may add fields at its end.
typedef struct yc_match {
  // The key.
  struct yc_slice key;
  // How like the query it is, 0 to 100.
  double score;
  // Zero.
  uint64_t reserved[2];
} yc_match;

// The matches of a search. Immutable: any thread may read it; it outlives
// the cache, until yc_matches_free().
typedef struct yc_matches yc_matches;

// Finds the keys most like a query of 1 byte to 1 KiB, best first, equal
// scores by key. The score is the partial ratio of rapidfuzz on bytes: the
// query against the part of the key that suits it best, 100 when the key
// contains it. options may be NULL: threshold 80, limit 10, all tags.
// Reads every key of the cache; writers are not blocked. The keys are read
// in pages, each with the deadline of a call. Scoring all of them may take
// the time of one more call: socket_timeout, or 5 s on memory.
//
// On success *out is the matches, perhaps none, to be released with
// yc_matches_free().
// Errors: YC_E_INVALID (empty query, threshold outside 0 to 100, limit 0,
// struct_size unknown); YC_E_TOO_LARGE (query over 1 KiB); YC_E_TIMEOUT
// (scoring took too long); YC_E_UNSUPPORTED where the backend cannot list
// keys.
yc_status yc_search(struct yc_cache *cache,
                    const void *query,
                    size_t query_len,
                    const struct yc_search_options *options,
                    struct yc_matches **out,
                    struct yc_error **err);

// How many matches there are; 0 for NULL.
size_t yc_matches_count(const struct yc_matches *matches);

// The match of a rank, 0 the best; NULL beyond the last. It lives as long as
// the matches.
const struct yc_match *yc_matches_at(const struct yc_matches *matches, size_t rank);

// Releases matches. NULL is fine.
void yc_matches_free(struct yc_matches *matches);

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

// Replaces the backend of an open cache by the one that a configuration asks
// for (a text as yc_open() takes). Calls that are under way finish on the old
// one, later ones are served by the new one, and none fails. The key prefix,
// default TTL and fallback are the new configuration's; what was counted and
// timed stays. Returns once the old backend is closed.
//
// options is a YAML or JSON map, or NULL. "{copy: true}" copies what the
// cache holds first, as yc_migrate() does, while the old backend serves; what
// changes meanwhile follows, and an invalidation is not lost. Without it the
// new backend begins with what it has. Either way an entry that the new
// backend has already stays, though it may be older: flush it before, if that
// may be.
//
// On success *report (may be NULL as a place) is one JSON object, to be
// released with yc_value_free(): backend, and copied, the report of the copy.
//
// Errors: YC_E_CONFIG; what opening the new backend fails with;
// YC_E_BUSY when another switch of this cache is under way; YC_E_UNSUPPORTED
// where the old backend cannot list keys to be copied. The cache goes on as
// it was then.
yc_status yc_switch(struct yc_cache *cache,
                    const char *config,
                    const char *options,
                    struct yc_value **report,
                    struct yc_error **err);

// How far a migration is. Later versions may add fields in place of the
// reserved words.
typedef struct yc_progress {
  // sizeof(yc_progress) of the library.
  size_t struct_size;
  // Keys looked at.
  uint64_t examined;
  // Entries stored at the target, or that would be.
  uint64_t copied;
  // Entries that were not, for a reason that is no failure: the target has
  // one, or it is gone from the source.
  uint64_t skipped;
  // Entries that could not be.
  uint64_t failed;
  // What the option resume takes to go on from here, or a little before,
  // also in another process; NULL at the end. Valid during the call.
  const char *resume;
  // Zero.
  uint64_t reserved[4];
} yc_progress;

// Told how far a migration is, after each few hundred keys, on the thread that
// called yc_migrate(). 0 goes on; anything else ends the migration there,
// with a report that can be resumed. It must not throw or longjmp; it may
// call the library.
typedef int32_t (*yc_progress_fn)(void *user_data, const struct yc_progress *progress);

// Copies the entries of one cache into another: values, tags, and what is
// left of their times to live. What the target has already stays, and so does
// what is written there meanwhile. Both caches stay in use. Entries that are
// written to the source meanwhile may be copied or not: yc_switch() copies
// and follows.
//
// No copy undoes an invalidation of this process, by any handle. Tags,
// patterns, deletes and flushes at the target stop the copying of the entries
// that they name. Those at the source are made at the target too, before this
// returns. Tag invalidations of other processes are followed, except at the
// target before the migration has met an entry with the tag. Repeat other
// processes' deletes, patterns and flushes at the target after the migration.
//
// options is a YAML or JSON map, or NULL: "{pattern: 'user:*', rate: 5000,
// dry_run: true, resume: '…'}"; the README lists them. progress (may be NULL)
// is told how far it is; the finaliser (may be NULL) gets user_data before
// this returns, whatever comes of it. A server that fails is tried again for
// about three seconds.
//
// On success *report (may be NULL as a place) is one JSON object, to be
// released with yc_value_free(): examined, copied, skipped and why, failed
// and why, largest_ttl_drift_ms of a sample, complete, and resume where it is
// not complete.
//
// Errors: YC_E_INVALID for a cache onto itself (the same servers and
// prefix), or a wrong resume; YC_E_CONFIG for wrong options;
// YC_E_UNSUPPORTED where the source cannot list keys; YC_E_CLOSED when one of
// the two is closed meanwhile; a server's failure. What was copied until then
// stays, and can be resumed from the last progress.
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

// Counters since the cache was opened, what it holds, and latencies of a
// sample of the calls in microseconds, as one JSON object; the README lists
// its names, and later versions add some. A number that nobody can know now
// is null: the keys of a server that is down, say, of which yc_size() tells
// why. *json is UTF-8 without a NUL: print it with its length, and release it
// with yc_value_free().
yc_status yc_stats(struct yc_cache *cache, struct yc_value **json, struct yc_error **err);

// Whether the cache can serve, as one JSON object: "status" is "healthy",
// "degraded" (a part does not work: one of several servers is down) or
// "unhealthy", "reasons" says why, "details" has what each server tells of
// itself. Asks each server within the time of one call. An idle cache is
// healthy. Asking changes no counter. *json as in yc_stats(). YC_OK also when
// the cache is unhealthy.
yc_status yc_health(struct yc_cache *cache, struct yc_value **json, struct yc_error **err);

// Counters, gauges and a histogram of latencies as the text that Prometheus
// scrapes (format 0.0.4, "text/plain; version=0.0.4"); the README lists the
// names, and later versions add some. Each sample has the labels backend and
// key_prefix. One text is one cache: two are not to be joined, since each names
// its families. It asks each server how it is, as yc_health() does,
// changes no counter, and does not walk the keys on servers. *text as in
// yc_stats(). Returns YC_OK also if a server is down: yokedcache_up reports
// that.
yc_status yc_metrics(struct yc_cache *cache, struct yc_value **text, struct yc_error **err);

// Reports the size of the cache: *keys entries that take *bytes bytes, keys,
// values and bookkeeping together (each place may be NULL). An exact count is
// the number of keys that a listing returns: entries that expired or were
// invalidated do not count. The count is exact with YC_CAN_SIZE. Without it
// the count is exact while the prefix has up to 1000 entries on each server
// and the server has few other names. "size_estimated" of yc_stats() reports
// whether the count is an estimate. The memory backend is walked in small
// steps that block no other call.
yc_status yc_size(struct yc_cache *cache, uint64_t *keys, uint64_t *bytes, struct yc_error **err);

// Asks the backend for a sign of life; every server of it, where there are
// several. YC_OK, or what is wrong.
yc_status yc_ping(struct yc_cache *cache, struct yc_error **err);

// Capability: keys can be listed; keys, patterns and search work.
#define YC_CAN_LIST 1

// Capability: invalidations know how many entries they removed.
#define YC_CAN_COUNT 2

// Capability: other processes see the same entries.
#define YC_CAN_SHARE 4

// Capability: yc_size() is exact, no estimate.
#define YC_CAN_SIZE 8

// What the backend can do beyond the basics: *flags is a sum of YC_CAN_
// numbers. An operation it cannot do answers YC_E_UNSUPPORTED.
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

// Checks a configuration as yc_open() takes it, and opens nothing: no server
// is asked and no certificate read. *json (the place may be NULL) is what
// would be used, as one JSON object: "backend", "servers", "key_prefix" and
// the options by their names, times in milliseconds ("default_ttl_ms").
// "password" is true or false, never the password. "notes" lists accepted
// options that are probably a mistake, each as a sentence. Opening the cache
// logs them at YC_LOG_WARN. *json is UTF-8 without a NUL; release it with
// yc_value_free().
//
// Errors: those of yc_open() that tell of the configuration, YC_E_CONFIG
// and YC_E_UNSUPPORTED.
yc_status yc_config_check(const char *config, struct yc_value **json, struct yc_error **err);

// As yc_config_check(), for a file as yc_open_file() takes it. With
// environments it checks the one that is named; NULL is that of the variable
// ENVIRONMENT, "development" if unset.
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

// Kind of operation: yc_invalidate_pattern(); the pattern is in key.
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

// Kind of completion: that of yc_queue_get_many().
#define YC_OP_GET_MANY 14

// Kind of completion: that of yc_queue_set_many().
#define YC_OP_SET_MANY 15

// Kind of completion: that of yc_queue_delete_many().
#define YC_OP_DELETE_MANY 16

// Kind of completion: that of yc_queue_keys_next().
#define YC_OP_KEYS_NEXT 17

// Kind of completion: that of yc_queue_search().
#define YC_OP_SEARCH 18

// Operation flag: count what an invalidation or a flush removes.
#define YC_OP_COUNT 1

// One operation, and what it came to. Zero it, then fill what its kind needs.
typedef struct yc_op {
  // Which operation: a YC_OP_ number.
  int32_t kind;
  // Zero, or YC_OP_COUNT.
  uint32_t flags;
  // The key or pattern.
  const void *key;
  // Its length.
  size_t key_len;
  // The value to set.
  const void *value;
  // Its length.
  size_t value_len;
  // The tags to set or to invalidate.
  const struct yc_slice *tags;
  // How many.
  size_t n_tags;
  // The time to live to set or to change to.
  int64_t ttl_ms;
  // Yours: the library never looks at it.
  uint64_t user_data;
  // Written: what the operation came to, as its function would answer.
  yc_status status;
  // Zero.
  uint32_t padding;
  // Written: the value of a YC_OP_GET that hit, the text of YC_OP_STATS,
  // YC_OP_HEALTH and YC_OP_METRICS, else NULL; release it with
  // yc_value_free().
  struct yc_value *result;
  // Written: the error when status is negative, else NULL; release it with
  // yc_error_free().
  struct yc_error *error;
  // Written: what YC_OP_TTL found, -1 when it never expires, else 0.
  int64_t remaining_ms;
  // Written: how many entries were removed, or YC_COUNT_UNKNOWN.
  uint64_t removed;
  // Zero.
  uint64_t reserved[2];
} yc_op;

// Runs n operations in their order, each as its own function would, in one
// call; on a server those that can share a round trip do. All operations
// share the deadline of the call (socket_timeout): an operation that was not
// reached in time has YC_E_TIMEOUT and was not sent. YC_OP_FLUSH and
// YC_OP_INVALIDATE_PATTERN walk the whole cache and have no time limit. The
// operations after them have the time that was left. ops is an array of n
// operations of stride bytes each, sizeof(yc_op): so a program compiled
// against a later, longer yc_op works with this library.
//
// YC_OK: all were run; look at the status of each. Otherwise the arguments
// were refused, nothing was run and nothing is written.
yc_status yc_batch(struct yc_cache *cache,
                   struct yc_op *ops,
                   size_t n,
                   size_t stride,
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

// What an operation is known by until its completion is taken; never 0, and
// never the same twice in one queue.
typedef uint64_t yc_ticket;

// What each key of yc_queue_get_many(), yc_queue_set_many() or
// yc_queue_delete_many() came to, in the order of the keys. Immutable: any
// thread may read it; it outlives the cache, until yc_results_free().
typedef struct yc_results yc_results;

// The status of each key, YC_OK, YC_MISS or what went wrong with it, and in
// *count their number (count may be NULL). They live as long as the results.
// NULL and 0 for NULL.
const yc_status *yc_results_statuses(const struct yc_results *results, size_t *count);

// The value of each key, NULL where there is none, and in *count their
// number (count may be NULL). They are released with the results: keep one
// with yc_value_clone(). NULL and 0 for NULL.
const struct yc_value *const *yc_results_values(const struct yc_results *results, size_t *count);

// Releases results, with their values. NULL is fine.
void yc_results_free(struct yc_results *results);

// What an operation of a queue came to. The handles in it are yours:
// release each, or all with yc_completion_clear().
typedef struct yc_completion {
  // The ticket that the submission gave.
  yc_ticket ticket;
  // What was submitted with it, untouched.
  uint64_t user_data;
  // What the operation came to, as its function would answer; also
  // YC_E_CANCELLED, YC_E_CLOSED, YC_E_PANIC.
  yc_status status;
  // Which operation: a YC_OP_ number.
  int32_t kind;
  // The value of a YC_OP_GET that hit, the text of YC_OP_STATS,
  // YC_OP_HEALTH and YC_OP_METRICS, else NULL; release it with
  // yc_value_free().
  struct yc_value *result;
  // The error when status is negative, else NULL; release it with
  // yc_error_free().
  struct yc_error *error;
  // What YC_OP_TTL found, -1 when it never expires, else 0.
  int64_t remaining_ms;
  // How many entries were removed, or YC_COUNT_UNKNOWN.
  uint64_t removed;
  // What each of many keys came to, else NULL; release it with
  // yc_results_free().
  struct yc_results *results;
  // The page of a YC_OP_KEYS_NEXT that was not at the end, else NULL;
  // release it with yc_keys_free().
  struct yc_keys *keys;
  // The matches of a YC_OP_SEARCH, else NULL; release them with
  // yc_matches_free().
  struct yc_matches *matches;
  // Zero.
  uint64_t reserved[2];
} yc_completion;

// Releases what a completion holds and sets it to NULL: also what you have
// taken out, unless you set it to NULL before. The completion itself is
// yours. NULL is fine.
void yc_completion_clear(struct yc_completion *completion);

// A queue of completions: operations are submitted and return at once, and
// what became of them is taken later, from yc_queue_poll() or
// yc_queue_wait(). Each operation that was accepted has exactly one
// completion, also when it is cancelled, fails, or the queue or its cache is
// closed. Operations of a queue run beside each other, in no order: submit
// what must come after another once that has completed.
//
// Any thread may call any function on it at any time; only yc_queue_free()
// must come last. A child process gets YC_E_FORKED. It keeps what it needs
// of the cache, and is closed with it.
typedef struct yc_queue yc_queue;

// Called after the queue has changed from empty to filled, from a thread of
// the library and never inside a call of yours: a hint to poll. Several
// changes may share a call. It must not block, throw or longjmp; it may call
// the library.
typedef void (*yc_wake_fn)(void *user_data);

// Opens a queue for up to capacity operations that are in flight or not
// taken (0: 1024; at most 1000000); their arguments may take 64 MiB. wake
// (may be NULL) is called with user_data when there is something to take;
// the finaliser (may be NULL) once wake will not be called again, unless this
// fails. On success *out is the queue: yc_queue_close() it, then
// yc_queue_free() it.
//
// Errors: YC_E_INVALID for a capacity over the limit; YC_E_BUSY when the
// library's thread, which calls wake, could not be started.
yc_status yc_queue_open(struct yc_cache *cache,
                        size_t capacity,
                        yc_wake_fn wake,
                        void *user_data,
                        yc_finalise_fn finalise,
                        struct yc_queue **out,
                        struct yc_error **err);

// Submits n operations, an array as of yc_batch(); only what a kind needs,
// and user_data, is read, and nothing is written there. Keys, values and
// tags are copied. tickets (may be NULL) is an array of n places, *accepted
// how many operations were accepted, from the first on: their tickets are
// written before their completions can be taken. An operation that is wrong
// (an empty key, say) is accepted and completes with its error.
//
// YC_OK: all n were accepted. YC_E_BUSY: *accepted, which is written all the
// same, is fewer; take completions and submit the others again.
// Other errors: YC_E_CLOSED, YC_E_INVALID; nothing was accepted.
yc_status yc_queue_submit(struct yc_queue *queue,
                          const struct yc_op *ops,
                          size_t n,
                          size_t stride,
                          yc_ticket *tickets,
                          size_t *accepted,
                          struct yc_error **err);

// Submits yc_get_many(): results of the completion has a status and a value
// for each key. Keys are copied; ticket may be NULL.
//
// YC_OK: accepted. Errors: YC_E_BUSY, YC_E_CLOSED. What is wrong with the
// keys is told by the completion.
yc_status yc_queue_get_many(struct yc_queue *queue,
                            const struct yc_slice *keys,
                            size_t n,
                            uint64_t user_data,
                            yc_ticket *ticket,
                            struct yc_error **err);

// Submits yc_set_many(): results of the completion has a status for each
// key. All is copied. Otherwise as yc_queue_get_many().
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

// Submits yc_delete_many(): results of the completion has a status for each
// key. Otherwise as yc_queue_get_many().
yc_status yc_queue_delete_many(struct yc_queue *queue,
                               const struct yc_slice *keys,
                               size_t n,
                               uint64_t user_data,
                               yc_ticket *ticket,
                               struct yc_error **err);

// Submits yc_keys_next() on a cursor of the same cache: keys of the
// completion is the page, and its status YC_END at the end. The cursor may be
// released at once. The page of one that was cancelled may be lost: begin
// anew. ticket may be NULL.
//
// YC_OK: accepted. Errors: YC_E_INVALID for a cursor that is NULL or of
// another cache; YC_E_BUSY, YC_E_CLOSED.
yc_status yc_queue_keys_next(struct yc_queue *queue,
                             struct yc_cursor *cursor,
                             size_t limit,
                             uint64_t user_data,
                             yc_ticket *ticket,
                             struct yc_error **err);

// Submits yc_search(): matches of the completion is what was found. Query
// and options are copied. Otherwise as yc_queue_get_many().
yc_status yc_queue_search(struct yc_queue *queue,
                          const void *query,
                          size_t query_len,
                          const struct yc_search_options *options,
                          uint64_t user_data,
                          yc_ticket *ticket,
                          struct yc_error **err);

// Takes up to max completions, in the order they came, into an array of
// structs of stride bytes each, sizeof(yc_completion): so a program compiled
// against a later, longer one works with this library. Returns at once.
//
// YC_OK: *count were taken, perhaps none.
// Errors: YC_E_CLOSED once the queue is closed and its last completion was
// taken.
yc_status yc_queue_poll(struct yc_queue *queue,
                        struct yc_completion *completions,
                        size_t max,
                        size_t stride,
                        size_t *count,
                        struct yc_error **err);

// As yc_queue_poll(), but waits until there is one to take, at most
// timeout_ms milliseconds (-1: no limit). max is at least 1. Several threads
// may wait; each completion goes to one of them.
//
// Errors: YC_E_TIMEOUT when there was none; those of yc_queue_poll(), also
// for a thread that waits while the queue is closed.
yc_status yc_queue_wait(struct yc_queue *queue,
                        struct yc_completion *completions,
                        size_t max,
                        size_t stride,
                        int64_t timeout_ms,
                        size_t *count,
                        struct yc_error **err);

// A file descriptor that is readable while there are completions to take:
// for epoll, poll, libuv and their like. It becomes readable once for each
// change from empty to filled, until a poll or wait takes the last. It belongs
// to the queue until yc_queue_free(): watch it, never read, write or close it.
//
// Errors: YC_E_BUSY when the process may open no more files.
yc_status yc_queue_fd(struct yc_queue *queue, int *fd, struct yc_error **err);

// Cancels an operation: it completes with YC_E_CANCELLED at once, though on
// a server it may be carried out all the same.
//
// YC_OK: it was in flight. YC_MISS: it has completed already, or there is no
// such ticket.
yc_status yc_queue_cancel(struct yc_queue *queue, yc_ticket ticket, struct yc_error **err);

// Closes a queue: it accepts no more, what is in flight may finish for
// timeout_ms milliseconds (-1: 5000; 0: not at all), and the rest completes
// with YC_E_CANCELLED. All completions can still be taken. wake is not
// called after this returns, unless this was called from it. Closing again is
// YC_OK. yc_close() closes the queues of its cache in the same way; the rest
// completes with YC_E_CLOSED then.
yc_status yc_queue_close(struct yc_queue *queue, int64_t timeout_ms, struct yc_error **err);

// Releases a queue, with the completions that were not taken, once no thread
// uses the handle any more. One that was not closed is closed without
// waiting, and what is in flight is dropped. Never blocks; NULL is fine.
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

// Log level: nothing.
#define YC_LOG_OFF 0

// Log level: something failed that should not.
#define YC_LOG_ERROR 1

// Log level: something is wrong and was dealt with.
#define YC_LOG_WARN 2

// Log level: what an operator wants to know: opened, closed, reconnected.
#define YC_LOG_INFO 3

// Log level: what helps to find a fault.
#define YC_LOG_DEBUG 4

// Log level: everything.
#define YC_LOG_TRACE 5

// Receives one log line: UTF-8, len bytes, also NUL-terminated, without a
// line end, never with a value or a password. Called from any thread, also
// several at once; must not block for long. It may call the library; what
// it causes is not logged. It must not throw or longjmp.
typedef void (*yc_log_fn)(void *user_data, int32_t level, const char *line, size_t len);

// Sends the log lines of all caches of this process to a callback, in place
// of any earlier one, up to a level. A NULL log, or YC_LOG_OFF, ends
// logging, which is off until this is called. The finaliser (may be NULL) is
// called with user_data once no more lines will come, unless this fails.
//
// Errors: YC_E_INVALID for a level that is none.
yc_status yc_set_log(int32_t level,
                     yc_log_fn log,
                     void *user_data,
                     yc_finalise_fn finalise,
                     struct yc_error **err);

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

// The version of the library, such as "0.1.0". Static: never free it.
const char *yc_version(void);

// Whether this library serves a program compiled against a header of that
// version: call yc_check_abi(YC_VERSION_NUMBER, &err) once at start. It does
// when it is at least as new and, before 1.0, of the same minor version.
//
// Errors: YC_E_ABI_MISMATCH, with both versions in the message.
yc_status yc_check_abi(uint32_t header_version, struct yc_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  /* YOKEDCACHE_H */
