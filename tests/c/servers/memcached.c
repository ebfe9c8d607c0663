/* Memcached: what a script cannot say. Keys that could be commands, replies that are none or another's, servers that are
   full or of another kind, limits of an item. */
#include "numbered.h"
#include "proxy.h"
#include "refused.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 500, NUMBERS = 20, REPLACED_MS = 3000, MIB = 1 << 20 };

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&pool_size=1&key_prefix=mc";
static const char BINARY[] = "socket_timeout=500ms&socket_connect_timeout=500ms&pool_size=1&key_prefix=mc&binary=true";

/* What a server says to a line, as it is. */
static bool says(int port, const char *line, const char *wanted) {
    char answer[512] = "";
    int fd = connect_to(port);
    bool sent = send(fd, line, strlen(line), MSG_NOSIGNAL) > 0;
    ssize_t len = sent ? recv(fd, answer, sizeof answer - 1, 0) : 0;
    close(fd);
    return len > 0 && strncmp(answer, wanted, strlen(wanted)) == 0;
}

static void check_numbers(yc_cache *cache) {
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

/* ---- Keys and tags that could be commands ---- */

static const yc_slice HOSTILE[] = {
    {"a\r\nset injected 0 0 1\r\nx\r\n", 28}, {"a b", 3},      {"\n", 1},   {"a\0b", 3}, {"\x7f", 1}, {" ", 1},
    {"a\r\nflush_all\r\n", 14},               {"a\tb\vc\f", 6}, {"key\r", 4}, {"\x80\x81\xff", 3}, {"mc:t:0", 6}, {"a v q k", 7}};
enum { HOSTILES = sizeof HOSTILE / sizeof *HOSTILE };

static void use_hostile(yc_cache *cache, yc_slice key) {
    char value[64];
    size_t len;
    int64_t left;
    CHECK_STATUS(yc_set(cache, key.data, key.len, key.data, key.len, 60000, &key, 1, NULL), YC_OK);
    CHECK_STATUS(yc_get_into(cache, key.data, key.len, value, sizeof value, &len, NULL), YC_OK);
    CHECK(len == key.len && memcmp(value, key.data, len) == 0);
    CHECK_STATUS(yc_expire(cache, key.data, key.len, 50000, NULL), YC_OK);
    CHECK_STATUS(yc_ttl(cache, key.data, key.len, &left, NULL), YC_OK);
    CHECK_STATUS(yc_invalidate_tag(cache, key.data, key.len, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_get_into(cache, key.data, key.len, value, sizeof value, &len, NULL), YC_MISS);
    CHECK_STATUS(yc_delete(cache, key.data, key.len, NULL), YC_MISS);
}

static void check_hostile_keys(const server *of, const char *options, bool in_text) {
    proxy *between = proxy_start(of->port);
    yc_cache *cache = open_cache(url_of(SERVER_MEMCACHED, proxy_port(between), options));
    char *longest = filled(' ', 5000);
    for (size_t at = 0; at < HOSTILES; at++) use_hostile(cache, HOSTILE[at]);
    CHECK_STATUS(yc_set(cache, longest, 5000, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, longest, 5000, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, longest, 4999, NULL), YC_MISS);
    CHECK_STATUS(yc_delete(cache, longest, 5000, NULL), YC_OK);
    /* As a value it may stand there, with its length before it. */
    CHECK(in_text ? !proxy_saw(between, "mg mc:e:a\r\nset", 14) : true);
    CHECK(!proxy_saw(between, " \r\nset injected", 15) && !proxy_saw(between, "mc:e:a ", 7));
    CHECK(says(of->port, "mg injected\r\n", "EN"));
    free(longest);
    close_cache(cache);
    proxy_stop(between);
}

/* ---- Replies that are none ---- */

static const char *const REPLIES[] = {
    "VA 18446744073709551616 k\r\n", "VA -1 k\r\n", "VA\r\n", "VA 5\r\n", "EN\r\n", "HD\r\n",
    "EN kmc:e:key-1 O999999\r\n", "EN kmc:e:key-2 O1\r\n", "VA 1 kmc:e:key-1\r\nx\r\n", "VA 2 k O\r\nxyz\r\n", "MN\r\n", "END\r\n", "\r\n",
    "STAT a b\r\n", "TL\r\n", "key=a exp=1\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "ERROR\r\n", "CLIENT_ERROR no\r\n", "SERVER_ERROR no\r\n",
    "VALUE a 0 1\r\nx\r\nEND\r\n", "STORED\r\n", "hello\n", "\x81\x0c", "\xff\xfe\xfd\xfc\r\n"};

/* Never a miss, and all is well again soon. */
static void check_reply(proxy *between, yc_cache *cache, const char *bytes) {
    proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = bytes, .len = strlen(bytes), .once = true});
    yc_status status = get_in_time(cache, 1, DEADLINE_MS);
    bool right = CHECK(status != YC_MISS);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    if (!CHECK(recovers(cache, NUMBERS, REPLACED_MS)) || !right) printf("  reply %s: %s\n", bytes, yc_status_name(status));
    check_numbers(cache);
}

/* An extra reply shifts all that follow: none of them reaches a caller who did not ask for it. */
static void check_extra_reply(proxy *between, yc_cache *cache, const char *bytes, size_t len) {
    proxy_set(between, (proxy_fault){.mode = PROXY_INJECT, .bytes = bytes, .len = len});
    for (unsigned number = 0; number < NUMBERS; number++) CHECK(get_in_time(cache, number, DEADLINE_MS) != YC_MISS);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    CHECK(recovers(cache, NUMBERS, REPLACED_MS));
    check_numbers(cache);
}

/* A gigabyte is announced: that is no entry of ours, and nothing is set aside for it. */
static void check_huge_reply(proxy *between, yc_cache *cache) {
    const char huge[] = "VA 1073741824 kmc:e:key-1 O1\r\nabc";
    proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = huge, .len = sizeof huge - 1, .once = true});
    CHECK_ONE_OF(get_in_time(cache, 1, DEADLINE_MS), YC_MISS, YC_E_TIMEOUT, YC_E_PROTOCOL, YC_E_CONNECT);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    CHECK(recovers(cache, NUMBERS, REPLACED_MS));
    check_numbers(cache);
}

static void check_replies(const server *of) {
    static const char miss[] = "EN kmc:e:key-1 O7\r\n", packet[24] = {(char)0x81, 0x0c, 0, 0, 0, 0, 0, 1};
    proxy *between = proxy_start(of->port);
    yc_cache *text = open_cache(url_of(SERVER_MEMCACHED, proxy_port(between), OPTIONS));
    set_numbers(text, NUMBERS);
    for (size_t at = 0; at < sizeof REPLIES / sizeof *REPLIES; at++) check_reply(between, text, REPLIES[at]);
    check_extra_reply(between, text, miss, sizeof miss - 1);
    check_huge_reply(between, text);
    close_cache(text);
    yc_cache *binary = open_cache(url_of(SERVER_MEMCACHED, proxy_port(between), BINARY));
    for (size_t at = 0; at < sizeof REPLIES / sizeof *REPLIES; at++) check_reply(between, binary, REPLIES[at]);
    check_extra_reply(between, binary, packet, sizeof packet);
    close_cache(binary);
    proxy_stop(between);
}

/* ---- Many names at once ---- */

/* Reads the numbers at once. Each has its value or fails; none is a miss. */
static yc_status get_numbers(yc_cache *cache) {
    char keys[NUMBERS][NUMBERED_KEY];
    yc_slice names[NUMBERS];
    yc_value *values[NUMBERS];
    yc_status statuses[NUMBERS];
    for (unsigned at = 0; at < NUMBERS; at++) names[at] = (yc_slice){keys[at], numbered_key(keys[at], at)};
    yc_status status = yc_get_many(cache, names, NUMBERS, values, statuses, NULL);
    for (unsigned at = 0; at < NUMBERS; at++) {
        size_t len = 0;
        const void *data = yc_value_data(values[at], &len);
        CHECK(statuses[at] != YC_MISS);
        if (statuses[at] == YC_OK) check_numbered(at, data, len);
        yc_value_free(values[at]);
    }
    return status;
}

/* Replies of a server that sends others, too many or too few. */
static const char *const LISTS[] = {
    "END\r\nEN kmc:e:key-19 O7\r\n", "END\r\nEND\r\n", "END\r\nHD\r\n", "VALUE mc:e:key-1 0 1\r\nx\r\nEND\r\nVA 1 kmc:e:key-19 O7\r\nx\r\n",
    "VALUE mc:e:other 0 1\r\nx\r\nEND\r\nEN kmc:e:key-19 O0\r\n", "VALUE mc:e:key-1 0\r\n", "VALUE mc:e:key-1 0 -1\r\n", "VALUE\r\n",
    "VALUE mc:e:key-1 0 1\r\nxyz\r\n", "VALUE mc:e:key-1 0 1\r\nx\r\nVA 1 kmc:e:key-2\r\nx\r\n", "VALUE mc:e:key-1 0 1\r\nx\r\nERROR\r\nERROR\r\n"};

static void check_fault_of_many(proxy *between, yc_cache *cache, enum proxy_mode mode, const char *bytes) {
    proxy_set(between, (proxy_fault){.mode = mode, .bytes = bytes, .len = strlen(bytes), .once = true});
    get_numbers(cache);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    if (!CHECK(recovers(cache, NUMBERS, REPLACED_MS)) || !CHECK_STATUS(get_numbers(cache), YC_OK)) printf("  reply %s\n", bytes);
}

static void check_many(const server *of, const char *options) {
    proxy *between = proxy_start(of->port);
    yc_cache *cache = open_cache(url_of(SERVER_MEMCACHED, proxy_port(between), options));
    set_numbers(cache, NUMBERS);
    CHECK_STATUS(get_numbers(cache), YC_OK);
    proxy_set(between, (proxy_fault){.mode = PROXY_SLICE});
    CHECK_STATUS(get_numbers(cache), YC_OK);
    for (size_t at = 0; at < sizeof REPLIES / sizeof *REPLIES; at++) check_fault_of_many(between, cache, PROXY_ANSWER, REPLIES[at]);
    for (size_t at = 0; at < sizeof LISTS / sizeof *LISTS; at++) {
        check_fault_of_many(between, cache, PROXY_ANSWER, LISTS[at]);
        check_fault_of_many(between, cache, PROXY_INJECT, LISTS[at]);
    }
    check_fault_of_many(between, cache, PROXY_INJECT, "END\r\n");
    close_cache(cache);
    proxy_stop(between);
}

/* A server of another kind is refused before anything is written to it. */
static void check_other_servers(const server *of) {
    static const char *const others[] = {"ERROR\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "VERSION 1.4.15\r\n", "-ERR unknown command\r\n"};
    proxy *between = proxy_start(of->port);
    for (size_t at = 0; at < sizeof others / sizeof *others; at++) {
        proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = others[at], .len = strlen(others[at])});
        const char *url = url_of(SERVER_MEMCACHED, proxy_port(between), REFUSED_OPTIONS);
        char own[MAX_URL];
        snprintf(own, sizeof own, "%s", url);
        CHECK_REFUSED(own, "127.0.0.1", YC_E_PROTOCOL, YC_E_SERVER, YC_E_UNSUPPORTED, YC_E_CONNECT);
        CHECK(!proxy_saw(between, "ms ", 3));
    }
    proxy_stop(between);
}

/* ---- Limits ---- */

static void check_item_size(const char *options) {
    const char *const two_mib[] = {"-I", "2m", NULL};
    server big;
    server_start(&big, SERVER_MEMCACHED, two_mib);
    yc_cache *cache = open_cache(server_url(&big, options));
    char *value = filled('x', 3 * MIB);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(yc_set(cache, "large", 5, value, 3 * MIB / 2, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, "large", 5, NULL), YC_OK);
    CHECK_CALL(yc_set(cache, "large", 5, value, 3 * MIB, 60000, NULL, 0, err), YC_E_TOO_LARGE);
    /* Refused before it was sent: what was there stays. */
    CHECK_STATUS(yc_exists(cache, "large", 5, NULL), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    CHECK(stat_of(cache, "reconnects") == 0);
    free(value);
    close_cache(cache);
    server_stop(&big);
}

/* Around the limit a value is stored, or refused and the older entry stays; once one is refused every longer one is. */
static void check_edge(yc_cache *cache, size_t limit, const yc_slice *tags, size_t n_tags) {
    char *value = filled('x', limit), *came = filled(' ', limit);
    size_t longest = 0, len;
    for (size_t size = limit - 200; size < limit; size++) {
        CHECK_STATUS(yc_set(cache, "edge", 4, "old", 3, 60000, NULL, 0, NULL), YC_OK);
        yc_status status = yc_set(cache, "edge", 4, value, size, 60000, tags, n_tags, NULL);
        CHECK_STATUS(yc_get_into(cache, "edge", 4, came, limit, &len, NULL), YC_OK);
        if (status == YC_OK) CHECK(len == size && (longest == 0 || longest == size - 1));
        else CHECK(status == YC_E_TOO_LARGE && len == 3 && memcmp(came, "old", 3) == 0);
        if (status == YC_OK) longest = size;
    }
    CHECK(longest > limit - 200 && longest < limit - 59);
    free(came);
    free(value);
}

/* When the server of one entry would refuse it, none is stored: also on servers that were not reached yet. */
static void check_edge_of_many(const char *url, size_t limit) {
    enum { MANY = 20 };
    char *value = filled('x', limit), keys[MANY][NUMBERED_KEY], came[8];
    yc_slice names[MANY], values[MANY];
    for (unsigned at = 0; at < MANY; at++) names[at] = (yc_slice){keys[at], numbered_key(keys[at], at)};
    for (unsigned large = 0; large < MANY; large += 3) {
        size_t len;
        for (unsigned at = 0; at < MANY; at++) values[at] = slice("old");
        yc_cache *cache = open_cache(url);
        CHECK_STATUS(yc_set_many(cache, names, values, MANY, 60000, NULL, 0, NULL, NULL), YC_OK);
        close_cache(cache);
        for (unsigned at = 0; at < MANY; at++) values[at] = at == large ? (yc_slice){value, limit - 20} : slice("new");
        cache = open_cache(url);
        CHECK_CALL(yc_set_many(cache, names, values, MANY, 60000, NULL, 0, NULL, err), YC_E_TOO_LARGE);
        for (unsigned at = 0; at < MANY; at++) {
            CHECK_STATUS(yc_get_into(cache, names[at].data, names[at].len, came, sizeof came, &len, NULL), YC_OK);
            CHECK(len == 3 && memcmp(came, "old", 3) == 0);
        }
        close_cache(cache);
    }
    free(value);
}

static void check_edges(void) {
    static const char *const kinds[][5] = {
        {NULL}, {"-C", NULL}, {"-I", "512k", "-o", "slab_chunk_max=262144", NULL}, {"-o", "slab_chunk_max=16384", NULL}};
    const yc_slice tags[] = {slice("one"), slice("another")};
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        size_t limit = kind == 2 ? MIB / 2 : MIB;
        server of;
        server_start(&of, SERVER_MEMCACHED, kinds[kind]);
        yc_cache *text = open_cache(server_url(&of, OPTIONS)), *binary = open_cache(server_url(&of, BINARY));
        check_edge(text, limit, NULL, 0);
        check_edge(text, limit, tags, 2);
        check_edge(binary, limit, tags, 2);
        close_cache(text);
        close_cache(binary);
        server_stop(&of);
    }
}

static void check_edges_of_two(const char *options) {
    const char *const small[] = {"-I", "512k", "-o", "slab_chunk_max=262144", NULL};
    char url[MAX_URL];
    server one, two;
    server_start(&one, SERVER_MEMCACHED, small);
    server_start(&two, SERVER_MEMCACHED, small);
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d,127.0.0.1:%d?key_prefix=mc&connect=lazy&%s", one.port, two.port, options);
    check_edge_of_many(url, MIB / 2);
    yc_cache *cache = open_cache(url);
    check_edge(cache, MIB / 2, NULL, 0);
    close_cache(cache);
    server_stop(&one);
    server_stop(&two);
}

static void check_full(const char *options) {
    const char *const no_evictions[] = {"-m", "4", "-M", NULL};
    server full;
    yc_status status = YC_OK;
    yc_error *error = NULL;
    char *value = filled('x', 100000);
    server_start(&full, SERVER_MEMCACHED, no_evictions);
    yc_cache *cache = open_cache(server_url(&full, options));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    for (unsigned key = 0; key < 2000 && status == YC_OK; key++) {
        yc_error_free(error);
        error = NULL;
        status = yc_set(cache, &key, sizeof key, value, 100000, 60000, NULL, 0, &error);
    }
    CHECK_STATUS(status, YC_E_SERVER_MEMORY);
    if (error) check_message(error, "127.0.0.1");
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    CHECK(stat_of(cache, "reconnects") == 0);
    yc_error_free(error);
    free(value);
    close_cache(cache);
    server_stop(&full);
}

/* ---- Stamps that are evicted ---- */

enum { TAGS = 300, FILL = 12000, FILL_BYTES = 10000 };

static yc_status get_tagged(yc_cache *cache, unsigned tag) {
    unsigned value = 0;
    size_t len = 0;
    yc_status status = yc_get_into(cache, &tag, sizeof tag, &value, sizeof value, &len, NULL);
    if (status == YC_OK) CHECK(len == sizeof value);
    return status;
}

static void set_tagged(yc_cache *cache, unsigned tag, unsigned value) {
    yc_slice slices[] = {{&tag, sizeof tag}, slice("every")};
    CHECK_STATUS(yc_set(cache, &tag, sizeof tag, &value, sizeof value, YC_TTL_NEVER, slices, 2, NULL), YC_OK);
}

/* Whatever the server throws out, what was invalidated is not read again, and a set counts. */
static void check_eviction(void) {
    const char *const small[] = {"-m", "64", NULL};
    server of;
    char *value = filled('x', FILL_BYTES);
    server_start(&of, SERVER_MEMCACHED, small);
    yc_cache *cache = open_cache(server_url(&of, OPTIONS));
    for (unsigned tag = 0; tag < TAGS; tag++) set_tagged(cache, tag, tag);
    for (unsigned tag = 0; tag < TAGS; tag += 2) CHECK_STATUS(yc_invalidate_tag(cache, &tag, sizeof tag, NULL, NULL), YC_OK);
    for (unsigned key = 0; key < FILL; key++) {
        unsigned long long name = key + (1ull << 40);
        CHECK_STATUS(yc_set(cache, &name, sizeof name, value, FILL_BYTES, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
        if (key % 7 == 0) get_tagged(cache, key % TAGS);
    }
    for (unsigned tag = 0; tag < TAGS; tag += 2) CHECK_STATUS(get_tagged(cache, tag), YC_MISS);
    for (unsigned tag = 0; tag < TAGS; tag++) set_tagged(cache, tag, tag);
    unsigned hits = 0;
    for (unsigned tag = 0; tag < TAGS; tag++) hits += get_tagged(cache, tag) == YC_OK;
    CHECK(hits == TAGS);
    CHECK_STATUS(yc_invalidate_tag(cache, "every", 5, NULL, NULL), YC_OK);
    for (unsigned tag = 0; tag < TAGS; tag++) CHECK_STATUS(get_tagged(cache, tag), YC_MISS);
    free(value);
    close_cache(cache);
    server_stop(&of);
}

/* ---- No listing ---- */

static void check_without_crawler(void) {
    const char *const without[] = {"-o", "no_lru_crawler", NULL};
    server of;
    uint64_t able = 0;
    yc_error *error = NULL;
    server_start(&of, SERVER_MEMCACHED, without);
    yc_cache *cache = open_cache(server_url(&of, OPTIONS));
    CHECK_STATUS(yc_capabilities(cache, &able, NULL), YC_OK);
    CHECK(!(able & YC_CAN_LIST));
    CHECK_STATUS(yc_flush(cache, NULL, &error), YC_E_UNSUPPORTED);
    CHECK(error && strstr(yc_error_message(error), "crawler"));
    yc_error_free(error);
    error = NULL;
    CHECK_STATUS(yc_invalidate_pattern(cache, "*", 1, NULL, &error), YC_E_UNSUPPORTED);
    if (!CHECK(error && strstr(yc_error_message(error), "crawler"))) printf("  %s\n", error ? yc_error_message(error) : "");
    yc_error_free(error);
    close_cache(cache);
    server_stop(&of);
}

/* ---- Another deadline during sets ---- */

static atomic_bool expiring_ends;

static void *keep_expiring(void *cache) {
    for (int64_t ttl = 60000; !atomic_load(&expiring_ends); ttl++) CHECK_ONE_OF(yc_expire(cache, "k", 1, ttl, NULL), YC_OK, YC_MISS, YC_E_BUSY);
    return NULL;
}

/* What was set last stays, however often its deadline is changed meanwhile. */
static void check_expire_beside_sets(const char *options) {
    server of;
    pthread_t threads[2];
    server_start(&of, SERVER_MEMCACHED, NULL);
    yc_cache *cache = open_cache(server_url(&of, options));
    atomic_store(&expiring_ends, false);
    for (int at = 0; at < 2; at++) pthread_create(&threads[at], NULL, keep_expiring, cache);
    for (unsigned set = 0; set < 3000; set++) {
        unsigned came = 0;
        size_t len;
        yc_slice tag = slice(set % 2 ? "odd" : "even");
        CHECK_STATUS(yc_set(cache, "k", 1, &set, sizeof set, 60000, &tag, 1, NULL), YC_OK);
        CHECK_STATUS(yc_get_into(cache, "k", 1, &came, sizeof came, &len, NULL), YC_OK);
        CHECK(came == set);
    }
    atomic_store(&expiring_ends, true);
    for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
    CHECK_STATUS(yc_invalidate_tag(cache, "odd", 3, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, "k", 1, NULL), YC_MISS);
    close_cache(cache);
    server_stop(&of);
}

int main(void) {
    server of;
    server_start(&of, SERVER_MEMCACHED, NULL);
    check_hostile_keys(&of, OPTIONS, true);
    check_hostile_keys(&of, BINARY, false);
    check_replies(&of);
    check_many(&of, OPTIONS);
    check_many(&of, BINARY);
    check_other_servers(&of);
    server_stop(&of);
    check_item_size(OPTIONS);
    check_item_size(BINARY);
    check_edges();
    check_edges_of_two("socket_timeout=10s");
    check_edges_of_two("socket_timeout=10s&failover=eject");
    check_full(OPTIONS);
    check_full(BINARY);
    check_eviction();
    check_expire_beside_sets(OPTIONS);
    check_expire_beside_sets(BINARY);
    check_without_crawler();
    return check_result();
}
