/* Runs the steps of conformance scripts: each makes one call and adds its results as tokens. */
#include "runner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Results as tokens ---- */

void add_word(tokens *result, const char *word) { tokens_add(result, TOKEN_BARE, word, strlen(word)); }
void add_mark(tokens *result, const char *mark) { tokens_add(result, TOKEN_MARK, mark, strlen(mark)); }

void add_text(tokens *result, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add_word(result, text);
}

static void add_status(tokens *result, yc_status status) {
    if (status < 0) add_word(result, "error");
    if (status == YC_UNMET) add_word(result, "unmet");
    else add_word(result, status == YC_OK ? "ok" : status == YC_MISS ? "miss" : yc_status_name(status));
}

/* The status and its error have to agree; the error is released. */
void add_outcome(tokens *result, yc_status status, yc_error *error) {
    bool agree = status < 0 ? yc_error_status(error) == status && *yc_error_message(error) : !error;
    add_status(result, status);
    if (!agree) add_word(result, "but-its-error-does-not-agree");
    yc_error_free(error);
}

void add_value(tokens *result, yc_value *value) {
    size_t len;
    const void *data = yc_value_data(value, &len);
    tokens_add(result, TOKEN_QUOTED, data, len);
    yc_value_free(value);
}

void add_count(tokens *result, uint64_t count) {
    if (count == YC_COUNT_UNKNOWN) add_word(result, "unknown");
    else add_text(result, "%" PRIu64, count);
}

/* ---- Arguments of steps ---- */

const bytes *argument(const runner *run, const statement *step, size_t at) {
    if (at >= step->n_arguments) stop(run, "an argument is missing");
    return &step->arguments[at];
}

int64_t read_ttl(const bytes *text) {
    if (bytes_are(text, "default")) return YC_TTL_DEFAULT;
    return bytes_are(text, "never") ? YC_TTL_NEVER : (int64_t)strtoll(text->data, NULL, 10);
}

int64_t ttl_option(const statement *step) {
    const named *option = statement_option(step, "ttl");
    return option ? read_ttl(&option->values[0]) : YC_TTL_DEFAULT;
}

static size_t number_option(const statement *step, const char *name, size_t otherwise) {
    const named *option = statement_option(step, name);
    return option ? (size_t)strtoull(option->values[0].data, NULL, 10) : otherwise;
}

/* Bytes in blocks of exactly their size, so that a tool sees a read beyond them. */
yc_slice *new_slices(const bytes *texts, size_t count, size_t stride) {
    yc_slice *slices = calloc(count + 1, sizeof *slices);
    for (size_t at = 0; at < count; at++) slices[at] = (yc_slice){texts[at * stride].data, texts[at * stride].len};
    return slices;
}

yc_slice *tags_option(const statement *step, size_t *count) {
    const named *option = statement_option(step, "tags");
    *count = option ? option->count : 0;
    return option ? new_slices(option->values, option->count, 1) : NULL;
}

bool wants_ok(const statement *step) { return step->n_wanted == 1 && token_is(step->wanted, "ok"); }

static void pause_ms(long milliseconds) {
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) continue;
}

/* ---- Operations ---- */


/* Reads from the servers, also if the near cache has a copy. */
static void run_get_fresh(yc_cache *cache, const bytes *key, tokens *result) {
    yc_op op = {.kind = YC_OP_GET, .flags = YC_OP_FRESH, .key = key->data, .key_len = key->len};
    yc_error *error;
    yc_status status = yc_batch(cache, &op, 1, sizeof op, &error);
    if (status != YC_OK) add_outcome(result, status, error);
    else if (op.status == YC_OK) add_value(result, op.result);
    else add_outcome(result, op.status, op.error);
}

static void run_get(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    if (statement_option(step, "fresh")) {
        run_get_fresh(cache, key, result);
        return;
    }
    yc_value *value = NULL;
    yc_error *error;
    yc_status status = yc_get(cache, key->data, key->len, &value, &error);
    if (status == YC_OK) add_value(result, value);
    else add_outcome(result, status, error);
}

/* Returns the size of the buffer that the value needs now. */
static size_t needed_room(yc_cache *cache, const bytes *key) {
    size_t len = 0;
    yc_status status = yc_get_into(cache, key->data, key->len, NULL, 0, &len, NULL);
    return status == YC_E_BUFFER_TOO_SMALL ? len : 0;
}

static void run_get_into(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    size_t cap = statement_option(step, "cap") ? number_option(step, "cap", 0) : needed_room(cache, key), len = 0;
    char *buffer = malloc(cap + 1);
    yc_error *error;
    yc_status status = yc_get_into(cache, key->data, key->len, cap ? buffer : NULL, cap, &len, &error);
    if (status == YC_OK) tokens_add(result, TOKEN_QUOTED, buffer, len);
    else add_outcome(result, status, error);
    free(buffer);
}

/* With "wait" the key is read until its value is in the memory of this process, for so long at most. */
static void run_get_near(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    size_t wait = number_option(step, "wait", 0), len = 0;
    char buffer[256];
    for (size_t waited = 0;; waited++) {
        yc_error *error;
        yc_status status = yc_get_near(cache, key->data, key->len, buffer, sizeof buffer, &len, &error);
        if (status == YC_OK) {
            tokens_add(result, TOKEN_QUOTED, buffer, len);
            return;
        }
        if (status != YC_MISS || waited >= wait) {
            add_outcome(result, status, error);
            return;
        }
        yc_error_free(error);
        yc_value *value = NULL;
        if (yc_get(cache, key->data, key->len, &value, NULL) == YC_OK) yc_value_free(value);
        pause_ms(1);
    }
}

static void run_set(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0), *value = argument(run, step, 1);
    size_t n_tags;
    yc_slice *tags = tags_option(step, &n_tags);
    yc_error *error;
    yc_status status =
        yc_set(cache, key->data, key->len, value->data, value->len, ttl_option(step), tags, n_tags, &error);
    add_outcome(result, status, error);
    free(tags);
}

static void run_delete(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_error *error;
    yc_status status = yc_delete(cache, key->data, key->len, &error);
    add_outcome(result, status, error);
}

static void run_exists(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_error *error;
    yc_status status = yc_exists(cache, key->data, key->len, &error);
    add_outcome(result, status, error);
}

static void run_expire(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_error *error;
    yc_status status = yc_expire(cache, key->data, key->len, read_ttl(argument(run, step, 1)), &error);
    add_outcome(result, status, error);
}

static void run_ttl(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    int64_t left = -7;
    yc_error *error;
    yc_status status = yc_ttl(cache, key->data, key->len, &left, &error);
    if (status == YC_OK) add_text(result, "%" PRId64, left);
    else add_outcome(result, status, error);
}

/* Adds the result of an invalidation: its count if one was requested. */
static void add_removed(tokens *result, yc_status status, yc_error *error, const uint64_t *removed) {
    if (status == YC_OK && removed) add_count(result, *removed);
    else add_outcome(result, status, error);
}

/* With `dry_run` the removal of this kind is run as one. */
static bool is_dry_run(yc_cache *cache, int32_t kind, const statement *step, tokens *result) {
    if (!statement_option(step, "dry_run")) return false;
    bool has_tags = kind == YC_OP_INVALIDATE_TAGS;
    yc_slice *list = has_tags ? new_slices(step->arguments, step->n_arguments, 1) : NULL;
    yc_op op = {.kind = kind, .flags = YC_OP_DRY_RUN, .tags = list, .n_tags = has_tags ? step->n_arguments : 0};
    if (kind == YC_OP_INVALIDATE_PATTERN) {
        op.key = step->arguments[0].data;
        op.key_len = step->arguments[0].len;
    }
    yc_error *error;
    yc_status status = yc_batch(cache, &op, 1, sizeof op, &error);
    add_removed(result, status == YC_OK ? op.status : status, status == YC_OK ? op.error : error, &op.removed);
    free(list);
    return true;
}

static void run_invalidate_tag(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *tag = argument(run, step, 0);
    if (is_dry_run(cache, YC_OP_INVALIDATE_TAGS, step, result)) return;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = yc_invalidate_tag(cache, tag->data, tag->len, removed, &error);
    add_removed(result, status, error, removed);
}

static void run_invalidate_tags(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    if (is_dry_run(cache, YC_OP_INVALIDATE_TAGS, step, result)) return;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_slice *tags = new_slices(step->arguments, step->n_arguments, 1);
    yc_error *error;
    yc_status status = yc_invalidate_tags(cache, tags, step->n_arguments, removed, &error);
    add_removed(result, status, error, removed);
    free(tags);
}

static void run_invalidate_pattern(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *pattern = argument(run, step, 0);
    if (is_dry_run(cache, YC_OP_INVALIDATE_PATTERN, step, result)) return;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = yc_invalidate_pattern(cache, pattern->data, pattern->len, removed, &error);
    add_removed(result, status, error, removed);
}

typedef yc_status remove_all_fn(yc_cache *cache, uint64_t *removed, yc_error **error);

static void remove_all(yc_cache *cache, const statement *step, tokens *result, int32_t kind, remove_all_fn *call) {
    if (is_dry_run(cache, kind, step, result)) return;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = call(cache, removed, &error);
    add_removed(result, status, error, removed);
}

static void run_clear(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    remove_all(cache, step, result, YC_OP_CLEAR, yc_clear);
}

static void run_flush(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    remove_all(cache, step, result, YC_OP_FLUSH, yc_flush);
}

static int by_bytes(const void *left, const void *right) {
    const bytes *a = &((const token *)left)->text, *b = &((const token *)right)->text;
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Adds a page's keys; says so when it holds none or too many. */
static void add_page(tokens *list, yc_keys *page, size_t limit) {
    size_t count;
    const yc_slice *keys = yc_keys_data(page, &count);
    for (size_t at = 0; at < count; at++) tokens_add(list, TOKEN_QUOTED, keys[at].data, keys[at].len);
    if (!count || (limit && count > limit)) add_text(list, "a-page-of-%zu-keys", count);
    yc_keys_free(page);
}

static yc_status read_pages(yc_cursor *cursor, size_t limit, tokens *list, yc_error **error) {
    yc_keys *page;
    yc_status status;
    while ((status = yc_keys_next(cursor, limit, &page, error)) == YC_OK) add_page(list, page, limit);
    return status;
}

static void run_keys(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *pattern = argument(run, step, 0);
    tokens list = {NULL, 0};
    size_t n_tags = 0;
    yc_slice *tags = tags_option(step, &n_tags);
    yc_cursor *cursor = NULL;
    yc_error *error;
    yc_status status = n_tags ? yc_keys_open_tagged(cache, pattern->data, pattern->len, tags, n_tags, &cursor, &error)
                              : yc_keys_open(cache, pattern->data, pattern->len, &cursor, &error);
    free(tags);
    if (status == YC_OK) status = read_pages(cursor, number_option(step, "page", 0), &list, &error);
    yc_cursor_free(cursor);
    if (status == YC_END) {
        if (list.count) qsort(list.items, list.count, sizeof *list.items, by_bytes);
        add_mark(result, "[");
        for (size_t at = 0; at < list.count; at++) {
            tokens_add(result, list.items[at].kind, list.items[at].text.data, list.items[at].text.len);
        }
        add_mark(result, "]");
    } else {
        add_outcome(result, status, error);
    }
    tokens_free(&list);
}

static void add_matches(tokens *result, yc_matches *matches) {
    add_mark(result, "[");
    for (size_t rank = 0; rank < yc_matches_count(matches); rank++) {
        const yc_match *match = yc_matches_at(matches, rank);
        tokens_add(result, TOKEN_QUOTED, match->key.data, match->key.len);
        add_mark(result, "@");
        add_text(result, "%.4f", match->score);
    }
    add_mark(result, "]");
    yc_matches_free(matches);
}

static void run_search(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *query = argument(run, step, 0);
    const named *threshold = statement_option(step, "threshold");
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    yc_slice *tags = tags_option(step, &options.n_tags);
    options.tags = tags;
    options.limit = number_option(step, "limit", YC_SEARCH_LIMIT);
    if (threshold) options.threshold = strtod(threshold->values[0].data, NULL);
    yc_matches *matches = NULL;
    yc_error *error;
    yc_status status = yc_search(cache, query->data, query->len, step->n_options ? &options : NULL, &matches, &error);
    if (status == YC_OK) add_matches(result, matches);
    else add_outcome(result, status, error);
    free(tags);
}

static void add_values(tokens *result, yc_value **values, const yc_status *statuses, size_t count) {
    add_mark(result, "[");
    for (size_t at = 0; at < count; at++) {
        if (statuses[at] == YC_OK) add_value(result, values[at]);
        else add_status(result, statuses[at]);
    }
    add_mark(result, "]");
}

static void run_get_many(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    size_t count = step->n_arguments;
    yc_slice *keys = new_slices(step->arguments, count, 1);
    yc_value **values = calloc(count + 1, sizeof(yc_value *));
    yc_status *statuses = calloc(count + 1, sizeof *statuses);
    yc_error *error;
    yc_status status = yc_get_many(cache, keys, count, values, statuses, &error);
    if (status == YC_OK) add_values(result, values, statuses, count);
    else add_outcome(result, status, error);
    free(statuses);
    free(values);
    free(keys);
}

static void run_set_many(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    if (step->n_arguments % 2) stop(run, "set_many takes keys and values in pairs");
    size_t count = step->n_arguments / 2, n_tags;
    yc_slice *keys = new_slices(step->arguments, count, 2);
    yc_slice *values = new_slices(step->arguments + (count ? 1 : 0), count, 2);
    yc_slice *tags = tags_option(step, &n_tags);
    yc_error *error;
    yc_status status = yc_set_many(cache, keys, values, count, ttl_option(step), tags, n_tags, NULL, &error);
    add_outcome(result, status, error);
    free(tags);
    free(values);
    free(keys);
}

static void run_delete_many(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    size_t count = step->n_arguments;
    yc_slice *keys = new_slices(step->arguments, count, 1);
    yc_status *statuses = calloc(count + 1, sizeof *statuses);
    yc_error *error;
    yc_status status = yc_delete_many(cache, keys, count, statuses, &error);
    if (status == YC_OK) {
        add_mark(result, "[");
        for (size_t at = 0; at < count; at++) add_status(result, statuses[at]);
        add_mark(result, "]");
    } else {
        add_outcome(result, status, error);
    }
    free(statuses);
    free(keys);
}

static void run_size(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run, (void)step;
    uint64_t keys = 0;
    yc_error *error;
    yc_status status = yc_size(cache, &keys, NULL, &error);
    if (status == YC_OK) add_text(result, "%" PRIu64, keys);
    else add_outcome(result, status, error);
}

/* Returns the text behind `"name":` in a report, which the caller frees, or NULL. Releases the report. */
char *member(yc_value *json, const char *name) {
    char quoted[MAX_NAME];
    size_t len;
    const char *data = yc_value_data(json, &len);
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = memmem(data, len, quoted, strlen(quoted));
    char *text = found ? strndup(found + strlen(quoted), len - (size_t)(found - data) - strlen(quoted)) : NULL;
    yc_value_free(json);
    return text;
}

static void run_stats(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    yc_value *json = NULL;
    yc_error *error;
    yc_status status = yc_stats(cache, &json, &error);
    if (status != YC_OK) {
        add_outcome(result, status, error);
        return;
    }
    char *found = member(json, argument(run, step, 0)->data);
    if (!found) add_word(result, "not-in-the-report");
    else if (strncmp(found, "null", 4) == 0) add_word(result, "unknown");
    else add_text(result, "%lld", strtoll(found, NULL, 10));
    free(found);
}

/* Adds the value that a report has behind the name of a field. */
static void add_field(tokens *result, const char *text) {
    if (!text) add_word(result, "not-in-the-report");
    else if (*text == '"') tokens_add(result, TOKEN_QUOTED, text + 1, strcspn(text + 1, "\""));
    else if (*text == 't' || *text == 'f') add_word(result, *text == 't' ? "ok" : "miss");
    else if (*text == 'n') add_word(result, "unknown");
    else add_text(result, "%lld", strtoll(text, NULL, 10));
}

/* The status of a tag of the entry, and the kind of its lease, are in objects of their own; NULL without one. */
static void run_explain(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0), *field = argument(run, step, 1);
    bool is_tag = bytes_are(field, "tag"), is_lease = bytes_are(field, "lease");
    char name[MAX_NAME];
    size_t n_tags = 0;
    yc_slice *tags = tags_option(step, &n_tags);
    yc_value *json = NULL;
    yc_error *error;
    yc_status status = yc_explain(cache, key->data, key->len, tags, n_tags, &json, &error);
    if (status != YC_OK) {
        add_outcome(result, status, error);
    } else {
        snprintf(name, sizeof name, "%s", is_lease ? "kind" : field->data);
        if (is_tag && n_tags) snprintf(name, sizeof name, "name\":\"%.*s\",\"status", (int)tags[0].len, (const char *)tags[0].data);
        char *found = member(json, name);
        add_field(result, found || !(is_tag || is_lease) ? found : "null");
        free(found);
    }
    free(tags);
}

/* The number of the first sample of a family. */
static void add_sample(tokens *result, yc_value *text, const char *family) {
    size_t len;
    char start[128];
    const char *data = yc_value_data(text, &len);
    snprintf(start, sizeof start, "\n%s{", family);
    const char *found = memmem(data, len, start, strlen(start));
    const char *number = found ? memmem(found, len - (size_t)(found - data), "} ", 2) : NULL;
    if (number) add_text(result, "%lld", strtoll(number + 2, NULL, 10));
    else add_word(result, "not-in-the-metrics");
}

static void run_metrics(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    yc_value *text = NULL;
    yc_error *error;
    yc_status status = yc_metrics(cache, &text, &error);
    if (status == YC_OK) add_sample(result, text, argument(run, step, 0)->data);
    else add_outcome(result, status, error);
    yc_value_free(text);
}

static void run_health(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run, (void)step;
    yc_value *json = NULL;
    yc_error *error;
    yc_status status = yc_health(cache, &json, &error);
    if (status != YC_OK) {
        add_outcome(result, status, error);
        return;
    }
    char *found = member(json, "status");
    if (found && *found == '"') tokens_add(result, TOKEN_QUOTED, found + 1, strcspn(found + 1, "\""));
    free(found);
}

static void run_ping(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run, (void)step;
    yc_error *error;
    yc_status status = yc_ping(cache, &error);
    add_outcome(result, status, error);
}

static void run_close(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run, (void)step;
    yc_error *error;
    yc_status status = yc_close(cache, -1, &error);
    add_outcome(result, status, error);
}

static void run_sleep(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    pause_ms(strtol(argument(run, step, 0)->data, NULL, 10));
    add_word(result, "ok");
}

static const struct {
    const char *name;
    operation_fn *run;
} OPERATIONS[] = {
    {"get", run_get},
    {"get_into", run_get_into},
    {"get_near", run_get_near},
    {"set", run_set},
    {"get_or_lease", run_get_or_lease},
    {"fill", run_fill},
    {"fill_absent", run_fill_absent},
    {"abandon", run_abandon},
    {"free", run_free},
    {"delete", run_delete},
    {"exists", run_exists},
    {"expire", run_expire},
    {"ttl", run_ttl},
    {"get_info", run_get_info},
    {"get_versioned", run_get_versioned},
    {"set_if", run_set_if},
    {"delete_if", run_delete_if},
    {"get_and_expire", run_get_and_expire},
    {"counter_add", run_counter_add},
    {"redis", run_redis},
    {"publish", run_publish},
    {"subscribe", run_subscribe},
    {"next", run_next},
    {"unsubscribe", run_unsubscribe},
    {"events", run_events},
    {"next_event", run_next_event},
    {"invalidate_tag", run_invalidate_tag},
    {"invalidate_tags", run_invalidate_tags},
    {"invalidate_pattern", run_invalidate_pattern},
    {"clear", run_clear},
    {"flush", run_flush},
    {"keys", run_keys},
    {"search", run_search},
    {"get_many", run_get_many},
    {"set_many", run_set_many},
    {"delete_many", run_delete_many},
    {"size", run_size},
    {"stats", run_stats},
    {"health", run_health},
    {"explain", run_explain},
    {"metrics", run_metrics},
    {"check_config", run_check_config},
    {"ping", run_ping},
    {"close", run_close},
    {"sleep", run_sleep},
    {"open", run_open},
    {"view", run_view},
    {"switch", run_switch},
    {"migrate", run_migrate},
};

operation_fn *find_operation(const runner *run, const statement *step) {
    for (size_t at = 0; at < sizeof OPERATIONS / sizeof *OPERATIONS; at++) {
        if (bytes_are(step->operation, OPERATIONS[at].name)) return OPERATIONS[at].run;
    }
    stop(run, "there is no such operation");
    return NULL;
}
