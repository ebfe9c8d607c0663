/* What the variables of tests/servers say, and who is behind a port. */
#ifndef PORTS_H
#define PORTS_H

#include "../check.h"
#include "resp.h"

#include <signal.h>
#include <unistd.h>

enum { MAX_PORTS = 8 };

/* The value of a variable, or the end of the test. */
static inline const char *variable(const char *name) {
    const char *value = getenv(name);
    if (!value) {
        printf("FAILED: %s is not set: run this with servers of its kind (tests/servers)\n", name);
        exit(1);
    }
    return value;
}

/* Ports with spaces between. */
static inline size_t read_ports(const char *name, int *ports) {
    char *next = (char *)variable(name);
    size_t count = 0;
    while (*next && count < MAX_PORTS) ports[count++] = (int)strtol(next, &next, 10);
    return count;
}

static inline void kill_server(int port) {
    long long process = ask_info(port, "server", "process_id");
    if (CHECK(process > 1)) kill((pid_t)process, SIGKILL);
}

/* Waits until a condition holds; false when the time is over first. */
#define UNTIL(condition, milliseconds)                                                     \
    for (double end_ = now_ms() + (milliseconds); !(condition); sleep_ms(10)) {            \
        if (!CHECK(now_ms() < end_ && "within the time: " #condition)) exit(check_result()); \
    }

static inline bool server_is_up(int port) {
    int fd = connect_to(port);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static inline bool has_caught_up(int replica, long long offset) {
    return ask_info(replica, "replication", "slave_repl_offset") >= offset;
}

#endif
