/* A thread that accepts, and one for each connection. */
#include "scripted.h"

#include "../check.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 256 };

typedef struct connection {
    pthread_t thread;
    scripted *server;
    int fd;
} connection;

struct scripted {
    int listener, port;
    const char *greeting;
    scripted_answer answer;
    void *data;
    pthread_t thread;
    atomic_bool ends;
    connection connections[MAX_CONNECTIONS];
    size_t count;
};

/* ---- Commands ---- */

static bool read_bytes(int fd, char *bytes, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t got = recv(fd, bytes + done, len - done, 0);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* The number of a line such as `$12`; -1: none came. */
static long read_number(int fd) {
    char line[32];
    for (size_t len = 0; len + 1 < sizeof line && read_bytes(fd, line + len, 1); len++) {
        if (line[len] == '\n') return strtol(line + 1, NULL, 10);
    }
    return -1;
}

/* Words into `bytes`; how many came, or 0 at the end. */
static size_t read_command(int fd, char *bytes, size_t room, yc_slice *words) {
    long count = read_number(fd);
    if (count <= 0 || count > SCRIPTED_WORDS) return 0;
    for (long at = 0; at < count; at++) {
        long len = read_number(fd);
        if (len < 0 || (size_t)len + 2 > room || !read_bytes(fd, bytes, (size_t)len + 2)) return 0;
        words[at] = (yc_slice){bytes, (size_t)len};
        bytes += len + 2;
        room -= (size_t)len + 2;
    }
    return (size_t)count;
}

int is_command(const yc_slice *words, size_t count, const char *name) {
    return count && words[0].len == strlen(name) && strncasecmp(words[0].data, name, words[0].len) == 0;
}

size_t say(char out[SCRIPTED_ROOM], const char *text) {
    size_t len = strlen(text);
    memcpy(out, text, len);
    return len;
}

/* ---- Connections ---- */

static void *serve(void *argument) {
    connection *self = argument;
    char bytes[4096], out[SCRIPTED_ROOM];
    yc_slice words[SCRIPTED_WORDS];
    size_t count;
    if (self->server->greeting) {
        send(self->fd, self->server->greeting, strlen(self->server->greeting), MSG_NOSIGNAL);
        shutdown(self->fd, SHUT_WR);
        return NULL;
    }
    while ((count = read_command(self->fd, bytes, sizeof bytes, words))) {
        size_t len = self->server->answer(self->server->data, words, count, out);
        if (len && send(self->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len) break;
    }
    shutdown(self->fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *argument) {
    scripted *self = argument;
    while (!atomic_load(&self->ends) && self->count < MAX_CONNECTIONS) {
        struct pollfd ready = {.fd = self->listener, .events = POLLIN};
        if (poll(&ready, 1, 20) != 1) continue;
        connection *next = &self->connections[self->count];
        *next = (connection){.server = self, .fd = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC)};
        if (next->fd >= 0 && pthread_create(&next->thread, NULL, serve, next) == 0) self->count++;
    }
    return NULL;
}

/* ---- For tests ---- */

scripted *scripted_start(const char *greeting, scripted_answer answer, void *data) {
    scripted *self = calloc(1, sizeof *self);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->greeting = greeting;
    self->answer = answer;
    self->data = data;
    self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(self->listener, (struct sockaddr *)&address, len) == 0 && listen(self->listener, 64) == 0);
    CHECK(getsockname(self->listener, (struct sockaddr *)&address, &len) == 0);
    self->port = ntohs(address.sin_port);
    pthread_create(&self->thread, NULL, accept_all, self);
    return self;
}

int scripted_port(const scripted *self) { return self->port; }

void scripted_stop(scripted *self) {
    atomic_store(&self->ends, true);
    pthread_join(self->thread, NULL);
    close(self->listener);
    for (size_t at = 0; at < self->count; at++) {
        shutdown(self->connections[at].fd, SHUT_RDWR);
        pthread_join(self->connections[at].thread, NULL);
        close(self->connections[at].fd);
    }
    free(self);
}
