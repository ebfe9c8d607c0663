/*
 * messages.c - one program publishes, another one is subscribed: the delay of messages, and what they cost the subscriber.
 *
 *   messages PORT CONTENDER RATE MILLISECONDS
 *
 * CONTENDER is yokedcache or hiredis. RATE is the number of messages a second; 0: as many as possible, 64 in flight. Prints
 * in one line: the messages received a second, p50 and p99 of the delay in microseconds, the microseconds of processor time
 * that the subscriber used for each, and the messages that were lost.
 */

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

#include "../servers/histogram.h"

enum { LENGTH = 100, WINDOW = 64 };

static const char CHANNEL[] = "bench:c:messages";
static int port;

/* What a message begins with. */
typedef struct stamp {
    uint64_t number, sent;
} stamp;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double cpu_us(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void fail(const char *what)
{
    fprintf(stderr, "messages: %s\n", what);
    _exit(1);
}

static redisContext *connect_hiredis(void)
{
    redisContext *context = redisConnect("127.0.0.1", port);
    if (!context || context->err) {
        fail("hiredis cannot connect");
    }
    return context;
}

/* ---- The publisher, the same for all ---- */

static void publish(redisContext *context, uint64_t number)
{
    char message[LENGTH] = { 0 };
    stamp stamp = { number, now_ns() };
    memcpy(message, &stamp, sizeof stamp);
    redisAppendCommand(context, "PUBLISH %s %b", CHANNEL, message, (size_t)LENGTH);
}

static void take_reply(redisContext *context)
{
    void *reply = NULL;
    if (redisGetReply(context, &reply) != REDIS_OK) {
        fail("no reply to PUBLISH");
    }
    freeReplyObject(reply);
}

static void run_publisher(uint64_t rate)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    redisContext *context = connect_hiredis();
    uint64_t begun = now_ns(), number = 0;
    for (; !rate && number < WINDOW; number++) {
        publish(context, number);
    }
    for (;; number++) {
        if (rate) {
            uint64_t due = begun + number * 1000000000u / rate, now = now_ns();
            if (due > now) {
                nanosleep(&(struct timespec) { 0, (long)(due - now) }, NULL);
            }
        } else {
            take_reply(context);
        }
        publish(context, number);
        if (rate) {
            take_reply(context);
        }
    }
}

/* ---- The subscribers ---- */

typedef struct subscriber {
    void (*open)(void);
    /* Returns the next message, whose bytes are valid until the next call. */
    const void *(*next)(size_t *len);
} subscriber;

static yc_subscription *subscription;
static yc_message *message;

static void open_yokedcache(void)
{
    char url[64];
    yc_cache *cache = NULL;
    yc_slice channels[] = { { "messages", 8 } };
    yc_filter filter = { .struct_size = sizeof filter, .channels = channels, .n_channels = 1 };
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?key_prefix=bench", port);
    if (yc_open(url, &cache, NULL) != YC_OK || yc_subscribe(cache, &filter, &subscription, NULL) != YC_OK) {
        fail("YokedCache cannot subscribe");
    }
}

static const void *next_yokedcache(size_t *len)
{
    yc_message_free(message);
    message = NULL;
    if (yc_subscription_next(subscription, 10000, &message, NULL) != YC_OK) {
        fail("no message came");
    }
    return yc_message_data(message, len);
}

static redisContext *subscribed;
static redisReply *push;

static void open_hiredis(void)
{
    subscribed = connect_hiredis();
    freeReplyObject(redisCommand(subscribed, "SUBSCRIBE %s", CHANNEL));
}

static const void *next_hiredis(size_t *len)
{
    freeReplyObject(push);
    push = NULL;
    if (redisGetReply(subscribed, (void **)&push) != REDIS_OK || push->elements != 3) {
        fail("no message came");
    }
    *len = push->element[2]->len;
    return push->element[2]->str;
}

static const subscriber YOKEDCACHE = { open_yokedcache, next_yokedcache }, HIREDIS = { open_hiredis, next_hiredis };

static void measure(const subscriber *of, uint64_t milliseconds)
{
    static uint64_t delays[BUCKETS];
    uint64_t received = 0, lost = 0, expected = 0, begun = 0, now = 0;
    double cpu = 0;
    while (!begun || now - begun < milliseconds * 1000000u) {
        size_t len;
        stamp stamp;
        const void *data = of->next(&len);
        now = now_ns();
        if (!data || len != LENGTH) {
            lost += !data;
            continue;
        }
        memcpy(&stamp, data, sizeof stamp);
        if (!begun) {
            begun = now, expected = stamp.number, cpu = cpu_us();
        }
        lost += stamp.number - expected;
        expected = stamp.number + 1;
        delays[bucket_of(now - stamp.sent)]++;
        received++;
    }
    double p50 = -1, p99 = -1;
    uint64_t sum = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        sum += delays[bucket];
        if (p50 < 0 && sum * 2 >= received) p50 = microseconds_of(bucket);
        if (p99 < 0 && sum * 100 >= received * 99) p99 = microseconds_of(bucket);
    }
    printf("%.0f %.1f %.1f %.2f %lu\n", (double)received / ((double)(now - begun) / 1e9), p50, p99, (cpu_us() - cpu) / (double)received, (unsigned long)lost);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fail("PORT CONTENDER RATE MILLISECONDS");
    }
    port = atoi(argv[1]);
    const subscriber *of = strcmp(argv[2], "hiredis") == 0 ? &HIREDIS : &YOKEDCACHE;
    pid_t publisher = fork();
    if (publisher == 0) {
        run_publisher(strtoull(argv[3], NULL, 10));
    }
    of->open();
    measure(of, strtoull(argv[4], NULL, 10));
    fflush(stdout);
    kill(publisher, SIGKILL);
    waitpid(publisher, NULL, 0);
    _exit(0);
}
