/* measure.h - the functions of the crate next to it. */

#ifndef MEASURE_H
#define MEASURE_H

#include "../servers/driver.h"

/* By the crate: one multiplexed connection on a current-thread or a multi-thread runtime. */
void crate_open(int port, int multi);
void crate_get(struct worker *worker);
void crate_set(struct worker *worker);
void crate_mget(struct worker *worker);
/* n tasks, each with an operation in flight, until it is over. */
void crate_tasks(int n, int set);

#endif
