/* A TCP proxy on loopback before one server, for faults at any byte; its thread ends with proxy_stop(). */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>

enum proxy_mode {
    PROXY_PASS,
    PROXY_DELAY,  /* Replies come `milliseconds` later. */
    PROXY_SLICE,  /* Replies come byte by byte, with `milliseconds` between two. */
    PROXY_HOLE,   /* All connections, new ones too: taken, and nothing forwarded any more. */
    PROXY_REFUSE, /* No server listens; open connections end. */
    PROXY_CUT,    /* Once `offset` bytes of replies have passed, their connection ends. Once. */
    PROXY_GARBLE, /* The byte of replies at `offset` is flipped. Once. */
    PROXY_INJECT, /* `bytes` come before the next reply. Once. */
    PROXY_ANSWER, /* `bytes` are the reply; the server does not see the request. */
    PROXY_HOLD,   /* Replies wait until the next fault, except on connections that have sent `bytes`, if there are any. */
};

/* What to do from now on. */
typedef struct proxy_fault {
    enum proxy_mode mode;
    long milliseconds;
    size_t offset;
    const void *bytes; /* Copied. */
    size_t len;
    bool reset; /* Connections end with RST, not FIN. */
    bool close; /* PROXY_ANSWER: the connection ends behind the reply. */
    bool once;  /* PROXY_ANSWER: one request only. */
} proxy_fault;

typedef struct proxy proxy;

proxy *proxy_start(int server_port);
int proxy_port(const proxy *self);

/* Counts of replies begin here. */
void proxy_set(proxy *self, proxy_fault fault);

/* The connections there are forward nothing any more; new ones do. */
void proxy_freeze(proxy *self);

/* New connections go to another server; those there stay. */
void proxy_direct(proxy *self, int server_port);

/* Whether a fault of one time has happened. */
bool proxy_is_done(proxy *self);

/* How many bytes of replies are held. */
size_t proxy_held(proxy *self);

/* Whether a reply that is held contains these bytes. */
bool proxy_holds(proxy *self, const void *bytes, size_t len);

/* How many connections were taken until now. */
unsigned proxy_accepted(proxy *self);

/* How many bytes of requests came, and whether these were among them. */
size_t proxy_captured(proxy *self);
bool proxy_saw(proxy *self, const void *bytes, size_t len);

void proxy_stop(proxy *self);

#endif
