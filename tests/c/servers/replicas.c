/* Reads from the replicas of one server: where they go, what they return after an invalidation, and replicas that fail. Starts
   servers of its own. */
#include "numbered.h"
#include "ports.h"
#include "server.h"

enum { KEYS = 50, ROUNDS = 4, SYNC_MS = 20000, RECOVERY_MS = 10000 };

static server primary, replicas[2];
static char url[512];

static const char *open_url(const char *query) {
    snprintf(url, sizeof url, "%s&replicas=127.0.0.1:%d,127.0.0.1:%d", server_url(&primary, query), replicas[0].port, replicas[1].port);
    return url;
}

static void start(void) {
    char port[16];
    server_start(&primary, SERVER_REDIS, NULL);
    snprintf(port, sizeof port, "%d", primary.port);
    const char *const options[] = {"--replicaof", "127.0.0.1", port, "--repl-diskless-sync-delay", "0", NULL};
    for (int at = 0; at < 2; at++) {
        server_start(&replicas[at], SERVER_REDIS, options);
        replicas[at].options[0] = NULL; /* They refer to this stack. */
    }
    CHECK(tell(primary.port, "CONFIG SET repl-diskless-sync-delay 0"));
    for (int at = 0; at < 2; at++) {
        /* "up" is no number: the offset says that it has the data. */
        UNTIL(ask_info(replicas[at].port, "replication", "master_sync_in_progress") == 0 &&
                  ask_info(replicas[at].port, "replication", "slave_repl_offset") > 0, SYNC_MS);
    }
}

static long long offset_of_primary(void) { return ask_info(primary.port, "replication", "master_repl_offset"); }

static void catch_up(int which) {
    long long offset = offset_of_primary();
    UNTIL(has_caught_up(replicas[which].port, offset), SYNC_MS);
}

/* The number of GETs that a server has answered. */
static long long gets_of(int port) {
    long long calls = 0;
    reply *info = ask(port, "INFO commandstats");
    const char *found = info && info->text ? strstr(info->text, "cmdstat_get:calls=") : NULL;
    if (found) calls = strtoll(found + strlen("cmdstat_get:calls="), NULL, 10);
    reply_free(info);
    return calls;
}

static void read_all(yc_cache *cache) {
    for (unsigned number = 0; number < KEYS; number++) {
        yc_error *error = NULL;
        if (!CHECK_STATUS(get_numbered(cache, number, &error), YC_OK)) printf("  %s\n", yc_error_message(error));
        yc_error_free(error);
    }
}

static void check_reads(void) {
    yc_cache *cache = open_cache(open_url("key_prefix=replicas"));
    set_numbers(cache, KEYS);
    catch_up(0);
    catch_up(1);
    read_all(cache);
    long long at_primary = gets_of(primary.port), before[2] = {gets_of(replicas[0].port), gets_of(replicas[1].port)};
    for (int round = 0; round < ROUNDS; round++) read_all(cache);
    CHECK(gets_of(primary.port) == at_primary);
    for (int at = 0; at < 2; at++) CHECK(gets_of(replicas[at].port) >= before[at] + ROUNDS * KEYS / 4);
    close_cache(cache);
}

/* A replica that lags returns nothing that was invalidated: versions of tags are those of the primary. */
static void check_invalidation(void) {
    yc_slice tag = slice("t");
    yc_cache *cache = open_cache(open_url("key_prefix=replicas&patterns=barrier"));
    CHECK_STATUS(yc_set(cache, "tagged", 6, "v", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
    CHECK_STATUS(yc_set(cache, "barred", 6, "v", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    catch_up(0);
    catch_up(1);
    CHECK_STATUS(yc_exists(cache, "tagged", 6, NULL), YC_OK);
    for (int at = 0; at < 2; at++) CHECK(tell(replicas[at].port, "REPLICAOF 127.0.0.1 1")); /* It hears nothing more. */
    CHECK_STATUS(yc_invalidate_tag(cache, "t", 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_invalidate_pattern(cache, "barr*", 5, NULL, NULL), YC_OK);
    for (int round = 0; round < ROUNDS; round++) {
        yc_value *value = NULL;
        CHECK_STATUS(yc_get(cache, "tagged", 6, &value, NULL), YC_MISS);
        CHECK_STATUS(yc_get(cache, "barred", 6, &value, NULL), YC_MISS);
    }
    for (int at = 0; at < 2; at++) {
        CHECK(tell(replicas[at].port, "REPLICAOF 127.0.0.1 %d", primary.port));
        catch_up(at);
    }
    close_cache(cache);
}

static void read_until_found(yc_cache *cache) {
    double end = now_ms() + RECOVERY_MS;
    yc_status status;
    while ((status = get_numbered(cache, 1, NULL)) < 0 && now_ms() < end) sleep_ms(10);
    CHECK_STATUS(status, YC_OK);
}

static void check_failures(void) {
    yc_cache *cache = open_cache(open_url("key_prefix=replicas&socket_timeout=2s"));
    read_all(cache);
    server_kill(&replicas[0]);
    read_until_found(cache);
    read_all(cache);
    server_kill(&replicas[1]);
    read_until_found(cache);
    long long before = gets_of(primary.port);
    read_all(cache);
    CHECK(gets_of(primary.port) >= before + KEYS);
    close_cache(cache);
    /* A cache opens without its replicas, and with a server that is none. */
    cache = open_cache(open_url("key_prefix=replicas"));
    read_all(cache);
    close_cache(cache);
    snprintf(url, sizeof url, "%s&replicas=127.0.0.1:%d", server_url(&primary, "key_prefix=replicas"), primary.port);
    cache = open_cache(url);
    read_all(cache);
    close_cache(cache);
}

int main(void) {
    start();
    check_reads();
    check_invalidation();
    check_failures();
    for (int at = 0; at < 2; at++) server_stop(&replicas[at]);
    server_stop(&primary);
    return check_result();
}
