/*
 * calls.c - calls of the memory backend, for a count of their instructions: calls WORKLOAD
 *
 * Prints the number of measured calls. The keys are stored by yc_set_many, which no workload measures.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yokedcache.h>

/* Each process draws other hash seeds: the average over many keys does not depend on them. */
enum {
    KEYS = 20000,
    KEY = 16,
    VALUE = 100,
    MANY = 100,
    /* Calls with each key, in one order of all keys after the other. */
    PASSES = 3,
};

static char keys[KEYS][KEY + 1];
static char value[VALUE];
static yc_cache *cache;

static void must(yc_status status, yc_error *error)
{
    if (status != YC_OK) {
        fprintf(stderr, "calls: %s: %s\n", yc_status_name(status), error ? yc_error_message(error) : "");
        exit(1);
    }
}

/* The keys in an order that has nothing to do with that of their places in memory: 7919 has no divisor of KEYS. */
static const char *key_of(int call)
{
    return keys[(uint64_t)call * 7919 % KEYS];
}

static void fill(void)
{
    static yc_slice names[KEYS], values[KEYS];
    yc_error *error = NULL;
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key:%012d", i);
        names[i] = (yc_slice) { keys[i], KEY };
        values[i] = (yc_slice) { value, VALUE };
    }
    must(yc_set_many(cache, names, values, KEYS, YC_TTL_NEVER, NULL, 0, NULL, &error), error);
}

static int get_into(void)
{
    char copy[VALUE];
    size_t len;
    yc_error *error = NULL;
    for (int call = 0; call < PASSES * KEYS; call++) {
        must(yc_get_into(cache, key_of(call), KEY, copy, sizeof copy, &len, &error), error);
    }
    return PASSES * KEYS;
}

static int set(void)
{
    yc_error *error = NULL;
    for (int call = 0; call < PASSES * KEYS; call++) {
        must(yc_set(cache, key_of(call), KEY, value, VALUE, YC_TTL_NEVER, NULL, 0, &error), error);
    }
    return PASSES * KEYS;
}

/* Releasing the values is a part of the cost: yc_value_free is counted, too. */
static int get_many(void)
{
    yc_slice names[MANY];
    yc_value *values[MANY];
    yc_error *error = NULL;
    for (int call = 0; call < PASSES * KEYS / MANY; call++) {
        for (int i = 0; i < MANY; i++) {
            names[i] = (yc_slice) { key_of(call * MANY + i), KEY };
        }
        must(yc_get_many(cache, names, MANY, values, NULL, &error), error);
        for (int i = 0; i < MANY; i++) {
            yc_value_free(values[i]);
        }
    }
    return PASSES * KEYS / MANY;
}

static void on_span(void *user_data, int32_t phase, const yc_span *span)
{
    *(uint64_t *)user_data += (uint64_t)phase + span->id;
}

/* Traces one call in 64. */
static void trace(void)
{
    static uint64_t sum;
    yc_trace_options options = { .struct_size = sizeof options, .interval = 64 };
    yc_error *error = NULL;
    must(yc_set_trace(cache, &options, on_span, &sum, NULL, &error), error);
}

static int get_into_traced(void)
{
    trace();
    return get_into();
}

static int set_traced(void)
{
    trace();
    return set();
}

static const struct {
    const char *name;
    int (*run)(void);
} WORKLOADS[] = { { "get_into", get_into },
    { "set", set },
    { "get_many", get_many },
    { "get_into_traced", get_into_traced },
    { "set_traced", set_traced } };

int main(int argc, char **argv)
{
    yc_error *error = NULL;
    for (size_t i = 0; argc == 2 && i < sizeof WORKLOADS / sizeof *WORKLOADS; i++) {
        if (strcmp(WORKLOADS[i].name, argv[1]) == 0) {
            must(yc_open("memory://?max_size=40000", &cache, &error), error);
            fill();
            printf("%d\n", WORKLOADS[i].run());
            yc_close(cache, -1, NULL);
            yc_cache_free(cache);
            return 0;
        }
    }
    fputs("calls get_into|set|get_many|get_into_traced|set_traced\n", stderr);
    return 1;
}
