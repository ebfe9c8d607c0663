/* Runs conformance scripts over the cache that YC_TEST_URL names: see tests/conformance/README.md. */
#include "script.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

#define MAX_CACHES 8
#define MAX_OPTIONS 2048
#define MAX_NAME 256

typedef struct open_cache {
    char name[MAX_NAME];
    yc_cache *cache;
} open_cache;

/* What stands before steps: options of the cache, and when a case applies. */
typedef struct conditions {
    char options[MAX_OPTIONS];
    uint64_t needs, lacks;
    bool wrong_scheme;
} conditions;

enum case_state { STATE_NONE, STATE_FRESH, STATE_RUNNING, STATE_PASSED_BY, STATE_FAILED };

typedef struct runner {
    const char *url, *file;
    int line;
    enum case_state state;
    conditions of_file, of_case;
    char name[MAX_NAME], prefix[64];
    open_cache caches[MAX_CACHES];
    size_t n_caches;
    statement *batch; /* The operations below a `batch`. */
    size_t n_batch;
    statement batch_step;
    bool in_batch;
    unsigned cases, passed, failed, not_applicable;
} runner;

static void stop(const runner *run, const char *why) {
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", run->file, run->line, why);
    exit(2);
}

/* ---- Results as tokens ---- */

static void add_word(tokens *result, const char *word) { tokens_add(result, TOKEN_BARE, word, strlen(word)); }
static void add_mark(tokens *result, const char *mark) { tokens_add(result, TOKEN_MARK, mark, strlen(mark)); }

__attribute__((format(printf, 2, 3))) static void add_text(tokens *result, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add_word(result, text);
}

static void add_status(tokens *result, yc_status status) {
    if (status < 0) add_word(result, "error");
    add_word(result, status == YC_OK ? "ok" : status == YC_MISS ? "miss" : yc_status_name(status));
}

/* The status and its error have to agree; the error is released. */
static void add_outcome(tokens *result, yc_status status, yc_error *error) {
    bool agree = status < 0 ? yc_error_status(error) == status && *yc_error_message(error) : !error;
    add_status(result, status);
    if (!agree) add_word(result, "but-its-error-does-not-agree");
    yc_error_free(error);
}

static void add_value(tokens *result, yc_value *value) {
    size_t len;
    const void *data = yc_value_data(value, &len);
    tokens_add(result, TOKEN_QUOTED, data, len);
    yc_value_free(value);
}

static void add_count(tokens *result, uint64_t count) {
    if (count == YC_COUNT_UNKNOWN) add_word(result, "unknown");
    else add_text(result, "%" PRIu64, count);
}

/* ---- Arguments of steps ---- */

static const bytes *argument(const runner *run, const statement *step, size_t at) {
    if (at >= step->n_arguments) stop(run, "an argument is missing");
    return &step->arguments[at];
}

static int64_t read_ttl(const bytes *text) {
    if (bytes_are(text, "default")) return YC_TTL_DEFAULT;
    return bytes_are(text, "never") ? YC_TTL_NEVER : (int64_t)strtoll(text->data, NULL, 10);
}

static int64_t ttl_option(const statement *step) {
    const named *option = statement_option(step, "ttl");
    return option ? read_ttl(&option->values[0]) : YC_TTL_DEFAULT;
}

static size_t number_option(const statement *step, const char *name, size_t otherwise) {
    const named *option = statement_option(step, name);
    return option ? (size_t)strtoull(option->values[0].data, NULL, 10) : otherwise;
}

/* Bytes in blocks of exactly their size, so that a tool sees a read beyond them. */
static yc_slice *new_slices(const bytes *texts, size_t count, size_t stride) {
    yc_slice *slices = calloc(count + 1, sizeof *slices);
    for (size_t at = 0; at < count; at++) slices[at] = (yc_slice){texts[at * stride].data, texts[at * stride].len};
    return slices;
}

static yc_slice *tags_option(const statement *step, size_t *count) {
    const named *option = statement_option(step, "tags");
    *count = option ? option->count : 0;
    return option ? new_slices(option->values, option->count, 1) : NULL;
}

static bool wants_ok(const statement *step) { return step->n_wanted == 1 && token_is(step->wanted, "ok"); }

/* ---- Operations ---- */

typedef void operation_fn(runner *run, yc_cache *cache, const statement *step, tokens *result);

static void run_get(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *key = argument(run, step, 0);
    yc_value *value = NULL;
    yc_error *error;
    yc_status status = yc_get(cache, key->data, key->len, &value, &error);
    if (status == YC_OK) add_value(result, value);
    else add_outcome(result, status, error);
}

/* How large a buffer the value needs now. */
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

/* What an invalidation answered: its count where one was asked for. */
static void add_removed(tokens *result, yc_status status, yc_error *error, const uint64_t *removed) {
    if (status == YC_OK && removed) add_count(result, *removed);
    else add_outcome(result, status, error);
}

static void run_invalidate_tag(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *tag = argument(run, step, 0);
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = yc_invalidate_tag(cache, tag->data, tag->len, removed, &error);
    add_removed(result, status, error, removed);
}

static void run_invalidate_tags(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_slice *tags = new_slices(step->arguments, step->n_arguments, 1);
    yc_error *error;
    yc_status status = yc_invalidate_tags(cache, tags, step->n_arguments, removed, &error);
    add_removed(result, status, error, removed);
    free(tags);
}

static void run_invalidate_pattern(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *pattern = argument(run, step, 0);
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = yc_invalidate_pattern(cache, pattern->data, pattern->len, removed, &error);
    add_removed(result, status, error, removed);
}

static void run_flush(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    uint64_t count = 0, *removed = wants_ok(step) ? NULL : &count;
    yc_error *error;
    yc_status status = yc_flush(cache, removed, &error);
    add_removed(result, status, error, removed);
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
    yc_cursor *cursor = NULL;
    yc_error *error;
    yc_status status = yc_keys_open(cache, pattern->data, pattern->len, &cursor, &error);
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

/* What stands behind `"name":` in a report, as a text to be freed; NULL when nothing does. Releases the report. */
static char *member(yc_value *json, const char *name) {
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
    long milliseconds = strtol(argument(run, step, 0)->data, NULL, 10);
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) continue;
    add_word(result, "ok");
}

/* ---- Opening ---- */

static void append(char *text, size_t room, const bytes *more) {
    if (strlen(text) + more->len + 1 > room) {
        fputs("a cache's options are too long\n", stderr);
        exit(2);
    }
    strncat(text, more->data, more->len);
}

static void append_options(char *text, size_t room, const statement *step) {
    static char ampersand[] = "&", equals[] = "=";
    for (size_t at = 0; at < step->n_options; at++) {
        const named *option = &step->options[at];
        if (bytes_are(option->name, "suffix")) continue;
        append(text, room, &(bytes){ampersand, 1});
        append(text, room, option->name);
        append(text, room, &(bytes){equals, 1});
        append(text, room, &option->values[0]);
    }
}

static void write_url(const runner *run, char *url, size_t room, const char *suffix, const char *options) {
    snprintf(url, room, "%s%ckey_prefix=%s%s%s%s", run->url, strchr(run->url, '?') ? '&' : '?', run->prefix, suffix,
             run->of_case.options, options);
}

static yc_status open_cache_as(runner *run, const char *name, const char *suffix, const char *options, yc_error **error) {
    char url[2 * MAX_OPTIONS];
    if (run->n_caches == MAX_CACHES) stop(run, "too many caches in one case");
    open_cache *place = &run->caches[run->n_caches];
    snprintf(place->name, sizeof place->name, "%s", name);
    write_url(run, url, sizeof url, suffix, options);
    yc_status status = yc_open(url, &place->cache, error);
    run->n_caches += status == YC_OK;
    return status;
}

static void run_open(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    const named *suffix = statement_option(step, "suffix");
    char options[MAX_OPTIONS] = "";
    append_options(options, sizeof options, step);
    yc_error *error;
    yc_status status =
        open_cache_as(run, argument(run, step, 0)->data, suffix ? suffix->values[0].data : "", options, &error);
    add_outcome(result, status, error);
}

static void run_check_config(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    char options[MAX_OPTIONS] = "", url[2 * MAX_OPTIONS];
    append_options(options, sizeof options, step);
    write_url(run, url, sizeof url, "", options);
    yc_error *error;
    yc_status status = yc_config_check(url, NULL, &error);
    add_outcome(result, status, error);
}

static void run_switch(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    bool copies = step->n_arguments > 1 && bytes_are(&step->arguments[1], "copy");
    yc_error *error;
    yc_status status = yc_switch(cache, argument(run, step, 0)->data, copies ? "{copy: true}" : NULL, NULL, &error);
    add_outcome(result, status, error);
}

static yc_cache *find_cache(runner *run, const bytes *name);

static void run_migrate(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    yc_value *report = NULL;
    yc_error *error;
    yc_cache *target = find_cache(run, argument(run, step, 0));
    yc_status status = yc_migrate(cache, target, NULL, NULL, NULL, NULL, &report, &error);
    if (status != YC_OK) {
        add_outcome(result, status, error);
        return;
    }
    char *copied = member(report, "copied");
    add_text(result, "%lld", copied ? strtoll(copied, NULL, 10) : -1);
    free(copied);
}

static const struct {
    const char *name;
    operation_fn *run;
} OPERATIONS[] = {
    {"get", run_get},
    {"get_into", run_get_into},
    {"set", run_set},
    {"delete", run_delete},
    {"exists", run_exists},
    {"expire", run_expire},
    {"ttl", run_ttl},
    {"invalidate_tag", run_invalidate_tag},
    {"invalidate_tags", run_invalidate_tags},
    {"invalidate_pattern", run_invalidate_pattern},
    {"flush", run_flush},
    {"keys", run_keys},
    {"search", run_search},
    {"get_many", run_get_many},
    {"set_many", run_set_many},
    {"delete_many", run_delete_many},
    {"size", run_size},
    {"stats", run_stats},
    {"health", run_health},
    {"metrics", run_metrics},
    {"check_config", run_check_config},
    {"ping", run_ping},
    {"close", run_close},
    {"sleep", run_sleep},
    {"open", run_open},
    {"switch", run_switch},
    {"migrate", run_migrate},
};

static operation_fn *find_operation(const runner *run, const statement *step) {
    for (size_t at = 0; at < sizeof OPERATIONS / sizeof *OPERATIONS; at++) {
        if (bytes_are(step->operation, OPERATIONS[at].name)) return OPERATIONS[at].run;
    }
    stop(run, "there is no such operation");
    return NULL;
}

/* ---- Cases ---- */

/* By its name, also with the colon of a step; without one the first. */
static yc_cache *find_cache(runner *run, const bytes *name) {
    if (!name) return run->caches[0].cache;
    size_t len = name->data[name->len - 1] == ':' ? name->len - 1 : name->len;
    for (size_t at = 1; at < run->n_caches; at++) {
        const char *other = run->caches[at].name;
        if (strlen(other) == len && strncmp(other, name->data, len) == 0) return run->caches[at].cache;
    }
    stop(run, "no cache of this name was opened");
    return NULL;
}

static void fail(runner *run, const statement *step, const tokens *came) {
    printf("FAILED %s:%d: case %s\n  wanted: ", run->file, step->line, run->name);
    tokens_print(step->wanted, step->n_wanted);
    printf("\n  came:   ");
    tokens_print(came->items, came->count);
    putchar('\n');
    run->state = STATE_FAILED;
}

static void check(runner *run, const statement *step, tokens *came) {
    if (run->state == STATE_RUNNING && !tokens_match(step->wanted, step->n_wanted, came->items, came->count)) {
        fail(run, step, came);
    }
    tokens_free(came);
}

static void run_step(runner *run, const statement *step) {
    tokens came = {NULL, 0};
    find_operation(run, step)(run, find_cache(run, step->cache), step, &came);
    check(run, step, &came);
}

/* Leaves nothing in a shared store. */
static void close_caches(runner *run) {
    while (run->n_caches) {
        yc_cache *cache = run->caches[--run->n_caches].cache;
        yc_flush(cache, NULL, NULL);
        yc_close(cache, -1, NULL);
        yc_cache_free(cache);
    }
}

static bool applies(runner *run) {
    uint64_t can = 0;
    if (run->of_case.wrong_scheme) return false;
    if (yc_capabilities(run->caches[0].cache, &can, NULL) != YC_OK) stop(run, "the cache does not say what it can do");
    return (can & run->of_case.needs) == run->of_case.needs && !(can & run->of_case.lacks);
}

static void fail_to_open(runner *run, yc_error *error) {
    printf("FAILED %s:%d: case %s\n  its cache did not open: %s\n", run->file, run->line, run->name, yc_error_message(error));
    yc_error_free(error);
    run->state = STATE_FAILED;
}

/* Opens the case's cache, at its first step. */
static void start_case(runner *run) {
    yc_error *error = NULL;
    run->state = STATE_RUNNING;
    if (run->of_case.wrong_scheme) run->state = STATE_PASSED_BY;
    else if (open_cache_as(run, "", "", "", &error) != YC_OK) fail_to_open(run, error);
    else if (!applies(run)) run->state = STATE_PASSED_BY;
}

static void end_case(runner *run) {
    if (run->state == STATE_FRESH) stop(run, "the case above has no step");
    run->cases += run->state != STATE_NONE;
    run->passed += run->state == STATE_RUNNING;
    run->failed += run->state == STATE_FAILED;
    run->not_applicable += run->state == STATE_PASSED_BY;
    close_caches(run);
    run->state = STATE_NONE;
}

static void begin_case(runner *run, const char *name) {
    end_case(run);
    run->state = STATE_FRESH;
    run->of_case = run->of_file;
    snprintf(run->name, sizeof run->name, "%.*s", (int)strcspn(name, "\r\n"), name);
    snprintf(run->prefix, sizeof run->prefix, "t%ld.%u.%lld-", (long)getpid(), run->cases, (long long)time(NULL));
}

/* ---- Batches ---- */

static const struct {
    const char *name;
    int32_t kind;
} KINDS[] = {
    {"get", YC_OP_GET},
    {"set", YC_OP_SET},
    {"delete", YC_OP_DELETE},
    {"exists", YC_OP_EXISTS},
    {"expire", YC_OP_EXPIRE},
    {"ttl", YC_OP_TTL},
    {"invalidate_tags", YC_OP_INVALIDATE_TAGS},
    {"invalidate_pattern", YC_OP_INVALIDATE_PATTERN},
    {"flush", YC_OP_FLUSH},
    {"ping", YC_OP_PING},
};

static int32_t find_kind(const runner *run, const statement *step) {
    for (size_t at = 0; at < sizeof KINDS / sizeof *KINDS; at++) {
        if (bytes_are(step->operation, KINDS[at].name)) return KINDS[at].kind;
    }
    stop(run, "a batch has no such operation");
    return 0;
}

static void fill_key(yc_op *op, const bytes *key) {
    op->key = key->data;
    op->key_len = key->len;
}

static void fill_value(yc_op *op, const bytes *value) {
    op->value = value->data;
    op->value_len = value->len;
}

static yc_slice *fill_operation(const runner *run, const statement *step, yc_op *op) {
    yc_slice *tags = NULL;
    op->kind = find_kind(run, step);
    op->ttl_ms = ttl_option(step);
    op->flags = wants_ok(step) ? 0 : op->kind == YC_OP_INVALIDATE_TAGS || op->kind == YC_OP_FLUSH ? YC_OP_COUNT : 0;
    if (op->kind <= YC_OP_TTL || op->kind == YC_OP_INVALIDATE_PATTERN) fill_key(op, argument(run, step, 0));
    if (op->kind == YC_OP_SET) {
        fill_value(op, argument(run, step, 1));
        tags = tags_option(step, &op->n_tags);
    }
    if (op->kind == YC_OP_EXPIRE) op->ttl_ms = read_ttl(argument(run, step, 1));
    if (op->kind == YC_OP_INVALIDATE_TAGS) {
        op->n_tags = step->n_arguments;
        tags = new_slices(step->arguments, step->n_arguments, 1);
    }
    op->tags = tags;
    return tags;
}

static bool counts(const yc_op *op, const statement *step) {
    return op->kind >= YC_OP_INVALIDATE_TAGS && op->kind <= YC_OP_FLUSH && !wants_ok(step);
}

static void check_operation(runner *run, const statement *step, yc_op *op) {
    tokens came = {NULL, 0};
    if (op->status != YC_OK) add_outcome(&came, op->status, op->error);
    else if (op->kind == YC_OP_GET) add_value(&came, op->result);
    else if (op->kind == YC_OP_TTL) add_text(&came, "%" PRId64, op->remaining_ms);
    else if (counts(op, step)) add_count(&came, op->removed);
    else add_outcome(&came, op->status, op->error);
    check(run, step, &came);
}

static void run_batch(runner *run) {
    size_t count = run->n_batch;
    yc_op *ops = calloc(count + 1, sizeof *ops);
    yc_slice **tags = calloc(count + 1, sizeof *tags);
    tokens came = {NULL, 0};
    yc_error *error;
    for (size_t at = 0; at < count; at++) tags[at] = fill_operation(run, &run->batch[at], &ops[at]);
    yc_status status = yc_batch(find_cache(run, run->batch_step.cache), ops, count, sizeof *ops, &error);
    add_outcome(&came, status, error);
    check(run, &run->batch_step, &came);
    for (size_t at = 0; at < count; at++) {
        if (status == YC_OK) check_operation(run, &run->batch[at], &ops[at]);
        free(tags[at]);
    }
    free(tags);
    free(ops);
}

/* A batch ends before the first line that is none of its operations. */
static void end_batch(runner *run) {
    if (!run->in_batch) return;
    if (run->state == STATE_RUNNING) run_batch(run);
    for (size_t at = 0; at < run->n_batch; at++) statement_free(&run->batch[at]);
    statement_free(&run->batch_step);
    free(run->batch);
    run->batch = NULL;
    run->n_batch = 0;
    run->in_batch = false;
}

static void add_to_batch(runner *run, statement step) {
    if (!run->in_batch) stop(run, "no batch stands above this");
    run->batch = realloc(run->batch, (run->n_batch + 1) * sizeof *run->batch);
    run->batch[run->n_batch++] = step;
}

/* ---- Lines ---- */

static uint64_t capability(const runner *run, const bytes *name) {
    if (bytes_are(name, "list")) return YC_CAN_LIST;
    if (bytes_are(name, "count")) return YC_CAN_COUNT;
    if (bytes_are(name, "share")) return YC_CAN_SHARE;
    if (!bytes_are(name, "size")) stop(run, "there is no such capability");
    return YC_CAN_SIZE;
}

static bool is_scheme(const runner *run, const bytes *name) {
    return strncmp(run->url, name->data, name->len) == 0 && run->url[name->len] == ':';
}

/* Whether the line was `with`, `needs`, `lacks` or `only`, and did what it says. */
static bool read_condition(runner *run, const statement *step) {
    conditions *on = run->state == STATE_NONE ? &run->of_file : &run->of_case;
    bool with = bytes_are(step->operation, "with"), needs = bytes_are(step->operation, "needs");
    bool lacks = bytes_are(step->operation, "lacks"), only = bytes_are(step->operation, "only"), fits = false;
    if (!(with || needs || lacks || only)) return false;
    if (run->state != STATE_NONE && run->state != STATE_FRESH) stop(run, "this stands behind a step of its case");
    if (with) append_options(on->options, sizeof on->options, step);
    for (size_t at = 0; at < step->n_arguments; at++) {
        if (needs) on->needs |= capability(run, &step->arguments[at]);
        if (lacks) on->lacks |= capability(run, &step->arguments[at]);
        fits |= only && is_scheme(run, &step->arguments[at]);
    }
    on->wrong_scheme |= only && !fits;
    return true;
}

/* Runs a step, or keeps it for its batch; whether it is to be freed now. */
static bool take_step(runner *run, statement *step, bool of_batch) {
    if (of_batch) {
        add_to_batch(run, *step);
        return false;
    }
    if (read_condition(run, step)) return true;
    if (run->state == STATE_NONE) stop(run, "this step belongs to no case");
    if (run->state == STATE_FRESH) start_case(run);
    if (bytes_are(step->operation, "batch")) {
        run->in_batch = true;
        run->batch_step = *step;
        return false;
    }
    if (run->state == STATE_RUNNING) run_step(run, step);
    return true;
}

static void read_step(runner *run, const char *line) {
    tokens words = {NULL, 0};
    statement step;
    const char *wrong = tokens_read(line, &words);
    if (wrong) stop(run, wrong);
    if (!words.count) {
        tokens_free(&words);
        return;
    }
    bool of_batch = words.items[0].kind == TOKEN_MARK && token_is(&words.items[0], "|");
    if (!of_batch) end_batch(run);
    wrong = statement_read(words, of_batch ? 1 : 0, run->line, &step);
    if (wrong) stop(run, wrong);
    if (take_step(run, &step, of_batch)) statement_free(&step);
}

static void read_line(runner *run, const char *line) {
    line += strspn(line, " \t");
    if (strncmp(line, "case ", 5) != 0) {
        read_step(run, line);
        return;
    }
    end_batch(run);
    begin_case(run, line + 5);
}

static void run_file(runner *run, const char *path) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    run->file = path;
    run->of_file = (conditions){.options = ""};
    if (!file) stop(run, "cannot be read");
    for (run->line = 1; getline(&line, &room, file) >= 0; run->line++) read_line(run, line);
    end_batch(run);
    end_case(run);
    free(line);
    fclose(file);
}

int main(int count, char **files) {
    const char *url = getenv("YC_TEST_URL");
    runner run = {.url = url ? url : "memory://"};
    for (int at = 1; at < count; at++) run_file(&run, files[at]);
    printf("conformance: %u cases, %u passed, %u failed, %u not applicable\n", run.cases, run.passed, run.failed, run.not_applicable);
    return run.failed || !run.cases;
}
