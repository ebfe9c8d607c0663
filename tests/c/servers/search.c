/* A search whose scoring takes longer than a call may: it fails with YC_E_TIMEOUT, in a blocking call and in a queue, and
   the cache serves on. A query over 1 KiB is refused before any key is read. */
#include "../queues.h"
#include "server.h"

enum { KEYS = 60, KEY_LEN = 65536, QUERY_LEN = 1024, DEADLINE_MS = 100, SLACK_MS = 5000 };

static const yc_search_options all = {.struct_size = sizeof all, .threshold = 0, .limit = 10};

static void set_long_keys(yc_cache *cache) {
    char *key = filled('k', KEY_LEN);
    for (int at = 0; at < KEYS; at++) {
        sprintf(key, "%d", at);
        CHECK_STATUS(yc_set(cache, key, KEY_LEN, "v", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    }
    free(key);
}

/* One byte is in the keys too: every window of each has to be scored. */
static void check_timeout(yc_cache *cache, const char *query) {
    yc_matches *matches = NULL;
    double begun = now_ms();
    CHECK_CALL(yc_search(cache, query, QUERY_LEN, &all, &matches, err), YC_E_TIMEOUT);
    CHECK(now_ms() - begun < 2 * (DEADLINE_MS + SLACK_MS));
    CHECK(matches == NULL);
}

static void check_timeout_in_a_queue(yc_cache *cache, const char *query) {
    yc_queue *queue = open_queue(cache, 4);
    yc_ticket ticket = 0;
    CHECK_STATUS(yc_queue_search(queue, query, QUERY_LEN, &all, 7, &ticket, NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.user_data == 7 && came.status == YC_E_TIMEOUT && came.matches == NULL);
    yc_completion_clear(&came);
    CHECK_STATUS(yc_queue_search(queue, query, QUERY_LEN + 1, &all, 8, &ticket, NULL), YC_OK);
    came = take(queue);
    CHECK(came.user_data == 8 && came.status == YC_E_TOO_LARGE);
    yc_completion_clear(&came);
    close_queue(queue);
}

static void check_short_query(yc_cache *cache) {
    yc_matches *matches = NULL;
    CHECK_STATUS(yc_search(cache, "k", 1, &all, &matches, NULL), YC_OK);
    CHECK(yc_matches_count(matches) == 10 && yc_matches_at(matches, 0)->score == 100);
    yc_matches_free(matches);
}

int main(void) {
    server redis;
    server_start(&redis, SERVER_REDIS, NULL);
    char *query = filled('q', QUERY_LEN + 1);
    query[0] = 'k';
    yc_cache *patient = open_cache(server_url(&redis, "key_prefix=search&socket_timeout=60s"));
    set_long_keys(patient);
    yc_cache *cache = open_cache(server_url(&redis, "key_prefix=search&socket_timeout=100ms"));
    check_timeout(cache, query);
    check_timeout_in_a_queue(cache, query);
    CHECK_CALL(yc_search(cache, query, QUERY_LEN + 1, &all, &(yc_matches *){NULL}, err), YC_E_TOO_LARGE);
    check_short_query(patient);
    free(query);
    close_cache(cache);
    close_cache(patient);
    server_stop(&redis);
    return check_result();
}
