/* The fault proxy does what its modes say, seen by a plain client of a real server. */
#include "../check.h"
#include "proxy.h"
#include "resp.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static server redis;
static proxy *between;

static const char GET[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", ANSWER[] = "$5\r\nvalue\r\n";
enum { ANSWER_LEN = sizeof ANSWER - 1 };

/* What a connection says within that time, up to `room` bytes; errno tells how it ended, 0 with FIN. */
static size_t hear(int fd, char *bytes, size_t room, int milliseconds) {
    size_t len = 0;
    double end = now_ms() + milliseconds;
    errno = EAGAIN;
    while (len < room && now_ms() < end) {
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        if (poll(&watched, 1, (int)(end - now_ms()) + 1) <= 0) break;
        ssize_t got = recv(fd, bytes + len, room - len, 0);
        if (got == 0) errno = 0;
        if (got <= 0) return len;
        len += (size_t)got;
        errno = EAGAIN;
    }
    return len;
}

static int asked(void) {
    int fd = connect_to(proxy_port(between));
    CHECK(fd >= 0 && send(fd, GET, sizeof GET - 1, MSG_NOSIGNAL) == sizeof GET - 1);
    return fd;
}

/* Whether the answer is that one and the connection is then silent (EAGAIN), ends (0) or is reset (ECONNRESET). */
static void check_answer(int fd, const char *wanted, size_t len, int end) {
    char bytes[256];
    size_t got = hear(fd, bytes, len, 5000);
    if (got == len) got += hear(fd, bytes + len, sizeof bytes - len, end == EAGAIN ? 50 : 5000);
    int came = errno;
    if (!CHECK(got == len && memcmp(bytes, wanted, len) == 0)) printf("  came %zu bytes: %.*s\n", got, (int)got, bytes);
    if (!CHECK(came == end)) printf("  %s\n", strerror(came));
    close(fd);
}

static void check_pass(void) {
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    check_answer(asked(), ANSWER, ANSWER_LEN, EAGAIN);
}

static void check_cuts(bool reset) {
    for (size_t offset = 0; offset <= ANSWER_LEN; offset++) {
        proxy_set(between, (proxy_fault){.mode = PROXY_CUT, .offset = offset, .reset = reset});
        check_answer(asked(), ANSWER, offset, reset ? ECONNRESET : 0);
        CHECK(proxy_is_done(between));
    }
    check_pass();
}

static void check_garble(void) {
    char wanted[ANSWER_LEN];
    for (size_t offset = 0; offset < ANSWER_LEN; offset++) {
        memcpy(wanted, ANSWER, ANSWER_LEN);
        wanted[offset] ^= 0x20;
        proxy_set(between, (proxy_fault){.mode = PROXY_GARBLE, .offset = offset});
        check_answer(asked(), wanted, ANSWER_LEN, EAGAIN);
    }
}

static void check_time(proxy_fault fault, double at_least) {
    char bytes[ANSWER_LEN];
    proxy_set(between, fault);
    int fd = asked();
    double begun = now_ms();
    CHECK(hear(fd, bytes, ANSWER_LEN, 5000) == ANSWER_LEN && memcmp(bytes, ANSWER, ANSWER_LEN) == 0);
    CHECK(now_ms() - begun >= at_least);
    close(fd);
}

static void check_slices(void) {
    char byte;
    proxy_set(between, (proxy_fault){.mode = PROXY_SLICE, .milliseconds = 20});
    int fd = asked();
    for (size_t at = 0; at < ANSWER_LEN; at++) CHECK(hear(fd, &byte, 1, 5000) == 1 && byte == ANSWER[at]);
    close(fd);
    check_time((proxy_fault){.mode = PROXY_SLICE, .milliseconds = 20}, 20 * (ANSWER_LEN - 1));
    check_time((proxy_fault){.mode = PROXY_SLICE}, 0);
}

/* The connection there is silent for ever, a new one only as long as the mode lasts. */
static void check_silence(void) {
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    int old = asked();
    char bytes[ANSWER_LEN];
    CHECK(hear(old, bytes, ANSWER_LEN, 5000) == ANSWER_LEN);
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLE});
    check_answer(asked(), "", 0, EAGAIN);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    CHECK(send(old, GET, sizeof GET - 1, MSG_NOSIGNAL) > 0);
    check_answer(old, "", 0, EAGAIN);
    old = asked();
    CHECK(hear(old, bytes, ANSWER_LEN, 5000) == ANSWER_LEN);
    proxy_freeze(between);
    CHECK(send(old, GET, sizeof GET - 1, MSG_NOSIGNAL) > 0);
    check_answer(old, "", 0, EAGAIN);
    check_answer(asked(), ANSWER, ANSWER_LEN, EAGAIN);
}

/* Replies wait for the next fault, on the connections that have not sent a word. */
static void check_hold(void) {
    char bytes[ANSWER_LEN];
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLD, .bytes = "GET", .len = 3});
    check_answer(asked(), ANSWER, ANSWER_LEN, EAGAIN);
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLD, .bytes = "GETEX", .len = 5});
    int fd = asked();
    CHECK(hear(fd, bytes, ANSWER_LEN, 100) == 0 && proxy_held(between) == ANSWER_LEN);
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLD});
    check_answer(fd, ANSWER, ANSWER_LEN, EAGAIN);
    check_answer(asked(), "", 0, EAGAIN);
    check_pass();
    CHECK(proxy_held(between) == 0);
}

static void check_refusal(bool reset) {
    char bytes[ANSWER_LEN];
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    int fd = asked();
    CHECK(hear(fd, bytes, ANSWER_LEN, 5000) == ANSWER_LEN);
    proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE, .reset = reset});
    CHECK(connect_to(proxy_port(between)) < 0);
    check_answer(fd, "", 0, reset ? ECONNRESET : 0);
    check_pass();
}

static void check_words(void) {
    const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n", both[] = "+OK\r\n$5\r\nvalue\r\n";
    proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = http, .len = strlen(http), .close = true});
    check_answer(asked(), http, strlen(http), 0);
    check_answer(asked(), http, strlen(http), 0);
    proxy_set(between, (proxy_fault){.mode = PROXY_ANSWER, .bytes = "+OK", .len = 3, .once = true});
    check_answer(asked(), "+OK", 3, EAGAIN);
    check_answer(asked(), ANSWER, ANSWER_LEN, EAGAIN);
    proxy_set(between, (proxy_fault){.mode = PROXY_INJECT, .bytes = "+OK\r\n", .len = 5});
    check_answer(asked(), both, strlen(both), EAGAIN);
    check_answer(asked(), ANSWER, ANSWER_LEN, EAGAIN);
}

/* A value larger than every buffer between. */
static void check_large(void) {
    size_t len = 40 << 20;
    char *value = filled('x', len);
    yc_slice set[] = {{"SET", 3}, {"large", 5}, {value, len}}, get[] = {{"GET", 3}, {"large", 5}};
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    reply *stored = ask_words(proxy_port(between), set, 3), *read = ask_words(proxy_port(between), get, 2);
    CHECK(stored && stored->kind == '+');
    CHECK(read && read->len == len && memcmp(read->text, value, len) == 0);
    reply_free(stored);
    reply_free(read);
    free(value);
}

static void check_capture(void) {
    size_t before = proxy_captured(between);
    CHECK(proxy_saw(between, GET, sizeof GET - 1) && !proxy_saw(between, "FLUSHALL", 8));
    CHECK(tell(proxy_port(between), "ECHO captured-word"));
    CHECK(proxy_saw(between, "captured-word", 13) && proxy_captured(between) > before);
}

int main(void) {
    int threads = count_threads(), files = count_files();
    server_start(&redis, SERVER_REDIS, NULL);
    between = proxy_start(redis.port);
    CHECK(tell(redis.port, "SET a value"));
    check_pass();
    check_capture();
    check_cuts(false);
    check_cuts(true);
    check_garble();
    check_time((proxy_fault){.mode = PROXY_DELAY, .milliseconds = 200}, 200);
    check_slices();
    check_silence();
    check_hold();
    check_refusal(false);
    check_refusal(true);
    check_words();
    check_large();
    CHECK(proxy_accepted(between) > 50);
    proxy_stop(between);
    server_stop(&redis);
    CHECK(threads_are(threads) && count_files() == files);
    return check_result();
}
