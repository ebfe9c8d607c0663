/* Near caches whose entries others change, whose replies are late, and whose servers fail: a copy of what has changed is served
   for max_staleness at most.
   near redis|memcached */
#include "near_copies.h"
#include "../queues.h"
#include "proxy.h"
#include "resp.h"
#include "scripted.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STALENESS_MS = 400 };

/* What an opening answers if the server neither tells of changes nor has channels. */
static const yc_status REFUSED_STATUS = YC_E_UNSUPPORTED;

static const char NEAR[] = "key_prefix=near&near=400ms&socket_timeout=10s&socket_connect_timeout=1s";
/* Served also if this process or its server is held up for a while: a copy that is gone was removed. */
static const char PATIENT[] = "key_prefix=near&near=10s&socket_timeout=10s&socket_connect_timeout=1s";
static const char PLAIN[] = "key_prefix=near&socket_timeout=10s&socket_connect_timeout=1s";
/* The same with one connection: a second would come while they are counted. */
static const char PLAIN_ALONE[] = "key_prefix=near&socket_timeout=10s&socket_connect_timeout=1s&pool_size=1";
static const char HASTY[] = "key_prefix=near&near=400ms&socket_timeout=250ms&socket_connect_timeout=250ms";

static server stored;

static bool is_redis(void) { return stored.kind == SERVER_REDIS; }

/* ---- Changes by others ---- */

/* A change of the key that has a copy: after it, the key has the value `new`, or none (NULL). */
typedef struct change {
    const char *name, *after;
    void (*make)(yc_cache *other, const char *key);
    bool only_redis, removes_all;
} change;

static void change_set(yc_cache *other, const char *key) { CHECK_STATUS(set_text(other, key, "new", YC_TTL_NEVER, NULL), YC_OK); }
static void change_delete(yc_cache *other, const char *key) { CHECK_STATUS(yc_delete(other, key, strlen(key), NULL), YC_OK); }
static void change_tag(yc_cache *other, const char *key) { (void)key, CHECK_STATUS(yc_invalidate_tag(other, "tag", 3, NULL, NULL), YC_OK); }
static void change_flush(yc_cache *other, const char *key) { (void)key, CHECK_STATUS(yc_flush(other, NULL, NULL), YC_OK); }
static void change_expire(yc_cache *other, const char *key) {
    CHECK_STATUS(yc_expire(other, key, strlen(key), 1, NULL), YC_OK);
    sleep_ms(5);
}

/* Of these the server itself tells. */
static void change_del(yc_cache *other, const char *key) { (void)other, CHECK(tell(stored.port, "DEL near:e:%s", key)); }
static void change_rename(yc_cache *other, const char *key) { (void)other, CHECK(tell(stored.port, "RENAME near:e:%s elsewhere", key)); }
static void change_flushall(yc_cache *other, const char *key) { (void)other, (void)key, CHECK(tell(stored.port, "FLUSHALL")); }
static void change_flushdb(yc_cache *other, const char *key) { (void)other, (void)key, CHECK(tell(stored.port, "FLUSHDB ASYNC")); }
static void change_pexpire(yc_cache *other, const char *key) {
    (void)other, CHECK(tell(stored.port, "PEXPIRE near:e:%s 1", key));
    sleep_ms(5);
}

static void change_pattern(yc_cache *other, const char *key) {
    CHECK_STATUS(yc_invalidate_pattern(other, key, strlen(key), NULL, NULL), YC_OK);
}

static const change CHANGES[] = {
    {"set", "new", change_set, false, false},        {"delete", NULL, change_delete, false, false},
    {"invalidation", NULL, change_tag, false, false}, {"flush", NULL, change_flush, false, true},
    {"expiry", NULL, change_expire, false, false},   {"pattern", NULL, change_pattern, true, false},
    {"DEL", NULL, change_del, true, false},          {"RENAME", NULL, change_rename, true, false},
    {"FLUSHALL", NULL, change_flushall, true, true}, {"FLUSHDB", NULL, change_flushdb, true, true},
    {"PEXPIRE", NULL, change_pexpire, true, false},
};

static bool is_after(const answered *read, const char *after) { return after ? is_text(read, after) : read->status == YC_MISS; }

/* Reads that begin later than max_staleness after a change have the value after it, and those before it that one or "old". */
static void check_reads_after(yc_cache *cache, const char *key, const char *after, double changed) {
    bool is_seen = false;
    for (double begun = now_ms(), end = changed + 2.0 * STALENESS_MS; begun < end; begun = now_ms()) {
        answered read = get_text(cache, key), copy = get_copy(cache, key);
        bool is_new = is_after(&read, after);
        if (!CHECK(is_new || (begun <= changed + STALENESS_MS && is_text(&read, "old")))) {
            printf("  %s \"%s\", %g ms after the change\n", yc_status_name(read.status), read.text, begun - changed);
            return;
        }
        /* What was seen is not unseen. */
        if (!CHECK(!is_seen || (is_new && !is_text(&copy, "old")))) return;
        is_seen = is_new;
        sleep_ms(1);
    }
}

static void check_change(yc_cache *cache, yc_cache *other, const change *it) {
    char key[TEXT];
    int failed = atomic_load(&checks_failed);
    snprintf(key, sizeof key, "changed-by-%s", it->name);
    CHECK_STATUS(set_text(other, key, "old", 60000, "tag"), YC_OK);
    CHECK(has_copy(cache, key, "old"));
    it->make(other, key);
    check_reads_after(cache, key, it->after, now_ms());
    if (atomic_load(&checks_failed) != failed) printf("  after a %s\n", it->name);
}

static void check_changes(void) {
    yc_cache *cache = open_cache(server_url(&stored, NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    for (size_t at = 0; at < sizeof CHANGES / sizeof *CHANGES; at++) {
        if (is_redis() || !CHANGES[at].only_redis) check_change(cache, other, &CHANGES[at]);
    }
    CHECK(near_reaches(cache, "serving", 1) && near_number(cache, "hits") > 0);
    close_cache(cache);
    close_cache(other);
}

/* ---- Late replies ---- */

/* The ways to read an entry, each of which keeps a copy. */
enum way { GET, GET_MANY, GET_OR_LEASE, GET_FRESH, WAYS };

typedef struct late_read {
    yc_cache *cache;
    const char *key;
    enum way way;
    answered read;
} late_read;

static void take_value(answered *self, yc_value *value) {
    size_t len = 0;
    const char *data = yc_value_data(value, &len);
    if (value) snprintf(self->text, TEXT, "%.*s", (int)len, data);
    yc_value_free(value);
}

static void get_in_a_batch(late_read *self) {
    yc_op op = {.kind = YC_OP_GET, .key = self->key, .key_len = strlen(self->key), .flags = YC_OP_FRESH};
    CHECK_STATUS(yc_batch(self->cache, &op, 1, sizeof op, NULL), YC_OK);
    self->read.status = op.status;
    take_value(&self->read, op.result);
    yc_error_free(op.error);
}

/* A caller who is to load finds no value. */
static void get_or_lease(late_read *self) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_status status = yc_get_or_lease(self->cache, self->key, strlen(self->key), &options, &value, &lease, NULL);
    self->read.status = status == YC_LEASED ? YC_MISS : status;
    take_value(&self->read, value);
    if (lease) CHECK_STATUS(yc_lease_abandon(lease, 0, NULL), YC_OK);
    yc_lease_free(lease);
}

static void *read_late(void *data) {
    late_read *self = data;
    yc_slice key = slice(self->key);
    yc_value *value = NULL;
    switch (self->way) {
    case GET_MANY:
        yc_get_many(self->cache, &key, 1, &value, &self->read.status, NULL);
        take_value(&self->read, value);
        break;
    case GET_OR_LEASE: get_or_lease(self); break;
    case GET_FRESH: get_in_a_batch(self); break;
    default: self->read = get_text(self->cache, self->key);
    }
    return NULL;
}

static void *set_beside(void *data) {
    late_read *self = data;
    self->read.status = set_text(self->cache, self->key, "new", YC_TTL_NEVER, "tag");
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *data) {
    if (!CHECK(pthread_create(thread, NULL, body, data) == 0)) exit(check_result());
}

/* Waits until more bytes of replies are held. */
static void await_held(proxy *between, size_t more_than) {
    double end = now_ms() + PATIENCE_MS;
    while (proxy_held(between) <= more_than && now_ms() < end) sleep_ms(1);
    CHECK(proxy_held(between) > more_than);
}

/* Waits until the reply to a read is held: that to a ping or a beat may be held before. Connections of Memcached carry neither,
   and may confirm a copy without its text. */
static void await_held_read(proxy *between, const char *text) {
    if (!is_redis()) {
        await_held(between, 0);
        return;
    }
    double end = now_ms() + PATIENCE_MS;
    while (!proxy_holds(between, text, strlen(text)) && now_ms() < end) sleep_ms(1);
    CHECK(proxy_holds(between, text, strlen(text)));
}

/* Replies are held, save those of the connection that tells of changes. */
static void hold(proxy *between) { proxy_set(between, (proxy_fault){.mode = PROXY_HOLD, .bytes = "TRACKING", .len = 8}); }
static void release(proxy *between) { proxy_set(between, (proxy_fault){.mode = PROXY_PASS}); }

/* Waits until the process has no copy of a key any more. */
static void await_no_copy(yc_cache *cache, const char *key) {
    double end = now_ms() + PATIENCE_MS;
    while (get_copy(cache, key).status == YC_OK && now_ms() < end) sleep_ms(1);
    CHECK(get_copy(cache, key).status == YC_MISS);
}

/* Waits until the near cache has heard of all changes so far: of a beat that was sent after them. */
static void hear_of_all(yc_cache *cache) {
    long long samples = near_number(cache, "samples");
    CHECK(near_reaches(cache, "samples", samples + 2));
}

/* Makes a copy that only a change of its key removes from now on: the near cache has heard of the set that made the entry. */
static void make_witnesses(yc_cache *cache, yc_cache *other, char witnesses[][TEXT], size_t count) {
    for (size_t at = 0; at < count; at++) {
        snprintf(witnesses[at], TEXT, "witness-%zu", at);
        CHECK_STATUS(set_text(other, witnesses[at], "unseen", YC_TTL_NEVER, NULL), YC_OK);
    }
    hear_of_all(cache);
    for (size_t at = 0; at < count; at++) CHECK(has_copy(cache, witnesses[at], "unseen"));
}

/* With a witness, the near cache has heard of the change before the late reply comes. */
static void check_late_reply(const change *it, enum way way, const char *key, const char *witness, proxy *between, yc_cache *cache, yc_cache *other) {
    pthread_t reader;
    late_read late = {cache, key, way, {0}};
    /* The cache has seen the tag of the key, so that one request reads all that the entry depends on. */
    CHECK_STATUS(set_text(other, key, "seen", 60000, "tag"), YC_OK);
    CHECK(has_copy(cache, key, "seen"));
    CHECK_STATUS(set_text(other, key, "old", 60000, "tag"), YC_OK);
    await_no_copy(cache, key);
    CHECK(!witness || has_copy(cache, witness, "unseen"));
    hold(between);
    start_thread(&reader, read_late, &late);
    await_held_read(between, "old");
    it->make(other, key);
    double changed = now_ms();
    if (witness) {
        CHECK_STATUS(set_text(other, witness, "seen", YC_TTL_NEVER, NULL), YC_OK);
        await_no_copy(cache, witness);
    }
    release(between);
    pthread_join(reader, NULL);
    CHECK(is_text(&late.read, "old") || is_after(&late.read, it->after));
    if (witness) {
        answered copy = get_copy(cache, key), read = get_text(cache, key);
        if (!CHECK(copy.status == YC_MISS && is_after(&read, it->after))) {
            printf("  a copy: %s \"%s\", a read: %s \"%s\"\n", yc_status_name(copy.status), copy.text, yc_status_name(read.status), read.text);
        }
        CHECK(way != GET || is_text(&late.read, "old"));
    }
    check_reads_after(cache, key, it->after, changed);
}

static void check_late_replies(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), is_redis() ? PATIENT : NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    enum { COUNT = sizeof CHANGES / sizeof *CHANGES };
    static char witnesses[COUNT * WAYS][TEXT];
    if (is_redis()) make_witnesses(cache, other, witnesses, COUNT * WAYS);
    /* Those that remove the witnesses too come last. */
    for (size_t at = 0; at < 2 * COUNT * WAYS; at++) {
        const change *it = &CHANGES[at % COUNT];
        enum way way = (enum way)(at / COUNT % WAYS);
        char key[TEXT];
        int failed = atomic_load(&checks_failed);
        if ((it->only_redis && !is_redis()) || it->removes_all != (at >= COUNT * WAYS)) continue;
        snprintf(key, sizeof key, "late-%d-%s", (int)way, it->name);
        check_late_reply(it, way, key, is_redis() && !it->removes_all ? witnesses[at] : NULL, between, cache, other);
        if (atomic_load(&checks_failed) != failed) printf("  with a reply of before a %s, read in way %d\n", it->name, (int)way);
    }
    /* A reply that comes before the others are held is kept at first. */
    CHECK(!is_redis() || near_number(cache, "revoked_fills") > 0);
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
}

/* A reply that is on its way for longer than max_staleness: what has changed since then was told, or the copy is over. */
static void check_very_late_reply(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    pthread_t reader;
    late_read late = {.cache = cache, .key = "very-late"};
    CHECK_STATUS(set_text(other, "very-late", "old", 60000, NULL), YC_OK);
    CHECK(near_reaches(cache, "serving", 1));
    hold(between);
    start_thread(&reader, read_late, &late);
    await_held_read(between, "old");
    change_set(other, "very-late");
    double changed = now_ms();
    sleep_ms(2 * STALENESS_MS);
    release(between);
    pthread_join(reader, NULL);
    CHECK(is_text(&late.read, "old"));
    for (int times = 0; times < 50; times++, sleep_ms(2)) {
        answered copy = get_copy(cache, "very-late"), read = get_text(cache, "very-late");
        if (!CHECK(!is_text(&copy, "old") && is_text(&read, "new"))) {
            printf("  the copy is \"%s\", %g ms after the change\n", copy.text, now_ms() - changed);
            break;
        }
    }
    /* The time to live of an entry counts from its read, not from the reply; the server does not remove what is over by itself. */
    if (is_redis()) CHECK(tell(stored.port, "DEBUG SET-ACTIVE-EXPIRE 0"));
    change_delete(other, "very-late");
    await_no_copy(cache, "very-late");
    CHECK_STATUS(set_text(other, "very-late", "old", 600, NULL), YC_OK);
    double ends = now_ms() + 600;
    hold(between);
    start_thread(&reader, read_late, &late);
    await_held_read(between, "old");
    while (now_ms() < ends + 100) sleep_ms(5);
    release(between);
    pthread_join(reader, NULL);
    for (double begun = now_ms(); begun < ends + STALENESS_MS + 200; begun = now_ms()) {
        answered copy = get_copy(cache, "very-late");
        if (!CHECK(begun <= ends + STALENESS_MS || copy.status == YC_MISS)) {
            printf("  the copy is \"%s\", %g ms after the end of its entry\n", copy.text, begun - ends);
            break;
        }
        sleep_ms(1);
    }
    if (is_redis()) CHECK(tell(stored.port, "DEBUG SET-ACTIVE-EXPIRE 1"));
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
}

/* The reply that a copy is still right is on its way, and the entry is changed. */
static void check_late_confirmation(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    for (size_t at = 0; at < sizeof CHANGES / sizeof *CHANGES; at++) {
        pthread_t reader;
        char key[TEXT];
        late_read late = {.cache = cache, .key = key};
        int failed = atomic_load(&checks_failed);
        if (CHANGES[at].only_redis) continue;
        snprintf(key, sizeof key, "confirmed-%s", CHANGES[at].name);
        CHECK_STATUS(set_text(other, key, "old", 60000, "tag"), YC_OK);
        CHECK(has_copy(cache, key, "old"));
        await_no_copy(cache, key);
        long long confirmed = near_number(cache, "confirmed");
        /* A connection that was made since the copy was read makes it unknown once. */
        for (int turn = 0; turn < 5 && near_number(cache, "confirmed") == confirmed; turn++) {
            CHECK(has_copy(cache, key, "old"));
            await_no_copy(cache, key);
        }
        CHECK(near_number(cache, "confirmed") > confirmed);
        hold(between);
        start_thread(&reader, read_late, &late);
        await_held(between, 0);
        CHANGES[at].make(other, key);
        double changed = now_ms();
        sleep_ms(at % 2 ? STALENESS_MS / 2 : STALENESS_MS + 100);
        release(between);
        pthread_join(reader, NULL);
        CHECK(is_text(&late.read, "old") || is_after(&late.read, CHANGES[at].after));
        check_reads_after(cache, key, CHANGES[at].after, changed);
        if (atomic_load(&checks_failed) != failed) printf("  with a confirmation of before a %s\n", CHANGES[at].name);
    }
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
}

/* A set by another thread on the same cache, while the reply to a get is on its way. */
static void check_late_reply_and_own_set(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    for (int turn = 0; turn < 30; turn++) {
        char key[TEXT];
        pthread_t reader, setter;
        snprintf(key, sizeof key, "own-%d", turn);
        late_read late = {.cache = cache, .key = key, .way = (enum way)(turn % WAYS)}, set = {.cache = cache, .key = key};
        CHECK_STATUS(set_text(other, key, "old", YC_TTL_NEVER, "tag"), YC_OK);
        CHECK(near_reaches(cache, "serving", 1));
        /* The server is then asked only whether the copy is still right. */
        bool is_confirmed = !is_redis() && turn % 2;
        if (is_confirmed) {
            CHECK(has_copy(cache, key, "old"));
            await_no_copy(cache, key);
        }
        long long revoked = near_number(cache, "revoked_fills");
        hold(between);
        start_thread(&reader, read_late, &late);
        await_held_read(between, "old");
        size_t held = proxy_held(between);
        start_thread(&setter, set_beside, &set);
        await_held(between, held);
        release(between);
        pthread_join(setter, NULL);
        answered first = get_copy(cache, key), then = get_text(cache, key);
        pthread_join(reader, NULL);
        answered copy = get_copy(cache, key), read = get_text(cache, key);
        CHECK_STATUS(set.read.status, YC_OK);
        CHECK(is_text(&late.read, "old") || is_text(&late.read, "new"));
        CHECK(!is_text(&first, "old") && is_text(&then, "new"));
        CHECK(!is_text(&copy, "old") && is_text(&read, "new"));
        CHECK(is_confirmed || !is_text(&late.read, "old") || near_number(cache, "revoked_fills") > revoked);
    }
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
}

/* ---- The connection that tells of changes ---- */

/* Whether a command on a connection succeeds. */
static bool tell_on(int fd, const yc_slice *words, size_t count) {
    reply *answer = ask_on(fd, words, count);
    bool done = answer && answer->kind != '-';
    reply_free(answer);
    return done;
}

/* With 1, the server takes no new connection. */
static bool set_max_clients(int fd, const char *count) {
    return tell_on(fd, (const yc_slice[]){slice("CONFIG"), slice("SET"), slice("maxclients"), slice(count)}, 4);
}

/* Ends the connections that track, and returns how many they were. */
static int kill_tracking_on(int fd) {
    reply *list = ask_on(fd, (const yc_slice[]){slice("CLIENT"), slice("LIST")}, 2);
    int killed = 0;
    char *rest = list ? list->text : NULL, *line, id[TEXT];
    while (rest && (line = strsep(&rest, "\n"))) {
        const char *flags = strstr(line, " flags=");
        if (!flags || sscanf(line, "id=%60s", id) != 1 || strcspn(flags + 7, "t ") == strcspn(flags + 7, " ")) continue;
        killed += tell_on(fd, (const yc_slice[]){slice("CLIENT"), slice("KILL"), slice("ID"), slice(id)}, 4);
    }
    reply_free(list);
    return killed;
}

static int kill_tracking(void) {
    int fd = connect_to(stored.port), killed = kill_tracking_on(fd);
    close(fd);
    return killed;
}

static void check_killed_tracking(void) {
    yc_cache *cache = open_cache(server_url(&stored, NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    for (int turn = 0; turn < 10; turn++) {
        CHECK_STATUS(set_text(other, "gap", "old", YC_TTL_NEVER, NULL), YC_OK);
        CHECK(near_reaches(cache, "serving", 1) && has_copy(cache, "gap", "old"));
        long long flushes = near_number(cache, "flushes");
        CHECK(kill_tracking() == 1);
        change_set(other, "gap");
        check_reads_after(cache, "gap", "new", now_ms());
        CHECK(near_reaches(cache, "flushes", flushes + 1));
        CHECK(near_reaches(cache, "serving", 1));
        CHECK(has_copy(cache, "gap", "new"));
    }
    /* And all of the connections. */
    CHECK_STATUS(set_text(other, "gap", "old", YC_TTL_NEVER, NULL), YC_OK);
    CHECK(has_copy(cache, "gap", "old"));
    CHECK(tell(stored.port, "CLIENT KILL TYPE normal SKIPME yes"));
    double end = now_ms() + PATIENCE_MS;
    while (set_text(other, "gap", "new", YC_TTL_NEVER, NULL) != YC_OK && now_ms() < end) sleep_ms(1);
    check_reads_after(cache, "gap", "new", now_ms());
    CHECK(has_copy(cache, "gap", "new"));
    close_cache(cache);
    close_cache(other);
}

/* The server answers, but takes no new connection: nobody tells of changes for long. */
static void check_untold(void) {
    yc_cache *cache = open_cache(server_url(&stored, NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    int fd = connect_to(stored.port);
    CHECK_STATUS(set_text(other, "untold", "old", YC_TTL_NEVER, NULL), YC_OK);
    CHECK(has_copy(cache, "untold", "old"));
    long long down = near_number(cache, "disconnected_ms");
    CHECK(set_max_clients(fd, "1"));
    CHECK(kill_tracking_on(fd) == 1);
    change_set(other, "untold");
    double changed = now_ms();
    check_reads_after(cache, "untold", "new", changed);
    while (now_ms() < changed + 3 * STALENESS_MS) sleep_ms(5);
    CHECK(near_number(cache, "serving") == 0 && health_has(cache, "near cache serves nothing") && health_has(cache, "\"degraded\""));
    CHECK(get_copy(cache, "untold").status == YC_MISS);
    long long more = near_number(cache, "disconnected_ms") - down;
    if (!CHECK(more >= 2 * STALENESS_MS)) printf("  disconnected for %lld ms\n", more);
    CHECK(set_max_clients(fd, "10000"));
    CHECK(near_reaches(cache, "serving", 1) && has_copy(cache, "untold", "new"));
    CHECK(!health_has(cache, "near cache serves nothing"));
    more = near_number(cache, "disconnected_ms");
    sleep_ms(STALENESS_MS);
    CHECK(near_number(cache, "disconnected_ms") == more);
    close(fd);
    close_cache(cache);
    close_cache(other);
}

/* ---- A server that stands still, and one that begins anew ---- */

static void check_stopped(void) {
    yc_cache *cache = open_cache(server_url(&stored, HASTY)), *other = open_cache(server_url(&stored, PLAIN));
    CHECK_STATUS(set_text(other, "stopped", "old", YC_TTL_NEVER, NULL), YC_OK);
    CHECK_STATUS(set_text(other, "kept", "same", YC_TTL_NEVER, NULL), YC_OK);
    CHECK(has_copy(cache, "kept", "same") && has_copy(cache, "stopped", "old"));
    long long down = near_number(cache, "disconnected_ms");
    server_signal(&stored, SIGSTOP);
    double begun, stopped = now_ms();
    int failed = 0;
    for (begun = stopped; begun < stopped + 3000; begun = now_ms()) {
        answered read = get_text(cache, "stopped"), copy = get_copy(cache, "stopped");
        bool may_be_served = begun <= stopped + STALENESS_MS;
        failed += read.status < 0;
        /* A connection that is silent for long is replaced, which fails as well. */
        bool fails = read.status == YC_E_TIMEOUT || (begun > stopped + 1000 && read.status == YC_E_CONNECT);
        if (!CHECK(fails || (may_be_served && is_text(&read, "old")))) {
            printf("  %s \"%s\" after %g ms\n", yc_status_name(read.status), read.text, begun - stopped);
            break;
        }
        CHECK(may_be_served || copy.status == YC_MISS);
        sleep_ms(1);
    }
    CHECK(failed > 0);
    if (is_redis()) CHECK(health_has(cache, "near cache serves nothing") && !health_has(cache, "\"healthy\""));
    server_signal(&stored, SIGCONT);
    change_set(other, "stopped");
    double changed = now_ms(), end = changed + PATIENCE_MS;
    answered read;
    do {
        begun = now_ms();
        read = get_text(cache, "stopped");
        CHECK(!is_text(&read, "old") || begun <= changed + STALENESS_MS);
    } while (read.status != YC_OK && now_ms() < end);
    CHECK(has_copy(cache, "stopped", "new") && has_copy(cache, "kept", "same"));
    CHECK(near_reaches(cache, "serving", 1) && !health_has(cache, "near cache serves nothing"));
    if (is_redis()) CHECK(near_number(cache, "disconnected_ms") > down);
    close_cache(cache);
    close_cache(other);
}

static void check_restarted(void) {
    yc_cache *cache = open_cache(server_url(&stored, HASTY));
    for (int turn = 0; turn < 5; turn++) {
        /* The first set behind a start has the same unique number on Memcached each time. */
        server_kill(&stored);
        server_restart(&stored);
        yc_cache *other = open_cache(server_url(&stored, PLAIN));
        CHECK_STATUS(set_text(other, "restarted", "old", YC_TTL_NEVER, NULL), YC_OK);
        CHECK(near_reaches(cache, "serving", 1) && has_copy(cache, "restarted", "old"));
        close_cache(other);
        long long down = near_number(cache, "disconnected_ms");
        server_kill(&stored);
        double killed = now_ms(), begun;
        if (turn % 2) {
            sleep_ms(2 * STALENESS_MS);
            if (is_redis()) CHECK(near_number(cache, "disconnected_ms") >= down + STALENESS_MS);
        }
        server_restart(&stored);
        other = open_cache(server_url(&stored, PLAIN));
        CHECK_STATUS(set_text(other, "restarted", "new", YC_TTL_NEVER, NULL), YC_OK);
        answered read = {0};
        for (begun = now_ms(); begun < killed + PATIENCE_MS && !is_text(&read, "new"); begun = now_ms()) {
            read = get_text(cache, "restarted");
            if (!CHECK(read.status < 0 || is_text(&read, "new") || (begun <= killed + STALENESS_MS && is_text(&read, "old")))) {
                printf("  %s \"%s\" %g ms after the end of the server\n", yc_status_name(read.status), read.text, begun - killed);
                break;
            }
            sleep_ms(1);
        }
        CHECK(is_text(&read, "new") && has_copy(cache, "restarted", "new"));
        close_cache(other);
    }
    close_cache(cache);
}

/* ---- A flood of changes ---- */

enum { FLOOD = 200000, FLOOD_KEYS = 64, FLOOD_KB = 64 * 1024 };

static long resident_kb(void) {
    long pages = 0, kept = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &pages, &kept) != 2) kept = 0;
    if (file) fclose(file);
    return kept * (sysconf(_SC_PAGESIZE) / 1024);
}

static void *drain(void *data) {
    char bytes[65536];
    size_t left = (size_t)FLOOD * 5; /* "+OK\r\n" */
    for (ssize_t got; left && (got = recv(*(int *)data, bytes, left < sizeof bytes ? left : sizeof bytes, 0)) > 0;) left -= (size_t)got;
    CHECK(left == 0);
    return NULL;
}

static void *flood(void *data) {
    int *fd = data;
    static char commands[1 << 16];
    pthread_t drainer;
    start_thread(&drainer, drain, fd);
    for (int at = 0; at < FLOOD;) {
        size_t len = 0;
        for (; at < FLOOD && len + 128 < sizeof commands; at++) {
            char name[TEXT];
            int name_len = snprintf(name, sizeof name, "near:e:flood-%d", at);
            len += (size_t)snprintf(commands + len, 128, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nx\r\n", name_len, name);
        }
        for (size_t sent = 0; sent < len;) {
            ssize_t more = send(*fd, commands + sent, len - sent, MSG_NOSIGNAL);
            if (!CHECK(more > 0)) return NULL;
            sent += (size_t)more;
        }
    }
    pthread_join(drainer, NULL);
    return NULL;
}

static void check_flood(void) {
    yc_cache *cache = open_cache(server_url(&stored, NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    pthread_t flooder;
    int fd = connect_to(stored.port);
    char key[TEXT];
    for (int at = 0; at < FLOOD_KEYS; at++) {
        snprintf(key, sizeof key, "read-%d", at);
        CHECK_STATUS(set_text(other, key, key, YC_TTL_NEVER, NULL), YC_OK);
        CHECK(has_copy(cache, key, key));
    }
    long before = resident_kb(), most = before;
    start_thread(&flooder, flood, &fd);
    unsigned reads = 0;
    for (bool ended = false; !ended || reads % 10000; reads++) {
        snprintf(key, sizeof key, "read-%u", reads % FLOOD_KEYS);
        answered read = get_text(cache, key);
        if (!CHECK(is_text(&read, key))) break;
        if (reads % 1000 == 0) {
            long now = resident_kb();
            most = now > most ? now : most;
            ended = ended || pthread_tryjoin_np(flooder, NULL) == 0;
        }
    }
    if (!CHECK(most - before < FLOOD_KB)) printf("  %ld KiB more\n", most - before);
    close(fd);
    CHECK(near_reaches(cache, "serving", 1));
    CHECK_STATUS(set_text(other, "flooded", "old", YC_TTL_NEVER, NULL), YC_OK);
    CHECK(has_copy(cache, "flooded", "old"));
    change_set(other, "flooded");
    check_reads_after(cache, "flooded", "new", now_ms());
    CHECK(tell(stored.port, "FLUSHALL"));
    close_cache(cache);
    close_cache(other);
}

/* Changes that are told in one piece: tens of thousands of names at once, names that no entry has, and one of no key. */
static void check_large_pieces(void) {
    static const char script[] = "local name = 'near:e:' .. string.rep('n', 300) for i = 1, 40000 do redis.call('set', name .. i, 'x') end";
    yc_cache *cache = open_cache(server_url(&stored, NEAR)), *other = open_cache(server_url(&stored, PLAIN));
    size_t len = 1 << 20;
    char *long_name = filled('n', len);
    memcpy(long_name, "near:e:", 7);
    int fd = connect_to(stored.port);
    CHECK_STATUS(set_text(other, "pieces", "old", YC_TTL_NEVER, NULL), YC_OK);
    CHECK(has_copy(cache, "pieces", "old"));
    long before = resident_kb();
    CHECK(tell_on(fd, (const yc_slice[]){slice("SET"), {long_name, len}, slice("x")}, 3));
    CHECK(tell_on(fd, (const yc_slice[]){slice("SET"), slice("near:e:"), slice("x")}, 3));
    CHECK(tell_on(fd, (const yc_slice[]){slice("SET"), slice("near:t:none"), slice("x")}, 3));
    CHECK(tell_on(fd, (const yc_slice[]){slice("EVAL"), slice(script), slice("0")}, 3));
    change_set(other, "pieces");
    check_reads_after(cache, "pieces", "new", now_ms());
    CHECK(near_reaches(cache, "serving", 1) && has_copy(cache, "pieces", "new"));
    long more = resident_kb() - before;
    if (!CHECK(more < 2 * FLOOD_KB)) printf("  %ld KiB more\n", more);
    CHECK(tell(stored.port, "FLUSHALL"));
    free(long_name);
    close(fd);
    close_cache(cache);
    close_cache(other);
}

/* ---- Servers that do not tell of changes ---- */

static void check_refused(const char *url) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    yc_status status = yc_open(url, &cache, &error);
    if (CHECK_STATUS(status, REFUSED_STATUS)) CHECK(strstr(yc_error_message(error), "near") && strstr(yc_error_message(error), "127.0.0.1"));
    yc_error_free(error);
    if (status == YC_OK) close_cache(cache);
}

/* A server of before Redis 6, without channels. */
static size_t answer_old(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    (void)data;
    if (is_command(words, count, "HELLO")) return say(out, "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
    if (is_command(words, count, "PING")) return say(out, "+PONG\r\n");
    if (is_command(words, count, "INFO")) return say(out, "$0\r\n\r\n");
    if (is_command(words, count, "CLIENT")) return say(out, "-ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT HELP\r\n");
    return say(out, "-NOSCRIPT No matching script\r\n");
}

/* A user who may not have changes told, but may use channels: near caches tell each other, and each copy ends by itself. */
static void check_untracked_user(void) {
    char url[MAX_NEAR_URL];
    CHECK(tell(stored.port, "ACL SETUSER reader on >secret ~* &* +@all -client|tracking"));
    snprintf(url, sizeof url, "redis://reader:secret@127.0.0.1:%d?%s", stored.port, NEAR);
    yc_cache *cache = open_cache(url), *near = open_cache(url), *plain = open_cache(server_url(&stored, PLAIN));
    CHECK(near_reaches(cache, "serving", 1) && !health_has(cache, "near cache serves nothing"));
    for (size_t at = 0; at < sizeof CHANGES / sizeof *CHANGES; at++) {
        check_change(cache, near, &CHANGES[at]);
        check_change(cache, plain, &CHANGES[at]);
    }
    close_cache(cache);
    close_cache(near);
    close_cache(plain);
}

static void check_refusals(void) {
    char url[MAX_NEAR_URL];
    CHECK(tell(stored.port, "ACL SETUSER silent on >secret ~* resetchannels +@all -client|tracking"));
    snprintf(url, sizeof url, "redis://silent:secret@127.0.0.1:%d?%s", stored.port, NEAR);
    int threads = settled_threads(), files = count_files();
    scripted *old = scripted_start(NULL, answer_old, NULL);
    for (int times = 0; times < 5; times++) check_refused(url);
    for (int times = 0; times < 5; times++) check_refused(url_of(SERVER_REDIS, scripted_port(old), NEAR));
    scripted_stop(old);
    CHECK(threads_are(threads) && count_files() <= files);
}

/* ---- The end of a cache ---- */

typedef struct reader {
    yc_cache *cache;
    atomic_uint reads, wrong;
    yc_status last;
} reader;

static void *read_to_the_end(void *data) {
    reader *self = data;
    for (unsigned at = 0;; at++) {
        char key[TEXT];
        snprintf(key, sizeof key, "end-%u", at % 16);
        answered read = get_text(self->cache, key);
        if (read.status < 0) return self->last = read.status, NULL;
        if (read.status != YC_OK || strncmp(read.text, "value ", 6) != 0) atomic_fetch_add(&self->wrong, 1);
        atomic_fetch_add(&self->reads, 1);
    }
}

typedef struct writer {
    yc_cache *cache;
    atomic_bool ends;
} writer;

static void *write_to_the_end(void *data) {
    writer *self = data;
    for (unsigned at = 0; !atomic_load(&self->ends); at++) {
        char key[TEXT], text[TEXT];
        snprintf(key, sizeof key, "end-%u", at % 16);
        snprintf(text, sizeof text, "value %u", at);
        CHECK_STATUS(set_text(self->cache, key, text, YC_TTL_NEVER, NULL), YC_OK);
    }
    return NULL;
}

/* Operations whose queue ends before they may have. */
static void submit_many(yc_cache *cache) {
    enum { MANY = 500 };
    yc_queue *queue = open_queue(cache, MANY);
    for (int at = 0; at < MANY; at++) {
        yc_op op = at % 5 ? op_get("end-2", 0) : op_set("end-2", "value of a queue", 0);
        op.flags = at % 3 == 0 && op.kind == YC_OP_GET ? YC_OP_FRESH : 0;
        if (!CHECK_STATUS(submit(queue, op, NULL), YC_OK)) break;
    }
    yc_queue_free(queue);
}

static void check_end(bool closes) {
    enum { READERS = 4 };
    pthread_t threads[READERS];
    reader self = {.cache = open_cache(server_url(&stored, NEAR))};
    for (int at = 0; at < READERS; at++) start_thread(&threads[at], read_to_the_end, &self);
    for (double end = now_ms() + PATIENCE_MS; atomic_load(&self.reads) < 1000 && now_ms() < end;) sleep_ms(1);
    CHECK(atomic_load(&self.reads) >= 1000 && atomic_load(&self.wrong) == 0);
    CHECK_STATUS(yc_close(self.cache, -1, NULL), YC_OK);
    for (int at = 0; at < READERS; at++) pthread_join(threads[at], NULL);
    CHECK_STATUS(self.last, YC_E_CLOSED);
    CHECK(get_copy(self.cache, "end-0").status == YC_E_CLOSED || get_copy(self.cache, "end-0").status == YC_MISS);
    yc_cache_free(self.cache);
    if (closes) return;
    yc_cache *left = open_cache(server_url(&stored, NEAR));
    get_text(left, "end-1");
    submit_many(left);
    yc_cache_free(left);
}

static void check_ends(void) {
    pthread_t thread;
    writer self = {.cache = open_cache(server_url(&stored, PLAIN_ALONE))};
    for (unsigned at = 0; at < 16; at++) {
        char key[TEXT];
        snprintf(key, sizeof key, "end-%u", at);
        CHECK_STATUS(set_text(self.cache, key, "value 0", YC_TTL_NEVER, NULL), YC_OK);
    }
    int threads = settled_threads(), files = count_files();
    start_thread(&thread, write_to_the_end, &self);
    for (int turn = 0; turn < 20; turn++) check_end(turn % 2 == 0);
    atomic_store(&self.ends, true);
    pthread_join(thread, NULL);
    CHECK(threads_are(threads));
    double end = now_ms() + PATIENCE_MS;
    while (count_files() > files && now_ms() < end) sleep_ms(5);
    if (!CHECK(count_files() <= files)) printf("  %d descriptors, before %d\n", count_files(), files);
    close_cache(self.cache);
}

/* ---- Limits ---- */

/* All entries are written before the first is read: a copy may not be kept if the news of its write arrives during the read. */
static void check_limits(void) {
    enum { KEYS = 3000, MAX_BYTES = 256 * 1024, MAX_KEYS = 100 };
    const char *limits[] = {"max_bytes: 256KiB", "max_size: 100"};
    yc_cache *other = open_cache(server_url(&stored, PLAIN));
    for (int limited = 0; limited < 2; limited++) {
        char config[MAX_NEAR_URL];
        const char *backend = is_redis() ? "redis" : "memcached";
        snprintf(config, sizeof config, "{backend: %s, %s: {key_prefix: near, url: \"%s://127.0.0.1:%d\", near: {max_staleness: 10s, %s}}}", backend,
                 backend, backend, stored.port, limits[limited]);
        yc_cache *cache = open_cache(config);
        CHECK(near_reaches(cache, "serving", 1));
        for (int at = 0; at < KEYS; at++) {
            char key[TEXT], *value = filled('v', (size_t)(at * 7919 % 4096));
            snprintf(key, sizeof key, "limit-%d", at);
            CHECK_STATUS(yc_set(other, key, strlen(key), value, strlen(value), 60000, NULL, 0, NULL), YC_OK);
            free(value);
        }
        long long most_bytes = 0, most_keys = 0;
        for (int at = 0; at < KEYS; at++) {
            char key[TEXT];
            yc_value *read = NULL;
            snprintf(key, sizeof key, "limit-%d", at);
            CHECK_STATUS(yc_get(cache, key, strlen(key), &read, NULL), YC_OK);
            yc_value_free(read);
            if (at % 10) continue;
            long long bytes = near_number(cache, "bytes"), keys = near_number(cache, "keys");
            most_bytes = bytes > most_bytes ? bytes : most_bytes;
            most_keys = keys > most_keys ? keys : most_keys;
        }
        bool holds = limited == 0 ? CHECK(most_bytes <= MAX_BYTES && most_bytes > MAX_BYTES / 2) : CHECK(most_keys <= MAX_KEYS && most_keys > MAX_KEYS / 2);
        if (!holds) printf("  %lld bytes and %lld keys with %s\n", most_bytes, most_keys, limits[limited]);
        CHECK(near_number(cache, "fills") > KEYS / 2);
        close_cache(cache);
    }
    close_cache(other);
}

int main(int argc, char **argv) {
    static const char *const debug[] = {"--enable-debug-command", "local", NULL};
    bool redis = argc < 2 || strcmp(argv[1], "memcached") != 0;
    int threads = count_threads(), files = count_files();
    server_start(&stored, redis ? SERVER_REDIS : SERVER_MEMCACHED, redis ? debug : NULL);
    check_changes();
    check_late_replies();
    check_late_reply_and_own_set();
    check_very_late_reply();
    if (!redis) check_late_confirmation();
    if (redis) check_killed_tracking();
    if (redis) check_untold();
    if (redis) check_flood();
    if (redis) check_large_pieces();
    check_stopped();
    check_restarted();
    check_ends();
    check_limits();
    if (redis) check_untracked_user();
    if (redis) check_refusals();
    CHECK(threads_are(threads) && count_files() <= files);
    server_stop(&stored);
    return check_result();
}
