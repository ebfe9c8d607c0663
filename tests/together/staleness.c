/* Reads numbered values through a near cache and writes some of them, from C: see staleness.h. staleness URL FILE PROCESS MS */
#include "staleness.h"

#include <pthread.h>
#include <yokedcache.h>

static table shared;
static yc_cache *cache;

static void pause_us(long microseconds) {
    struct timespec time = {0, microseconds * 1000};
    nanosleep(&time, NULL);
}

/* ---- Reading ---- */

typedef yc_status reading(yc_cache *, const void *, size_t, void *, size_t, size_t *, yc_error **);

static yc_status read_key(int key, reading *with, const char *call) {
    char bytes[24];
    size_t len = 0;
    place at = place_of(&shared, key);
    yc_status status = with(cache, at.name, at.name_len, bytes, sizeof bytes, &len, NULL);
    count(&shared, READS, 1);
    if (status == YC_OK) take_value(&shared, &at, bytes, len, call);
    else count(&shared, status == YC_MISS ? MISSES : ERRORS, 1);
    return status;
}

/* Reads copies only, and so never waits. */
static void *look(void *unused) {
    while (!is_ending(&shared)) {
        uint64_t copies = 0;
        for (int key = 0; key < KEYS; key++) copies += read_key(key, yc_get_near, "get_near") == YC_OK;
        count(&shared, COPIES, copies);
        pause_us(200);
    }
    return unused;
}

static void take_all(const place *places, yc_value *const *values, const yc_status *statuses) {
    for (int key = 0; key < KEYS; key++) {
        size_t len = 0;
        const char *bytes = yc_value_data(values[key], &len);
        if (statuses[key] == YC_OK) take_value(&shared, &places[key], bytes, len, "get_many");
        else count(&shared, statuses[key] == YC_MISS ? MISSES : ERRORS, 1);
        yc_value_free(values[key]);
    }
}

/* All keys at once: while replies are late, all that have no copy wait for them. */
static void read_all(void) {
    place places[KEYS];
    yc_slice names[KEYS];
    yc_value *values[KEYS] = {NULL};
    yc_status statuses[KEYS];
    for (int key = 0; key < KEYS; key++) {
        places[key] = place_of(&shared, key);
        names[key] = (yc_slice){places[key].name, places[key].name_len};
    }
    yc_get_many(cache, names, KEYS, values, statuses, NULL);
    count(&shared, READS, KEYS);
    take_all(places, values, statuses);
}

static void *ask(void *unused) {
    while (!is_ending(&shared)) {
        for (int key = 0; key < KEYS; key++) read_key(key, yc_get_into, "get");
        for (int times = 0; times < 5; times++) read_all();
        pause_us(200);
    }
    return unused;
}

/* ---- Writing ---- */

static uint64_t numbers[KEYS], generations[KEYS];

static void store(int key) {
    char name[32], value[24], tag[32];
    size_t name_len = name_key(name, sizeof name, key, generations[key]);
    size_t len = (size_t)snprintf(value, sizeof value, "%" PRIu64, ++numbers[key]);
    yc_slice tags = {tag, name_tag(tag, sizeof tag, key)};
    yc_status status = yc_set(cache, name, name_len, value, len, 3600000, &tags, is_tagged(key), NULL);
    count(&shared, status < 0 ? FAILED_WRITES : WRITES, 1);
    if (status < 0) generations[key]++;
    publish(&shared, key, generations[key], numbers[key]);
}

static void delete_key(int key) {
    char name[32];
    yc_status status = yc_delete(cache, name, name_key(name, sizeof name, key, generations[key]), NULL);
    count(&shared, status < 0 ? FAILED_WRITES : WRITES, 1);
    if (status >= 0) publish(&shared, key, generations[key], ++numbers[key]);
    store(key);
}

/* Leaves the keys without values: only the tag tells of the change. */
static void invalidate(int key) {
    char tag[32];
    int first = key - key % GROUP;
    yc_status status = yc_invalidate_tag(cache, tag, name_tag(tag, sizeof tag, key), NULL, NULL);
    count(&shared, status < 0 ? FAILED_WRITES : WRITES, 1);
    for (int at = first; status >= 0 && at < first + GROUP; at++) publish(&shared, at, generations[at], ++numbers[at]);
}

static void change(int key, unsigned kind) {
    if (kind < 2) store(key);
    else if (kind == 2 && is_tagged(key)) invalidate(key);
    else delete_key(key);
    pause_us(5000);
}

static void write_keys(void) {
    unsigned seed = (unsigned)clock_ns();
    while (!is_ending(&shared)) {
        int key = choose_key(&shared, &seed);
        for (int left = rand_r(&seed) % BURST; left >= 0; left--) change(key, (unsigned)rand_r(&seed) % 4);
        pause_us(20000);
    }
}

int main(int argc, char **argv) {
    yc_error *error = NULL;
    pthread_t looking, asking;
    if (argc != 5) return 2;
    shared = open_table(argv);
    if (yc_open(argv[1], &cache, &error) != YC_OK) {
        printf("FAILED to open: %s\n", yc_error_message(error));
        return 1;
    }
    pthread_create(&looking, NULL, look, NULL);
    pthread_create(&asking, NULL, ask, NULL);
    write_keys();
    pthread_join(looking, NULL);
    pthread_join(asking, NULL);
    yc_close(cache, 0, NULL);
    yc_cache_free(cache);
    return *counter(&shared, shared.process, FAILURES) != 0;
}
