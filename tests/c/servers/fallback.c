/* A second backend while the first is away: no call fails, nothing is read that was invalidated, and soon the first serves
   again. fallback redis|memcached */
#include "numbered.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>

enum { WORKERS = 4, CYCLES = 5, DEADLINE_MS = 500, RETURN_MS = 2000, AWAY_MS = 700 };

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=fallback&fallback=memory&connect=%s";

static const char *url(const server *of, const char *connect) {
    static char options[256];
    snprintf(options, sizeof options, OPTIONS, connect);
    return server_url(of, options);
}

/* ---- What a report says ---- */

static bool report_has(yc_status (*report)(yc_cache *, yc_value **, yc_error **), yc_cache *cache, const char *text) {
    yc_value *json = NULL;
    size_t len;
    if (!CHECK_STATUS(report(cache, &json, NULL), YC_OK)) return false;
    const char *data = yc_value_data(json, &len);
    bool found = memmem(data, len, text, strlen(text)) != NULL;
    yc_value_free(json);
    return found;
}

static bool is_active(yc_cache *cache) { return report_has(yc_stats, cache, "\"active\":true"); }

static bool comes_back(yc_cache *cache) {
    double begun = now_ms();
    while (is_active(cache) && now_ms() - begun < RETURN_MS) sleep_ms(5);
    bool back = CHECK(!is_active(cache));
    printf("  back after %.0f ms\n", now_ms() - begun);
    return back;
}

/* ---- Under load ---- */

typedef struct worker {
    pthread_t thread;
    yc_cache *cache;
    int number;
    atomic_bool *ends;
    unsigned rounds, hits;
} worker;

static char *text_of(char *text, const char *name, int number, unsigned round) {
    sprintf(text, "%s-%d-%u", name, number, round);
    return text;
}

/* No call may fail, and a hit has to be what was set last. */
static yc_status read_key(worker *self, const char *key, const char *wanted) {
    char found[64];
    size_t len = 0;
    yc_error *error = NULL;
    yc_status status = yc_get_into(self->cache, key, strlen(key), found, sizeof found, &len, &error);
    if (!CHECK(status >= 0)) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
    if (status == YC_OK && !CHECK(wanted && len == strlen(wanted) && memcmp(found, wanted, len) == 0)) {
        printf("  %s: wanted %s, came %.*s\n", key, wanted ? wanted : "nothing", (int)len, found);
    }
    return status;
}

static void invalidate_somehow(worker *self, const char *key, const char *tag) {
    switch (self->rounds % 3) {
        case 0: CHECK(yc_invalidate_tag(self->cache, tag, strlen(tag), NULL, NULL) >= 0); break;
        case 1: CHECK(yc_delete(self->cache, key, strlen(key), NULL) >= 0); break;
        default: CHECK(yc_invalidate_pattern(self->cache, key, strlen(key), NULL, NULL) >= 0);
    }
}

static void *work(void *argument) {
    worker *self = argument;
    char key[64], tag[64], value[64];
    text_of(tag, "tag", self->number, 0);
    for (; !atomic_load(self->ends); self->rounds++) {
        yc_slice tags = slice(tag);
        text_of(key, "key", self->number, self->rounds % 10);
        text_of(value, "value", self->number, self->rounds);
        CHECK(yc_set(self->cache, key, strlen(key), value, strlen(value), YC_TTL_NEVER, &tags, 1, NULL) >= 0);
        self->hits += read_key(self, key, value) == YC_OK;
        invalidate_somehow(self, key, tag);
        read_key(self, key, NULL);
    }
    return NULL;
}

static void start_workers(worker *workers, yc_cache *cache, atomic_bool *ends) {
    for (int at = 0; at < WORKERS; at++) {
        workers[at] = (worker){.cache = cache, .number = at, .ends = ends};
        pthread_create(&workers[at].thread, NULL, work, &workers[at]);
    }
}

static void stop_workers(worker *workers, atomic_bool *ends) {
    unsigned rounds = 0, hits = 0;
    atomic_store(ends, true);
    for (int at = 0; at < WORKERS; at++) {
        pthread_join(workers[at].thread, NULL);
        rounds += workers[at].rounds;
        hits += workers[at].hits;
    }
    printf("  %u rounds, %u hits\n", rounds, hits);
    CHECK(hits > rounds / 2);
}

static void goes_and_returns(server *of, yc_cache *cache, bool dies) {
    if (dies) server_kill(of);
    else server_signal(of, SIGSTOP);
    sleep_ms(AWAY_MS);
    CHECK(is_active(cache));
    CHECK(report_has(yc_health, cache, "\"status\":\"degraded\""));
    if (dies) server_restart(of);
    else server_signal(of, SIGCONT);
    comes_back(cache);
    CHECK(report_has(yc_health, cache, "\"status\":\"healthy\""));
}

/* What is there before it goes, and is invalidated while it is away, is not there afterwards. */
static void check_old_entries(server *of, yc_cache *cache) {
    yc_slice tag = slice("old");
    uint64_t removed = 0;
    for (int at = 0; at < 4; at++) {
        char key[2] = {(char)('a' + at), 0};
        CHECK_STATUS(yc_set(cache, key, 1, "old", 3, YC_TTL_NEVER, at ? NULL : &tag, at ? 0 : 1, NULL), YC_OK);
    }
    server_signal(of, SIGSTOP);
    moment begun = moment_now();
    CHECK_STATUS(yc_exists(cache, "a", 1, NULL), YC_MISS);
    in_time(begun, DEADLINE_MS);
    begun = moment_now();
    CHECK_STATUS(yc_invalidate_tag(cache, "old", 3, &removed, NULL), YC_OK);
    in_time(begun, 0);
    CHECK(removed == YC_COUNT_UNKNOWN);
    CHECK_STATUS(yc_set(cache, "b", 1, "new", 3, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_delete(cache, "c", 1, NULL), YC_MISS);
    server_signal(of, SIGCONT);
    comes_back(cache);
    for (int at = 0; at < 3; at++) CHECK_STATUS(yc_exists(cache, (char[]){(char)('a' + at)}, 1, NULL), YC_MISS);
    CHECK_STATUS(yc_exists(cache, "d", 1, NULL), YC_OK);
}

/* A caller's mistake is the caller's, and the backend continues to serve. */
static void check_mistakes(yc_cache *cache) {
    CHECK_CALL(yc_set(cache, "", 0, "v", 1, YC_TTL_NEVER, NULL, 0, err), YC_E_INVALID);
    char *large = filled('x', (8 << 20) + 1);
    CHECK_CALL(yc_set(cache, "k", 1, large, (8 << 20) + 1, YC_TTL_NEVER, NULL, 0, err), YC_E_TOO_LARGE);
    free(large);
    yc_status status = yc_set(cache, "k", 1, "v", 1, INT64_MAX, NULL, 0, NULL);
    CHECK_ONE_OF(status, YC_OK, YC_E_INVALID, YC_E_SERVER);
    CHECK(!is_active(cache));
}

static void check_load(server_kind kind) {
    static const char *const keeps[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    server of;
    worker workers[WORKERS];
    atomic_bool ends = false;
    server_start(&of, kind, kind == SERVER_REDIS ? keeps : NULL);
    yc_cache *cache = open_cache(url(&of, "eager"));
    check_mistakes(cache);
    start_workers(workers, cache, &ends);
    for (int cycle = 0; cycle < CYCLES; cycle++) goes_and_returns(&of, cache, cycle % 2);
    stop_workers(workers, &ends);
    check_old_entries(&of, cache);
    close_cache(cache);
    server_stop(&of);
}

/* ---- From the beginning ---- */

static void check_opened_while_away(server_kind kind) {
    server of;
    server_start(&of, kind, NULL);
    server_kill(&of);
    int threads = settled_threads(), files = count_files();
    yc_cache *cache = open_cache(url(&of, "eager"));
    CHECK_STATUS(yc_set(cache, "a", 1, "1", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    CHECK(is_active(cache));
    CHECK_STATUS(yc_exists(cache, "a", 1, NULL), YC_OK);
    close_cache(cache);
    CHECK(threads_are(threads) && count_files() == files);
    cache = open_cache(url(&of, "lazy"));
    CHECK_STATUS(yc_exists(cache, "a", 1, NULL), YC_MISS);
    server_restart(&of);
    comes_back(cache);
    CHECK_STATUS(yc_set(cache, "a", 1, "1", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    close_cache(cache);
    server_stop(&of);
}

int main(int argc, char **argv) {
    server_kind kind = argc > 1 && strcmp(argv[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    check_load(kind);
    check_opened_while_away(kind);
    return check_result();
}
