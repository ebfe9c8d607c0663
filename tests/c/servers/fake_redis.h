/* A Redis server on loopback that answers by a script: what no rule names, as an empty server does. */
#ifndef FAKE_REDIS_H
#define FAKE_REDIS_H

#include <stdbool.h>
#include <stddef.h>

enum { FAKE_RULES = 8, FAKE_LOG = 1024, FAKE_LINE = 256 };

/* What a command is answered with. */
typedef struct rule {
    const char *word;   /* The command's first word; NULL ends the rules. */
    const char *answer; /* The bytes of the reply; NULL: none comes. */
    long for_ms;        /* Holds for so long from the first command that it answers; 0: for ever. */
    unsigned times;     /* Holds for so many commands; 0: for all. */
    long delay_ms;      /* The reply comes so much later, and so do those behind it. */
    bool hang_up;       /* The connection ends in place of a reply. */
} rule;

typedef struct fake_redis fake_redis;

/* Starts one on a free port; it lives as long as the test. */
fake_redis *fake_start(void);
int fake_port(const fake_redis *self);

/* Answers by these rules from now on, the first that fits. The texts have to stay. */
void fake_set(fake_redis *self, const rule *rules);

/* Ends all connections. */
void fake_hang_up(fake_redis *self);

/* How many commands with this first word have come since the rules were set. */
unsigned fake_count(fake_redis *self, const char *word);

/* The words of the `at`-th of them, with spaces between, or "". */
const char *fake_command(fake_redis *self, const char *word, unsigned at, char line[FAKE_LINE]);

#endif
