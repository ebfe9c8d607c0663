/*
 * quickstart.c - the operations of a cache, step by step, with their results.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs yokedcache) -o quickstart
 *   ./quickstart                              (in memory)
 *   ./quickstart redis://localhost:6379       (the same on a server)
 */

#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <yokedcache.h>

/* Exits on a failure; returns every other status to the caller. */
static yc_status check(yc_status status, yc_error **error)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", yc_status_name(status), yc_error_message(*error));
        yc_error_free(*error);
        exit(EXIT_FAILURE);
    }
    return status;
}

static void step(const char *title)
{
    printf("\n%s\n", title);
}

/* Begins a line: the operation and its argument. The caller prints the result. */
static void asked(const char *verb, const char *what)
{
    printf("%s %-*s -> ", verb, (int)(28 - strlen(verb)), what);
}

static void set(yc_cache *cache, const char *key, const char *value, int64_t ttl_ms, const char *tag)
{
    yc_error *error;
    yc_slice tags[1];
    size_t n_tags = 0;

    if (tag != NULL) {
        tags[0].data = tag;
        tags[0].len = strlen(tag);
        n_tags = 1;
    }
    check(yc_set(cache, key, strlen(key), value, strlen(value), ttl_ms, tags, n_tags, &error), &error);
    asked("set", key);
    printf("stored \"%s\"%s%s\n", value, tag ? ", tag " : "", tag ? tag : "");
}

/* The bytes belong to the value and have no NUL at their end. Nothing is copied. */
static void print_and_free(yc_value *value)
{
    size_t length;
    const char *bytes = yc_value_data(value, &length);
    printf("%.*s", (int)length, bytes);
    yc_value_free(value);
}

static void get(yc_cache *cache, const char *key)
{
    yc_error *error;
    yc_value *value;
    yc_status status = check(yc_get(cache, key, strlen(key), &value, &error), &error);

    asked("get", key);
    if (status == YC_MISS) {
        printf("miss\n");
        return;
    }
    printf("hit  \"");
    print_and_free(value);
    printf("\"\n");
}

static void print_removed(uint64_t removed)
{
    if (removed == YC_COUNT_UNKNOWN)
        printf("done (this backend cannot count)\n");
    else
        printf("%" PRIu64 " removed\n", removed);
}

static void invalidate_tag(yc_cache *cache, const char *tag)
{
    yc_error *error;
    uint64_t removed;

    check(yc_invalidate_tag(cache, tag, strlen(tag), &removed, &error), &error);
    asked("invalidate tag", tag);
    print_removed(removed);
}

static void invalidate_pattern(yc_cache *cache, const char *pattern)
{
    yc_error *error;
    uint64_t removed;

    check(yc_invalidate_pattern(cache, pattern, strlen(pattern), &removed, &error), &error);
    asked("invalidate pattern", pattern);
    print_removed(removed);
}

static void search(yc_cache *cache, const char *query)
{
    yc_error *error;
    yc_matches *matches;
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    options.threshold = 60;

    check(yc_search(cache, query, strlen(query), &options, &matches, &error), &error);
    for (size_t rank = 0; rank < yc_matches_count(matches); rank++) {
        const yc_match *match = yc_matches_at(matches, rank);
        asked("search", query);
        printf("%5.1f  %.*s\n", match->score, (int)match->key.len, (const char *)match->key.data);
    }
    yc_matches_free(matches);
}

static void stats(yc_cache *cache)
{
    yc_error *error;
    yc_value *json;

    check(yc_stats(cache, &json, &error), &error);
    printf("stats ");
    print_and_free(json);
    printf("\n");
}

static void wait_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
    printf("wait %ld ms\n", ms);
}

int main(int argc, char **argv)
{
    const char *config = argc > 1 ? argv[1] : "memory://?max_size=10000&key_prefix=quickstart";
    yc_error *error;
    yc_cache *cache;

    check(yc_check_abi(YC_VERSION_NUMBER, &error), &error);
    check(yc_open(config, &cache, &error), &error);
    check(yc_flush(cache, NULL, &error), &error);
    printf("YokedCache %s\n", yc_version());

    step("Set and get: a miss is an outcome, not an error");
    set(cache, "user:1", "Ada", YC_TTL_DEFAULT, NULL);
    get(cache, "user:1");
    get(cache, "user:2");

    step("Expiry: this entry expires after 300 ms");
    set(cache, "code:7", "4711", 300, NULL);
    get(cache, "code:7");
    wait_ms(350);
    get(cache, "code:7");

    step("Tags: one call invalidates all entries that depend on one object");
    set(cache, "page:home", "<h1>Hello Ada</h1>", YC_TTL_DEFAULT, "users");
    set(cache, "page:team", "<ul>Ada, Grace</ul>", YC_TTL_DEFAULT, "users");
    set(cache, "page:help", "<p>Read this</p>", YC_TTL_DEFAULT, "texts");
    invalidate_tag(cache, "users");
    get(cache, "page:home");
    get(cache, "page:team");
    get(cache, "page:help");

    step("Patterns: one call removes all keys that match a glob");
    set(cache, "order:17:total", "99", YC_TTL_NEVER, NULL);
    set(cache, "order:17:items", "3", YC_TTL_NEVER, NULL);
    set(cache, "order:18:total", "12", YC_TTL_NEVER, NULL);
    invalidate_pattern(cache, "order:17:*");
    get(cache, "order:17:total");
    get(cache, "order:18:total");

    step("Fuzzy search: the keys most similar to a query, scored from 0 to 100");
    set(cache, "person:grace hopper", "rear admiral", YC_TTL_DEFAULT, NULL);
    set(cache, "person:grace kelly", "princess", YC_TTL_DEFAULT, NULL);
    search(cache, "grace hoper");

    step("Statistics");
    stats(cache);

    check(yc_close(cache, -1, &error), &error);
    yc_cache_free(cache);
    return EXIT_SUCCESS;
}
