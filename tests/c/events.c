/* Runs the steps of events. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint64_t kind;
} KINDS[] = {{"tag", YC_EVENT_TAG},       {"pattern", YC_EVENT_PATTERN}, {"flush", YC_EVENT_FLUSH}, {"delete", YC_EVENT_DELETE},
             {"switch", YC_EVENT_SWITCH}, {"begin", YC_EVENT_FALLBACK_BEGIN}, {"end", YC_EVENT_FALLBACK_END}, {"gap", YC_EVENT_GAP}};

enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static uint64_t kinds_option(runner *run, const statement *step) {
    const named *option = statement_option(step, "kinds");
    uint64_t kinds = 0;
    for (size_t at = 0; option && at < option->count; at++) {
        size_t kind = 0;
        while (kind < N_KINDS && !bytes_are(&option->values[at], KINDS[kind].name)) kind++;
        if (kind == N_KINDS) stop(run, "there is no such kind of event");
        kinds |= KINDS[kind].kind;
    }
    return kinds;
}

static yc_slice *slices_option(const statement *step, const char *name, size_t *count) {
    const named *option = statement_option(step, name);
    *count = option ? option->count : 0;
    return option ? new_slices(option->values, option->count, 1) : NULL;
}

void run_events(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    yc_events_filter filter = {.struct_size = sizeof filter, .kinds = kinds_option(run, step), .max_bytes = (uint64_t)signed_option(step, "max_bytes", 0)};
    yc_slice *tags = slices_option(step, "tags", &filter.n_tags), *keys = slices_option(step, "keys", &filter.n_keys);
    filter.tags = tags, filter.keys = keys, filter.flags = signed_option(step, "own", 0) ? YC_EVENTS_OWN : 0;
    yc_events *events = NULL;
    yc_error *error;
    yc_status status = yc_events_open(cache, &filter, &events, &error);
    add_outcome(result, status, error);
    if (status == YC_OK) {
        if (run->n_events == MAX_SUBSCRIPTIONS) stop(run, "too many readers of events in one case");
        named_events *place = &run->events[run->n_events++];
        snprintf(place->name, sizeof place->name, "%s", argument(run, step, 0)->data);
        place->events = events;
    }
    free(tags);
    free(keys);
}

static yc_events *find_events(runner *run, const bytes *name) {
    for (size_t at = run->n_events; at; at--) {
        if (bytes_are(name, run->events[at - 1].name)) return run->events[at - 1].events;
    }
    stop(run, "there is no reader of events of this name");
    return NULL;
}

static void add_event(tokens *result, const yc_event *event) {
    size_t len, kind = 0;
    const void *name = yc_event_name(event, &len);
    while (kind < N_KINDS - 1 && KINDS[kind].kind != yc_event_kind(event)) kind++;
    add_mark(result, "[");
    add_word(result, KINDS[kind].name);
    if (KINDS[kind].kind == YC_EVENT_GAP) add_text(result, "%" PRId64, yc_event_lost(event) == YC_COUNT_UNKNOWN ? -1 : (int64_t)yc_event_lost(event));
    else tokens_add(result, TOKEN_QUOTED, name, len);
    if (yc_event_is_own(event)) add_word(result, "own");
    add_mark(result, "]");
}

void run_next_event(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    yc_event *event = NULL;
    yc_error *error;
    yc_status status = yc_events_next(find_events(run, argument(run, step, 0)), signed_option(step, "wait", 10000), &event, &error);
    if (status == YC_OK) add_event(result, event);
    else add_outcome(result, status, error);
    yc_event_free(event);
}

void free_events(runner *run) {
    while (run->n_events) yc_events_free(run->events[--run->n_events].events);
}
