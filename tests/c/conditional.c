/* Runs the steps of conditional operations and counters. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t signed_option(const statement *step, const char *name, int64_t otherwise) {
    const named *option = statement_option(step, name);
    return option ? (int64_t)strtoll(option->values[0].data, NULL, 10) : otherwise;
}

/* Remembers a version under the name that the step gives it. */
void remember(runner *run, const statement *step, uint64_t version) {
    const named *option = statement_option(step, "as");
    if (!option) return;
    if (run->n_versions == MAX_VERSIONS) stop(run, "too many versions in one case");
    known_version *place = &run->versions[run->n_versions++];
    snprintf(place->name, sizeof place->name, "%s", option->values[0].data);
    place->version = version;
}

/* The condition of a step; `if` names the last version of this name, or is a version itself. */
int32_t read_set_condition(const runner *run, const statement *step, uint64_t *version) {
    const named *option = statement_option(step, "if");
    if (!option) stop(run, "the step has no condition");
    const bytes *name = &option->values[0];
    *version = strtoull(name->data, NULL, 10);
    if (bytes_are(name, "absent")) return YC_IF_ABSENT;
    if (bytes_are(name, "present")) return YC_IF_PRESENT;
    for (size_t at = run->n_versions; at-- > 0;) {
        if (!bytes_are(name, run->versions[at].name)) continue;
        *version = run->versions[at].version;
        return YC_IF_VERSION;
    }
    if (!name->len || strspn(name->data, "0123456789") != name->len) stop(run, "no version of this name is known");
    return YC_IF_VERSION;
}

void run_get_versioned(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_value *value = NULL;
    uint64_t version = 0;
    yc_error *error;
    yc_status status = yc_get_versioned(cache, key->data, key->len, &value, &version, &error);
    if (status == YC_OK) remember(run, step, version);
    if (status == YC_OK) add_value(result, value);
    else add_outcome(result, status, error);
}

/* Adds a value with its properties: age, remaining time, number of tags, and their names if the entry stores them. */
void add_info(tokens *result, yc_value *value, const yc_entry_info *info) {
    size_t len;
    const char *tag;
    yc_value *named = yc_value_clone(value);
    add_mark(result, "[");
    add_value(result, value);
    if (info->age_ms == YC_AGE_UNKNOWN) add_word(result, "unknown");
    else add_text(result, "%" PRId64, info->age_ms);
    add_text(result, "%" PRId64, info->remaining_ms);
    add_text(result, "%" PRIu64, info->tag_count);
    for (size_t i = 0; (tag = yc_value_tag(named, i, &len)); i++) tokens_add(result, TOKEN_QUOTED, tag, len);
    yc_value_free(named);
    add_mark(result, "]");
}

void run_get_info(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_entry_info info = YC_ENTRY_INFO_INIT;
    yc_value *value = NULL;
    yc_error *error;
    yc_status status = yc_get_info(cache, key->data, key->len, signed_option(step, "max_age", 0), &value, &info, &error);
    if (status == YC_OK) remember(run, step, info.version);
    if (status == YC_OK) add_info(result, value, &info);
    else add_outcome(result, status, error);
}

void run_set_if(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0), *value = argument(run, step, 1);
    size_t n_tags;
    uint64_t version = 0, stored = 0;
    int32_t condition = read_set_condition(run, step, &version);
    yc_slice *tags = tags_option(step, &n_tags);
    yc_error *error;
    yc_status status = yc_set_if(cache, key->data, key->len, value->data, value->len, ttl_option(step), tags, n_tags,
                                 condition, version, &stored, &error);
    if (status == YC_OK) remember(run, step, stored);
    add_outcome(result, status, error);
    free(tags);
}

void run_delete_if(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    uint64_t version = 0;
    if (read_set_condition(run, step, &version) != YC_IF_VERSION) stop(run, "delete_if takes a version");
    yc_error *error;
    yc_status status = yc_delete_if(cache, key->data, key->len, version, &error);
    add_outcome(result, status, error);
}

void run_get_and_expire(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_value *value = NULL;
    yc_error *error;
    yc_status status = yc_get_and_expire(cache, key->data, key->len, read_ttl(argument(run, step, 1)), &value, &error);
    if (status == YC_OK) add_value(result, value);
    else add_outcome(result, status, error);
}

void run_counter_add(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    int64_t sum = 0, delta = strtoll(argument(run, step, 1)->data, NULL, 10);
    yc_error *error;
    yc_status status = yc_counter_add(cache, key->data, key->len, delta, signed_option(step, "initial", 0),
                                      ttl_option(step), &sum, &error);
    if (status == YC_OK) add_text(result, "%" PRId64, sum);
    else add_outcome(result, status, error);
}
