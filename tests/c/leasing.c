/* Runs the steps of leases. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t millis_option(const statement *step, const char *name, int64_t otherwise) {
    const named *option = statement_option(step, name);
    return option ? (int64_t)strtoll(option->values[0].data, NULL, 10) : otherwise;
}

static void keep_lease(runner *run, const bytes *name, yc_lease *lease) {
    if (run->n_leases == MAX_LEASES) stop(run, "too many leases in one case");
    named_lease *place = &run->leases[run->n_leases++];
    snprintf(place->name, sizeof place->name, "%s", name->data);
    place->lease = lease;
}

/* The last lease of a name. */
static named_lease *find_lease(runner *run, const bytes *name) {
    for (size_t at = run->n_leases; at; at--) {
        if (bytes_are(name, run->leases[at - 1].name)) return &run->leases[at - 1];
    }
    stop(run, "no lease of this name was taken");
    return NULL;
}

void free_leases(runner *run) {
    while (run->n_leases) yc_lease_free(run->leases[--run->n_leases].lease);
}

static void add_loaded(tokens *result, yc_status status, yc_value *value, const yc_lease *lease) {
    bool is_list = status == YC_STALE || (status == YC_OK && lease);
    if (is_list) add_mark(result, "[");
    if (value) add_value(result, value);
    if (status == YC_STALE) add_word(result, "stale");
    if (status == YC_ABSENT) add_word(result, "absent");
    if (lease) add_word(result, "leased");
    if (is_list) add_mark(result, "]");
}

void run_get_or_lease(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    const named *name = statement_option(step, "as");
    yc_lease_options options = {.struct_size = sizeof options};
    options.lease_ms = millis_option(step, "lease", 0);
    options.wait_ms = millis_option(step, "wait", -1);
    yc_slice *tags = tags_option(step, &options.n_tags);
    options.tags = tags;
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_error *error;
    yc_status status = yc_get_or_lease(cache, key->data, key->len, &options, &value, &lease, &error);
    if (status < 0) add_outcome(result, status, error);
    else add_loaded(result, status, value, lease);
    if (lease) keep_lease(run, name ? &name->values[0] : key, lease);
    free(tags);
}

static void add_filled(tokens *result, yc_status status, yc_error *error) {
    if (status == YC_SUPERSEDED) add_word(result, "superseded");
    else add_outcome(result, status, error);
}

static void fill_lease(runner *run, const statement *step, yc_fill *fill, tokens *result) {
    fill->struct_size = sizeof *fill;
    fill->ttl_ms = ttl_option(step);
    fill->stale_for_ms = millis_option(step, "stale", YC_STALE_FOR_DEFAULT);
    yc_slice *tags = tags_option(step, &fill->n_tags);
    fill->tags = tags;
    yc_error *error;
    yc_status status = yc_lease_fill(find_lease(run, argument(run, step, 0))->lease, fill, &error);
    add_filled(result, status, error);
    free(tags);
}

void run_fill(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    const bytes *value = argument(run, step, 1);
    fill_lease(run, step, &(yc_fill){.value = value->data, .value_len = value->len}, result);
}

void run_fill_absent(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    fill_lease(run, step, &(yc_fill){.flags = YC_FILL_ABSENT}, result);
}

void run_abandon(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    yc_error *error;
    yc_lease *lease = find_lease(run, argument(run, step, 0))->lease;
    yc_status status = yc_lease_abandon(lease, millis_option(step, "retry", 0), &error);
    add_outcome(result, status, error);
}

void run_free(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    named_lease *found = find_lease(run, argument(run, step, 0));
    yc_lease_free(found->lease);
    *found = run->leases[--run->n_leases];
    add_word(result, "ok");
}
