/* A thread for each connection reads commands, notes them, and looks for the rule that answers. */
#include "fake_redis.h"

#include "../check.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_WORDS = 2048, MAX_WORD = 1 << 16, MAX_CONNECTIONS = 256 };

struct fake_redis {
    int listener, port;
    pthread_mutex_t lock;
    rule rules[FAKE_RULES];
    double first_ms[FAKE_RULES]; /* When a rule answered first; 0: not yet. */
    unsigned answered[FAKE_RULES];
    char log[FAKE_LOG][FAKE_LINE];
    unsigned logged;
    int connections[MAX_CONNECTIONS];
    size_t connected;
};

typedef struct connection {
    fake_redis *server;
    FILE *in;
    int fd;
} connection;

/* ---- Rules ---- */

static bool holds(const fake_redis *self, size_t at, const char *word) {
    const rule *it = &self->rules[at];
    if (strcmp(it->word, word) != 0 || (it->times && self->answered[at] >= it->times)) return false;
    return !it->for_ms || self->first_ms[at] == 0 || now_ms() - self->first_ms[at] < (double)it->for_ms;
}

static bool find_rule(fake_redis *self, const char *word, rule *found) {
    for (size_t at = 0; at < FAKE_RULES && self->rules[at].word; at++) {
        if (!holds(self, at, word)) continue;
        if (self->first_ms[at] == 0) self->first_ms[at] = now_ms();
        self->answered[at]++;
        *found = self->rules[at];
        return true;
    }
    return false;
}

/* ---- Answers ---- */

static void empty_server(const char *word, unsigned words, char *answer, size_t room) {
    static const char *const KNOWN[][2] = {
        {"PING", "+PONG\r\n"}, {"GET", "$-1\r\n"}, {"GETRANGE", "$0\r\n\r\n"}, {"UNLINK", ":0\r\n"}, {"PEXPIRE", ":0\r\n"},
        {"PERSIST", ":0\r\n"}, {"PTTL", ":-2\r\n"}, {"STRLEN", ":0\r\n"}, {"ZADD", ":1\r\n"}, {"ZREM", ":0\r\n"},
        {"ZREMRANGEBYSCORE", ":0\r\n"}, {"INFO", "$0\r\n\r\n"}, {"SCAN", "*2\r\n$1\r\n0\r\n*0\r\n"}, {"ZRANGE", "*0\r\n"}};
    snprintf(answer, room, "+OK\r\n");
    for (size_t at = 0; at < sizeof KNOWN / sizeof *KNOWN; at++) {
        if (strcmp(word, KNOWN[at][0]) == 0) snprintf(answer, room, "%s", KNOWN[at][1]);
    }
    if (strcmp(word, "MGET") == 0) {
        size_t len = (size_t)snprintf(answer, room, "*%u\r\n", words - 1);
        for (unsigned at = 1; at < words && len + 8 < room; at++) len += (size_t)snprintf(answer + len, room - len, "$-1\r\n");
    }
}

static bool answer_command(connection *self, const char *word, unsigned words) {
    char answer[MAX_WORDS * 6];
    rule found = {.answer = answer};
    pthread_mutex_lock(&self->server->lock);
    if (!find_rule(self->server, word, &found)) empty_server(word, words, answer, sizeof answer);
    pthread_mutex_unlock(&self->server->lock);
    if (found.delay_ms) sleep_ms(found.delay_ms);
    if (found.hang_up) return false;
    return !found.answer || send(self->fd, found.answer, strlen(found.answer), MSG_NOSIGNAL) >= 0;
}

/* ---- Commands ---- */

static long read_number(FILE *in, char kind) {
    char line[64];
    return fgets(line, sizeof line, in) && line[0] == kind ? strtol(line + 1, NULL, 10) : -1;
}

static bool read_word(FILE *in, char *word) {
    long len = read_number(in, '$');
    if (len < 0 || len >= MAX_WORD || fread(word, 1, (size_t)len + 2, in) != (size_t)len + 2) return false;
    word[len] = '\0';
    return true;
}

static void note(fake_redis *self, const char *line) {
    pthread_mutex_lock(&self->lock);
    if (self->logged < FAKE_LOG) memcpy(self->log[self->logged++], line, FAKE_LINE);
    pthread_mutex_unlock(&self->lock);
}

static bool read_command(connection *self, char *first, unsigned *words) {
    static _Thread_local char word[MAX_WORD + 2];
    char line[FAKE_LINE] = "";
    long count = read_number(self->in, '*');
    if (count < 1 || count > MAX_WORDS) return false;
    for (long at = 0; at < count; at++) {
        if (!read_word(self->in, word)) return false;
        if (at == 0) snprintf(first, FAKE_LINE, "%.32s", word);
        size_t len = strlen(line);
        snprintf(line + len, sizeof line - len, at ? " %s" : "%s", word);
    }
    *words = (unsigned)count;
    note(self->server, line);
    return true;
}

static void *serve(void *data) {
    connection *self = data;
    char first[FAKE_LINE];
    unsigned words;
    while (read_command(self, first, &words) && answer_command(self, first, words)) continue;
    /* The descriptor stays, so that no other connection gets its number. */
    shutdown(self->fd, SHUT_RDWR);
    free(self);
    return NULL;
}

static void *accept_all(void *data) {
    fake_redis *self = data;
    for (int fd; (fd = accept(self->listener, NULL, NULL)) >= 0;) {
        int yes = 1;
        pthread_t thread;
        connection *taken = malloc(sizeof *taken);
        *taken = (connection){self, fdopen(dup(fd), "r"), fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        pthread_mutex_lock(&self->lock);
        if (self->connected < MAX_CONNECTIONS) self->connections[self->connected++] = fd;
        pthread_mutex_unlock(&self->lock);
        if (pthread_create(&thread, NULL, serve, taken) == 0) pthread_detach(thread);
    }
    return NULL;
}

/* ---- What a test uses ---- */

fake_redis *fake_start(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    pthread_t thread;
    fake_redis *self = calloc(1, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(self->listener, (struct sockaddr *)&address, len) != 0 || listen(self->listener, 128) != 0 ||
        getsockname(self->listener, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&thread, NULL, accept_all, self) != 0) {
        perror("fake_start");
        exit(2);
    }
    pthread_detach(thread);
    self->port = ntohs(address.sin_port);
    return self;
}

int fake_port(const fake_redis *self) { return self->port; }

void fake_set(fake_redis *self, const rule *rules) {
    pthread_mutex_lock(&self->lock);
    memset(self->rules, 0, sizeof self->rules);
    for (size_t at = 0; at < FAKE_RULES && rules[at].word; at++) self->rules[at] = rules[at];
    memset(self->first_ms, 0, sizeof self->first_ms);
    memset(self->answered, 0, sizeof self->answered);
    self->logged = 0;
    pthread_mutex_unlock(&self->lock);
}

void fake_hang_up(fake_redis *self) {
    pthread_mutex_lock(&self->lock);
    for (size_t at = 0; at < self->connected; at++) shutdown(self->connections[at], SHUT_RDWR);
    self->connected = 0;
    pthread_mutex_unlock(&self->lock);
}

static bool begins_with(const char *line, const char *word) {
    size_t len = strlen(word);
    return strncmp(line, word, len) == 0 && (line[len] == ' ' || line[len] == '\0');
}

unsigned fake_count(fake_redis *self, const char *word) {
    unsigned count = 0;
    pthread_mutex_lock(&self->lock);
    for (unsigned at = 0; at < self->logged; at++) count += begins_with(self->log[at], word);
    pthread_mutex_unlock(&self->lock);
    return count;
}

const char *fake_command(fake_redis *self, const char *word, unsigned at, char line[FAKE_LINE]) {
    line[0] = '\0';
    pthread_mutex_lock(&self->lock);
    for (unsigned next = 0; next < self->logged; next++) {
        if (begins_with(self->log[next], word) && at-- == 0) {
            memcpy(line, self->log[next], FAKE_LINE);
            break;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return line;
}
