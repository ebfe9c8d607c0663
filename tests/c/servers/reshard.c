/* Listings and what goes through them, while a cluster's slots move and its primaries change: whole, or an error.
   Needs servers of its own of kind cluster (tests/servers). */
#include "listed.h"
#include "ports.h"
#include "slots.h"

#include <pthread.h>

enum { HOT = 2500, NUMBERS = 3000, SETTLES_MS = 30000 };

static int nodes[MAX_PORTS], primaries[MAX_PORTS];
static size_t n_nodes, n_primaries;
static char options[128], cluster_url[1024];

static bool is_primary(int port) { return ask_info(port, "replication", "master_port") < 0; }

static void find_primaries(void) {
    n_primaries = 0;
    for (size_t at = 0; at < n_nodes; at++) {
        if (is_primary(nodes[at])) primaries[n_primaries++] = nodes[at];
    }
    CHECK(n_primaries == 3);
}

static yc_cache *open_lazily(void) {
    char url[sizeof cluster_url + 32];
    snprintf(url, sizeof url, "%s&connect=lazy", cluster_url);
    return open_cache(url);
}

/* ---- Entries of one slot ---- */

static void set_hot(yc_cache *cache) {
    enum { CHUNK = 500 };
    static char keys[CHUNK][2 * NUMBERED_KEY];
    yc_slice names[CHUNK], values[CHUNK];
    for (unsigned first = 0; first < HOT; first += CHUNK) {
        for (unsigned at = 0; at < CHUNK; at++) {
            names[at] = (yc_slice){keys[at], (size_t)snprintf(keys[at], sizeof *keys, "{hot}key-%u", first + at)};
            values[at] = slice("v");
        }
        CHECK_STATUS(yc_set_many(cache, names, values, CHUNK, YC_TTL_NEVER, NULL, 0, NULL, NULL), YC_OK);
    }
}

static unsigned count_hot(yc_cache *cache) {
    char key[2 * NUMBERED_KEY];
    unsigned there = 0;
    for (unsigned number = 0; number < HOT; number++) {
        size_t len = (size_t)snprintf(key, sizeof key, "{hot}key-%u", number);
        there += yc_exists(cache, key, len, NULL) != YC_MISS;
    }
    return there;
}

static long long hot_slot(void) {
    reply *answer = ask(nodes[0], "CLUSTER KEYSLOT {hot}");
    long long slot = answer ? answer->number : -1;
    reply_free(answer);
    return slot;
}

static long long names_in(int port, long long slot) {
    reply *answer = ask(port, "CLUSTER COUNTKEYSINSLOT %lld", slot);
    long long names = answer && answer->kind == ':' ? answer->number : -1;
    reply_free(answer);
    return names;
}

static size_t hot_owner(void) {
    for (size_t at = 0; at < n_primaries; at++) {
        if (names_in(primaries[at], hot_slot()) > 0) return at;
    }
    CHECK(!"an owner of the slot");
    return 0;
}

/* ---- Names move one by one while they are listed ---- */

/* The first page is listed, the rest moves, the rest is listed: in three moves, one goes to a node that was listed. */
static void check_moving(yc_cache *cache, yc_cache *other) {
    size_t owner = hot_owner();
    int from = primaries[owner], to = primaries[(owner + 1) % n_primaries];
    open_slot(from, to, hot_slot());
    listed all = listed_open(cache, HOT);
    CHECK_STATUS(listed_next(&all), YC_OK);
    while (move_names(from, to, hot_slot(), 500)) continue;
    listed_finish(&all, SETTLES_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
    close_slot(from, to, hot_slot());
    /* One that has heard of nothing yet. */
    listed fresh = listed_open(other, HOT);
    listed_finish(&fresh, SETTLES_MS);
    CHECK(listed_missing(&fresh) == 0);
    listed_close(&fresh);
}

/* Nodes that are to be known by names and have none, or by nothing: slots and redirections name no host. */
static void check_endpoints(const char *type) {
    for (size_t at = 0; at < n_nodes; at++) CHECK(tell(nodes[at], "CONFIG SET cluster-preferred-endpoint-type %s", type));
    yc_cache *cache = open_cache(cluster_url), *other = open_cache(cluster_url);
    check_moving(cache, other);
    CHECK(count_hot(other) == HOT);
    close_cache(cache);
    close_cache(other);
    for (size_t at = 0; at < n_nodes; at++) CHECK(tell(nodes[at], "CONFIG SET cluster-preferred-endpoint-type ip"));
}

typedef struct removal {
    yc_cache *cache;
    bool flushes;
    yc_status status;
} removal;

static void *remove_all(void *argument) {
    removal *self = argument;
    self->status = self->flushes ? yc_flush(self->cache, NULL, NULL)
                                 : yc_invalidate_pattern(self->cache, "{hot}*", 6, NULL, NULL);
    return NULL;
}

/* Names move while all are removed: none is left, or the call says so. */
static void check_removal(yc_cache *cache, bool flushes) {
    pthread_t removing;
    removal all = {.cache = cache, .flushes = flushes};
    size_t owner = hot_owner();
    int from = primaries[owner], to = primaries[(owner + 1) % n_primaries];
    open_slot(from, to, hot_slot());
    pthread_create(&removing, NULL, remove_all, &all);
    while (move_names(from, to, hot_slot(), 50)) continue;
    pthread_join(removing, NULL);
    CHECK_ONE_OF(all.status, YC_OK, YC_E_BUSY, YC_E_TIMEOUT, YC_E_CONNECT, YC_E_SERVER);
    if (all.status == YC_OK) CHECK(count_hot(cache) == 0);
    while (move_names(from, to, hot_slot(), 500)) continue;
    close_slot(from, to, hot_slot());
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    set_hot(cache);
}

/* ---- A replica becomes the primary while its entries are listed ---- */

static int replica_of(int primary) {
    for (size_t at = 0; at < n_nodes; at++) {
        if (ask_info(nodes[at], "replication", "master_port") == primary) return nodes[at];
    }
    CHECK(!"a replica");
    return 0;
}

static void check_failover(yc_cache *cache, int primary) {
    int replica = replica_of(primary);
    UNTIL(has_caught_up(replica, ask_info(primary, "replication", "master_repl_offset")), SETTLES_MS);
    listed all = listed_open(cache, NUMBERS);
    CHECK_STATUS(listed_next(&all), YC_OK);
    CHECK(tell(replica, "CLUSTER FAILOVER"));
    UNTIL(is_primary(replica) && !is_primary(primary), SETTLES_MS);
    listed_finish(&all, SETTLES_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
}

/* ---- The first call of a cache that has not connected yet ---- */

static void check_lazy(void) {
    uint64_t keys = 0, bytes = 0;
    yc_cache *cache = open_lazily();
    listed all = listed_open(cache, NUMBERS);
    listed_finish(&all, SETTLES_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
    close_cache(cache);
    cache = open_lazily();
    CHECK_STATUS(yc_size(cache, &keys, &bytes, NULL), YC_OK);
    CHECK(keys > 0);
    close_cache(cache);
    cache = open_lazily();
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK(count_readable(cache, NUMBERS) == 0);
    close_cache(cache);
}

/* ---- The URL of one node ---- */

static bool health_has(yc_cache *cache, const char *text) {
    size_t len;
    yc_value *json = NULL;
    CHECK_STATUS(yc_health(cache, &json, NULL), YC_OK);
    const char *data = yc_value_data(json, &len);
    bool has = memmem(data, len, text, strlen(text)) != NULL;
    yc_value_free(json);
    return has;
}

static void check_refused(const char *url, const char *why) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    CHECK_STATUS(yc_open(url, &cache, &error), YC_E_CONFIG);
    CHECK(strstr(yc_error_message(error), why) != NULL);
    yc_error_free(error);
}

/* The node's cluster is used; or the configuration says that it is not wanted. */
static void check_plain_url(const char *query) {
    char url[256];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?%s%s", primaries[1], options, query);
    yc_cache *cache = open_cache(url);
    listed all = listed_open(cache, NUMBERS);
    listed_finish(&all, SETTLES_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
    CHECK(count_readable(cache, NUMBERS) == NUMBERS);
    CHECK(health_has(cache, "\"topology\":\"cluster\"") && health_has(cache, "\"status\":\"healthy\""));
    close_cache(cache);
}

static void check_plain_urls(void) {
    char url[256];
    check_plain_url("");
    check_plain_url("&connect=lazy");
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?%s&cluster=false", primaries[0], options);
    check_refused(url, "`cluster: true`");
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3?%s", primaries[0], options);
    check_refused(url, "remove `db`");
}

/* A flush through the URL of one node is one of all. */
static void check_plain_flush(yc_cache *cache) {
    char url[256];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?%s&connect=lazy", primaries[2], options);
    yc_cache *plain = open_cache(url);
    CHECK_STATUS(yc_flush(plain, NULL, NULL), YC_OK);
    close_cache(plain);
    CHECK(count_readable(cache, NUMBERS) == 0);
    set_many_numbers(cache, NUMBERS);
}

/* Where no node answers, nothing is an empty answer. */
static void check_no_node(void) {
    uint64_t keys, bytes;
    yc_keys *page = NULL;
    yc_cursor *cursor = NULL;
    yc_cache *cache = open_cache("redis+cluster://127.0.0.1:1?connect=lazy&key_prefix=walks&socket_timeout=500ms");
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_ONE_OF(yc_keys_next(cursor, 0, &page, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    CHECK_ONE_OF(yc_flush(cache, NULL, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    CHECK_ONE_OF(yc_invalidate_pattern(cache, "*", 1, NULL, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    CHECK_ONE_OF(yc_size(cache, &keys, &bytes, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    CHECK_ONE_OF(yc_ping(cache, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    yc_cursor_free(cursor);
    close_cache(cache);
}

int main(void) {
    n_nodes = read_ports("YC_TEST_CLUSTER_PORTS", nodes);
    find_primaries();
    snprintf(options, sizeof options, "socket_timeout=2s&key_prefix=walks");
    snprintf(cluster_url, sizeof cluster_url, "%s?%s", variable("YC_TEST_URL"), options);
    yc_cache *cache = open_cache(cluster_url), *other = open_cache(cluster_url);
    set_hot(cache);
    for (int move = 0; move < 3; move++) check_moving(cache, other);
    check_endpoints("hostname");
    check_endpoints("unknown-endpoint");
    check_removal(cache, false);
    check_removal(cache, true);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    set_many_numbers(cache, NUMBERS);
    for (size_t at = 0; at < 3; at++) check_failover(cache, primaries[at]);
    check_plain_urls();
    check_plain_flush(cache);
    check_lazy();
    check_no_node();
    close_cache(cache);
    close_cache(other);
    return check_result();
}
