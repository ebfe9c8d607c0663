/*
 * generations.c - the cost of generations and barriers: reads and sets of a cache with the option beside those of one
 * without, a clear of many entries beside a set, and a barrier beside a walk, in interleaved rounds of one process; and the
 * opening of a view.
 *
 *   generations URL ROUNDS MILLISECONDS ENTRIES
 *
 * Prints a Markdown table: microseconds of an operation of each cache, and the median of the ratios of each round.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yokedcache.h>

enum { KEYS = 1000, KEY = 16, VALUE = 100, AT_ONCE = 64, MAX_ROUNDS = 100 };

typedef struct contender {
    yc_cache *cache;
    double us[MAX_ROUNDS];
} contender;

typedef void (*call)(yc_cache *cache, unsigned number);

static char keys[KEYS][KEY + 1], value[VALUE];

static void must(yc_status status, yc_error *error, const char *what)
{
    if (status != YC_OK) {
        fprintf(stderr, "generations: %s: %s\n", what, error ? yc_error_message(error) : yc_status_name(status));
        exit(1);
    }
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void get(yc_cache *cache, unsigned number)
{
    char buffer[VALUE];
    size_t len;
    yc_error *error = NULL;
    must(yc_get_into(cache, keys[number % KEYS], KEY, buffer, sizeof buffer, &len, &error), error, "get");
}

static void set(yc_cache *cache, unsigned number)
{
    yc_error *error = NULL;
    must(yc_set(cache, keys[number % KEYS], KEY, value, VALUE, 3600000, NULL, 0, &error), error, "set");
}

/* Gets that are in flight together. */
static void batch(yc_cache *cache, unsigned number)
{
    yc_op ops[AT_ONCE];
    yc_error *error = NULL;
    memset(ops, 0, sizeof ops);
    for (unsigned at = 0; at < AT_ONCE; at++) {
        ops[at].kind = YC_OP_GET;
        ops[at].key = keys[(number * AT_ONCE + at) % KEYS];
        ops[at].key_len = KEY;
    }
    must(yc_batch(cache, ops, AT_ONCE, sizeof *ops, &error), error, "batch");
    for (unsigned at = 0; at < AT_ONCE; at++) {
        must(ops[at].status, ops[at].error, "get of a batch");
        yc_value_free(ops[at].result);
    }
}

static void get_many(yc_cache *cache, unsigned number)
{
    yc_slice slices[AT_ONCE];
    yc_value *values[AT_ONCE];
    yc_error *error = NULL;
    for (unsigned at = 0; at < AT_ONCE; at++) {
        slices[at] = (yc_slice) { keys[(number * AT_ONCE + at) % KEYS], KEY };
    }
    must(yc_get_many(cache, slices, AT_ONCE, values, NULL, &error), error, "get_many");
    for (unsigned at = 0; at < AT_ONCE; at++) {
        yc_value_free(values[at]);
    }
}

static double measure(yc_cache *cache, call run, double milliseconds)
{
    double begun = now_us(), end = begun + milliseconds * 1e3, now = begun;
    unsigned done = 0;
    for (; now < end; now = now_us()) {
        for (int at = 0; at < 16; at++) {
            run(cache, done++);
        }
    }
    return (now - begun) / done;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(const double *figures, int count)
{
    double sorted[MAX_ROUNDS];
    memcpy(sorted, figures, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    return sorted[count / 2];
}

static void print_row(const char *name, const double *plain, const double *other, int rounds)
{
    double ratios[MAX_ROUNDS];
    for (int round = 0; round < rounds; round++) {
        ratios[round] = plain[round] / other[round];
    }
    printf("| %s | %.3f | %.3f | %.2f |\n", name, median(plain, rounds), median(other, rounds), median(ratios, rounds));
}

static yc_cache *open_cache(const char *url, const char *options)
{
    char whole[256];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    /* Of the memory backend alone: room for all entries. */
    const char *room = strncmp(url, "memory:", 7) == 0 ? "&max_size=0" : "";
    snprintf(whole, sizeof whole, "%s%c%s%s", url, strchr(url, '?') ? '&' : '?', options, room);
    must(yc_open(whole, &cache, &error), error, whole);
    for (unsigned at = 0; at < KEYS; at++) {
        set(cache, at);
    }
    return cache;
}

static void compare(const char *name, contender *both, call run, int rounds, double milliseconds)
{
    for (int round = -1; round < rounds; round++) {
        for (int turn = 0; turn < 2; turn++) {
            contender *it = &both[(turn + round + 2) % 2];
            double us = measure(it->cache, run, round < 0 ? milliseconds / 5 : milliseconds);
            if (round >= 0) {
                it->us[round] = us;
            }
        }
    }
    print_row(name, both[0].us, both[1].us, rounds);
}

static double timed_clear(yc_cache *cache)
{
    yc_error *error = NULL;
    double begun = now_us();
    must(yc_clear(cache, NULL, &error), error, "clear");
    return now_us() - begun;
}

static double timed_set(yc_cache *cache, unsigned number)
{
    double begun = now_us();
    set(cache, number);
    return now_us() - begun;
}

static void set_entries(yc_cache *cache, unsigned entries)
{
    char name[32];
    yc_error *error = NULL;
    for (unsigned at = 0; at < entries; at++) {
        snprintf(name, sizeof name, "entry:%010u", at);
        must(yc_set(cache, name, strlen(name), value, 1, 3600000, NULL, 0, &error), error, "set");
    }
}

/* A clear of so many entries beside the set before it, and clears of a few entries beside the sets before them. What is timed
   once runs on another cache first: a virtual machine takes milliseconds for code that has not run for a second. */
static void compare_clear(yc_cache *cache, yc_cache *other, int rounds, unsigned entries)
{
    double sets[MAX_ROUNDS], clears[MAX_ROUNDS];
    char text[64];
    for (int round = 0; round < rounds; round++) {
        set_entries(cache, entries);
        timed_set(other, 0);
        timed_clear(other);
        sets[round] = timed_set(cache, 0);
        clears[round] = timed_clear(cache);
    }
    snprintf(text, sizeof text, "set, and a clear of %u entries", entries);
    print_row(text, sets, clears, rounds);
    for (int round = 0; round < MAX_ROUNDS; round++) {
        sets[round] = timed_set(cache, (unsigned)round);
        clears[round] = timed_clear(cache);
    }
    print_row("set, and a clear of 1 entry", sets, clears, MAX_ROUNDS);
}

static double timed_pattern(yc_cache *cache, const char *pattern)
{
    yc_error *error = NULL;
    double begun = now_us();
    must(yc_invalidate_pattern(cache, pattern, strlen(pattern), NULL, &error), error, "invalidate a pattern");
    return now_us() - begun;
}

/* Reads behind so many barriers, of which none concerns the keys, beside reads of a cache without generations. */
static void compare_barriers(const char *url, yc_cache *plain, int barriers, int rounds, double milliseconds)
{
    char text[64];
    snprintf(text, sizeof text, "key_prefix=barriers%d&patterns=barrier", barriers);
    contender both[] = { { plain, { 0 } }, { open_cache(url, text), { 0 } } };
    for (int at = 0; at < barriers; at++) {
        snprintf(text, sizeof text, "none%d:*", at);
        timed_pattern(both[1].cache, text);
    }
    snprintf(text, sizeof text, "get, one caller, %d barriers", barriers);
    compare(text, both, get, rounds, milliseconds);
    snprintf(text, sizeof text, "64 gets in flight, %d barriers", barriers);
    compare(text, both, batch, rounds, milliseconds);
    snprintf(text, sizeof text, "get_many of 64, %d barriers", barriers);
    compare(text, both, get_many, rounds, milliseconds);
    yc_flush(both[1].cache, NULL, NULL);
    yc_cache_free(both[1].cache);
}

/* The invalidation of so many entries by a walk, beside ten barriers that do the same, a tenth each: their median. */
static void compare_walk(const char *url, unsigned entries)
{
    enum { BARRIERS = 10 };
    double walk, barriers[BARRIERS];
    char text[64];
    yc_cache *caches[] = { open_cache(url, "key_prefix=walks&generations=true"), open_cache(url, "key_prefix=bars&patterns=barrier") };
    set_entries(caches[0], entries);
    walk = timed_pattern(caches[0], "entry:*");
    set_entries(caches[1], entries);
    for (unsigned at = 0; at < BARRIERS; at++) {
        snprintf(text, sizeof text, "entry:*%u", at);
        barriers[at] = timed_pattern(caches[1], text);
    }
    printf("| a pattern of %u entries: walk, barrier (the first: %.0f) | %.0f | %.1f | %.0f |\n", entries, barriers[0], walk,
           median(barriers, BARRIERS), walk / median(barriers, BARRIERS));
    for (int which = 0; which < 2; which++) {
        yc_flush(caches[which], NULL, NULL);
        yc_cache_free(caches[which]);
    }
}

/* The opening of a view, without its end: a few at a time, as a service has for the requests that it serves. */
static void measure_views(yc_cache *cache, int rounds)
{
    enum { VIEWS = 5, TIMES = 10000 };
    double us[MAX_ROUNDS];
    yc_cache *views[VIEWS];
    yc_error *error = NULL;
    for (int round = 0; round < rounds; round++) {
        us[round] = 0;
        for (int times = 0; times < TIMES; times++) {
            double begun = now_us();
            for (int at = 0; at < VIEWS; at++) {
                must(yc_view(cache, "{namespace: users, timeout: 20ms, default_ttl: 1m}", &views[at], &error), error, "view");
            }
            us[round] += now_us() - begun;
            for (int at = 0; at < VIEWS; at++) {
                yc_cache_free(views[at]);
            }
        }
        us[round] /= VIEWS * TIMES;
    }
    printf("| open a view | | %.3f | |\n", median(us, rounds));
}

int main(int count, char **arguments)
{
    if (count != 5) {
        fprintf(stderr, "usage: generations URL ROUNDS MILLISECONDS ENTRIES\n");
        return 2;
    }
    int rounds = atoi(arguments[2]);
    double milliseconds = atof(arguments[3]);
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    for (unsigned at = 0; at < KEYS; at++) {
        snprintf(keys[at], sizeof keys[at], "key:%012u", at);
    }
    contender both[] = {
        { open_cache(arguments[1], "key_prefix=plain"), { 0 } },
        { open_cache(arguments[1], "key_prefix=generations&generations=true"), { 0 } },
    };
    printf("| %.*s | without, us | with, us | ratio |\n|---|---|---|---|\n", (int)strcspn(arguments[1], ":"), arguments[1]);
    compare("get, one caller", both, get, rounds, milliseconds);
    compare("64 gets in flight", both, batch, rounds, milliseconds);
    compare("get_many of 64", both, get_many, rounds, milliseconds);
    compare("set, one caller", both, set, rounds, milliseconds);
    measure_views(both[0].cache, rounds);
    yc_cache *other = open_cache(arguments[1], "key_prefix=other&generations=true");
    compare_clear(both[1].cache, other, rounds < 5 ? rounds : 5, (unsigned)atoi(arguments[4]));
    compare_barriers(arguments[1], both[0].cache, 0, rounds, milliseconds);
    compare_barriers(arguments[1], both[0].cache, 8, rounds, milliseconds);
    compare_barriers(arguments[1], both[0].cache, 64, rounds, milliseconds);
    compare_walk(arguments[1], (unsigned)atoi(arguments[4]));
    yc_flush(other, NULL, NULL);
    yc_cache_free(other);
    for (int at = 0; at < 2; at++) {
        yc_flush(both[at].cache, NULL, NULL);
        yc_cache_free(both[at].cache);
    }
}
