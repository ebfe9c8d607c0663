/* measure.h - what measure.c and the crate beside it have of each other. */

#ifndef MEASURE_H
#define MEASURE_H

#include <stddef.h>
#include <stdint.h>

enum { KEY = 16, VALUE = 100 };

struct worker;

/* For the crate. */
uint64_t bench_now(void);
int bench_over(void);
const char *bench_key(struct worker *worker);
void bench_value(const char *key, char value[VALUE]);
void bench_check(const char *key, const void *value, size_t len);
void bench_finished(struct worker *worker, uint64_t since);
struct worker *bench_worker(int index);

/* By the crate: one multiplexed connection on a current-thread or a multi-thread runtime. */
void crate_open(int port, int multi);
void crate_get(struct worker *worker);
void crate_set(struct worker *worker);
void crate_mget(struct worker *worker);
/* n tasks, each with an operation in flight, until it is over. */
void crate_tasks(int n, int set);

#endif
