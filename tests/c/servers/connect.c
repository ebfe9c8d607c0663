/* Servers that are not there, are another's, or do not let us in: the status, the message, the time; never the password. */
#include "proxy.h"
#include "refused.h"
#include "resp.h"
#include "scripted.h"
#include "server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define CANARY "canary-S3cr3t"

enum { RECOVERY_MS = 3000 };

/* Overwritten by the next call. */
static const char *url_for(const char *user, const char *host, int port) {
    static char url[MAX_URL];
    snprintf(url, sizeof url, "redis://%s%s:%d/0?%s", user, host, port, REFUSED_OPTIONS);
    return url;
}

static const char *address(int port) {
    static char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    return text;
}

/* ---- No server, or another program ---- */

static void check_no_server(const server *redis) {
    proxy *closed = proxy_start(redis->port);
    proxy_set(closed, (proxy_fault){.mode = PROXY_REFUSE});
    int port = proxy_port(closed);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "no-such-host.invalid", 6379), "no-such-host.invalid", YC_E_CONNECT);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", port), address(port), YC_E_CONNECT);
    proxy_stop(closed);
}

static void check_silent_server(const server *redis) {
    proxy *silent = proxy_start(redis->port);
    proxy_set(silent, (proxy_fault){.mode = PROXY_HOLE});
    int port = proxy_port(silent);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", port), address(port), YC_E_CONNECT, YC_E_TIMEOUT);
    proxy_stop(silent);
}

static void check_web_server(const server *redis) {
    const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    proxy *web = proxy_start(redis->port);
    proxy_set(web, (proxy_fault){.mode = PROXY_ANSWER, .bytes = http, .len = strlen(http), .close = true});
    int port = proxy_port(web);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", port), address(port), YC_E_PROTOCOL, YC_E_CONNECT);
    proxy_stop(web);
}

static void check_memcached(void) {
    server memcached;
    server_start(&memcached, SERVER_MEMCACHED, NULL);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", memcached.port), address(memcached.port), YC_E_PROTOCOL);
    CHECK_REFUSED(url_for("", "127.0.0.1", memcached.port), "use memcached://", YC_E_PROTOCOL);
    server_stop(&memcached);
}

/* ---- This process ---- */

/* Every descriptor the process may have is taken: the call says so, at once; it works when there are some again. */
static void check_no_descriptors(const server *redis) {
    struct rlimit before, few = {0};
    int taken[256];
    size_t count = 0;
    yc_cache *other = open_cache("memory://");
    yc_cache *working = open_cache(url_for("yoked:" CANARY "@", "127.0.0.1", redis->port));
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = (struct rlimit){.rlim_cur = 200, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (count < 256 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) count++;
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", redis->port), "ulimit -n", YC_E_BUSY);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "localhost", redis->port), "ulimit -n", YC_E_BUSY);
    CHECK_STATUS(set_numbered(working, 2), YC_OK);
    while (count) close(taken[--count]);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close_cache(open_cache(url_for("yoked:" CANARY "@", "127.0.0.1", redis->port)));
    close_cache(working);
    close_cache(other);
}

static void check_redis_as_memcached(const server *redis) {
    CHECK_REFUSED(url_of(SERVER_MEMCACHED, redis->port, REFUSED_OPTIONS), "use redis://", YC_E_PROTOCOL);
}

/* ---- Deployments that the URL does not fit ---- */

/* Password and user are the server's own, and it is no cluster. */
static void check_no_cluster(const server *redis) {
    char url[MAX_URL];
    snprintf(url, sizeof url, "redis+cluster://yoked:" CANARY "@127.0.0.1:%d?%s", redis->port, REFUSED_OPTIONS);
    CHECK_REFUSED(url, "use redis://", YC_E_CONFIG);
}

static void check_no_database(const server *redis) {
    char url[MAX_URL];
    snprintf(url, sizeof url, "redis://yoked:" CANARY "@127.0.0.1:%d/99?%s", redis->port, REFUSED_OPTIONS);
    CHECK_REFUSED(url, "no database 99", YC_E_CONFIG);
}

static const char protected_mode[] =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n";

static void check_protected_mode(void) {
    scripted *protecting = scripted_start(protected_mode, NULL, NULL);
    int port = scripted_port(protecting);
    CHECK_REFUSED(url_for("", "127.0.0.1", port), "protected mode", YC_E_CONNECT);
    CHECK_REFUSED(url_for("yoked:" CANARY "@", "127.0.0.1", port), "protected mode", YC_E_CONNECT);
    scripted_stop(protecting);
}

/* A password for a server that has none is not needed, and refuses no one. */
static void check_needless_password(void) {
    server open, memcached;
    server_start(&open, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(url_for(":" CANARY "@", "127.0.0.1", open.port));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    close_cache(cache);
    server_stop(&open);
    for (int binary = 0; binary < 2; binary++) {
        char url[MAX_URL];
        server_start(&memcached, SERVER_MEMCACHED, NULL);
        snprintf(url, sizeof url, "memcached://yoked:" CANARY "@127.0.0.1:%d?binary=%s", memcached.port, binary ? "true" : "false");
        cache = open_cache(url);
        CHECK_STATUS(set_numbered(cache, 1), YC_OK);
        CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
        close_cache(cache);
        server_stop(&memcached);
    }
}

/* ---- Users ---- */

static void check_wrong_password(const server *redis) {
    CHECK_REFUSED(url_for("yoked:wrong-" CANARY "@", "127.0.0.1", redis->port), address(redis->port), YC_E_AUTH);
    CHECK_REFUSED(url_for("stranger:" CANARY "@", "127.0.0.1", redis->port), address(redis->port), YC_E_AUTH);
}

/* The server wants a password and none is given. */
static void check_no_password(void) {
    const char *const options[] = {"--requirepass", CANARY, NULL};
    server closed;
    server_start(&closed, SERVER_REDIS, options);
    CHECK_REFUSED(url_for("", "127.0.0.1", closed.port), address(closed.port), YC_E_AUTH);
    yc_cache *cache = open_cache(url_for(":" CANARY "@", "127.0.0.1", closed.port));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    close_cache(cache);
    server_stop(&closed);
}

static void check_denied_call(yc_status status, yc_error *error) {
    CHECK_STATUS(status, YC_E_DENIED);
    check_silent(yc_error_message(error), strlen(yc_error_message(error)));
    CHECK(!yc_error_retryable(error));
    yc_error_free(error);
}

/* Allowed and denied commands share one connection. */
static void check_denied(const server *redis) {
    yc_error *error = NULL;
    CHECK(tell(redis->port, "ACL SETUSER reader on >" CANARY " ~* &* -@all +@connection +@read"));
    yc_cache *cache = open_cache(url_for("reader:" CANARY "@", "127.0.0.1", redis->port));
    long long before = ask_info(redis->port, "stats", "total_connections_received");
    for (int repeat = 0; repeat < 50; repeat++) {
        yc_status status = yc_set(cache, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, &error);
        check_denied_call(status, error);
        CHECK_STATUS(get_numbered(cache, 1, NULL), YC_MISS);
    }
    CHECK(ask_info(redis->port, "stats", "total_connections_received") - before < 10);
    check_reports(cache);
    close_cache(cache);
}

/* ---- A password that changes ---- */

static bool is_refused(yc_status status) {
    return CHECK_ONE_OF(status, YC_E_AUTH, YC_E_CONNECT, YC_E_TIMEOUT);
}

static void check_while_changed(yc_cache *cache) {
    yc_status status = YC_OK;
    for (double end = now_ms() + 2000; now_ms() < end; sleep_ms(5)) {
        yc_error *error = NULL;
        moment begun = moment_now();
        is_refused(status = get_numbered(cache, 1, &error));
        in_time(begun, REFUSED_DEADLINE_MS);
        check_silent(yc_error_message(error), strlen(yc_error_message(error)));
        yc_error_free(error);
    }
    CHECK_STATUS(status, YC_E_AUTH);
}

static void check_restored(yc_cache *cache) {
    double begun = now_ms();
    yc_status status;
    while ((status = get_numbered(cache, 1, NULL)) < 0 && is_refused(status) && now_ms() - begun < RECOVERY_MS) sleep_ms(5);
    CHECK_STATUS(status, YC_OK);
    CHECK(now_ms() - begun < RECOVERY_MS);
}

static void check_rotation(const server *redis) {
    yc_cache *cache = open_cache(url_for("yoked:" CANARY "@", "127.0.0.1", redis->port));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    for (int cycle = 0; cycle < 2; cycle++) {
        CHECK(tell(redis->port, "ACL SETUSER yoked resetpass >another"));
        CHECK(tell(redis->port, "CLIENT KILL USER yoked"));
        check_while_changed(cache);
        CHECK(tell(redis->port, "ACL SETUSER yoked resetpass >" CANARY));
        check_restored(cache);
    }
    check_reports(cache);
    close_cache(cache);
}

int main(void) {
    const char *const options[] = {"--user", "yoked", "on", ">" CANARY, "~*", "&*", "+@all", NULL};
    server redis;
    watch_for("S3cr3t");
    server_start(&redis, SERVER_REDIS, options);
    check_no_server(&redis);
    check_silent_server(&redis);
    check_web_server(&redis);
    check_memcached();
    check_no_descriptors(&redis);
    check_redis_as_memcached(&redis);
    check_no_cluster(&redis);
    check_no_database(&redis);
    check_protected_mode();
    check_needless_password();
    check_wrong_password(&redis);
    check_no_password();
    check_denied(&redis);
    check_rotation(&redis);
    watch_end();
    server_stop(&redis);
    return check_result();
}
