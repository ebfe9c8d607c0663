/* Checks of what calls of the library answer. */
#ifndef CALLS_H
#define CALLS_H

#include "check.h"

#include <yokedcache.h>

static inline bool check_status(yc_status came, yc_status wanted, const char *text, const char *file, int line) {
    if (check_that(came == wanted, text, file, line)) return true;
    printf("  wanted %s, came %s (%d)\n", yc_status_name(wanted), yc_status_name(came), (int)came);
    return false;
}

#define CHECK_STATUS(call, wanted) check_status((call), (wanted), #call, __FILE__, __LINE__)

/* Runs a call that is handed `err`, once with a place for the error and once with NULL: both times it has to
   answer `wanted`, and the error has to agree. */
#define CHECK_CALL(call, wanted)                                                                              \
    do {                                                                                                      \
        for (int with_place = 0; with_place < 2; with_place++) {                                              \
            yc_error *error_ = (yc_error *)&checks_made, **err = with_place ? &error_ : NULL;                 \
            CHECK_STATUS(call, wanted);                                                                       \
            if (with_place) check_error(error_, wanted, #call, __FILE__, __LINE__);                           \
        }                                                                                                     \
    } while (0)

static inline void check_error(yc_error *error, yc_status wanted, const char *text, const char *file, int line) {
    if (!check_that(error != (yc_error *)&checks_made, "err was not written", file, line)) return;
    if (wanted >= 0) {
        check_that(error == NULL, "err is NULL without a failure", file, line);
    } else if (check_that(error != NULL, text, file, line)) {
        check_that(yc_error_status(error) == wanted, "the error has the status", file, line);
        check_that(yc_error_message(error)[0] != '\0', "the error has a message", file, line);
    }
    yc_error_free(error);
}

/* The cache a test runs on: YC_TEST_URL with YC_TEST_OPTIONS in its query, else memory. */
static inline const char *test_url(void) {
    static char with_options[1024];
    const char *url = getenv("YC_TEST_URL"), *options = getenv("YC_TEST_OPTIONS");
    if (!url || !options) return url ? url : "memory://";
    snprintf(with_options, sizeof with_options, "%s%c%s", url, strchr(url, '?') ? '&' : '?', options);
    return with_options;
}

/* A memory cache with a busy sweeper, or another cache as it is. */
static inline const char *busy_url(void) {
    return strncmp(test_url(), "memory:", 7) == 0 ? "memory://?cleanup_interval=1ms" : test_url();
}

/* An open cache, or the end of the test. */
static inline yc_cache *open_cache(const char *config) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    if (yc_open(config, &cache, &error) != YC_OK) {
        printf("FAILED to open %s: %s\n", config, yc_error_message(error));
        exit(1);
    }
    return cache;
}

static inline void close_cache(yc_cache *cache) {
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    yc_cache_free(cache);
}

/* A slice of a text. */
static inline yc_slice slice(const char *text) { return (yc_slice){text, strlen(text)}; }

#endif
