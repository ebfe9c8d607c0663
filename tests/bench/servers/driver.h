/* driver.h - what the benchmarks of a server's clients share: callers, keys, times, a window of requests, YokedCache. */

#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

enum {
    KEY = 16,
    VALUE = 100,
    KEYS = 100000,
    COUNTERS = 1000,
    MANY = 100,
    MAX_CALLERS = 1024,
};

struct worker {
    const struct contender *contender;
    uint64_t random;
    uint64_t operations;
    uint32_t durations[BUCKETS];
    /* Operations in flight, where one worker has them all. */
    int in_flight;
    void *connection;
    /* What was asked for, and when, in the order of the replies. */
    const char *asked[MAX_CALLERS];
    uint64_t since[MAX_CALLERS];
    uint64_t first, next;
};

struct contender {
    const char *name;
    const char *workload;
    /* Whether one thread has all the operations in flight; each caller is a thread otherwise. */
    int one_thread;
    void (*open)(void);
    void (*enter)(struct worker *);
    /* Does an operation, or some. */
    void (*turn)(struct worker *);
};

/* The server's port, the workload's name, and the keys. */
extern int port;
extern const char *workload;
extern char keys[KEYS][KEY];

void give_up(const char *format, ...);
void open_nothing(void);
void enter_nothing(struct worker *worker);

uint64_t bench_now(void);
int bench_over(void);
const char *bench_key(struct worker *worker);
/* One of few keys: most of what is counted exists. */
const char *bench_counter(struct worker *worker);
void bench_value(const char *key, char value[VALUE]);
/* Every value that comes back is looked at: it begins with its key. */
void bench_check(const char *key, const void *value, size_t len);
void bench_finished(struct worker *worker, uint64_t since);
struct worker *bench_worker(int index);

/* A window of requests in flight: the key of one that is sent; the reply to the oldest, NULL for that of a set; how many
 * may be sent. */
const char *sending(struct worker *worker);
void replied(struct worker *worker, const char *value, size_t len);
int missing(const struct worker *worker);

/* A raw socket, and how its protocol writes a request and cuts off a reply: its length, or 0 when it is not whole; a
 * value's bytes are in *value, or NULL. */
struct raw_protocol {
    char *(*request)(char *end, const char *key, int set);
    size_t (*reply)(const char *from, size_t len, const char **value, size_t *value_len);
};
void raw_enter(struct worker *worker);
void raw_turn(struct worker *worker, const struct raw_protocol *protocol, int set);
char *put(char *end, const void *bytes, size_t len);

/* YokedCache on the server whose URL this makes, of the port and a key prefix. */
extern const char *yoked_url;
void yoked_fill(void);
#define YOKED_CONTENDERS                                                               \
    { "yokedcache", "get", 0, yoked_open, enter_nothing, yoked_get },                  \
    { "yokedcache", "set", 0, yoked_open, enter_nothing, yoked_set },                  \
    { "yokedcache", "mget", 0, yoked_open, enter_nothing, yoked_mget },                \
    { "yokedcache-tags", "get", 0, yoked_open_tags, enter_nothing, yoked_get },        \
    { "yokedcache-tags", "set", 0, yoked_open_tags, enter_nothing, yoked_set_tags },   \
    { "yokedcache-batch", "get", 1, yoked_open, enter_nothing, yoked_batch_get },      \
    { "yokedcache-batch", "set", 1, yoked_open, enter_nothing, yoked_batch_set },      \
    { "yokedcache-queue", "get", 1, queue_open, queue_enter, queue_turn },             \
    { "yokedcache-queue", "set", 1, queue_open, queue_enter, queue_turn },             \
    { "yokedcache-lease", "get", 0, yoked_open, enter_nothing, yoked_lease },          \
    { "yokedcache", "counter", 0, yoked_open_counters, enter_nothing, yoked_counter }, \
    { "yokedcache-queue", "counter", 1, queue_open, queue_enter, queue_turn },         \
    { "yokedcache", "compare", 0, yoked_open_counters, enter_nothing, yoked_compare }
void yoked_open(void);
void yoked_open_tags(void);
void yoked_open_counters(void);
void yoked_get(struct worker *worker);
void yoked_lease(struct worker *worker);
void yoked_counter(struct worker *worker);
void yoked_compare(struct worker *worker);
void yoked_set(struct worker *worker);
void yoked_set_tags(struct worker *worker);
void yoked_mget(struct worker *worker);
void yoked_batch_get(struct worker *worker);
void yoked_batch_set(struct worker *worker);
void queue_open(void);
void queue_enter(struct worker *worker);
void queue_turn(struct worker *worker);

/* main: `fill` stores the keys for everyone. */
int bench_main(int argc, char **argv, const struct contender *contenders, size_t n_contenders, void (*fill)(void));

#endif
