/* Threads that are cancelled inside a call of a server that is stopped: the call returns, and the thread ends then. */
#include "numbered.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>

static server redis;
static yc_cache *cache;
static yc_queue *queue;
static atomic_bool began, returned;

static void get_one(void) { get_numbered(cache, 1, NULL); }
static void set_one(void) { set_numbered(cache, 1); }
static void ping(void) { yc_ping(cache, NULL); }
static void flush(void) { yc_flush(cache, NULL, NULL); }

static void get_many(void) {
    yc_slice keys[] = {slice("a"), slice("b")};
    yc_status statuses[2];
    yc_value *values[2] = {NULL, NULL};
    yc_get_many(cache, keys, 2, values, statuses, NULL);
    for (int at = 0; at < 2; at++) yc_value_free(values[at]);
}

static void list(void) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    if (yc_keys_open(cache, "*", 1, &cursor, NULL) != YC_OK) return;
    if (yc_keys_next(cursor, 0, &page, NULL) == YC_OK) yc_keys_free(page);
    yc_cursor_free(cursor);
}

static void open_and_free(void) {
    yc_cache *another = NULL;
    if (yc_open(server_url(&redis, "socket_connect_timeout=500ms&socket_timeout=500ms"), &another, NULL) == YC_OK) yc_cache_free(another);
}

static void wait_for_completion(void) {
    yc_completion completion;
    size_t count = 0;
    yc_queue_wait(queue, &completion, 1, sizeof completion, 500, &count, NULL);
    if (count) yc_completion_clear(&completion);
}

static void run_call(void *call) {
    atomic_store(&began, true);
    (*(void (**)(void))call)();
    atomic_store(&returned, true);
}

/* A call may end before it is cancelled, where the server is known to be down: then what follows it is cancelled. */
static void *run(void *call) {
    run_call(call);
    for (int at = 0; at < 1000; at++) sleep_ms(10);
    return NULL;
}

/* Cancels a thread during a call; `disabled`: it had refused to be cancelled before, and still does. */
static void *cancel(void (*call)(void), void *(*body)(void *)) {
    pthread_t thread;
    void *ended = NULL;
    atomic_store(&began, false), atomic_store(&returned, false);
    CHECK(pthread_create(&thread, NULL, body, &call) == 0);
    while (!atomic_load(&began)) sleep_ms(1);
    sleep_ms(50);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &ended) == 0);
    CHECK(atomic_load(&returned));
    return ended;
}

static void *run_disabled(void *call) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    run_call(call);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before == PTHREAD_CANCEL_DISABLE ? NULL : &began;
}

int main(void) {
    void (*const calls[])(void) = {get_one, set_one, ping, flush, get_many, list, open_and_free, wait_for_completion};
    server_start(&redis, SERVER_REDIS, NULL);
    cache = open_cache(server_url(&redis, "socket_timeout=500ms&retry_on_timeout=false"));
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    server_signal(&redis, SIGSTOP);
    for (size_t at = 0; at < sizeof calls / sizeof *calls; at++) CHECK(cancel(calls[at], run) == PTHREAD_CANCELED);
    CHECK(cancel(get_one, run_disabled) == NULL);
    server_signal(&redis, SIGCONT);
    CHECK(recovers(cache, 2, 5000));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    yc_queue_free(queue);
    close_cache(cache);
    server_stop(&redis);
    return check_result();
}
