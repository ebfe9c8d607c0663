/* Readers of events as the tests use them. */
#ifndef EVENT_READERS_H
#define EVENT_READERS_H

#include "calls.h"

/* A filter of these kinds, of all tags and keys, also of the reader's own cache. Valid until the next call. */
static inline const yc_events_filter *kinds_of(uint64_t kinds) {
    static yc_events_filter filter;
    filter = (yc_events_filter){.struct_size = sizeof filter, .flags = YC_EVENTS_OWN, .kinds = kinds};
    return &filter;
}

/* A reader, or the end of the test. */
static inline yc_events *listen_to(yc_cache *cache, const yc_events_filter *filter) {
    yc_events *reader = NULL;
    yc_error *error = NULL;
    if (!CHECK_STATUS(yc_events_open(cache, filter, &reader, &error), YC_OK)) {
        printf("  %s\n", yc_error_message(error));
        exit(check_result());
    }
    return reader;
}

static inline yc_status delete_key(yc_cache *cache, const char *key) { return yc_delete(cache, key, strlen(key), NULL); }
static inline yc_status invalidate(yc_cache *cache, const char *tag) { return yc_invalidate_tag(cache, tag, strlen(tag), NULL, NULL); }

static inline bool is_gap(const yc_event *event) { return yc_event_kind(event) == YC_EVENT_GAP; }

static inline bool is_event(const yc_event *event, uint64_t kind, const char *name) {
    size_t len;
    const void *data = yc_event_name(event, &len);
    return yc_event_kind(event) == kind && data && len == strlen(name) && memcmp(data, name, len) == 0 && yc_event_lost(event) == 0;
}

/* The next event within ten seconds; NULL after a failed check. */
static inline yc_event *next_event(yc_events *reader) {
    yc_event *event = NULL;
    CHECK_STATUS(yc_events_next(reader, 10000, &event, NULL), YC_OK);
    return event;
}

static inline bool next_event_is(yc_events *reader, uint64_t kind, const char *name) {
    yc_event *event = next_event(reader);
    bool is = is_event(event, kind, name);
    if (!is) printf("  kind %d: \"%s\"\n", (int)yc_event_kind(event), event && !is_gap(event) ? (const char *)yc_event_name(event, NULL) : "");
    yc_event_free(event);
    return is;
}

#endif
