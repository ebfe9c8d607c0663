/* The processes of the staleness test, from their start to their report. */
#ifndef STALENESS_PROGRAMS_H
#define STALENESS_PROGRAMS_H

#include "../c/calls.h"
#include "../c/servers/resp.h"
#include "staleness.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { MAX_STALENESS_MS = 500, REST_MS = 400, READY_MS = 30000, END_MS = 60000, LEAST_COPIES = 2000 };

/* A write that is sent twice may overwrite a later one. */
static const char OPTIONS[] = "near=500ms&key_prefix=staleness&socket_timeout=800ms&retry_on_timeout=false&pool_size=2";

static const char *const NAMES[PROCESSES] = {"c", "go", "node", "c++"};

typedef struct program {
    const char *words[2]; /* The second one may be NULL. */
    char url[512];
    pid_t pid;
} program;

static inline void launch(program *self, int number, const char *file) {
    char process[8], staleness[16];
    const char *words[8] = {self->words[0]};
    int at = 1;
    snprintf(process, sizeof process, "%d", number);
    snprintf(staleness, sizeof staleness, "%d", MAX_STALENESS_MS);
    if (self->words[1]) words[at++] = self->words[1];
    words[at++] = self->url;
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

static inline bool has_ended(program *self) {
    int status = 0;
    if (!self->pid || waitpid(self->pid, &status, WNOHANG) != self->pid) return !self->pid;
    self->pid = 0;
    if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) printf("  %s ended with status %d\n", self->words[0], status);
    return true;
}

static inline uint64_t counted(const table *of, int process, int which) {
    return __atomic_load_n(counter(of, process, which), __ATOMIC_RELAXED);
}

/* Waits until each process reads copies, and writes. */
static inline bool are_ready(const table *of) {
    int ready = 0;
    for (double end = now_ms() + READY_MS; ready < PROCESSES && now_ms() < end; sleep_ms(20)) {
        ready = 0;
        for (int at = 0; at < PROCESSES; at++) ready += counted(of, at, COPIES) > 0 && counted(of, at, WRITES) > 0;
    }
    return ready == PROCESSES;
}

static inline void end_programs(program *programs) {
    double end = now_ms() + END_MS;
    for (int at = 0; at < PROCESSES; at++) {
        while (!has_ended(&programs[at]) && now_ms() < end) sleep_ms(20);
        if (CHECK(!programs[at].pid)) continue;
        printf("  %s does not end\n", NAMES[at]);
        kill(programs[at].pid, SIGKILL);
        waitpid(programs[at].pid, NULL, 0);
    }
}

static inline void report(const table *of, int faults) {
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
    printf("%d faults, %" PRIu64 " reads, %" PRIu64 " copies, %" PRIu64 " failures\n", faults, reads, copies, failures);
}

/* An empty table in a file that has a name until the processes have it. */
static inline table new_table(char *path) {
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

/* Of the words C-PROGRAM GO-PROGRAM NODE SCRIPT C++-PROGRAM. */
static inline void name_programs(program *programs, char **words) {
    memset(programs, 0, PROCESSES * sizeof *programs);
    programs[0].words[0] = words[0];
    programs[1].words[0] = words[1];
    programs[2].words[0] = words[2];
    programs[2].words[1] = words[3];
    programs[3].words[0] = words[4];
}

/* How long faults are made. */
static inline long seconds_or(long otherwise) {
    const char *given = getenv("YC_STALENESS_SECONDS");
    return given ? strtol(given, NULL, 10) : otherwise;
}

/* Decides which faults are made. */
static inline unsigned new_seed(void) {
    const char *given = getenv("YC_STALENESS_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_ns();
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("faults of seed %u\n", seed);
    return seed;
}

/* Runs the programs while faults are made, and reports what they have read. */
static inline void run_programs(program *programs, int (*make_faults)(void *), void *data) {
    char path[] = "/tmp/yokedcache-staleness-XXXXXX";
    table shared = new_table(path);
    int faults = 0;
    for (int number = 0; number < PROCESSES; number++) launch(&programs[number], number, path);
    if (CHECK(are_ready(&shared))) faults = make_faults(data);
    __atomic_store_n(shared.words, 1, __ATOMIC_RELEASE);
    end_programs(programs);
    unlink(path);
    report(&shared, faults);
}

/* The connections that tell of changes have a `t` in their flags. */
static inline void kill_tracking_on(int port) {
    reply *clients = ask(port, "CLIENT LIST");
    for (char *line = clients ? strtok(clients->text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        const char *flags = strstr(line, " flags=");
        long long id = 0;
        if (!flags || !memchr(flags + 7, 't', strcspn(flags + 7, " ")) || sscanf(line, "id=%lld", &id) != 1) continue;
        reply_free(ask(port, "CLIENT KILL ID %lld", id));
    }
    reply_free(clients);
}

#endif
