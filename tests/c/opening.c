/* Opens, switches and finds the caches of a conformance case. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(char *text, size_t room, const bytes *more) {
    if (strlen(text) + more->len + 1 > room) {
        fputs("a cache's options are too long\n", stderr);
        exit(2);
    }
    strncat(text, more->data, more->len);
}

void append_options(char *text, size_t room, const statement *step) {
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
    const char *of_all = getenv("YC_TEST_OPTIONS");
    snprintf(url, room, "%s%ckey_prefix=%s%s%s%s%s%s", run->url, strchr(run->url, '?') ? '&' : '?', run->prefix, suffix,
             of_all ? "&" : "", of_all ? of_all : "", run->of_case.options, options);
}

yc_status open_cache_as(runner *run, const char *name, const char *suffix, const char *options, yc_error **error) {
    char url[2 * MAX_OPTIONS];
    if (run->n_caches == MAX_CACHES) stop(run, "too many caches in one case");
    open_cache *place = &run->caches[run->n_caches];
    snprintf(place->name, sizeof place->name, "%s", name);
    write_url(run, url, sizeof url, suffix, options);
    yc_status status = yc_open(url, &place->cache, error);
    const char *view = getenv("YC_TEST_VIEW");
    place->root = NULL;
    if (status == YC_OK && view) {
        place->root = place->cache;
        status = yc_view(place->root, view, &place->cache, error);
    }
    run->n_caches += status == YC_OK;
    return status;
}

/* Writes the options of a step as a document. */
static void write_document(char *text, size_t room, const statement *step) {
    size_t len = (size_t)snprintf(text, room, "{");
    for (size_t at = 0; at < step->n_options && len < room; at++) {
        const named *option = &step->options[at];
        bool is_list = bytes_are(option->name, "tags");
        len += (size_t)snprintf(text + len, room - len, "%s%s: %s", at ? ", " : "", option->name->data, is_list ? "[" : "");
        for (size_t value = 0; value < option->count && len < room; value++) {
            len += (size_t)snprintf(text + len, room - len, "%s\"%s\"", value ? ", " : "", option->values[value].data);
        }
        if (len < room) len += (size_t)snprintf(text + len, room - len, "%s", is_list ? "]" : "");
    }
    if (len < room) len += (size_t)snprintf(text + len, room - len, "}");
    if (len >= room) {
        fputs("a view's options are too long\n", stderr);
        exit(2);
    }
}

void run_view(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    char options[MAX_OPTIONS];
    if (run->n_caches == MAX_CACHES) stop(run, "too many caches in one case");
    open_cache *place = &run->caches[run->n_caches];
    write_document(options, sizeof options, step);
    snprintf(place->name, sizeof place->name, "%s", argument(run, step, 0)->data);
    place->root = NULL;
    yc_error *error = NULL;
    yc_status status = yc_view(cache, options, &place->cache, &error);
    run->n_caches += status == YC_OK;
    add_outcome(result, status, error);
}

void run_open(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    const named *suffix = statement_option(step, "suffix");
    char options[MAX_OPTIONS] = "";
    append_options(options, sizeof options, step);
    yc_error *error;
    yc_status status =
        open_cache_as(run, argument(run, step, 0)->data, suffix ? suffix->values[0].data : "", options, &error);
    add_outcome(result, status, error);
}

void run_check_config(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    char options[MAX_OPTIONS] = "", url[2 * MAX_OPTIONS];
    append_options(options, sizeof options, step);
    write_url(run, url, sizeof url, "", options);
    yc_error *error;
    yc_status status = yc_config_check(url, NULL, &error);
    add_outcome(result, status, error);
}

void run_switch(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    bool copies = step->n_arguments > 1 && bytes_are(&step->arguments[1], "copy");
    yc_error *error;
    yc_status status = yc_switch(cache, argument(run, step, 0)->data, copies ? "{copy: true}" : NULL, NULL, &error);
    add_outcome(result, status, error);
}

void run_migrate(runner *run, yc_cache *cache, const statement *step, tokens *result) {
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
/* Finds a cache by its name, also with the colon of a step. Without a name, the first cache. */
yc_cache *find_cache(runner *run, const bytes *name) {
    if (!name) return run->caches[0].cache;
    size_t len = name->data[name->len - 1] == ':' ? name->len - 1 : name->len;
    for (size_t at = 1; at < run->n_caches; at++) {
        const char *other = run->caches[at].name;
        if (strlen(other) == len && strncmp(other, name->data, len) == 0) return run->caches[at].cache;
    }
    stop(run, "no cache of this name was opened");
    return NULL;
}
