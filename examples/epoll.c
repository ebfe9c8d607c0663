/*
 * epoll.c - a cache in an event loop of the program: no call blocks.
 *
 *   cc epoll.c $(pkg-config --cflags --libs yokedcache) -o epoll
 *   ./epoll [URL] [REQUESTS]
 *
 * Each request looks up its user. On a miss it creates the answer, which a real
 * program would read from a database, and stores it. The loop sleeps only in
 * epoll_wait(), so it could also serve sockets.
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

/* The state of a request while its operation is in flight. */
struct request {
    char key[32];
    size_t key_len;
};

static int hits, misses, pending;

static void check(yc_status status, yc_error **error)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", yc_status_name(status), yc_error_message(*error));
        yc_error_free(*error);
        exit(EXIT_FAILURE);
    }
}

/* The library copies key and value. The completion contains user_data. */
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

/* Handles one completion: a hit and a set end the request, a miss stores the answer. */
static void handle(yc_queue *queue, const yc_completion *completion)
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

/* Takes all completions. Afterwards the descriptor is not readable. */
static void drain(yc_queue *queue)
{
    yc_completion done[BATCH];
    yc_error *error;
    size_t count;
    do {
        check(yc_queue_poll(queue, done, BATCH, sizeof *done, &count, &error), &error);
        for (size_t i = 0; i < count; i++) {
            handle(queue, &done[i]);
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
        /* Reserves half of the queue for new requests and half for their second operations. */
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
