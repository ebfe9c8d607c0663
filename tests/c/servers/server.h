/* A Redis or Memcached server of the test's own, which it can stop, kill and start again. */
#ifndef SERVER_H
#define SERVER_H

#include <stdbool.h>
#include <sys/types.h>

enum { MAX_SERVER_OPTIONS = 32, MAX_SERVER_URL = 256 };

typedef enum server_kind { SERVER_REDIS, SERVER_MEMCACHED } server_kind;

/* Lives on loopback and dies with the thread that started it. */
typedef struct server {
    server_kind kind;
    pid_t pid;
    int port;
    char folder[64];
    const char *options[MAX_SERVER_OPTIONS];
} server;

/* Starts one on a free port with these options (NULL behind the last), and waits until it answers; or ends the test. */
void server_start(server *self, server_kind kind, const char *const *options);

/* Starts it again on its port, and waits until it accepts connections. */
void server_restart(server *self);

/* Whether it answers a sign of life within five seconds. */
bool server_answers(const server *self);

/* Its URL with a query: "redis://127.0.0.1:10000/0?pool_size=2". Overwritten by the next call. */
const char *server_url(const server *self, const char *query);
const char *url_of(server_kind kind, int port, const char *query);

/* Sends SIGSTOP to a process, and returns when none of its threads runs: until then it may still answer. */
void stop_process(pid_t pid);

/* Sends a signal; SIGSTOP as stop_process does. */
void server_signal(const server *self, int number);
void server_kill(server *self);

/* Kills it and removes its folder. */
void server_stop(server *self);

#endif
