/* yoked.c - YokedCache as a contender: its calls, its batches, its queue. */

#include <stdio.h>
#include <string.h>
#include <yokedcache.h>

#include "driver.h"

static yc_cache *cache;

static void must(yc_status status, yc_error *error)
{
    if (status != YC_OK) {
        give_up("%s: %s", yc_status_name(status), yc_error_message(error));
    }
}

static yc_cache *yoked(const char *prefix)
{
    char url[100];
    yc_cache *opened;
    yc_error *error;
    snprintf(url, sizeof url, yoked_url, port, prefix);
    must(yc_open(url, &opened, &error), error);
    return opened;
}

void yoked_open(void)
{
    cache = yoked("yokedcache");
}

/* The same keys with two tags each are another cache. */
void yoked_open_tags(void)
{
    cache = yoked("with-tags");
}

void yoked_open_counters(void)
{
    cache = yoked("counters");
}

static void yoked_take(const char *key, yc_value *value)
{
    size_t len;
    const void *data = yc_value_data(value, &len);
    bench_check(key, data, len);
    yc_value_free(value);
}

void yoked_get(struct worker *worker)
{
    const char *key = bench_key(worker);
    yc_value *value = NULL;
    yc_error *error;
    uint64_t since = bench_now();
    yc_status status = yc_get(cache, key, KEY, &value, &error);
    must(status, error);
    yoked_take(key, value);
    bench_finished(worker, since);
}

/* A hit of a read for loading. */
void yoked_lease(struct worker *worker)
{
    const char *key = bench_key(worker);
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_error *error;
    uint64_t since = bench_now();
    yc_status status = yc_get_or_lease(cache, key, KEY, NULL, &value, &lease, &error);
    must(status, error);
    yoked_take(key, value);
    bench_finished(worker, since);
}

void yoked_counter(struct worker *worker)
{
    const char *key = bench_counter(worker);
    int64_t sum = 0;
    yc_error *error;
    uint64_t since = bench_now();
    yc_status status = yc_counter_add(cache, key, KEY, 1, 0, YC_TTL_NEVER, &sum, &error);
    must(status, error);
    if (sum < 1) {
        give_up("a counter is %lld", (long long)sum);
    }
    bench_finished(worker, since);
}

/* All callers replace the value of one key, each by what it has read. */
void yoked_compare(struct worker *worker)
{
    static const char KEY_OF_ALL[] = "compared";
    uint64_t since = bench_now(), version;
    yc_status status;
    do {
        yc_value *value = NULL;
        yc_error *error;
        status = yc_get_versioned(cache, KEY_OF_ALL, sizeof KEY_OF_ALL - 1, &value, &version, &error);
        int32_t condition = status == YC_MISS ? YC_IF_ABSENT : YC_IF_VERSION;
        if (status != YC_MISS) {
            must(status, error);
        }
        yc_value_free(value);
        status = yc_set_if(cache, KEY_OF_ALL, sizeof KEY_OF_ALL - 1, keys[0], VALUE, YC_TTL_NEVER, NULL, 0, condition,
                           version, NULL, &error);
        if (status != YC_UNMET && status != YC_E_BUSY) {
            must(status, error);
        } else {
            yc_error_free(error);
        }
    } while (status != YC_OK && !bench_over());
    if (status == YC_OK) {
        bench_finished(worker, since);
    }
}

static void yoked_store(struct worker *worker, const yc_slice *tags, size_t n_tags)
{
    const char *key = bench_key(worker);
    char value[VALUE];
    yc_error *error;
    bench_value(key, value);
    uint64_t since = bench_now();
    yc_status status = yc_set(cache, key, KEY, value, VALUE, YC_TTL_NEVER, tags, n_tags, &error);
    must(status, error);
    bench_finished(worker, since);
}

void yoked_set(struct worker *worker)
{
    yoked_store(worker, NULL, 0);
}

static const yc_slice TAGS[] = { { "tag:one", 7 }, { "tag:two", 7 } };

void yoked_set_tags(struct worker *worker)
{
    yoked_store(worker, TAGS, 2);
}

void yoked_mget(struct worker *worker)
{
    yc_slice asked[MANY];
    yc_value *values[MANY];
    yc_error *error;
    uint64_t since = bench_now();
    for (int i = 0; i < MANY; i++) {
        asked[i] = (yc_slice) { bench_key(worker), KEY };
    }
    yc_status status = yc_get_many(cache, asked, MANY, values, NULL, &error);
    must(status, error);
    for (int i = 0; i < MANY; i++) {
        yoked_take(asked[i].data, values[i]);
    }
    bench_finished(worker, since);
}

static void yoked_batch(struct worker *worker, int32_t kind)
{
    static yc_op ops[MAX_CALLERS];
    static char values[MAX_CALLERS][VALUE];
    size_t n = (size_t)worker->in_flight;
    yc_error *error;
    uint64_t since = bench_now();
    memset(ops, 0, n * sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        const char *key = bench_key(worker);
        ops[i] = (yc_op) { .kind = kind, .key = key, .key_len = KEY };
        if (kind == YC_OP_SET) {
            bench_value(key, values[i]);
            ops[i].value = values[i];
            ops[i].value_len = VALUE;
            ops[i].ttl_ms = YC_TTL_NEVER;
        }
    }
    yc_status status = yc_batch(cache, ops, n, sizeof *ops, &error);
    must(status, error);
    for (size_t i = 0; i < n; i++) {
        must(ops[i].status, ops[i].error);
        if (kind == YC_OP_GET) {
            yoked_take(ops[i].key, ops[i].result);
        }
        bench_finished(worker, since);
    }
}

void yoked_batch_get(struct worker *worker)
{
    yoked_batch(worker, YC_OP_GET);
}

void yoked_batch_set(struct worker *worker)
{
    yoked_batch(worker, YC_OP_SET);
}

/* What a queue has in flight: an operation in each slot, which is its user_data. */
static yc_queue *queue;
static yc_op to_submit[MAX_CALLERS];
static char slot_values[MAX_CALLERS][VALUE];
static size_t n_to_submit;

static void queue_put(struct worker *worker, uint64_t slot, int32_t kind)
{
    const char *key = kind == YC_OP_COUNTER_ADD ? bench_counter(worker) : bench_key(worker);
    yc_op *op = &to_submit[n_to_submit++];
    *op = (yc_op) { .kind = kind, .key = key, .key_len = KEY, .number = 1, .user_data = slot };
    if (kind == YC_OP_SET) {
        bench_value(key, slot_values[slot]);
        op->value = slot_values[slot];
        op->value_len = VALUE;
        op->ttl_ms = YC_TTL_NEVER;
    }
    worker->asked[slot] = key;
    worker->since[slot] = bench_now();
}

void queue_open(void)
{
    yc_error *error;
    if (strcmp(workload, "counter") == 0) {
        yoked_open_counters();
    } else {
        yoked_open();
    }
    must(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, &error), error);
}

void queue_enter(struct worker *worker)
{
    int32_t kind = strcmp(workload, "set") == 0 ? YC_OP_SET : YC_OP_GET;
    kind = strcmp(workload, "counter") == 0 ? YC_OP_COUNTER_ADD : kind;
    for (int slot = 0; slot < worker->in_flight; slot++) {
        queue_put(worker, (uint64_t)slot, kind);
    }
}

void queue_turn(struct worker *worker)
{
    static yc_completion done[MAX_CALLERS];
    size_t n;
    yc_error *error;
    yc_status status = yc_queue_submit(queue, to_submit, n_to_submit, sizeof *to_submit, NULL, &n, &error);
    must(status, error);
    status = yc_queue_wait(queue, done, MAX_CALLERS, sizeof *done, -1, &n, &error);
    must(status, error);
    n_to_submit = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t slot = done[i].user_data;
        must(done[i].status, done[i].error);
        if (done[i].kind == YC_OP_GET) {
            yoked_take(worker->asked[slot], done[i].result);
        }
        bench_finished(worker, worker->since[slot]);
        queue_put(worker, slot, done[i].kind);
    }
}

/* ---- The keys, without tags and with two. ---- */

static void fill_yoked(const char *prefix, size_t n_tags)
{
    enum { AT_ONCE = 500 };
    static char values[AT_ONCE][VALUE];
    yc_slice names[AT_ONCE], slices[AT_ONCE];
    yc_cache *filled = yoked(prefix);
    yc_error *error;
    for (int first = 0; first < KEYS; first += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            bench_value(keys[first + i], values[i]);
            names[i] = (yc_slice) { keys[first + i], KEY };
            slices[i] = (yc_slice) { values[i], VALUE };
        }
        yc_status status = yc_set_many(filled, names, slices, AT_ONCE, YC_TTL_NEVER, TAGS, n_tags, NULL, &error);
        must(status, error);
    }
    yc_close(filled, -1, NULL);
    yc_cache_free(filled);
}

void yoked_fill(void)
{
    fill_yoked("yokedcache", 0);
    fill_yoked("with-tags", 2);
}
