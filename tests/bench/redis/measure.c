/*
 * measure.c - one turn of one contender against a Redis server.
 *
 *   measure PORT fill                                     stores the keys for everyone
 *   measure PORT CONTENDER WORKLOAD CALLERS MILLISECONDS  works, and prints its figures in one line:
 *       operations a second, p50 and p99 in microseconds, microseconds of this process's processors an operation
 *
 * The callers are threads, or operations in flight on one thread. Every
 * value that comes back is looked at: it begins with its key.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

#include "measure.h"

enum {
    KEYS = 100000,
    MANY = 100,
    MAX_CALLERS = 1024,
    WARM_UP_MS = 100,
    /* The exit status when others had the processors all the time. */
    NOTHING_DONE = 2,
};

static void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("measure: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- The driver: callers, keys, times. ---- */

enum { WARMING_UP, MEASURING, OVER };

static atomic_int phase;

/* Durations in nanoseconds, each bucket a 64th of its octave. */
enum { BUCKETS = 64 * 36 };

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

static int port;
static struct worker *workers;
static int callers;
static char keys[KEYS][KEY];
static const char *workload;

uint64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int bench_over(void)
{
    return atomic_load_explicit(&phase, memory_order_relaxed) == OVER;
}

static int bucket_of(uint64_t nanoseconds)
{
    int shift = nanoseconds < 128 ? 0 : 57 - __builtin_clzll(nanoseconds);
    int bucket = shift * 64 + (int)(nanoseconds >> shift);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double microseconds_of(int bucket)
{
    int shift = bucket < 128 ? 0 : bucket / 64 - 1;
    return (double)((uint64_t)(bucket - shift * 64) << shift) / 1e3;
}

void bench_finished(struct worker *worker, uint64_t since)
{
    if (atomic_load_explicit(&phase, memory_order_relaxed) == MEASURING) {
        worker->operations++;
        worker->durations[bucket_of(bench_now() - since)]++;
    }
}

const char *bench_key(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return keys[(worker->random >> 32) * KEYS >> 32];
}

void bench_check(const char *key, const void *value, size_t len)
{
    if (value == NULL || len != VALUE || memcmp(value, key, KEY) != 0) {
        give_up("a value of %zu bytes is not that of %.*s", len, KEY, key);
    }
}

void bench_value(const char *key, char value[VALUE])
{
    memset(value, 'v', VALUE);
    memcpy(value, key, KEY);
}

struct worker *bench_worker(int index)
{
    return &workers[index];
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    while (!bench_over()) {
        worker->contender->turn(worker);
    }
    return NULL;
}

static double processor_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
        + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void sleep_ms(long milliseconds)
{
    struct timespec left = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    while (nanosleep(&left, &left) != 0) {
    }
}

static double percentile(const uint64_t durations[BUCKETS], uint64_t operations, double share)
{
    uint64_t below = 0;
    int bucket = 0;
    while (bucket < BUCKETS - 1 && (below += durations[bucket]) < (uint64_t)((double)operations * share)) {
        bucket++;
    }
    return microseconds_of(bucket);
}

static void print_figures(double seconds, double processor)
{
    static uint64_t durations[BUCKETS];
    uint64_t operations = 0;
    for (int i = 0; i < callers; i++) {
        operations += workers[i].operations;
        for (int bucket = 0; bucket < BUCKETS; bucket++) {
            durations[bucket] += workers[i].durations[bucket];
        }
    }
    if (operations == 0) {
        exit(NOTHING_DONE);
    }
    printf("%.1f %.2f %.2f %.4f\n", (double)operations / seconds, percentile(durations, operations, 0.5),
        percentile(durations, operations, 0.99), processor * 1e6 / (double)operations);
}

static void measure(const struct contender *contender, long milliseconds)
{
    int threads = contender->one_thread ? 1 : callers;
    pthread_t thread[MAX_CALLERS];
    workers = calloc((size_t)callers, sizeof *workers);
    contender->open();
    for (int i = 0; i < callers; i++) {
        workers[i].contender = contender;
        workers[i].random = bench_now() * 2654435761u + (uint64_t)i * 0x9e3779b97f4a7c15u + 1;
        workers[i].in_flight = callers;
    }
    for (int i = 0; i < threads; i++) {
        contender->enter(&workers[i]);
    }
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&thread[i], NULL, work, &workers[i]) != 0) {
            give_up("cannot start a thread");
        }
    }
    sleep_ms(WARM_UP_MS);
    double processor = processor_seconds();
    uint64_t started = bench_now();
    atomic_store(&phase, MEASURING);
    sleep_ms(milliseconds);
    atomic_store(&phase, OVER);
    double seconds = (double)(bench_now() - started) / 1e9;
    processor = processor_seconds() - processor;
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    print_figures(seconds, processor);
}

/* ---- YokedCache. ---- */

static yc_cache *cache;

static void must(yc_status status, yc_error *error)
{
    if (status != YC_OK) {
        give_up("%s: %s", yc_status_name(status), yc_error_message(error));
    }
}

static yc_cache *yoked(const char *prefix)
{
    char url[100];
    yc_cache *opened;
    yc_error *error;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?key_prefix=%s&socket_timeout=10s", port, prefix);
    must(yc_open(url, &opened, &error), error);
    return opened;
}

static void yoked_open(void)
{
    cache = yoked("yokedcache");
}

/* The same keys with two tags each are another cache. */
static void yoked_open_tags(void)
{
    cache = yoked("with-tags");
}

static void enter_nothing(struct worker *worker)
{
    (void)worker;
}

static void yoked_take(const char *key, yc_value *value)
{
    size_t len;
    const void *data = yc_value_data(value, &len);
    bench_check(key, data, len);
    yc_value_free(value);
}

static void yoked_get(struct worker *worker)
{
    const char *key = bench_key(worker);
    yc_value *value = NULL;
    yc_error *error;
    uint64_t since = bench_now();
    yc_status status = yc_get(cache, key, KEY, &value, &error);
    must(status, error);
    yoked_take(key, value);
    bench_finished(worker, since);
}

static void yoked_store(struct worker *worker, const yc_slice *tags, size_t n_tags)
{
    const char *key = bench_key(worker);
    char value[VALUE];
    yc_error *error;
    bench_value(key, value);
    uint64_t since = bench_now();
    yc_status status = yc_set(cache, key, KEY, value, VALUE, YC_TTL_NEVER, tags, n_tags, &error);
    must(status, error);
    bench_finished(worker, since);
}

static void yoked_set(struct worker *worker)
{
    yoked_store(worker, NULL, 0);
}

static const yc_slice TAGS[] = { { "tag:one", 7 }, { "tag:two", 7 } };

static void yoked_set_tags(struct worker *worker)
{
    yoked_store(worker, TAGS, 2);
}

static void yoked_mget(struct worker *worker)
{
    yc_slice asked[MANY];
    yc_value *values[MANY];
    yc_error *error;
    uint64_t since = bench_now();
    for (int i = 0; i < MANY; i++) {
        asked[i] = (yc_slice) { bench_key(worker), KEY };
    }
    yc_status status = yc_get_many(cache, asked, MANY, values, NULL, &error);
    must(status, error);
    for (int i = 0; i < MANY; i++) {
        yoked_take(asked[i].data, values[i]);
    }
    bench_finished(worker, since);
}

static void yoked_batch(struct worker *worker, int32_t kind)
{
    static yc_op ops[MAX_CALLERS];
    static char values[MAX_CALLERS][VALUE];
    size_t n = (size_t)worker->in_flight;
    yc_error *error;
    uint64_t since = bench_now();
    memset(ops, 0, n * sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        const char *key = bench_key(worker);
        ops[i] = (yc_op) { .kind = kind, .key = key, .key_len = KEY };
        if (kind == YC_OP_SET) {
            bench_value(key, values[i]);
            ops[i].value = values[i];
            ops[i].value_len = VALUE;
            ops[i].ttl_ms = YC_TTL_NEVER;
        }
    }
    yc_status status = yc_batch(cache, ops, n, sizeof *ops, &error);
    must(status, error);
    for (size_t i = 0; i < n; i++) {
        must(ops[i].status, ops[i].error);
        if (kind == YC_OP_GET) {
            yoked_take(ops[i].key, ops[i].result);
        }
        bench_finished(worker, since);
    }
}

static void yoked_batch_get(struct worker *worker)
{
    yoked_batch(worker, YC_OP_GET);
}

static void yoked_batch_set(struct worker *worker)
{
    yoked_batch(worker, YC_OP_SET);
}

/* What a queue has in flight: an operation in each slot, which is its user_data. */
static yc_queue *queue;
static yc_op to_submit[MAX_CALLERS];
static char slot_values[MAX_CALLERS][VALUE];
static size_t n_to_submit;

static void queue_put(struct worker *worker, uint64_t slot, int32_t kind)
{
    const char *key = bench_key(worker);
    yc_op *op = &to_submit[n_to_submit++];
    *op = (yc_op) { .kind = kind, .key = key, .key_len = KEY, .user_data = slot };
    if (kind == YC_OP_SET) {
        bench_value(key, slot_values[slot]);
        op->value = slot_values[slot];
        op->value_len = VALUE;
        op->ttl_ms = YC_TTL_NEVER;
    }
    worker->asked[slot] = key;
    worker->since[slot] = bench_now();
}

static void queue_open(void)
{
    yc_error *error;
    yoked_open();
    must(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, &error), error);
}

static void queue_enter(struct worker *worker)
{
    int32_t kind = strcmp(workload, "set") == 0 ? YC_OP_SET : YC_OP_GET;
    for (int slot = 0; slot < worker->in_flight; slot++) {
        queue_put(worker, (uint64_t)slot, kind);
    }
}

static void queue_turn(struct worker *worker)
{
    static yc_completion done[MAX_CALLERS];
    size_t n;
    yc_error *error;
    yc_status status = yc_queue_submit(queue, to_submit, n_to_submit, sizeof *to_submit, NULL, &n, &error);
    must(status, error);
    status = yc_queue_wait(queue, done, MAX_CALLERS, sizeof *done, -1, &n, &error);
    must(status, error);
    n_to_submit = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t slot = done[i].user_data;
        must(done[i].status, done[i].error);
        if (done[i].kind == YC_OP_GET) {
            yoked_take(worker->asked[slot], done[i].result);
        }
        bench_finished(worker, worker->since[slot]);
        queue_put(worker, slot, done[i].kind);
    }
}

/* ---- hiredis, a connection for each thread. ---- */

static void open_nothing(void)
{
}

static redisContext *hiredis(void)
{
    redisContext *connection = redisConnect("127.0.0.1", port);
    if (connection == NULL || connection->err) {
        give_up("hiredis: %s", connection ? connection->errstr : "no memory");
    }
    return connection;
}

static void hiredis_enter(struct worker *worker)
{
    worker->connection = hiredis();
}

static void *usable(redisContext *connection, redisReply *reply)
{
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        give_up("hiredis: %s", reply ? reply->str : connection->errstr);
    }
    return reply;
}

static redisReply *ask(redisContext *connection, int n, const char **parts, const size_t *lengths)
{
    return usable(connection, redisCommandArgv(connection, n, parts, lengths));
}

static const size_t LENGTHS[] = { 3, KEY, VALUE };

static void hiredis_get(struct worker *worker)
{
    const char *parts[] = { "GET", bench_key(worker) };
    uint64_t since = bench_now();
    redisReply *reply = ask(worker->connection, 2, parts, LENGTHS);
    bench_check(parts[1], reply->str, reply->len);
    freeReplyObject(reply);
    bench_finished(worker, since);
}

static void hiredis_set(struct worker *worker)
{
    char value[VALUE];
    const char *parts[] = { "SET", bench_key(worker), value };
    bench_value(parts[1], value);
    uint64_t since = bench_now();
    freeReplyObject(ask(worker->connection, 3, parts, LENGTHS));
    bench_finished(worker, since);
}

static void hiredis_mget(struct worker *worker)
{
    const char *parts[MANY + 1] = { "MGET" };
    size_t lengths[MANY + 1] = { 4 };
    uint64_t since = bench_now();
    for (int i = 1; i <= MANY; i++) {
        parts[i] = bench_key(worker);
        lengths[i] = KEY;
    }
    redisReply *reply = ask(worker->connection, MANY + 1, parts, lengths);
    for (int i = 0; i < MANY; i++) {
        bench_check(parts[i + 1], reply->element[i]->str, reply->element[i]->len);
    }
    freeReplyObject(reply);
    bench_finished(worker, since);
}

/* ---- A window of requests in flight: as many are sent as replies came. ---- */

static const char *sending(struct worker *worker)
{
    const char *key = bench_key(worker);
    uint64_t place = worker->next++ % MAX_CALLERS;
    worker->asked[place] = key;
    worker->since[place] = bench_now();
    return key;
}

/* The reply to the oldest request; a NULL value is that of a set. */
static void replied(struct worker *worker, const char *value, size_t len)
{
    uint64_t place = worker->first++ % MAX_CALLERS;
    if (value != NULL) {
        bench_check(worker->asked[place], value, len);
    }
    bench_finished(worker, worker->since[place]);
}

static int missing(const struct worker *worker)
{
    return worker->in_flight - (int)(worker->next - worker->first);
}

static void hiredis_fill(struct worker *worker, int n_parts)
{
    redisContext *connection = worker->connection;
    char value[VALUE];
    for (int n = missing(worker); n > 0; n--) {
        const char *parts[] = { n_parts == 2 ? "GET" : "SET", sending(worker), value };
        if (n_parts == 3) {
            bench_value(parts[1], value);
        }
        redisAppendCommandArgv(connection, n_parts, parts, LENGTHS);
    }
    int all_sent = 0;
    while (!all_sent) {
        if (redisBufferWrite(connection, &all_sent) != REDIS_OK) {
            give_up("hiredis: %s", connection->errstr);
        }
    }
}

static void hiredis_pipeline(struct worker *worker, int n_parts)
{
    redisContext *connection = worker->connection;
    void *next;
    hiredis_fill(worker, n_parts);
    if (redisBufferRead(connection) != REDIS_OK) {
        give_up("hiredis: %s", connection->errstr);
    }
    while (redisReaderGetReply(connection->reader, &next) == REDIS_OK && next != NULL) {
        redisReply *reply = usable(connection, next);
        replied(worker, n_parts == 2 ? reply->str : NULL, reply->len);
        freeReplyObject(reply);
    }
}

static void hiredis_pipeline_get(struct worker *worker)
{
    hiredis_pipeline(worker, 2);
}

static void hiredis_pipeline_set(struct worker *worker)
{
    hiredis_pipeline(worker, 3);
}

/* ---- A raw socket: what a client costs that does as little as possible. ---- */

enum { RAW_BUFFER = 1 << 20 };

static char raw_in[RAW_BUFFER], raw_out[RAW_BUFFER];
static size_t raw_received;
static int raw;

static void raw_enter(struct worker *worker)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw = socket(AF_INET, SOCK_STREAM, 0);
    if (raw < 0 || connect(raw, (struct sockaddr *)&address, sizeof address) != 0) {
        give_up("raw socket: %s", strerror(errno));
    }
    setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)worker;
}

static char *put(char *end, const void *bytes, size_t len)
{
    memcpy(end, bytes, len);
    return end + len;
}

static void raw_fill(struct worker *worker, int set)
{
    char *end = raw_out;
    for (int n = missing(worker); n > 0; n--) {
        const char *key = sending(worker);
        end = set ? put(end, "*3\r\n$3\r\nSET\r\n$16\r\n", 18) : put(end, "*2\r\n$3\r\nGET\r\n$16\r\n", 18);
        end = put(end, key, KEY);
        if (set) {
            end = put(end, "\r\n$100\r\n", 8);
            bench_value(key, end);
            end += VALUE;
        }
        end = put(end, "\r\n", 2);
    }
    for (char *from = raw_out; from < end;) {
        ssize_t sent = send(raw, from, (size_t)(end - from), MSG_NOSIGNAL);
        if (sent <= 0) {
            give_up("raw socket: %s", strerror(errno));
        }
        from += sent;
    }
}

/* The length of the first reply, with its line ends, or 0 when it is not whole; a string's bytes are in *value. */
static size_t raw_reply(const char *from, size_t len, const char **value, size_t *value_len)
{
    const char *line_end = memchr(from, '\n', len);
    if (line_end == NULL) {
        return 0;
    }
    size_t line = (size_t)(line_end - from) + 1;
    *value = NULL;
    if (*from == '+') {
        return line;
    }
    if (*from != '$' || from[1] == '-') {
        give_up("raw socket: %.*s", (int)line, from);
    }
    *value_len = strtoul(from + 1, NULL, 10);
    *value = from + line;
    return len < line + *value_len + 2 ? 0 : line + *value_len + 2;
}

static void raw_pipeline(struct worker *worker, int set)
{
    raw_fill(worker, set);
    ssize_t received = recv(raw, raw_in + raw_received, RAW_BUFFER - raw_received, 0);
    if (received <= 0) {
        give_up("raw socket: %s", received ? strerror(errno) : "closed");
    }
    raw_received += (size_t)received;
    size_t at = 0, taken, value_len = 0;
    const char *value;
    while ((taken = raw_reply(raw_in + at, raw_received - at, &value, &value_len)) > 0) {
        replied(worker, value, value_len);
        at += taken;
    }
    raw_received -= at;
    memmove(raw_in, raw_in + at, raw_received);
}

static void raw_get(struct worker *worker)
{
    raw_pipeline(worker, 0);
}

static void raw_set(struct worker *worker)
{
    raw_pipeline(worker, 1);
}

/* ---- The redis crate; see crate/. ---- */

static void crate_open_current(void)
{
    crate_open(port, 0);
}

static void crate_open_multi(void)
{
    crate_open(port, 1);
}

static void crate_tasks_get(struct worker *worker)
{
    crate_tasks(worker->in_flight, 0);
}

static void crate_tasks_set(struct worker *worker)
{
    crate_tasks(worker->in_flight, 1);
}

/* ---- Who there is. ---- */

static const struct contender CONTENDERS[] = {
    { "yokedcache", "get", 0, yoked_open, enter_nothing, yoked_get },
    { "yokedcache", "set", 0, yoked_open, enter_nothing, yoked_set },
    { "yokedcache", "mget", 0, yoked_open, enter_nothing, yoked_mget },
    { "yokedcache-tags", "get", 0, yoked_open_tags, enter_nothing, yoked_get },
    { "yokedcache-tags", "set", 0, yoked_open_tags, enter_nothing, yoked_set_tags },
    { "yokedcache-batch", "get", 1, yoked_open, enter_nothing, yoked_batch_get },
    { "yokedcache-batch", "set", 1, yoked_open, enter_nothing, yoked_batch_set },
    { "yokedcache-queue", "get", 1, queue_open, queue_enter, queue_turn },
    { "yokedcache-queue", "set", 1, queue_open, queue_enter, queue_turn },
    { "hiredis", "get", 0, open_nothing, hiredis_enter, hiredis_get },
    { "hiredis", "set", 0, open_nothing, hiredis_enter, hiredis_set },
    { "hiredis", "mget", 0, open_nothing, hiredis_enter, hiredis_mget },
    { "hiredis-pipeline", "get", 1, open_nothing, hiredis_enter, hiredis_pipeline_get },
    { "hiredis-pipeline", "set", 1, open_nothing, hiredis_enter, hiredis_pipeline_set },
    { "raw", "get", 1, open_nothing, raw_enter, raw_get },
    { "raw", "set", 1, open_nothing, raw_enter, raw_set },
    { "crate-current", "get", 0, crate_open_current, enter_nothing, crate_get },
    { "crate-current", "set", 0, crate_open_current, enter_nothing, crate_set },
    { "crate-current", "mget", 0, crate_open_current, enter_nothing, crate_mget },
    { "crate-multi", "get", 0, crate_open_multi, enter_nothing, crate_get },
    { "crate-multi", "set", 0, crate_open_multi, enter_nothing, crate_set },
    { "crate-multi", "mget", 0, crate_open_multi, enter_nothing, crate_mget },
    { "crate-current-tasks", "get", 1, crate_open_current, enter_nothing, crate_tasks_get },
    { "crate-current-tasks", "set", 1, crate_open_current, enter_nothing, crate_tasks_set },
    { "crate-multi-tasks", "get", 1, crate_open_multi, enter_nothing, crate_tasks_get },
    { "crate-multi-tasks", "set", 1, crate_open_multi, enter_nothing, crate_tasks_set },
};

static const struct contender *find(const char *name)
{
    for (size_t i = 0; i < sizeof CONTENDERS / sizeof *CONTENDERS; i++) {
        if (strcmp(CONTENDERS[i].name, name) == 0 && strcmp(CONTENDERS[i].workload, workload) == 0) {
            return &CONTENDERS[i];
        }
    }
    give_up("%s has no workload %s", name, workload);
    return NULL;
}

static void fill_yoked(const char *prefix, size_t n_tags)
{
    enum { AT_ONCE = 500 };
    static char values[AT_ONCE][VALUE];
    yc_slice names[AT_ONCE], slices[AT_ONCE];
    yc_cache *filled = yoked(prefix);
    yc_error *error;
    for (int first = 0; first < KEYS; first += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            bench_value(keys[first + i], values[i]);
            names[i] = (yc_slice) { keys[first + i], KEY };
            slices[i] = (yc_slice) { values[i], VALUE };
        }
        yc_status status = yc_set_many(filled, names, slices, AT_ONCE, YC_TTL_NEVER, TAGS, n_tags, NULL, &error);
        must(status, error);
    }
    yc_close(filled, -1, NULL);
    yc_cache_free(filled);
}

static void fill_plain(void)
{
    redisContext *connection = hiredis();
    for (int i = 0; i < KEYS; i++) {
        char value[VALUE];
        const char *parts[] = { "SET", keys[i], value };
        bench_value(keys[i], value);
        freeReplyObject(ask(connection, 3, parts, LENGTHS));
    }
    redisFree(connection);
}

int main(int argc, char **argv)
{
    for (int i = 0; i < KEYS; i++) {
        char text[KEY + 1];
        snprintf(text, sizeof text, "key:%012d", i);
        memcpy(keys[i], text, KEY);
    }
    if (argc == 3 && strcmp(argv[2], "fill") == 0) {
        port = atoi(argv[1]);
        fill_plain();
        fill_yoked("yokedcache", 0);
        fill_yoked("with-tags", 2);
        return 0;
    }
    if (argc != 6) {
        give_up("PORT fill, or PORT CONTENDER WORKLOAD CALLERS MILLISECONDS");
    }
    port = atoi(argv[1]);
    workload = argv[3];
    callers = atoi(argv[4]);
    if (callers < 1 || callers > MAX_CALLERS) {
        give_up("1 to %d callers", MAX_CALLERS);
    }
    measure(find(argv[2]), atol(argv[5]));
    /* Connections and caches go with the process. */
    fflush(stdout);
    _exit(0);
}
