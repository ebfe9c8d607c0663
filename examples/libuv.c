/*
 * libuv.c - a cache in a loop of libuv, which the library wakes.
 *
 *   cc libuv.c $(pkg-config --cflags --libs yokedcache libuv) -o libuv
 *   ./libuv [URL]
 *
 * When completions arrive, the library calls wake() on a thread of its own, and
 * wake() notifies the loop. (A uv_poll_t on yc_queue_fd() needs no such
 * function; see epoll.c.) A timer represents the other work of the loop.
 */

#define _GNU_SOURCE

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>
#include <yokedcache.h>

enum { BATCH = 64, KEYS = 100 };

struct program {
    uv_loop_t *loop;
    uv_async_t woken;
    uv_timer_t ticks;
    yc_cache *cache;
    yc_queue *queue;
    int stored, found;
};

static void check(yc_status status, yc_error **error)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", yc_status_name(status), yc_error_message(*error));
        yc_error_free(*error);
        exit(EXIT_FAILURE);
    }
}

/* Runs on a thread of the library: it may only notify the loop. */
static void wake(void *woken)
{
    uv_async_send(woken);
}

static void get_all(struct program *program)
{
    yc_slice keys[KEYS];
    char names[KEYS][16];
    yc_error *error;
    for (size_t i = 0; i < KEYS; i++) {
        keys[i].data = names[i];
        keys[i].len = (size_t)snprintf(names[i], sizeof names[i], "key:%zu", i);
    }
    /* The library has copied the keys: the arrays may go out of scope. */
    check(yc_queue_get_many(program->queue, keys, KEYS, 0, NULL, &error), &error);
}

static void set_all(struct program *program)
{
    yc_op ops[KEYS];
    char names[KEYS][16];
    yc_error *error;
    size_t accepted;
    memset(ops, 0, sizeof ops);
    for (size_t i = 0; i < KEYS; i++) {
        ops[i].kind = YC_OP_SET;
        ops[i].key = names[i];
        ops[i].key_len = (size_t)snprintf(names[i], sizeof names[i], "key:%zu", i);
        ops[i].value = "value";
        ops[i].value_len = 5;
        ops[i].ttl_ms = 60000;
    }
    check(yc_queue_submit(program->queue, ops, KEYS, sizeof *ops, NULL, &accepted, &error), &error);
}

/* Closes the queue and the cache without waiting, because all operations are complete. Then closes libuv's handles. */
static void finish(struct program *program)
{
    yc_error *error;
    check(yc_queue_close(program->queue, 0, &error), &error);
    yc_queue_free(program->queue);
    check(yc_close(program->cache, -1, &error), &error);
    yc_cache_free(program->cache);
    uv_close((uv_handle_t *)&program->woken, NULL);
    uv_close((uv_handle_t *)&program->ticks, NULL);
}

static void handle(struct program *program, const yc_completion *completion)
{
    if (completion->status < 0) {
        fprintf(stderr, "%s\n", yc_error_message(completion->error));
        exit(EXIT_FAILURE);
    }
    if (completion->kind == YC_OP_SET && ++program->stored == KEYS)
        get_all(program);
    if (completion->kind == YC_OP_GET_MANY) {
        size_t count;
        const yc_status *statuses = yc_results_statuses(completion->results, &count);
        for (size_t i = 0; i < count; i++)
            program->found += statuses[i] == YC_OK;
    }
}

/* Runs on the loop's thread: takes all completions. */
static void on_woken(uv_async_t *woken)
{
    struct program *program = woken->data;
    yc_completion done[BATCH];
    yc_error *error;
    size_t count;
    do {
        check(yc_queue_poll(program->queue, done, BATCH, sizeof *done, &count, &error), &error);
        for (size_t i = 0; i < count; i++) {
            handle(program, &done[i]);
            yc_completion_clear(&done[i]);
        }
    } while (count > 0);
    if (program->found > 0)
        finish(program);
}

/* Starts the program at the first tick. */
static void on_tick(uv_timer_t *ticks)
{
    struct program *program = ticks->data;
    if (program->stored == 0)
        set_all(program);
}

int main(int argc, char **argv)
{
    struct program program = {0};
    yc_error *error;

    program.loop = uv_default_loop();
    check(yc_open(argc > 1 ? argv[1] : "memory://?key_prefix=libuv", &program.cache, &error), &error);
    uv_async_init(program.loop, &program.woken, on_woken);
    uv_timer_init(program.loop, &program.ticks);
    program.woken.data = program.ticks.data = &program;
    check(yc_queue_open(program.cache, 0, wake, &program.woken, NULL, &program.queue, &error), &error);
    uv_timer_start(&program.ticks, on_tick, 0, 1000);

    uv_run(program.loop, UV_RUN_DEFAULT);
    uv_loop_close(program.loop);
    printf("%d stored, %d found\n", program.stored, program.found);
    return program.found == KEYS ? EXIT_SUCCESS : EXIT_FAILURE;
}
