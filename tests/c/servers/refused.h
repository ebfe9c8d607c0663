/* Servers that cannot be used, and what the library says of them: with the open, and with the first call. */
#ifndef REFUSED_H
#define REFUSED_H

#include "numbered.h"
#include "watch.h"

enum { REFUSED_DEADLINE_MS = 3000, REFUSED_OPEN_MS = 6000, MAX_URL = 1024 };

static const char REFUSED_OPTIONS[] = "socket_timeout=3s&socket_connect_timeout=3s";

/* The message names the server; `named` is how. */
static inline void check_message(const yc_error *error, const char *named) {
    const char *message = yc_error_message(error);
    check_silent(message, strlen(message));
    if (!CHECK(strstr(message, named) != NULL)) printf("  \"%s\" does not name %s\n", message, named);
}

static inline bool has(const yc_status *allowed, size_t count, yc_status status) {
    if (CHECK(is_one_of(status, allowed, count))) return true;
    return false;
}

static inline void check_refused_open(const char *url, const char *named, const yc_status *allowed, size_t count) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    moment begun = moment_now();
    yc_status status = yc_open(url, &cache, &error);
    in_time(begun, REFUSED_OPEN_MS);
    if (has(allowed, count, status)) check_message(error, named);
    yc_error_free(error);
    if (status == YC_OK) close_cache(cache);
}

static inline void check_refused_call(const char *url, const char *named, const yc_status *allowed, size_t count) {
    char lazy[MAX_URL + 16];
    yc_error *error = NULL;
    snprintf(lazy, sizeof lazy, "%s&connect=lazy", url);
    moment begun = moment_now();
    yc_cache *cache = open_cache(lazy);
    in_time(begun, REFUSED_DEADLINE_MS);
    begun = moment_now();
    yc_status status = get_numbered(cache, 1, &error);
    in_time(begun, REFUSED_DEADLINE_MS);
    if (has(allowed, count, status)) check_message(error, named);
    yc_error_free(error);
    check_reports(cache);
    close_cache(cache);
}

static inline void check_refused_with(const char *url, const char *named, const yc_status *allowed, size_t count) {
    int failed = atomic_load(&checks_failed);
    check_refused_open(url, named, allowed, count);
    check_refused_call(url, named, allowed, count);
    if (atomic_load(&checks_failed) != failed) printf("  with %s\n", url);
}

/* An eager open and a lazy open's first call fail in time, with one of these statuses and a message that names `named`. */
#define CHECK_REFUSED(url, named, ...) \
    check_refused_with((url), (named), (const yc_status[]){__VA_ARGS__}, sizeof((const yc_status[]){__VA_ARGS__}) / sizeof(yc_status))

#endif
