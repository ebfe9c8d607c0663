/* A count is the number of keys that a listing returns: what expired or was invalidated does not count. Next to a server of
   its own, where nothing else makes the count an estimate. */
#include "numbered.h"
#include "server.h"

#include <unistd.h>

enum { LIVE = 40, MORE = 1200, TTL_MS = 60, OVER_MS = 2500 };

static size_t listed(yc_cache *cache) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    size_t count, total = 0;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    while (yc_keys_next(cursor, 0, &page, NULL) == YC_OK) {
        yc_keys_data(page, &count);
        total += count;
        yc_keys_free(page);
    }
    yc_cursor_free(cursor);
    return total;
}

static bool is_estimated(yc_cache *cache) {
    yc_value *json = NULL;
    size_t len;
    CHECK_STATUS(yc_stats(cache, &json, NULL), YC_OK);
    const char *text = yc_value_data(json, &len);
    bool estimated = memmem(text, len, "\"size_estimated\":true", 21) != NULL;
    CHECK(estimated != (memmem(text, len, "\"size_estimated\":false", 22) != NULL));
    yc_value_free(json);
    return estimated;
}

static void check_count(yc_cache *cache, size_t wanted) {
    uint64_t keys = 0, bytes = 0;
    CHECK_STATUS(yc_size(cache, &keys, &bytes, NULL), YC_OK);
    if (!CHECK(keys == wanted && listed(cache) == wanted)) printf("  wanted %zu, counted %llu\n", wanted, (unsigned long long)keys);
    CHECK((bytes > 0) == (wanted > 0));
    CHECK(stat_of(cache, "keys") == (long long)wanted);
    CHECK(!is_estimated(cache));
}

static void set_many_tagged(yc_cache *cache, const char *name, unsigned count, int64_t ttl_ms, const char *tag) {
    yc_slice tags[] = {slice(tag)};
    char key[64];
    for (unsigned number = 0; number < count; number++) {
        size_t len = (size_t)snprintf(key, sizeof key, "%s-%u", name, number);
        CHECK_STATUS(yc_set(cache, key, len, "value", 5, ttl_ms, tags, 1, NULL), YC_OK);
    }
}

/* Without a sweep nothing but the count itself leaves out what is over. */
static void check_counts(const char *url) {
    yc_cache *cache = open_cache(url), *other = open_cache(url);
    check_count(cache, 0);
    set_many_tagged(cache, "live", LIVE, YC_TTL_NEVER, "kept");
    set_many_tagged(cache, "over", LIVE, TTL_MS, "kept");
    set_many_tagged(cache, "gone", LIVE, 60000, "gone");
    CHECK_STATUS(yc_invalidate_tag(cache, "gone", 4, NULL, NULL), YC_OK);
    usleep(2 * TTL_MS * 1000);
    check_count(cache, LIVE);
    usleep(OVER_MS * 1000);
    check_count(cache, LIVE);
    if (strncmp(url, "memory:", 7) != 0) check_count(other, LIVE);
    CHECK_STATUS(yc_invalidate_tag(cache, "kept", 4, NULL, NULL), YC_OK);
    check_count(cache, 0);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(other);
    close_cache(cache);
}

/* More than are read one by one: an estimate says that it is one, and leaves out its share of what cannot be read. */
static void check_estimate(const char *url) {
    yc_cache *cache = open_cache(url);
    uint64_t keys = 0;
    set_many_tagged(cache, "live", MORE, YC_TTL_NEVER, "kept");
    set_many_tagged(cache, "gone", MORE, YC_TTL_NEVER, "gone");
    CHECK_STATUS(yc_invalidate_tag(cache, "gone", 4, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_size(cache, &keys, NULL, NULL), YC_OK);
    if (!CHECK(keys > MORE / 2 && keys < 3 * MORE / 2)) printf("  about %llu\n", (unsigned long long)keys);
    CHECK(is_estimated(cache));
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
}

static void check_server(server_kind kind, const char *query) {
    char url[MAX_SERVER_URL];
    server of;
    server_start(&of, kind, NULL);
    snprintf(url, sizeof url, "%s", server_url(&of, query));
    check_counts(url);
    check_estimate(url);
    server_stop(&of);
}

int main(void) {
    check_counts("memory://?cleanup_interval=0");
    check_server(SERVER_REDIS, "key_prefix=counts");
    check_server(SERVER_MEMCACHED, "key_prefix=counts&socket_timeout=10s");
    check_server(SERVER_MEMCACHED, "key_prefix=counts&socket_timeout=10s&binary=true");
    return check_result();
}
