/* RESP2 on blocking sockets. */
#include "resp.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_WORDS = 64, MAX_COMMAND = 4096 };

int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

/* ---- Requests ---- */

static bool send_all(int fd, const void *bytes, size_t len) {
    for (const char *next = bytes; len;) {
        ssize_t sent = send(fd, next, len, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        next += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool send_word(int fd, yc_slice word) {
    char head[32];
    int len = snprintf(head, sizeof head, "$%zu\r\n", word.len);
    return send_all(fd, head, (size_t)len) && send_all(fd, word.data, word.len) && send_all(fd, "\r\n", 2);
}

static bool send_command(int fd, const yc_slice *words, size_t count) {
    char head[32];
    int len = snprintf(head, sizeof head, "*%zu\r\n", count);
    bool sent = send_all(fd, head, (size_t)len);
    for (size_t at = 0; sent && at < count; at++) sent = send_word(fd, words[at]);
    return sent;
}

/* ---- Replies ---- */

static bool read_exactly(int fd, char *bytes, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t got = recv(fd, bytes + done, len - done, 0);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* A line without its end. */
static bool read_line(int fd, char *line, size_t room) {
    for (size_t len = 0; len < room; len++) {
        if (!read_exactly(fd, line + len, 1)) return false;
        if (len && line[len] == '\n' && line[len - 1] == '\r') {
            line[len - 1] = '\0';
            return true;
        }
    }
    return false;
}

static bool read_text(int fd, reply *self) {
    if (self->number < 0) return true;
    self->len = (size_t)self->number;
    self->text = malloc(self->len + 2);
    if (!read_exactly(fd, self->text, self->len + 2)) return false;
    self->text[self->len] = '\0';
    return true;
}

static bool read_reply(int fd, reply *self);

static bool read_items(int fd, reply *self) {
    self->items = calloc((size_t)(self->number > 0 ? self->number : 0) + 1, sizeof *self->items);
    while ((long long)self->count < self->number) {
        if (!read_reply(fd, &self->items[self->count++])) return false;
    }
    return true;
}

static bool read_reply(int fd, reply *self) {
    char line[MAX_COMMAND];
    if (!read_line(fd, line, sizeof line)) return false;
    *self = (reply){.kind = line[0], .number = strtoll(line + 1, NULL, 10)};
    if (self->kind == '$') return read_text(fd, self);
    if (self->kind == '*') return read_items(fd, self);
    self->text = strdup(line + 1);
    self->len = strlen(self->text);
    return true;
}

static void release(reply *self) {
    for (size_t at = 0; at < self->count; at++) release(&self->items[at]);
    free(self->items);
    free(self->text);
}

void reply_free(reply *self) {
    if (self) release(self);
    free(self);
}

/* ---- Asking ---- */

reply *ask_on(int fd, const yc_slice *words, size_t count) {
    reply *answer = calloc(1, sizeof *answer);
    if (send_command(fd, words, count) && read_reply(fd, answer)) return answer;
    reply_free(answer);
    return NULL;
}

reply *ask_words(int port, const yc_slice *words, size_t count) {
    int fd = connect_to(port);
    reply *answer = fd < 0 ? NULL : ask_on(fd, words, count);
    if (fd >= 0) close(fd);
    return answer;
}

static reply *ask_line(int port, const char *command, va_list arguments) {
    char line[MAX_COMMAND], *rest = line, *word;
    yc_slice words[MAX_WORDS];
    size_t count = 0;
    vsnprintf(line, sizeof line, command, arguments);
    while (count < MAX_WORDS && (word = strsep(&rest, " "))) words[count++] = (yc_slice){word, strlen(word)};
    return ask_words(port, words, count);
}

reply *ask(int port, const char *command, ...) {
    va_list arguments;
    va_start(arguments, command);
    reply *answer = ask_line(port, command, arguments);
    va_end(arguments);
    return answer;
}

bool tell(int port, const char *command, ...) {
    va_list arguments;
    va_start(arguments, command);
    reply *answer = ask_line(port, command, arguments);
    va_end(arguments);
    bool done = answer && answer->kind != '-';
    if (!done) printf("  %s: %s\n", command, answer ? answer->text : "no answer");
    reply_free(answer);
    return done;
}

long long ask_info(int port, const char *section, const char *name) {
    char wanted[64];
    reply *answer = ask(port, "INFO %s", section);
    snprintf(wanted, sizeof wanted, "\n%s:", name);
    const char *found = answer && answer->text ? strstr(answer->text, wanted) : NULL;
    long long number = found ? strtoll(found + strlen(wanted), NULL, 10) : -1;
    reply_free(answer);
    return number;
}

reply *ask_names(int port) {
    reply *page = ask(port, "SCAN 0 COUNT 1000000");
    reply *names = calloc(1, sizeof *names);
    if (page && page->count == 2) {
        *names = page->items[1];
        page->items[1] = (reply){0};
    }
    reply_free(page);
    return names;
}
