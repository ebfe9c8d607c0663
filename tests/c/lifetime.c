/* Returned objects stay unchanged: through replacement, invalidation, close and free. */
#include "calls.h"

static bool holds(const yc_value *value, const char *text) {
    size_t len;
    const void *data = yc_value_data(value, &len);
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

static yc_value *get(yc_cache *cache, const char *key) {
    yc_value *value = NULL;
    CHECK_STATUS(yc_get(cache, key, strlen(key), &value, NULL), YC_OK);
    return value;
}

static void set(yc_cache *cache, const char *key, const char *value) {
    yc_slice tag = slice("t");
    CHECK_STATUS(yc_set(cache, key, strlen(key), value, strlen(value), 60000, &tag, 1, NULL), YC_OK);
}

static void check_values(void) {
    yc_cache *cache = open_cache(test_url());
    set(cache, "a", "first");
    yc_value *first = get(cache, "a"), *clone = yc_value_clone(first);
    set(cache, "a", "second");
    yc_value *second = get(cache, "a");
    CHECK(holds(first, "first") && holds(clone, "first") && holds(second, "second"));
    yc_value_free(first);
    CHECK_STATUS(yc_invalidate_tag(cache, "t", 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
    CHECK(holds(clone, "first") && holds(second, "second"));
    yc_value_free(clone);
    yc_value_free(second);
}

/* Many clones, each released on its own. */
static void check_clones(void) {
    yc_cache *cache = open_cache(test_url());
    yc_value *clones[100];
    set(cache, "a", "value");
    clones[0] = get(cache, "a");
    for (int at = 1; at < 100; at++) clones[at] = yc_value_clone(clones[at - 1]);
    close_cache(cache);
    for (int at = 0; at < 100; at++) {
        CHECK(holds(clones[at], "value"));
        yc_value_free(clones[at]);
    }
}

static void check_pages(void) {
    yc_cache *cache = open_cache(test_url());
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    size_t count = 0;
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    set(cache, "key", "value");
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_STATUS(yc_keys_next(cursor, 0, &page, NULL), YC_OK);
    yc_cursor_free(cursor);
    close_cache(cache);
    const yc_slice *keys = yc_keys_data(page, &count);
    CHECK(count == 1 && keys[0].len == 3 && memcmp(keys[0].data, "key", 3) == 0);
    yc_keys_free(page);
}

static void check_matches(void) {
    yc_cache *cache = open_cache(test_url());
    yc_matches *matches = NULL;
    set(cache, "user:1", "value");
    CHECK_STATUS(yc_search(cache, "user", 4, NULL, &matches, NULL), YC_OK);
    close_cache(cache);
    if (CHECK(yc_matches_count(matches) == 1)) {
        const yc_match *match = yc_matches_at(matches, 0);
        CHECK(match->key.len == 6 && memcmp(match->key.data, "user:1", 6) == 0 && match->score > 99.9);
        CHECK(match->reserved[0] == 0 && match->reserved[1] == 0);
    }
    CHECK(yc_matches_at(matches, 1) == NULL);
    yc_matches_free(matches);
}

/* An error lives on its own. */
static void check_errors(void) {
    yc_cache *cache = open_cache(test_url());
    yc_error *error = NULL;
    CHECK_STATUS(yc_delete(cache, "", 0, &error), YC_E_INVALID);
    close_cache(cache);
    CHECK(strstr(yc_error_message(error), "empty") != NULL);
    yc_error_free(error);
}

/* A report begins and ends as it should, holds the part, and outlives its cache. */
static void check_report(yc_status (*ask)(yc_cache *, yc_value **, yc_error **), char first, char last, const char *part) {
    yc_cache *cache = open_cache(test_url());
    yc_value *report = NULL;
    size_t len = 0;
    CHECK_STATUS(ask(cache, &report, NULL), YC_OK);
    close_cache(cache);
    const char *text = yc_value_data(report, &len);
    CHECK(len > 2 && text[0] == first && text[len - 1] == last && memchr(text, '\0', len) == NULL);
    CHECK(memmem(text, len, part, strlen(part)) != NULL);
    yc_value_free(report);
}

static void check_reports(void) {
    check_report(yc_stats, '{', '}', "\"hits\":0");
    check_report(yc_stats, '{', '}', "\"in_flight\":0");
    check_report(yc_health, '{', '}', "\"status\":\"healthy\"");
    check_report(yc_metrics, '#', '\n', "\n# TYPE yokedcache_hits_total counter\nyokedcache_hits_total{backend=\"");
    check_report(yc_metrics, '#', '\n', "\nyokedcache_up{backend=\"");
}

/* Arguments are copied: the caller's memory may change at once. */
static void check_copies(void) {
    yc_cache *cache = open_cache(test_url());
    char key[] = "key", value[] = "value", tag[] = "tag";
    yc_slice tags = slice(tag);
    CHECK_STATUS(yc_set(cache, key, 3, value, 5, 60000, &tags, 1, NULL), YC_OK);
    memset(key, 'x', 3), memset(value, 'x', 5), memset(tag, 'x', 3);
    yc_value *got = get(cache, "key");
    CHECK(holds(got, "value"));
    yc_value_free(got);
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, "key", 3, NULL), YC_MISS);
    close_cache(cache);
}

int main(void) {
    check_values();
    check_clones();
    check_pages();
    check_matches();
    check_errors();
    check_reports();
    check_copies();
    return check_result();
}
