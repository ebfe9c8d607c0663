/* The primary behind sentinels changes, first as asked and then because it dies: the cache follows by itself.
   Needs servers of its own of kind sentinel (tests/servers). */
#include "numbered.h"
#include "ports.h"
#include "refused.h"
#include "server.h"

#include <pthread.h>

enum { NUMBERS = 50, DEADLINE_MS = 500, FOLLOWS_MS = 15000, FAILOVER_MS = 30000 };

static int sentinels[MAX_PORTS];
static yc_cache *cache;

/* ---- Who is what ---- */

static int primary(void) {
    reply *address = ask(sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME yoked");
    int port = address && address->count == 2 ? atoi(address->items[1].text) : 0;
    reply_free(address);
    return port;
}

/* The value of a field in a list of fields and values. */
static int field(const reply *fields, const char *name) {
    for (size_t at = 0; at + 1 < fields->count; at += 2) {
        if (strcmp(fields->items[at].text, name) == 0) return atoi(fields->items[at + 1].text);
    }
    return 0;
}

static bool replicas_caught_up(void) {
    long long offset = ask_info(primary(), "replication", "master_repl_offset");
    reply *replicas = ask(sentinels[0], "SENTINEL REPLICAS yoked");
    bool all = replicas && replicas->count > 0;
    for (size_t at = 0; all && at < replicas->count; at++) {
        int port = field(&replicas->items[at], "port");
        all = !server_is_up(port) || has_caught_up(port, offset);
    }
    reply_free(replicas);
    return all;
}

/* ---- Load ---- */

/* Reads for as long as it lasts: what was replicated is right, or there is an error. */
static void *read_on(void *argument) {
    atomic_bool *ends = argument;
    for (unsigned number = 0; !atomic_load(ends); number = (number + 1) % NUMBERS) {
        CHECK_ONE_OF(get_in_time(cache, number, DEADLINE_MS), YC_OK, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_SERVER);
    }
    return NULL;
}

static long long keys_on(int port) {
    reply *size = ask(port, "DBSIZE");
    long long keys = size ? size->number : -1;
    reply_free(size);
    return keys;
}

/* Whether a key that was never set comes to the primary of now. */
static bool is_followed(void) {
    static unsigned fresh = NUMBERS;
    long long before = keys_on(primary());
    return set_numbered(cache, fresh++) == YC_OK && keys_on(primary()) > before;
}

/* A primary that was replaced takes writes until the sentinels tell it: up to ten seconds. */
static void check_follows(void) {
    double begun = now_ms();
    UNTIL(is_followed(), FOLLOWS_MS);
    printf("followed after %.0f ms\n", now_ms() - begun);
    set_numbers(cache, NUMBERS);
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

/* ---- Failovers ---- */

static void check_failover(void (*begin)(int)) {
    pthread_t reader;
    atomic_bool ends = false;
    int old = primary();
    UNTIL(replicas_caught_up(), FAILOVER_MS);
    pthread_create(&reader, NULL, read_on, &ends);
    begin(old);
    UNTIL(primary() != old, FAILOVER_MS);
    check_follows();
    atomic_store(&ends, true);
    pthread_join(reader, NULL);
}

/* Refused for a while after another one. */
static bool asked_for_failover(void) {
    reply *answer = ask(sentinels[0], "SENTINEL FAILOVER yoked");
    bool begun = answer && answer->kind == '+';
    reply_free(answer);
    return begun;
}

static void ask_for_failover(int old) {
    (void)old;
    UNTIL(asked_for_failover(), FAILOVER_MS);
}

/* ---- A replica that had not received the latest invalidation ---- */

static void set_tagged(unsigned count) {
    for (unsigned number = 0; number < count; number++) {
        char key[NUMBERED_KEY], value[NUMBERED_VALUE];
        size_t key_len = numbered_key(key, number), value_len = numbered_value(value, number);
        yc_slice tag = slice("tag");
        CHECK_STATUS(yc_set(cache, key, key_len, value, value_len, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
    }
}

/* The replicas are stopped and their links cut: what is written then, they never receive. */
static size_t stop_replicas(int of, pid_t *stopped) {
    reply *replicas = ask(sentinels[0], "SENTINEL REPLICAS yoked");
    size_t count = 0;
    for (size_t at = 0; replicas && at < replicas->count; at++) {
        int port = field(&replicas->items[at], "port");
        if (!server_is_up(port)) continue;
        stopped[count] = (pid_t)ask_info(port, "server", "process_id");
        stop_process(stopped[count++]);
    }
    reply_free(replicas);
    CHECK(tell(of, "CLIENT KILL TYPE replica"));
    return count;
}

static void check_lost_invalidation(void) {
    pid_t stopped[MAX_PORTS];
    int old = primary();
    set_tagged(NUMBERS);
    UNTIL(replicas_caught_up(), FAILOVER_MS);
    size_t count = stop_replicas(old, stopped);
    CHECK(count > 0);
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_OK);
    kill_server(old);
    for (size_t at = 0; at < count; at++) kill(stopped[at], SIGCONT);
    UNTIL(primary() != old, FAILOVER_MS);
    UNTIL(get_in_time(cache, 0, DEADLINE_MS) >= 0, FOLLOWS_MS);
    CHECK(keys_on(primary()) >= NUMBERS);
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_MISS);
}

static void check_wrong_name(void) {
    char url[MAX_URL], address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", sentinels[0]);
    snprintf(url, sizeof url, "redis+sentinel://%s/stranger/0?%s", address, REFUSED_OPTIONS);
    CHECK_REFUSED(url, "stranger", YC_E_CONNECT, YC_E_SERVER, YC_E_CONFIG);
}

int main(void) {
    char url[MAX_URL];
    CHECK(read_ports("YC_TEST_SENTINEL_PORTS", sentinels) == 3);
    check_wrong_name();
    snprintf(url, sizeof url, "%s?socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=sentinel", variable("YC_TEST_URL"));
    cache = open_cache(url);
    set_numbers(cache, NUMBERS);
    check_failover(ask_for_failover);
    UNTIL(ask_info(primary(), "replication", "connected_slaves") == 2, FAILOVER_MS);
    check_failover(kill_server);
    check_lost_invalidation();
    close_cache(cache);
    return check_result();
}
