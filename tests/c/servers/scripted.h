/* A server whose answers a test writes: commands of RESP in, any bytes out. For what no real server can be made to do. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include <stddef.h>
#include <yokedcache.h>

enum { SCRIPTED_WORDS = 16, SCRIPTED_ROOM = 4096 };

typedef struct scripted scripted;

/* Writes the answer to a command at `out` and returns its length; 0: no answer. Called on a thread of each connection. */
typedef size_t (*scripted_answer)(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]);

/* On a free port of loopback. A server with a greeting sends it to each client and closes the connection. */
scripted *scripted_start(const char *greeting, scripted_answer answer, void *data);
int scripted_port(const scripted *self);
void scripted_stop(scripted *self);

/* Whether a command begins with this word. */
int is_command(const yc_slice *words, size_t count, const char *name);

/* Writes a text as the answer. */
size_t say(char out[SCRIPTED_ROOM], const char *text);

#endif
