/* Leases where a script cannot go: processes that race for keys, a holder that is killed, callers that change a key while
   another one loads it, and servers that stop, restart or deny scripts. One caller at a time loads a key, and no value whose
   load began before a change is served after it. */
#include "../calls.h"
#include "../queues.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 3, KEYS = 30, READERS = 3, RACE_MS = 400, LEASE_MS = 1000, LATE_MS = 2500 };

static yc_status lease_of(yc_cache *cache, const char *key, const yc_lease_options *options, yc_value **value,
                          yc_lease **lease, yc_error **error) {
    *value = NULL;
    *lease = NULL;
    return yc_get_or_lease(cache, key, strlen(key), options, value, lease, error);
}

/* Takes the lease of a key that has no value. */
static yc_lease *take_lease(yc_cache *cache, const char *key, const yc_slice *tags, size_t n_tags) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1, .tags = tags, .n_tags = n_tags};
    yc_value *value;
    yc_lease *lease;
    CHECK_STATUS(lease_of(cache, key, &options, &value, &lease, NULL), YC_LEASED);
    CHECK(!value && lease);
    return lease;
}

static yc_status fill(yc_lease *lease, const char *value, const yc_slice *tags, size_t n_tags, yc_error **error) {
    yc_fill with = {.struct_size = sizeof with, .value = value, .value_len = strlen(value), .ttl_ms = 60000, .tags = tags,
                    .n_tags = n_tags};
    return yc_lease_fill(lease, &with, error);
}

static long long value_of(yc_cache *cache, const char *key) {
    char text[32] = "";
    size_t len = 0;
    yc_status status = yc_get_into(cache, key, strlen(key), text, sizeof text - 1, &len, NULL);
    return status == YC_OK ? strtoll(text, NULL, 10) : -1;
}

/* ---- Processes that race for keys ---- */

static int load_keys(const char *url, atomic_int *loads) {
    yc_cache *cache = open_cache(url);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 20000};
    for (int number = 0; number < KEYS; number++) {
        char key[32];
        snprintf(key, sizeof key, "raced-%d", number);
        yc_value *value;
        yc_lease *lease;
        yc_error *failure = NULL;
        yc_status status = lease_of(cache, key, &options, &value, &lease, &failure);
        if (status == YC_LEASED) {
            atomic_fetch_add(&loads[number], 1);
            sleep_ms(5);
            yc_error *error = NULL;
            if (!CHECK_STATUS(fill(lease, "7", NULL, 0, &error), YC_OK)) printf("  %s\n", yc_error_message(error));
            yc_error_free(error);
        } else {
            if (!CHECK_STATUS(status, YC_OK)) printf("  %s\n", yc_error_message(failure));
        }
        yc_error_free(failure);
        yc_value_free(value);
        yc_lease_free(lease);
        CHECK(value_of(cache, key) == 7);
    }
    close_cache(cache);
    return check_result();
}

static void check_processes(const char *url) {
    size_t size = KEYS * sizeof(atomic_int);
    atomic_int *loads = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[PROCESSES];
    fflush(stdout);
    for (int at = 0; at < PROCESSES; at++) {
        children[at] = fork();
        if (!children[at]) {
            int failed = load_keys(url, loads);
            fflush(stdout);
            _exit(failed);
        }
    }
    for (int at = 0; at < PROCESSES; at++) {
        int status = 0;
        CHECK(waitpid(children[at], &status, 0) == children[at] && status == 0);
    }
    for (int number = 0; number < KEYS; number++) CHECK(atomic_load(&loads[number]) == 1);
    munmap(loads, size);
}

/* ---- A holder that is killed ---- */

static void hold(const char *url, int ready) {
    yc_cache *cache = open_cache(url);
    yc_lease_options options = {.struct_size = sizeof options, .lease_ms = LEASE_MS, .wait_ms = -1};
    yc_value *value;
    yc_lease *lease;
    char taken = lease_of(cache, "killed", &options, &value, &lease, NULL) == YC_LEASED;
    if (write(ready, &taken, 1) != 1) _exit(1);
    for (;;) pause();
}

static void check_killed(const char *url) {
    int ready[2];
    char taken = 0;
    CHECK(pipe(ready) == 0);
    fflush(stdout);
    pid_t holder = fork();
    if (!holder) hold(url, ready[1]);
    CHECK(read(ready[0], &taken, 1) == 1 && taken);
    double begun = now_ms();
    yc_cache *cache = open_cache(url);
    yc_value *value;
    yc_lease *lease;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    CHECK_STATUS(lease_of(cache, "killed", &options, &value, &lease, NULL), YC_E_BUSY);
    kill(holder, SIGKILL);
    CHECK(waitpid(holder, NULL, 0) == holder);
    options.wait_ms = 20000;
    CHECK_STATUS(lease_of(cache, "killed", &options, &value, &lease, NULL), YC_LEASED);
    double took = now_ms() - begun;
    if (!CHECK(took < LEASE_MS + LATE_MS)) printf("  the key was free after %.0f ms\n", took);
    CHECK_STATUS(fill(lease, "1", NULL, 0, NULL), YC_OK);
    CHECK(value_of(cache, "killed") == 1);
    yc_lease_free(lease);
    close_cache(cache);
    close(ready[0]);
    close(ready[1]);
}

/* ---- Changes during a load ---- */

typedef yc_status change_fn(yc_cache *cache, const char *key);

static yc_status set_key(yc_cache *cache, const char *key) {
    return yc_set(cache, key, strlen(key), "2", 1, 60000, NULL, 0, NULL);
}

static yc_status delete_key(yc_cache *cache, const char *key) {
    yc_status status = yc_delete(cache, key, strlen(key), NULL);
    return status == YC_MISS ? YC_OK : status;
}

static yc_status invalidate_tag(yc_cache *cache, const char *key) {
    (void)key;
    return yc_invalidate_tag(cache, "t", 1, NULL, NULL);
}

static yc_status invalidate_pattern(yc_cache *cache, const char *key) {
    (void)key;
    return yc_invalidate_pattern(cache, "chang*", 6, NULL, NULL);
}

static yc_status flush_all(yc_cache *cache, const char *key) {
    (void)key;
    return yc_flush(cache, NULL, NULL);
}

static yc_status set_if(yc_cache *cache, const char *key) {
    return yc_set_if(cache, key, strlen(key), "2", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL);
}

static yc_status count(yc_cache *cache, const char *key) {
    return yc_counter_add(cache, key, strlen(key), 2, 0, 60000, NULL, NULL);
}

/* A key that Memcached stores under a digest. */
static const char *long_key(void) {
    static char key[301];
    memset(key, 'x', sizeof key - 1);
    memcpy(key, "changed", 7);
    return key;
}

static void check_change(const char *url, change_fn *change, const char *key, bool named, long long after) {
    yc_cache *loader = open_cache(url), *other = open_cache(url);
    yc_slice tag = slice("t");
    delete_key(other, key);
    yc_lease *lease = take_lease(loader, key, &tag, named);
    CHECK_STATUS(change(other, key), YC_OK);
    CHECK_STATUS(fill(lease, "1", &tag, !named, NULL), YC_SUPERSEDED);
    CHECK(value_of(loader, key) == after && value_of(other, key) == after);
    yc_lease_free(lease);
    close_cache(loader);
    close_cache(other);
}

/* A stale value that one caller loads again is not served after the change, and neither is what was loaded before. */
static void check_stale(const char *url, change_fn *change, const char *key, long long after) {
    yc_cache *loader = open_cache(url), *other = open_cache(url);
    yc_slice tag = slice("t");
    yc_value *value;
    yc_lease *refresh;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    delete_key(other, key);
    yc_lease *lease = take_lease(loader, key, NULL, 0);
    yc_fill with = {.struct_size = sizeof with, .value = "1", .value_len = 1, .ttl_ms = 20, .stale_for_ms = 60000,
                    .tags = &tag, .n_tags = 1};
    CHECK_STATUS(yc_lease_fill(lease, &with, NULL), YC_OK);
    yc_lease_free(lease);
    sleep_ms(40);
    CHECK_STATUS(lease_of(loader, key, &options, &value, &refresh, NULL), YC_STALE);
    CHECK(value && refresh && value_of(other, key) == -1);
    yc_value_free(value);
    CHECK_STATUS(change(other, key), YC_OK);
    CHECK_STATUS(fill(refresh, "1", NULL, 0, NULL), YC_SUPERSEDED);
    CHECK(value_of(loader, key) == after && value_of(other, key) == after);
    CHECK_STATUS(lease_of(other, key, &options, &value, &lease, NULL), after < 0 ? YC_LEASED : YC_OK);
    yc_value_free(value);
    yc_lease_free(lease);
    yc_lease_free(refresh);
    close_cache(loader);
    close_cache(other);
}

/* A load that began before the end of a stale value is known after it: no second one begins. */
static void check_end_of_stale(const char *url, int64_t retry_ms) {
    yc_cache *cache = open_cache(url), *other = open_cache(url);
    yc_value *value;
    yc_lease *refresh, *lease;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    delete_key(cache, "ending");
    lease = take_lease(cache, "ending", NULL, 0);
    yc_fill with = {.struct_size = sizeof with, .value = "1", .value_len = 1, .ttl_ms = 20, .stale_for_ms = 600};
    CHECK_STATUS(yc_lease_fill(lease, &with, NULL), YC_OK);
    yc_lease_free(lease);
    sleep_ms(40);
    CHECK_STATUS(lease_of(cache, "ending", &options, &value, &refresh, NULL), YC_STALE);
    CHECK(refresh);
    yc_value_free(value);
    CHECK_STATUS(lease_of(other, "ending", &options, &value, &lease, NULL), YC_STALE);
    CHECK(!lease && value_of(other, "ending") == -1 && yc_exists(other, "ending", 6, NULL) == YC_MISS);
    yc_value_free(value);
    if (retry_ms) CHECK_STATUS(yc_lease_abandon(refresh, retry_ms, NULL), YC_OK);
    sleep_ms(800);
    yc_error *error = NULL;
    CHECK_STATUS(lease_of(other, "ending", &options, &value, &lease, &error), YC_E_BUSY);
    /* The time that is left of the minute. */
    if (!CHECK(error && !strstr(yc_error_message(error), "for 0ns") && (!retry_ms || strstr(yc_error_message(error), "for 5")))) {
        printf("  %s\n", yc_error_message(error));
    }
    yc_error_free(error);
    CHECK(value_of(other, "ending") == -1);
    if (!retry_ms) CHECK_STATUS(fill(refresh, "2", NULL, 0, NULL), YC_OK);
    CHECK(retry_ms || value_of(other, "ending") == 2);
    yc_lease_free(refresh);
    close_cache(cache);
    close_cache(other);
}

static void check_changes(const char *url, bool lists) {
    const char *keys[] = {"changed", long_key()};
    for (int at = 0; at < 2; at++) {
        check_change(url, set_key, keys[at], true, 2);
        check_change(url, set_if, keys[at], true, 2);
        check_change(url, count, keys[at], true, 2);
        check_change(url, delete_key, keys[at], true, -1);
        check_change(url, invalidate_tag, keys[at], true, -1);
        check_change(url, invalidate_tag, keys[at], false, -1);
        check_stale(url, set_key, keys[at], 2);
        check_stale(url, set_if, keys[at], 2);
        check_stale(url, count, keys[at], 2);
        check_stale(url, delete_key, keys[at], -1);
        check_stale(url, invalidate_tag, keys[at], -1);
        if (!lists) continue;
        check_stale(url, invalidate_pattern, keys[at], -1);
        check_stale(url, flush_all, keys[at], -1);
        check_change(url, invalidate_pattern, keys[at], true, -1);
        check_change(url, flush_all, keys[at], true, -1);
    }
}

/* ---- Readers and a source that changes ---- */

typedef struct source {
    const char *url;
    change_fn *change;
    atomic_llong row, known;
    atomic_bool over;
    atomic_int filled;
    bool named;
} source;

static void *read_rows(void *data) {
    source *of = data;
    yc_cache *cache = open_cache(of->url);
    yc_slice tag = slice("t");
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 20000, .tags = &tag, .n_tags = of->named};
    while (!atomic_load(&of->over)) {
        long long least = atomic_load(&of->known);
        yc_value *value;
        yc_lease *lease;
        yc_status status = lease_of(cache, "changed", &options, &value, &lease, NULL);
        if (!CHECK(status == YC_OK || status == YC_LEASED || status == YC_E_BUSY)) printf("  %s\n", yc_status_name(status));
        if (value) {
            size_t len;
            const char *text = yc_value_data(value, &len);
            char copy[32];
            snprintf(copy, sizeof copy, "%.*s", (int)len, text);
            long long seen = strtoll(copy, NULL, 10);
            if (!CHECK(seen >= least)) printf("  row %lld was served after row %lld was known\n", seen, least);
        }
        if (lease) {
            char row[32];
            snprintf(row, sizeof row, "%lld", atomic_load(&of->row));
            status = fill(lease, row, &tag, !of->named, NULL);
            CHECK(status == YC_OK || status == YC_SUPERSEDED || status == YC_E_BUSY);
            atomic_fetch_add(&of->filled, status == YC_OK);
        }
        yc_value_free(value);
        yc_lease_free(lease);
    }
    close_cache(cache);
    return NULL;
}

static void check_rows(const char *url, change_fn *change, bool named) {
    source of = {.url = url, .change = change, .named = named};
    yc_cache *cache = open_cache(url);
    pthread_t readers[READERS];
    for (int at = 0; at < READERS; at++) pthread_create(&readers[at], NULL, read_rows, &of);
    double end = now_ms() + RACE_MS;
    while (now_ms() < end) {
        long long row = atomic_fetch_add(&of.row, 1) + 1;
        CHECK_STATUS(change(cache, "changed"), YC_OK);
        atomic_store(&of.known, row);
        sleep_ms(row % 4);
    }
    atomic_store(&of.over, true);
    for (int at = 0; at < READERS; at++) pthread_join(readers[at], NULL);
    printf("  %lld rows, %d stored\n", atomic_load(&of.row), atomic_load(&of.filled));
    CHECK(atomic_load(&of.row) > 3 && atomic_load(&of.filled) > 0);
    close_cache(cache);
}

/* ---- A server that restarts during a load ---- */

static void check_restart(server *of, const char *query) {
    char url[MAX_SERVER_URL];
    snprintf(url, sizeof url, "%s", server_url(of, query));
    yc_cache *cache = open_cache(url);
    yc_error *error = NULL;
    yc_lease *lease = take_lease(cache, "restarted", NULL, 0);
    server_kill(of);
    yc_status status = fill(lease, "1", NULL, 0, &error);
    CHECK(status < 0 && error);
    yc_error_free(error);
    server_restart(of);
    double end = now_ms() + 10000;
    while ((status = fill(lease, "1", NULL, 0, NULL)) < 0 && now_ms() < end) sleep_ms(50);
    CHECK_STATUS(status, YC_SUPERSEDED);
    yc_lease_free(lease);
    lease = take_lease(cache, "restarted", NULL, 0);
    CHECK_STATUS(fill(lease, "2", NULL, 0, NULL), YC_OK);
    CHECK(value_of(cache, "restarted") == 2);
    yc_lease_free(lease);
    close_cache(cache);
}

/* ---- A value that is loaded again before it is over ---- */

enum { LOAD_MS = 200, AHEAD_MS = 800, SHORT_LEASE_MS = 1 };

static yc_cache *open_ahead(const char *url) {
    char with[MAX_SERVER_URL + 32];
    snprintf(with, sizeof with, "%s%crefresh_ahead=true", url, strchr(url, '?') ? '&' : '?');
    return open_cache(with);
}

/* Stores a value whose load took so long that an early refresh is certain before its end. */
static double load_slowly(yc_cache *cache, const char *key, const yc_slice *tag, int64_t stale_for_ms) {
    delete_key(cache, key);
    yc_lease *lease = take_lease(cache, key, NULL, 0);
    sleep_ms(LOAD_MS);
    yc_fill with = {.struct_size = sizeof with, .value = "1", .value_len = 1, .ttl_ms = AHEAD_MS,
                    .stale_for_ms = stale_for_ms, .tags = tag, .n_tags = tag ? 1 : 0};
    CHECK_STATUS(yc_lease_fill(lease, &with, NULL), YC_OK);
    yc_lease_free(lease);
    return now_ms() + AHEAD_MS;
}

/* Reads a fresh value until the read comes with a lease. */
static yc_lease *refresh_early(yc_cache *cache, const char *key, const yc_lease_options *options, double end) {
    yc_lease *lease = NULL;
    while (!lease && now_ms() < end - 20) {
        yc_value *value;
        yc_status status = lease_of(cache, key, options, &value, &lease, NULL);
        if (now_ms() < end) CHECK(status == YC_OK && value);
        yc_value_free(value);
    }
    CHECK(lease);
    return lease;
}

/* Others read the value while one caller loads it again, and no longer than without that. */
static void check_others(yc_cache *other, const char *key, double end) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    for (int at = 0; at < 50 && now_ms() < end - 20; at++) {
        yc_value *value;
        yc_lease *lease;
        int64_t left = 0;
        yc_status status = lease_of(other, key, &options, &value, &lease, NULL);
        long long seen = value_of(other, key);
        yc_status there = yc_exists(other, key, strlen(key), NULL);
        double asked = now_ms();
        yc_status timed = yc_ttl(other, key, strlen(key), &left, NULL);
        double now = now_ms();
        if (now < end - 20) {
            CHECK_STATUS(status, YC_OK);
            CHECK(!lease && seen == 1 && there == YC_OK && timed == YC_OK);
            if (!CHECK(left > 0 && (double)left <= end - asked + 100)) printf("  %lld of %.0f ms\n", (long long)left, end - asked);
        }
        yc_value_free(value);
        yc_lease_free(lease);
    }
}

typedef enum refresh { REFRESH_FILLED, REFRESH_LATE, REFRESH_ABANDONED, REFRESH_CHANGED, REFRESH_COUNTED } refresh;

static void check_refresh_ahead(const char *url, refresh way, int64_t lease_ms, int64_t stale_for_ms, change_fn *change) {
    yc_cache *cache = open_ahead(url), *other = open_ahead(url);
    yc_slice tag = slice("t");
    yc_value *value = NULL;
    yc_lease *lease, *refresh;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1, .lease_ms = lease_ms};
    int failed = atomic_load(&checks_failed);
    double end = load_slowly(cache, "ahead", &tag, stale_for_ms);
    refresh = refresh_early(cache, "ahead", &options, end);
    if (lease_ms != SHORT_LEASE_MS) check_others(other, "ahead", end);
    if (way == REFRESH_FILLED) {
        CHECK_STATUS(fill(refresh, "2", NULL, 0, NULL), YC_OK);
        CHECK(value_of(other, "ahead") == 2);
    } else if (way == REFRESH_LATE) {
        sleep_ms((long)(end - now_ms()) + 100);
        CHECK(value_of(other, "ahead") == -1);
        CHECK_STATUS(lease_of(other, "ahead", &options, &value, &lease, NULL), stale_for_ms ? YC_STALE : YC_E_BUSY);
        CHECK(!lease);
        yc_value_free(value);
        CHECK_STATUS(fill(refresh, "2", NULL, 0, NULL), YC_OK);
        CHECK(value_of(other, "ahead") == 2);
    } else if (way == REFRESH_ABANDONED) {
        CHECK_STATUS(yc_lease_abandon(refresh, 0, NULL), YC_OK);
        if (now_ms() < end - 100) CHECK(value_of(other, "ahead") == 1);
        sleep_ms((long)(end - now_ms()) + 100);
        CHECK(value_of(other, "ahead") == -1);
        CHECK_STATUS(lease_of(other, "ahead", &options, &value, &lease, NULL), stale_for_ms ? YC_STALE : YC_LEASED);
        CHECK(lease);
        yc_value_free(value);
        yc_lease_free(lease);
    } else if (way == REFRESH_COUNTED) {
        int64_t sum = 0;
        CHECK_STATUS(yc_counter_add(other, "ahead", 5, 4, 0, 60000, &sum, NULL), YC_OK);
        if (now_ms() < end - 100) CHECK(sum == 5);
        CHECK_STATUS(fill(refresh, "2", NULL, 0, NULL), YC_SUPERSEDED);
        sleep_ms((long)(end - now_ms()) + 100);
        CHECK(sum != 5 || value_of(other, "ahead") == -1);
    } else {
        CHECK_STATUS(change(other, "ahead"), YC_OK);
        long long after = value_of(other, "ahead");
        CHECK(after == -1 || after == 2);
        CHECK_STATUS(fill(refresh, "1", NULL, 0, NULL), YC_SUPERSEDED);
        CHECK(value_of(other, "ahead") == after && value_of(cache, "ahead") == after);
    }
    yc_lease_free(refresh);
    close_cache(cache);
    close_cache(other);
    if (atomic_load(&checks_failed) != failed) printf("  way %d, lease %lld ms, stale for %lld ms\n", (int)way, (long long)lease_ms, (long long)stale_for_ms);
}

static void check_refreshes(const char *url) {
    for (int64_t stale_for_ms = 0; stale_for_ms <= 5000; stale_for_ms += 5000) {
        for (refresh way = REFRESH_FILLED; way < REFRESH_CHANGED; way++) check_refresh_ahead(url, way, 0, stale_for_ms, NULL);
        check_refresh_ahead(url, REFRESH_COUNTED, 0, stale_for_ms, NULL);
        check_refresh_ahead(url, REFRESH_CHANGED, 0, stale_for_ms, delete_key);
    }
    check_refresh_ahead(url, REFRESH_CHANGED, 0, 0, set_key);
    check_refresh_ahead(url, REFRESH_CHANGED, 0, 0, invalidate_tag);
    /* A lease that ends before the value. */
    check_refresh_ahead(url, REFRESH_ABANDONED, SHORT_LEASE_MS, 0, NULL);
}

/* ---- A lease of another cache, and one that is freed ---- */

static void check_ends(const char *url) {
    yc_cache *cache = open_cache(url), *other = open_cache(url);
    yc_lease *lease = take_lease(cache, "freed", NULL, 0);
    yc_lease_free(lease);
    double end = now_ms() + 10000;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    yc_value *value;
    yc_status status;
    while ((status = lease_of(other, "freed", &options, &value, &lease, NULL)) == YC_E_BUSY && now_ms() < end) sleep_ms(5);
    CHECK_STATUS(status, YC_LEASED);
    CHECK_STATUS(yc_lease_abandon(lease, 60000, NULL), YC_OK);
    yc_lease_free(lease);
    yc_error *error = NULL;
    CHECK_STATUS(lease_of(cache, "freed", &options, &value, &lease, &error), YC_E_BUSY);
    CHECK(error && yc_error_retryable(error));
    yc_error_free(error);
    close_cache(cache);
    close_cache(other);
}

/* ---- Processes whose clocks are an hour apart ---- */

static yc_status fill_for(yc_lease *lease, int64_t ttl_ms, int64_t stale_for_ms) {
    yc_fill with = {.struct_size = sizeof with, .value = "1", .value_len = 1, .ttl_ms = ttl_ms, .stale_for_ms = stale_for_ms};
    return yc_lease_fill(lease, &with, NULL);
}

/* Sees what a process with another clock has left: a fresh value, a lease, and a stale value, which it loads again. */
static int be_another(const char *url) {
    yc_cache *cache = open_cache(url);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    yc_value *value;
    yc_lease *lease;
    CHECK(value_of(cache, "fresh") == 1);
    CHECK_STATUS(lease_of(cache, "fresh", &options, &value, &lease, NULL), YC_OK);
    CHECK(!lease);
    yc_value_free(value);
    CHECK_STATUS(lease_of(cache, "leased", &options, &value, &lease, NULL), YC_E_BUSY);
    CHECK(value_of(cache, "stale") == -1);
    /* The clock of no process decides whether there was a value to delete. */
    CHECK_STATUS(yc_delete(cache, "dropped", 7, NULL), YC_OK);
    CHECK_STATUS(yc_delete(cache, "past", 4, NULL), YC_MISS);
    CHECK_STATUS(lease_of(cache, "stale", &options, &value, &lease, NULL), YC_STALE);
    CHECK(lease);
    yc_value_free(value);
    CHECK_STATUS(fill(lease, "2", NULL, 0, NULL), YC_OK);
    yc_lease_free(lease);
    close_cache(cache);
    return check_result();
}

static void check_clocks(const char *url, const char *ahead) {
    yc_cache *cache = open_cache(url);
    yc_lease *lease = take_lease(cache, "fresh", NULL, 0), *held = take_lease(cache, "leased", NULL, 0);
    CHECK_STATUS(fill_for(lease, 60000, 60000), YC_OK);
    yc_lease_free(lease);
    lease = take_lease(cache, "stale", NULL, 0);
    CHECK_STATUS(fill_for(lease, 20, 600000), YC_OK);
    yc_lease_free(lease);
    lease = take_lease(cache, "dropped", NULL, 0);
    CHECK_STATUS(fill_for(lease, 60000, 60000), YC_OK);
    yc_lease_free(lease);
    lease = take_lease(cache, "past", NULL, 0);
    CHECK_STATUS(fill_for(lease, 20, 600000), YC_OK);
    yc_lease_free(lease);
    /* Memcached tells the time to two seconds. */
    sleep_ms(3000);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        setenv("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1", 1);
        setenv("FAKETIME", ahead, 1);
        execl("/proc/self/exe", "loads", "other", url, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(value_of(cache, "stale") == 2);
    CHECK_STATUS(fill(held, "3", NULL, 0, NULL), YC_OK);
    yc_lease_free(held);
    delete_key(cache, "fresh");
    delete_key(cache, "leased");
    delete_key(cache, "stale");
    close_cache(cache);
}

/* ---- Waits that end with a batch ---- */

/* The last look at the key has no time: that is no fault of the server. */
static void check_batch(const char *url) {
    char with[MAX_SERVER_URL];
    snprintf(with, sizeof with, "%s%csocket_timeout=200ms", url, strchr(url, '?') ? '&' : '?');
    yc_cache *cache = open_cache(with), *other = open_cache(url);
    yc_lease *lease = take_lease(other, "batched", NULL, 0);
    for (unsigned round = 0; round < 10; round++) {
        yc_op op = {.kind = YC_OP_GET_OR_LEASE, .key = "batched", .key_len = 7};
        CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
        if (!CHECK_STATUS(op.status, YC_E_BUSY)) printf("  %s\n", yc_error_message(op.error));
        yc_error_free(op.error);
    }
    yc_lease_free(lease);
    close_cache(cache);
    close_cache(other);
}

/* ---- Values near the limit of the server ---- */

enum { LIMIT = 1 << 20, TRAILER = 32, STALE_MS = 60000 };

static yc_status load_large(yc_cache *cache, size_t len, int64_t stale_for_ms) {
    static char large[LIMIT];
    yc_delete(cache, "large", 5, NULL);
    yc_lease *lease = take_lease(cache, "large", NULL, 0);
    yc_fill with = {.struct_size = sizeof with, .value = large, .value_len = len, .ttl_ms = 30, .stale_for_ms = stale_for_ms};
    yc_status status = yc_lease_fill(lease, &with, NULL);
    yc_lease_free(lease);
    return status;
}

/* The length of the largest value that can be loaded. */
static size_t largest(yc_cache *cache, int64_t stale_for_ms) {
    size_t fits = 0, step = LIMIT;
    while ((step /= 2) > 0) fits += load_large(cache, fits + step, stale_for_ms) == YC_OK ? step : 0;
    return fits;
}

/* A value that may be stale is stored only with room for the lease of its refresh. One that was stored without that room is
   served as stale to all. */
static void check_limit(const char *url) {
    yc_cache *cache = open_cache(url), *target;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    yc_value *value, *report = NULL;
    yc_lease *lease;
    size_t plain = largest(cache, 0), stale = largest(cache, STALE_MS);
    if (!CHECK(stale + TRAILER <= plain)) printf("  %zu, %zu\n", plain, stale);
    CHECK_STATUS(load_large(cache, stale, STALE_MS), YC_OK);
    sleep_ms(2500);
    CHECK_STATUS(lease_of(cache, "large", &options, &value, &lease, NULL), YC_STALE);
    CHECK(value && lease);
    yc_value_free(value);
    yc_lease_free(lease);
    close_cache(cache);
    /* A copy has no lease to make room for. */
    cache = open_cache("memory://");
    target = open_cache(url);
    CHECK_STATUS(load_large(cache, stale + TRAILER, STALE_MS), YC_OK);
    CHECK_STATUS(yc_expire(cache, "large", 5, 3000, NULL), YC_OK);
    CHECK(yc_delete(target, "large", 5, NULL) >= 0);
    CHECK_STATUS(yc_migrate(cache, target, "{}", NULL, NULL, NULL, &report, NULL), YC_OK);
    sleep_ms(5500);
    for (int again = 0; again < 2; again++) {
        CHECK_STATUS(lease_of(target, "large", &options, &value, &lease, NULL), YC_STALE);
        CHECK(value && !lease);
        yc_value_free(value);
        yc_lease_free(lease);
    }
    yc_value_free(report);
    close_cache(target);
    close_cache(cache);
}

/* ---- A server that denies scripts ---- */

static void check_without_scripts(void) {
    server redis;
    const char *none[] = {NULL};
    char url[MAX_SERVER_URL];
    server_start(&redis, SERVER_REDIS, none);
    CHECK(tell(redis.port, "ACL SETUSER plain on >word ~* &* +@all -eval"));
    snprintf(url, sizeof url, "redis://plain:word@127.0.0.1:%d/0?key_prefix=c", redis.port);
    yc_cache *cache = open_cache(url);
    yc_value *value;
    yc_lease *lease;
    yc_error *error = NULL;
    CHECK_STATUS(lease_of(cache, "a", NULL, &value, &lease, &error), YC_E_UNSUPPORTED);
    CHECK(error && strstr(yc_error_message(error), "+eval") && !value && !lease);
    yc_error_free(error);
    close_cache(cache);
    server_stop(&redis);
}

/* ---- Callers that leave while they ask for a lease ---- */

/* Submits a read that takes the lease for a minute, and cancels it after so many microseconds. */
static void leave_after(yc_queue *queue, const char *key, unsigned microseconds) {
    yc_lease_options options = {.struct_size = sizeof options, .lease_ms = 60000, .wait_ms = -1};
    yc_op op = {.kind = YC_OP_GET_OR_LEASE, .key = key, .key_len = strlen(key), .value = &options, .value_len = sizeof options};
    yc_ticket ticket;
    yc_completion done;
    size_t count;
    CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, &ticket, &count, NULL), YC_OK);
    usleep(microseconds);
    yc_queue_cancel(queue, ticket, NULL);
    CHECK_STATUS(yc_queue_wait(queue, &done, 1, sizeof done, 20000, &count, NULL), YC_OK);
    CHECK(done.status == YC_LEASED || done.status == YC_E_CANCELLED);
    yc_lease_free(done.lease);
    yc_error_free(done.error);
}

/* No key stays leased for the minute, wherever its read was cancelled. */
static void check_cancelled(const char *url) {
    yc_cache *cache = open_cache(url), *other = open_cache(url);
    yc_queue *queue = open_queue(cache, 0);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 20000};
    for (unsigned round = 0; round < 200; round++) {
        char key[32];
        snprintf(key, sizeof key, "left-%u", round);
        leave_after(queue, key, round * 5);
        yc_value *value;
        yc_lease *lease;
        if (!CHECK_STATUS(lease_of(other, key, &options, &value, &lease, NULL), YC_LEASED)) break;
        yc_lease_free(lease);
    }
    close_queue(queue);
    close_cache(other);
    close_cache(cache);
}

static void check_backend(const char *url, bool lists) {
    check_cancelled(url);
    check_processes(url);
    check_killed(url);
    check_changes(url, lists);
    check_ends(url);
    check_end_of_stale(url, 0);
    check_end_of_stale(url, 60000);
    check_batch(url);
    if (!strstr(url, "tag_index")) check_refreshes(url);
    check_rows(url, invalidate_tag, true);
    check_rows(url, invalidate_tag, false);
    check_rows(url, delete_key, true);
    if (lists) check_rows(url, invalidate_pattern, true);
}

static void check_server(server_kind kind, const char *query) {
    server own;
    const char *none[] = {NULL};
    char url[MAX_SERVER_URL];
    server_start(&own, kind, none);
    snprintf(url, sizeof url, "%s", server_url(&own, query));
    printf("%s\n", query);
    check_backend(url, !strstr(query, "binary"));
    check_clocks(url, "+1h");
    check_clocks(url, "-1h");
    if (kind == SERVER_MEMCACHED) check_limit(url);
    check_restart(&own, query);
    server_stop(&own);
}

int main(int count_of_arguments, char **arguments) {
    const char *which = count_of_arguments > 1 ? arguments[1] : "redis";
    if (strcmp(which, "other") == 0) return be_another(arguments[2]);
    if (strcmp(which, "redis") == 0) {
        check_server(SERVER_REDIS, "key_prefix=c");
        check_server(SERVER_REDIS, "key_prefix=c&tag_index=true&pool_size=4");
        check_without_scripts();
    } else if (strcmp(which, "memcached") == 0) {
        check_server(SERVER_MEMCACHED, "key_prefix=c");
        check_server(SERVER_MEMCACHED, "key_prefix=c&binary=true");
    } else {
        /* Servers that are there, such as a cluster. */
        check_backend(test_url(), true);
    }
    return check_result();
}
