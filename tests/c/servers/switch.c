/* A backend replaced under load: no call fails; with a copy nothing is missed, and nothing old comes back. */
#include "numbered.h"
#include "server.h"

#include <pthread.h>

enum { WORKERS = 16, KEYS = 20, KEPT = 500, SETTLE_MS = 150 };

static atomic_bool ends, may_miss;

/* ---- Under load ---- */

typedef struct worker {
    pthread_t thread;
    yc_cache *cache;
    int number;
    unsigned rounds;
} worker;

static void check_get(yc_cache *cache, const char *key, const char *wanted) {
    char found[64];
    size_t len = 0;
    yc_error *error = NULL;
    yc_status status = yc_get_into(cache, key, strlen(key), found, sizeof found, &len, &error);
    if (!CHECK(status >= 0)) printf("  %s: %s\n", key, yc_error_message(error));
    yc_error_free(error);
    bool right = status == YC_OK ? wanted && len == strlen(wanted) && !memcmp(found, wanted, len)
                                 : !wanted || atomic_load(&may_miss);
    if (!CHECK(right)) printf("  %s: wanted %s, came %.*s\n", key, wanted ? wanted : "nothing", (int)len, status ? "" : found);
}

/* Keys that are this thread's alone: what it set last is what it reads. */
static void *hammer(void *argument) {
    worker *self = argument;
    char key[64], value[64], tag[64];
    sprintf(tag, "tag-%d", self->number);
    yc_slice tags = slice(tag);
    for (; !atomic_load(&ends); self->rounds++) {
        sprintf(key, "key-%d-%u", self->number, self->rounds % KEYS);
        sprintf(value, "value-%u", self->rounds);
        CHECK(yc_set(self->cache, key, strlen(key), value, strlen(value), YC_TTL_NEVER, &tags, 1, NULL) >= 0);
        check_get(self->cache, key, value);
        if (self->rounds % 7 == 0) {
            CHECK(yc_invalidate_tag(self->cache, tag, strlen(tag), NULL, NULL) >= 0);
            check_get(self->cache, key, NULL);
        } else if (self->rounds % 7 == 1) {
            CHECK(yc_delete(self->cache, key, strlen(key), NULL) >= 0);
            check_get(self->cache, key, NULL);
        }
    }
    return NULL;
}

static void switch_to(yc_cache *cache, const char *config, const char *options) {
    yc_value *report = NULL;
    yc_error *error = NULL;
    size_t len = 0;
    double begun = now_ms();
    if (!CHECK_STATUS(yc_switch(cache, config, options, &report, &error), YC_OK)) printf("  %s\n", yc_error_message(error));
    const char *text = yc_value_data(report, &len);
    printf("  %.0f ms: %.*s\n", now_ms() - begun, (int)len, text);
    yc_error_free(error);
    yc_value_free(report);
}

/* ---- What is copied ---- */

static void set_kept(yc_cache *cache) {
    yc_slice tag = slice("kept");
    char key[32];
    for (int at = 0; at < KEPT; at++) {
        sprintf(key, "kept-%d", at);
        CHECK_STATUS(yc_set(cache, key, strlen(key), key, strlen(key), at % 2 ? 600000 : YC_TTL_NEVER, &tag, at % 3 == 0, NULL), YC_OK);
    }
}

static void check_kept(yc_cache *cache) {
    char key[32];
    int64_t left = 0;
    for (int at = 0; at < KEPT; at++) {
        sprintf(key, "kept-%d", at);
        check_get(cache, key, key);
        CHECK_STATUS(yc_ttl(cache, key, strlen(key), &left, NULL), YC_OK);
        CHECK(at % 2 ? left > 540000 && left <= 600000 : left == -1);
    }
}

static void check_kept_tags(yc_cache *cache) {
    char key[32];
    CHECK_STATUS(yc_invalidate_tag(cache, "kept", 4, NULL, NULL), YC_OK);
    for (int at = 0; at < KEPT; at++) {
        sprintf(key, "kept-%d", at);
        CHECK_STATUS(yc_exists(cache, key, strlen(key), NULL), at % 3 == 0 ? YC_MISS : YC_OK);
    }
}

/* ---- What is refused ---- */

static void check_refusals(yc_cache *cache, const char *reachable) {
    CHECK_CALL(yc_switch(cache, "redis://127.0.0.1:1?socket_connect_timeout=300ms", NULL, NULL, err), YC_E_CONNECT);
    CHECK_CALL(yc_switch(cache, "memory://?max_sice=1", NULL, NULL, err), YC_E_CONFIG);
    CHECK_CALL(yc_switch(cache, reachable, "{coppy: true}", NULL, err), YC_E_CONFIG);
    CHECK_CALL(yc_switch(cache, reachable, "copy", NULL, err), YC_E_CONFIG);
    CHECK_CALL(yc_switch(cache, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_switch(NULL, reachable, NULL, NULL, err), YC_E_INVALID);
    check_get(cache, "kept-1", "kept-1");
}

/* A listing that is under way continues, with the new backend's keys. */
static void check_listing(yc_cache *cache, const char *config) {
    yc_cursor *cursor = NULL;
    yc_keys *keys = NULL;
    size_t count = 0, listed = 0;
    yc_status status = YC_OK;
    CHECK_STATUS(yc_keys_open(cache, "kept-*", 6, &cursor, NULL), YC_OK);
    for (int page = 0; (status = yc_keys_next(cursor, 100, &keys, NULL)) == YC_OK; page++) {
        yc_keys_data(keys, &count);
        listed += count;
        yc_keys_free(keys);
        if (page == 2) switch_to(cache, config, "{copy: true}");
    }
    CHECK(status == YC_END);
    yc_cursor_free(cursor);
    CHECK(listed >= KEPT && listed <= KEPT + 3 * 512);
}

/* A close ends a switch that takes long. */
static void *switch_slowly(void *cache) {
    yc_status status = yc_switch(cache, "memory://?max_size=100000", "{copy: true, rate: 100}", NULL, NULL);
    CHECK_ONE_OF(status, YC_E_CLOSED, YC_OK);
    return NULL;
}

static void check_close_beside_a_switch(void) {
    yc_cache *cache = open_cache("memory://?max_size=100000");
    pthread_t thread;
    set_kept(cache);
    pthread_create(&thread, NULL, switch_slowly, cache);
    sleep_ms(50);
    CHECK_CALL(yc_switch(cache, "memory://", NULL, NULL, err), YC_E_BUSY);
    double begun = now_ms();
    yc_status status = yc_close(cache, 10000, NULL);
    CHECK(status == YC_OK && now_ms() - begun < 10000);
    pthread_join(thread, NULL);
    CHECK_STATUS(yc_exists(cache, "a", 1, NULL), YC_E_CLOSED);
    CHECK_CALL(yc_switch(cache, "memory://", NULL, NULL, err), YC_E_CLOSED);
    CHECK_CALL(yc_migrate(cache, cache, NULL, NULL, NULL, NULL, NULL, err), YC_E_CLOSED);
    yc_cache_free(cache);
}

int main(void) {
    static const char *const roomy[] = {"-m", "256", NULL};
    server redis, memcached;
    worker workers[WORKERS];
    char redis_url[MAX_SERVER_URL], memcached_url[MAX_SERVER_URL];
    server_start(&redis, SERVER_REDIS, NULL);
    server_start(&memcached, SERVER_MEMCACHED, roomy);
    strcpy(redis_url, server_url(&redis, "socket_timeout=10s&key_prefix=switch"));
    strcpy(memcached_url, server_url(&memcached, "socket_timeout=10s&key_prefix=switch"));
    int threads = settled_threads(), files = count_files();
    yc_cache *cache = open_cache("memory://?max_size=100000");
    set_kept(cache);
    for (int at = 0; at < WORKERS; at++) {
        workers[at] = (worker){.cache = cache, .number = at};
        pthread_create(&workers[at].thread, NULL, hammer, &workers[at]);
    }
    const char *const stations[] = {redis_url, memcached_url, "memory://?max_size=100000", memcached_url, redis_url};
    for (size_t at = 0; at < sizeof stations / sizeof *stations; at++) {
        sleep_ms(SETTLE_MS);
        switch_to(cache, stations[at], "{copy: true}");
        check_kept(cache);
    }
    check_refusals(cache, memcached_url);
    check_listing(cache, "memory://?max_size=100000");
    atomic_store(&may_miss, true);
    switch_to(cache, "memory://?max_size=200000", NULL);
    sleep_ms(SETTLE_MS);
    atomic_store(&ends, true);
    unsigned rounds = 0;
    for (int at = 0; at < WORKERS; at++) {
        pthread_join(workers[at].thread, NULL);
        rounds += workers[at].rounds;
    }
    printf("  %u rounds\n", rounds);
    atomic_store(&may_miss, false);
    set_kept(cache);
    switch_to(cache, redis_url, "{copy: true}");
    check_kept(cache);
    check_kept_tags(cache);
    close_cache(cache);
    CHECK(threads_are(threads) && count_files() == files);
    check_close_beside_a_switch();
    CHECK(threads_are(threads) && count_files() == files);
    server_stop(&redis);
    server_stop(&memcached);
    return check_result();
}
