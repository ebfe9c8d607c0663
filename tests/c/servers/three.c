/* Three Memcached servers, one of which dies or stops: only its share of the keys fails, or goes to the others; and when it
   returns, with or without what it had, nothing old is read. */
#include "numbered.h"
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVERS = 3, NUMBERS = 300, DEADLINE_MS = 500, RECOVERY_MS = 1500, EJECTED_MS = 6000 };

static server servers[SERVERS];

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&pool_size=1&key_prefix=three";

static yc_cache *open_three(const char *query) {
    char url[512];
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d?%s&%s", servers[0].port, servers[1].port, servers[2].port, OPTIONS, query);
    return open_cache(url);
}

/* The server of each key. */
static int owners[NUMBERS];

/* Asks each server alone which of the keys it has; each has many. */
static void learn_owners(const char *query) {
    unsigned owned = 0;
    for (int at = 0; at < SERVERS; at++) {
        char url[512];
        unsigned share = 0;
        snprintf(url, sizeof url, "memcached://127.0.0.1:%d?%s&%s", servers[at].port, OPTIONS, query);
        yc_cache *cache = open_cache(url);
        for (unsigned number = 0; number < NUMBERS; number++) {
            if (get_numbered(cache, number, NULL) != YC_OK) continue;
            owners[number] = at;
            share++;
        }
        if (!CHECK(share > NUMBERS / 10)) printf("  server %d has %u keys\n", at, share);
        owned += share;
        close_cache(cache);
    }
    CHECK(owned == NUMBERS);
}

/* What became of each of many keys. */
typedef struct outcomes {
    unsigned hits, misses, errors;
    /* Errors of keys whose server is there, and other outcomes of keys whose server is gone. */
    unsigned wrong;
} outcomes;

enum { NONE = -1 };

static outcomes get_all_without(yc_cache *cache, int gone) {
    static char names[NUMBERS][NUMBERED_KEY];
    static yc_slice keys[NUMBERS];
    static yc_value *values[NUMBERS];
    static yc_status statuses[NUMBERS];
    outcomes all = {0, 0, 0, 0};
    for (unsigned number = 0; number < NUMBERS; number++) keys[number] = (yc_slice){names[number], numbered_key(names[number], number)};
    yc_get_many(cache, keys, NUMBERS, values, statuses, NULL);
    for (unsigned number = 0; number < NUMBERS; number++) {
        size_t len;
        const void *data = statuses[number] == YC_OK ? yc_value_data(values[number], &len) : NULL;
        if (data) check_numbered(number, data, len);
        all.hits += statuses[number] == YC_OK;
        all.misses += statuses[number] == YC_MISS;
        all.errors += statuses[number] < 0;
        all.wrong += (statuses[number] < 0) != (owners[number] == gone);
        yc_value_free(values[number]);
        values[number] = NULL;
    }
    return all;
}

static outcomes get_all(yc_cache *cache, int gone) {
    moment begun = moment_now();
    outcomes all = get_all_without(cache, gone);
    in_time(begun, DEADLINE_MS);
    return all;
}

static void check_all_hit(yc_cache *cache) {
    outcomes all = get_all(cache, NONE);
    if (!CHECK(all.hits == NUMBERS)) printf("  %u hits, %u misses, %u errors\n", all.hits, all.misses, all.errors);
}

/* The keys of one server fail, and no others; none of them is a miss. */
static void check_share(outcomes all, int gone) {
    if (!CHECK(all.misses == 0 && all.wrong == 0)) {
        printf("  without server %d: %u hits, %u misses, %u errors, %u of them wrong\n", gone, all.hits, all.misses, all.errors, all.wrong);
    }
}

static void check_share_fails(yc_cache *cache, int gone) { check_share(get_all(cache, gone), gone); }

/* While one server is silent, this process gets no processor until the call is over: the others have replied all the same. */
static void check_held_up(yc_cache *cache, int gone) {
    pid_t held_up = getpid(), other = fork();
    if (other == 0) {
        sleep_ms(50);
        kill(held_up, SIGSTOP);
        sleep_ms(DEADLINE_MS);
        kill(held_up, SIGCONT);
        _exit(0);
    }
    if (!CHECK(other > 0)) return;
    outcomes all = get_all_without(cache, gone);
    while (waitpid(other, NULL, 0) < 0 && errno == EINTR) continue;
    check_share(all, gone);
}

static void check_each_silent(yc_cache *cache) {
    for (int at = 0; at < SERVERS; at++) {
        server_signal(&servers[at], SIGSTOP);
        check_held_up(cache, at);
        for (int repeat = 0; repeat < 3; repeat++) check_share_fails(cache, at);
        server_signal(&servers[at], SIGCONT);
        CHECK(recovers(cache, NUMBERS, 3000));
    }
}

/* Each with a tag of its own, in one call: those fail whose own server or tag's server is gone. */
static void check_tagged_share(yc_cache *cache, bool one_is_dead) {
    static char names[NUMBERS][NUMBERED_KEY], values[NUMBERS][NUMBERED_VALUE];
    static yc_op ops[NUMBERS];
    static yc_slice tags[NUMBERS];
    unsigned stored = 0;
    for (unsigned number = 0; number < NUMBERS; number++) {
        size_t key_len = numbered_key(names[number], number), value_len = numbered_value(values[number], number);
        tags[number] = (yc_slice){names[number], key_len};
        ops[number] = (yc_op){.kind = YC_OP_SET, .key = names[number], .key_len = key_len, .value = values[number],
                              .value_len = value_len, .ttl_ms = 60000, .tags = &tags[number], .n_tags = 1};
    }
    moment begun = moment_now();
    yc_batch(cache, ops, NUMBERS, sizeof *ops, NULL);
    in_time(begun, DEADLINE_MS);
    for (unsigned number = 0; number < NUMBERS; number++) {
        stored += ops[number].status == YC_OK;
        yc_error_free(ops[number].error);
    }
    if (!CHECK(one_is_dead ? stored > NUMBERS / 6 && stored < NUMBERS : stored == NUMBERS)) printf("  %u stored\n", stored);
    outcomes all = get_all(cache, NONE);
    if (!CHECK(all.hits + all.errors + all.misses == NUMBERS && all.hits >= stored * 3 / 4)) printf("  %u hits of %u\n", all.hits, stored);
}

static void check_dead(const char *query) {
    yc_cache *cache = open_three(query);
    set_numbers(cache, NUMBERS);
    learn_owners(query);
    check_all_hit(cache);
    server_kill(&servers[1]);
    sleep_ms(100);
    for (int repeat = 0; repeat < 3; repeat++) check_share_fails(cache, 1);
    check_tagged_share(cache, true);
    server_restart(&servers[1]);
    CHECK(recovers(cache, NUMBERS, RECOVERY_MS));
    check_tagged_share(cache, false);
    outcomes all = get_all(cache, NONE);
    CHECK(all.errors == 0 && all.hits > NUMBERS / 3);
    set_numbers(cache, NUMBERS);
    check_each_silent(cache);
    check_all_hit(cache);
    close_cache(cache);
}

/* ---- Ejected ---- */

static yc_status set_one(yc_cache *cache, unsigned key, unsigned value, const char *tag) {
    yc_slice tags[] = {slice(tag)};
    return yc_set(cache, &key, sizeof key, &value, sizeof value, YC_TTL_NEVER, tags, *tag ? 1 : 0, NULL);
}

/* The value, or -1: a miss, -2: an error. */
static int get_one(yc_cache *cache, unsigned key) {
    unsigned value = 0;
    size_t len;
    yc_status status = yc_get_into(cache, &key, sizeof key, &value, sizeof value, &len, NULL);
    return status == YC_OK ? (int)value : status == YC_MISS ? -1 : -2;
}

static void set_all(yc_cache *cache, unsigned value) {
    for (unsigned key = 0; key < NUMBERS; key++) CHECK_STATUS(set_one(cache, key, value, key % 3 == 2 ? "tag" : ""), YC_OK);
}

static bool all_work(yc_cache *cache) {
    for (unsigned key = 0; key < NUMBERS; key++) {
        if (get_one(cache, key) == -2) return false;
    }
    return true;
}

static bool works_within(yc_cache *cache, double milliseconds) {
    double end = now_ms() + milliseconds;
    while (!all_work(cache)) {
        if (now_ms() > end) return false;
        sleep_ms(20);
    }
    return true;
}

/* Of a report: whether every server is in the ring. */
static bool all_in_ring(yc_cache *cache) {
    yc_value *json = NULL;
    size_t len;
    if (yc_health(cache, &json, NULL) != YC_OK) return false;
    const char *text = yc_value_data(json, &len);
    bool in = memmem(text, len, "\"in_ring\":false", 15) == NULL && memmem(text, len, "\"in_ring\":true", 14) != NULL;
    yc_value_free(json);
    return in;
}

static bool returns_within(yc_cache *cache, double milliseconds) {
    double end = now_ms() + milliseconds;
    while (!all_in_ring(cache)) {
        if (now_ms() > end) return false;
        sleep_ms(20);
    }
    return true;
}

/* Keys that were set again, deleted, or invalidated while one was away; what it held of them is old. */
static void change_all(yc_cache *cache) {
    for (unsigned key = 0; key < NUMBERS; key++) {
        if (key % 3 == 0) CHECK_STATUS(set_one(cache, key, 2, ""), YC_OK);
        if (key % 3 == 1) CHECK_ONE_OF(yc_delete(cache, &key, sizeof key, NULL), YC_OK, YC_MISS);
    }
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_OK);
}

static void check_none_is_old(yc_cache *cache) {
    for (unsigned key = 0; key < NUMBERS; key++) {
        int value = get_one(cache, key);
        if (!CHECK(value != 1 && (key % 3 == 0 || value == -1))) printf("  key %u: %d\n", key, value);
    }
}

/* Gone with its contents, or stopped and back with them; a second process's cache looks on. */
static void check_ejection(const char *query, bool stopped) {
    yc_cache *cache = open_three(query), *other = open_three(query);
    set_all(cache, 1);
    if (stopped) server_signal(&servers[1], SIGSTOP);
    else server_kill(&servers[1]);
    /* Those who use it find out; no answer is a wrong one meanwhile. */
    CHECK(works_within(cache, EJECTED_MS) && works_within(other, EJECTED_MS));
    CHECK(!all_in_ring(cache));
    change_all(cache);
    check_none_is_old(cache);
    check_none_is_old(other);
    if (stopped) server_signal(&servers[1], SIGCONT);
    else server_restart(&servers[1]);
    CHECK(returns_within(cache, EJECTED_MS) && returns_within(other, EJECTED_MS));
    CHECK(works_within(cache, EJECTED_MS));
    check_none_is_old(cache);
    check_none_is_old(other);
    set_all(cache, 3);
    for (unsigned key = 0; key < NUMBERS; key++) CHECK(get_one(cache, key) == 3 && get_one(other, key) == 3);
    /* The others held some of its keys; away again, they are not read. */
    server_signal(&servers[1], SIGSTOP);
    CHECK(works_within(cache, EJECTED_MS));
    for (unsigned key = 0; key < NUMBERS; key++) {
        int value = get_one(cache, key);
        if (!CHECK(value == 3 || value == -1)) printf("  key %u: %d\n", key, value);
    }
    server_signal(&servers[1], SIGCONT);
    CHECK(returns_within(cache, EJECTED_MS));
    close_cache(cache);
    close_cache(other);
}

int main(void) {
    for (int at = 0; at < SERVERS; at++) server_start(&servers[at], SERVER_MEMCACHED, NULL);
    check_dead("binary=false");
    check_dead("binary=true");
    check_ejection("failover=eject", false);
    check_ejection("failover=eject", true);
    check_ejection("failover=eject&binary=true", true);
    for (int at = 0; at < SERVERS; at++) server_stop(&servers[at]);
    return check_result();
}
