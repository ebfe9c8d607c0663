/*
 * epoll.c - a cache in an event loop of one's own: no call waits.
 *
 *   cc epoll.c $(pkg-config --cflags --libs yokedcache) -o epoll
 *   ./epoll [URL] [REQUESTS]
 *
 * Each request looks its user up. On a miss it makes the answer, which a real
 * program would ask of a database, and stores it. The loop sleeps in
 * epoll_wait() and nowhere else, so it could serve sockets beside the cache.
 */

#define _GNU_SOURCE

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <yokedcache.h>

enum { USERS = 10, BATCH = 64 };

/* What is remembered of a request while the cache works for it. */
struct request {
    char key[32];
    size_t key_len;
};

static int hits, misses, pending;

static void check(yc_status status, yc_error **error)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", yc_status_name(status), yc_error_message(*error));
        exit(EXIT_FAILURE);
    }
}

/* Key and value are copied; user_data comes back with the completion. */
static void submit(yc_queue *queue, int32_t kind, struct request *request, const char *value)
{
    yc_error *error;
    size_t accepted;
    yc_op op = {0};
    op.kind = kind;
    op.key = request->key;
    op.key_len = request->key_len;
    op.value = value;
    op.value_len = value ? strlen(value) : 0;
    op.ttl_ms = 60000;
    op.user_data = (uint64_t)(uintptr_t)request;
    check(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &accepted, &error), &error);
    pending++;
}

static void begin(yc_queue *queue, int number)
{
    struct request *request = calloc(1, sizeof *request);
    request->key_len = (size_t)snprintf(request->key, sizeof request->key, "user:%d", number % USERS);
    submit(queue, YC_OP_GET, request, NULL);
}

/* One step of a request: a hit ends it, a miss stores the answer, and what is stored ends it too. */
static void go_on(yc_queue *queue, const yc_completion *completion)
{
    struct request *request = (struct request *)(uintptr_t)completion->user_data;
    pending--;
    if (completion->status < 0)
        fprintf(stderr, "%s: %s\n", request->key, yc_error_message(completion->error));
    if (completion->status == YC_MISS) {
        misses++;
        submit(queue, YC_OP_SET, request, "made from the database");
        return;
    }
    hits += completion->kind == YC_OP_GET;
    free(request);
}

/* Everything that is there; the descriptor is quiet then. */
static void drain(yc_queue *queue)
{
    yc_completion done[BATCH];
    yc_error *error;
    size_t count;
    do {
        check(yc_queue_poll(queue, done, BATCH, sizeof *done, &count, &error), &error);
        for (size_t i = 0; i < count; i++) {
            go_on(queue, &done[i]);
            yc_completion_clear(&done[i]);
        }
    } while (count > 0);
}

int main(int argc, char **argv)
{
    const char *config = argc > 1 ? argv[1] : "memory://?key_prefix=epoll";
    int requests = argc > 2 ? atoi(argv[2]) : 1000;
    int begun = 0, loop = epoll_create1(EPOLL_CLOEXEC), fd;
    struct epoll_event event = {0};
    yc_error *error;
    yc_cache *cache;
    yc_queue *queue;

    check(yc_open(config, &cache, &error), &error);
    check(yc_flush(cache, NULL, &error), &error);
    check(yc_queue_open(cache, BATCH, NULL, NULL, NULL, &queue, &error), &error);
    check(yc_queue_fd(queue, &fd, &error), &error);
    event.events = EPOLLIN;
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);

    while (begun < requests || pending > 0) {
        /* Half of the queue for new requests, half for the second steps of those that go on. */
        while (begun < requests && pending < BATCH / 2)
            begin(queue, begun++);
        if (epoll_wait(loop, &event, 1, -1) == 1)
            drain(queue);
    }
    printf("%d requests, %d answered by the cache: %s\n", requests, hits, hits + misses == requests ? "all" : "not all");

    check(yc_queue_close(queue, -1, &error), &error);
    yc_queue_free(queue);
    check(yc_close(cache, -1, &error), &error);
    yc_cache_free(cache);
    close(loop);
    return hits + misses == requests ? EXIT_SUCCESS : EXIT_FAILURE;
}
