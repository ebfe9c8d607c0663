/* Eight threads use one cache in every way while another closes it: each ends with YC_E_CLOSED, none hangs. */
#include "every.h"
#include "queues.h"

#include <pthread.h>

enum { THREADS = 8 };

typedef struct worker {
    yc_cache *cache;
    unsigned number;
    atomic_bool *started;
    yc_status last;
} worker;

static bool is_outcome(yc_status status) { return status == YC_OK || status == YC_MISS || status == YC_UNMET; }

/* A value is of one writer, whole: all its bytes are the same. */
static void check_whole(const yc_value *value) {
    size_t len;
    const char *data = yc_value_data(value, &len);
    for (size_t at = 1; at < len; at++) {
        if (data[at] != data[0]) CHECK(!"a value of two writers");
    }
}

static yc_status write_shared(const worker *self, unsigned turn) {
    char key[16], value[300];
    yc_slice tag = {&"abcd"[turn % 4], 1};
    size_t key_len = (size_t)snprintf(key, sizeof key, "k%u", turn % 50);
    memset(value, 'a' + (char)self->number, sizeof value);
    return yc_set(self->cache, key, key_len, value, turn % sizeof value, turn % 3 ? 60000 : 1, &tag, 1, NULL);
}

static yc_status read_shared(const worker *self, unsigned turn) {
    char key[16];
    yc_value *value = NULL;
    size_t key_len = (size_t)snprintf(key, sizeof key, "k%u", turn % 50);
    yc_status status = yc_get(self->cache, key, key_len, &value, NULL);
    check_whole(value);
    yc_value_free(value);
    return status;
}

static yc_status use(const worker *self, unsigned turn) {
    if (turn % 3 == 0) return write_shared(self, turn / 3);
    if (turn % 3 == 1) return read_shared(self, turn / 3);
    return EVERY[(turn / 3 + self->number) % EVERY_COUNT].run(self->cache, NULL);
}

static void *work(void *argument) {
    worker *self = argument;
    for (unsigned turn = self->number; is_outcome(self->last = use(self, turn)); turn++) {
        if (turn > self->number + 100) atomic_store(self->started, true);
    }
    return NULL;
}

static void start(pthread_t *threads, worker *workers, yc_cache *cache, atomic_bool *started) {
    for (unsigned at = 0; at < THREADS; at++) {
        workers[at] = (worker){cache, at, &started[at], YC_OK};
        atomic_store(&started[at], false);
        CHECK(pthread_create(&threads[at], NULL, work, &workers[at]) == 0);
    }
    for (unsigned at = 0; at < THREADS; at++) {
        while (!atomic_load(&started[at])) sleep_ms(1);
    }
}

/* Closes in the midst of it, after that long. */
static void check_close(long milliseconds, const char *config) {
    pthread_t threads[THREADS];
    worker workers[THREADS];
    atomic_bool started[THREADS];
    int before = settled_threads();
    yc_cache *cache = open_cache(config);
    start(threads, workers, cache, started);
    sleep_ms(milliseconds);
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
        CHECK_STATUS(workers[at].last, YC_E_CLOSED);
    }
    CHECK(threads_are(before));
    yc_cache_free(cache);
}

static void *close_it(void *cache) {
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    return NULL;
}

/* Many threads close at once, each gets its answer. */
static void check_closers(void) {
    pthread_t threads[THREADS];
    yc_cache *cache = open_cache(test_url());
    CHECK_STATUS(every_set(cache, NULL), YC_OK);
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, close_it, cache);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    yc_cache_free(cache);
}

static void *page_through(void *cursor) {
    yc_keys *page = NULL;
    size_t count, *total = calloc(1, sizeof *total);
    while (yc_keys_next(cursor, 3, &page, NULL) == YC_OK) {
        yc_keys_data(page, &count);
        *total += count;
        yc_keys_free(page);
    }
    return total;
}

/* Threads share a cursor: each key goes to one of them. */
static void check_shared_cursor(void) {
    pthread_t threads[THREADS];
    yc_cache *cache = open_cache(test_url());
    yc_cursor *cursor = NULL;
    size_t sum = 0;
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    for (int at = 0; at < 500; at++) CHECK_STATUS(yc_set(cache, &at, sizeof at, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, page_through, cursor);
    for (int at = 0; at < THREADS; at++) {
        void *total = NULL;
        pthread_join(threads[at], &total);
        sum += *(size_t *)total;
        free(total);
    }
    CHECK(sum == 500);
    yc_cursor_free(cursor);
    close_cache(cache);
}

static void *release(void *value) {
    yc_value_free(value);
    return NULL;
}

/* A value is released on another thread than the one that read it. */
static void check_value_on_another_thread(void) {
    pthread_t thread;
    yc_value *value = NULL;
    yc_cache *cache = open_cache(test_url());
    CHECK_STATUS(every_set(cache, NULL), YC_OK);
    CHECK_STATUS(yc_get(cache, "a", 1, &value, NULL), YC_OK);
    close_cache(cache);
    pthread_create(&thread, NULL, release, value);
    pthread_join(thread, NULL);
}

/* Operations of a queue and blocking calls, in turn on one connection: the thread that reads it hands that over. */
static void check_turns(void) {
    bool is_memory = strncmp(test_url(), "memory:", 7) == 0;
    char url[512];
    snprintf(url, sizeof url, "%s%s", test_url(), is_memory ? "" : strchr(test_url(), '?') ? "&pool_size=1" : "?pool_size=1");
    yc_cache *cache = open_cache(url);
    yc_queue *queue = open_queue(cache, 0);
    for (int turn = 0; turn < 200; turn++) {
        yc_completion done;
        size_t taken = 0;
        CHECK_STATUS(submit(queue, op_get("turns", 0), NULL), YC_OK);
        CHECK_STATUS(yc_queue_wait(queue, &done, 1, sizeof done, 10000, &taken, NULL), YC_OK);
        if (CHECK(taken == 1)) CHECK_STATUS(done.status, YC_MISS);
        if (taken) yc_completion_clear(&done);
        CHECK_STATUS(yc_exists(cache, "turns", 5, NULL), YC_MISS);
    }
    close_queue(queue);
    close_cache(cache);
}

/* The first argument is the number of repetitions. */
int main(int count, char **arguments) {
    int repeats = count > 1 ? atoi(arguments[1]) : 20;
    for (int repeat = 0; repeat < repeats; repeat++) {
        check_close(repeat, test_url());
        check_closers();
    }
    check_close(100, "memory://?max_size=20&max_bytes=100000&cleanup_interval=1ms");
    check_shared_cursor();
    check_value_on_another_thread();
    check_turns();
    return check_result();
}
