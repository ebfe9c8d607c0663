/* Servers as children of the test: no persistence unless an option asks for it, their words in a log of their folder. */
#include "server.h"

#include "resp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 20000, FIRST_PORT = 10000, PORTS = 10000, PORT_TRIES = 20 };

static void give_up(const char *what) {
    printf("FAILED %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- The child ---- */

static void log_to(const char *folder) {
    char path[128];
    snprintf(path, sizeof path, "%s/log", folder);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
}

static void run_redis(const server *self, const char *port) {
    const char *words[MAX_SERVER_OPTIONS + 16] = {"redis-server", "--port", port,  "--bind",       "127.0.0.1", "--dir",
                                                  self->folder,   "--save", "",    "--appendonly", "no"};
    memcpy(words + 11, self->options, sizeof self->options);
    execvp(words[0], (char *const *)words);
}

static void run_memcached(const server *self, const char *port) {
    const char *words[MAX_SERVER_OPTIONS + 16] = {"memcached", "-p", port, "-l", "127.0.0.1", "-u", "root"};
    memcpy(words + (geteuid() ? 5 : 7), self->options, sizeof self->options);
    execvp(words[0], (char *const *)words);
}

static void run_child(const server *self) {
    char port[16];
    snprintf(port, sizeof port, "%d", self->port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_to(self->folder);
    if (self->kind == SERVER_REDIS) run_redis(self, port);
    else run_memcached(self, port);
    _exit(127);
}

/* ---- Signs of life ---- */

static bool has_ended(server *self) {
    if (self->pid && waitpid(self->pid, NULL, WNOHANG) == self->pid) self->pid = 0;
    return !self->pid;
}

static bool accepts(const server *self) {
    int fd = connect_to(self->port);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

bool server_answers(const server *self) {
    const char *question = self->kind == SERVER_REDIS ? "PING\r\n" : "version\r\n";
    char answer[64] = "";
    int fd = connect_to(self->port);
    if (fd < 0) return false;
    bool answered = send(fd, question, strlen(question), MSG_NOSIGNAL) > 0 && recv(fd, answer, sizeof answer - 1, 0) > 0;
    close(fd);
    // Or it asks for credentials.
    return answered && strstr(self->kind == SERVER_REDIS ? "+-" : "VC", (char[]){answer[0], '\0'});
}

/* Waits for a sign of life; false when the server ended instead. */
static bool wait_for(server *self, bool (*sign)(const server *)) {
    for (int waited = 0; waited < START_MS && !has_ended(self); waited += 5) {
        if (sign(self)) return !has_ended(self);
        poll(NULL, 0, 5);
    }
    return false;
}

static bool launch(server *self, bool (*sign)(const server *)) {
    fflush(stdout);
    self->pid = fork();
    if (self->pid < 0) give_up("fork");
    if (self->pid == 0) run_child(self);
    return wait_for(self, sign);
}

/* ---- For tests ---- */

static void copy_options(server *self, const char *const *options) {
    for (int at = 0; options && options[at]; at++) {
        if (at + 1 == MAX_SERVER_OPTIONS) give_up("too many options for a server");
        self->options[at] = options[at];
    }
}

void server_start(server *self, server_kind kind, const char *const *options) {
    unsigned seed = (unsigned)getpid() ^ (unsigned)time(NULL) ^ (unsigned)(size_t)self;
    *self = (server){.kind = kind, .folder = "/tmp/yokedcache-server-XXXXXX"};
    copy_options(self, options);
    if (!mkdtemp(self->folder)) give_up("mkdtemp");
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        self->port = FIRST_PORT + rand_r(&seed) % PORTS;
        if (!accepts(self) && launch(self, server_answers)) return;
        server_kill(self);
    }
    give_up("the server does not start");
}

void server_restart(server *self) {
    if (!launch(self, accepts)) give_up("the server does not start again");
}

const char *url_of(server_kind kind, int port, const char *query) {
    static char url[MAX_SERVER_URL];
    const char *form = kind == SERVER_REDIS ? "redis://127.0.0.1:%d/0?%s" : "memcached://127.0.0.1:%d?%s";
    snprintf(url, sizeof url, form, port, query);
    return url;
}

const char *server_url(const server *self, const char *query) { return url_of(self->kind, self->port, query); }

/* Whether a thread runs no more. */
static bool is_thread_stopped(pid_t pid, const char *thread) {
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, thread);
    FILE *file = fopen(path, "r");
    if (!file) return true;
    if (!fgets(line, sizeof line, file)) line[0] = '\0';
    fclose(file);
    /* The name before the state may have any characters. */
    const char *name_end = strrchr(line, ')');
    return !name_end || name_end[2] == 'T';
}

static bool is_stopped(pid_t pid) {
    char path[64];
    bool all = true;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (!threads) return true;
    for (struct dirent *thread; all && (thread = readdir(threads));) {
        all = thread->d_name[0] == '.' || is_thread_stopped(pid, thread->d_name);
    }
    closedir(threads);
    return all;
}

void stop_process(pid_t pid) {
    kill(pid, SIGSTOP);
    for (int waited = 0; !is_stopped(pid); waited++) {
        if (waited == START_MS) give_up("the process does not stop");
        poll(NULL, 0, 1);
    }
}

void server_signal(const server *self, int number) {
    if (!self->pid) return;
    if (number == SIGSTOP) stop_process(self->pid);
    else kill(self->pid, number);
}

void server_kill(server *self) {
    if (!self->pid) return;
    kill(self->pid, SIGKILL);
    while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR) continue;
    self->pid = 0;
}

static void remove_file(const server *self, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", self->folder, name);
    unlink(path);
}

void server_stop(server *self) {
    server_kill(self);
    remove_file(self, "log");
    remove_file(self, "dump.rdb");
    rmdir(self->folder);
}
