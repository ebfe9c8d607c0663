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

static atomic_int checks_made, checks_failed;

static inline bool check_that(bool holds, const char *text, const char *file, int line) {
    atomic_fetch_add(&checks_made, 1);
    if (!holds) {
        atomic_fetch_add(&checks_failed, 1);
        printf("FAILED %s:%d: %s\n", file, line, text);
    }
    return holds;
}

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)

static inline int check_result(void) {
    int made = atomic_load(&checks_made), failed = atomic_load(&checks_failed);
    printf("%d checks, %d failed\n", made, failed);
    return failed || !made;
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

/* Whether so many threads are left; a joined one is listed a moment longer by the kernel. */
static inline bool threads_are(int wanted) {
    for (int tries = 0; tries < 200 && count_threads() != wanted; tries++) sleep_ms(5);
    return count_threads() == wanted;
}

/* How many threads there are once none that has ended is still listed: the number is the same for 50 ms. */
static inline int settled_threads(void) {
    int count = count_threads();
    for (int same = 0, tries = 0; same < 10 && tries < 400; same++, tries++) {
        int before = count;
        sleep_ms(5);
        count = count_threads();
        if (count != before) same = -1;
    }
    return count;
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

#endif
