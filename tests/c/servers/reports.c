/* What a cache tells of itself while servers fail: which is down, what is still known, and never a secret.
   reports redis|memcached */
#include "numbered.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>

#define CANARY "c4n4ry-s3cret"

enum { SERVERS = 3, NUMBERS = 50, DEADLINE_MS = 500, RECOVERY_MS = 3000 };

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=reports";

typedef yc_status report_fn(yc_cache *, yc_value **, yc_error **);

/* A report as text, to be freed, made in time. */
static char *report_of(report_fn *ask, yc_cache *cache) {
    yc_value *report = NULL;
    size_t len;
    moment begun = moment_now();
    CHECK_STATUS(ask(cache, &report, NULL), YC_OK);
    in_time(begun, DEADLINE_MS);
    const char *data = yc_value_data(report, &len);
    char *text = strndup(data ? data : "", len);
    yc_value_free(report);
    CHECK(strstr(text, CANARY) == NULL);
    return text;
}

static unsigned times_in(const char *text, const char *part) {
    unsigned times = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) times++;
    return times;
}

static bool tells(report_fn *ask, yc_cache *cache, const char *part) {
    char *text = report_of(ask, cache);
    bool found = strstr(text, part) != NULL;
    free(text);
    return found;
}

static void check_told(report_fn *ask, yc_cache *cache, const char *part) {
    char *text = report_of(ask, cache);
    if (!CHECK(strstr(text, part) != NULL)) printf("  no %s in %s\n", part, text);
    free(text);
}

#define UNTIL(condition)                                                               \
    do {                                                                               \
        double end_ = now_ms() + RECOVERY_MS;                                          \
        while (!(condition) && now_ms() < end_) sleep_ms(20);                          \
        CHECK(condition);                                                              \
    } while (0)

/* The state, so many servers that fail, each of them named by a reason, and what the others tell. */
static void check_health(yc_cache *cache, const char *status, const server *servers, unsigned n, const bool *down) {
    char wanted[64], *text = report_of(yc_health, cache), *reasons = strstr(text, "\"reasons\":[");
    unsigned failed = 0;
    snprintf(wanted, sizeof wanted, "\"status\":\"%s\"", status);
    bool right = CHECK(strstr(text, wanted) != NULL) & CHECK(reasons != NULL);
    for (unsigned at = 0; at < n && reasons; at++) {
        char name[32];
        snprintf(name, sizeof name, "127.0.0.1:%d", servers[at].port);
        const char *reason = strstr(reasons, name);
        right &= CHECK((reason != NULL && reason < strstr(reasons, "],")) == down[at]);
        failed += down[at];
    }
    right &= CHECK(times_in(text, "\"error\":") == failed && times_in(text, "\"server\":") == n);
    right &= CHECK(times_in(text, "\"version\":") == n - failed + 1);
    right &= CHECK(times_in(text, "\"used_memory_bytes\":") == n - failed && times_in(text, "\"evicted_keys\":") == n - failed);
    right &= CHECK(times_in(text, "\"ping_us\":") == n - failed + 1);
    if (!right) printf("  %s\n", text);
    free(text);
}

/* A scrape tells which servers are up, and that the cache serves while one is. */
static void check_metrics(yc_cache *cache, const server *servers, unsigned n, const bool *down) {
    char *text = report_of(yc_metrics, cache);
    bool up = false;
    for (unsigned at = 0; at < n; at++) {
        char line[64];
        snprintf(line, sizeof line, "server=\"127.0.0.1:%d\"} %d\n", servers[at].port, !down[at]);
        if (!CHECK(strstr(text, line) != NULL)) printf("  no %s in %s\n", line, text);
        up |= !down[at];
    }
    const char *of_all = strstr(text, "\nyokedcache_up{");
    CHECK(of_all != NULL && strstr(of_all, "} ")[2] == (up ? '1' : '0'));
    free(text);
}

/* The text of this cache with others, of which one is on memory and one has no server: each family once, all caches in it. */
static void check_metrics_of_many(yc_cache *cache, bool up) {
    yc_cache *memory = open_cache("memory://"), *nowhere = open_cache("redis://127.0.0.1:1?connect=lazy&key_prefix=nowhere");
    yc_cache *caches[] = {nowhere, cache, memory, cache};
    const char *names[] = {"nowhere", "one", "memory", "again"};
    yc_value *value = NULL;
    size_t len;
    CHECK_STATUS(yc_metrics_many(caches, names, 4, &value, NULL), YC_OK);
    const char *data = yc_value_data(value, &len);
    char *text = strndup(data, len);
    const char *family = strstr(text, "# TYPE yokedcache_up gauge\n"), *at = family;
    const char wanted[] = {'0', up ? '1' : '0', '1', up ? '1' : '0'};
    for (int number = 0; number < 4 && CHECK(at != NULL); number++) {
        char label[40];
        snprintf(label, sizeof label, "\nyokedcache_up{cache=\"%s\",", names[number]);
        at = strstr(at, label);
        if (CHECK(at != NULL)) CHECK(strstr(at, "} ")[2] == wanted[number]);
    }
    CHECK(family && !strstr(family + 1, "# TYPE yokedcache_up gauge\n"));
    CHECK(strstr(text, "yokedcache_server_up{cache=\"nowhere\",") && strstr(text, "yokedcache_server_up{cache=\"again\","));
    free(text);
    yc_value_free(value);
    close_cache(memory);
    close_cache(nowhere);
}

/* ---- Memcached: one of several, then all ---- */

static yc_cache *open_three(const server *servers) {
    char url[512];
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d?pool_size=1&%s", servers[0].port, servers[1].port,
             servers[2].port, OPTIONS);
    return open_cache(url);
}

/* The counters are known, and what the servers hold is not: no zero. */
static void check_stats_while_down(yc_cache *cache) {
    uint64_t keys = 7;
    check_told(yc_stats, cache, "\"keys\":null");
    check_told(yc_stats, cache, "\"bytes\":null");
    check_told(yc_stats, cache, "\"sets\":50");
    CHECK_CALL(yc_size(cache, &keys, NULL, err), YC_E_CONNECT);
    CHECK(keys == 7);
}

static void check_three(void) {
    server servers[SERVERS];
    bool down[SERVERS] = {false};
    for (int at = 0; at < SERVERS; at++) server_start(&servers[at], SERVER_MEMCACHED, NULL);
    yc_cache *cache = open_three(servers);
    set_numbers(cache, NUMBERS);
    check_health(cache, "healthy", servers, SERVERS, down);
    check_metrics(cache, servers, SERVERS, down);
    check_told(yc_stats, cache, "\"keys\":50");
    server_kill(&servers[1]);
    down[1] = true;
    UNTIL(tells(yc_health, cache, "\"status\":\"degraded\""));
    check_health(cache, "degraded", servers, SERVERS, down);
    check_metrics(cache, servers, SERVERS, down);
    check_stats_while_down(cache);
    /* Silent: found out within the time of a call, which leaves the last one its part. */
    server_signal(&servers[0], SIGSTOP);
    down[0] = true;
    check_health(cache, "degraded", servers, SERVERS, down);
    server_signal(&servers[0], SIGCONT);
    down[0] = false;
    UNTIL(!tells(yc_health, cache, "\"status\":\"unhealthy\""));
    server_kill(&servers[0]);
    server_kill(&servers[2]);
    down[0] = down[2] = true;
    UNTIL(tells(yc_health, cache, "\"status\":\"unhealthy\""));
    check_health(cache, "unhealthy", servers, SERVERS, down);
    check_metrics(cache, servers, SERVERS, down);
    check_metrics_of_many(cache, false);
    for (int at = 0; at < SERVERS; at++) server_restart(&servers[at]);
    UNTIL(tells(yc_health, cache, "\"status\":\"healthy\""));
    close_cache(cache);
    for (int at = 0; at < SERVERS; at++) server_stop(&servers[at]);
}

/* ---- One server ---- */

/* A report costs the counters nothing. */
static void check_one(server_kind kind) {
    server one;
    bool up[] = {false}, down[] = {true};
    server_start(&one, kind, NULL);
    yc_cache *cache = open_cache(server_url(&one, OPTIONS));
    for (int repeat = 0; repeat < 3; repeat++) check_health(cache, "healthy", &one, 1, up);
    check_told(yc_health, cache, kind == SERVER_REDIS ? "\"role\":\"master\"" : "\"items\":0");
    check_told(yc_stats, cache, "\"hits\":0");
    check_told(yc_stats, cache, "\"misses\":0");
    check_metrics_of_many(cache, true);
    server_kill(&one);
    UNTIL(tells(yc_health, cache, "\"status\":\"unhealthy\""));
    check_metrics_of_many(cache, false);
    check_health(cache, "unhealthy", &one, 1, down);
    check_metrics(cache, &one, 1, down);
    close_cache(cache);
    server_stop(&one);
}

/* ---- Logs ---- */

typedef struct journal {
    pthread_mutex_t lock;
    char text[16384];
} journal;

static void write_line(void *data, int32_t level, const char *line, size_t len) {
    journal *log = data;
    char whole[1024];
    (void)len;
    snprintf(whole, sizeof whole, "%d %s\n", (int)level, line);
    pthread_mutex_lock(&log->lock);
    strncat(log->text, whole, sizeof log->text - strlen(log->text) - 1);
    pthread_mutex_unlock(&log->lock);
}

static bool is_logged(journal *log, int level, const char *part) {
    char start[16], *line = log->text;
    bool found = false;
    snprintf(start, sizeof start, "%d ", level);
    pthread_mutex_lock(&log->lock);
    for (char *end; !found && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const char *there = strstr(line, part);
        found = strncmp(line, start, strlen(start)) == 0 && there != NULL && there < end;
    }
    pthread_mutex_unlock(&log->lock);
    return found;
}

static void check_no_secret(journal *log, const char *secret) {
    pthread_mutex_lock(&log->lock);
    if (!CHECK(strstr(log->text, secret) == NULL)) printf("%s", log->text);
    pthread_mutex_unlock(&log->lock);
}

/* An operator reads of each outage, what it was, and its end. */
static void check_logs(server_kind kind) {
    journal log = {.lock = PTHREAD_MUTEX_INITIALIZER, .text = ""};
    server one;
    server_start(&one, kind, NULL);
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, write_line, &log, NULL, NULL), YC_OK);
    yc_cache *cache = open_cache(server_url(&one, OPTIONS));
    set_numbers(cache, NUMBERS);
    UNTIL(is_logged(&log, YC_LOG_INFO, "opened") && is_logged(&log, YC_LOG_INFO, "connected"));
    CHECK(!is_logged(&log, YC_LOG_WARN, "") && !is_logged(&log, YC_LOG_INFO, "connected again"));
    server_kill(&one);
    UNTIL(is_logged(&log, YC_LOG_WARN, "a connection was lost") && is_logged(&log, YC_LOG_WARN, "cannot connect"));
    server_restart(&one);
    UNTIL(is_logged(&log, YC_LOG_INFO, "connected again"));
    CHECK(recovers(cache, 1, RECOVERY_MS));
    close_cache(cache);
    CHECK(is_logged(&log, YC_LOG_INFO, "closed"));
    check_no_secret(&log, "value of key");
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    server_stop(&one);
}

/* A password that the server refuses is in no log line and no report. */
static void check_refused_password(void) {
    journal log = {.lock = PTHREAD_MUTEX_INITIALIZER, .text = ""};
    server one;
    char url[256];
    server_start(&one, SERVER_REDIS, NULL);
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, write_line, &log, NULL, NULL), YC_OK);
    snprintf(url, sizeof url, "redis://nobody:" CANARY "@127.0.0.1:%d?connect=lazy&%s", one.port, OPTIONS);
    yc_cache *cache = open_cache(url);
    check_told(yc_health, cache, "\"status\":\"unhealthy\"");
    check_told(yc_stats, cache, "\"keys\":null");
    check_told(yc_metrics, cache, "\nyokedcache_up{");
    CHECK(is_logged(&log, YC_LOG_WARN, "127.0.0.1"));
    close_cache(cache);
    check_no_secret(&log, CANARY);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    server_stop(&one);
}

int main(int count, char **arguments) {
    server_kind kind = count > 1 && strcmp(arguments[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    check_one(kind);
    check_logs(kind);
    if (kind == SERVER_MEMCACHED) check_three();
    else check_refused_password();
    return check_result();
}
