/* Leases and conditional writes while the backend changes: a server that goes and returns with a fallback, a switch under
   load, a migration; values of other programs, and a cache that is closed behind a lease. holders redis|memcached */
#include "../calls.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 3, ENTRIES = 600, RETURN_MS = 30000, FOREIGN = 100000 };

static const char FALLBACK[] = "socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=h&fallback=memory";

static yc_status lease_of(yc_cache *cache, const char *key, yc_value **value, yc_lease **lease) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1, .lease_ms = 60000};
    *value = NULL;
    *lease = NULL;
    return yc_get_or_lease(cache, key, strlen(key), &options, value, lease, NULL);
}

static yc_lease *take_lease(yc_cache *cache, const char *key) {
    yc_value *value;
    yc_lease *lease;
    CHECK_STATUS(lease_of(cache, key, &value, &lease), YC_LEASED);
    CHECK(lease);
    return lease;
}

static yc_status fill_with(yc_lease *lease, const char *text, int64_t ttl_ms, int64_t stale_for_ms) {
    yc_slice tag = slice("t");
    yc_fill with = {.struct_size = sizeof with, .value = text, .value_len = strlen(text), .ttl_ms = ttl_ms,
                    .stale_for_ms = stale_for_ms, .tags = &tag, .n_tags = 1};
    return yc_lease_fill(lease, &with, NULL);
}

/* A fill that fails is tried again: it may have been done. */
static yc_status fill(yc_lease *lease, const char *text) {
    yc_status status;
    for (double end = now_ms() + 10000; (status = fill_with(lease, text, 60000, 0)) < 0 && now_ms() < end;) sleep_ms(20);
    return status;
}

static long long value_of(yc_cache *cache, const char *key) {
    char text[32] = "";
    size_t len = 0;
    yc_status status = yc_get_into(cache, key, strlen(key), text, sizeof text - 1, &len, NULL);
    return status == YC_OK ? strtoll(text, NULL, 10) : -1;
}

static bool is_active(yc_cache *cache) {
    yc_value *json = NULL;
    size_t len;
    if (!CHECK_STATUS(yc_stats(cache, &json, NULL), YC_OK)) return false;
    const char *data = yc_value_data(json, &len);
    bool found = memmem(data, len, "\"active\":true", 13) != NULL;
    yc_value_free(json);
    return found;
}

static void goes(server *of, yc_cache *cache, bool dies) {
    if (dies) server_kill(of);
    else server_signal(of, SIGSTOP);
    CHECK(value_of(cache, "no such key") == -1);
    CHECK(is_active(cache));
}

static void returns(server *of, yc_cache *cache, bool died) {
    if (died) server_restart(of);
    else server_signal(of, SIGCONT);
    for (double end = now_ms() + RETURN_MS; is_active(cache) && now_ms() < end;) sleep_ms(5);
    CHECK(!is_active(cache));
}

/* ---- A server that goes and returns ---- */

/* Neither the lease of the server nor that of the fallback stores anything elsewhere. */
static void check_outage(server *of, yc_cache *cache, yc_cache *direct, bool dies) {
    yc_lease *held = take_lease(cache, "outage"), *unchanged = take_lease(cache, "unchanged");
    goes(of, cache, dies);
    /* During the outage the fallback has no lease: another caller loads. */
    yc_lease *there = take_lease(cache, "outage"), *unused = take_lease(cache, "unused");
    CHECK_STATUS(fill(held, "1"), YC_SUPERSEDED);
    CHECK(value_of(cache, "outage") == -1);
    CHECK_STATUS(fill(there, "2"), YC_OK);
    CHECK(value_of(cache, "outage") == 2);
    returns(of, cache, dies);
    CHECK(value_of(cache, "outage") == -1 && value_of(direct, "outage") == -1);
    CHECK_STATUS(fill(unused, "3"), YC_SUPERSEDED);
    CHECK(value_of(cache, "unused") == -1 && value_of(direct, "unused") == -1);
    /* A server that was only silent still has the lease of a key that nothing has changed. */
    yc_status status = fill(unchanged, "4");
    CHECK(status == YC_SUPERSEDED || (status == YC_OK && !dies));
    CHECK(value_of(direct, "unchanged") == (status == YC_OK ? 4 : -1));
    CHECK(yc_delete(direct, "unchanged", 9, NULL) >= 0);
    yc_lease_free(held);
    yc_lease_free(unchanged);
    yc_lease_free(there);
    yc_lease_free(unused);
}

typedef yc_status change_fn(yc_cache *cache, const char *key);

static yc_status set_key(yc_cache *cache, const char *key) {
    return yc_set(cache, key, strlen(key), "2", 1, 60000, NULL, 0, NULL);
}
static yc_status delete_key(yc_cache *cache, const char *key) { return yc_delete(cache, key, strlen(key), NULL) < 0; }
static yc_status set_if(yc_cache *cache, const char *key) {
    return yc_set_if(cache, key, strlen(key), "2", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL);
}
static yc_status count(yc_cache *cache, const char *key) {
    return yc_counter_add(cache, key, strlen(key), 2, 0, 60000, NULL, NULL);
}
static yc_status invalidate_tag(yc_cache *cache, const char *key) {
    (void)key;
    return yc_invalidate_tag(cache, "t", 1, NULL, NULL);
}
static yc_status load_key(yc_cache *cache, const char *key) {
    yc_lease *lease = take_lease(cache, key);
    yc_status status = fill(lease, "2");
    yc_lease_free(lease);
    return status;
}

/* A load that began before a change of the outage is not served after the return. */
static void check_change(server *of, yc_cache *cache, yc_cache *direct, const char *what, change_fn *change) {
    int failed = atomic_load(&checks_failed);
    yc_lease *held = take_lease(cache, "changed");
    goes(of, cache, false);
    CHECK_STATUS(change(cache, "changed"), YC_OK);
    returns(of, cache, false);
    CHECK_STATUS(fill(held, "1"), YC_SUPERSEDED);
    CHECK(value_of(cache, "changed") != 1 && value_of(direct, "changed") != 1);
    yc_lease_free(held);
    CHECK(yc_delete(direct, "changed", 7, NULL) >= 0);
    if (atomic_load(&checks_failed) != failed) printf("  with %s\n", what);
}

/* A version of the server is no version of the fallback, and a counter of the fallback does not become that of the server. */
static void check_conditions(server *of, yc_cache *cache, yc_cache *direct) {
    uint64_t version = 0, other = 0;
    int64_t sum = 0;
    CHECK_STATUS(yc_set_if(cache, "row", 3, "1", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, &version, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "sum", 3, 5, 0, 60000, &sum, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "still", 5, 5, 0, 60000, &sum, NULL), YC_OK);
    goes(of, cache, false);
    CHECK_STATUS(yc_set_if(cache, "row", 3, "2", 1, 60000, NULL, 0, YC_IF_VERSION, version, &other, NULL), YC_UNMET);
    CHECK_STATUS(yc_delete_if(cache, "row", 3, version, NULL), YC_MISS);
    CHECK_STATUS(yc_counter_add(cache, "sum", 3, 1, 100, 60000, &sum, NULL), YC_OK);
    CHECK(sum == 101);
    returns(of, cache, false);
    CHECK(value_of(direct, "row") == -1 || value_of(direct, "row") == 1);
    CHECK_STATUS(yc_counter_add(cache, "sum", 3, 1, 0, 60000, &sum, NULL), YC_OK);
    if (!CHECK(sum == 1)) printf("  %lld\n", (long long)sum);
    CHECK_STATUS(yc_counter_add(cache, "still", 5, 1, 0, 60000, &sum, NULL), YC_OK);
    CHECK(sum == 6);
}

static void check_fallback(server_kind kind) {
    server own;
    const char *none[] = {NULL};
    char url[MAX_SERVER_URL];
    server_start(&own, kind, none);
    snprintf(url, sizeof url, "%s", server_url(&own, FALLBACK));
    yc_cache *cache = open_cache(url), *direct = open_cache(server_url(&own, "key_prefix=h&socket_timeout=10s"));
    check_outage(&own, cache, direct, true);
    check_outage(&own, cache, direct, false);
    check_change(&own, cache, direct, "set", set_key);
    check_change(&own, cache, direct, "set_if", set_if);
    check_change(&own, cache, direct, "counter_add", count);
    check_change(&own, cache, direct, "delete", delete_key);
    check_change(&own, cache, direct, "invalidate_tag", invalidate_tag);
    check_change(&own, cache, direct, "a load", load_key);
    check_conditions(&own, cache, direct);
    close_cache(cache);
    close_cache(direct);
    server_stop(&own);
}

/* ---- A switch under load ---- */

typedef struct worker {
    pthread_t thread;
    yc_cache *cache;
    atomic_bool *ends;
    int number;
    long long added;
    unsigned rounds;
} worker;

/* What this thread alone changes is what it reads, on whichever backend. */
static void check_row(worker *self) {
    char key[32], text[32];
    uint64_t version = 0, next = 0;
    snprintf(key, sizeof key, "row-%d", self->number);
    snprintf(text, sizeof text, "%u", self->rounds + 1);
    yc_value *value = NULL;
    yc_status status = yc_get_versioned(self->cache, key, strlen(key), &value, &version, NULL);
    CHECK(status == YC_OK || (status == YC_MISS && !self->rounds));
    yc_value_free(value);
    int32_t condition = status == YC_OK ? YC_IF_VERSION : YC_IF_ABSENT;
    status = yc_set_if(self->cache, key, strlen(key), text, strlen(text), 600000, NULL, 0, condition, version, &next, NULL);
    if (status == YC_UNMET) { /* The version was that of the backend before. */
        CHECK_STATUS(yc_set(self->cache, key, strlen(key), text, strlen(text), 600000, NULL, 0, NULL), YC_OK);
    } else {
        CHECK_STATUS(status, YC_OK);
    }
    CHECK(value_of(self->cache, key) == (long long)self->rounds + 1);
}

static void check_load(worker *self) {
    char key[32], text[32];
    snprintf(key, sizeof key, "load-%d-%u", self->number, self->rounds);
    snprintf(text, sizeof text, "%u", self->rounds);
    yc_lease *lease = take_lease(self->cache, key);
    if (!lease) return;
    yc_status status = fill(lease, text);
    CHECK(status == YC_OK || status == YC_SUPERSEDED);
    long long seen = value_of(self->cache, key);
    if (!CHECK(seen == (status == YC_OK ? (long long)self->rounds : -1))) printf("  %s: %lld after %s\n", key, seen, yc_status_name(status));
    yc_lease_free(lease);
}

static void *work(void *argument) {
    worker *self = argument;
    for (; !atomic_load(self->ends); self->rounds++) {
        int64_t sum;
        self->added += CHECK_STATUS(yc_counter_add(self->cache, "sum", 3, 1, 0, 600000, &sum, NULL), YC_OK);
        check_row(self);
        check_load(self);
    }
    return NULL;
}

static long long run_workers(yc_cache *cache, void (*meanwhile)(yc_cache *, void *), void *data) {
    worker workers[THREADS];
    atomic_bool ends = false;
    long long added = 0;
    for (int at = 0; at < THREADS; at++) {
        workers[at] = (worker){.cache = cache, .ends = &ends, .number = at};
        pthread_create(&workers[at].thread, NULL, work, &workers[at]);
    }
    sleep_ms(100);
    meanwhile(cache, data);
    sleep_ms(100);
    atomic_store(&ends, true);
    for (int at = 0; at < THREADS; at++) {
        pthread_join(workers[at].thread, NULL);
        added += workers[at].added;
    }
    printf("  %lld rounds\n", added);
    return added;
}

static void switch_all(yc_cache *cache, void *data) {
    for (const char **to = data; *to; to++) {
        yc_lease *before = take_lease(cache, "before");
        CHECK_STATUS(yc_switch(cache, *to, "{copy: true}", NULL, NULL), YC_OK);
        CHECK_STATUS(fill(before, "1"), YC_SUPERSEDED);
        CHECK(value_of(cache, "before") == -1);
        yc_lease_free(before);
    }
}

/* A server of a kind and one of the other kind, with their URLs. */
typedef struct both_servers {
    server of[2];
    char urls[2][MAX_SERVER_URL];
} both_servers;

static void start_both(both_servers *both, server_kind first) {
    const char *none[] = {NULL};
    server_kind kinds[] = {first, first == SERVER_REDIS ? SERVER_MEMCACHED : SERVER_REDIS};
    for (int at = 0; at < 2; at++) {
        server_start(&both->of[at], kinds[at], none);
        snprintf(both->urls[at], MAX_SERVER_URL, "%s", server_url(&both->of[at], "key_prefix=h&socket_timeout=10s"));
    }
}

static void stop_both(both_servers *both) {
    for (int at = 0; at < 2; at++) server_stop(&both->of[at]);
}

static void check_switch(server_kind kind) {
    both_servers both;
    start_both(&both, kind);
    const char *to[] = {both.urls[1], "memory://", "memory://?max_size=100000", NULL};
    yc_cache *cache = open_cache(both.urls[0]);
    long long added = run_workers(cache, switch_all, to);
    int64_t sum = 0;
    CHECK_STATUS(yc_counter_add(cache, "sum", 3, 0, 0, 600000, &sum, NULL), YC_OK);
    if (!CHECK(sum == added)) printf("  %lld of %lld increments\n", (long long)sum, added);
    close_cache(cache);
    stop_both(&both);
}

/* ---- A migration ---- */

typedef struct migration {
    yc_cache *source, *target;
    atomic_int changed; /* The keys that were changed beside it. */
} migration;

/* Keeps the migration behind the changes, so that it ends after them. */
static int32_t stay_behind(void *user_data, const yc_progress *progress) {
    migration *self = user_data;
    /* A quarter of the keys is deleted, perhaps before it is examined. */
    int least = (int)progress->examined * 4 / 3 + 1;
    while (atomic_load(&self->changed) < (least < ENTRIES ? least : ENTRIES)) sleep_ms(1);
    return 0;
}

static void key_of(char *key, int at) { sprintf(key, "entry-%d", at); }

static void *migrate(void *argument) {
    migration *self = argument;
    CHECK_STATUS(yc_migrate(self->source, self->target, NULL, stay_behind, self, NULL, NULL, NULL), YC_OK);
    return NULL;
}

/* Conditional deletes of this process at either side stay done, and the target keeps what is written there. */
static void check_migration(const char *from, const char *to) {
    migration both = {.source = open_cache(from), .target = open_cache(to)};
    static uint64_t versions[ENTRIES];
    static yc_status filled[ENTRIES];
    char key[32];
    pthread_t thread;
    int64_t sum = 0;
    long long added = 0;
    CHECK_STATUS(yc_flush(both.source, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(both.target, NULL, NULL), YC_OK);
    for (int at = 0; at < ENTRIES; at++) {
        key_of(key, at);
        CHECK_STATUS(yc_set_if(both.source, key, strlen(key), "1", 1, 600000, NULL, 0, YC_IF_ABSENT, 0, &versions[at], NULL), YC_OK);
    }
    pthread_create(&thread, NULL, migrate, &both);
    for (int at = 0; at < ENTRIES; at++) {
        key_of(key, at);
        added += CHECK_STATUS(yc_counter_add(both.target, "sum", 3, 1, 0, 600000, &sum, NULL), YC_OK);
        yc_value *value = NULL;
        yc_lease *lease = NULL;
        switch (at % 4) {
        case 0: CHECK_STATUS(yc_delete_if(both.source, key, strlen(key), versions[at], NULL), YC_OK); break;
        case 1: {
            uint64_t version;
            yc_status there = yc_get_versioned(both.target, key, strlen(key), &value, &version, NULL);
            if (there == YC_OK) CHECK_STATUS(yc_delete_if(both.target, key, strlen(key), version, NULL), YC_OK);
            filled[at] = there;
            break;
        }
        case 2:
            filled[at] = YC_MISS;
            if (lease_of(both.target, key, &value, &lease) == YC_LEASED) filled[at] = fill(lease, "2");
            break;
        default:
            filled[at] = yc_set_if(both.target, key, strlen(key), "2", 1, 600000, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL);
            CHECK(filled[at] == YC_OK || filled[at] == YC_UNMET);
        }
        yc_value_free(value);
        yc_lease_free(lease);
        atomic_store(&both.changed, at + 1);
    }
    pthread_join(thread, NULL);
    for (int at = 0; at < ENTRIES; at++) {
        key_of(key, at);
        long long seen = value_of(both.target, key);
        long long wanted = at % 4 == 0 ? -1 : at % 4 == 1 ? (filled[at] == YC_OK ? -1 : 1) : filled[at] == YC_OK ? 2 : 1;
        if (!CHECK(seen == wanted)) printf("  %s: %lld, not %lld, %d, from %s to %s\n", key, seen, wanted, filled[at], from, to);
    }
    CHECK(sum == added);
    close_cache(both.source);
    close_cache(both.target);
}

/* A copy may be served as stale for as long as the entry. */
static void check_copies(const char *from, const char *to) {
    migration both = {.source = open_cache(from), .target = open_cache(to), .changed = ENTRIES};
    yc_value *value = NULL;
    CHECK_STATUS(yc_flush(both.source, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(both.target, NULL, NULL), YC_OK);
    yc_lease *lease = take_lease(both.source, "copied");
    double end = now_ms() + 3000;
    CHECK_STATUS(fill_with(lease, "1", 3000, 60000), YC_OK);
    yc_lease_free(lease);
    migrate(&both);
    int64_t left = 0;
    if (now_ms() < end - 500) {
        CHECK(value_of(both.target, "copied") == 1);
        CHECK_STATUS(yc_ttl(both.target, "copied", 6, &left, NULL), YC_OK);
        if (!CHECK(left > 0 && left <= 3000)) printf("  %lld ms\n", (long long)left);
    }
    /* Memcached tells the time to two seconds. */
    sleep_ms((long)(end - now_ms()) + 2500);
    CHECK(value_of(both.target, "copied") == -1);
    CHECK_STATUS(lease_of(both.target, "copied", &value, &lease), YC_STALE);
    CHECK(lease);
    yc_value_free(value);
    yc_lease_free(lease);
    close_cache(both.source);
    close_cache(both.target);
}

/* A copy replaces what a get does not return: a lease, a remembered absence, values that were invalidated or are stale. */
static void check_dead_copies(const char *from, const char *to) {
    static const char *const KEYS[] = {"leased", "absent", "invalidated", "stale", "live"};
    migration both = {.source = open_cache(from), .target = open_cache(to), .changed = ENTRIES};
    yc_slice dead = slice("dead");
    CHECK_STATUS(yc_flush(both.source, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(both.target, NULL, NULL), YC_OK);
    for (size_t at = 0; at < sizeof KEYS / sizeof *KEYS; at++) CHECK_STATUS(set_key(both.source, KEYS[at]), YC_OK);
    yc_lease *leased = take_lease(both.target, "leased"), *lease = take_lease(both.target, "absent");
    yc_fill absent = {.struct_size = sizeof absent, .flags = YC_FILL_ABSENT, .ttl_ms = 60000};
    CHECK_STATUS(yc_lease_fill(lease, &absent, NULL), YC_OK);
    yc_lease_free(lease);
    lease = take_lease(both.target, "stale");
    CHECK_STATUS(fill_with(lease, "1", 20, 60000), YC_OK);
    yc_lease_free(lease);
    CHECK_STATUS(yc_set(both.target, "invalidated", 11, "1", 1, 60000, &dead, 1, NULL), YC_OK);
    CHECK_STATUS(yc_set(both.target, "live", 4, "1", 1, 60000, &dead, 0, NULL), YC_OK);
    CHECK_STATUS(yc_invalidate_tag(both.target, "dead", 4, NULL, NULL), YC_OK);
    sleep_ms(50);
    migrate(&both);
    for (size_t at = 0; at < sizeof KEYS / sizeof *KEYS; at++) {
        if (!CHECK(value_of(both.target, KEYS[at]) == (strcmp(KEYS[at], "live") == 0 ? 1 : 2))) printf("  %s\n", KEYS[at]);
    }
    CHECK_STATUS(fill_with(leased, "1", 60000, 0), YC_SUPERSEDED);
    yc_lease_free(leased);
    close_cache(both.source);
    close_cache(both.target);
}

static void check_migrations(server_kind kind) {
    both_servers both;
    start_both(&both, kind);
    const char *const urls[] = {both.urls[0], both.urls[1]};
    check_migration(urls[0], "memory://");
    check_migration("memory://", urls[0]);
    check_migration(urls[1], urls[0]);
    check_dead_copies("memory://", "memory://");
    check_dead_copies(urls[1], urls[0]);
    check_copies(urls[0], "memory://");
    check_copies("memory://", urls[0]);
    check_copies(urls[1], urls[0]);
    stop_both(&both);
}

/* ---- Values of other programs ---- */

static void store_foreign(const server *of, const char *key, size_t len) {
    char name[64], head[96], *bytes = filled('x', len), answer[16] = "";
    snprintf(name, sizeof name, "h:e:%s", key);
    yc_slice words[] = {slice("SET"), slice(name), {bytes, len}};
    if (of->kind == SERVER_REDIS) {
        reply_free(ask_words(of->port, words, 3));
    } else {
        int fd = connect_to(of->port);
        int head_len = snprintf(head, sizeof head, "set %s 0 0 %zu\r\n", name, len);
        CHECK(send(fd, head, (size_t)head_len, MSG_NOSIGNAL) == head_len);
        for (size_t done = 0; done < len;) {
            ssize_t sent = send(fd, bytes + done, len - done, MSG_NOSIGNAL);
            if (!CHECK(sent > 0)) break;
            done += (size_t)sent;
        }
        CHECK(send(fd, "\r\n", 2, MSG_NOSIGNAL) == 2 && recv(fd, answer, 8, 0) == 8);
        CHECK(strncmp(answer, "STORED", 6) == 0);
        close(fd);
    }
    free(bytes);
}

/* A get is a miss, so a conditional write takes the key for absent. */
static void check_foreign_value(const server *of, yc_cache *cache, size_t len) {
    int failed = atomic_load(&checks_failed);
    int64_t sum = 0;
    uint64_t version = 0;
    store_foreign(of, "foreign", len);
    CHECK(value_of(cache, "foreign") == -1);
    CHECK_STATUS(yc_set_if(cache, "foreign", 7, "1", 1, 60000, NULL, 0, YC_IF_PRESENT, 0, NULL, NULL), YC_UNMET);
    CHECK_STATUS(yc_delete_if(cache, "foreign", 7, 1, NULL), YC_MISS);
    CHECK_STATUS(yc_get_and_expire(cache, "foreign", 7, 1000, &(yc_value *){NULL}, NULL), YC_MISS);
    CHECK_STATUS(yc_set_if(cache, "foreign", 7, "1", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, &version, NULL), YC_OK);
    CHECK(value_of(cache, "foreign") == 1);
    store_foreign(of, "foreign", len);
    CHECK_STATUS(yc_counter_add(cache, "foreign", 7, 3, 4, 60000, &sum, NULL), YC_OK);
    CHECK(sum == 7 && value_of(cache, "foreign") == 7);
    store_foreign(of, "foreign", len);
    yc_lease *lease = take_lease(cache, "foreign");
    if (lease) CHECK_STATUS(fill(lease, "8"), YC_OK);
    CHECK(value_of(cache, "foreign") == 8);
    yc_lease_free(lease);
    lease = NULL;
    CHECK_STATUS(yc_delete(cache, "foreign", 7, NULL), YC_OK);
    lease = take_lease(cache, "foreign");
    store_foreign(of, "foreign", len);
    CHECK_STATUS(fill(lease, "9"), YC_SUPERSEDED);
    yc_lease_free(lease);
    CHECK(yc_delete(cache, "foreign", 7, NULL) >= 0);
    if (atomic_load(&checks_failed) != failed) printf("  with a foreign value of %zu bytes\n", len);
}

/* ---- A cache that is closed behind a lease ---- */

static void check_closed(const char *url) {
    yc_cache *other = open_cache(url);
    for (int at = 0; at < 20; at++) {
        yc_cache *cache = open_cache(url);
        yc_value *value;
        yc_lease *lease = take_lease(cache, "closed");
        yc_lease_free(lease);
        close_cache(cache);
        if (!CHECK_STATUS(lease_of(other, "closed", &value, &lease), YC_LEASED)) break;
        CHECK_STATUS(yc_lease_abandon(lease, 0, NULL), YC_OK);
        yc_lease_free(lease);
    }
    close_cache(other);
}

static void check_others(server_kind kind) {
    server own;
    const char *none[] = {NULL};
    server_start(&own, kind, none);
    yc_cache *cache = open_cache(server_url(&own, "key_prefix=h&socket_timeout=10s&max_value_bytes=2000"));
    check_foreign_value(&own, cache, 0);
    check_foreign_value(&own, cache, 1);
    check_foreign_value(&own, cache, 500);
    check_foreign_value(&own, cache, FOREIGN);
    close_cache(cache);
    check_closed(server_url(&own, "key_prefix=h&socket_timeout=10s"));
    check_closed(server_url(&own, "key_prefix=h&socket_timeout=10s&pool_size=4"));
    server_stop(&own);
}

int main(int count_of_arguments, char **arguments) {
    server_kind kind = count_of_arguments > 1 && strcmp(arguments[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    const char *only = count_of_arguments > 2 ? arguments[2] : NULL;
    if (!only || strcmp(only, "others") == 0) check_others(kind);
    if (!only || strcmp(only, "fallback") == 0) check_fallback(kind);
    if (!only || strcmp(only, "switch") == 0) check_switch(kind);
    if (!only || strcmp(only, "migrations") == 0) check_migrations(kind);
    return check_result();
}
