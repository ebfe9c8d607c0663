/* After a fork the child gets YC_E_FORKED at once from every call, frees safely and opens its own; the parent continues.
 * That holds for a fork at any time, also during the very first call of another thread. */
#include "every.h"
#include "queues.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, FORKS = 60, SECONDS_TO_HANG = 10 };

static atomic_bool stop_threads;

/* Keeps the cache's locks busy while the process forks. */
static void *keep_busy(void *cache) {
    for (unsigned turn = 0; !atomic_load(&stop_threads); turn++) EVERY[turn % EVERY_COUNT].run(cache, NULL);
    return NULL;
}

/* Of a queue with operations in flight, with a descriptor and with a woken host. */
static void refuse_every_call_of_queue(yc_queue *queue, yc_cursor *cursor) {
    yc_op op = op_get("a", 1);
    yc_slice key = slice("a");
    yc_completion came;
    size_t count;
    int fd;
    CHECK_CALL(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &count, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_get_many(queue, &key, 1, 1, NULL, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_set_many(queue, &key, &key, 1, 0, NULL, 0, 1, NULL, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_delete_many(queue, &key, 1, 1, NULL, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_keys_next(queue, cursor, 0, 1, NULL, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_search(queue, "q", 1, NULL, 1, NULL, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_poll(queue, &came, 1, sizeof came, &count, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, -1, &count, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_fd(queue, &fd, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_cancel(queue, 1, err), YC_E_FORKED);
    CHECK_CALL(yc_queue_close(queue, -1, err), YC_E_FORKED);
    yc_queue_free(queue);
}

static void ignore_wake(void *unused) { (void)unused; }

/* In the child: all of these at once, two seconds for a slow machine; the alarm ends one that hangs. */
static void refuse_every_call(yc_cache *cache, yc_cursor *cursor) {
    yc_keys *page = NULL;
    double begun = now_ms();
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK_CALL(EVERY[at].run(cache, err), YC_E_FORKED);
    CHECK_CALL(yc_keys_next(cursor, 0, &page, err), YC_E_FORKED);
    CHECK_CALL(yc_close(cache, -1, err), YC_E_FORKED);
    double took = now_ms() - begun;
    if (!CHECK(took < 2000)) printf("  the child's calls took %.0f ms\n", took);
}

static void use_own_cache(void) {
    yc_cache *cache = open_cache(test_url());
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(cache, NULL) >= 0);
    close_cache(cache);
}

static void be_child(yc_cache *cache, yc_cursor *cursor, yc_value *value, yc_queue *queue) {
    size_t len = 0;
    alarm(SECONDS_TO_HANG);
    atomic_store(&checks_failed, 0);
    CHECK(memcmp(yc_value_data(value, &len), "value", 5) == 0 && len == 5);
    refuse_every_call(cache, cursor);
    refuse_every_call_of_queue(queue, cursor);
    yc_value_free(value);
    yc_cursor_free(cursor);
    yc_cache_free(cache);
    use_own_cache();
    fflush(stdout);
    _exit(atomic_load(&checks_failed) ? 1 : 0);
}

static void check_child(pid_t child) {
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        printf("  the child %s %d\n", WIFSIGNALED(status) ? "was ended by signal" : "ended with",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

/* Patterns take memory a moment, and Memcached a walk of its crawler each. */
static uint64_t in_flight(void) { return strncmp(test_url(), "memcached", 9) == 0 ? 5 : 100; }

static void check_fork(yc_cache *cache) {
    yc_cursor *cursor = NULL;
    yc_value *value = NULL;
    /* The other threads flush: until one is got. */
    while (yc_get(cache, "mine", 4, &value, NULL) == YC_MISS) yc_set(cache, "mine", 4, "value", 5, YC_TTL_NEVER, NULL, 0, NULL);
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    yc_queue *queue = NULL;
    int fd;
    CHECK_STATUS(yc_queue_open(cache, 0, ignore_wake, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(yc_queue_fd(queue, &fd, NULL), YC_OK);
    for (uint64_t at = 0; at < in_flight(); at++) CHECK_STATUS(submit(queue, op_pattern("none*", at), NULL), YC_OK);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) be_child(cache, cursor, value, queue);
    for (uint64_t at = 0; at < in_flight(); at++) CHECK_STATUS(take(queue).status, YC_OK);
    check_child(child);
    close_queue(queue);
    yc_value_free(value);
    yc_cursor_free(cursor);
}

/* A grandchild is no child of its own parent's cache either, and a cache of the child works in the child alone. */
static void check_grandchild(void) {
    yc_cache *cache = open_cache(test_url());
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS_TO_HANG);
        atomic_store(&checks_failed, 0);
        yc_cache *own = open_cache(test_url());
        pid_t grandchild = fork();
        if (grandchild == 0) _exit(every_ping(own, NULL) == YC_E_FORKED && every_ping(cache, NULL) == YC_E_FORKED ? 0 : 1);
        check_child(grandchild);
        CHECK_STATUS(every_ping(own, NULL), YC_OK);
        _exit(atomic_load(&checks_failed) ? 1 : 0);
    }
    check_child(child);
    CHECK_STATUS(every_ping(cache, NULL), YC_OK);
    close_cache(cache);
}

static void ignore_line(void *data, int32_t level, const char *line, size_t len) { (void)data, (void)level, (void)line, (void)len; }

/* Sets a log, opens and closes, over and over: what a log and an opening lock is busy. */
static void *log_and_open(void *unused) {
    while (!atomic_load(&stop_threads)) {
        yc_set_log(YC_LOG_TRACE, ignore_line, NULL, NULL, NULL);
        yc_cache *cache = open_cache(test_url());
        close_cache(cache);
    }
    return unused;
}

/* A child whose parent's threads were logging can set a log and open. */
static void check_log_in_child(void) {
    pthread_t threads[THREADS];
    atomic_store(&stop_threads, false);
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, log_and_open, NULL);
    for (int at = 0; at < 10 * FORKS; at++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            alarm(SECONDS_TO_HANG);
            yc_cache_free(open_cache(test_url()));
            _exit(yc_set_log(YC_LOG_INFO, ignore_line, NULL, NULL, NULL) == YC_OK ? 0 : 1);
        }
        check_child(child);
        if (atomic_load(&checks_failed)) break;
    }
    atomic_store(&stop_threads, true);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
}

/* First calls: each is made by a process of its own, in which the library was not called before. */
enum { FIRST_CALLS = 1500 };

static void *open_first(void *unused) {
    close_cache(open_cache(test_url()));
    return unused;
}

static void *log_first(void *unused) {
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, ignore_line, NULL, NULL, NULL), YC_OK);
    return unused;
}

static void count_line(void *data, int32_t level, const char *line, size_t len) {
    (void)level, (void)line, (void)len;
    atomic_fetch_add((atomic_int *)data, 1);
}

/* In the child: a log gets lines, and a cache stores and finds. */
static void use_library(void) {
    static atomic_int lines;
    yc_value *value = NULL;
    size_t len = 0;
    alarm(SECONDS_TO_HANG);
    atomic_store(&checks_failed, 0);
    CHECK_STATUS(yc_set_log(YC_LOG_INFO, count_line, &lines, NULL, NULL), YC_OK);
    yc_cache *cache = open_cache(test_url());
    CHECK(atomic_load(&lines) > 0);
    CHECK_STATUS(yc_set(cache, "key", 3, "value", 5, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_get(cache, "key", 3, &value, NULL), YC_OK);
    CHECK(memcmp(yc_value_data(value, &len), "value", 5) == 0 && len == 5);
    yc_value_free(value);
    close_cache(cache);
    fflush(stdout);
    _exit(atomic_load(&checks_failed) ? 1 : 0);
}

/* A process whose other thread makes its first call while this one forks, so many milliseconds after that thread began. */
static void fork_amid(void *(*first)(void *), double delay_ms) {
    pthread_t other;
    atomic_store(&checks_failed, 0);
    pthread_create(&other, NULL, first, NULL);
    double begun = now_ms();
    while (now_ms() - begun < delay_ms) {}
    pid_t child = fork();
    if (child == 0) use_library();
    check_child(child);
    pthread_join(other, NULL);
    fflush(stdout);
    _exit(atomic_load(&checks_failed) ? 1 : 0);
}

/* The forks are spread over the time that a thread takes to begin and to make its first call. */
static void check_first_calls(void) {
    for (int at = 0; at < FIRST_CALLS && !atomic_load(&checks_failed); at++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) fork_amid(at % 2 ? open_first : log_first, (at % 2 ? 0.3 : 0.1) * at / FIRST_CALLS);
        check_child(child);
    }
}

static void check_busy_forks(void) {
    pthread_t threads[THREADS];
    yc_cache *cache = open_cache(busy_url());
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, keep_busy, cache);
    for (int at = 0; at < FORKS; at++) check_fork(cache);
    atomic_store(&stop_threads, true);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(cache, NULL) >= 0);
    close_cache(cache);
}

/* `fork log` and `fork first` run one part alone. */
int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "log") == 0) {
        check_log_in_child();
        return check_result();
    }
    if (count > 1 && strcmp(arguments[1], "first") == 0) {
        check_first_calls();
        return check_result();
    }
    check_busy_forks();
    check_grandchild();
    return check_result();
}
