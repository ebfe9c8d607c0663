/* The proxy's one thread: waits with poll, moves bytes between pairs of sockets, does what the fault of now says. */
#include "proxy.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PAIRS = 256, MAX_CAPTURED = 1 << 24, MAX_WAITING = 1 << 20, MAX_SENT = 1 << 12, READ_SIZE = 65536 };

/* Bytes on their way, not before `due`. */
typedef struct chunk {
    struct chunk *next;
    double due;
    size_t len, sent;
    char bytes[];
} chunk;

/* One direction of a connection. */
typedef struct stream {
    chunk *first, **end;
    size_t waiting;
    bool full; /* The socket took no more. */
} stream;

typedef struct pair {
    int client, server;
    stream requests, replies;
    bool frozen;
    bool ending, reset; /* Ends when its replies are sent. */
    char *sent;         /* What it asked for, for a fault that looks for it. */
    size_t sent_len;
} pair;

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t obeyed;
    int listener, port, wake;
    atomic_int server_port;
    bool stopping, freezing, changing, done;
    proxy_fault fault, next;
    size_t replied; /* Bytes of replies since the fault was set. */
    pair *pairs[MAX_PAIRS];
    size_t count;
    unsigned accepted;
    char *captured;
    size_t captured_len;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void give_up(const char *what) {
    perror(what);
    exit(2);
}

/* ---- Sockets ---- */

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int new_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0) give_up("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* A listening socket, or -1 when the port is taken. */
static int listen_on(int port) {
    struct sockaddr_in address = loopback(port);
    int fd = new_socket();
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 128) == 0) return fd;
    close(fd);
    return -1;
}

static int connect_to_port(int port) {
    struct sockaddr_in address = loopback(port);
    int fd = new_socket();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

static void end_socket(int fd, bool reset) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (fd >= 0) close(fd);
}

/* ---- Streams ---- */

static void stream_add(stream *self, const char *bytes, size_t len, double due) {
    chunk *more = malloc(sizeof *more + len);
    *more = (chunk){.due = due, .len = len};
    memcpy(more->bytes, bytes, len);
    *self->end = more;
    self->end = &more->next;
    self->waiting += len;
}

static void stream_take(stream *self) {
    chunk *taken = self->first;
    self->first = taken->next;
    if (!self->first) self->end = &self->first;
    free(taken);
}

/* Sends what is due, `step` bytes at most; false when the other side is gone. */
static bool stream_send(stream *self, int to, size_t step) {
    self->full = false;
    while (self->first && self->first->due <= now() && step) {
        chunk *head = self->first;
        size_t want = head->len - head->sent < step ? head->len - head->sent : step;
        ssize_t sent = send(to, head->bytes + head->sent, want, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) return self->full = errno == EAGAIN;
        head->sent += (size_t)sent;
        self->waiting -= (size_t)sent;
        step -= (size_t)sent;
        if (head->sent == head->len) stream_take(self);
    }
    return true;
}

/* ---- What a fault does ---- */

static void forget_fault(proxy *self) {
    self->fault.mode = PROXY_PASS;
    self->done = true;
}

static void answer(proxy *self, pair *on) {
    stream_add(&on->replies, self->fault.bytes, self->fault.len, now());
    on->ending = self->fault.close;
    on->reset = self->fault.reset;
    if (self->fault.once) forget_fault(self);
}

static void capture(char **captured, size_t *captured_len, size_t most, const char *bytes, size_t len) {
    if (*captured_len + len > most) return;
    *captured = realloc(*captured, *captured_len + len);
    memcpy(*captured + *captured_len, bytes, len);
    *captured_len += len;
}

static void take_requests(proxy *self, pair *on, const char *bytes, size_t len) {
    capture(&self->captured, &self->captured_len, MAX_CAPTURED, bytes, len);
    capture(&on->sent, &on->sent_len, MAX_SENT, bytes, len);
    if (self->fault.mode == PROXY_ANSWER) answer(self, on);
    else stream_add(&on->requests, bytes, len, 0);
}

static void cut(proxy *self, pair *on, size_t *len) {
    *len = self->fault.offset - self->replied;
    on->ending = true;
    on->reset = self->fault.reset;
    forget_fault(self);
}

/* Does what happens at one byte of the replies, when these have it. */
static void fail_once(proxy *self, pair *on, char *bytes, size_t *len) {
    size_t left = self->fault.offset - self->replied;
    if (self->fault.mode == PROXY_INJECT) {
        stream_add(&on->replies, self->fault.bytes, self->fault.len, now());
        forget_fault(self);
    } else if (self->fault.mode == PROXY_CUT && left <= *len) {
        cut(self, on, len);
    } else if (self->fault.mode == PROXY_GARBLE && left < *len) {
        bytes[left] ^= 0x20;
        forget_fault(self);
    }
}

static bool is_held(const proxy *self, const pair *on) {
    if (self->fault.mode != PROXY_HOLD) return false;
    return !self->fault.len || !on->sent_len || !memmem(on->sent, on->sent_len, self->fault.bytes, self->fault.len);
}

static void take_replies(proxy *self, pair *on, char *bytes, size_t len) {
    double due = self->fault.mode == PROXY_DELAY ? now() + (double)self->fault.milliseconds : is_held(self, on) ? INFINITY : 0;
    fail_once(self, on, bytes, &len);
    self->replied += len;
    if (self->fault.mode != PROXY_SLICE) {
        stream_add(&on->replies, bytes, len, due);
        return;
    }
    due = now();
    for (size_t at = 0; at < len; at++) stream_add(&on->replies, bytes + at, 1, due + (double)self->fault.milliseconds * (double)at);
}

/* ---- Pairs ---- */

static void pair_free(pair *self) {
    while (self->requests.first) stream_take(&self->requests);
    while (self->replies.first) stream_take(&self->replies);
    end_socket(self->client, self->reset);
    end_socket(self->server, false);
    free(self->sent);
    free(self);
}

static void drop(proxy *self, size_t at) {
    pair_free(self->pairs[at]);
    self->pairs[at] = self->pairs[--self->count];
}

/* -1: nothing there now; 0: ended. */
static ssize_t read_some(int fd, char *bytes) {
    ssize_t len = recv(fd, bytes, READ_SIZE, MSG_DONTWAIT);
    return len < 0 && errno != EAGAIN ? 0 : len;
}

static bool read_client(proxy *self, pair *on) {
    char bytes[READ_SIZE];
    ssize_t len = on->requests.waiting < MAX_WAITING ? read_some(on->client, bytes) : -1;
    if (len > 0) take_requests(self, on, bytes, (size_t)len);
    return len != 0;
}

/* A server that ends leaves its last replies to be sent. */
static void read_server(proxy *self, pair *on) {
    char bytes[READ_SIZE];
    ssize_t len = on->ending || on->replies.waiting >= MAX_WAITING ? -1 : read_some(on->server, bytes);
    if (len > 0) take_replies(self, on, bytes, (size_t)len);
    if (len == 0) on->ending = true;
}

/* Moves what can be moved; false when the connection is at its end. */
static bool move(proxy *self, pair *on) {
    bool sliced = self->fault.mode == PROXY_SLICE;
    if (on->frozen) return true;
    if (!read_client(self, on)) return false;
    read_server(self, on);
    if (!stream_send(&on->requests, on->server, SIZE_MAX) && !on->replies.first) return false;
    if (!stream_send(&on->replies, on->client, sliced ? 1 : SIZE_MAX)) return false;
    return !on->ending || on->replies.first;
}

static void accept_one(proxy *self) {
    int client = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC), yes = 1;
    if (client < 0) return;
    int server = connect_to_port(atomic_load(&self->server_port));
    self->accepted++;
    if (server < 0 || self->count == MAX_PAIRS) {
        end_socket(server, false);
        end_socket(client, false);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    pair *added = calloc(1, sizeof *added);
    *added = (pair){.client = client, .server = server, .frozen = self->fault.mode == PROXY_HOLE};
    added->requests.end = &added->requests.first;
    added->replies.end = &added->replies.first;
    self->pairs[self->count++] = added;
}

/* ---- The thread ---- */

/* Watches a socket for bytes, while there is room for them, and for room, while bytes wait for it. */
static struct pollfd watch(int fd, const stream *from, const stream *to) {
    int events = POLLRDHUP | (from->waiting < MAX_WAITING ? POLLIN : 0) | (to->full ? POLLOUT : 0);
    return (struct pollfd){.fd = fd, .events = (short)events};
}

static size_t watch_all(proxy *self, struct pollfd *watched) {
    size_t count = 0;
    watched[count++] = (struct pollfd){.fd = self->wake, .events = POLLIN};
    watched[count++] = (struct pollfd){.fd = self->listener, .events = POLLIN};
    for (size_t at = 0; at < self->count; at++) {
        pair *on = self->pairs[at];
        watched[count++] = on->frozen ? (struct pollfd){.fd = on->client, .events = POLLRDHUP} : watch(on->client, &on->requests, &on->replies);
        watched[count++] = on->frozen || on->ending ? (struct pollfd){.fd = -1} : watch(on->server, &on->replies, &on->requests);
    }
    return count;
}

/* How long nothing is due. */
static int idle_time(const proxy *self) {
    double next = 1e9, time = now();
    for (size_t at = 0; at < self->count; at++) {
        const stream *replies = &self->pairs[at]->replies;
        if (!self->pairs[at]->frozen && replies->first && !replies->full && replies->first->due < next + time) next = replies->first->due - time;
    }
    return next > 1e8 ? -1 : next < 0 ? 0 : (int)next + 1;
}

static bool client_left(const proxy *self, size_t at, const struct pollfd *watched) {
    return self->pairs[at]->frozen && watched[2 + 2 * at].revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* From the last to the first: dropping one moves the last into its place. */
static void move_all(proxy *self, const struct pollfd *watched, size_t known) {
    for (size_t at = known; at-- > 0;) {
        if (client_left(self, at, watched) || !move(self, self->pairs[at])) drop(self, at);
    }
}

static void freeze_all(proxy *self) {
    for (size_t at = 0; at < self->count; at++) self->pairs[at]->frozen = true;
}

static void refuse(proxy *self) {
    end_socket(self->listener, false);
    self->listener = -1;
    for (size_t at = 0; at < self->count; at++) self->pairs[at]->reset = self->fault.reset;
    while (self->count) drop(self, self->count - 1);
}

/* Has what was held sent now. */
static void release(proxy *self) {
    for (size_t at = 0; at < self->count; at++) {
        for (chunk *held = self->pairs[at]->replies.first; held; held = held->next) {
            if (isinf(held->due)) held->due = 0;
        }
    }
}

static void change(proxy *self) {
    release(self);
    free((void *)self->fault.bytes);
    self->fault = self->next;
    self->fault.bytes = memcpy(malloc(self->fault.len + 1), self->fault.len ? self->next.bytes : "", self->fault.len);
    self->replied = 0;
    self->done = false;
    if (self->fault.mode == PROXY_REFUSE) refuse(self);
    else if (self->listener < 0 && (self->listener = listen_on(self->port)) < 0) give_up("the proxy's port was taken");
}

/* Carries out the orders that came meanwhile. */
static void obey(proxy *self) {
    if (self->changing) change(self);
    if (self->freezing || self->fault.mode == PROXY_HOLE) freeze_all(self);
    self->changing = self->freezing = false;
    pthread_cond_broadcast(&self->obeyed);
}

static void *run(void *argument) {
    proxy *self = argument;
    struct pollfd watched[2 + 2 * MAX_PAIRS];
    uint64_t woken;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        size_t known = self->count, count = watch_all(self, watched);
        int time = idle_time(self);
        pthread_mutex_unlock(&self->lock);
        poll(watched, count, time);
        pthread_mutex_lock(&self->lock);
        if (watched[0].revents && read(self->wake, &woken, sizeof woken) < 0) give_up("eventfd");
        move_all(self, watched, known);
        if (watched[1].revents) accept_one(self);
        obey(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- For tests ---- */

/* Below the ports that the kernel gives to clients. */
static void choose_port(proxy *self) {
    unsigned seed = (unsigned)getpid() ^ (unsigned)time(NULL);
    for (int tries = 0; tries < 100 && self->listener < 0; tries++) {
        self->port = 20000 + rand_r(&seed) % 10000;
        self->listener = listen_on(self->port);
    }
    if (self->listener < 0) give_up("no free port");
}

proxy *proxy_start(int server_port) {
    proxy *self = calloc(1, sizeof *self);
    atomic_store(&self->server_port, server_port);
    self->listener = -1;
    self->wake = eventfd(0, EFD_CLOEXEC);
    choose_port(self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->obeyed, NULL);
    if (pthread_create(&self->thread, NULL, run, self) != 0) give_up("pthread_create");
    return self;
}

int proxy_port(const proxy *self) { return self->port; }

void proxy_direct(proxy *self, int server_port) { atomic_store(&self->server_port, server_port); }

static void wake(proxy *self) {
    uint64_t one = 1;
    if (write(self->wake, &one, sizeof one) < 0) give_up("eventfd");
}

/* Waits until the thread has carried out its orders: sockets that it waits for cannot be closed by another. */
static void wait_for_it(proxy *self) {
    wake(self);
    while (self->changing || self->freezing) pthread_cond_wait(&self->obeyed, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

void proxy_set(proxy *self, proxy_fault fault) {
    pthread_mutex_lock(&self->lock);
    self->next = fault;
    self->changing = true;
    wait_for_it(self);
}

void proxy_freeze(proxy *self) {
    pthread_mutex_lock(&self->lock);
    self->freezing = true;
    wait_for_it(self);
}

bool proxy_is_done(proxy *self) {
    pthread_mutex_lock(&self->lock);
    bool done = self->done;
    pthread_mutex_unlock(&self->lock);
    return done;
}

size_t proxy_held(proxy *self) {
    size_t held = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t at = 0; at < self->count; at++) {
        for (const chunk *it = self->pairs[at]->replies.first; it; it = it->next) held += isinf(it->due) ? it->len : 0;
    }
    pthread_mutex_unlock(&self->lock);
    return held;
}

bool proxy_holds(proxy *self, const void *bytes, size_t len) {
    bool holds = false;
    pthread_mutex_lock(&self->lock);
    for (size_t at = 0; at < self->count; at++) {
        for (const chunk *it = self->pairs[at]->replies.first; it; it = it->next) {
            holds |= isinf(it->due) && memmem(it->bytes, it->len, bytes, len);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return holds;
}

unsigned proxy_accepted(proxy *self) {
    pthread_mutex_lock(&self->lock);
    unsigned accepted = self->accepted;
    pthread_mutex_unlock(&self->lock);
    return accepted;
}

size_t proxy_captured(proxy *self) {
    pthread_mutex_lock(&self->lock);
    size_t len = self->captured_len;
    pthread_mutex_unlock(&self->lock);
    return len;
}

bool proxy_saw(proxy *self, const void *bytes, size_t len) {
    pthread_mutex_lock(&self->lock);
    bool found = self->captured_len && memmem(self->captured, self->captured_len, bytes, len);
    pthread_mutex_unlock(&self->lock);
    return found;
}

void proxy_stop(proxy *self) {
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake(self);
    pthread_join(self->thread, NULL);
    while (self->count) drop(self, self->count - 1);
    end_socket(self->listener, false);
    close(self->wake);
    pthread_cond_destroy(&self->obeyed);
    pthread_mutex_destroy(&self->lock);
    free((void *)self->fault.bytes);
    free(self->captured);
    free(self);
}
