/* Four processes in four languages read what the others write, through near caches of one server, while connections, replies
   and the server itself fail. No process may read a value that was replaced more than max_staleness ago, and none may read
   one that it has replaced itself: staleness.h says how they know.
   staleness_run redis|memcached C-PROGRAM GO-PROGRAM NODE SCRIPT C++-PROGRAM; YC_STALENESS_SECONDS: how long;
   YC_STALENESS_SEED: the choice of faults */
#include "../c/calls.h"
#include "../c/servers/proxy.h"
#include "../c/servers/resp.h"
#include "../c/servers/server.h"
#include "staleness.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MAX_STALENESS_MS = 500, REDIS_SECONDS = 15, MEMCACHED_SECONDS = 8, REST_MS = 400, READY_MS = 30000, END_MS = 60000, LEAST_COPIES = 2000 };

static const char *const NAMES[PROCESSES] = {"c", "go", "node", "c++"};

/* What is between the processes and the server. */
typedef struct field {
    server server;
    proxy *proxies[2]; /* Of the C program, and of the Node program. */
    unsigned seed;
    int faults;
} field;

/* ---- Faults ---- */

static void pass(proxy *through) { proxy_set(through, (proxy_fault){.mode = PROXY_PASS}); }

static void kill_connections(field *at) { CHECK(tell(at->server.port, "CLIENT KILL TYPE normal")); }

/* The connections that tell of changes have a `t` in their flags. */
static void kill_tracking(field *at) {
    reply *clients = ask(at->server.port, "CLIENT LIST");
    for (char *line = clients ? strtok(clients->text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        const char *flags = strstr(line, " flags=");
        long long id = 0;
        if (!flags || !memchr(flags + 7, 't', strcspn(flags + 7, " ")) || sscanf(line, "id=%lld", &id) != 1) continue;
        reply_free(ask(at->server.port, "CLIENT KILL ID %lld", id));
    }
    reply_free(clients);
}

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

/* Changes are told in time, and the replies to reads come late. */
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
static void make_faults(field *at, long seconds) {
    fault *const *faults = at->server.kind == SERVER_REDIS ? OF_REDIS : OF_MEMCACHED;
    double begun = now_ms(), end = begun + 1e3 * (double)seconds;
    bool is_killed = false;
    for (size_t next = 0; now_ms() < end; next++, at->faults++) {
        if (!faults[next]) next = 0;
        faults[next](at);
        sleep_ms(REST_MS);
        if (is_killed || now_ms() - begun < 500.0 * (double)seconds) continue;
        is_killed = true;
        server_kill(&at->server);
        sleep_ms(200);
        server_restart(&at->server);
        sleep_ms(REST_MS);
    }
    CHECK(is_killed);
}

/* ---- The processes ---- */

typedef struct program {
    const char *words[2]; /* The second one may be NULL. */
    int port;
    pid_t pid;
} program;

static void launch(program *self, int number, server_kind kind, const char *file) {
    char process[8], staleness[16], query[128];
    const char *words[8] = {self->words[0]};
    int at = 1;
    snprintf(process, sizeof process, "%d", number);
    snprintf(staleness, sizeof staleness, "%d", MAX_STALENESS_MS);
    /* A write that is sent twice may overwrite a later one. */
    snprintf(query, sizeof query, "near=%dms&key_prefix=staleness&socket_timeout=800ms&retry_on_timeout=false&pool_size=2", MAX_STALENESS_MS);
    if (self->words[1]) words[at++] = self->words[1];
    words[at++] = url_of(kind, self->port, query);
    words[at++] = file;
    words[at++] = process;
    words[at++] = staleness;
    fflush(stdout);
    self->pid = fork();
    if (self->pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(words[0], (char *const *)words);
    perror(words[0]);
    _exit(127);
}

static bool has_ended(program *self) {
    int status = 0;
    if (!self->pid || waitpid(self->pid, &status, WNOHANG) != self->pid) return !self->pid;
    self->pid = 0;
    if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) printf("  %s ended with status %d\n", self->words[0], status);
    return true;
}

static uint64_t counted(const table *of, int process, int which) { return __atomic_load_n(counter(of, process, which), __ATOMIC_RELAXED); }

/* Waits until each process reads copies, and writes. */
static bool are_ready(const table *of) {
    int ready = 0;
    for (double end = now_ms() + READY_MS; ready < PROCESSES && now_ms() < end; sleep_ms(20)) {
        ready = 0;
        for (int at = 0; at < PROCESSES; at++) ready += counted(of, at, COPIES) > 0 && counted(of, at, WRITES) > 0;
    }
    return ready == PROCESSES;
}

static void end_programs(program *programs) {
    double end = now_ms() + END_MS;
    for (int at = 0; at < PROCESSES; at++) {
        while (!has_ended(&programs[at]) && now_ms() < end) sleep_ms(20);
        if (CHECK(!programs[at].pid)) continue;
        printf("  %s does not end\n", NAMES[at]);
        kill(programs[at].pid, SIGKILL);
        waitpid(programs[at].pid, NULL, 0);
    }
}

static void report(const table *of, const field *at) {
    uint64_t reads = 0, copies = 0, failures = 0;
    for (int process = 0; process < PROCESSES; process++) {
        uint64_t counts[COUNTERS];
        for (int which = 0; which < COUNTERS; which++) counts[which] = counted(of, process, which);
        printf("%s: %" PRIu64 " reads, %" PRIu64 " copies, %" PRIu64 " misses, %" PRIu64 " errors, %" PRIu64 " writes, %" PRIu64
               " failed writes, oldest value %.1f ms, %" PRIu64 " failures\n",
               NAMES[process], counts[READS], counts[COPIES], counts[MISSES], counts[ERRORS], counts[WRITES], counts[FAILED_WRITES],
               (double)counts[WORST_NS] / 1e6, counts[FAILURES]);
        CHECK(counts[COPIES] >= LEAST_COPIES && counts[WRITES] > 0);
        CHECK(counts[FAILURES] == 0);
        reads += counts[READS], copies += counts[COPIES], failures += counts[FAILURES];
    }
    printf("%d faults, %" PRIu64 " reads, %" PRIu64 " copies, %" PRIu64 " failures\n", at->faults, reads, copies, failures);
}

/* An empty table in a file that has a name until the processes have it. */
static table new_table(char *path) {
    table self = {.process = 0};
    int file = mkstemp(path);
    if (file < 0 || ftruncate(file, TABLE_SIZE) != 0) {
        perror(path);
        exit(1);
    }
    close(file);
    self.words = map_table(path);
    return self;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *seed = getenv("YC_STALENESS_SEED");
    field at = {.seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)clock_ns()};
    server_kind kind = strcmp(argv[1], "redis") == 0 ? SERVER_REDIS : SERVER_MEMCACHED;
    const char *given = getenv("YC_STALENESS_SECONDS");
    long seconds = given ? strtol(given, NULL, 10) : kind == SERVER_REDIS ? REDIS_SECONDS : MEMCACHED_SECONDS;
    printf("faults of seed %u\n", at.seed);
    server_start(&at.server, kind, NULL);
    for (int side = 0; side < 2; side++) at.proxies[side] = proxy_start(at.server.port);

    char path[] = "/tmp/yokedcache-staleness-XXXXXX";
    table shared = new_table(path);
    program programs[PROCESSES] = {
        {{argv[2], NULL}, proxy_port(at.proxies[0]), 0},
        {{argv[3], NULL}, at.server.port, 0},
        {{argv[4], argv[5]}, proxy_port(at.proxies[1]), 0},
        {{argv[6], NULL}, at.server.port, 0},
    };
    for (int number = 0; number < PROCESSES; number++) launch(&programs[number], number, kind, path);
    if (CHECK(are_ready(&shared))) make_faults(&at, seconds);
    __atomic_store_n(shared.words, 1, __ATOMIC_RELEASE);
    end_programs(programs);
    unlink(path);
    report(&shared, &at);
    for (int side = 0; side < 2; side++) proxy_stop(at.proxies[side]);
    server_stop(&at.server);
    return check_result();
}
