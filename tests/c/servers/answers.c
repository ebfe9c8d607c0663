/* What a server answers decides what a call reports: refusals, replies of another kind, states that pass, silence. */
#include "numbered.h"
#include "fake_redis.h"

/* The deadline is the default. */
enum { DEADLINE_MS = 1000, KEYS = 24, OPERATIONS = 12, CLOSED = 20 };

static fake_redis *redis;

/* Of a server that has a version of the tag. */
static const char VERSION[] = "$1\r\n7\r\n";

#define RULES(...) ((const rule[]){__VA_ARGS__, {.word = NULL}})

static yc_cache *open_on(const fake_redis *server, const char *query) {
    char url[256];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0?key_prefix=app&%s", fake_port(server), query);
    return open_cache(url);
}

static void no_rules(fake_redis *server) { fake_set(server, &(rule){.word = NULL}); }

static yc_status set_tagged(yc_cache *cache) {
    yc_slice tag = slice("tag");
    return yc_set(cache, "k", 1, "v", 1, YC_TTL_NEVER, &tag, 1, NULL);
}

static yc_status delete_two(yc_cache *cache, yc_status *statuses) {
    yc_slice keys[] = {slice("a"), slice("b")};
    return yc_delete_many(cache, keys, 2, statuses, NULL);
}

/* ---- Refusals ---- */

static void check_refused(yc_cache *cache, const char *word, const char *refusal, yc_status wanted, bool retryable) {
    yc_error *error = NULL;
    yc_status statuses[2] = {77, 77};
    fake_set(redis, RULES({.word = word, .answer = refusal}));
    CHECK_STATUS(yc_delete(cache, "k", 1, &error), wanted);
    if (!CHECK(yc_error_retryable(error) == retryable)) printf("  %s: %s\n", refusal, yc_error_message(error));
    yc_error_free(error);
    CHECK_STATUS(delete_two(cache, statuses), wanted);
    CHECK_STATUS(statuses[0], wanted);
    CHECK_STATUS(statuses[1], wanted);
}

/* A delete asks two things; it is done when both are. */
static void check_refused_deletes(void) {
    yc_cache *cache = open_on(redis, "pool_size=1");
    for (int at = 0; at < 2; at++) {
        const char *word = at ? "UNLINK" : "GETRANGE";
        check_refused(cache, word, "-NOREPLICAS Not enough good replicas to write.\r\n", YC_E_SERVER, true);
        check_refused(cache, word, "-MISCONF Errors writing to the disk\r\n", YC_E_SERVER, true);
        check_refused(cache, word, "-BUSY a script is running\r\n", YC_E_SERVER, true);
        check_refused(cache, word, "-NOPERM no permissions\r\n", YC_E_DENIED, false);
        check_refused(cache, word, "-ERR whatever\r\n", YC_E_SERVER, false);
    }
    /* What was found and was gone when it was to be removed was not deleted. */
    fake_set(redis, RULES({.word = "GETRANGE", .answer = "$1\r\nx\r\n"}));
    CHECK_STATUS(yc_delete(cache, "k", 1, NULL), YC_MISS);
    close_cache(cache);
}

static void check_refused_parts(void) {
    yc_cache *cache = open_on(redis, "tag_index=true");
    uint64_t removed;
    fake_set(redis, RULES({.word = "GET", .answer = VERSION}, {.word = "ZADD", .answer = "-OOM command not allowed\r\n"}));
    CHECK_STATUS(set_tagged(cache), YC_E_SERVER_MEMORY);
    fake_set(redis, RULES({.word = "GET", .answer = VERSION}, {.word = "PEXPIRE", .answer = "-NOPERM no permissions\r\n"}));
    CHECK_STATUS(set_tagged(cache), YC_E_DENIED);
    fake_set(redis, RULES({.word = "SET", .answer = "-NOPERM no permissions\r\n"}));
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, &removed, NULL), YC_E_DENIED);
    CHECK_STATUS(set_tagged(cache), YC_E_DENIED);
    /* An entry is not stored without its tag. */
    no_rules(redis);
    CHECK_STATUS(set_tagged(cache), YC_E_SERVER);
    close_cache(cache);
}

/* ---- Replies of another kind ---- */

static yc_status get_one(yc_cache *cache) { return get_numbered(cache, 1, NULL); }
static yc_status set_one(yc_cache *cache) { return set_numbered(cache, 1); }
static yc_status delete_one(yc_cache *cache) { return yc_delete(cache, "key-1", 5, NULL); }

static yc_status get_two(yc_cache *cache) {
    yc_slice keys[] = {slice("a"), slice("b")};
    yc_value *values[2];
    yc_status statuses[2], status = yc_get_many(cache, keys, 2, values, statuses, NULL);
    for (int at = 0; at < 2; at++) {
        CHECK_STATUS(statuses[at], status == YC_OK ? YC_MISS : status);
        yc_value_free(values[at]);
    }
    return status;
}

static void check_mismatch(const char *word, const char *answer, yc_status (*call)(yc_cache *)) {
    fake_set(redis, RULES({.word = word, .answer = answer}));
    yc_cache *cache = open_on(redis, "pool_size=1");
    if (!CHECK_STATUS(call(cache), YC_E_PROTOCOL)) printf("  %s: %s", word, answer);
    no_rules(redis);
    double end = now_ms() + 5000;
    while (call(cache) < 0 && now_ms() < end) sleep_ms(5);
    CHECK(call(cache) >= 0);
    close_cache(cache);
}

static void check_mismatches(void) {
    check_mismatch("GET", "+OK\r\n", get_one);
    check_mismatch("GET", ":1\r\n", get_one);
    check_mismatch("SET", ":1\r\n", set_one);
    check_mismatch("SET", "$-1\r\n", set_one);
    check_mismatch("SET", "+QUEUED\r\n", set_one);
    check_mismatch("UNLINK", "+OK\r\n", delete_one);
    check_mismatch("GETRANGE", ":0\r\n", delete_one);
    check_mismatch("MGET", "*1\r\n$-1\r\n", get_two);
    check_mismatch("MGET", "$-1\r\n", get_two);
    check_mismatch("MGET", "*2\r\n:1\r\n$-1\r\n", get_two);
    check_mismatch("MGET", "*2\r\n*1\r\n$1\r\na\r\n$-1\r\n", get_two);
}

/* A proxy may answer an element of MGET with an error: that key has it, and no other. */
static void check_refused_element(void) {
    yc_cache *cache = open_on(redis, "pool_size=1");
    yc_slice keys[] = {slice("a"), slice("b")};
    yc_value *values[2];
    yc_status statuses[2];
    fake_set(redis, RULES({.word = "MGET", .answer = "*2\r\n-ERR upstream failure\r\n$-1\r\n"}));
    CHECK_STATUS(yc_get_many(cache, keys, 2, values, statuses, NULL), YC_E_SERVER);
    CHECK_STATUS(statuses[0], YC_E_SERVER);
    CHECK_STATUS(statuses[1], YC_MISS);
    CHECK(!values[0] && !values[1]);
    close_cache(cache);
}

/* ---- States that pass ---- */

static void check_passes(const char *refusal, long for_ms) {
    yc_cache *cache = open_on(redis, "pool_size=1&socket_timeout=5s");
    fake_set(redis, RULES({.word = "SET", .answer = refusal, .for_ms = for_ms},
                              {.word = "GETRANGE", .answer = refusal, .for_ms = for_ms}));
    if (!CHECK_STATUS(set_one(cache), YC_OK)) printf("  %s", refusal);
    CHECK_STATUS(delete_one(cache), YC_MISS);
    CHECK(fake_count(redis, "SET") < 40);
    close_cache(cache);
}

static void check_lasts(const char *refusal) {
    yc_cache *cache = open_on(redis, "pool_size=1");
    yc_error *error = NULL;
    fake_set(redis, RULES({.word = "GET", .answer = refusal}));
    moment begun = moment_now();
    CHECK_STATUS(get_numbered(cache, 1, &error), YC_E_SERVER);
    in_time(begun, DEADLINE_MS);
    if (!CHECK(yc_error_retryable(error) == 1)) printf("  %s", refusal);
    yc_error_free(error);
    close_cache(cache);
}

static void check_states(void) {
    static const char *const STATES[] = {"-TRYAGAIN later\r\n", "-CLUSTERDOWN Hash slot not served\r\n", "-LOADING dataset\r\n",
                                         "-READONLY replica\r\n", "-MASTERDOWN link\r\n"};
    for (size_t at = 0; at < sizeof STATES / sizeof *STATES; at++) {
        check_passes(STATES[at], at ? 150 : 600);
        check_lasts(STATES[at]);
    }
    check_lasts("-BUSY script\r\n");
    check_lasts("-MISCONF disk\r\n");
    check_lasts("-NOREPLICAS few\r\n");
}

/* A server that loads its data is waited for, within the time to connect; a fallback serves at once or then. */
static void check_loading(void) {
    char url[256];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0?key_prefix=app&socket_connect_timeout=1s", fake_port(redis));
    fake_set(redis, RULES({.word = "PING", .answer = "-LOADING dataset\r\n"}));
    CHECK_STATUS(yc_open(url, &cache, &error), YC_E_SERVER);
    CHECK(yc_error_retryable(error) == 1);
    yc_error_free(error);
    strcat(url, "&fallback=memory");
    cache = open_cache(url);
    CHECK_STATUS(set_one(cache), YC_OK);
    CHECK_STATUS(get_one(cache), YC_OK);
    CHECK(fake_count(redis, "SET") == 0);
    close_cache(cache);
    fake_set(redis, RULES({.word = "PING", .answer = "-LOADING dataset\r\n", .for_ms = 200}));
    close_cache(open_on(redis, "socket_connect_timeout=10s"));
}

/* ---- Connections that end ---- */

/* A delete is not sent on a connection that the server has closed. */
static void check_closed_connections(void) {
    no_rules(redis);
    yc_cache *cache = open_on(redis, "pool_size=2&socket_timeout=5s");
    for (int at = 0; at < CLOSED; at++) {
        CHECK_STATUS(get_one(cache), YC_MISS);
        fake_hang_up(redis);
        CHECK_STATUS(delete_one(cache), YC_MISS);
        sleep_ms(at % 4 * 10);
    }
    close_cache(cache);
}

/* ---- Tag versions ---- */

static unsigned long long version_in(const char *command) {
    for (const char *at = command; (at = strchr(at, ' ')); at++) {
        if (strspn(at + 1, "0123456789") == 20) return strtoull(at + 1, NULL, 10);
    }
    return 0;
}

/* Each attempt has a version of its own: the first may arrive late. */
static void check_versions(yc_status (*call)(yc_cache *), const char *query, bool hang_up) {
    char first[FAKE_LINE], second[FAKE_LINE];
    yc_cache *cache = open_on(redis, query);
    fake_set(redis, RULES({.word = "SET", .times = 1, .answer = "-TRYAGAIN later\r\n", .hang_up = hang_up},
                              {.word = "GET", .times = 1, .answer = "$-1\r\n"}, {.word = "GET", .answer = VERSION}));
    CHECK(call(cache) >= 0);
    unsigned long long one = version_in(fake_command(redis, "SET", 0, first));
    unsigned long long other = version_in(fake_command(redis, "SET", 1, second));
    if (!CHECK(one && other && one != other)) printf("  %s\n  %s\n", first, second);
    close_cache(cache);
}

static yc_status invalidate(yc_cache *cache) {
    uint64_t removed;
    return yc_invalidate_tag(cache, "tag", 3, &removed, NULL);
}

/* ---- Silence ---- */

static unsigned slot_of(const char *name) {
    unsigned crc = 0;
    for (; *name; name++) {
        crc ^= (unsigned)(unsigned char)*name << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc % 16384;
}

static bool is_on_second(const char *key) {
    char name[64];
    snprintf(name, sizeof name, "app:e:%s", key);
    return slot_of(name) >= 8192;
}

static void check_each(const char *const *names, const yc_status *statuses, yc_status answered) {
    for (int at = 0; at < KEYS; at++) CHECK_STATUS(statuses[at], is_on_second(names[at]) ? YC_E_TIMEOUT : answered);
}

static void check_silent_node(void) {
    static char slots[512], texts[KEYS][16];
    const char *names[KEYS];
    fake_redis *second = fake_start();
    int one = fake_port(redis), other = fake_port(second);
    snprintf(slots, sizeof slots,
             "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n", one, other);
    rule map = {.word = "CLUSTER", .answer = slots};
    fake_set(redis, RULES(map));
    fake_set(second, RULES(map));
    char url[256];
    snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%d?key_prefix=app&socket_timeout=1s", one);
    yc_cache *cache = open_cache(url);
    yc_slice keys[KEYS];
    yc_value *values[KEYS];
    yc_status statuses[KEYS];
    for (int at = 0; at < KEYS; at++) {
        snprintf(texts[at], sizeof texts[at], "k%d", at);
        keys[at] = slice(names[at] = texts[at]);
    }
    CHECK_STATUS(yc_get_many(cache, keys, KEYS, values, statuses, NULL), YC_OK);
    fake_set(second, RULES(map, {.word = "GET"}, {.word = "SET"}, {.word = "GETRANGE"}, {.word = "UNLINK"}));
    moment begun = moment_now();
    CHECK_STATUS(yc_get_many(cache, keys, KEYS, values, statuses, NULL), YC_E_TIMEOUT);
    in_time(begun, DEADLINE_MS);
    check_each(names, statuses, YC_MISS);
    begun = moment_now();
    CHECK_STATUS(yc_delete_many(cache, keys, KEYS, statuses, NULL), YC_E_TIMEOUT);
    in_time(begun, DEADLINE_MS);
    check_each(names, statuses, YC_MISS);
    begun = moment_now();
    CHECK_STATUS(yc_set_many(cache, keys, keys, KEYS, YC_TTL_NEVER, NULL, 0, statuses, NULL), YC_E_TIMEOUT);
    in_time(begun, DEADLINE_MS);
    check_each(names, statuses, YC_OK);
    close_cache(cache);
}

/* A server that falls silent: each key has its status, also in a queue and where the whole call ends with its deadline. */
static void check_silent_server(void) {
    yc_slice keys[] = {slice("a"), slice("b")};
    yc_value *values[2] = {(yc_value *)keys, (yc_value *)keys};
    yc_status statuses[2] = {77, 77};
    yc_queue *queue = NULL;
    yc_completion done;
    size_t count;
    no_rules(redis);
    yc_cache *cache = open_on(redis, "pool_size=1&socket_timeout=300ms");
    fake_set(redis, RULES({.word = "MGET"}, {.word = "GET"}));
    CHECK_STATUS(yc_get_many(cache, keys, 2, values, statuses, NULL), YC_E_TIMEOUT);
    for (int at = 0; at < 2; at++) CHECK(values[at] == NULL && statuses[at] == YC_E_TIMEOUT);
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(yc_queue_get_many(queue, keys, 2, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_wait(queue, &done, 1, sizeof done, -1, &count, NULL), YC_OK);
    CHECK_STATUS(done.status, YC_E_TIMEOUT);
    const yc_status *each = yc_results_statuses(done.results, &count);
    CHECK(count == 2 && each[0] == YC_E_TIMEOUT && each[1] == YC_E_TIMEOUT);
    yc_completion_clear(&done);
    CHECK_STATUS(yc_queue_close(queue, 0, NULL), YC_OK);
    yc_queue_free(queue);
    close_cache(cache);
}

/* All of a batch share one deadline; what is not reached is not sent. */
static void check_batch(void) {
    yc_op ops[OPERATIONS];
    memset(ops, 0, sizeof ops);
    for (int at = 0; at < OPERATIONS; at++) {
        ops[at] = (yc_op){.kind = at % 2 ? YC_OP_TTL : YC_OP_GET, .key = "k", .key_len = 1, .status = 77};
    }
    no_rules(redis);
    yc_cache *cache = open_on(redis, "pool_size=1");
    fake_set(redis, RULES({.word = "GET", .answer = "$-1\r\n", .delay_ms = 300}, {.word = "GETRANGE", .answer = "$0\r\n\r\n", .delay_ms = 300}));
    moment begun = moment_now();
    CHECK_STATUS(yc_batch(cache, ops, OPERATIONS, sizeof *ops, NULL), YC_OK);
    in_time(begun, DEADLINE_MS);
    CHECK_STATUS(ops[0].status, YC_MISS);
    CHECK_STATUS(ops[1].status, YC_MISS);
    for (int at = 0; at < OPERATIONS; at++) {
        CHECK_ONE_OF(ops[at].status, YC_MISS, YC_E_TIMEOUT);
        yc_error_free(ops[at].error);
    }
    CHECK_STATUS(ops[OPERATIONS - 1].status, YC_E_TIMEOUT);
    CHECK(fake_count(redis, "GET") + fake_count(redis, "GETRANGE") <= 5);
    close_cache(cache);
}

/* An operation that had only the rest of a batch's time is no outage: no fallback serves for it. */
static void check_batch_with_fallback(void) {
    yc_op ops[4];
    memset(ops, 0, sizeof ops);
    for (int at = 0; at < 4; at++) ops[at] = (yc_op){.kind = at % 2 ? YC_OP_TTL : YC_OP_GET, .key = "k", .key_len = 1};
    no_rules(redis);
    yc_cache *cache = open_on(redis, "pool_size=1&fallback=memory");
    fake_set(redis, RULES({.word = "GET", .answer = "$-1\r\n", .delay_ms = 400}, {.word = "GETRANGE", .answer = "$0\r\n\r\n", .delay_ms = 400}));
    CHECK_STATUS(yc_batch(cache, ops, 4, sizeof *ops, NULL), YC_OK);
    CHECK_STATUS(ops[0].status, YC_MISS);
    CHECK_STATUS(ops[3].status, YC_E_TIMEOUT);
    for (int at = 0; at < 4; at++) yc_error_free(ops[at].error);
    CHECK(stat_of(cache, "outages") == 0);
    close_cache(cache);
}

int main(void) {
    redis = fake_start();
    check_refused_deletes();
    check_refused_parts();
    check_mismatches();
    check_refused_element();
    check_states();
    check_loading();
    check_closed_connections();
    check_versions(invalidate, "pool_size=1", false);
    check_versions(invalidate, "pool_size=1", true);
    check_versions(set_tagged, "pool_size=1", false);
    check_versions(set_tagged, "pool_size=1", true);
    check_silent_node();
    check_silent_server();
    check_batch();
    check_batch_with_fallback();
    return check_result();
}
