/* A plain client of Redis on loopback, for what a test does behind the library's back. */
#ifndef RESP_H
#define RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <yokedcache.h>

/* An answer; its kind is the byte that it began with. */
typedef struct reply {
    char kind;
    long long number;
    char *text; /* Of '+', '-' and '$'; NULL for none. NUL behind it. */
    size_t len;
    struct reply *items; /* Of '*'. */
    size_t count;
} reply;

/* A connection, or -1; its reads end after five seconds. */
int connect_to(int port);

/* NULL: no answer came. Release it with reply_free(). */
reply *ask_on(int socket, const yc_slice *words, size_t count);
reply *ask_words(int port, const yc_slice *words, size_t count);

/* One command of words without spaces, on a connection of its own. */
__attribute__((format(printf, 2, 3))) reply *ask(int port, const char *command, ...);

/* Whether the answer came and was no error. */
__attribute__((format(printf, 2, 3))) bool tell(int port, const char *command, ...);

/* The number behind `name:` in a section of INFO, or -1. */
long long ask_info(int port, const char *section, const char *name);

void reply_free(reply *self);

/* The names on a server, as an array of texts. */
reply *ask_names(int port);

#endif
