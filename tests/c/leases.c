/* Leases: what a program may do wrong with them, and what threads, forks, batches and queues do with them. */
#include "calls.h"
#include "queues.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY_TAGS = 200, CALLERS = 16, WAITERS = 50, LONG_WAIT = 20000 };

static yc_slice tags[MANY_TAGS];

static void name_tags(void) {
    static char names[MANY_TAGS][8];
    for (size_t at = 0; at < MANY_TAGS; at++) {
        tags[at] = (yc_slice){names[at], (size_t)snprintf(names[at], sizeof names[at], "t%zu", at)};
    }
}

static yc_lease_options no_wait(void) { return (yc_lease_options){.struct_size = sizeof(yc_lease_options), .wait_ms = -1}; }

static yc_fill fill_of(const char *value) {
    return (yc_fill){.struct_size = sizeof(yc_fill), .value = value, .value_len = strlen(value), .ttl_ms = YC_TTL_DEFAULT};
}

/* Takes the lease of a key that has no value, or ends the test. */
static yc_lease *take_lease(yc_cache *cache, const char *key) {
    yc_lease_options options = no_wait();
    yc_value *value = (yc_value *)&options;
    yc_lease *lease = NULL;
    yc_status status = yc_get_or_lease(cache, key, strlen(key), &options, &value, &lease, NULL);
    if (!CHECK_STATUS(status, YC_LEASED)) exit(check_result());
    CHECK(value == NULL && lease != NULL);
    return lease;
}

/* The status of a key, whose value and lease are released. */
static yc_status state_of(yc_cache *cache, const char *key) {
    yc_lease_options options = no_wait();
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_status status = yc_get_or_lease(cache, key, strlen(key), &options, &value, &lease, NULL);
    CHECK((status == YC_OK || status == YC_STALE) == (value != NULL));
    yc_value_free(value);
    yc_lease_free(lease);
    return status;
}

static void check_statuses(void) {
    CHECK(strcmp(yc_status_name(YC_STALE), "YC_STALE") == 0 && strcmp(yc_status_name(YC_ABSENT), "YC_ABSENT") == 0);
    CHECK(strcmp(yc_status_name(YC_LEASED), "YC_LEASED") == 0);
    CHECK(strcmp(yc_status_name(YC_SUPERSEDED), "YC_SUPERSEDED") == 0);
}

static void check_wrong_reads(yc_cache *cache) {
    yc_value *value = (yc_value *)&value;
    yc_lease *lease = (yc_lease *)&lease;
    yc_lease_options right = no_wait(), wrong;
    CHECK_CALL(yc_get_or_lease(NULL, "k", 1, &right, &value, &lease, err), YC_E_INVALID);
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &right, NULL, &lease, err), YC_E_INVALID);
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &right, &value, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_or_lease(cache, NULL, 1, &right, &value, &lease, err), YC_E_INVALID);
    CHECK_CALL(yc_get_or_lease(cache, "", 0, &right, &value, &lease, err), YC_E_INVALID);
    CHECK_CALL(yc_get_or_lease(cache, "k", SIZE_MAX, &right, &value, &lease, err), YC_E_INVALID);
    wrong = right, wrong.struct_size = 0;
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    wrong = right, wrong.struct_size = sizeof wrong - 1;
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    wrong = right, wrong.flags = 1;
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    static const int64_t lease_times[] = {-1, 86400001, INT64_MIN, INT64_MAX};
    for (size_t at = 0; at < 4; at++) {
        wrong = right, wrong.lease_ms = lease_times[at];
        CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    }
    static const int64_t waits[] = {-2, 86400001, INT64_MIN, INT64_MAX};
    for (size_t at = 0; at < 4; at++) {
        wrong = right, wrong.wait_ms = waits[at];
        CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    }
    wrong = right, wrong.n_tags = 1;
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_INVALID);
    wrong = right, wrong.tags = tags, wrong.n_tags = MANY_TAGS;
    CHECK_CALL(yc_get_or_lease(cache, "k", 1, &wrong, &value, &lease, err), YC_E_TOO_LARGE);
    CHECK(value == (yc_value *)&value && lease == (yc_lease *)&lease);
    yc_lease_free(take_lease(cache, "k"));
}

static void check_wrong_fills(yc_cache *cache) {
    yc_lease_options options = no_wait();
    options.tags = tags, options.n_tags = 60;
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "k", 1, &options, &value, &lease, NULL), YC_LEASED);
    yc_fill right = fill_of("v"), wrong;
    CHECK_CALL(yc_lease_fill(NULL, &right, err), YC_E_INVALID);
    CHECK_CALL(yc_lease_abandon(NULL, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_lease_fill(lease, NULL, err), YC_E_INVALID);
    wrong = right, wrong.struct_size = sizeof wrong - 1;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.flags = 2;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.value = NULL;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.ttl_ms = -2;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.stale_for_ms = -2;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.stale_for_ms = INT64_MAX;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    wrong = right, wrong.tags = tags + 60, wrong.n_tags = 100;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_TOO_LARGE);
    wrong = right, wrong.tags = tags + 59, wrong.n_tags = 70; /* 129 different ones. */
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_TOO_LARGE);
    char *large = calloc(1, 1001);
    wrong = right, wrong.value = large, wrong.value_len = 1001;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_TOO_LARGE);
    free(large);
    CHECK_CALL(yc_lease_abandon(lease, -1, err), YC_E_INVALID);
    CHECK_CALL(yc_lease_abandon(lease, 86400001, err), YC_E_INVALID);
    CHECK_STATUS(state_of(cache, "k"), YC_E_BUSY);
    right.tags = tags, right.n_tags = 128; /* Those of the lease count once. */
    CHECK_STATUS(yc_lease_fill(lease, &right, NULL), YC_OK);
    CHECK_CALL(yc_lease_fill(lease, &right, err), YC_E_INVALID);
    static const char long_text[1001];
    wrong = right, wrong.value = long_text, wrong.value_len = sizeof long_text;
    CHECK_CALL(yc_lease_fill(lease, &wrong, err), YC_E_INVALID);
    CHECK_CALL(yc_lease_abandon(lease, 0, err), YC_E_INVALID);
    yc_lease_free(lease);
    yc_lease_free(NULL);
    CHECK_STATUS(state_of(cache, "k"), YC_OK);
}

static void check_closed(void) {
    yc_fill fill = fill_of("v");
    yc_cache *cache = open_cache("memory://");
    yc_lease *one = take_lease(cache, "one"), *other = take_lease(cache, "other");
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    CHECK_CALL(yc_lease_fill(one, &fill, err), YC_E_CLOSED);
    CHECK_CALL(yc_lease_abandon(one, 0, err), YC_E_CLOSED);
    yc_lease_free(one);
    yc_cache_free(cache);
    CHECK_CALL(yc_lease_fill(other, &fill, err), YC_E_CLOSED);
    CHECK_CALL(yc_lease_abandon(other, 0, err), YC_E_CLOSED);
    yc_lease_free(other);
}

/* A case of its own: the child leaks what is its parent's. */
static void check_fork(void) {
    yc_fill fill = fill_of("v");
    yc_cache *cache = open_cache("memory://");
    yc_lease *lease = take_lease(cache, "k");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        CHECK_CALL(yc_lease_fill(lease, &fill, err), YC_E_FORKED);
        CHECK_CALL(yc_lease_abandon(lease, 0, err), YC_E_FORKED);
        yc_lease_free(lease);
        fflush(stdout);
        _exit(check_result());
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK_STATUS(yc_lease_fill(lease, &fill, NULL), YC_OK);
    yc_lease_free(lease);
    yc_cache_free(cache);
}

/* ---- Threads ---- */

static atomic_int loads;

static void *load(void *cache) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = LONG_WAIT};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_status status = yc_get_or_lease(cache, "cold", 4, &options, &value, &lease, NULL);
    if (status == YC_LEASED) {
        atomic_fetch_add(&loads, 1);
        sleep_ms(30);
        yc_fill fill = fill_of("loaded");
        CHECK_STATUS(yc_lease_fill(lease, &fill, NULL), YC_OK);
    } else if (CHECK_STATUS(status, YC_OK)) {
        size_t len;
        const void *data = yc_value_data(value, &len);
        CHECK(len == 6 && memcmp(data, "loaded", 6) == 0);
    }
    yc_value_free(value);
    yc_lease_free(lease);
    return NULL;
}

static void check_threads(yc_cache *cache) {
    pthread_t threads[CALLERS];
    for (size_t at = 0; at < CALLERS; at++) pthread_create(&threads[at], NULL, load, cache);
    for (size_t at = 0; at < CALLERS; at++) pthread_join(threads[at], NULL);
    CHECK(atomic_load(&loads) == 1);
}

static void *wait_in_vain(void *cache) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 86400000};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "k", 1, &options, &value, &lease, NULL), YC_E_CLOSED);
    return NULL;
}

/* A thread that waits for a load is not left behind by a close. */
static void check_close_of_waiter(void) {
    yc_cache *cache = open_cache("memory://");
    yc_lease *lease = take_lease(cache, "k");
    pthread_t waiter;
    pthread_create(&waiter, NULL, wait_in_vain, cache);
    sleep_ms(20);
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    pthread_join(waiter, NULL);
    yc_lease_free(lease);
    yc_cache_free(cache);
}

/* ---- Batches and queues ---- */

static yc_op op_load(const char *key, const yc_lease_options *options, uint64_t user_data) {
    return (yc_op){.kind = YC_OP_GET_OR_LEASE, .key = key, .key_len = strlen(key), .value = options,
                   .value_len = options ? sizeof *options : 0, .user_data = user_data};
}

static yc_op op_fill(yc_lease *lease, const yc_fill *fill, uint64_t user_data) {
    return (yc_op){.kind = YC_OP_LEASE_FILL, .lease = lease, .value = fill, .value_len = fill ? sizeof *fill : 0,
                   .user_data = user_data};
}

static yc_op op_abandon(yc_lease *lease, int64_t retry_after_ms) {
    return (yc_op){.kind = YC_OP_LEASE_ABANDON, .lease = lease, .ttl_ms = retry_after_ms};
}

static yc_status run_batch(yc_cache *cache, yc_op *op) {
    CHECK_STATUS(yc_batch(cache, op, 1, sizeof *op, NULL), YC_OK);
    CHECK((op->status < 0) == (op->error != NULL));
    yc_error_free(op->error);
    return op->status;
}

static void check_batch(yc_cache *cache, yc_cache *other) {
    yc_lease_options options = no_wait();
    yc_fill fill = fill_of("v"), absent = {.struct_size = sizeof absent, .flags = YC_FILL_ABSENT, .ttl_ms = 60000};
    options.tags = tags, options.n_tags = 2;
    yc_op ops[] = {op_load("b1", &options, 1), op_load("b1", &options, 2), op_load("b2", NULL, 3)};
    CHECK_STATUS(yc_batch(cache, ops, 3, sizeof *ops, NULL), YC_OK);
    CHECK(ops[0].status == YC_LEASED && ops[0].lease && ops[1].status == YC_E_BUSY && !ops[1].lease);
    CHECK(ops[2].status == YC_LEASED && ops[2].lease && !ops[2].result && yc_error_retryable(ops[1].error));
    yc_error_free(ops[1].error);
    yc_op op = op_fill(ops[0].lease, &fill, 4);
    CHECK_STATUS(run_batch(other, &op), YC_E_INVALID);
    op = op_fill(NULL, &fill, 4);
    CHECK_STATUS(run_batch(cache, &op), YC_E_INVALID);
    op = op_fill(ops[0].lease, NULL, 4);
    CHECK_STATUS(run_batch(cache, &op), YC_E_INVALID);
    op = op_fill(ops[0].lease, &fill, 4), op.value_len--;
    CHECK_STATUS(run_batch(cache, &op), YC_E_INVALID);
    op = op_load("b3", &options, 4), op.value_len--;
    CHECK_STATUS(run_batch(cache, &op), YC_E_INVALID);
    op = op_abandon(ops[0].lease, -1);
    CHECK_STATUS(run_batch(cache, &op), YC_E_INVALID);
    CHECK_STATUS(yc_invalidate_tag(cache, tags[1].data, tags[1].len, NULL, NULL), YC_OK);
    op = op_fill(ops[0].lease, &fill, 4);
    CHECK_STATUS(run_batch(cache, &op), YC_SUPERSEDED);
    CHECK(op.lease == ops[0].lease);
    op = op_fill(ops[2].lease, &absent, 4);
    CHECK_STATUS(run_batch(cache, &op), YC_OK);
    CHECK_STATUS(state_of(cache, "b2"), YC_ABSENT);
    yc_lease_free(ops[0].lease);
    yc_lease_free(ops[2].lease);
    yc_lease *lease = take_lease(cache, "b1");
    op = op_abandon(lease, 60000);
    CHECK_STATUS(run_batch(cache, &op), YC_OK);
    yc_lease_free(lease);
    CHECK_STATUS(state_of(cache, "b1"), YC_E_BUSY);
}

/* Takes the completion of a read; returns its lease. */
static yc_lease *take_completion(yc_queue *queue, yc_status wanted) {
    yc_completion came = take(queue);
    CHECK_STATUS(came.status, wanted);
    CHECK((came.status == YC_OK) == (came.result != NULL));
    yc_lease *lease = came.lease;
    came.lease = NULL;
    yc_completion_clear(&came);
    return lease;
}

static void check_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = LONG_WAIT};
    CHECK_STATUS(submit(queue, op_load("q", &options, 1), NULL), YC_OK);
    yc_lease *lease = take_completion(queue, YC_LEASED);
    CHECK(lease != NULL);
    int threads = settled_threads();
    yc_ticket ticket = 0;
    for (uint64_t at = 0; at < WAITERS; at++) CHECK_STATUS(submit(queue, op_load("q", &options, at), &ticket), YC_OK);
    CHECK_STATUS(yc_queue_cancel(queue, ticket, NULL), YC_OK);
    CHECK(take_completion(queue, YC_E_CANCELLED) == NULL);
    sleep_ms(20);
    CHECK(count_threads() <= threads + 1);
    yc_fill fill = fill_of("v");
    CHECK_STATUS(submit(queue, op_fill(lease, &fill, 2), NULL), YC_OK);
    yc_lease_free(lease);
    for (int at = 0; at < WAITERS; at++) {
        yc_completion came = take(queue);
        CHECK_STATUS(came.status, YC_OK);
        yc_completion_clear(&came);
    }
    /* Completions that are cleared or never taken release their leases. */
    CHECK_STATUS(submit(queue, op_load("cleared", NULL, 1), NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.lease != NULL);
    yc_completion_clear(&came);
    CHECK(came.lease == NULL);
    CHECK_STATUS(state_of(cache, "cleared"), YC_LEASED);
    CHECK_STATUS(submit(queue, op_load("left", NULL, 1), NULL), YC_OK);
    yc_queue_free(queue);
    CHECK_STATUS(state_of(cache, "left"), YC_LEASED);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        check_fork();
        return check_result();
    }
    name_tags();
    check_statuses();
    yc_cache *cache = open_cache("memory://?max_value_bytes=1000"), *other = open_cache("memory://");
    check_wrong_reads(cache);
    check_wrong_fills(cache);
    check_closed();
    check_threads(cache);
    check_close_of_waiter();
    check_batch(cache, other);
    check_queue(cache);
    CHECK_STATUS(yc_close(other, -1, NULL), YC_OK);
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    yc_cache_free(other);
    yc_cache_free(cache);
    CHECK(threads_are(1));
    return check_result();
}
