/* Broken connections and broken replies, made by the fault proxy: errors in time, never another caller's value. */
#include "numbered.h"
#include "proxy.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>

enum { NUMBERS = 64, DEADLINE_MS = 300, RECOVERY_MS = 1000, REPLACED_MS = 3000, REPLY_BYTES = 100, CALLERS = 8, SWEEP = 8 };

static const char OPTIONS[] = "socket_timeout=300ms&socket_connect_timeout=300ms&pool_size=2&key_prefix=faults";

static server redis;
static proxy *between;
static yc_cache *cache;

static void begin(proxy_fault fault) { proxy_set(between, fault); }
static void pass(void) { begin((proxy_fault){.mode = PROXY_PASS}); }
static unsigned any_number(unsigned *seed) { return (unsigned)rand_r(seed) % NUMBERS; }

/* ---- Memory ---- */

/* A number of kB in /proc/self/status. */
static long memory_kb(const char *name) {
    char line[256];
    long kilobytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, name, strlen(name)) == 0) kilobytes = strtol(line + strlen(name), NULL, 10);
    }
    if (status) fclose(status);
    return kilobytes;
}

static void forget_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) fputs("5", file);
    if (file) fclose(file);
}

/* ---- Ends at every byte ---- */

/* One call under a fault, then a right one soon. */
static void check_once(unsigned number, proxy_fault fault, bool may_miss) {
    begin(fault);
    yc_status status = get_in_time(cache, number, DEADLINE_MS);
    if (!may_miss || status != YC_MISS) CHECK_ONE_OF(status, YC_OK, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_PROTOCOL, YC_E_SERVER);
    pass();
    CHECK(recovers(cache, SWEEP, RECOVERY_MS));
    CHECK_STATUS(get_in_time(cache, (number + 1) % NUMBERS, DEADLINE_MS), YC_OK);
}

static void check_cuts(bool reset) {
    for (size_t offset = 0; offset <= REPLY_BYTES; offset++) {
        check_once((unsigned)offset % NUMBERS, (proxy_fault){.mode = PROXY_CUT, .offset = offset, .reset = reset}, false);
    }
}

/* A reply whose bytes were changed may be taken for no entry, never for a value. */
static void check_flips(void) {
    for (size_t offset = 0; offset <= REPLY_BYTES; offset++) {
        check_once((unsigned)offset % NUMBERS, (proxy_fault){.mode = PROXY_GARBLE, .offset = offset}, true);
    }
}

/* ---- What is no reply ---- */

#define TEXT(text) text, sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
    bool may_miss; /* Of the protocol, or so far: may be taken for what is no entry. */
} REPLIES[] = {
    {TEXT("$1073741824\r\n"), true},
    {TEXT("$1073741824\r\nabc"), true},
    {TEXT("$99999999999999999999\r\n"), false},
    {TEXT("$9223372036854775807\r\n"), true},
    {TEXT("$-2\r\n"), false},
    {TEXT("$-1073741824\r\n"), false},
    {TEXT("$x\r\n"), false},
    {TEXT("$\r\n"), false},
    {TEXT("$5\r\nabcdefg\r\n"), false},
    {TEXT("$5\r\nabc"), false},
    {TEXT("$5\r\nabcde\r\n"), true},
    {TEXT("*1073741824\r\n"), false},
    {TEXT("*9223372036854775807\r\n"), false},
    {TEXT("*-7\r\n"), false},
    {TEXT("*2\r\n$1\r\na\r\n$1\r\nb\r\n"), true},
    {TEXT("%1073741824\r\n"), false},
    {TEXT("~1073741824\r\n"), false},
    {TEXT(">1073741824\r\n"), false},
    {TEXT("=1073741824\r\n"), false},
    {TEXT("+OK"), false},
    {TEXT("+OK\r\n"), true},
    {TEXT("+OK\n"), false},
    {TEXT(":17\r\n"), true},
    {TEXT(":\r\n"), false},
    {TEXT("-ERR something went wrong\r\n"), false},
    {TEXT("-\r\n"), false},
    {TEXT("\r\n"), false},
    {TEXT("\r\n\r\n\r\n"), false},
    {TEXT("hello\r\n"), false},
    {TEXT("\x00\x00\x00\x00"), false},
    {TEXT("\xff\xfe\xfd\xfc\r\n"), false},
    {TEXT("\x15\x03\x01\x00\x02\x02\x46"), false},
    {TEXT("VALUE a 0 1\r\nx\r\nEND\r\n"), false},
    {TEXT("HTTP/1.1 400 Bad Request\r\n\r\n"), false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), false},
};

static void check_reply(const char *bytes, size_t len, bool may_miss) {
    begin((proxy_fault){.mode = PROXY_ANSWER, .bytes = bytes, .len = len, .once = true});
    yc_status status = get_in_time(cache, 1, DEADLINE_MS);
    bool right = CHECK(status != YC_MISS || may_miss);
    pass();
    if (!CHECK(recovers(cache, SWEEP, REPLACED_MS)) || !right) printf("  reply %.*s: %s\n", (int)(len < 60 ? len : 60), bytes, yc_status_name(status));
    for (unsigned number = 0; number < SWEEP; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

/* Arrays in arrays, as deep as a stack. */
static void check_deep_reply(void) {
    size_t depth = 200000;
    char *deep = malloc(4 * depth);
    for (size_t at = 0; at < depth; at++) memcpy(deep + 4 * at, "*1\r\n", 4);
    check_reply(deep, 4 * depth, false);
    free(deep);
}

static void check_endless_line(void) {
    char *line = filled('x', 4 << 20);
    line[0] = '+';
    check_reply(line, 4 << 20, false);
    free(line);
}

static void check_replies(void) {
    forget_peak();
    long resident = memory_kb("VmHWM:"), mapped = memory_kb("VmPeak:");
    for (size_t at = 0; at < sizeof REPLIES / sizeof *REPLIES; at++) check_reply(REPLIES[at].bytes, REPLIES[at].len, REPLIES[at].may_miss);
    CHECK(memory_kb("VmHWM:") - resident < 16 << 10);
    CHECK(memory_kb("VmPeak:") - mapped < 512 << 10);
    check_deep_reply();
    check_endless_line();
}

/* For as long as it lasts: a server of another kind. */
static void check_other_server(void) {
    const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    begin((proxy_fault){.mode = PROXY_ANSWER, .bytes = http, .len = strlen(http), .close = true});
    unsigned before = proxy_accepted(between);
    for (double end = now_ms() + 2000; now_ms() < end; sleep_ms(1)) {
        CHECK_ONE_OF(get_in_time(cache, 1, DEADLINE_MS), YC_E_PROTOCOL, YC_E_CONNECT, YC_E_TIMEOUT);
    }
    CHECK(proxy_accepted(between) - before <= 2 * 20 * 2);
    pass();
    CHECK(recovers(cache, SWEEP, REPLACED_MS));
}

/* ---- Replies for another request ---- */

/* What the server stores for a number, as a reply of the protocol; NULL when it is not found. */
static char *reply_with_entry(unsigned number, size_t *len) {
    char value[NUMBERED_VALUE], *bytes = NULL;
    size_t value_len = numbered_value(value, number);
    reply *names = ask_names(redis.port);
    for (size_t at = 0; at < names->count && !bytes; at++) {
        yc_slice words[] = {{"GET", 3}, {names->items[at].text, names->items[at].len}};
        reply *stored = ask_words(redis.port, words, 2);
        if (stored && stored->text && memmem(stored->text, stored->len, value, value_len)) {
            bytes = malloc(stored->len + 64);
            *len = (size_t)sprintf(bytes, "$%zu\r\n", stored->len);
            memcpy(bytes + *len, stored->text, stored->len);
            memcpy(bytes + *len + stored->len, "\r\n", 2);
            *len += stored->len + 2;
        }
        reply_free(stored);
    }
    reply_free(names);
    return bytes;
}

/* An extra reply shifts all that follow: none of them reaches a caller who did not ask for it. */
static void check_extra_reply(void) {
    size_t len = 0;
    char *bytes = reply_with_entry(7, &len);
    if (!CHECK(bytes != NULL)) return;
    for (int repeat = 0; repeat < 20; repeat++) {
        begin((proxy_fault){.mode = PROXY_INJECT, .bytes = bytes, .len = len});
        for (unsigned number = 0; number < 20; number++) get_in_time(cache, number, DEADLINE_MS);
        CHECK(recovers(cache, SWEEP, REPLACED_MS));
        for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
    }
    free(bytes);
}

typedef struct caller {
    pthread_t thread;
    unsigned seed, hits;
    atomic_bool *ends;
} caller;

static void *call_on(void *argument) {
    caller *self = argument;
    while (!atomic_load(self->ends)) {
        yc_status status = get_in_time(cache, any_number(&self->seed), DEADLINE_MS);
        CHECK_ONE_OF(status, YC_OK, YC_E_TIMEOUT, YC_E_CONNECT);
        self->hits += status == YC_OK;
    }
    return NULL;
}

/* Replies come in time and too late, in turns, while many call. */
static void check_late_replies(void) {
    caller callers[CALLERS];
    atomic_bool ends = false;
    for (unsigned at = 0; at < CALLERS; at++) {
        callers[at] = (caller){.seed = at + 1, .ends = &ends};
        pthread_create(&callers[at].thread, NULL, call_on, &callers[at]);
    }
    for (int turn = 0; turn < 10; turn++) {
        begin((proxy_fault){.mode = PROXY_DELAY, .milliseconds = turn % 2 ? 0 : 250 + 25 * turn});
        sleep_ms(400);
    }
    pass();
    CHECK(recovers(cache, SWEEP, REPLACED_MS));
    atomic_store(&ends, true);
    for (int at = 0; at < CALLERS; at++) {
        pthread_join(callers[at].thread, NULL);
        CHECK(callers[at].hits > 0);
    }
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

/* ---- Slow and silent ---- */

static void check_slow(void) {
    begin((proxy_fault){.mode = PROXY_SLICE});
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
    begin((proxy_fault){.mode = PROXY_SLICE, .milliseconds = 1});
    for (unsigned number = 0; number < 8; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
    begin((proxy_fault){.mode = PROXY_SLICE, .milliseconds = 50});
    CHECK_ONE_OF(get_in_time(cache, 1, DEADLINE_MS), YC_E_TIMEOUT, YC_E_CONNECT);
    pass();
    CHECK(recovers(cache, SWEEP, REPLACED_MS));
}

/* A connection that says nothing any more is replaced, although neither side closes it. */
static void check_silent_connections(void) {
    proxy_freeze(between);
    CHECK_ONE_OF(get_in_time(cache, 1, DEADLINE_MS), YC_E_TIMEOUT, YC_OK);
    CHECK(recovers(cache, SWEEP, REPLACED_MS));
}

static void check_silent_server(void) {
    begin((proxy_fault){.mode = PROXY_HOLE});
    for (int repeat = 0; repeat < 10; repeat++) CHECK_ONE_OF(get_in_time(cache, 1, DEADLINE_MS), YC_E_TIMEOUT, YC_E_CONNECT);
    pass();
    CHECK(recovers(cache, SWEEP, REPLACED_MS));
}

static void check_refusal(bool reset) {
    begin((proxy_fault){.mode = PROXY_REFUSE, .reset = reset});
    for (int repeat = 0; repeat < 10; repeat++) CHECK_STATUS(get_in_time(cache, 1, DEADLINE_MS), YC_E_CONNECT);
    pass();
    CHECK(recovers(cache, SWEEP, RECOVERY_MS));
}

int main(void) {
    server_start(&redis, SERVER_REDIS, NULL);
    between = proxy_start(redis.port);
    int threads = count_threads(), files = count_files();
    cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), OPTIONS));
    set_numbers(cache, NUMBERS);
    check_cuts(false);
    check_cuts(true);
    check_flips();
    check_replies();
    check_other_server();
    check_extra_reply();
    check_late_replies();
    check_slow();
    check_silent_connections();
    check_silent_server();
    check_refusal(false);
    check_refusal(true);
    close_cache(cache);
    CHECK(threads_are(threads));
    proxy_stop(between);
    CHECK(count_files() <= files);
    server_stop(&redis);
    return check_result();
}
