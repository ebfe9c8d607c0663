/*
 * measure.c - one point of a scaling curve: fills a cache, then lets threads call it.
 *
 *   measure URL OPERATION THREADS ENTRIES VALUE TAGS SLICES MILLISECONDS
 *
 * OPERATION is get (yc_get_into), set, or many (yc_get_many of 100). Prints the growth of its resident memory for
 * each entry, in bytes, when it has filled the cache, then a line for each slice of time:
 *   operations a second, p50, p99 and p99.9 in microseconds, microseconds of this process's processors an operation,
 *   times an operation that a thread waited for something, times that it was taken off its processor
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

#include "../servers/histogram.h"

enum {
    KEY = 16,
    MANY = 100,
    MAX_THREADS = 256,
    MAX_SLICES = 32,
    MAX_TAGS = 128,
    WARM_UP_MS = 100,
    /* Keys and bytes of one yc_set_many that fills. */
    FILL_KEYS = 1000,
    FILL_BYTES = 4 << 20,
};

/* The fast operations of the memory backend are timed one in so many: a clock costs as much as a part of them. */
static uint32_t timed_one_in = 1;

struct figures {
    uint64_t operations;
    uint32_t durations[BUCKETS];
};

struct caller {
    uint64_t random;
    uint32_t calls;
    char *value;
    struct figures slices[MAX_SLICES];
};

static yc_cache *cache;
static uint64_t entries;
static size_t value_len, n_tags;
static yc_slice tags[MAX_TAGS];
/* The slice that is measured: -1 while warming up, the number of slices at the end. */
static atomic_int slice = -1;
static int slices;
static void (*operation)(struct caller *);

static void must(yc_status status, yc_error *error)
{
    if (status != YC_OK) {
        fprintf(stderr, "measure: %s: %s\n", yc_status_name(status), error ? yc_error_message(error) : "");
        exit(1);
    }
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t mix(uint64_t number)
{
    uint64_t z = number * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The key of a number: 16 hexadecimal digits. A table of keys would compete with the cache for the processor's caches. */
static void write_key(char key[KEY], uint64_t number)
{
    uint64_t mixed = mix(number + 1);
    for (int i = 0; i < KEY; i++) {
        key[i] = "0123456789abcdef"[mixed >> (i * 4) & 15];
    }
}

static void random_key(struct caller *caller, char key[KEY])
{
    uint64_t random = mix(caller->random++);
    write_key(key, (uint64_t)((unsigned __int128)random * entries >> 64));
}

/* ---- The operations ---- */

static void check(const char *key, const char *value, size_t len)
{
    if (len != value_len || memcmp(key, value, KEY) != 0) {
        fprintf(stderr, "measure: a value of %zu bytes is not that of %.*s\n", len, KEY, key);
        exit(1);
    }
}

static void get(struct caller *caller)
{
    char key[KEY];
    size_t len;
    yc_error *error = NULL;
    random_key(caller, key);
    must(yc_get_into(cache, key, KEY, caller->value, value_len, &len, &error), error);
    check(key, caller->value, len);
}

static void set(struct caller *caller)
{
    char key[KEY];
    yc_error *error = NULL;
    random_key(caller, key);
    memcpy(caller->value, key, KEY);
    must(yc_set(cache, key, KEY, caller->value, value_len, YC_TTL_NEVER, tags, n_tags, &error), error);
}

static void many(struct caller *caller)
{
    char keys[MANY][KEY];
    yc_slice names[MANY];
    yc_value *values[MANY];
    yc_error *error = NULL;
    for (int i = 0; i < MANY; i++) {
        random_key(caller, keys[i]);
        names[i] = (yc_slice) { keys[i], KEY };
    }
    must(yc_get_many(cache, names, MANY, values, NULL, &error), error);
    for (int i = 0; i < MANY; i++) {
        size_t len;
        const void *value = yc_value_data(values[i], &len);
        check(keys[i], value, len);
        yc_value_free(values[i]);
    }
}

static void *call(void *argument)
{
    struct caller *caller = argument;
    int current;
    while ((current = atomic_load_explicit(&slice, memory_order_relaxed)) < slices) {
        int timed = caller->calls++ % timed_one_in == 0;
        uint64_t since = timed ? now() : 0;
        operation(caller);
        if (current >= 0) {
            caller->slices[current].operations++;
            if (timed) {
                caller->slices[current].durations[bucket_of(now() - since)]++;
            }
        }
    }
    return NULL;
}

/* ---- The entries ---- */

static void fill(void)
{
    size_t at_once = FILL_BYTES / value_len + 1;
    at_once = at_once < FILL_KEYS ? at_once : FILL_KEYS;
    char *values = malloc(at_once * value_len);
    static char keys[FILL_KEYS][KEY];
    static yc_slice names[FILL_KEYS], contents[FILL_KEYS];
    yc_error *error = NULL;
    memset(values, 'v', at_once * value_len);
    for (uint64_t first = 0; first < entries; first += at_once) {
        size_t n = entries - first < at_once ? entries - first : at_once;
        for (size_t i = 0; i < n; i++) {
            write_key(keys[i], first + i);
            memcpy(values + i * value_len, keys[i], KEY);
            names[i] = (yc_slice) { keys[i], KEY };
            contents[i] = (yc_slice) { values + i * value_len, value_len };
        }
        must(yc_set_many(cache, names, contents, n, YC_TTL_NEVER, tags, n_tags, NULL, &error), error);
    }
    free(values);
}

static double resident_bytes(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &all, &resident) != 2) {
        fputs("measure: /proc/self/statm cannot be read\n", stderr);
        exit(1);
    }
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void name_tags(void)
{
    static char names[MAX_TAGS][16];
    for (size_t i = 0; i < n_tags; i++) {
        snprintf(names[i], sizeof names[i], "tag:%zu", i);
        tags[i] = (yc_slice) { names[i], strlen(names[i]) };
    }
}

/* ---- The slices ---- */

static void sleep_ms(long milliseconds)
{
    struct timespec left = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    while (milliseconds > 0 && nanosleep(&left, &left) != 0) {
    }
}

static double percentile(const struct figures *sum, double share)
{
    uint64_t all = 0, below = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        all += sum->durations[bucket];
    }
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        below += sum->durations[bucket];
        if (below > 0 && (double)below >= (double)all * share) {
            return microseconds_of(bucket);
        }
    }
    return 0;
}

static void print(const struct figures *sum, double seconds, const struct rusage *before, const struct rusage *after)
{
    double operations = sum->operations ? (double)sum->operations : 1;
    double processor = (double)(after->ru_utime.tv_sec - before->ru_utime.tv_sec)
        + (double)(after->ru_stime.tv_sec - before->ru_stime.tv_sec)
        + (double)(after->ru_utime.tv_usec - before->ru_utime.tv_usec) / 1e6
        + (double)(after->ru_stime.tv_usec - before->ru_stime.tv_usec) / 1e6;
    printf("%.1f %.3f %.3f %.3f %.4f %.6f %.6f\n", (double)sum->operations / seconds, percentile(sum, 0.5),
        percentile(sum, 0.99), percentile(sum, 0.999), processor * 1e6 / operations,
        (double)(after->ru_nvcsw - before->ru_nvcsw) / operations,
        (double)(after->ru_nivcsw - before->ru_nivcsw) / operations);
}

static void add(struct figures *sum, const struct figures *one)
{
    sum->operations += one->operations;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        sum->durations[bucket] += one->durations[bucket];
    }
}

static void measure(int threads, long slice_ms)
{
    static struct rusage used[MAX_SLICES + 1];
    static uint64_t at[MAX_SLICES + 1];
    pthread_t thread[MAX_THREADS];
    struct caller *callers = calloc((size_t)threads, sizeof *callers);
    for (int i = 0; i < threads; i++) {
        callers[i].random = (uint64_t)(i + 1) << 40;
        callers[i].value = calloc(1, value_len);
        if (pthread_create(&thread[i], NULL, call, &callers[i]) != 0) {
            fputs("measure: cannot start a thread\n", stderr);
            exit(1);
        }
    }
    sleep_ms(WARM_UP_MS);
    for (int i = 0; i <= slices; i++) {
        getrusage(RUSAGE_SELF, &used[i]);
        at[i] = now();
        atomic_store(&slice, i);
        sleep_ms(i < slices ? slice_ms : 0);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    for (int i = 0; i < slices; i++) {
        struct figures *sum = &callers[0].slices[i];
        for (int other = 1; other < threads; other++) {
            add(sum, &callers[other].slices[i]);
        }
        print(sum, (double)(at[i + 1] - at[i]) / 1e9, &used[i], &used[i + 1]);
    }
}

static void (*operation_of(const char *name))(struct caller *)
{
    return strcmp(name, "get") == 0 ? get : strcmp(name, "set") == 0 ? set : strcmp(name, "many") == 0 ? many : NULL;
}

int main(int argc, char **argv)
{
    yc_error *error = NULL;
    if (argc != 9 || (operation = operation_of(argv[2])) == NULL) {
        fputs("measure URL get|set|many THREADS ENTRIES VALUE TAGS SLICES MILLISECONDS\n", stderr);
        return 1;
    }
    int threads = atoi(argv[3]);
    entries = strtoull(argv[4], NULL, 10);
    value_len = strtoul(argv[5], NULL, 10);
    n_tags = strtoul(argv[6], NULL, 10);
    slices = atoi(argv[7]);
    if (threads < 1 || threads > MAX_THREADS || slices < 1 || slices > MAX_SLICES || n_tags > MAX_TAGS || value_len < KEY
        || entries < 1) {
        fputs("measure: a number is out of range\n", stderr);
        return 1;
    }
    timed_one_in = strncmp(argv[1], "memory", 6) == 0 ? 8 : 1;
    name_tags();
    must(yc_open(argv[1], &cache, &error), error);
    double resident = resident_bytes();
    fill();
    printf("%.1f\n", (resident_bytes() - resident) / (double)entries);
    fflush(stdout);
    measure(threads, atol(argv[8]));
    fflush(stdout);
    /* The cache goes with the process. */
    _Exit(0);
}
