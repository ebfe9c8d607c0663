/*
 * hits.c - hits of a near cache beside hits of the memory backend, in interleaved rounds of one process.
 *
 *   hits REDIS_PORT MEMCACHED_PORT ROUNDS MILLISECONDS
 *
 * Prints a line for each call, number of threads and contender, with the nanoseconds of a hit in every round. They are
 * processor time of the calling threads: a hit never waits, so other programs do not count.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yokedcache.h>

enum { KEYS = 1000, KEY = 16, VALUE = 100, MAX_THREADS = 2, MAX_ROUNDS = 100, WARM_UP_MS = 20, CALLS_AT_ONCE = 100 };

static const int64_t TTL_MS = 3600 * 1000;
/* More than the length of a run, so that every read is a hit. */
#define OPTIONS "key_prefix=hits&near=10m"

typedef struct contender {
    const char *name;
    yc_cache *cache;
} contender;

static contender contenders[] = { { "memory", NULL }, { "redis", NULL }, { "memcached", NULL } };
enum { CONTENDERS = sizeof contenders / sizeof *contenders };

typedef void (*call)(yc_cache *cache, const char *key);

typedef struct worker {
    pthread_t thread;
    yc_cache *cache;
    call call;
    unsigned next;
    uint64_t hits, nanoseconds;
} worker;

static char keys[KEYS][KEY + 1];
static atomic_int is_over;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "hits: %s: %s\n", what, why);
    exit(1);
}

static void must(yc_status status, yc_error *error, const char *what)
{
    if (status != YC_OK) {
        fail(what, error ? yc_error_message(error) : yc_status_name(status));
    }
}

static void check(const char *key, const void *value, size_t len)
{
    if (len != VALUE || memcmp(value, key, KEY) != 0) {
        fail(key, "its value is another one");
    }
}

/* ---- The calls ---- */

static void get_into(yc_cache *cache, const char *key)
{
    char value[VALUE];
    size_t len = 0;
    yc_error *error = NULL;
    must(yc_get_into(cache, key, KEY, value, sizeof value, &len, &error), error, "yc_get_into");
    check(key, value, len);
}

static void get(yc_cache *cache, const char *key)
{
    yc_value *value = NULL;
    size_t len = 0;
    yc_error *error = NULL;
    must(yc_get(cache, key, KEY, &value, &error), error, "yc_get");
    const void *data = yc_value_data(value, &len);
    check(key, data, len);
    yc_value_free(value);
}

static void get_near(yc_cache *cache, const char *key)
{
    char value[VALUE];
    size_t len = 0;
    yc_error *error = NULL;
    must(yc_get_near(cache, key, KEY, value, sizeof value, &len, &error), error, "yc_get_near");
    check(key, value, len);
}

static const struct {
    const char *name;
    call call;
} CALLS[] = { { "get_into", get_into }, { "get", get }, { "get_near", get_near } };

/* ---- A turn ---- */

static uint64_t processor_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void *work(void *argument)
{
    worker *worker = argument;
    uint64_t before = processor_ns();
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        for (int i = 0; i < CALLS_AT_ONCE; i++) {
            /* An order that has nothing to do with that of the places in memory: 619 has no divisor of KEYS. */
            worker->next = (worker->next + 619) % KEYS;
            worker->call(worker->cache, keys[worker->next]);
        }
        worker->hits += CALLS_AT_ONCE;
    }
    worker->nanoseconds = processor_ns() - before;
    return NULL;
}

static uint64_t all_hits[CONTENDERS];

/* The nanoseconds of a hit. */
static double turn(int contender, call call, int threads, long milliseconds)
{
    worker workers[MAX_THREADS] = { 0 };
    uint64_t hits = 0, nanoseconds = 0;
    atomic_store(&is_over, 0);
    for (int i = 0; i < threads; i++) {
        workers[i].cache = contenders[contender].cache;
        workers[i].call = call;
        workers[i].next = (unsigned)i * KEYS / MAX_THREADS;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fail("a thread", "it cannot be started");
        }
    }
    nanosleep(&(struct timespec) { milliseconds / 1000, milliseconds % 1000 * 1000000 }, NULL);
    atomic_store(&is_over, 1);
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        hits += workers[i].hits;
        nanoseconds += workers[i].nanoseconds;
    }
    all_hits[contender] += hits;
    /* Others may have had the processors all the time. */
    return hits ? (double)nanoseconds / (double)hits : turn(contender, call, threads, milliseconds);
}

static void measure(const char *name, call call, int threads, int rounds, long milliseconds)
{
    static double measured[CONTENDERS][MAX_ROUNDS];
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < CONTENDERS; i++) {
            int contender = (round + i) % CONTENDERS;
            turn(contender, call, threads, WARM_UP_MS);
            measured[contender][round] = turn(contender, call, threads, milliseconds);
        }
    }
    for (int contender = 0; contender < CONTENDERS; contender++) {
        printf("%s %d %s", name, threads, contenders[contender].name);
        for (int round = 0; round < rounds; round++) {
            printf(" %.2f", measured[contender][round]);
        }
        putchar('\n');
    }
    fflush(stdout);
}

/* ---- The caches, and a copy of every entry ---- */

static void open_cache(int contender, const char *url)
{
    yc_error *error = NULL;
    yc_cache *cache = NULL;
    char value[VALUE];
    must(yc_open(url, &cache, &error), error, url);
    memset(value, 'v', sizeof value);
    for (int i = 0; i < KEYS; i++) {
        memcpy(value, keys[i], KEY);
        must(yc_set(cache, keys[i], KEY, value, VALUE, TTL_MS, NULL, 0, &error), error, "yc_set");
    }
    contenders[contender].cache = cache;
}

/* Reads every key until the process has a copy: the server may still tell of the set when it is read. */
static void keep_copies(yc_cache *cache)
{
    char value[VALUE];
    size_t len;
    for (int i = 0, attempts = 0; i < KEYS; attempts++) {
        if (yc_get_near(cache, keys[i], KEY, value, sizeof value, &len, NULL) == YC_OK) {
            i++;
            continue;
        }
        if (attempts > 100 * KEYS) {
            fail(keys[i], "the near cache keeps no copy");
        }
        get(cache, keys[i]);
        nanosleep(&(struct timespec) { 0, 100000 }, NULL);
    }
}

/* The hits of copies, as yc_stats reports them. */
static uint64_t near_hits(yc_cache *cache)
{
    yc_value *json = NULL;
    yc_error *error = NULL;
    size_t len;
    must(yc_stats(cache, &json, &error), error, "yc_stats");
    const char *data = yc_value_data(json, &len);
    char *text = strndup(data, len);
    const char *near = strstr(text, "\"near\":{");
    const char *hits = near ? strstr(near, "\"hits\":") : NULL;
    if (hits == NULL) {
        fail("yc_stats reports no near cache", text);
    }
    uint64_t number = strtoull(hits + strlen("\"hits\":"), NULL, 10);
    free(text);
    yc_value_free(json);
    return number;
}

int main(int argc, char **argv)
{
    char url[100];
    int rounds = argc == 5 ? atoi(argv[3]) : 0;
    if (rounds < 1 || rounds > MAX_ROUNDS) {
        fputs("hits REDIS_PORT MEMCACHED_PORT ROUNDS MILLISECONDS\n", stderr);
        return 1;
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key:%012d", i);
    }
    open_cache(0, "memory://");
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?" OPTIONS, atoi(argv[1]));
    open_cache(1, url);
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d?" OPTIONS, atoi(argv[2]));
    open_cache(2, url);
    uint64_t before[CONTENDERS];
    for (int contender = 0; contender < CONTENDERS; contender++) {
        keep_copies(contenders[contender].cache);
        before[contender] = contender ? near_hits(contenders[contender].cache) : 0;
    }
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        for (int threads = 1; threads <= MAX_THREADS; threads++) {
            measure(CALLS[i].name, CALLS[i].call, threads, rounds, atol(argv[4]));
        }
    }
    /* What was measured has to be hits of copies. */
    for (int contender = 1; contender < CONTENDERS; contender++) {
        if (near_hits(contenders[contender].cache) - before[contender] < all_hits[contender]) {
            fail(contenders[contender].name, "some hits were not hits of copies");
        }
    }
    for (int contender = 0; contender < CONTENDERS; contender++) {
        yc_close(contenders[contender].cache, -1, NULL);
        yc_cache_free(contenders[contender].cache);
    }
    return 0;
}
