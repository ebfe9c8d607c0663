/* A Memcached server that says "try again later": it is asked again, within the deadline of the call. */
#include "numbered.h"
#include "proxy.h"
#include "server.h"

enum { DEADLINE_MS = 1000 };

static const char LATER[] = "SERVER_ERROR locked try again later\r\n";

static void say_later(proxy *between, bool once) {
    proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = LATER, .len = strlen(LATER), .once = once});
}

static void check_once(proxy *between, yc_cache *cache) {
    say_later(between, true);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK(proxy_is_done(between));
    say_later(between, true);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    CHECK(proxy_is_done(between));
}

static void check_always(proxy *between, yc_cache *cache) {
    yc_error *error = NULL;
    say_later(between, false);
    moment begun = moment_now();
    CHECK_STATUS(get_numbered(cache, 1, &error), YC_E_SERVER);
    in_time(begun, DEADLINE_MS);
    CHECK(yc_error_retryable(error) == 1);
    yc_error_free(error);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
}

int main(void) {
    server memcached;
    server_start(&memcached, SERVER_MEMCACHED, (const char *const[]){NULL});
    proxy *between = proxy_start(memcached.port);
    yc_cache *cache = open_cache(url_of(SERVER_MEMCACHED, proxy_port(between), "pool_size=1&health_check_interval=0"));
    check_once(between, cache);
    check_always(between, cache);
    close_cache(cache);
    proxy_stop(between);
    server_stop(&memcached);
    return check_result();
}
