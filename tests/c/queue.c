/* The completion queue: what comes out is what went in, exactly once, whatever happens on the way. */
#include "queues.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MANY = 10000 };

static bool holds(const yc_value *value, const char *text) {
    size_t len;
    const void *data = yc_value_data(value, &len);
    return data != NULL && len == strlen(text) && memcmp(data, text, len) == 0;
}

/* Each operation of yc_batch(), one after another, with what it has to come to. */
static void check_operations(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_slice tag = slice("tag");
    yc_op set = op_set("a", "1", 0);
    set.tags = &tag, set.n_tags = 1;
    const struct {
        yc_op op;
        yc_status status;
        const char *value;
        int64_t remaining_ms;
        uint64_t removed;
    } steps[] = {
        {set, YC_OK, NULL, 0, YC_COUNT_UNKNOWN},
        {op_get("a", 0), YC_OK, "1", 0, YC_COUNT_UNKNOWN},
        {op_get("none", 0), YC_MISS, NULL, 0, YC_COUNT_UNKNOWN},
        {op_get("", 0), YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_EXISTS, .key = "a", .key_len = 1}, YC_OK, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_EXPIRE, .key = "a", .key_len = 1, .ttl_ms = YC_TTL_NEVER}, YC_OK, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_TTL, .key = "a", .key_len = 1}, YC_OK, NULL, -1, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_GET_INFO, .key = "a", .key_len = 1}, YC_OK, "1", -1, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_GET_INFO, .key = "none", .key_len = 4, .number = 60000}, YC_MISS, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_GET_INFO, .key = "a", .key_len = 1, .number = -1}, YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_INVALIDATE_TAGS, .flags = YC_OP_DRY_RUN, .tags = &tag, .n_tags = 1}, YC_OK, NULL, 0, 1},
        {{.kind = YC_OP_FLUSH, .flags = YC_OP_DRY_RUN}, YC_OK, NULL, 0, 1},
        {{.kind = YC_OP_DELETE, .flags = YC_OP_DRY_RUN, .key = "a", .key_len = 1}, YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_INVALIDATE_TAGS, .flags = YC_OP_COUNT, .tags = &tag, .n_tags = 1}, YC_OK, NULL, 0, 1},
        {op_set("b", "", 0), YC_OK, NULL, 0, YC_COUNT_UNKNOWN},
        {op_get("b", 0), YC_OK, "", 0, YC_COUNT_UNKNOWN},
        {op_pattern("[ab]", 0), YC_OK, NULL, 0, 1},
        {{.kind = YC_OP_DELETE, .key = "b", .key_len = 1}, YC_MISS, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_FLUSH, .flags = YC_OP_COUNT}, YC_OK, NULL, 0, 0},
        {{.kind = YC_OP_PING}, YC_OK, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = 0}, YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_GET_MANY}, YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
        {{.kind = YC_OP_PING, .flags = 2}, YC_E_INVALID, NULL, 0, YC_COUNT_UNKNOWN},
    };
    for (size_t at = 0; at < sizeof steps / sizeof *steps; at++) {
        yc_op op = steps[at].op;
        yc_ticket ticket = 0;
        op.user_data = UINT64_MAX - at;
        CHECK_STATUS(submit(queue, op, &ticket), YC_OK);
        yc_completion came = take(queue);
        if (!CHECK_STATUS(came.status, steps[at].status)) printf("  step %zu\n", at);
        CHECK(came.ticket == ticket && came.user_data == UINT64_MAX - at && came.kind == op.kind);
        CHECK(steps[at].value ? holds(came.result, steps[at].value) : came.result == NULL);
        CHECK(came.remaining_ms == steps[at].remaining_ms && came.removed == steps[at].removed);
        CHECK(came.results == NULL && came.keys == NULL && came.matches == NULL);
        CHECK(yc_error_status(came.error) == (came.status < 0 ? came.status : YC_OK));
        yc_completion_clear(&came);
        CHECK(came.result == NULL && came.error == NULL);
    }
    close_queue(queue);
}

static void check_reports(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    static const struct {
        int32_t kind;
        const char *member;
    } reports[] = {{YC_OP_STATS, "\"hits\":"}, {YC_OP_HEALTH, "\"status\":\"healthy\""}, {YC_OP_METRICS, "# TYPE yokedcache_up gauge\n"}, {YC_OP_EXPLAIN, "\"name\":\"t\",\"status\":\"current\""}};
    yc_slice tag = slice("t");
    CHECK_STATUS(yc_set(cache, "explained", 9, "v", 1, 60000, &tag, 1, NULL), YC_OK);
    for (size_t at = 0; at < sizeof reports / sizeof *reports; at++) {
        size_t len;
        CHECK_STATUS(submit(queue, (yc_op){.kind = reports[at].kind, .key = "explained", .key_len = 9, .tags = &tag, .n_tags = 1}, NULL), YC_OK);
        yc_completion came = take(queue);
        const char *text = yc_value_data(came.result, &len);
        CHECK(text != NULL && memmem(text, len, reports[at].member, strlen(reports[at].member)) != NULL);
        yc_completion_clear(&came);
    }
    close_queue(queue);
}

static void check_many_keys(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_slice keys[3] = {slice("m1"), slice("m2"), slice("none")}, values[2] = {slice("one"), slice("")}, tag = slice("t");
    yc_ticket ticket = 0;
    size_t count = 0;
    CHECK_CALL(yc_queue_set_many(queue, keys, values, 2, 60000, &tag, 1, 7, &ticket, err), YC_OK);
    for (int turn = 0; turn < 2; turn++) {
        yc_completion came = take(queue);
        CHECK(came.status == YC_OK && came.kind == YC_OP_SET_MANY && came.user_data == 7 && came.result == NULL);
        const yc_status *statuses = yc_results_statuses(came.results, &count);
        CHECK(count == 2 && statuses[0] == YC_OK && statuses[1] == YC_OK);
        yc_completion_clear(&came);
    }
    CHECK_CALL(yc_queue_get_many(queue, keys, 3, 8, &ticket, err), YC_OK);
    for (int turn = 0; turn < 2; turn++) {
        yc_completion came = take(queue);
        CHECK(came.status == YC_OK && came.kind == YC_OP_GET_MANY && came.user_data == 8);
        const yc_status *statuses = yc_results_statuses(came.results, &count);
        CHECK(count == 3 && statuses[0] == YC_OK && statuses[1] == YC_OK && statuses[2] == YC_MISS);
        const yc_value *const *found = yc_results_values(came.results, &count);
        CHECK(count == 3 && holds(found[0], "one") && holds(found[1], "") && found[2] == NULL);
        yc_value *kept = yc_value_clone(found[0]);
        yc_completion_clear(&came);
        CHECK(came.results == NULL && holds(kept, "one"));
        yc_value_free(kept);
    }
    CHECK_STATUS(yc_queue_delete_many(queue, keys, 3, 9, NULL, NULL), YC_OK);
    yc_completion came = take(queue);
    const yc_status *statuses = yc_results_statuses(came.results, NULL);
    CHECK(came.user_data == 9 && statuses[0] == YC_OK && statuses[1] == YC_OK && statuses[2] == YC_MISS);
    yc_results_free(came.results);
    close_queue(queue);
}

/* Invalid arguments of operations on many keys are reported in the completion. */
static void check_wrong_many(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_slice empty = {NULL, 0}, bad = {NULL, 1}, good = slice("k");
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    options.limit = 0;
    CHECK_STATUS(yc_queue_get_many(queue, &empty, 1, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_get_many(queue, NULL, 1, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_get_many(queue, &bad, SIZE_MAX, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_set_many(queue, &good, &bad, 1, 0, NULL, 0, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_set_many(queue, &good, &good, 1, -7, NULL, 0, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_set_many(queue, &good, &good, 1, 0, &bad, 1, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_delete_many(queue, &bad, 1, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_search(queue, "", 0, NULL, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_search(queue, NULL, 1, NULL, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_search(queue, "q", 1, &options, 1, NULL, NULL), YC_OK);
    for (int at = 0; at < 10; at++) {
        yc_completion came = take(queue);
        CHECK_STATUS(came.status, YC_E_INVALID);
        CHECK(came.results == NULL && came.matches == NULL);
        yc_completion_clear(&came);
    }
    CHECK_STATUS(yc_queue_get_many(queue, NULL, 0, 1, NULL, NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.status == YC_OK && came.results != NULL);
    yc_completion_clear(&came);
    close_queue(queue);
}

/* All keys, page by page; the cursor may go once a page is asked for. */
static void check_keys(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_cursor *cursor = NULL;
    int found = 0;
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    for (int at = 0; at < 1000; at++) CHECK_STATUS(yc_set(cache, &at, sizeof at, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    for (yc_status status = YC_OK; status == YC_OK;) {
        size_t count = 0;
        CHECK_STATUS(yc_queue_keys_next(queue, cursor, 100, 5, NULL, NULL), YC_OK);
        yc_completion came = take(queue);
        status = came.status;
        CHECK(came.kind == YC_OP_KEYS_NEXT && came.user_data == 5 && (status == YC_OK || status == YC_END));
        yc_keys_data(came.keys, &count);
        CHECK(count <= 100 && (count > 0) == (status == YC_OK));
        found += (int)count;
        yc_completion_clear(&came);
    }
    CHECK(found == 1000);
    CHECK_STATUS(yc_queue_keys_next(queue, cursor, 0, 5, NULL, NULL), YC_OK);
    yc_cursor_free(cursor);
    yc_completion came = take(queue);
    CHECK_STATUS(came.status, YC_END);
    close_queue(queue);
}

static void check_search(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_slice tag = slice("t");
    yc_search_options options = {sizeof options, 50, 1, &tag, 1, {0}};
    CHECK_STATUS(yc_set(cache, "user:1", 6, "v", 1, 60000, &tag, 1, NULL), YC_OK);
    CHECK_STATUS(yc_queue_search(queue, "user", 4, &options, 6, NULL, NULL), YC_OK);
    memset(&options, 0, sizeof options), tag.len = 0;
    yc_completion came = take(queue);
    CHECK(came.kind == YC_OP_SEARCH && came.user_data == 6 && came.status == YC_OK);
    if (CHECK(yc_matches_count(came.matches) == 1)) CHECK(yc_matches_at(came.matches, 0)->key.len == 6);
    yc_completion_clear(&came);
    close_queue(queue);
}

/* Arguments are copied, also those of operations that run later. */
static void check_copies(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    CHECK_STATUS(yc_set(cache, "copy", 4, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    for (int at = 0; at < 200; at++) {
        char pattern[] = "nothing*", key[] = "copy";
        CHECK_STATUS(submit(queue, op_pattern(pattern, 1), NULL), YC_OK);
        CHECK_STATUS(submit(queue, op_get(key, 2), NULL), YC_OK);
        memcpy(pattern, "*", 2), memset(key, 'x', 4);
    }
    for (int at = 0; at < 400; at++) {
        yc_completion came = take(queue);
        CHECK(came.status == YC_OK && (came.user_data == 2 || came.removed == 0));
        yc_completion_clear(&came);
    }
    CHECK_STATUS(yc_exists(cache, "copy", 4, NULL), YC_OK);
    close_queue(queue);
}

/* A hit completes within the submission, and without a thread of the library. */
static void check_no_thread(void) {
    yc_cache *cache = open_cache("memory://?cleanup_interval=0");
    yc_queue *queue = open_queue(cache, 0);
    yc_op ops[2] = {op_set("a", "1", 1), op_get("a", 2)};
    yc_completion came[2];
    size_t count = 0, accepted = 0;
    int threads = settled_threads();
    CHECK_STATUS(yc_queue_submit(queue, ops, 2, sizeof *ops, NULL, &accepted, NULL), YC_OK);
    CHECK_STATUS(yc_queue_poll(queue, came, 2, sizeof *came, &count, NULL), YC_OK);
    CHECK(accepted == 2 && count == 2 && holds(came[1].result, "1"));
    yc_completion_clear(&came[1]);
    CHECK(count_threads() == threads);
    CHECK_STATUS(submit(queue, op_pattern("*", 3), NULL), YC_OK);
    take(queue);
    CHECK(count_threads() == threads + 1);
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    CHECK(threads_are(threads));
    yc_queue_free(queue);
    close_cache(cache);
}

/* Submits many at once, or as many as there is room for; how many were accepted. */
static size_t submit_many(yc_queue *queue, yc_op (*make)(const char *, uint64_t), yc_ticket *tickets, yc_status wanted) {
    yc_op *ops = calloc(MANY, sizeof *ops);
    size_t accepted = 0;
    for (size_t at = 0; at < MANY; at++) ops[at] = make("none*", at);
    CHECK_STATUS(yc_queue_submit(queue, ops, MANY, sizeof *ops, tickets, &accepted, NULL), wanted);
    free(ops);
    return accepted;
}

/* Takes all that come until that many were, and checks that each comes once. */
static void take_each_once(yc_queue *queue, size_t wanted, bool cancelled_too) {
    unsigned char *seen = calloc(MANY, 1);
    yc_completion came[100];
    for (size_t taken = 0, count = 0; taken < wanted; taken += count) {
        if (!CHECK_STATUS(yc_queue_wait(queue, came, 100, sizeof *came, 20000, &count, NULL), YC_OK)) break;
        for (size_t at = 0; at < count; at++) {
            CHECK(came[at].user_data < MANY && seen[came[at].user_data]++ == 0);
            CHECK(came[at].status >= 0 || (cancelled_too && came[at].status == YC_E_CANCELLED));
            yc_completion_clear(&came[at]);
        }
    }
    size_t count = 7;
    yc_status status = yc_queue_poll(queue, came, 100, sizeof *came, &count, NULL);
    CHECK((status == YC_OK && count == 0) || status == YC_E_CLOSED);
    free(seen);
}

static void check_many_in_flight(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, MANY);
    CHECK(submit_many(queue, op_pattern, NULL, YC_OK) == MANY);
    take_each_once(queue, MANY, false);
    CHECK(submit_many(queue, op_get, NULL, YC_OK) == MANY);
    take_each_once(queue, MANY, false);
    close_queue(queue);
}

/* Without a consumer the queue refuses operations above its capacity, and accepts them again after one was taken. */
static void check_full(yc_cache *cache) {
    yc_op (*const makers[2])(const char *, uint64_t) = {op_get, op_pattern};
    for (int at = 0; at < 2; at++) {
        yc_queue *queue = open_queue(cache, 100);
        yc_slice key = slice("k");
        yc_error *error = NULL;
        CHECK(submit_many(queue, makers[at], NULL, YC_E_BUSY) == 100);
        for (int turn = 0; turn < 1000; turn++) CHECK_STATUS(submit(queue, makers[at]("none*", 0), NULL), YC_E_BUSY);
        CHECK_STATUS(yc_queue_get_many(queue, &key, 1, 0, NULL, &error), YC_E_BUSY);
        CHECK(yc_error_retryable(error) == 1);
        yc_error_free(error);
        take_each_once(queue, 100, false);
        CHECK(submit_many(queue, makers[at], NULL, YC_E_BUSY) == 100);
        take_each_once(queue, 100, false);
        close_queue(queue);
    }
}

struct storm {
    yc_queue *queue;
    const yc_ticket *tickets;
    size_t cancelled;
};

static void *cancel_all(void *argument) {
    struct storm *storm = argument;
    for (size_t at = MANY; at-- > 0;) {
        yc_status status = yc_queue_cancel(storm->queue, storm->tickets[at], NULL);
        CHECK(status == YC_OK || status == YC_MISS);
        storm->cancelled += status == YC_OK;
    }
    return NULL;
}

/* Two threads cancel what a third completes: still one completion each. */
static void check_cancel_storm(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, MANY);
    yc_ticket *tickets = calloc(MANY, sizeof *tickets);
    struct storm storms[2] = {{queue, tickets, 0}, {queue, tickets, 0}};
    pthread_t threads[2];
    CHECK(submit_many(queue, op_pattern, tickets, YC_OK) == MANY);
    for (int at = 0; at < 2; at++) pthread_create(&threads[at], NULL, cancel_all, &storms[at]);
    for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
    take_each_once(queue, MANY, true);
    CHECK(storms[0].cancelled + storms[1].cancelled <= MANY);
    CHECK_CALL(yc_queue_cancel(queue, tickets[0], err), YC_MISS);
    CHECK_CALL(yc_queue_cancel(queue, 0, err), YC_MISS);
    CHECK_CALL(yc_queue_cancel(queue, UINT64_MAX, err), YC_MISS);
    free(tickets);
    close_queue(queue);
}

/* Closed with all of it in flight: everything has its completion, and nothing comes after. */
static void check_close_in_flight(yc_cache *cache) {
    /* The last is long enough for all of it on a busy machine. */
    static const int64_t timeouts[] = {0, 1, 60000};
    for (int at = 0; at < 3; at++) {
        yc_queue *queue = open_queue(cache, MANY);
        yc_completion came;
        size_t count = 7;
        CHECK(submit_many(queue, op_pattern, NULL, YC_OK) == MANY);
        CHECK_CALL(yc_queue_close(queue, timeouts[at], err), YC_OK);
        CHECK_STATUS(submit(queue, op_get("a", 1), NULL), YC_E_CLOSED);
        take_each_once(queue, MANY, at < 2);
        CHECK_CALL(yc_queue_poll(queue, &came, 1, sizeof came, &count, err), YC_E_CLOSED);
        CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, -1, &count, err), YC_E_CLOSED);
        CHECK(count == 7);
        yc_queue_free(queue);
    }
}

/* The cache is closed or freed with operations in flight: each still has one completion. */
static void check_cache_goes_first(void) {
    for (int at = 0; at < 3; at++) {
        yc_cache *cache = open_cache("memory://");
        yc_queue *queue = open_queue(cache, 0);
        size_t count = 0;
        int left = 500;
        for (int turn = 0; turn < left; turn++) CHECK_STATUS(submit(queue, op_pattern("*", 1), NULL), YC_OK);
        if (at < 2) {
            yc_status status = yc_close(cache, at - 1, NULL);
            CHECK(status == YC_OK || (at == 1 && status == YC_E_TIMEOUT));
            CHECK_STATUS(submit(queue, op_get("a", 1), NULL), YC_E_CLOSED);
        }
        yc_cache_free(cache);
        for (yc_completion came; yc_queue_wait(queue, &came, 1, sizeof came, 20000, &count, NULL) == YC_OK; left--) {
            CHECK(came.status == YC_OK || (at > 0 && came.status == YC_E_CLOSED));
            yc_completion_clear(&came);
        }
        CHECK(left == 0);
        CHECK_CALL(yc_queue_fd(queue, (int[]){0}, err), YC_OK);
        CHECK_CALL(yc_queue_close(queue, -1, err), YC_OK);
        yc_queue_free(queue);
    }
}

static void check_free_in_flight(yc_cache *cache) {
    for (int at = 0; at < 20; at++) {
        yc_queue *queue = open_queue(cache, MANY);
        CHECK(submit_many(queue, at % 2 ? op_get : op_pattern, NULL, YC_OK) == MANY);
        yc_queue_free(queue);
    }
}

static bool is_readable(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

/* Readable from the first completion to the last one taken; edge-triggered, once for each time it is filled. */
static void check_descriptor(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_completion came[4];
    size_t count = 0;
    int fd = -1, again = -1, files = count_files(), loop = epoll_create1(EPOLL_CLOEXEC);
    CHECK_STATUS(submit(queue, op_get("none", 0), NULL), YC_OK);
    CHECK_CALL(yc_queue_fd(queue, &fd, err), YC_OK);
    CHECK_STATUS(yc_queue_fd(queue, &again, NULL), YC_OK);
    CHECK(fd >= 0 && fd == again && count_files() == files + 2);
    CHECK(is_readable(fd));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CHECK(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(loop, &event, 1, 0) == 1);
    for (int turn = 0; turn < 3; turn++) {
        for (int at = 0; at < 5; at++) CHECK_STATUS(submit(queue, op_get("none", 0), NULL), YC_OK);
        CHECK(epoll_wait(loop, &event, 1, 0) == (turn > 0 ? 1 : 0));
        CHECK_STATUS(yc_queue_poll(queue, came, 4, sizeof *came, &count, NULL), YC_OK);
        CHECK(count == 4 && is_readable(fd));
        CHECK_STATUS(yc_queue_wait(queue, came, 4, sizeof *came, 0, &count, NULL), YC_OK);
        CHECK(count == (turn > 0 ? 1 : 2) && !is_readable(fd) && epoll_wait(loop, &event, 1, 0) == 0);
    }
    CHECK_STATUS(submit(queue, op_pattern("*", 0), NULL), YC_OK);
    CHECK(epoll_wait(loop, &event, 1, 20000) == 1);
    close(loop);
    close_queue(queue);
    CHECK(count_files() == files);
}

struct host {
    atomic_int wakes, finalised;
    pthread_t submitter;
    yc_queue *queue;
};

static void wake(void *data) {
    struct host *host = data;
    CHECK(!pthread_equal(pthread_self(), host->submitter));
    CHECK(atomic_load(&host->finalised) == 0);
    atomic_fetch_add(&host->wakes, 1);
}

static void finalise(void *data) { atomic_fetch_add(&((struct host *)data)->finalised, 1); }

static bool reaches(atomic_int *number, int wanted) {
    for (int tries = 0; tries < 4000 && atomic_load(number) < wanted; tries++) sleep_ms(5);
    return atomic_load(number) == wanted;
}

/* Woken once each time it is filled, from another thread, and never after the close. */
static void check_wake(yc_cache *cache) {
    struct host host = {.submitter = pthread_self()};
    int threads = settled_threads(), wakes = 0;
    CHECK_STATUS(yc_queue_open(cache, 0, wake, &host, finalise, &host.queue, NULL), YC_OK);
    for (int turn = 0; turn < 50; turn++) {
        int filled = turn % 2 ? 1 : 3;
        for (int at = 0; at < filled; at++) {
            CHECK_STATUS(submit(host.queue, turn % 2 ? op_pattern("none", 0) : op_get("none", 0), NULL), YC_OK);
        }
        CHECK(reaches(&host.wakes, ++wakes));
        for (int at = 0; at < filled; at++) take(host.queue);
    }
    CHECK(atomic_load(&host.finalised) == 0);
    CHECK_STATUS(submit(host.queue, op_get("none", 0), NULL), YC_OK);
    CHECK_STATUS(yc_queue_close(host.queue, -1, NULL), YC_OK);
    CHECK(atomic_load(&host.wakes) == wakes + 1 && atomic_load(&host.finalised) == 1);
    yc_queue_free(host.queue);
    CHECK(atomic_load(&host.finalised) == 1 && threads_are(threads));
}

/* Without a wake-up the data has no use, and without a close it is finalised all the same. */
static void check_finaliser(yc_cache *cache) {
    struct host host = {.submitter = pthread_self()};
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, &host, finalise, &host.queue, NULL), YC_OK);
    CHECK(atomic_load(&host.finalised) == 1);
    yc_queue_free(host.queue);
    CHECK_STATUS(yc_queue_open(cache, 0, wake, &host, finalise, &host.queue, NULL), YC_OK);
    yc_queue_free(host.queue);
    CHECK(reaches(&host.finalised, 2));
    CHECK_STATUS(yc_queue_open(cache, 0, wake, &host, NULL, &host.queue, NULL), YC_OK);
    yc_queue_free(host.queue);
    host.queue = NULL;
    CHECK_CALL(yc_queue_open(cache, 1000001, wake, &host, finalise, &host.queue, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_open(NULL, 0, wake, &host, finalise, &host.queue, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_open(cache, 0, wake, &host, finalise, NULL, err), YC_E_INVALID);
    CHECK(host.queue == NULL && atomic_load(&host.finalised) == 2);
}

/* Closes its queue when it is woken. */
static void wake_and_close(void *data) {
    struct host *host = data;
    yc_completion came;
    size_t count = 0;
    CHECK_STATUS(yc_queue_poll(host->queue, &came, 1, sizeof came, &count, NULL), YC_OK);
    CHECK_STATUS(yc_queue_close(host->queue, -1, NULL), YC_OK);
    atomic_fetch_add(&host->wakes, 1);
}

static void check_close_when_woken(yc_cache *cache) {
    struct host host = {.submitter = pthread_self()};
    CHECK_STATUS(yc_queue_open(cache, 0, wake_and_close, &host, finalise, &host.queue, NULL), YC_OK);
    CHECK_STATUS(submit(host.queue, op_get("none", 0), NULL), YC_OK);
    CHECK(reaches(&host.wakes, 1) && reaches(&host.finalised, 1));
    CHECK_STATUS(submit(host.queue, op_get("none", 0), NULL), YC_E_CLOSED);
    yc_queue_free(host.queue);
}

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 5000 };

struct traffic {
    yc_queue *queue;
    atomic_int next, taken;
    atomic_uchar *seen;
};

static void *produce(void *argument) {
    struct traffic *traffic = argument;
    for (int number; (number = atomic_fetch_add(&traffic->next, 1)) < PRODUCERS * EACH;) {
        yc_op op = number % 16 ? op_get("none", (uint64_t)number) : op_pattern("none", (uint64_t)number);
        yc_status status;
        while ((status = submit(traffic->queue, op, NULL)) == YC_E_BUSY) sched_yield();
        CHECK_STATUS(status, YC_OK);
    }
    return NULL;
}

static void *consume(void *argument) {
    struct traffic *traffic = argument;
    yc_completion came[7];
    size_t count = 0;
    while (yc_queue_wait(traffic->queue, came, 7, sizeof *came, -1, &count, NULL) == YC_OK) {
        for (size_t at = 0; at < count; at++) CHECK(atomic_fetch_add(&traffic->seen[came[at].user_data], 1) == 0);
        atomic_fetch_add(&traffic->taken, (int)count);
    }
    return NULL;
}

/* Several threads submit and several wait, until a close tells the waiting ones to end. */
static void check_producers_and_consumers(yc_cache *cache) {
    struct traffic traffic = {.queue = open_queue(cache, 64), .seen = calloc(PRODUCERS * EACH, sizeof *traffic.seen)};
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];
    for (int at = 0; at < CONSUMERS; at++) pthread_create(&consumers[at], NULL, consume, &traffic);
    for (int at = 0; at < PRODUCERS; at++) pthread_create(&producers[at], NULL, produce, &traffic);
    for (int at = 0; at < PRODUCERS; at++) pthread_join(producers[at], NULL);
    CHECK_STATUS(yc_queue_close(traffic.queue, -1, NULL), YC_OK);
    for (int at = 0; at < CONSUMERS; at++) pthread_join(consumers[at], NULL);
    CHECK(atomic_load(&traffic.taken) == PRODUCERS * EACH);
    yc_queue_free(traffic.queue);
    free(traffic.seen);
}

static void *close_soon(void *queue) {
    sleep_ms(5);
    CHECK_STATUS(yc_queue_close(queue, 0, NULL), YC_OK);
    return NULL;
}

/* Closed while others submit and wait: all come to an end. */
static void check_close_under_load(yc_cache *cache) {
    for (int turn = 0; turn < 20; turn++) {
        yc_queue *queue = open_queue(cache, 64);
        pthread_t closers[2];
        int submitted = 0, taken = 0;
        yc_completion came;
        size_t count = 0;
        for (int at = 0; at < 2; at++) pthread_create(&closers[at], NULL, close_soon, queue);
        for (yc_status status; (status = submit(queue, submitted % 2 ? op_get("a", 0) : op_pattern("a", 0), NULL)) != YC_E_CLOSED;) {
            submitted += status == YC_OK;
            while (status == YC_E_BUSY && yc_queue_poll(queue, &came, 1, sizeof came, &count, NULL) == YC_OK && count) {
                yc_completion_clear(&came), taken++;
            }
        }
        for (int at = 0; at < 2; at++) pthread_join(closers[at], NULL);
        while (yc_queue_wait(queue, &came, 1, sizeof came, -1, &count, NULL) == YC_OK) yc_completion_clear(&came), taken++;
        CHECK(submitted == taken);
        yc_queue_free(queue);
    }
}

/* A longer, later yc_completion: the library steps over what it does not know, and makes it zero. */
static void check_longer_completions(yc_cache *cache) {
    struct {
        yc_completion known;
        uint64_t later[2];
    } came[2];
    size_t count = 0;
    yc_queue *queue = open_queue(cache, 0);
    memset(came, 0xAB, sizeof came);
    for (uint64_t at = 0; at < 2; at++) CHECK_STATUS(submit(queue, op_get("none", at), NULL), YC_OK);
    CHECK_STATUS(yc_queue_poll(queue, &came[0].known, 2, sizeof *came, &count, NULL), YC_OK);
    CHECK(count == 2 && came[0].known.user_data == 0 && came[1].known.user_data == 1);
    CHECK(came[0].later[0] == 0 && came[0].later[1] == 0 && came[1].later[0] == 0 && came[1].later[1] == 0);
    close_queue(queue);
}

/* `queue short` leaves out what takes long under valgrind. */
int main(int count, char **arguments) {
    bool whole = count < 2 || strcmp(arguments[1], "short") != 0;
    yc_cache *cache = open_cache(test_url());
    check_operations(cache);
    check_reports(cache);
    check_many_keys(cache);
    check_wrong_many(cache);
    check_keys(cache);
    check_search(cache);
    check_copies(cache);
    check_no_thread();
    check_full(cache);
    check_cache_goes_first();
    check_descriptor(cache);
    check_wake(cache);
    check_finaliser(cache);
    check_close_when_woken(cache);
    check_longer_completions(cache);
    if (whole) {
        check_many_in_flight(cache);
        check_cancel_storm(cache);
        check_close_in_flight(cache);
        check_free_in_flight(cache);
        check_producers_and_consumers(cache);
        check_close_under_load(cache);
    }
    close_cache(cache);
    return check_result();
}
