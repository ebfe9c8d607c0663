/* What tags leave on a Redis server: versions and indexes that expire, and none before the entries that need it.
   Starts servers of its own. */
#include "numbered.h"
#include "ports.h"
#include "server.h"

enum { TAGS = 300, SHORT_MS = 200, LONG_MS = 60000, EMPTY_MS = 30000, NAME = 64 };

static server redis;

static yc_cache *open_with(const char *more) {
    char query[128];
    snprintf(query, sizeof query, "key_prefix=l&default_ttl=30s%s", more);
    return open_cache(server_url(&redis, query));
}

static yc_status set_tagged(yc_cache *cache, const char *key, const char *tag, int64_t ttl_ms) {
    yc_slice slices[] = {slice(tag)};
    return yc_set(cache, key, strlen(key), "v", 1, ttl_ms, slices, 1, NULL);
}

static yc_status get(yc_cache *cache, const char *key) {
    yc_value *value = NULL;
    yc_status status = yc_get(cache, key, strlen(key), &value, NULL);
    yc_value_free(value);
    return status;
}

static uint64_t invalidate(yc_cache *cache, const char *tag) {
    uint64_t removed = 0;
    CHECK_STATUS(yc_invalidate_tag(cache, tag, strlen(tag), &removed, NULL), YC_OK);
    return removed;
}

static long long number(const char *command, const char *name) {
    reply *answer = ask(redis.port, "%s %s", command, name);
    long long number = answer && answer->kind == ':' ? answer->number : -3;
    reply_free(answer);
    return number;
}

/* The version of the whole prefix, which each invalidation replaces too. */
static const char PREFIX_VERSION[] = ":t:2d06800538d394c2";

/* The only name of a kind, t or i, that the server has for a tag. */
static const char *only_name(char kind) {
    static char name[NAME];
    reply *names = ask_names(redis.port);
    size_t found = 0;
    for (size_t at = 0; names && at < names->count; at++) {
        if (names->items[at].text[2] != kind || strstr(names->items[at].text, PREFIX_VERSION)) continue;
        snprintf(name, sizeof name, "%s", names->items[at].text);
        found++;
    }
    reply_free(names);
    CHECK(found == 1);
    return name;
}

static long long names_left(void) {
    reply *size = ask(redis.port, "DBSIZE");
    long long names = size ? size->number : -1;
    reply_free(size);
    return names;
}

/* ---- Nothing stays ---- */

static void check_leaves_nothing(const char *more) {
    yc_cache *cache = open_with(more);
    for (int number = 0; number < TAGS; number++) {
        char name[NAME];
        snprintf(name, sizeof name, "%d", number);
        CHECK_STATUS(set_tagged(cache, name, name, SHORT_MS), YC_OK);
    }
    UNTIL(names_left() == 0, EMPTY_MS);
    close_cache(cache);
}

/* ---- Nothing is lost ---- */

static void check_outlasts(const char *more) {
    yc_cache *cache = open_with(more), *other = open_with(more);
    CHECK_STATUS(set_tagged(cache, "short", "tag", SHORT_MS), YC_OK);
    CHECK_STATUS(set_tagged(cache, "long", "tag", 8000), YC_OK);
    CHECK_STATUS(set_tagged(other, "other", "tag", 10), YC_OK);
    CHECK(number("PTTL", only_name('t')) >= 8000 - 1000);
    sleep_ms(2500);
    CHECK_STATUS(get(cache, "short"), YC_MISS);
    CHECK_STATUS(get(other, "long"), YC_OK);
    /* Another time to live, for the same value and tags. */
    CHECK_STATUS(yc_expire(other, "long", 4, LONG_MS, NULL), YC_OK);
    CHECK(number("PTTL", only_name('t')) >= LONG_MS - 1000);
    yc_slice keys[] = {slice("many"), slice("more")}, values[] = {slice("v"), slice("v")}, tag = slice("tag");
    CHECK_STATUS(yc_set_many(cache, keys, values, 2, 2 * LONG_MS, &tag, 1, NULL, NULL), YC_OK);
    CHECK(number("PTTL", only_name('t')) >= 2 * LONG_MS - 1000);
    CHECK_STATUS(yc_expire(cache, "many", 4, YC_TTL_NEVER, NULL), YC_OK);
    CHECK(number("PTTL", only_name('t')) == -1);
    CHECK_STATUS(set_tagged(other, "short", "tag", SHORT_MS), YC_OK);
    CHECK(number("PTTL", only_name('t')) == -1);
    CHECK_STATUS(get(other, "many"), YC_OK);
    /* A new version serves new entries as long. */
    invalidate(cache, "tag");
    CHECK_STATUS(get(other, "many"), YC_MISS);
    CHECK_STATUS(set_tagged(other, "short", "tag", SHORT_MS), YC_OK);
    CHECK_STATUS(set_tagged(other, "day", "tag", 24 * 3600 * 1000), YC_OK);
    CHECK(number("PTTL", only_name('t')) >= 24 * 3600 * 1000 - 1000);
    CHECK(tell(redis.port, "FLUSHALL"));
    close_cache(cache);
    close_cache(other);
}

/* ---- The index ---- */

/* Every name is listed as one that should have ended long ago: by another's clock, or before its time was changed. */
static void make_overdue(const char *index) {
    reply *names = ask(redis.port, "ZRANGE %s 0 -1", index);
    for (size_t at = 0; names && at < names->count; at++) {
        CHECK(tell(redis.port, "ZADD %s %zu %s", index, at + 1, names->items[at].text));
    }
    reply_free(names);
}

static void set_some(yc_cache *cache, const char *form, int count) {
    for (int number = 0; number < count; number++) {
        char key[NAME];
        snprintf(key, sizeof key, form, number);
        CHECK_STATUS(set_tagged(cache, key, "tag", LONG_MS), YC_OK);
    }
}

static void check_counts(void) {
    yc_cache *cache = open_with("&tag_index=true");
    char index[NAME];
    set_some(cache, "alive-%d", 40);
    snprintf(index, sizeof index, "%s", only_name('i'));
    CHECK(number("PTTL", index) >= LONG_MS - 1000);
    make_overdue(index);
    set_some(cache, "more-%d", 3);
    CHECK(number("ZCARD", index) == 43);
    CHECK(invalidate(cache, "tag") == 43);
    CHECK(number("EXISTS", "l:e:alive-0") == 0 && number("ZCARD", index) == 0);
    /* Names whose entries are gone do not pile up. */
    set_some(cache, "gone-%d", 40);
    for (int gone = 0; gone < 40; gone++) CHECK(tell(redis.port, "UNLINK l:e:gone-%d", gone));
    make_overdue(index);
    set_some(cache, "after-%d", 3);
    CHECK(number("ZCARD", index) <= 3 + 15);
    CHECK(invalidate(cache, "tag") == 3);
    /* An entry that is not of the tag any more is not counted, and stays. */
    set_some(cache, "both-%d", 2);
    CHECK_STATUS(yc_set(cache, "both-1", 6, "v", 1, LONG_MS, NULL, 0, NULL), YC_OK);
    CHECK(invalidate(cache, "tag") == 1);
    CHECK_STATUS(get(cache, "both-1"), YC_OK);
    CHECK(tell(redis.port, "FLUSHALL"));
    close_cache(cache);
}

/* A count that could be wrong is not reported. */
static void check_unknown_counts(void) {
    yc_cache *cache = open_with("&tag_index=true");
    char index[NAME];
    CHECK_STATUS(set_tagged(cache, "a", "tag", LONG_MS), YC_OK);
    snprintf(index, sizeof index, "%s", only_name('i'));
    CHECK(tell(redis.port, "SET %s foreign", index));
    CHECK_STATUS(set_tagged(cache, "b", "tag", LONG_MS), YC_OK);
    CHECK(invalidate(cache, "tag") == YC_COUNT_UNKNOWN);
    CHECK_STATUS(get(cache, "a"), YC_MISS);
    CHECK_STATUS(get(cache, "b"), YC_MISS);
    CHECK(tell(redis.port, "DEL %s", index));
    /* An index that expires may be evicted, under any policy that evicts. */
    CHECK(tell(redis.port, "CONFIG SET maxmemory 100mb") && tell(redis.port, "CONFIG SET maxmemory-policy volatile-lru"));
    CHECK_STATUS(set_tagged(cache, "a", "tag", LONG_MS), YC_OK);
    CHECK(invalidate(cache, "tag") == YC_COUNT_UNKNOWN);
    CHECK(tell(redis.port, "CONFIG SET maxmemory-policy noeviction"));
    CHECK_STATUS(set_tagged(cache, "a", "tag", LONG_MS), YC_OK);
    CHECK(invalidate(cache, "tag") == 1);
    close_cache(cache);
}

/* An entry that the index does not list would not be counted: the set fails, and nothing is stored. */
static void check_refused_note(void) {
    yc_cache *cache = open_with("&tag_index=true");
    CHECK(tell(redis.port, "ACL SETUSER default -zadd"));
    CHECK_STATUS(set_tagged(cache, "refused", "tag", LONG_MS), YC_E_DENIED);
    CHECK_STATUS(set_tagged(cache, "refused", "tag", LONG_MS), YC_E_DENIED);
    CHECK(tell(redis.port, "ACL SETUSER default +zadd"));
    CHECK(number("EXISTS", "l:e:refused") == 0);
    CHECK(invalidate(cache, "tag") == 0);
    close_cache(cache);
}

int main(void) {
    server_start(&redis, SERVER_REDIS, NULL);
    check_leaves_nothing("");
    check_leaves_nothing("&tag_index=true");
    check_outlasts("");
    check_outlasts("&tag_index=true");
    check_counts();
    check_unknown_counts();
    check_refused_note();
    server_stop(&redis);
    return check_result();
}
