/* Checks for the C tests: each prints where it failed; check_result() is what main returns. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yokedcache.h>

static atomic_int checks_made, checks_failed;

static inline bool check_that(bool holds, const char *text, const char *file, int line) {
    atomic_fetch_add(&checks_made, 1);
    if (!holds) {
        atomic_fetch_add(&checks_failed, 1);
        printf("FAILED %s:%d: %s\n", file, line, text);
    }
    return holds;
}

static inline bool check_status(yc_status came, yc_status wanted, const char *text, const char *file, int line) {
    if (check_that(came == wanted, text, file, line)) return true;
    printf("  wanted %s, came %s (%d)\n", yc_status_name(wanted), yc_status_name(came), (int)came);
    return false;
}

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)
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

static inline int check_result(void) {
    int made = atomic_load(&checks_made), failed = atomic_load(&checks_failed);
    printf("%d checks, %d failed\n", made, failed);
    return failed || !made;
}

/* The cache a test runs on: YC_TEST_URL, else memory. */
static inline const char *test_url(void) {
    const char *url = getenv("YC_TEST_URL");
    return url ? url : "memory://";
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

/* How many entries a directory of /proc/self has. */
static inline int count_entries(const char *path) {
    int count = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) count += entry->d_name[0] != '.';
    if (directory) closedir(directory);
    return count;
}

static inline int count_threads(void) { return count_entries("/proc/self/task"); }
static inline int count_files(void) { return count_entries("/proc/self/fd"); }

static inline void sleep_ms(long milliseconds) {
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) continue;
}

static inline double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Repeats a text into a new block of that length. */
static inline char *filled(char letter, size_t len) {
    char *block = malloc(len + 1);
    memset(block, letter, len);
    block[len] = '\0';
    return block;
}

/* A slice of a text. */
static inline yc_slice slice(const char *text) { return (yc_slice){text, strlen(text)}; }

#endif
