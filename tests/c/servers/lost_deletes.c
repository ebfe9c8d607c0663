/* Deletes that a server received on a connection which ends before their replies: reported as failures that may have taken
   effect, never sent again, never reported as a miss. Usage: lost_deletes redis|memcached. Starts servers of its own. */
#include "numbered.h"
#include "proxy.h"
#include "server.h"

#include <pthread.h>

enum { ROUNDS = 300, RECOVERY_MS = 5000, DEADLINE_MS = 1000 };

static server stored;
static proxy *between;

static yc_status set(yc_cache *cache, const char *key) { return yc_set(cache, key, strlen(key), "value", 5, YC_TTL_NEVER, NULL, 0, NULL); }
static yc_status exists(yc_cache *cache, const char *key) { return yc_exists(cache, key, strlen(key), NULL); }

/* Until the connections that were cut are there again. */
static void wait_for(yc_cache *cache) {
    yc_status status;
    double end = now_ms() + RECOVERY_MS;
    while ((status = exists(cache, "other")) < 0 && now_ms() < end) sleep_ms(5);
    CHECK_STATUS(status, YC_MISS);
}

static void check_doubt(yc_error *error, yc_status wanted) {
    CHECK(yc_error_status(error) == wanted && yc_error_retryable(error) == 1);
    if (!CHECK(strstr(yc_error_message(error), "may have executed"))) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
}

/* ---- Replies that are lost ---- */

static void check_lost(yc_cache *cache, yc_cache *direct, proxy_fault fault, yc_status wanted) {
    yc_error *error = NULL;
    CHECK_STATUS(set(direct, "key"), YC_OK);
    wait_for(cache);
    proxy_set(between, fault);
    moment begun = moment_now();
    CHECK_STATUS(yc_delete(cache, "key", 3, &error), wanted);
    in_time(begun, DEADLINE_MS);
    check_doubt(error, wanted);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    wait_for(cache);
    if (fault.mode == PROXY_CUT) CHECK_STATUS(exists(direct, "key"), YC_MISS);
}

static void check_lost_many(yc_cache *cache, yc_cache *direct) {
    yc_slice keys[] = {slice("a"), slice("b")};
    yc_status statuses[2] = {77, 77};
    CHECK_STATUS(set(direct, "a"), YC_OK);
    CHECK_STATUS(set(direct, "b"), YC_OK);
    wait_for(cache);
    proxy_set(between, (proxy_fault){.mode = PROXY_CUT, .offset = 1});
    CHECK_STATUS(yc_delete_many(cache, keys, 2, statuses, NULL), YC_E_CONNECT);
    CHECK(statuses[0] == YC_E_CONNECT && statuses[1] == YC_E_CONNECT);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    wait_for(cache);
    CHECK_STATUS(exists(direct, "a"), YC_MISS);
    CHECK_STATUS(exists(direct, "b"), YC_MISS);
}

static void check_lost_replies(yc_cache *cache, yc_cache *direct) {
    for (size_t offset = 0; offset < 3; offset++) {
        for (int reset = 0; reset < 2; reset++) {
            check_lost(cache, direct, (proxy_fault){.mode = PROXY_CUT, .offset = offset, .reset = reset}, YC_E_CONNECT);
        }
    }
    check_lost(cache, direct, (proxy_fault){.mode = PROXY_HOLE}, YC_E_TIMEOUT);
    check_lost_many(cache, direct);
}

/* ---- Connections that end at any moment ---- */

static void *end_connections(void *argument) {
    atomic_bool *ends = argument;
    for (unsigned seed = 1; !atomic_load(ends);) {
        sleep_ms(rand_r(&seed) % 40);
        proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE, .reset = rand_r(&seed) % 2});
        proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    }
    return NULL;
}

static void check_races(yc_cache *cache, yc_cache *direct) {
    pthread_t thread;
    atomic_bool ends = false;
    unsigned done = 0, failed = 0;
    pthread_create(&thread, NULL, end_connections, &ends);
    for (unsigned round = 0; round < ROUNDS; round++) {
        yc_error *error = NULL;
        CHECK_STATUS(set(direct, "key"), YC_OK);
        yc_status status = yc_delete(cache, "key", 3, &error);
        CHECK_ONE_OF(status, YC_OK, YC_E_CONNECT, YC_E_TIMEOUT);
        if (status == YC_OK) CHECK_STATUS(exists(direct, "key"), YC_MISS);
        done += status == YC_OK;
        failed += status < 0;
        if (status < 0) sleep_ms(2);
        yc_error_free(error);
    }
    atomic_store(&ends, true);
    pthread_join(thread, NULL);
    printf("%u deletes were done, %u failed\n", done, failed);
    CHECK(done > 0);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
}

int main(int argc, char **argv) {
    server_kind kind = argc > 1 && strcmp(argv[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    server_start(&stored, kind, NULL);
    between = proxy_start(stored.port);
    yc_cache *direct = open_cache(server_url(&stored, "key_prefix=lost"));
    /* Without a window, no check of the role takes a fault that is meant for a delete. */
    const char *options = kind == SERVER_REDIS ? "key_prefix=lost&pool_size=1&replay_window=0" : "key_prefix=lost&pool_size=1";
    yc_cache *cache = open_cache(url_of(kind, proxy_port(between), options));
    check_lost_replies(cache, direct);
    check_races(cache, direct);
    close_cache(cache);
    close_cache(direct);
    proxy_stop(between);
    server_stop(&stored);
    return check_result();
}
