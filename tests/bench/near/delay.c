/*
 * delay.c - the time from a set by one process to the moment at which the copy of another process is gone.
 *
 *   delay PORT CONTENDER RATE MILLISECONDS
 *
 * CONTENDER is yokedcache or hiredis. RATE is the number of sets a second that a third process makes meanwhile, on other keys
 * of the same prefix. Prints in one line: p50, p99 and maximum of the delay in microseconds, the number of delays, and the
 * sets a second that the third process made.
 */

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

#include "../servers/histogram.h"

#define PREFIX "delay"
/* More than enough for a turn, and room for all keys: a copy goes only because its entry has changed. */
#define NEAR "&near=60s"

enum { KEY = 16, VALUE = 100, WATCHED = 100, WRITTEN = 10000, AT_ONCE = 10, PAUSE_US = 500, LOOK_EVERY_US = 20, LONGEST_MS = 10000, FIRST = 20 };

static int port;

/* What the processes share. */
static struct shared {
    /* The moment before the set; 0: not yet. */
    _Atomic uint64_t set_at;
    _Atomic uint64_t written;
} *shared;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("delay: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

static void must(yc_status status, yc_error *error, const char *what)
{
    if (status != YC_OK) {
        fail("%s: %s", what, error ? yc_error_message(error) : yc_status_name(status));
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_us(long microseconds)
{
    nanosleep(&(struct timespec) { 0, microseconds * 1000 }, NULL);
}

static yc_cache *open_cache(const char *options)
{
    char url[100];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d?key_prefix=" PREFIX "%s", port, options);
    must(yc_open(url, &cache, &error), error, url);
    return cache;
}

static void set_watched(yc_cache *cache, unsigned number)
{
    char key[KEY + 1], value[VALUE];
    yc_error *error = NULL;
    snprintf(key, sizeof key, "watched:%08u", number);
    memset(value, 'v', sizeof value);
    must(yc_set(cache, key, strlen(key), value, VALUE, YC_TTL_NEVER, NULL, 0, &error), error, "yc_set");
}

/* ---- The processes that set keys ---- */

/* Starts a process that ends with this one. */
static pid_t start(void (*run)(uint64_t), uint64_t argument)
{
    pid_t child = fork();
    if (child < 0) {
        fail("no process");
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_TIMERSLACK, 1);
        run(argument);
    }
    return child;
}

static int asked[2], done[2];

/* Sets the watched key whose number it is told. */
static void run_setter(uint64_t unused)
{
    yc_cache *cache = open_cache("");
    unsigned number;
    (void)unused;
    for (unsigned i = 0; i < WATCHED; i++) {
        set_watched(cache, i);
    }
    if (write(done[1], "", 1) != 1) {
        fail("the reader has ended");
    }
    while (read(asked[0], &number, sizeof number) == sizeof number) {
        atomic_store(&shared->set_at, now_ns());
        set_watched(cache, number);
        if (write(done[1], "", 1) != 1) {
            fail("the reader has ended");
        }
    }
    _exit(0);
}

/* So many sets a second, some at once; late ones follow at once. */
static void run_writer(uint64_t rate)
{
    static char keys[AT_ONCE][KEY + 1], value[VALUE];
    yc_slice names[AT_ONCE], values[AT_ONCE];
    yc_cache *cache = open_cache("");
    uint64_t begun = now_ns();
    for (uint64_t number = 0;; number += AT_ONCE) {
        yc_error *error = NULL;
        uint64_t due = begun + number * 1000000000u / rate, now = now_ns();
        if (due > now) {
            nanosleep(&(struct timespec) { 0, (long)(due - now) }, NULL);
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
            snprintf(keys[i], sizeof keys[i], "written:%08u", (unsigned)(number + i) % WRITTEN);
            names[i] = (yc_slice) { keys[i], strlen(keys[i]) };
            values[i] = (yc_slice) { value, VALUE };
        }
        must(yc_set_many(cache, names, values, AT_ONCE, YC_TTL_NEVER, NULL, 0, NULL, &error), error, "yc_set_many");
        atomic_fetch_add(&shared->written, AT_ONCE);
    }
}

static void wait_for_setter(void)
{
    char byte;
    if (read(done[0], &byte, 1) != 1) {
        fail("the process that sets keys has ended");
    }
}

/* ---- The readers ---- */

typedef struct reader {
    void (*open)(void);
    /* Reads a key until it would know of a change. */
    void (*keep)(const char *key);
    /* Waits until the change is known. */
    void (*lose)(const char *key);
} reader;

static yc_cache *near;

static void open_yokedcache(void)
{
    near = open_cache(NEAR);
}

static int has_copy(const char *key)
{
    char value[VALUE];
    size_t len;
    yc_error *error = NULL;
    yc_status status = yc_get_near(near, key, strlen(key), value, sizeof value, &len, &error);
    if (status != YC_MISS) {
        must(status, error, "yc_get_near");
    }
    return status == YC_OK;
}

static void keep_yokedcache(const char *key)
{
    uint64_t end = now_ns() + LONGEST_MS * 1000000ull;
    while (!has_copy(key)) {
        char value[VALUE];
        size_t len;
        yc_error *error = NULL;
        must(yc_get_into(near, key, strlen(key), value, sizeof value, &len, &error), error, "yc_get_into");
        if (now_ns() > end) {
            fail("the near cache keeps no copy of %s", key);
        }
    }
}

static void lose_yokedcache(const char *key)
{
    uint64_t end = now_ns() + LONGEST_MS * 1000000ull;
    while (has_copy(key)) {
        sleep_us(LOOK_EVERY_US);
        if (now_ns() > end) {
            fail("the near cache still has %s", key);
        }
    }
}

static redisContext *subscribed, *tracked;

static redisReply *usable(redisContext *context, redisReply *reply)
{
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        fail("hiredis: %s", reply ? reply->str : context->errstr);
    }
    return reply;
}

static redisContext *connect_hiredis(void)
{
    redisContext *context = redisConnectWithTimeout("127.0.0.1", port, (struct timeval) { LONGEST_MS / 1000, 0 });
    if (context == NULL || context->err) {
        fail("hiredis cannot connect");
    }
    redisSetTimeout(context, (struct timeval) { LONGEST_MS / 1000, 0 });
    return context;
}

/* One connection asks for the names of changed keys, another one receives them. */
static void open_hiredis(void)
{
    subscribed = connect_hiredis();
    tracked = connect_hiredis();
    redisReply *id = usable(subscribed, redisCommand(subscribed, "CLIENT ID"));
    freeReplyObject(usable(subscribed, redisCommand(subscribed, "SUBSCRIBE __redis__:invalidate")));
    freeReplyObject(usable(tracked, redisCommand(tracked, "CLIENT TRACKING ON REDIRECT %lld BCAST PREFIX " PREFIX ":", id->integer)));
    freeReplyObject(id);
}

static void keep_hiredis(const char *key)
{
    (void)key;
}

static int names(const redisReply *message, const char *key)
{
    if (message->type != REDIS_REPLY_ARRAY || message->elements != 3 || message->element[2]->type != REDIS_REPLY_ARRAY) {
        return 0;
    }
    const redisReply *changed = message->element[2];
    size_t len = strlen(key);
    for (size_t i = 0; i < changed->elements; i++) {
        const redisReply *name = changed->element[i];
        if ((size_t)name->len >= len && memcmp(name->str + name->len - len, key, len) == 0) {
            return 1;
        }
    }
    return 0;
}

static void lose_hiredis(const char *key)
{
    for (int is_gone = 0; !is_gone;) {
        redisReply *message = NULL;
        redisGetReply(subscribed, (void **)&message);
        is_gone = names(usable(subscribed, message), key);
        freeReplyObject(message);
    }
}

static const reader YOKEDCACHE = { open_yokedcache, keep_yokedcache, lose_yokedcache };
static const reader HIREDIS = { open_hiredis, keep_hiredis, lose_hiredis };

/* ---- The turn ---- */

static uint64_t delays[BUCKETS];

static double percentile(uint64_t samples, double share)
{
    uint64_t below = 0;
    int bucket = 0;
    while (bucket < BUCKETS - 1 && (double)(below += delays[bucket]) < (double)samples * share) {
        bucket++;
    }
    return microseconds_of(bucket);
}

/* The nanoseconds of one delay. */
static uint64_t delay_of(const reader *reader, unsigned number)
{
    char key[KEY + 1];
    snprintf(key, sizeof key, "watched:%08u", number);
    reader->keep(key);
    atomic_store(&shared->set_at, 0);
    if (write(asked[1], &number, sizeof number) != sizeof number) {
        fail("the process that sets keys has ended");
    }
    reader->lose(key);
    uint64_t gone = now_ns();
    wait_for_setter();
    uint64_t set_at = atomic_load(&shared->set_at);
    if (gone < set_at) {
        fail("%s was gone before it was set", key);
    }
    return gone - set_at;
}

static void measure(const reader *reader, uint64_t milliseconds)
{
    uint64_t samples = 0, longest = 0;
    for (unsigned i = 0; i < FIRST; i++) {
        delay_of(reader, i % WATCHED);
    }
    uint64_t begun = now_ns(), written = atomic_load(&shared->written), now;
    while ((now = now_ns()) - begun < milliseconds * 1000000u) {
        uint64_t delay = delay_of(reader, (unsigned)(samples % WATCHED));
        delays[bucket_of(delay)]++;
        longest = delay > longest ? delay : longest;
        samples++;
        sleep_us(PAUSE_US);
    }
    printf("%.1f %.1f %.1f %lu %.0f\n", percentile(samples, 0.5), percentile(samples, 0.99), (double)longest / 1e3,
        (unsigned long)samples, (double)(atomic_load(&shared->written) - written) * 1e9 / (double)(now - begun));
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fail("PORT CONTENDER RATE MILLISECONDS");
    }
    port = atoi(argv[1]);
    const reader *reader = strcmp(argv[2], "hiredis") == 0 ? &HIREDIS : &YOKEDCACHE;
    uint64_t rate = strtoull(argv[3], NULL, 10);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fail("no memory");
    }
    pid_t writer = rate ? start(run_writer, rate) : 0;
    if (pipe(asked) != 0 || pipe(done) != 0) {
        fail("no pipes");
    }
    pid_t setter = start(run_setter, 0);
    /* If the process that sets keys ends, a read or write here fails. */
    close(asked[0]);
    close(done[1]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    wait_for_setter();
    reader->open();
    measure(reader, strtoull(argv[4], NULL, 10));
    fflush(stdout);
    kill(setter, SIGKILL);
    waitpid(setter, NULL, 0);
    if (writer) {
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
    }
    _exit(0);
}
