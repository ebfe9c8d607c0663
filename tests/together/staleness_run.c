/* Four processes in four languages read what the others write, through near caches of one server, while connections, replies
   and the server itself fail. No process may read a value that was replaced more than max_staleness ago, and none may read
   one that it has replaced itself: staleness.h says how they know.
   staleness_run redis|memcached C-PROGRAM GO-PROGRAM NODE SCRIPT C++-PROGRAM; YC_STALENESS_SECONDS: how long;
   YC_STALENESS_SEED: the choice of faults */
#include "../c/servers/proxy.h"
#include "../c/servers/server.h"
#include "staleness_programs.h"

#include <sys/socket.h>

enum { REDIS_SECONDS = 15, MEMCACHED_SECONDS = 8 };

/* What is between the processes and the server. */
typedef struct field {
    server server;
    proxy *proxies[2]; /* Of the C program, and of the Node program. */
    unsigned seed;
    long seconds;
} field;

/* ---- Faults ---- */

static void pass(proxy *through) { proxy_set(through, (proxy_fault){.mode = PROXY_PASS}); }

static void kill_connections(field *at) { CHECK(tell(at->server.port, "CLIENT KILL TYPE normal")); }

static void kill_tracking(field *at) { kill_tracking_on(at->server.port); }

static void pause_server(field *at) {
    CHECK(tell(at->server.port, "CLIENT PAUSE 300 ALL"));
    sleep_ms(300);
}

static void flush(field *at) {
    if (at->server.kind == SERVER_REDIS) {
        CHECK(tell(at->server.port, "FLUSHALL"));
        return;
    }
    int fd = connect_to(at->server.port);
    char answer[64] = "";
    CHECK(send(fd, "flush_all\r\n", 11, MSG_NOSIGNAL) == 11 && recv(fd, answer, sizeof answer - 1, 0) > 0 && answer[0] == 'O');
    close(fd);
}

static void stop_server(field *at) {
    server_signal(&at->server, SIGSTOP);
    sleep_ms(rand_r(&at->seed) % 2 ? 300 : 900);
    server_signal(&at->server, SIGCONT);
}

static proxy *either(field *at) { return at->proxies[rand_r(&at->seed) % 2]; }

static void hold(proxy *through, proxy_fault fault, long milliseconds) {
    proxy_set(through, fault);
    sleep_ms(milliseconds);
    pass(through);
}

static void delay(field *at) {
    long milliseconds = rand_r(&at->seed) % 2 ? 100 : MAX_STALENESS_MS + 100;
    hold(either(at), (proxy_fault){.mode = PROXY_DELAY, .milliseconds = milliseconds}, 700);
}

/* Changes are reported in time, and the replies to reads come late. */
static void hold_replies(field *at) {
    proxy *through = either(at);
    for (int times = 0; times < 6; times++) {
        hold(through, (proxy_fault){.mode = PROXY_HOLD, .bytes = "TRACKING", .len = 8}, 100);
        sleep_ms(20);
    }
}

static void slice_replies(field *at) { hold(either(at), (proxy_fault){.mode = PROXY_SLICE, .milliseconds = 1}, 500); }

/* The connections of now are lost without a word. */
static void freeze(field *at) {
    proxy_freeze(either(at));
    sleep_ms(2 * MAX_STALENESS_MS);
}

static void hole(field *at) { hold(either(at), (proxy_fault){.mode = PROXY_HOLE}, 3 * MAX_STALENESS_MS); }

static void reset(field *at) { hold(either(at), (proxy_fault){.mode = PROXY_REFUSE, .reset = true}, 200); }

static void cut(field *at) {
    proxy *through = either(at);
    hold(through, (proxy_fault){.mode = PROXY_CUT, .offset = (size_t)(rand_r(&at->seed) % 20000), .reset = true}, 300);
}

typedef void fault(field *);

static fault *const OF_REDIS[] = {kill_tracking, hold_replies, hole, kill_tracking, stop_server, kill_connections, delay, pause_server,
                                  kill_tracking, freeze, hold_replies, reset, flush, kill_tracking, cut, slice_replies, NULL};
static fault *const OF_MEMCACHED[] = {delay, hole, stop_server, flush, freeze, hold_replies, reset, cut, slice_replies, NULL};

/* One fault after the other, and in the middle of the time the server is killed and starts again. */
static int make_faults(void *data) {
    field *at = data;
    fault *const *faults = at->server.kind == SERVER_REDIS ? OF_REDIS : OF_MEMCACHED;
    double begun = now_ms(), end = begun + 1e3 * (double)at->seconds;
    bool is_killed = false;
    int made = 0;
    for (size_t next = 0; now_ms() < end; next++, made++) {
        if (!faults[next]) next = 0;
        faults[next](at);
        sleep_ms(REST_MS);
        if (is_killed || now_ms() - begun < 500.0 * (double)at->seconds) continue;
        is_killed = true;
        server_kill(&at->server);
        sleep_ms(200);
        server_restart(&at->server);
        sleep_ms(REST_MS);
    }
    CHECK(is_killed);
    return made;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    program programs[PROCESSES];
    field at = {.seed = new_seed()};
    server_kind kind = strcmp(argv[1], "redis") == 0 ? SERVER_REDIS : SERVER_MEMCACHED;
    at.seconds = seconds_or(kind == SERVER_REDIS ? REDIS_SECONDS : MEMCACHED_SECONDS);
    server_start(&at.server, kind, NULL);
    for (int side = 0; side < 2; side++) at.proxies[side] = proxy_start(at.server.port);
    const int ports[PROCESSES] = {proxy_port(at.proxies[0]), at.server.port, proxy_port(at.proxies[1]), at.server.port};
    name_programs(programs, argv + 2);
    for (int number = 0; number < PROCESSES; number++) {
        snprintf(programs[number].url, sizeof programs[number].url, "%s", url_of(kind, ports[number], OPTIONS));
    }
    run_programs(programs, make_faults, &at);
    for (int side = 0; side < 2; side++) proxy_stop(at.proxies[side]);
    server_stop(&at.server);
    return check_result();
}
