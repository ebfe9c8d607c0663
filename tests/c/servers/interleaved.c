/* Sets that fall between two commands of one call: a proxy makes them before the server sees the second. A value that was
   over when the call read it must not get the time of the value that replaced it. */
#include "../calls.h"
#include "resp.h"
#include "scripted.h"
#include "server.h"

#include <pthread.h>
#include <unistd.h>

static yc_lease *left; /* The lease that a change took. */

enum { SHORT_MS = 30, STALE_MS = 600000, LONG_MS = 900000 };

/* ---- The proxy ---- */

typedef struct between {
    int connection;
    scripted *server;
    pthread_mutex_t lock;
    const char *command;            /* The change comes before this command, or before one of these ("A|B"), once. */
    void (*change)(yc_cache *cache); /* By another client. */
    yc_cache *other;
    atomic_int made;
} between;

static size_t write_reply(const reply *from, char *out) {
    if (!from) return 0;
    if (from->kind == ':') return (size_t)sprintf(out, ":%lld\r\n", from->number);
    if (from->kind == '$' && !from->text) return say(out, "$-1\r\n");
    if (from->kind == '+' || from->kind == '-') return (size_t)sprintf(out, "%c%s\r\n", from->kind, from->text);
    size_t len = (size_t)sprintf(out, "%c%zu\r\n", from->kind, from->kind == '$' ? from->len : from->count);
    if (from->kind == '$') {
        memcpy(out + len, from->text, from->len);
        return len + from->len + say(out + len + from->len, "\r\n");
    }
    for (size_t at = 0; at < from->count; at++) len += write_reply(&from->items[at], out + len);
    return len;
}

/* Whether a command is one of several, with bars between them. */
static bool is_any(const yc_slice *words, size_t count, const char *commands) {
    char name[32];
    for (const char *at = commands; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "|"), at);
        if (is_command(words, count, name)) return true;
    }
    return false;
}

static size_t forward(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    between *self = data;
    pthread_mutex_lock(&self->lock);
    if (self->command && is_any(words, count, self->command)) {
        self->command = NULL;
        self->change(self->other);
        atomic_fetch_add(&self->made, 1);
    }
    reply *answer = ask_on(self->connection, words, count);
    size_t len = write_reply(answer, out);
    reply_free(answer);
    pthread_mutex_unlock(&self->lock);
    return len;
}

static void arm(between *self, const char *command, void (*change)(yc_cache *)) {
    pthread_mutex_lock(&self->lock);
    self->command = command;
    self->change = change;
    pthread_mutex_unlock(&self->lock);
}

/* ---- Values ---- */

static yc_status lease_of(yc_cache *cache, yc_value **value, yc_lease **lease) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    *value = NULL;
    *lease = NULL;
    return yc_get_or_lease(cache, "k", 1, &options, value, lease, NULL);
}

/* Stores a value as the result of a load, in place of what is there. */
static void load(yc_cache *cache, const char *text, int64_t ttl_ms, int64_t stale_for_ms) {
    yc_value *value;
    yc_lease *lease;
    yc_delete(cache, "k", 1, NULL);
    CHECK_STATUS(lease_of(cache, &value, &lease), YC_LEASED);
    yc_fill with = {.struct_size = sizeof with, .value = text, .value_len = 1, .ttl_ms = ttl_ms, .stale_for_ms = stale_for_ms};
    CHECK_STATUS(yc_lease_fill(lease, &with, NULL), YC_OK);
    yc_lease_free(lease);
}

static void set_new(yc_cache *cache) { CHECK_STATUS(yc_set(cache, "k", 1, "2", 1, LONG_MS, NULL, 0, NULL), YC_OK); }
static void load_new(yc_cache *cache) { load(cache, "2", LONG_MS, STALE_MS); }

static void remove_old(yc_cache *cache) { CHECK_STATUS(yc_delete(cache, "k", 1, NULL), YC_MISS); }

static void remove_any(yc_cache *cache) { CHECK(yc_delete(cache, "k", 1, NULL) >= 0); }

static bool is(const yc_value *value, char letter) {
    size_t len = 0;
    const char *text = value ? yc_value_data(value, &len) : NULL;
    return text && len == 1 && *text == letter;
}

/* ---- Reads ---- */

static bool by_get(yc_cache *cache) {
    yc_value *value = NULL;
    yc_status status = yc_get(cache, "k", 1, &value, NULL);
    bool stale = status == YC_OK && !is(value, '2');
    yc_value_free(value);
    return stale;
}

static bool by_get_versioned(yc_cache *cache) {
    yc_value *value = NULL;
    uint64_t version = 0;
    yc_status status = yc_get_versioned(cache, "k", 1, &value, &version, NULL);
    bool stale = status == YC_OK && !is(value, '2');
    yc_value_free(value);
    return stale;
}

static bool by_get_many(yc_cache *cache) {
    yc_slice keys[] = {slice("k"), slice("none")};
    yc_value *values[2] = {NULL, NULL};
    yc_status statuses[2];
    CHECK_STATUS(yc_get_many(cache, keys, 2, values, statuses, NULL), YC_OK);
    bool stale = statuses[0] == YC_OK && !is(values[0], '2');
    CHECK_STATUS(statuses[1], YC_MISS);
    yc_value_free(values[0]);
    return stale;
}

static bool by_get_and_expire(yc_cache *cache) {
    yc_value *value = NULL;
    yc_status status = yc_get_and_expire(cache, "k", 1, LONG_MS, &value, NULL);
    bool stale = status == YC_OK && !is(value, '2');
    yc_value_free(value);
    return stale;
}

static bool by_get_or_lease(yc_cache *cache) {
    yc_value *value;
    yc_lease *lease;
    yc_status status = lease_of(cache, &value, &lease);
    bool stale = (status == YC_OK || status == YC_STALE) && !is(value, '2');
    yc_value_free(value);
    yc_lease_free(lease);
    return stale;
}

/* A counter that is over begins again. */
static bool by_counter_add(yc_cache *cache) {
    int64_t value = 0;
    yc_status status = yc_counter_add(cache, "k", 1, 0, 7, LONG_MS, &value, NULL);
    return status == YC_OK && value == 1;
}

static bool by_copy(yc_cache *cache) {
    yc_cache *target = open_cache("memory://");
    yc_value *report = NULL;
    CHECK_STATUS(yc_migrate(cache, target, "{}", NULL, NULL, NULL, &report, NULL), YC_OK);
    bool stale = by_get(target);
    yc_value_free(report);
    close_cache(target);
    return stale;
}

typedef bool read_fn(yc_cache *cache);

/* A value past its TTL is read; before `command` of the read it is replaced. */
static void check_read(between *proxy, yc_cache *cache, const char *what, read_fn *read, const char *command,
                       void (*change)(yc_cache *)) {
    load(proxy->other, "1", SHORT_MS, STALE_MS);
    sleep_ms(SHORT_MS + 30);
    int made = atomic_load(&proxy->made);
    arm(proxy, command, change);
    if (!CHECK(!read(cache))) printf("  %s served a value that was over, with a set before %s\n", what, command);
    if (!CHECK(atomic_load(&proxy->made) == made + 1)) printf("  %s sent no %s\n", what, command);
    arm(proxy, NULL, NULL);
}

static void check_reads(between *proxy, yc_cache *cache) {
    static const struct {
        const char *name;
        read_fn *read;
    } READS[] = {{"get", by_get},           {"get_versioned", by_get_versioned}, {"get_many", by_get_many},
                 {"get_and_expire", by_get_and_expire}, {"get_or_lease", by_get_or_lease},
                 {"counter_add", by_counter_add},       {"migrate", by_copy}};
    void (*const changes[])(yc_cache *) = {set_new, load_new, remove_old};
    for (size_t at = 0; at < sizeof READS / sizeof *READS; at++) {
        for (size_t change = 0; change < 3; change++) {
            check_read(proxy, cache, READS[at].name, READS[at].read, "PTTL", changes[change]);
        }
    }
}

/* The time of a new value, which includes that in which it may be stale, is not the time of the old one. */
static void check_times(between *proxy, yc_cache *cache) {
    int64_t left = 0;
    CHECK_STATUS(yc_set(proxy->other, "k", 1, "1", 1, 60000, NULL, 0, NULL), YC_OK);
    arm(proxy, "PTTL", load_new);
    CHECK_STATUS(yc_ttl(cache, "k", 1, &left, NULL), YC_OK);
    if (!CHECK(left > 0 && left <= LONG_MS)) printf("  %lld ms\n", (long long)left);
    yc_cache *target = open_cache("memory://");
    yc_value *report = NULL;
    CHECK_STATUS(yc_set(proxy->other, "k", 1, "1", 1, 60000, NULL, 0, NULL), YC_OK);
    arm(proxy, "PTTL", load_new);
    CHECK_STATUS(yc_migrate(cache, target, "{}", NULL, NULL, NULL, &report, NULL), YC_OK);
    CHECK_STATUS(yc_ttl(target, "k", 1, &left, NULL), YC_OK);
    if (!CHECK(left > 0 && left <= LONG_MS)) printf("  %lld ms\n", (long long)left);
    CHECK(!by_get(target));
    yc_value_free(report);
    close_cache(target);
    arm(proxy, NULL, NULL);
}

/* A server that asks for a moment of patience with the first of two commands answers the second. */
static size_t answer_late(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    between *self = data;
    static atomic_int refused;
    if (is_command(words, count, "PTTL") && atomic_fetch_add(&refused, 1) == 0) {
        atomic_fetch_add(&self->made, 1);
        arm(self, "PTTL", set_new);
        return say(out, "-LOADING Redis is loading the dataset in memory\r\n");
    }
    return forward(data, words, count, out);
}

static void check_order(between *proxy, const char *query) {
    scripted *late = scripted_start(NULL, answer_late, proxy);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, scripted_port(late), query));
    load(proxy->other, "1", SHORT_MS, STALE_MS);
    sleep_ms(SHORT_MS + 30);
    int made = atomic_load(&proxy->made);
    CHECK(!by_get(cache));
    CHECK(atomic_load(&proxy->made) == made + 2);
    close_cache(cache);
    scripted_stop(late);
}

/* Only a read that may lease a value whose load was timed asks for the time that is left. */
static void check_commands(between *proxy, const char *query) {
    char with[64];
    snprintf(with, sizeof with, "%s&refresh_ahead=true", query);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, scripted_port(proxy->server), with));
    int made = atomic_load(&proxy->made);
    arm(proxy, "PTTL", set_new);
    CHECK_STATUS(yc_set(cache, "k", 1, "2", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK(!by_get_or_lease(cache) && !by_get(cache));
    CHECK(atomic_load(&proxy->made) == made);
    arm(proxy, NULL, NULL);
    load(cache, "2", 60000, 0);
    arm(proxy, "PTTL", set_new);
    CHECK(!by_get(cache));
    CHECK(atomic_load(&proxy->made) == made);
    CHECK(!by_get_or_lease(cache));
    CHECK(atomic_load(&proxy->made) == made + 1);
    close_cache(cache);
}

/* ---- Changes of the time to live ---- */

/* The commands that change a time to live. */
static const char CHANGE[] = "PEXPIRE|PERSIST|EVALSHA|EVAL";

enum { LEASE_MS = 100, WAIT_MS = 3000 };

/* Deletes the key and takes its lease, which ends by itself. */
static void lease_for_short(yc_cache *cache) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1, .lease_ms = LEASE_MS};
    yc_value *value = NULL;
    CHECK_STATUS(yc_delete(cache, "k", 1, NULL), YC_OK);
    CHECK_STATUS(yc_get_or_lease(cache, "k", 1, &options, &value, &left, NULL), YC_LEASED);
}

/* A key that is leased between the two requests of a call keeps the end of its lease. */
static void check_expired_lease(between *proxy, yc_cache *cache, bool tagged, int64_t ttl_ms) {
    yc_slice tag = slice("t");
    CHECK(yc_delete(proxy->other, "k", 1, NULL) >= 0);
    CHECK_STATUS(yc_set(proxy->other, "k", 1, "1", 1, 60000, &tag, tagged, NULL), YC_OK);
    int made = atomic_load(&proxy->made);
    arm(proxy, CHANGE, lease_for_short);
    CHECK_STATUS(yc_expire(cache, "k", 1, ttl_ms, NULL), YC_MISS);
    CHECK(atomic_load(&proxy->made) == made + 1);
    arm(proxy, NULL, NULL);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = WAIT_MS};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(proxy->other, "k", 1, &options, &value, &lease, NULL), YC_LEASED);
    yc_lease_free(lease);
    yc_lease_free(left);
    left = NULL;
}

/* A value that is loaded between the two requests gets the new time to live, and keeps its stale time behind that. */
static void check_expired_load(between *proxy, yc_cache *cache) {
    int64_t time = 0;
    CHECK_STATUS(yc_set(proxy->other, "k", 1, "1", 1, 60000, NULL, 0, NULL), YC_OK);
    arm(proxy, CHANGE, load_new);
    CHECK_STATUS(yc_expire(cache, "k", 1, STALE_MS / 2, NULL), YC_OK);
    CHECK_STATUS(yc_ttl(cache, "k", 1, &time, NULL), YC_OK);
    if (!CHECK(time > STALE_MS / 2 - 10000 && time <= STALE_MS / 2)) printf("  %lld ms\n", (long long)time);
    arm(proxy, NULL, NULL);
}

/* A key that is removed between the two requests is a miss; one that stays gets the time. */
static void check_expired(between *proxy, yc_cache *cache) {
    int64_t time = 0;
    CHECK_STATUS(yc_set(proxy->other, "k", 1, "1", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_expire(cache, "k", 1, LONG_MS, NULL), YC_OK);
    CHECK_STATUS(yc_ttl(cache, "k", 1, &time, NULL), YC_OK);
    CHECK(time > LONG_MS - 10000 && time <= LONG_MS);
    CHECK_STATUS(yc_expire(cache, "k", 1, YC_TTL_NEVER, NULL), YC_OK);
    CHECK_STATUS(yc_ttl(cache, "k", 1, &time, NULL), YC_OK);
    CHECK(time == -1);
    arm(proxy, CHANGE, remove_any);
    CHECK_STATUS(yc_expire(cache, "k", 1, LONG_MS, NULL), YC_MISS);
    arm(proxy, NULL, NULL);
}

int main(void) {
    const char *const none[] = {NULL}, query[] = "key_prefix=b";
    server redis;
    between proxy = {.lock = PTHREAD_MUTEX_INITIALIZER};
    server_start(&redis, SERVER_REDIS, none);
    proxy.connection = connect_to(redis.port);
    proxy.other = open_cache(url_of(SERVER_REDIS, redis.port, query));
    scripted *server = scripted_start(NULL, forward, &proxy);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, scripted_port(server), query));
    check_reads(&proxy, cache);
    check_times(&proxy, cache);
    for (int tagged = 0; tagged < 2; tagged++) {
        check_expired_lease(&proxy, cache, tagged, LONG_MS);
        check_expired_lease(&proxy, cache, tagged, YC_TTL_NEVER);
    }
    check_expired_load(&proxy, cache);
    check_expired(&proxy, cache);
    check_order(&proxy, query);
    proxy.server = server;
    check_commands(&proxy, query);
    close_cache(cache);
    close_cache(proxy.other);
    scripted_stop(server);
    close(proxy.connection);
    server_stop(&redis);
    return check_result();
}
