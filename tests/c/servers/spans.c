/* Spans of calls with a server: its name, copies of a near cache, a fallback, and a queue. The argument is redis or
   memcached. */
#include "../calls.h"
#include "server.h"

enum { MOST = 64 };

typedef struct journal {
    atomic_uint begins, ends;
    int32_t kinds[MOST];
    yc_status statuses[MOST];
    uint32_t flags[MOST];
    uint64_t bytes[MOST], user_data[MOST];
    char servers[MOST][32], backends[MOST][16];
} journal;

static void copy_text(char *to, size_t room, yc_slice text) {
    snprintf(to, room, "%.*s", (int)text.len, text.len ? (const char *)text.data : "");
}

static void on_span(void *data, int32_t phase, const yc_span *span) {
    journal *log = data;
    CHECK(span->key.len == 0);
    if (phase == YC_SPAN_BEGIN) {
        atomic_fetch_add(&log->begins, 1);
        return;
    }
    unsigned at = atomic_fetch_add(&log->ends, 1) % MOST;
    log->kinds[at] = span->kind;
    log->statuses[at] = span->status;
    log->flags[at] = span->flags;
    log->bytes[at] = span->bytes;
    log->user_data[at] = span->user_data;
    copy_text(log->servers[at], sizeof *log->servers, span->server);
    copy_text(log->backends[at], sizeof *log->backends, span->backend);
}

static yc_cache *traced(const char *url, journal *log) {
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(yc_set_trace(cache, NULL, on_span, log, NULL, NULL), YC_OK);
    return cache;
}

static void check_span(const journal *log, unsigned at, int32_t kind, yc_status status, uint64_t bytes, uint32_t flags) {
    if (!CHECK(atomic_load(&log->ends) == at + 1 && atomic_load(&log->begins) == at + 1)) return;
    if (!CHECK(log->kinds[at] == kind && log->statuses[at] == status && log->bytes[at] == bytes && log->flags[at] == flags))
        printf("  span %u: kind %d, %s, %llu bytes, flags %u\n", at, log->kinds[at], yc_status_name(log->statuses[at]),
               (unsigned long long)log->bytes[at], log->flags[at]);
}

static yc_status get(yc_cache *cache, const char *key) {
    char buffer[16];
    size_t len;
    return yc_get_into(cache, key, strlen(key), buffer, sizeof buffer, &len, NULL);
}

static void check_server(server *on) {
    journal log = {.begins = 0};
    char name[32];
    snprintf(name, sizeof name, "127.0.0.1:%d", on->port);
    yc_cache *cache = traced(server_url(on, "key_prefix=spans"), &log);
    CHECK_STATUS(yc_set(cache, "a", 1, "value", 5, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    check_span(&log, 0, YC_OP_SET, YC_OK, 5, 0);
    CHECK_STATUS(get(cache, "a"), YC_OK);
    check_span(&log, 1, YC_OP_GET, YC_OK, 5, 0);
    CHECK_STATUS(get(cache, "b"), YC_MISS);
    check_span(&log, 2, YC_OP_GET, YC_MISS, 0, 0);
    CHECK_STATUS(yc_ping(cache, NULL), YC_OK);
    check_span(&log, 3, YC_OP_PING, YC_OK, 0, 0);
    for (int at = 0; at < 4; at++)
        if (!CHECK(strstr(log.servers[at], name) != NULL)) printf("  %s\n", log.servers[at]);
    CHECK(!strcmp(log.backends[0], on->kind == SERVER_REDIS ? "redis" : "memcached"));
    close_cache(cache);
}

/* Operations of a queue keep their spans, also if they run as one request. */
static void check_queue(server *on) {
    enum { GETS = 10 };
    journal log = {.begins = 0};
    yc_op ops[GETS];
    yc_completion done;
    yc_queue *queue = NULL;
    size_t accepted, count;
    yc_cache *cache = traced(server_url(on, "key_prefix=spans"), &log);
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    memset(ops, 0, sizeof ops);
    for (uint64_t at = 0; at < GETS; at++) {
        ops[at].kind = YC_OP_GET;
        ops[at].key = at % 2 ? "a" : "b", ops[at].key_len = 1;
        ops[at].user_data = at;
    }
    CHECK_STATUS(yc_queue_submit(queue, ops, GETS, sizeof *ops, NULL, &accepted, NULL), YC_OK);
    CHECK(atomic_load(&log.begins) == GETS && atomic_load(&log.ends) == 0);
    for (unsigned at = 0; at < GETS; at++) {
        CHECK_STATUS(yc_queue_wait(queue, &done, 1, sizeof done, 20000, &count, NULL), YC_OK);
        CHECK(atomic_load(&log.ends) == at + 1 && log.user_data[at] == done.user_data && log.statuses[at] == done.status);
        CHECK(log.statuses[at] == (done.user_data % 2 ? YC_OK : YC_MISS));
        yc_completion_clear(&done);
    }
    yc_queue_free(queue);
    close_cache(cache);
}

static void check_near(server *on) {
    journal log = {.begins = 0};
    yc_cache *cache = traced(server_url(on, "key_prefix=spans&near=10s"), &log), *view = NULL;
    CHECK_STATUS(yc_view(cache, "{timeout: 5s}", &view, NULL), YC_OK);
    CHECK_STATUS(get(cache, "a"), YC_OK);
    check_span(&log, 0, YC_OP_GET, YC_OK, 5, 0);
    CHECK_STATUS(get(cache, "a"), YC_OK);
    check_span(&log, 1, YC_OP_GET, YC_OK, 5, YC_SPAN_NEAR);
    CHECK_STATUS(get(view, "a"), YC_OK);
    check_span(&log, 2, YC_OP_GET, YC_OK, 5, YC_SPAN_NEAR);
    yc_slice key = slice("a");
    yc_value *value;
    CHECK_STATUS(yc_get_many(cache, &key, 1, &value, NULL, NULL), YC_OK);
    check_span(&log, 3, YC_OP_GET_MANY, YC_OK, 5, YC_SPAN_NEAR);
    yc_value_free(value);
    yc_cache_free(view);
    close_cache(cache);
}

static void check_fallback(server *on) {
    journal log = {.begins = 0};
    yc_cache *cache = traced(
        server_url(on, "key_prefix=spans&fallback=memory&socket_timeout=300ms&socket_connect_timeout=300ms"), &log);
    CHECK_STATUS(get(cache, "a"), YC_OK);
    check_span(&log, 0, YC_OP_GET, YC_OK, 5, 0);
    server_kill(on);
    CHECK_STATUS(get(cache, "a"), YC_MISS);
    check_span(&log, 1, YC_OP_GET, YC_MISS, 0, YC_SPAN_FALLBACK);
    CHECK_STATUS(get(cache, "a"), YC_MISS);
    check_span(&log, 2, YC_OP_GET, YC_MISS, 0, YC_SPAN_FALLBACK);
    close_cache(cache);

    /* Without a fallback the failure is the outcome. */
    journal failures = {.begins = 0};
    server_restart(on);
    cache = traced(server_url(on, "key_prefix=spans&socket_timeout=300ms&socket_connect_timeout=300ms"), &failures);
    server_kill(on);
    CHECK_STATUS(get(cache, "a"), YC_E_CONNECT);
    check_span(&failures, 0, YC_OP_GET, YC_E_CONNECT, 0, 0);
    close_cache(cache);
}

int main(int count, char **arguments) {
    server on;
    server_start(&on, count > 1 && !strcmp(arguments[1], "memcached") ? SERVER_MEMCACHED : SERVER_REDIS, NULL);
    check_server(&on);
    check_queue(&on);
    check_near(&on);
    check_fallback(&on);
    server_stop(&on);
    return check_result();
}
