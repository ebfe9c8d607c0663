/* Sentinels that are wrong, silent or gone, before one that is right: the cache finds the primary and stays with it. */
#include "numbered.h"
#include "resp.h"
#include "scripted.h"
#include "server.h"

enum { STEADY_MS = 3500 };

static server primary, replica;

/* Names the port that `data` points at. */
static size_t answer_sentinel(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    char port[16];
    int len = snprintf(port, sizeof port, "%d", *(const int *)data);
    if (is_command(words, count, "PING")) return say(out, "+PONG\r\n");
    if (!is_command(words, count, "SENTINEL")) return say(out, "+OK\r\n");
    return (size_t)sprintf(out, "*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", len, port);
}

static size_t answer_nothing(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    (void)data, (void)words, (void)count, (void)out;
    return 0;
}

static void check_with(const char *what, const scripted *wrong, const scripted *right) {
    char url[MAX_SERVER_URL];
    int failed = atomic_load(&checks_failed);
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d/yoked/0?key_prefix=stale", scripted_port(wrong), scripted_port(right));
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    /* The whereabouts are looked up again every second: that a sentinel is still wrong changes nothing. */
    for (double end = now_ms() + STEADY_MS; now_ms() < end; sleep_ms(10)) CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    CHECK(stat_of(cache, "reconnects") == 0);
    close_cache(cache);
    if (atomic_load(&checks_failed) != failed) printf("  the first sentinel %s\n", what);
}

static void check_wrong_sentinels(void) {
    int no_server = 1;
    scripted *right = scripted_start(NULL, answer_sentinel, &primary.port);
    scripted *dead = scripted_start(NULL, answer_sentinel, &no_server);
    scripted *demoted = scripted_start(NULL, answer_sentinel, &replica.port);
    scripted *silent = scripted_start(NULL, answer_nothing, NULL);
    check_with("names a dead server", dead, right);
    check_with("names a replica", demoted, right);
    check_with("is silent", silent, right);
    scripted_stop(silent);
    scripted_stop(demoted);
    scripted_stop(dead);
    scripted_stop(right);
}

int main(void) {
    char port[16];
    const char *const options[] = {"--replicaof", "127.0.0.1", port, NULL};
    server_start(&primary, SERVER_REDIS, NULL);
    snprintf(port, sizeof port, "%d", primary.port);
    server_start(&replica, SERVER_REDIS, options);
    check_wrong_sentinels();
    server_stop(&replica);
    server_stop(&primary);
    return check_result();
}
