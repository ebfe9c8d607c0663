/* Conditional operations and counters where a script cannot go: callers that race, entries that are damaged, servers that
   deny scripts, stop or lose connections, a fork, and a switch under load. No update is lost, and none is made twice. */
#include "../queues.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RACERS = 4, ROUNDS = 60, FORK_VERSIONS = 500, ENOUGH = 200 };

/* What racers share. */
typedef struct race {
    yc_cache *cache;
    const char *key;
    atomic_llong done, doubtful, failed;
    atomic_bool stop;
} race;

static long long value_of(yc_cache *cache, const char *key) {
    char text[32] = "";
    size_t len = 0;
    yc_status status = yc_get_into(cache, key, strlen(key), text, sizeof text - 1, &len, NULL);
    return status == YC_OK ? strtoll(text, NULL, 10) : -1;
}

static void run_racers(race *course, void *(*run)(void *)) {
    pthread_t racers[RACERS];
    for (int at = 0; at < RACERS; at++) pthread_create(&racers[at], NULL, run, course);
    for (int at = 0; at < RACERS; at++) pthread_join(racers[at], NULL);
}

/* ---- Racers: the sum is exact ---- */

/* Adds one by reading and storing, once; YC_UNMET if another racer was faster. */
static yc_status add_by_version(yc_cache *cache, const char *key) {
    yc_value *value = NULL;
    uint64_t version = 0;
    char text[32];
    yc_status status = yc_get_versioned(cache, key, strlen(key), &value, &version, NULL);
    if (status != YC_OK) return status;
    size_t len;
    const char *data = yc_value_data(value, &len);
    snprintf(text, sizeof text, "%.*s", (int)len, data);
    yc_value_free(value);
    snprintf(text, sizeof text, "%lld", strtoll(text, NULL, 10) + 1);
    return yc_set_if(cache, key, strlen(key), text, strlen(text), 60000, NULL, 0, YC_IF_VERSION, version, NULL, NULL);
}

static void *race_versions(void *data) {
    race *course = data;
    for (int round = 0; round < ROUNDS;) {
        yc_status status = add_by_version(course->cache, course->key);
        if (!CHECK(status == YC_OK || status == YC_UNMET || status == YC_E_BUSY)) return NULL;
        round += status == YC_OK;
    }
    return NULL;
}

static void *race_counter(void *data) {
    race *course = data;
    for (int round = 0; round < ROUNDS;) {
        int64_t sum, delta = round % 3 ? 5 : -9;
        yc_status status = yc_counter_add(course->cache, course->key, strlen(course->key), delta, 100, 60000, &sum, NULL);
        if (!CHECK(status == YC_OK || status == YC_E_BUSY)) return NULL;
        round += status == YC_OK;
    }
    return NULL;
}

static void *race_absent(void *data) {
    race *course = data;
    for (int round = 0; round < ROUNDS; round++) {
        char key[32];
        snprintf(key, sizeof key, "once-%d", round);
        yc_status status = yc_set_if(course->cache, key, strlen(key), "v", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL);
        CHECK(status == YC_OK || status == YC_UNMET || status == YC_E_BUSY);
        atomic_fetch_add(&course->done, status == YC_OK);
    }
    return NULL;
}

static void check_races(const char *url) {
    race versions = {.cache = open_cache(url), .key = "versions"}, counter = versions, absent = versions;
    CHECK_STATUS(yc_set(versions.cache, "versions", 8, "0", 1, 60000, NULL, 0, NULL), YC_OK);
    run_racers(&versions, race_versions);
    CHECK(value_of(versions.cache, "versions") == RACERS * ROUNDS);
    counter.key = "counter";
    run_racers(&counter, race_counter);
    CHECK(value_of(counter.cache, "counter") == 100 + RACERS * (ROUNDS - ROUNDS / 3) * 5 - RACERS * (ROUNDS / 3) * 9);
    run_racers(&absent, race_absent);
    CHECK(atomic_load(&absent.done) == ROUNDS);
    close_cache(versions.cache);
}

/* ---- Arguments ---- */

static void check_arguments(const char *url) {
    yc_cache *cache = open_cache(url);
    yc_value *value = NULL;
    uint64_t version = 0;
    int64_t sum = 0;
    CHECK_CALL(yc_set_if(cache, "a", 1, "v", 1, 0, NULL, 0, 0, 0, &version, err), YC_E_INVALID);
    CHECK_CALL(yc_set_if(cache, "a", 1, "v", 1, 0, NULL, 0, 4, 0, &version, err), YC_E_INVALID);
    CHECK_CALL(yc_set_if(cache, "a", 1, NULL, 1, 0, NULL, 0, YC_IF_ABSENT, 0, &version, err), YC_E_INVALID);
    CHECK_CALL(yc_set_if(NULL, "a", 1, "v", 1, 0, NULL, 0, YC_IF_ABSENT, 0, &version, err), YC_E_INVALID);
    CHECK_CALL(yc_get_versioned(cache, "a", 1, NULL, &version, err), YC_E_INVALID);
    CHECK_CALL(yc_get_versioned(cache, "a", 1, &value, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_delete_if(cache, NULL, 1, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_get_and_expire(cache, "a", 1, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_counter_add(cache, NULL, 1, 1, 0, 0, &sum, err), YC_E_INVALID);
    CHECK_STATUS(yc_get(cache, "a", 1, &value, NULL), YC_MISS);
    /* The places of results may be left out. */
    CHECK_STATUS(yc_set_if(cache, "a", 1, "v", 1, 0, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "n", 1, 2, 0, 0, NULL, NULL), YC_OK);
    CHECK(value_of(cache, "n") == 2);
    yc_op op = {.kind = YC_OP_SET_IF, .key = "a", .key_len = 1, .condition = 9};
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    CHECK(op.status == YC_E_INVALID && op.error && !op.version);
    yc_error_free(op.error);
    close_cache(cache);
}

/* ---- The queue ---- */

static yc_completion run_one(yc_queue *queue, yc_op op) {
    CHECK_STATUS(submit(queue, op, NULL), YC_OK);
    return take(queue);
}

static void check_queue(const char *url) {
    yc_cache *cache = open_cache(url);
    yc_queue *queue = open_queue(cache, 0);
    yc_op add = {.kind = YC_OP_COUNTER_ADD, .key = "q", .key_len = 1, .number = -3, .initial = 10, .ttl_ms = 60000};
    yc_op read = {.kind = YC_OP_GET_VERSIONED, .key = "q", .key_len = 1};
    yc_op set = {.kind = YC_OP_SET_IF, .key = "q", .key_len = 1, .value = "x", .value_len = 1, .ttl_ms = 60000};
    yc_completion came = run_one(queue, add);
    CHECK(came.status == YC_OK && came.number == 7 && came.kind == YC_OP_COUNTER_ADD);
    came = run_one(queue, read);
    CHECK(came.status == YC_OK && came.result && came.version);
    set.condition = YC_IF_VERSION, set.version = came.version;
    yc_completion_clear(&came);
    came = run_one(queue, set);
    CHECK(came.status == YC_OK && came.version && came.version != set.version);
    uint64_t stored = came.version;
    came = run_one(queue, set);
    CHECK(came.status == YC_UNMET && !came.version && !came.error);
    came = run_one(queue, add);
    CHECK(came.status == YC_E_INVALID && came.error && !came.number);
    yc_completion_clear(&came);
    came = run_one(queue, (yc_op){.kind = YC_OP_GET_AND_EXPIRE, .key = "q", .key_len = 1, .ttl_ms = 1000});
    CHECK(came.status == YC_OK && came.result);
    yc_completion_clear(&came);
    came = run_one(queue, (yc_op){.kind = YC_OP_DELETE_IF, .key = "q", .key_len = 1, .version = stored});
    CHECK(came.status == YC_OK);
    came = run_one(queue, read);
    CHECK(came.status == YC_MISS && !came.result);
    close_queue(queue);
    close_cache(cache);
}

/* ---- A fork: child and parent give no version twice ---- */

static void collect(const char *url, uint64_t *versions) {
    yc_cache *cache = open_cache(url);
    for (int at = 0; at < FORK_VERSIONS; at++) {
        CHECK(yc_delete(cache, "f", 1, NULL) >= 0);
        CHECK_STATUS(yc_set_if(cache, "f", 1, "v", 1, 60000, NULL, 0, YC_IF_ABSENT, 0, &versions[at], NULL), YC_OK);
    }
    close_cache(cache);
}

static int by_number(const void *left, const void *right) {
    uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;
    return (one > other) - (one < other);
}

static void check_fork(const char *url) {
    size_t size = 3 * FORK_VERSIONS * sizeof(uint64_t);
    uint64_t *versions = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    collect(url, versions);
    fflush(stdout);
    int status = -1;
    pid_t child = fork();
    /* In turn: both use the same key. */
    if (child) waitpid(child, &status, 0);
    collect(url, versions + (child ? 1 : 2) * FORK_VERSIONS);
    if (!child) {
        int failed = check_result();
        fflush(stdout);
        _exit(failed);
    }
    CHECK(status == 0);
    qsort(versions, 3 * FORK_VERSIONS, sizeof *versions, by_number);
    int twice = 0;
    for (int at = 1; at < 3 * FORK_VERSIONS; at++) twice += versions[at] == versions[at - 1];
    CHECK(twice == 0);
    munmap(versions, size);
}

/* ---- Bytes that are no entry are absent ---- */

static void say(const server *of, const char *text) {
    int socket = connect_to(of->port);
    char answer[256];
    CHECK(socket >= 0 && write(socket, text, strlen(text)) == (ssize_t)strlen(text) && read(socket, answer, sizeof answer) > 0);
    close(socket);
}

static void check_damaged(yc_cache *cache, const char *key) {
    CHECK_STATUS(yc_delete_if(cache, key, strlen(key), 1, NULL), YC_MISS);
    CHECK_STATUS(yc_set_if(cache, key, strlen(key), "v", 1, 0, NULL, 0, YC_IF_PRESENT, 0, NULL, NULL), YC_UNMET);
    CHECK_STATUS(yc_set_if(cache, key, strlen(key), "7", 1, 0, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_set_if(cache, key, strlen(key), "8", 1, 0, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL), YC_UNMET);
    CHECK(value_of(cache, key) == 7);
}

static void check_damage(const server *of, const char *query) {
    yc_cache *cache = open_cache(server_url(of, query));
    if (of->kind == SERVER_REDIS) {
        say(of, "SET c:e:long 0123456789abcdef\r\n");
        say(of, "SET c:e:short abc\r\n");
        say(of, "SET c:e:empty \"\"\r\n");
        say(of, "RPUSH c:e:list a b\r\n");
        say(of, "SET c:e:count abc\r\n");
        check_damaged(cache, "empty");
        check_damaged(cache, "list");
    } else {
        say(of, "set c:e:long 0 0 16\r\n0123456789abcdef\r\n");
        say(of, "set c:e:short 0 0 3\r\nabc\r\n");
        say(of, "set c:e:count 0 0 3\r\nabc\r\n");
    }
    check_damaged(cache, "long");
    check_damaged(cache, "short");
    CHECK_STATUS(yc_counter_add(cache, "count", 5, 4, 0, 0, NULL, NULL), YC_OK);
    CHECK(value_of(cache, "count") == 4);
    if (of->kind == SERVER_REDIS) {
        /* A counter has its number twice, behind 24 bytes. */
        say(of, "SETRANGE c:e:count 24 5\r\n");
        CHECK(value_of(cache, "count") == -1);
        CHECK_STATUS(yc_counter_add(cache, "count", 5, 1, 10, 0, NULL, NULL), YC_OK);
        CHECK(value_of(cache, "count") == 11);
        /* That of another name is none of this one. */
        say(of, "COPY c:e:count c:e:copied REPLACE\r\n");
        CHECK_STATUS(yc_counter_add(cache, "copied", 6, 1, 0, 0, NULL, NULL), YC_OK);
        CHECK(value_of(cache, "copied") == 1);
    }
    close_cache(cache);
}

/* ---- A server that stops, and one that loses its connections ---- */

static void *keep_adding(void *data) {
    race *course = data;
    while (!atomic_load(&course->stop)) {
        yc_status status = yc_counter_add(course->cache, course->key, strlen(course->key), 1, 0, YC_TTL_NEVER, NULL, NULL);
        if (status == YC_OK) atomic_fetch_add(&course->done, 1);
        else if (status == YC_E_TIMEOUT) atomic_fetch_add(&course->doubtful, 1);
        else atomic_fetch_add(&course->failed, 1);
    }
    return NULL;
}

static void interrupt(const server *of, bool stops) {
    if (stops) {
        server_signal(of, SIGSTOP);
        sleep_ms(600);
        server_signal(of, SIGCONT);
        sleep_ms(200);
    } else {
        CHECK(tell(of->port, "CLIENT KILL TYPE normal SKIPME yes"));
        sleep_ms(20);
    }
}

/* No call is repeated by the library: the sum has each reported addition once, and no more than the doubtful ones. */
static void check_doubt(const server *of, const char *query, bool stops) {
    race course = {.cache = open_cache(server_url(of, query)), .key = stops ? "stopped" : "killed"};
    pthread_t racers[RACERS];
    for (int at = 0; at < RACERS; at++) pthread_create(&racers[at], NULL, keep_adding, &course);
    for (int round = 0; round < (stops ? 3 : 40); round++) interrupt(of, stops);
    double end = now_ms() + 10000;
    while (atomic_load(&course.done) < ENOUGH && now_ms() < end) sleep_ms(10);
    atomic_store(&course.stop, true);
    for (int at = 0; at < RACERS; at++) pthread_join(racers[at], NULL);
    long long sum = -1, done = atomic_load(&course.done), doubtful = atomic_load(&course.doubtful);
    for (int tries = 0; tries < 50 && (sum = value_of(course.cache, course.key)) < 0; tries++) sleep_ms(100);
    printf("  %lld reported, %lld in doubt, %lld failed, the sum is %lld\n", done, doubtful, atomic_load(&course.failed), sum);
    CHECK(done > 0 && sum >= done && sum <= done + doubtful);
    CHECK(!stops || doubtful > 0);
    close_cache(course.cache);
}

/* An addition that the server may have made is not made on the fallback as well; the next one finds the fallback. */
static void check_fallback(const server *of, const char *query) {
    char longer[256];
    int64_t sum = 0;
    snprintf(longer, sizeof longer, "%s&socket_timeout=1s&fallback=memory", query);
    yc_cache *cache = open_cache(server_url(of, longer));
    CHECK_STATUS(yc_counter_add(cache, "fallen", 6, 5, 0, YC_TTL_NEVER, &sum, NULL), YC_OK);
    server_signal(of, SIGSTOP);
    /* Its threads stop one after another. */
    sleep_ms(100);
    yc_error *error = NULL;
    CHECK_STATUS(yc_counter_add(cache, "fallen", 6, 5, 0, YC_TTL_NEVER, &sum, &error), YC_E_TIMEOUT);
    CHECK(error && strstr(yc_error_message(error), "may have executed") && !yc_error_retryable(error));
    yc_error_free(error);
    CHECK_STATUS(yc_counter_add(cache, "fallen", 6, 1, 100, YC_TTL_NEVER, &sum, NULL), YC_OK);
    CHECK(sum == 101);
    CHECK_STATUS(yc_set_if(cache, "fallen", 6, "20", 2, 0, NULL, 0, YC_IF_PRESENT, 0, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "fallen", 6, 1, 10, YC_TTL_NEVER, &sum, NULL), YC_OK);
    CHECK(sum == 21);
    server_signal(of, SIGCONT);
    /* Written during the outage: deleted at its end. */
    double end = now_ms() + 10000;
    while (value_of(cache, "fallen") == 21 && now_ms() < end) sleep_ms(20);
    CHECK(value_of(cache, "fallen") == -1);
    close_cache(cache);
}

/* ---- A server that denies scripts ---- */

static void check_without_scripts(void) {
    server redis;
    const char *none[] = {NULL};
    char url[MAX_SERVER_URL];
    server_start(&redis, SERVER_REDIS, none);
    CHECK(tell(redis.port, "ACL SETUSER plain on >word ~* &* +@all -eval"));
    snprintf(url, sizeof url, "redis://plain:word@127.0.0.1:%d/0?key_prefix=c", redis.port);
    yc_cache *cache = open_cache(url);
    yc_error *error = NULL;
    uint64_t flags = 0;
    CHECK_STATUS(yc_capabilities(cache, &flags, NULL), YC_OK);
    CHECK(!(flags & YC_CAN_COMPARE) && flags & YC_CAN_LIST);
    CHECK_STATUS(yc_set(cache, "a", 1, "1", 1, 0, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "a", 1, 1, 0, 0, NULL, &error), YC_E_UNSUPPORTED);
    CHECK(error && strstr(yc_error_message(error), "+eval") && !strstr(yc_error_message(error), "word"));
    yc_error_free(error);
    CHECK_STATUS(yc_capabilities(cache, &flags, NULL), YC_OK);
    CHECK(!(flags & YC_CAN_COMPARE) && flags & YC_CAN_LIST);
    CHECK_STATUS(yc_set_if(cache, "a", 1, "2", 1, 0, NULL, 0, YC_IF_PRESENT, 0, NULL, NULL), YC_E_UNSUPPORTED);
    CHECK(value_of(cache, "a") == 1);
    CHECK_STATUS(yc_delete(cache, "a", 1, NULL), YC_OK);
    close_cache(cache);
    server_stop(&redis);
}

static void check_without_versions(void) {
    const char *const flags[] = {"-C", NULL};
    server memcached;
    server_start(&memcached, SERVER_MEMCACHED, flags);
    yc_cache *cache = open_cache(server_url(&memcached, "key_prefix=c"));
    uint64_t can = 0;
    CHECK_STATUS(yc_capabilities(cache, &can, NULL), YC_OK);
    CHECK(!(can & YC_CAN_COMPARE));
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_error *error = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "a", 1, NULL, &value, &lease, &error), YC_E_UNSUPPORTED);
    CHECK(!value && !lease && error && strstr(yc_error_message(error), "without -C"));
    yc_error_free(error);
    error = NULL;
    CHECK_STATUS(yc_set(cache, "a", 1, "1", 1, 0, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_counter_add(cache, "a", 1, 1, 0, 0, NULL, &error), YC_E_UNSUPPORTED);
    CHECK(error && strstr(yc_error_message(error), "without -C"));
    yc_error_free(error);
    CHECK(value_of(cache, "a") == 1);
    close_cache(cache);
    server_stop(&memcached);
}

/* ---- A switch under load ---- */

static void check_switch(const char *from, const char *to) {
    race course = {.cache = open_cache(from), .key = "switched"};
    pthread_t racers[RACERS];
    for (int at = 0; at < RACERS; at++) pthread_create(&racers[at], NULL, keep_adding, &course);
    for (int round = 0; round < 3; round++) {
        sleep_ms(30);
        CHECK_STATUS(yc_switch(course.cache, round % 2 ? from : to, "{copy: true}", NULL, NULL), YC_OK);
    }
    atomic_store(&course.stop, true);
    for (int at = 0; at < RACERS; at++) pthread_join(racers[at], NULL);
    long long done = atomic_load(&course.done), sum = value_of(course.cache, course.key);
    if (!CHECK(sum == done)) printf("  %lld reported, the sum is %lld\n", done, sum);
    CHECK(atomic_load(&course.doubtful) == 0 && atomic_load(&course.failed) == 0);
    close_cache(course.cache);
}

static void check_backend(const char *url) {
    check_races(url);
    check_arguments(url);
    check_queue(url);
    check_fork(url);
}

static void check_server(server_kind kind, const char *query) {
    server own;
    const char *none[] = {NULL};
    char url[MAX_SERVER_URL], stopped[128];
    server_start(&own, kind, none);
    snprintf(url, sizeof url, "%s", server_url(&own, query));
    check_backend(url);
    check_damage(&own, query);
    snprintf(stopped, sizeof stopped, "%s&socket_timeout=300ms", query);
    check_doubt(&own, stopped, true);
    if (kind == SERVER_REDIS) check_doubt(&own, query, false);
    check_fallback(&own, query);
    check_switch("memory://", url);
    server_stop(&own);
}

int main(int count, char **arguments) {
    const char *which = count > 1 ? arguments[1] : "memory";
    if (strcmp(which, "memory") == 0) {
        check_backend("memory://");
        check_backend("memory://?max_bytes=100000");
        check_switch("memory://", "memory://?max_size=100000");
    } else if (strcmp(which, "redis") == 0) {
        check_server(SERVER_REDIS, "key_prefix=c");
        check_server(SERVER_REDIS, "key_prefix=c&tag_index=true&pool_size=4");
        check_without_scripts();
    } else if (strcmp(which, "memcached") == 0) {
        check_server(SERVER_MEMCACHED, "key_prefix=c");
        check_server(SERVER_MEMCACHED, "key_prefix=c&binary=true");
        check_server(SERVER_MEMCACHED, "key_prefix=c&failover=eject");
        check_without_versions();
    } else {
        /* Servers that are there, such as a cluster. */
        check_backend(test_url());
    }
    return check_result();
}
