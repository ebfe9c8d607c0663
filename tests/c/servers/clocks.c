/* Memcached and processes whose clocks disagree, by hours or days: no entry is lost, and a TTL is wrong by the server's
   granularity at most. Clocks are those of libfaketime; another process is this program again. */
#include "numbered.h"
#include "resp.h"
#include "server.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TTL_MS = 20000, GRANULARITY_MS = 2000, FORGETS_MS = 3500 };

static const int64_t DAYS_40 = INT64_C(40) * 24 * 3600 * 1000;
static const char OPTIONS[] = "key_prefix=clocks&socket_timeout=5s";

/* The loader finds the library's folder by itself; FAKETIME says how far the clock is ahead. */
static void fake_time(const char *ahead) {
    if (!ahead) {
        unsetenv("LD_PRELOAD");
        unsetenv("FAKETIME");
        return;
    }
    setenv("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1", 1);
    setenv("FAKETIME", ahead, 1);
}

static int64_t left_to(yc_cache *cache, const char *key) {
    int64_t left = 0;
    CHECK_STATUS(yc_ttl(cache, key, strlen(key), &left, NULL), YC_OK);
    return left;
}

static double clock_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static void set_for(yc_cache *cache, const char *key, int64_t ttl_ms) {
    CHECK_STATUS(yc_set(cache, key, strlen(key), "value", 5, ttl_ms, NULL, 0, NULL), YC_OK);
}

static void check_there(yc_cache *cache, const char *key) {
    char value[16];
    size_t len;
    if (!CHECK_STATUS(yc_get_into(cache, key, strlen(key), value, sizeof value, &len, NULL), YC_OK)) printf("  key %s\n", key);
    CHECK_STATUS(yc_exists(cache, key, strlen(key), NULL), YC_OK);
}

/* An entry that was set for `ttl_ms` at most `ago` before: `error_ms` is what a clock may cost. */
static void check_left(yc_cache *cache, const char *key, int64_t ttl_ms, double ago, int64_t error_ms) {
    double asked = clock_ms(CLOCK_MONOTONIC);
    int64_t left = left_to(cache, key);
    ago += clock_ms(CLOCK_MONOTONIC) - asked;
    if (!CHECK(left <= ttl_ms + error_ms && left >= ttl_ms - (int64_t)ago - error_ms - 1)) {
        printf("  key %s, set for %lld ms, %.0f ms ago: %lld ms left\n", key, (long long)ttl_ms, ago, (long long)left);
    }
}

/* ---- A process with a clock of its own ---- */

static bool is_about(double one, double other) { return one - other < 60e3 && other - one < 60e3; }

/* Sees what another process has set `ago` before, at that time of its clock, and sets the same. */
static int be_another(const char *url, const char *ago_and_time) {
    char *rest;
    double ago = strtod(ago_and_time, &rest);
    CHECK(is_about(clock_ms(CLOCK_REALTIME), atof(rest)) == !getenv("FAKETIME"));
    yc_cache *cache = open_cache(url);
    check_there(cache, "short");
    check_there(cache, "long");
    check_left(cache, "short", TTL_MS, ago + 10000, GRANULARITY_MS);
    check_left(cache, "long", DAYS_40, ago + 10000, GRANULARITY_MS);
    set_for(cache, "other short", TTL_MS);
    set_for(cache, "other long", DAYS_40);
    check_left(cache, "other short", TTL_MS, 10000, 0);
    CHECK_STATUS(yc_expire(cache, "expired", 7, TTL_MS, NULL), YC_OK);
    close_cache(cache);
    return check_result();
}

/* Its own clock jumps: `file` is where it is read from. */
static int jump(const char *url, const char *file) {
    yc_cache *cache = open_cache(url);
    double began = clock_ms(CLOCK_REALTIME);
    set_for(cache, "mine", TTL_MS);
    set_for(cache, "gone", 300);
    FILE *clock = fopen(file, "w");
    fputs("+2h\n", clock);
    fclose(clock);
    CHECK(clock_ms(CLOCK_REALTIME) - began > 3600e3);
    check_there(cache, "mine");
    check_left(cache, "mine", TTL_MS, 10000, 0);
    set_for(cache, "after", TTL_MS);
    check_left(cache, "after", TTL_MS, 10000, 0);
    for (int times = 0; times < 4; times++) usleep(100000);
    CHECK_STATUS(yc_exists(cache, "gone", 4, NULL), YC_MISS);
    close_cache(cache);
    return check_result();
}

static pid_t run_self(const char *role, const char *url, const char *argument, const char *ahead) {
    fflush(stdout);
    pid_t child = fork();
    if (child) return child;
    fake_time(ahead);
    execl("/proc/self/exe", "clocks", role, url, argument, (char *)NULL);
    _exit(127);
}

static void check_ended_well(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- With another server whose clock is right ---- */

/* The server's own clock, in milliseconds. */
static double time_of(const server *self) {
    char answer[8192] = "";
    int fd = connect_to(self->port);
    size_t len = 0;
    CHECK(send(fd, "stats\r\n", 7, MSG_NOSIGNAL) == 7);
    while (len < sizeof answer - 1 && !strstr(answer, "END\r\n")) {
        ssize_t came = recv(fd, answer + len, sizeof answer - 1 - len, 0);
        if (came <= 0) break;
        len += (size_t)came;
    }
    close(fd);
    const char *found = strstr(answer, "STAT time ");
    return found ? atof(found + 10) * 1000 : 0;
}

static void check_clocks(const char *of_server, const char *of_other, const char *options) {
    char url[MAX_SERVER_URL], ago[64];
    server of;
    fake_time(of_server);
    server_start(&of, SERVER_MEMCACHED, NULL);
    fake_time(NULL);
    CHECK(is_about(time_of(&of), clock_ms(CLOCK_REALTIME)) == !of_server);
    snprintf(url, sizeof url, "%s", server_url(&of, options));
    yc_cache *cache = open_cache(url);
    double began = clock_ms(CLOCK_MONOTONIC);
    set_for(cache, "short", TTL_MS);
    set_for(cache, "long", DAYS_40);
    set_for(cache, "expired", 3600000);
    /* What the process has set itself is exact, whatever the server's clock says. */
    check_left(cache, "short", TTL_MS, clock_ms(CLOCK_MONOTONIC) - began, 0);
    snprintf(ago, sizeof ago, "%.0f %.0f", clock_ms(CLOCK_MONOTONIC) - began, clock_ms(CLOCK_REALTIME));
    check_ended_well(run_self("other", url, ago, of_other));
    double since = clock_ms(CLOCK_MONOTONIC) - began;
    check_there(cache, "other short");
    check_there(cache, "other long");
    check_left(cache, "other short", TTL_MS, since, GRANULARITY_MS);
    check_left(cache, "other long", DAYS_40, since, GRANULARITY_MS);
    check_left(cache, "expired", TTL_MS, since, GRANULARITY_MS);
    /* The server has looked at its clock again. */
    usleep(FORGETS_MS * 1000);
    check_there(cache, "long");
    check_there(cache, "other long");
    close_cache(cache);
    server_stop(&of);
}

/* Clocks that agree: to the millisecond, as far as the machine lets both read them. */
static void check_agreement(void) {
    server of;
    int64_t one, other;
    server_start(&of, SERVER_MEMCACHED, NULL);
    yc_cache *first = open_cache(server_url(&of, OPTIONS)), *second = open_cache(server_url(&of, OPTIONS));
    set_for(first, "short", TTL_MS);
    double began = clock_ms(CLOCK_MONOTONIC);
    one = left_to(first, "short");
    other = left_to(second, "short");
    CHECK(other <= one && one - other <= (int64_t)(clock_ms(CLOCK_MONOTONIC) - began) + 1);
    close_cache(first);
    close_cache(second);
    server_stop(&of);
}

static void check_jump(void) {
    server of;
    char file[] = "/tmp/yokedcache-clock-XXXXXX";
    int clock = mkstemp(file);
    CHECK(write(clock, "+0\n", 3) == 3);
    close(clock);
    server_start(&of, SERVER_MEMCACHED, NULL);
    setenv("FAKETIME_TIMESTAMP_FILE", file, 1);
    setenv("FAKETIME_NO_CACHE", "1", 1);
    setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    pid_t child = fork();
    if (child == 0) {
        setenv("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1", 1);
        execl("/proc/self/exe", "clocks", "jump", server_url(&of, OPTIONS), file, (char *)NULL);
        _exit(127);
    }
    check_ended_well(child);
    unsetenv("FAKETIME_TIMESTAMP_FILE");
    unsetenv("FAKETIME_NO_CACHE");
    unsetenv("FAKETIME_DONT_FAKE_MONOTONIC");
    unlink(file);
    server_stop(&of);
}

/* ---- Bytes that are damaged ---- */

/* Changes one byte of a stored form, counted from its end; false if it has no such byte. */
static bool damage(int port, const char *name, size_t at_end) {
    char request[512], bytes[4096];
    int fd = connect_to(port), len = snprintf(request, sizeof request, "mg %s v\r\n", name);
    CHECK(send(fd, request, (size_t)len, MSG_NOSIGNAL) == len);
    ssize_t came = recv(fd, bytes, sizeof bytes, 0);
    char *value = memchr(bytes, '\n', came > 0 ? (size_t)came : 0);
    size_t value_len = came > 3 ? (size_t)atoi(bytes + 3) : 0;
    if (!CHECK(value && value_len > 0)) exit(check_result());
    if (at_end >= value_len) return close(fd), false;
    value[1 + value_len - 1 - at_end] ^= 1;
    len = snprintf(request, sizeof request, "ms %s %zu\r\n", name, value_len);
    CHECK(send(fd, request, (size_t)len, MSG_NOSIGNAL) == len);
    CHECK(send(fd, value + 1, value_len + 2, MSG_NOSIGNAL) == (ssize_t)value_len + 2);
    CHECK(recv(fd, bytes, sizeof bytes, 0) >= 4 && memcmp(bytes, "HD\r\n", 4) == 0);
    close(fd);
    return true;
}

static size_t listed(yc_cache *cache) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    size_t count, total = 0;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    while (yc_keys_next(cursor, 0, &page, NULL) == YC_OK) {
        yc_keys_data(page, &count);
        total += count;
        yc_keys_free(page);
    }
    yc_cursor_free(cursor);
    return total;
}

/* Every call says the same of an entry whose bytes are damaged, wherever they are: a miss. */
static void check_damage(const char *options) {
    server of;
    server_start(&of, SERVER_MEMCACHED, NULL);
    yc_cache *cache = open_cache(server_url(&of, options));
    set_for(cache, "k", TTL_MS);
    for (size_t at_end = 0; damage(of.port, "clocks:e:k", at_end); at_end++) {
        int64_t left;
        uint64_t keys = 0;
        size_t len;
        char value[16];
        CHECK_STATUS(yc_get_into(cache, "k", 1, value, sizeof value, &len, NULL), YC_MISS);
        CHECK_STATUS(yc_exists(cache, "k", 1, NULL), YC_MISS);
        CHECK_STATUS(yc_ttl(cache, "k", 1, &left, NULL), YC_MISS);
        CHECK_STATUS(yc_expire(cache, "k", 1, TTL_MS, NULL), YC_MISS);
        CHECK(listed(cache) == 0);
        CHECK_STATUS(yc_size(cache, &keys, NULL, NULL), YC_OK);
        CHECK(keys == 0);
        CHECK_STATUS(yc_delete(cache, "k", 1, NULL), YC_MISS);
        set_for(cache, "k", TTL_MS);
    }
    close_cache(cache);
    server_stop(&of);
}

int main(int count, char **words) {
    if (count == 4 && strcmp(words[1], "other") == 0) return be_another(words[2], words[3]);
    if (count == 4 && strcmp(words[1], "jump") == 0) return jump(words[2], words[3]);
    check_agreement();
    check_clocks(NULL, "+2h", OPTIONS);
    check_clocks(NULL, "-2h", OPTIONS);
    check_clocks("+2h", NULL, OPTIONS);
    check_clocks("-60d", NULL, "key_prefix=clocks&socket_timeout=5s&binary=true");
    check_clocks("+60d", "-1d", OPTIONS);
    check_jump();
    check_damage(OPTIONS);
    check_damage("key_prefix=clocks&socket_timeout=5s&binary=true");
    return check_result();
}
