/* Entries that go from memory to Redis to Memcached and back to memory: bytes, times to live and tags arrive, also
   during writes, and a run that was stopped continues. migrate [COUNT] */
#include "numbered.h"
#include "server.h"

#include <pthread.h>
#include <unistd.h>

/* A server may take the time to live in whole seconds of its own clock, twice on the way. */
enum { TAGS = 10, DRIFT_MS = 2000, HOUR_MS = 3600000 };

static int count = 100000;

/* ---- Entries whose all follows from their number ---- */

static size_t key_of(char *key, int at) {
    size_t len = (size_t)sprintf(key, "entry:%d", at);
    if (at % 50 == 0) memcpy(key + len, "\0 \r\n", 4), len += 4;
    return len;
}

static size_t value_of(char *value, int at) {
    size_t len = (size_t)(at % 200);
    for (size_t byte = 0; byte < len; byte++) value[byte] = (char)(at * 31 + (int)byte * 7);
    return len;
}

static int64_t ttl_of(int at) { return at % 4 == 0 ? YC_TTL_NEVER : HOUR_MS + at; }

static const char *tag_of(int at) {
    static _Thread_local char tag[16];
    sprintf(tag, "tag-%d", at % TAGS);
    return tag;
}

static void set_entry(yc_cache *cache, int at) {
    char key[64], value[256];
    const char *tag = tag_of(at);
    yc_slice tags = {tag, strlen(tag)};
    size_t key_len = key_of(key, at), value_len = value_of(value, at);
    CHECK_STATUS(yc_set(cache, key, key_len, value, value_len, ttl_of(at), &tags, at % 3 == 0, NULL), YC_OK);
}

/* Written by others while the migration runs: theirs stays. */
static bool is_live(int at) { return at % 100 == 7; }

/* Set between these two moments, an entry has at least and at most so much of its time left. */
static void check_ttl(yc_cache *cache, int at, double set_begun, double set_ended) {
    char key[64];
    int64_t left = 0;
    size_t key_len = key_of(key, at);
    double asked = now_ms();
    CHECK_STATUS(yc_ttl(cache, key, key_len, &left, NULL), YC_OK);
    int64_t least = ttl_of(at) - (int64_t)(now_ms() - set_begun), most = ttl_of(at) - (int64_t)(asked - set_ended);
    bool right = ttl_of(at) == YC_TTL_NEVER ? left == -1 : left > least - DRIFT_MS && left < most + DRIFT_MS;
    if (!CHECK(right)) printf("  %d: %lld of %lld to %lld\n", at, (long long)left, (long long)least, (long long)most);
}

static void check_entry(yc_cache *cache, int at, bool beside_writers, double set_begun, double set_ended) {
    char key[64], value[256], found[256];
    size_t key_len = key_of(key, at), value_len = value_of(value, at), len = 0;
    if (beside_writers && is_live(at)) value_len = (size_t)sprintf(value, "live %d", at);
    if (!CHECK_STATUS(yc_get_into(cache, key, key_len, found, sizeof found, &len, NULL), YC_OK)) return;
    CHECK(len == value_len && memcmp(found, value, len) == 0);
    if (beside_writers && is_live(at)) return;
    check_ttl(cache, at, set_begun, set_ended);
}

static void check_tags(yc_cache *cache) {
    char key[64];
    CHECK_STATUS(yc_invalidate_tag(cache, tag_of(3), strlen(tag_of(3)), NULL, NULL), YC_OK);
    for (int at = 3; at < count; at += 997) {
        bool is_tagged = at % 3 == 0 && at % TAGS == 3;
        CHECK_STATUS(yc_exists(cache, key, key_of(key, at), NULL), is_tagged ? YC_MISS : YC_OK);
    }
    for (int at = 3; at < count; at += 30) CHECK_STATUS(yc_exists(cache, key, key_of(key, at), NULL), YC_MISS);
}

/* ---- A migration ---- */

static void migrate(yc_cache *source, yc_cache *target, const char *options, const char *wanted) {
    yc_value *report = NULL;
    yc_error *error = NULL;
    size_t len = 0;
    double begun = now_ms();
    if (!CHECK_STATUS(yc_migrate(source, target, options, NULL, NULL, NULL, &report, &error), YC_OK)) printf("  %s\n", yc_error_message(error));
    const char *text = yc_value_data(report, &len);
    printf("  %.0f ms: %.*s\n", now_ms() - begun, (int)len, text);
    CHECK(report && memmem(text, len, wanted, strlen(wanted)));
    CHECK(report && memmem(text, len, "\"failed\":0", 10));
    yc_value_free(report);
    yc_error_free(error);
}

typedef struct writer {
    pthread_t thread;
    yc_cache *target;
} writer;

static void *write_live(void *argument) {
    writer *self = argument;
    char key[64], value[64];
    for (int at = 7; at < count; at += 100) {
        size_t len = (size_t)sprintf(value, "live %d", at);
        CHECK_STATUS(yc_set(self->target, key, key_of(key, at), value, len, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    }
    return NULL;
}

static void migrate_beside_writers(yc_cache *source, yc_cache *target) {
    writer concurrent = {.target = target};
    pthread_create(&concurrent.thread, NULL, write_live, &concurrent);
    migrate(source, target, NULL, "\"complete\":true");
    pthread_join(concurrent.thread, NULL);
}

/* ---- Stopped, and resumed ---- */

/* The number of keys that a listing returns. yc_size() is an estimate on servers. */
static size_t listed_keys(yc_cache *cache) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    size_t listed = 0, len = 0;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    while (yc_keys_next(cursor, 10000, &page, NULL) == YC_OK) {
        yc_keys_data(page, &len);
        listed += len;
        yc_keys_free(page);
    }
    yc_cursor_free(cursor);
    return listed;
}

typedef struct stopping {
    uint64_t after, copied;
    char resume[64];
    int calls, finalised;
} stopping;

static int32_t stop_after(void *data, const yc_progress *progress) {
    stopping *self = data;
    CHECK(progress->struct_size == sizeof *progress && progress->examined == progress->copied + progress->skipped + progress->failed);
    self->calls++;
    self->copied = progress->copied;
    snprintf(self->resume, sizeof self->resume, "%s", progress->resume ? progress->resume : "");
    return progress->examined >= self->after;
}

static void finalise(void *data) { ((stopping *)data)->finalised++; }

static void check_resumed(yc_cache *source, yc_cache *target) {
    stopping stop = {.after = (uint64_t)count / 2};
    char options[128];
    migrate(source, target, "{dry_run: true}", "\"dry_run\":true");
    CHECK_STATUS(yc_flush(target, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_migrate(source, target, NULL, stop_after, &stop, finalise, NULL, NULL), YC_OK);
    CHECK(stop.finalised == 1 && stop.calls > 1 && stop.resume[0] && stop.copied < (uint64_t)count);
    sprintf(options, "{resume: '%s'}", stop.resume);
    migrate(source, target, options, "\"complete\":true");
    CHECK(listed_keys(target) >= (size_t)count);
    migrate(source, target, "{pattern: 'entry:1?', rate: 1000000}", "\"examined\":10,");
}

/* ---- What is refused ---- */

static void check_refusals(yc_cache *cache, yc_cache *same_store, yc_cache *other) {
    CHECK_CALL(yc_migrate(cache, cache, NULL, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_migrate(cache, same_store, NULL, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_migrate(cache, NULL, NULL, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_migrate(NULL, other, NULL, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_migrate(cache, other, "{rate: -1}", NULL, NULL, NULL, NULL, err), YC_E_CONFIG);
    CHECK_CALL(yc_migrate(cache, other, "{speed: 1}", NULL, NULL, NULL, NULL, err), YC_E_CONFIG);
    CHECK_CALL(yc_migrate(cache, other, "{resume: elsewhere}", NULL, NULL, NULL, NULL, err), YC_E_INVALID);
}

static void check_dead_target(yc_cache *source) {
    server dead;
    server_start(&dead, SERVER_REDIS, NULL);
    yc_cache *target = open_cache(server_url(&dead, "socket_timeout=300ms&socket_connect_timeout=300ms"));
    server_kill(&dead);
    double begun = now_ms();
    CHECK_CALL(yc_migrate(source, target, NULL, NULL, NULL, NULL, NULL, err), YC_E_CONNECT);
    CHECK(now_ms() - begun < 20000);
    close_cache(target);
    server_stop(&dead);
}

/* A close ends a migration that takes long. */
static void *migrate_slowly(void *caches) {
    yc_cache *const *both = caches;
    CHECK_CALL(yc_migrate(both[0], both[1], "{rate: 1000}", NULL, NULL, NULL, NULL, err), YC_E_CLOSED);
    return NULL;
}

static void check_close_beside_a_migration(bool closes_target) {
    pthread_t thread;
    yc_cache *both[] = {open_cache("memory://?max_size=1000000"), open_cache("memory://?max_size=1000000")};
    for (int at = 0; at < 20000; at++) set_entry(both[0], at);
    pthread_create(&thread, NULL, migrate_slowly, both);
    sleep_ms(50);
    double begun = now_ms();
    CHECK_STATUS(yc_close(both[closes_target], -1, NULL), YC_OK);
    pthread_join(thread, NULL);
    CHECK(now_ms() - begun < 5000);
    close_cache(both[!closes_target]);
    yc_cache_free(both[closes_target]);
}

int main(int argc, char **argv) {
    static const char *const roomy[] = {"-m", "512", NULL};
    server redis, memcached;
    if (argc > 1) count = atoi(argv[1]);
    server_start(&redis, SERVER_REDIS, NULL);
    server_start(&memcached, SERVER_MEMCACHED, roomy);
    const char *query = "socket_timeout=10s&key_prefix=migrate";
    yc_cache *first = open_cache("memory://?max_size=1000000"), *last = open_cache("memory://?max_size=1000000");
    yc_cache *in_redis = open_cache(server_url(&redis, query)), *in_memcached = open_cache(server_url(&memcached, query));
    yc_cache *again = open_cache(server_url(&redis, query));
    double begun = now_ms();
    for (int at = 0; at < count; at++) set_entry(first, at);
    double set = now_ms();
    migrate_beside_writers(first, in_redis);
    migrate(in_redis, in_memcached, NULL, "\"complete\":true");
    migrate(in_memcached, last, NULL, "\"complete\":true");
    for (int at = 0; at < count; at++) check_entry(last, at, true, begun, set);
    check_tags(last);
    check_tags(in_redis);
    check_tags(in_memcached);
    check_resumed(first, in_redis);
    check_refusals(in_redis, again, first);
    check_dead_target(first);
    check_close_beside_a_migration(false);
    check_close_beside_a_migration(true);
    yc_cache *const all[] = {first, in_redis, in_memcached, last, again};
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) close_cache(all[at]);
    server_stop(&redis);
    server_stop(&memcached);
    return check_result();
}
