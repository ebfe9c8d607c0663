/* Programs in several languages that load the same rows: this one changes them (race change READERS) or reads them (race read).
   Counters of the server stand for a database whose rows have versions that only grow.

   ROW:version  the version of the row in the database
   ROW:known    the last version whose change had ended, which no later call may undercut
   ROW:running  the loaders that run now
   ROW:loads    the loaders that have ended

   The row "wild" is changed at any time, also while it is loaded. The row "calm" is invalidated or deleted when its value is in
   the cache: then no loader runs, and exactly one loader follows each change. */
#include "../c/calls.h"

#include <pthread.h>

enum { CALLERS = 4, MOST_MS = 60000, CHANGING_MS = 2500, PATIENCE_MS = 20000 };

static long long add(yc_cache *cache, const char *row, const char *counter, int delta) {
    char key[64];
    int64_t value = 0;
    yc_error *error = NULL;
    snprintf(key, sizeof key, "%s:%s", row, counter);
    yc_status status = YC_E_BUSY;
    while (status == YC_E_BUSY) {
        yc_error_free(error);
        status = yc_counter_add(cache, key, strlen(key), delta, 0, YC_TTL_NEVER, &value, &error);
    }
    if (!CHECK_STATUS(status, YC_OK)) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
    return value;
}

static long long number_of(const yc_value *value) {
    char text[32];
    size_t len = 0;
    const char *bytes = yc_value_data(value, &len);
    snprintf(text, sizeof text, "%.*s", (int)len, bytes);
    return strtoll(text, NULL, 10);
}

/* ---- Reading ---- */

static long long load(yc_cache *cache, const char *row) {
    bool alone = add(cache, row, "running", 1) == 1;
    CHECK(alone || strcmp(row, "calm") != 0);
    long long version = add(cache, row, "version", 0);
    sleep_ms(2);
    add(cache, row, "running", -1);
    add(cache, row, "loads", 1);
    return version;
}

/* Tags that are named with the lease are tested on one row, and those that come with the fill on the other. */
static void fill(yc_lease *lease, const char *row, long long version) {
    char text[32];
    yc_slice tag = slice(row);
    yc_fill with = {.struct_size = sizeof with, .value = text, .ttl_ms = 3600000, .tags = &tag};
    with.value_len = (size_t)snprintf(text, sizeof text, "%lld", version);
    with.n_tags = strcmp(row, "wild") == 0;
    yc_status status = yc_lease_fill(lease, &with, NULL);
    CHECK(status == YC_OK || status == YC_SUPERSEDED || status == YC_E_BUSY);
}

static long long get_or_load(yc_cache *cache, const char *row) {
    yc_slice tag = slice(row);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = PATIENCE_MS, .tags = &tag};
    options.n_tags = strcmp(row, "calm") == 0;
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_error *error = NULL;
    yc_status status = yc_get_or_lease(cache, row, strlen(row), &options, &value, &lease, &error);
    if (!CHECK(status == YC_OK || status == YC_LEASED)) printf("  %s: %s\n", yc_status_name(status), yc_error_message(error));
    long long version = lease ? load(cache, row) : value ? number_of(value) : -1;
    if (lease) fill(lease, row, version);
    yc_value_free(value);
    yc_lease_free(lease);
    yc_error_free(error);
    return version;
}

static atomic_int calls;

static void *read_rows(void *data) {
    static const char *const rows[] = {"calm", "wild"};
    yc_cache *cache = data;
    double end = now_ms() + MOST_MS;
    while (now_ms() < end && !add(cache, "all", "stop", 0)) {
        for (int at = 0; at < 2; at++, calls++) {
            long long least = add(cache, rows[at], "known", 0), seen = get_or_load(cache, rows[at]);
            if (!CHECK(seen >= least)) printf("  %s: version %lld after %lld was known\n", rows[at], seen, least);
        }
    }
    return NULL;
}

static void be_reader(yc_cache *cache) {
    pthread_t threads[CALLERS];
    add(cache, "all", "ready", 1);
    for (int at = 0; at < CALLERS; at++) pthread_create(&threads[at], NULL, read_rows, cache);
    for (int at = 0; at < CALLERS; at++) pthread_join(threads[at], NULL);
    printf("c: %d calls\n", atomic_load(&calls));
    CHECK(calls > 0);
}

/* ---- Changing ---- */

enum { INVALIDATE, DELETE, SET, KINDS };

static void change(yc_cache *cache, const char *row, long long kind) {
    char text[32];
    long long version = add(cache, row, "version", 1);
    int len = snprintf(text, sizeof text, "%lld", version);
    yc_status status = YC_OK;
    yc_slice tag = slice(row);
    if (kind == INVALIDATE) status = yc_invalidate_tag(cache, row, strlen(row), NULL, NULL);
    if (kind == DELETE) status = yc_delete(cache, row, strlen(row), NULL);
    if (kind == SET) status = yc_set(cache, row, strlen(row), text, (size_t)len, 3600000, &tag, 1, NULL);
    CHECK(status == YC_OK || status == YC_MISS);
    add(cache, row, "known", 1);
}

/* Returns true if the last version of a row is in the cache. */
static bool is_loaded(yc_cache *cache, const char *row) {
    yc_value *value = NULL;
    bool found = yc_get(cache, row, strlen(row), &value, NULL) == YC_OK;
    bool is_last = found && CHECK(number_of(value) == add(cache, row, "version", 0));
    yc_value_free(value);
    return is_last;
}

static void wait_until_loaded(yc_cache *cache, const char *row) {
    double end = now_ms() + PATIENCE_MS;
    while (!is_loaded(cache, row) && now_ms() < end) sleep_ms(1);
    CHECK(is_loaded(cache, row));
}

/* Exactly one load has followed each change, and the first read. */
static void check_loads(yc_cache *cache, long long changes) {
    long long loads = add(cache, "calm", "loads", 0), running = add(cache, "calm", "running", 0);
    if (!CHECK(loads == changes + 1 && running == 0)) {
        printf("  calm: %lld loads after %lld changes, %lld run\n", loads, changes, running);
    }
}

static void be_changer(yc_cache *cache, int readers) {
    double end = now_ms() + MOST_MS;
    while (add(cache, "all", "ready", 0) < readers && now_ms() < end) sleep_ms(5);
    CHECK(add(cache, "all", "ready", 0) == readers);
    long long turn = 0, calm = 0;
    for (end = now_ms() + CHANGING_MS; now_ms() < end; turn++) {
        change(cache, "wild", turn % KINDS);
        if (turn % 4 == 0 && is_loaded(cache, "calm")) {
            check_loads(cache, calm);
            change(cache, "calm", calm++ % SET);
        }
        sleep_ms(turn % 4);
    }
    wait_until_loaded(cache, "calm");
    check_loads(cache, calm);
    printf("%lld changes of wild, %lld loads; %lld changes of calm\n", turn, add(cache, "wild", "loads", 0), calm);
    CHECK(turn > 5 && calm > 2);
    add(cache, "all", "stop", 1);
}

int main(int argc, char **argv) {
    yc_cache *cache = open_cache(test_url());
    if (argc > 2 && strcmp(argv[1], "change") == 0) {
        be_changer(cache, atoi(argv[2]));
    } else {
        be_reader(cache);
    }
    close_cache(cache);
    return check_result();
}
