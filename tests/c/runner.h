/* The parts of the conformance runner: conformance.c reads scripts and runs their cases, operations.c, conditional.c,
 * leasing.c, commands.c and channels.c run steps, opening.c opens and finds the caches of a case, and profile.c knows what a
 * managed service does not support. */
#ifndef RUNNER_H
#define RUNNER_H

#include "script.h"

#include <stdint.h>
#include <yokedcache.h>

#define MAX_CACHES 8
#define MAX_OPTIONS 2048
#define MAX_NAME 256
#define MAX_VERSIONS 16
#define MAX_LEASES 16
#define MAX_SUBSCRIPTIONS 16

typedef struct open_cache {
    char name[MAX_NAME];
    yc_cache *cache;
    yc_cache *root; /* The cache of YC_TEST_VIEW, or NULL. */
} open_cache;

/* A version that a step has remembered. */
typedef struct known_version {
    char name[MAX_NAME];
    uint64_t version;
} known_version;

/* A lease that a step took, until the case ends or `free` releases it. */
typedef struct named_lease {
    char name[MAX_NAME];
    yc_lease *lease;
} named_lease;

/* A subscription that a step made, until the case ends or `unsubscribe` frees it. */
typedef struct named_subscription {
    char name[MAX_NAME];
    yc_subscription *subscription;
} named_subscription;

/* A reader of events that a step made, until the case ends. */
typedef struct named_events {
    char name[MAX_NAME];
    yc_events *events;
} named_events;

/* The lines before steps: options of the cache, and the conditions under which a case applies. */
typedef struct conditions {
    char options[MAX_OPTIONS];
    uint64_t needs, lacks;
    bool wrong_scheme, needs_root;
} conditions;

enum case_state { STATE_NONE, STATE_FRESH, STATE_RUNNING, STATE_PASSED_BY, STATE_FAILED, STATE_UNSUPPORTED };

/* Small enough for a pipe to carry it in one piece. */
typedef struct totals {
    unsigned cases, passed, failed, not_applicable, unsupported;
} totals;

typedef struct runner {
    const char *url, *file;
    int line;
    enum case_state state;
    conditions of_file, of_case;
    char name[MAX_NAME], prefix[64];
    open_cache caches[MAX_CACHES];
    size_t n_caches;
    known_version versions[MAX_VERSIONS];
    size_t n_versions;
    named_lease leases[MAX_LEASES];
    size_t n_leases;
    named_subscription subscriptions[MAX_SUBSCRIPTIONS];
    size_t n_subscriptions;
    named_events events[MAX_SUBSCRIPTIONS];
    size_t n_events;
    statement *batch; /* The operations below a `batch`. */
    size_t n_batch;
    statement batch_step;
    bool in_batch;
    totals of_files;
} runner;

/* Runs one step and adds its results. */
typedef void operation_fn(runner *run, yc_cache *cache, const statement *step, tokens *result);

/* Ends the program: the script is wrong. */
void stop(const runner *run, const char *why);

/* ---- operations.c: results as tokens ---- */

void add_word(tokens *result, const char *word);
void add_mark(tokens *result, const char *mark);
__attribute__((format(printf, 2, 3))) void add_text(tokens *result, const char *format, ...);
void add_outcome(tokens *result, yc_status status, yc_error *error);
void add_value(tokens *result, yc_value *value);
void add_count(tokens *result, uint64_t count);

/* ---- operations.c: arguments of steps ---- */

const bytes *argument(const runner *run, const statement *step, size_t at);
int64_t read_ttl(const bytes *text);
int64_t ttl_option(const statement *step);
yc_slice *new_slices(const bytes *texts, size_t count, size_t stride);
yc_slice *tags_option(const statement *step, size_t *count);
bool wants_ok(const statement *step);
char *member(yc_value *json, const char *name);
operation_fn *find_operation(const runner *run, const statement *step);

/* ---- conditional.c ---- */

int64_t signed_option(const statement *step, const char *name, int64_t otherwise);
void remember(runner *run, const statement *step, uint64_t version);
int32_t read_set_condition(const runner *run, const statement *step, uint64_t *version);
void add_info(tokens *result, yc_value *value, const yc_entry_info *info);
void run_get_info(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_get_versioned(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_set_if(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_delete_if(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_get_and_expire(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_counter_add(runner *run, yc_cache *cache, const statement *step, tokens *result);

/* ---- leasing.c ---- */

void run_get_or_lease(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_fill(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_fill_absent(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_abandon(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_free(runner *run, yc_cache *cache, const statement *step, tokens *result);
void free_leases(runner *run);

/* ---- commands.c ---- */

void run_redis(runner *run, yc_cache *cache, const statement *step, tokens *result);

/* ---- channels.c ---- */

void run_publish(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_subscribe(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_next(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_unsubscribe(runner *run, yc_cache *cache, const statement *step, tokens *result);
void free_subscriptions(runner *run);
void run_events(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_next_event(runner *run, yc_cache *cache, const statement *step, tokens *result);
void free_events(runner *run);

/* ---- profile.c: what YC_TEST_SERVICE expects, if it is set ---- */

void profile_read(void);

/* Whether a result is one that the profile counts: an error that says that something is unsupported. */
bool profile_allows(const statement *step, const tokens *came);

/* Whether a cache has the capabilities that the profile leaves it. */
bool profile_has(uint64_t can);

/* The number of cases of a script that are unsupported. */
unsigned profile_unsupported(const char *path);

/* ---- opening.c ---- */

void append_options(char *text, size_t room, const statement *step);
yc_status open_cache_as(runner *run, const char *name, const char *suffix, const char *options, yc_error **error);
void run_open(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_view(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_check_config(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_switch(runner *run, yc_cache *cache, const statement *step, tokens *result);
void run_migrate(runner *run, yc_cache *cache, const statement *step, tokens *result);
yc_cache *find_cache(runner *run, const bytes *name);

#endif
