/* A cluster changes under a cache: slots move under load without an error, and a dead primary takes nothing with it but
   its own shard, for a while. Needs servers of its own of kind cluster (tests/servers). */
#include "numbered.h"
#include "ports.h"
#include "refused.h"
#include "server.h"
#include "slots.h"

#include <pthread.h>

enum { NUMBERS = 60, DEADLINE_MS = 500, FAILOVER_MS = 30000, WORKERS = 4, MOVED_SLOTS = 6 };

static int nodes[MAX_PORTS], primaries[MAX_PORTS], owners[NUMBERS];
static size_t n_nodes, n_primaries;
static yc_cache *cache;

/* ---- Who has what ---- */

static bool is_primary(int port) { return ask_info(port, "replication", "connected_slaves") > 0; }

static void find_primaries(void) {
    n_primaries = 0;
    for (size_t at = 0; at < n_nodes; at++) {
        if (is_primary(nodes[at])) primaries[n_primaries++] = nodes[at];
    }
    CHECK(n_primaries == 3);
}

static long long keys_on(int port) {
    reply *size = ask(port, "DBSIZE");
    long long keys = size ? size->number : -1;
    reply_free(size);
    return keys;
}

/* Sets a number; the primary that has a key more is its owner. */
static void find_owner(unsigned number) {
    long long before[MAX_PORTS];
    for (size_t at = 0; at < n_primaries; at++) before[at] = keys_on(primaries[at]);
    CHECK_STATUS(set_numbered(cache, number), YC_OK);
    owners[number] = 0;
    for (size_t at = 0; at < n_primaries; at++) {
        if (keys_on(primaries[at]) > before[at]) owners[number] = primaries[at];
    }
    CHECK(owners[number] != 0);
}

static bool replicas_of_caught_up(int of) {
    bool all = true;
    for (size_t at = 0; at < n_nodes; at++) {
        if (!server_is_up(nodes[at]) || ask_info(nodes[at], "replication", "master_port") != of) continue;
        all = all && has_caught_up(nodes[at], ask_info(of, "replication", "master_repl_offset"));
    }
    return all;
}

static bool replicas_caught_up(void) {
    bool all = true;
    for (size_t at = 0; at < n_nodes; at++) {
        int of = (int)ask_info(nodes[at], "replication", "master_port");
        if (of > 0) all = all && has_caught_up(nodes[at], ask_info(of, "replication", "master_repl_offset"));
    }
    return all;
}

/* ---- Slots move ---- */

typedef struct worker {
    pthread_t thread;
    unsigned seed;
    atomic_bool *ends;
} worker;

/* Reads and writes, some with tags and some many at once: all succeed. */
static void use(unsigned number) {
    char key[NUMBERED_KEY];
    yc_slice tag = slice("tag"), keys[2] = {{key, numbered_key(key, number)}, {"key-0", 5}};
    yc_value *values[2] = {NULL, NULL};
    CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
    CHECK_STATUS(set_numbered(cache, number), YC_OK);
    CHECK_STATUS(yc_set(cache, "tagged", 6, "v", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
    CHECK_STATUS(yc_get_many(cache, keys, 2, values, NULL, NULL), YC_OK);
    yc_value_free(values[0]);
    yc_value_free(values[1]);
}

static void *use_on(void *argument) {
    worker *self = argument;
    while (!atomic_load(self->ends)) use((unsigned)rand_r(&self->seed) % NUMBERS);
    return NULL;
}

static bool migrate_name(int from, int to, const reply *name) {
    char port[16];
    snprintf(port, sizeof port, "%d", to);
    yc_slice words[] = {slice("MIGRATE"), slice("127.0.0.1"), slice(port), {name->text, name->len}, slice("0"), slice("5000")};
    reply *answer = ask_words(from, words, 6);
    bool done = CHECK(answer && answer->kind == '+');
    if (answer && answer->kind == '-') printf("  %s\n", answer->text);
    reply_free(answer);
    return done;
}

/* New ones may come for as long as the slot is not closed: they go to the other node. */
static void migrate_names(int from, int to, long long slot) {
    reply *names = ask(from, "CLUSTER GETKEYSINSLOT %lld 1000", slot);
    for (size_t at = 0; names && at < names->count; at++) {
        migrate_name(from, to, &names->items[at]);
        sleep_ms(20);
    }
    reply_free(names);
}

static void move_slot(int from, int to, long long slot) {
    open_slot(from, to, slot);
    sleep_ms(100); /* Under load: those that are not there yet are asked for at both. */
    migrate_names(from, to, slot);
    sleep_ms(100);
    close_slot(from, to, slot);
}

/* The slot of a name on that node. */
static long long some_slot(int port, size_t which) {
    reply *names = ask_names(port), *slot = NULL;
    long long number = -1;
    if (CHECK(names->count > 0)) {
        const reply *name = &names->items[which % names->count];
        yc_slice words[] = {slice("CLUSTER"), slice("KEYSLOT"), {name->text, name->len}};
        slot = ask_words(port, words, 3);
        number = slot ? slot->number : -1;
    }
    reply_free(slot);
    reply_free(names);
    return number;
}

static void check_moves(void) {
    worker workers[WORKERS];
    atomic_bool ends = false;
    for (unsigned at = 0; at < WORKERS; at++) {
        workers[at] = (worker){.seed = at + 1, .ends = &ends};
        pthread_create(&workers[at].thread, NULL, use_on, &workers[at]);
    }
    for (size_t at = 0; at < MOVED_SLOTS; at++) {
        int from = primaries[at % n_primaries];
        move_slot(from, primaries[(at + 1) % n_primaries], some_slot(from, at));
    }
    atomic_store(&ends, true);
    for (int at = 0; at < WORKERS; at++) pthread_join(workers[at].thread, NULL);
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

/* ---- A primary dies ---- */

/* Its own shard fails or is served again; the others are served all the time. */
static bool is_served(unsigned number, int dead) {
    yc_status status = get_in_time(cache, number, DEADLINE_MS);
    if (owners[number] != dead) CHECK_STATUS(status, YC_OK);
    else CHECK_ONE_OF(status, YC_OK, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_SERVER);
    return status == YC_OK;
}

static bool all_are_served(int dead) {
    bool all = true;
    for (unsigned number = 0; number < NUMBERS; number++) all = is_served(number, dead) && all;
    return all;
}

/* Of many keys in one call too. */
static void check_many(int dead) {
    char keys[NUMBERS][NUMBERED_KEY];
    yc_slice slices[NUMBERS];
    yc_value *values[NUMBERS];
    yc_status statuses[NUMBERS];
    for (unsigned number = 0; number < NUMBERS; number++) slices[number] = (yc_slice){keys[number], numbered_key(keys[number], number)};
    moment begun = moment_now();
    yc_get_many(cache, slices, NUMBERS, values, statuses, NULL);
    in_time(begun, DEADLINE_MS);
    for (unsigned number = 0; number < NUMBERS; number++) {
        if (owners[number] != dead) CHECK_STATUS(statuses[number], YC_OK);
        else CHECK(statuses[number] != YC_MISS);
        yc_value_free(values[number]);
    }
}

static bool is_health(const char *status) {
    char wanted[64];
    size_t len;
    yc_value *json = NULL;
    snprintf(wanted, sizeof wanted, "\"status\":\"%s\"", status);
    CHECK_STATUS(yc_health(cache, &json, NULL), YC_OK);
    const char *text = yc_value_data(json, &len);
    bool is = memmem(text, len, wanted, strlen(wanted)) != NULL;
    yc_value_free(json);
    return is;
}

static void check_death(void) {
    int dead = owners[0];
    UNTIL(replicas_caught_up(), FAILOVER_MS);
    CHECK(is_health("healthy"));
    kill_server(dead);
    check_many(dead);
    UNTIL(is_health("degraded"), FAILOVER_MS);
    UNTIL(all_are_served(dead), FAILOVER_MS);
    UNTIL(is_health("healthy"), FAILOVER_MS);
    set_numbers(cache, NUMBERS);
}

/* ---- A replica that had not received the latest invalidation ---- */

static bool has_version(int port) {
    bool has = false;
    reply *names = ask_names(port);
    for (size_t at = 0; names && at < names->count; at++) has = has || strncmp(names->items[at].text, "cluster:t:", 10) == 0;
    reply_free(names);
    return has;
}

/* The primary that has the version of the only tag; 0 if it has no replica. */
static int version_owner(void) {
    for (size_t at = 0; at < n_nodes; at++) {
        if (server_is_up(nodes[at]) && is_primary(nodes[at]) && has_version(nodes[at])) return nodes[at];
    }
    return 0;
}

static void set_tagged(const char *tag) {
    yc_slice tags[] = {slice(tag)};
    for (unsigned number = 0; number < NUMBERS; number++) {
        char key[NUMBERED_KEY], value[NUMBERED_VALUE];
        size_t key_len = numbered_key(key, number), value_len = numbered_value(value, number);
        CHECK_STATUS(yc_set(cache, key, key_len, value, value_len, YC_TTL_NEVER, tags, 1, NULL), YC_OK);
    }
}

/* The replicas are stopped and their links cut: what is written then, they never receive. */
static size_t stop_replicas(int of, pid_t *stopped) {
    size_t count = 0;
    for (size_t at = 0; at < n_nodes; at++) {
        if (!server_is_up(nodes[at]) || ask_info(nodes[at], "replication", "master_port") != of) continue;
        stopped[count] = (pid_t)ask_info(nodes[at], "server", "process_id");
        stop_process(stopped[count++]);
    }
    CHECK(tell(of, "CLIENT KILL TYPE replica"));
    return count;
}

static bool all_miss(void) {
    bool all = true;
    for (unsigned number = 0; number < NUMBERS; number++) {
        yc_status status = get_in_time(cache, number, DEADLINE_MS);
        CHECK_ONE_OF(status, YC_MISS, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_SERVER);
        all = all && status == YC_MISS;
    }
    return all;
}

/* ---- Confirmations of replicas ---- */

static bool has_name(int port, const char *start) {
    bool has = false;
    reply *names = ask_names(port);
    for (size_t at = 0; names && at < names->count; at++) has = has || strncmp(names->items[at].text, start, strlen(start)) == 0;
    reply_free(names);
    return has;
}

/* An invalidation is confirmed by the node of each version that it replaces, also by that of the version of the prefix. */
static void check_confirmed(const char *url) {
    char with[600], tag[16];
    snprintf(with, sizeof with, "%s&invalidation_replicas=1", url);
    yc_cache *confirmed = open_cache(with);
    for (unsigned number = 0; number < 6; number++) {
        for (size_t at = 0; at < n_primaries; at++) CHECK(tell(primaries[at], "FLUSHALL"));
        snprintf(tag, sizeof tag, "tag-%u", number);
        CHECK_STATUS(yc_invalidate_tag(confirmed, tag, strlen(tag), NULL, NULL), YC_OK);
        for (size_t at = 0; at < n_primaries; at++) {
            CHECK(!has_name(primaries[at], "cluster:t:") || has_name(primaries[at], "cluster:w:"));
        }
    }
    for (size_t at = 0; at < n_primaries; at++) CHECK(tell(primaries[at], "FLUSHALL"));
    close_cache(confirmed);
}

static void check_lost_invalidation(void) {
    char tag[16];
    int owner = 0;
    for (unsigned number = 0; number < 100 && !owner; number++) {
        snprintf(tag, sizeof tag, "tag-%u", number);
        CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
        set_tagged(tag);
        owner = version_owner();
    }
    pid_t stopped[MAX_PORTS];
    UNTIL(replicas_of_caught_up(owner), FAILOVER_MS);
    size_t count = stop_replicas(owner, stopped);
    CHECK(owner && count > 0);
    CHECK_STATUS(yc_invalidate_tag(cache, tag, strlen(tag), NULL, NULL), YC_OK);
    kill_server(owner);
    for (size_t at = 0; at < count; at++) kill(stopped[at], SIGCONT);
    UNTIL(all_miss(), FAILOVER_MS);
}

/* A cluster of Redis has no other database, which its server says. */
static void check_databases(void) {
    char url[256];
    const char *const forms[] = {"redis+cluster://127.0.0.1:%d/1?key_prefix=cluster", "redis://127.0.0.1:%d/1?key_prefix=cluster"};
    for (size_t at = 0; at < sizeof forms / sizeof *forms; at++) {
        snprintf(url, sizeof url, forms[at], nodes[0]);
        CHECK_REFUSED(url, "which has database 0 only", YC_E_CONFIG);
    }
}

int main(void) {
    char url[512];
    n_nodes = read_ports("YC_TEST_CLUSTER_PORTS", nodes);
    find_primaries();
    snprintf(url, sizeof url, "%s?socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=cluster", variable("YC_TEST_URL"));
    check_databases();
    check_confirmed(url);
    cache = open_cache(url);
    for (unsigned number = 0; number < NUMBERS; number++) find_owner(number);
    check_moves();
    CHECK(tell(primaries[0], "PING"));
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    for (unsigned number = 0; number < NUMBERS; number++) find_owner(number);
    check_death();
    check_lost_invalidation();
    close_cache(cache);
    return check_result();
}
