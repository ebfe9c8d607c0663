/*
 * driver.c - turns of clients of a server, measured.
 *
 *   measure PORT fill                                     stores the keys for everyone
 *   measure PORT CONTENDER WORKLOAD CALLERS MILLISECONDS  works, and prints its figures in one line:
 *       operations a second, p50 and p99 in microseconds, microseconds of this process's processors an operation
 *
 * The callers are threads, or operations in flight on one thread.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

enum {
    WARM_UP_MS = 100,
    /* The exit status when others had the processors all the time. */
    NOTHING_DONE = 2,
};

void give_up(const char *format, ...)
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

int port;
const char *workload;
char keys[KEYS][KEY];
static struct worker *workers;
static int callers;

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

const char *bench_counter(struct worker *worker)
{
    return keys[(size_t)(bench_key(worker) - keys[0]) / KEY % COUNTERS];
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

/* ---- For those who need nothing. ---- */

void open_nothing(void)
{
}

void enter_nothing(struct worker *worker)
{
    (void)worker;
}

/* ---- A window of requests in flight: as many are sent as replies came. ---- */

const char *sending(struct worker *worker)
{
    const char *key = bench_key(worker);
    uint64_t place = worker->next++ % MAX_CALLERS;
    worker->asked[place] = key;
    worker->since[place] = bench_now();
    return key;
}

/* The reply to the oldest request; a NULL value is that of a set. */
void replied(struct worker *worker, const char *value, size_t len)
{
    uint64_t place = worker->first++ % MAX_CALLERS;
    if (value != NULL) {
        bench_check(worker->asked[place], value, len);
    }
    bench_finished(worker, worker->since[place]);
}

int missing(const struct worker *worker)
{
    return worker->in_flight - (int)(worker->next - worker->first);
}

/* ---- A raw socket: what a client costs that does as little as possible. ---- */

enum { RAW_BUFFER = 1 << 20 };

static char raw_in[RAW_BUFFER], raw_out[RAW_BUFFER];
static size_t raw_received;
static int raw;

void raw_enter(struct worker *worker)
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

char *put(char *end, const void *bytes, size_t len)
{
    memcpy(end, bytes, len);
    return end + len;
}

static void raw_fill(struct worker *worker, const struct raw_protocol *protocol, int set)
{
    char *end = raw_out;
    for (int n = missing(worker); n > 0; n--) {
        end = protocol->request(end, sending(worker), set);
    }
    for (char *from = raw_out; from < end;) {
        ssize_t sent = send(raw, from, (size_t)(end - from), MSG_NOSIGNAL);
        if (sent <= 0) {
            give_up("raw socket: %s", strerror(errno));
        }
        from += sent;
    }
}

void raw_turn(struct worker *worker, const struct raw_protocol *protocol, int set)
{
    raw_fill(worker, protocol, set);
    ssize_t received = recv(raw, raw_in + raw_received, RAW_BUFFER - raw_received, 0);
    if (received <= 0) {
        give_up("raw socket: %s", received ? strerror(errno) : "closed");
    }
    raw_received += (size_t)received;
    size_t at = 0, taken, value_len = 0;
    const char *value;
    while ((taken = protocol->reply(raw_in + at, raw_received - at, &value, &value_len)) > 0) {
        replied(worker, value, value_len);
        at += taken;
    }
    raw_received -= at;
    memmove(raw_in, raw_in + at, raw_received);
}

/* ---- Who there is. ---- */

static const struct contender *find(const struct contender *contenders, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(contenders[i].name, name) == 0 && strcmp(contenders[i].workload, workload) == 0) {
            return &contenders[i];
        }
    }
    give_up("%s has no workload %s", name, workload);
    return NULL;
}

int bench_main(int argc, char **argv, const struct contender *contenders, size_t n_contenders, void (*fill)(void))
{
    for (int i = 0; i < KEYS; i++) {
        char text[KEY + 1];
        snprintf(text, sizeof text, "key:%012d", i);
        memcpy(keys[i], text, KEY);
    }
    if (argc == 3 && strcmp(argv[2], "fill") == 0) {
        port = atoi(argv[1]);
        fill();
        yoked_fill();
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
    measure(find(contenders, n_contenders, argv[2]), atol(argv[5]));
    /* Connections and caches go with the process. */
    fflush(stdout);
    _exit(0);
}
