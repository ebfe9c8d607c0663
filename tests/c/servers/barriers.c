/* Barriers on servers: the room of what they make misses, the number of their lists, a list that is lost, servers that fail or
   refuse. Usage: barriers redis|memcached. Starts servers of its own. */
#include "../check.h"
#include "numbered.h"
#include "ports.h"
#include "server.h"

enum { OLD = 2000, OTHERS = 100, ROUNDS = 200, FREED_MS = 30000, RECOVERY_MS = 10000 };

static server stored;
static const char OPTIONS[] = "key_prefix=bars&patterns=barrier&socket_timeout=5s";

static yc_status set(yc_cache *cache, const char *key) { return yc_set(cache, key, strlen(key), "v", 1, 3600000, NULL, 0, NULL); }
static yc_status exists(yc_cache *cache, const char *key) { return yc_exists(cache, key, strlen(key), NULL); }

static yc_status invalidate(yc_cache *cache, const char *pattern, yc_error **error) {
    uint64_t removed = 0;
    yc_status status = yc_invalidate_pattern(cache, pattern, strlen(pattern), &removed, error);
    if (status == YC_OK) CHECK(removed == YC_COUNT_UNKNOWN);
    return status;
}

/* ---- Room ---- */

/* A number of the server's statistics. */
static long long items_of_memcached(void) {
    char text[16384];
    size_t len = 0;
    int fd = connect_to(stored.port);
    if (!CHECK(fd >= 0)) return -1;
    CHECK(write(fd, "stats\r\n", 7) == 7);
    for (ssize_t got = 1; got > 0 && len < sizeof text - 1 && !(len > 5 && memcmp(text + len - 5, "END\r\n", 5) == 0); len += (size_t)got) {
        got = read(fd, text + len, sizeof text - 1 - len);
        if (got < 0) got = 0;
    }
    close(fd);
    text[len] = '\0';
    const char *found = strstr(text, "STAT curr_items ");
    return found ? strtoll(found + 16, NULL, 10) : -1;
}

static long long names_stored(void) {
    if (stored.kind == SERVER_MEMCACHED) return items_of_memcached();
    reply *size = ask(stored.port, "DBSIZE");
    long long number = size ? size->number : -1;
    reply_free(size);
    return number;
}

static void check_room(void) {
    char key[NUMBERED_KEY];
    yc_cache *cache = open_cache(server_url(&stored, OPTIONS));
    for (int number = 0; number < OLD; number++) {
        snprintf(key, sizeof key, "old:%d", number);
        CHECK_STATUS(set(cache, key), YC_OK);
    }
    for (int number = 0; number < OTHERS; number++) {
        snprintf(key, sizeof key, "other:%d", number);
        CHECK_STATUS(set(cache, key), YC_OK);
    }
    CHECK_STATUS(invalidate(cache, "old:*", NULL), YC_OK);
    CHECK_STATUS(set(cache, "old:again"), YC_OK);
    /* Beside the entries there are versions, a list, and what a server has of its own. */
    UNTIL(names_stored() < OTHERS + 20, FREED_MS);
    for (int number = 0; number < OTHERS; number++) {
        snprintf(key, sizeof key, "other:%d", number);
        CHECK_STATUS(exists(cache, key), YC_OK);
    }
    CHECK_STATUS(exists(cache, "old:again"), YC_OK);
    CHECK_STATUS(exists(cache, "old:1"), YC_MISS);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
}

/* A cache that is closed during the work in the background. */
static void check_close(void) {
    char key[NUMBERED_KEY];
    for (int round = 0; round < 20; round++) {
        yc_cache *cache = open_cache(server_url(&stored, OPTIONS));
        for (int number = 0; number < 100; number++) {
            snprintf(key, sizeof key, "old:%d", number);
            CHECK_STATUS(set(cache, key), YC_OK);
        }
        CHECK_STATUS(invalidate(cache, "old:*", NULL), YC_OK);
        close_cache(cache);
    }
}

/* ---- Lists, on Redis, which lists its names ---- */

/* Lists that have more time than those that were replaced. */
static int lists_that_last(char *last, size_t size) {
    int count = 0;
    reply *names = ask_names(stored.port);
    for (size_t at = 0; names && at < names->count; at++) {
        if (strncmp(names->items[at].text, "bars:b:", 7)) continue;
        reply *left = ask(stored.port, "PTTL %s", names->items[at].text);
        if (CHECK(left && left->number != -1) && left->number > 11000) {
            count++;
            if (last) snprintf(last, size, "%s", names->items[at].text);
        }
        reply_free(left);
    }
    reply_free(names);
    return count;
}

static void check_lists(void) {
    char text[NUMBERED_KEY], name[256];
    yc_cache *cache = open_cache(server_url(&stored, OPTIONS)), *other = open_cache(server_url(&stored, OPTIONS));
    CHECK_STATUS(set(cache, "a"), YC_OK);
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(text, sizeof text, "p%d", round % 50);
        CHECK_STATUS(invalidate(cache, text, NULL), YC_OK);
        CHECK_STATUS(exists(cache, "a"), YC_OK);
    }
    CHECK(lists_that_last(name, sizeof name) == 1);
    CHECK_STATUS(set(cache, "b"), YC_OK);
    /* Without the list nothing says that "a" is alive. */
    CHECK(tell(stored.port, "DEL %s", name));
    CHECK_STATUS(exists(other, "a"), YC_MISS);
    CHECK_STATUS(exists(other, "b"), YC_OK);
    CHECK_STATUS(invalidate(other, "c", NULL), YC_OK);
    CHECK_STATUS(exists(other, "b"), YC_OK);
    CHECK_STATUS(exists(cache, "a"), YC_MISS);
    CHECK(lists_that_last(NULL, 0) == 1);
    CHECK_STATUS(yc_clear(other, NULL, NULL), YC_OK);
    CHECK(lists_that_last(NULL, 0) == 0);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(other);
    close_cache(cache);
}

/* A list that another program has damaged is none. */
static void check_damaged_list(void) {
    char name[256];
    yc_cache *cache = open_cache(server_url(&stored, OPTIONS)), *other = open_cache(server_url(&stored, OPTIONS));
    CHECK_STATUS(set(cache, "a"), YC_OK);
    CHECK_STATUS(invalidate(cache, "b", NULL), YC_OK);
    CHECK(lists_that_last(name, sizeof name) == 1);
    CHECK(tell(stored.port, "SETRANGE %s 40 x", name));
    CHECK_STATUS(exists(other, "a"), YC_MISS);
    CHECK_STATUS(exists(cache, "a"), YC_OK);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(other);
    close_cache(cache);
}

/* ---- Servers that fail, and servers that refuse ---- */

static void check_outage(void) {
    yc_error *error = NULL;
    yc_cache *cache = open_cache(server_url(&stored, "key_prefix=bars&patterns=barrier&socket_timeout=500ms"));
    CHECK_STATUS(set(cache, "a"), YC_OK);
    server_kill(&stored);
    yc_status status = invalidate(cache, "a", &error);
    CHECK(status == YC_E_CONNECT || status == YC_E_TIMEOUT);
    CHECK(strstr(yc_error_message(error), "127.0.0.1"));
    yc_error_free(error);
    server_restart(&stored);
    double end = now_ms() + RECOVERY_MS;
    while ((status = set(cache, "b")) < 0 && now_ms() < end) sleep_ms(10);
    CHECK_STATUS(status, YC_OK);
    CHECK_STATUS(invalidate(cache, "a*", NULL), YC_OK);
    CHECK_STATUS(exists(cache, "b"), YC_OK);
    CHECK_STATUS(exists(cache, "a"), YC_MISS);
    CHECK_STATUS(invalidate(cache, "b", NULL), YC_OK);
    CHECK_STATUS(exists(cache, "b"), YC_MISS);
    close_cache(cache);
}

static void check_refused_with(const char *url, const char *wanted) {
    yc_error *error = NULL;
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(set(cache, "a"), YC_OK);
    CHECK_STATUS(invalidate(cache, "a", &error), YC_E_UNSUPPORTED);
    if (!CHECK(strstr(yc_error_message(error), wanted))) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
    CHECK_STATUS(exists(cache, "a"), YC_OK);
    close_cache(cache);
}

static void check_refused(void) {
    char url[256];
    if (stored.kind == SERVER_REDIS) {
        CHECK(tell(stored.port, "ACL SETUSER plain on >word ~* &* +@all -eval -evalsha"));
        snprintf(url, sizeof url, "redis://plain:word@127.0.0.1:%d?key_prefix=refused&patterns=barrier", stored.port);
        check_refused_with(url, "EVAL");
        return;
    }
    const char *const flags[] = {"-C", NULL};
    server without = {0};
    server_start(&without, SERVER_MEMCACHED, flags);
    check_refused_with(server_url(&without, OPTIONS), "start it without -C");
    server_stop(&without);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    server_start(&stored, strcmp(arguments[1], "redis") ? SERVER_MEMCACHED : SERVER_REDIS, NULL);
    check_room();
    check_close();
    if (stored.kind == SERVER_REDIS) {
        check_lists();
        check_damaged_list();
    }
    check_refused();
    check_outage();
    server_stop(&stored);
    return check_result();
}
