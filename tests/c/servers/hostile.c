/* Bytes and types that others put under our stored names: a miss that is counted, never a value or a crash. */
#include "numbered.h"
#include "proxy.h"
#include "resp.h"
#include "server.h"

static server redis;
static yc_cache *cache;

static yc_slice as_slice(const reply *text) { return (yc_slice){text->text, text->len}; }

static bool ran(reply *answer) {
    bool done = CHECK(answer && answer->kind != '-');
    if (answer && answer->kind == '-') printf("  %s\n", answer->text);
    reply_free(answer);
    return done;
}

/* ---- Behind the library's back ---- */

/* The name that is stored under last: the only one on the server. */
static reply *only_name(void) {
    reply *names = ask_names(redis.port);
    CHECK(names->count == 1);
    if (names->count != 1) exit(check_result());
    return names;
}

static void put(yc_slice name, const void *bytes, size_t len) {
    yc_slice words[] = {slice("SET"), name, {bytes, len}};
    ran(ask_words(redis.port, words, 3));
}

static reply *stored_under(yc_slice name) {
    yc_slice words[] = {slice("GET"), name};
    return ask_words(redis.port, words, 2);
}

/* Puts another type there: `LPUSH name a` and such. */
static void put_type(yc_slice name, const char *const *words) {
    yc_slice remove[] = {slice("DEL"), name}, add[8];
    size_t count = 0;
    ran(ask_words(redis.port, remove, 2));
    for (; words[count]; count++) add[count] = words[count][0] == '@' ? name : slice(words[count]);
    ran(ask_words(redis.port, add, count));
}

/* ---- What is asked of it ---- */

/* Every call on the key answers, and a set puts an end to it. */
static void check_other_calls(void) {
    int64_t left;
    CHECK_ONE_OF(yc_exists(cache, "key-1", 5, NULL), YC_OK, YC_MISS);
    CHECK_ONE_OF(yc_ttl(cache, "key-1", 5, &left, NULL), YC_OK, YC_MISS);
    CHECK_ONE_OF(yc_expire(cache, "key-1", 5, 60000, NULL), YC_OK, YC_MISS);
    CHECK_ONE_OF(yc_delete(cache, "key-1", 5, NULL), YC_OK, YC_MISS);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_MISS);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
}

static void check_miss(void) {
    long long before = stat_of(cache, "decode_errors");
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_MISS);
    CHECK(before >= 0 && stat_of(cache, "decode_errors") > before);
}

static void check_bytes(yc_slice name, const void *bytes, size_t len) {
    int64_t left;
    put(name, bytes, len);
    check_miss();
    /* What is as short as this is read whole by every call. */
    CHECK_STATUS(yc_exists(cache, "key-1", 5, NULL), YC_MISS);
    CHECK_STATUS(yc_ttl(cache, "key-1", 5, &left, NULL), YC_MISS);
}

static void check_truncations(yc_slice name, const reply *entry) {
    for (size_t len = 0; len < entry->len; len++) check_bytes(name, entry->text, len);
}

static void check_flips(yc_slice name, const reply *entry) {
    char *bytes = malloc(entry->len);
    for (size_t bit = 0; bit < 8 * entry->len; bit++) {
        memcpy(bytes, entry->text, entry->len);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        check_bytes(name, bytes, entry->len);
    }
    free(bytes);
}

/* A length in the header that says a gigabyte, at every place where one could be. */
static void check_lengths(yc_slice name, const reply *entry) {
    char *bytes = malloc(entry->len);
    for (size_t at = 0; at + 4 <= entry->len && at < 40; at++) {
        memcpy(bytes, entry->text, entry->len);
        memcpy(bytes + at, "\x00\x00\x00\x40", 4);
        check_bytes(name, bytes, entry->len);
    }
    free(bytes);
}

static void check_more(yc_slice name, const reply *entry) {
    char *bytes = filled('x', entry->len + 100);
    memcpy(bytes, entry->text, entry->len);
    check_bytes(name, bytes, entry->len + 100);
    check_bytes(name, "x", 1);
    check_bytes(name, "{\"value\": 1}", 12);
    check_bytes(name, "\x80\x04\x95pickle", 9);
    free(bytes);
}

/* The entry of another key, whole and right, under this name. */
static void check_other_entry(yc_slice name) {
    CHECK_STATUS(yc_delete(cache, "key-1", 5, NULL), YC_OK);
    CHECK_STATUS(set_numbered(cache, 2), YC_OK);
    reply *other = only_name(), *entry = stored_under(as_slice(&other->items[0]));
    check_bytes(name, entry->text, entry->len);
    CHECK_STATUS(yc_delete(cache, "key-2", 5, NULL), YC_OK);
    reply_free(entry);
    reply_free(other);
}

static void check_types(yc_slice name) {
    const char *const types[][6] = {
        {"LPUSH", "@", "a", "b", NULL}, {"HSET", "@", "field", "value", NULL}, {"SADD", "@", "member", NULL},
        {"ZADD", "@", "1", "member", NULL}, {"XADD", "@", "*", "field", "value", NULL}};
    for (size_t at = 0; at < sizeof types / sizeof *types; at++) {
        put_type(name, types[at]);
        check_miss();
        check_other_calls();
    }
}

static void check_entry(void) {
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    reply *names = only_name();
    yc_slice name = as_slice(&names->items[0]);
    reply *entry = stored_under(name);
    check_truncations(name, entry);
    check_flips(name, entry);
    check_lengths(name, entry);
    check_more(name, entry);
    check_other_calls();
    check_types(name);
    check_other_entry(name);
    put(name, entry->text, entry->len);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    reply_free(entry);
    reply_free(names);
}

/* ---- Stamps ---- */

static yc_status set_tagged(void) {
    yc_slice tag = slice("tag");
    return yc_set(cache, "tagged", 6, "v", 1, YC_TTL_NEVER, &tag, 1, NULL);
}

static yc_status get_tagged(void) {
    char value[8];
    size_t len;
    return yc_get_into(cache, "tagged", 6, value, sizeof value, &len, NULL);
}

/* Whatever is in the stamp's place, the entry is not served; the tag works again once the place is free. */
static void check_stamp(yc_slice name, bool is_stamp) {
    if (is_stamp) CHECK(get_tagged() != YC_OK);
    else CHECK_STATUS(get_tagged(), YC_MISS);
    yc_slice remove[] = {slice("DEL"), name};
    ran(ask_words(redis.port, remove, 2));
    CHECK_STATUS(get_tagged(), YC_MISS);
    CHECK_STATUS(set_tagged(), YC_OK);
    CHECK_STATUS(get_tagged(), YC_OK);
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_OK);
    CHECK_STATUS(get_tagged(), YC_MISS);
    CHECK_STATUS(set_tagged(), YC_OK);
}

/* Of a tagged entry's names, those that are not its own. */
static void check_stamps(void) {
    static const char *const bytes[] = {"", "x", "12345678", "123456789", "-1", "0", "99999999999999999999999999"};
    const char *const list[] = {"LPUSH", "@", "a", NULL};
    CHECK(tell(redis.port, "FLUSHALL"));
    CHECK_STATUS(set_tagged(), YC_OK);
    reply *names = ask_names(redis.port);
    CHECK(names->count >= 2);
    for (size_t at = 0; at < names->count; at++) {
        yc_slice name = as_slice(&names->items[at]);
        bool is_stamp = memmem(name.data, name.len, "tagged", 6) == NULL;
        for (size_t with = 0; with < sizeof bytes / sizeof *bytes; with++) {
            put(name, bytes[with], strlen(bytes[with]));
            check_stamp(name, is_stamp);
        }
        put_type(name, list);
        check_stamp(name, is_stamp);
    }
    reply_free(names);
}

static yc_status get_of_family(const char *key) {
    char value[8];
    size_t len;
    return yc_get_into(cache, key, strlen(key), value, sizeof value, &len, NULL);
}

/* A tag that may not be read is a fault of the entries that have the tag, not of others whose keys let one expect it. */
static void check_family(void) {
    static const char *const tagged[] = {"family:1", "family:2", "family:3"};
    yc_slice tag = slice("tag");
    CHECK(tell(redis.port, "FLUSHALL"));
    CHECK_STATUS(yc_set(cache, "family:9", 8, "v", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    for (size_t at = 0; at < 3; at++) {
        CHECK_STATUS(yc_set(cache, tagged[at], 8, "v", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
        CHECK_STATUS(get_of_family(tagged[at]), YC_OK);
    }
    CHECK(tell(redis.port, "ACL SETUSER default resetkeys ~*:e:*"));
    CHECK_STATUS(get_of_family("family:9"), YC_OK);
    CHECK_STATUS(get_of_family("family:1"), YC_E_DENIED);
    CHECK(tell(redis.port, "ACL SETUSER default allkeys"));
    CHECK(tell(redis.port, "FLUSHALL"));
}

/* Names of ours that nothing of ours wrote do not end a listing. */
static void check_listing(void) {
    CHECK(tell(redis.port, "FLUSHALL"));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK(tell(redis.port, "SET hostile: a") && tell(redis.port, "SET hostile b") && tell(redis.port, "LPUSH hostile:e c"));
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    size_t count, total = 0;
    yc_status status;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    while ((status = yc_keys_next(cursor, 0, &page, NULL)) == YC_OK) {
        yc_keys_data(page, &count);
        total += count;
        yc_keys_free(page);
    }
    CHECK_STATUS(status, YC_END);
    CHECK(total == 1);
    yc_cursor_free(cursor);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
}

/* ---- Lines that are none ---- */

/* A server whose replies are no replies: each call ends with the error of that, and keeps no room. */
static void check_lines(server_kind kind) {
    static const char *const lines[] = {"\n", "\r\n", "\r", "\n\n\n", "+\n", "$\n", "VA \n", "VA\r\n", ":\r\n\n"};
    server behind;
    server_start(&behind, kind, NULL);
    proxy *between = proxy_start(behind.port);
    yc_cache *other = open_cache(url_of(kind, proxy_port(between), "pool_size=1&max_pending=4&socket_timeout=2s"));
    CHECK_STATUS(set_numbered(other, 1), YC_OK);
    for (size_t at = 0; at < 2 * sizeof lines / sizeof *lines; at++) {
        const char *line = lines[at / 2];
        proxy_set(between, (proxy_fault){.mode = PROXY_INJECT, .bytes = line, .len = strlen(line)});
        CHECK_ONE_OF(get_numbered(other, 1, NULL), YC_OK, YC_E_PROTOCOL, YC_E_CONNECT, YC_E_TIMEOUT);
        CHECK(recovers(other, 2, 5000));
    }
    for (int at = 0; at < 20; at++) CHECK_STATUS(get_numbered(other, 1, NULL), YC_OK);
    close_cache(other);
    proxy_stop(between);
    server_stop(&behind);
}

int main(void) {
    check_lines(SERVER_REDIS);
    check_lines(SERVER_MEMCACHED);
    server_start(&redis, SERVER_REDIS, NULL);
    cache = open_cache(server_url(&redis, "key_prefix=hostile"));
    check_entry();
    check_stamps();
    check_family();
    check_listing();
    close_cache(cache);
    server_stop(&redis);
    return check_result();
}
