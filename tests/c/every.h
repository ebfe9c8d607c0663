/* Every function that takes a cache, each as one call that releases what it gets: for what must hold of all. */
#ifndef EVERY_H
#define EVERY_H

#include "calls.h"

typedef struct every_call {
    const char *name;
    yc_status (*run)(yc_cache *cache, yc_error **err);
} every_call;

static yc_status every_get(yc_cache *cache, yc_error **err) {
    yc_value *value = NULL;
    yc_status status = yc_get(cache, "a", 1, &value, err);
    yc_value_free(value);
    return status;
}

static yc_status every_get_into(yc_cache *cache, yc_error **err) {
    char buffer[64];
    size_t len;
    return yc_get_into(cache, "a", 1, buffer, sizeof buffer, &len, err);
}

static yc_status every_get_near(yc_cache *cache, yc_error **err) {
    char buffer[64];
    size_t len;
    return yc_get_near(cache, "a", 1, buffer, sizeof buffer, &len, err);
}

static yc_status every_set(yc_cache *cache, yc_error **err) {
    yc_slice tags[2] = {slice("t"), slice("u")};
    return yc_set(cache, "a", 1, "value", 5, 60000, tags, 2, err);
}

static yc_status every_delete(yc_cache *cache, yc_error **err) { return yc_delete(cache, "d", 1, err); }
static yc_status every_exists(yc_cache *cache, yc_error **err) { return yc_exists(cache, "a", 1, err); }
static yc_status every_expire(yc_cache *cache, yc_error **err) { return yc_expire(cache, "a", 1, 60000, err); }

static yc_status every_ttl(yc_cache *cache, yc_error **err) {
    int64_t left;
    return yc_ttl(cache, "a", 1, &left, err);
}

static yc_status every_get_info(yc_cache *cache, yc_error **err) {
    yc_entry_info info = YC_ENTRY_INFO_INIT;
    yc_value *value = NULL;
    yc_status status = yc_get_info(cache, "a", 1, 0, &value, &info, err);
    yc_value_free(value);
    return status;
}

static yc_status every_get_versioned(yc_cache *cache, yc_error **err) {
    yc_value *value = NULL;
    uint64_t version;
    yc_status status = yc_get_versioned(cache, "a", 1, &value, &version, err);
    yc_value_free(value);
    return status;
}

static yc_status every_set_if(yc_cache *cache, yc_error **err) {
    yc_slice tags[2] = {slice("t"), slice("u")};
    uint64_t version;
    return yc_set_if(cache, "s", 1, "value", 5, 60000, tags, 2, YC_IF_PRESENT, 0, &version, err);
}

static yc_status every_delete_if(yc_cache *cache, yc_error **err) { return yc_delete_if(cache, "a", 1, 1, err); }

static yc_status every_get_and_expire(yc_cache *cache, yc_error **err) {
    yc_value *value = NULL;
    yc_status status = yc_get_and_expire(cache, "a", 1, 60000, &value, err);
    yc_value_free(value);
    return status;
}

/* Replaces the status of a backend that has no commands, or of a cache without generations. */
static yc_status unless_unsupported(yc_status status, yc_error **err) {
    if (status != YC_E_UNSUPPORTED) return status;
    if (err) {
        yc_error_free(*err);
        *err = NULL;
    }
    return YC_OK;
}

static yc_status every_redis_command(yc_cache *cache, yc_error **err) {
    yc_slice args[] = {slice("PING")};
    yc_reply *reply = NULL;
    yc_status status = yc_redis_command(cache, args, 1, YC_NO_KEY, &reply, err);
    yc_reply_free(reply);
    return unless_unsupported(status, err);
}

static yc_status every_redis_name(yc_cache *cache, yc_error **err) {
    yc_value *name = NULL;
    yc_status status = yc_redis_name(cache, "k", 1, &name, err);
    yc_value_free(name);
    return unless_unsupported(status, err);
}

static yc_status every_publish(yc_cache *cache, yc_error **err) {
    return unless_unsupported(yc_publish(cache, "news", 4, "hello", 5, NULL, err), err);
}

static yc_status every_subscribe(yc_cache *cache, yc_error **err) {
    yc_slice channels[] = {slice("news")}, patterns[] = {slice("n*")};
    yc_filter filter = {.struct_size = sizeof filter, .channels = channels, .n_channels = 1, .patterns = patterns, .n_patterns = 1};
    yc_subscription *subscription = NULL;
    yc_status status = yc_subscribe(cache, &filter, &subscription, err);
    yc_subscription_free(subscription);
    return unless_unsupported(status, err);
}

static yc_status every_events_open(yc_cache *cache, yc_error **err) {
    yc_slice tags[] = {slice("t")}, keys[] = {slice("k*")};
    yc_events_filter filter = {.struct_size = sizeof filter, .tags = tags, .n_tags = 1, .keys = keys, .n_keys = 1};
    yc_events *events = NULL;
    yc_status status = yc_events_open(cache, &filter, &events, err);
    yc_events_free(events);
    return unless_unsupported(status, err);
}

static yc_status every_counter_add(yc_cache *cache, yc_error **err) {
    int64_t sum;
    return yc_counter_add(cache, "n", 1, 1, 0, 60000, &sum, err);
}

static yc_status every_invalidate_tag(yc_cache *cache, yc_error **err) {
    uint64_t removed;
    return yc_invalidate_tag(cache, "x", 1, &removed, err);
}

static yc_status every_invalidate_tags(yc_cache *cache, yc_error **err) {
    yc_slice tags[2] = {slice("x"), slice("y")};
    return yc_invalidate_tags(cache, tags, 2, NULL, err);
}

static yc_status every_invalidate_pattern(yc_cache *cache, yc_error **err) {
    return yc_invalidate_pattern(cache, "x[a-z]*", 7, NULL, err);
}

static yc_status every_clear(yc_cache *cache, yc_error **err) {
    uint64_t removed;
    return unless_unsupported(yc_clear(cache, &removed, err), err);
}

static yc_status every_flush(yc_cache *cache, yc_error **err) {
    uint64_t removed;
    return yc_flush(cache, &removed, err);
}

/* A listing, from its opening to its end. */
static yc_status every_keys(yc_cache *cache, yc_error **err) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    yc_status status = yc_keys_open(cache, "*", 1, &cursor, err);
    while (status == YC_OK && (status = yc_keys_next(cursor, 2, &page, err)) == YC_OK) {
        size_t count;
        CHECK(yc_keys_data(page, &count) != NULL && count >= 1 && count <= 2);
        yc_keys_free(page);
    }
    yc_cursor_free(cursor);
    return status == YC_END ? YC_OK : status;
}

/* The same with tags. */
static yc_status every_keys_tagged(yc_cache *cache, yc_error **err) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    yc_slice tags[2] = {{"x", 1}, {"y", 1}};
    yc_status status = yc_keys_open_tagged(cache, "*", 1, tags, 2, &cursor, err);
    while (status == YC_OK && (status = yc_keys_next(cursor, 2, &page, err)) == YC_OK) yc_keys_free(page);
    yc_cursor_free(cursor);
    return status == YC_END ? YC_OK : status;
}

static yc_status every_search(yc_cache *cache, yc_error **err) {
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    yc_matches *matches = NULL;
    yc_status status = yc_search(cache, "query", 5, &options, &matches, err);
    yc_matches_free(matches);
    return status;
}

static yc_status every_get_many(yc_cache *cache, yc_error **err) {
    yc_slice keys[2] = {slice("a"), slice("none")};
    yc_value *values[2] = {NULL, NULL};
    yc_status statuses[2], status = yc_get_many(cache, keys, 2, values, statuses, err);
    yc_value_free(values[0]);
    yc_value_free(values[1]);
    return status;
}

static yc_status every_set_many(yc_cache *cache, yc_error **err) {
    yc_slice keys[2] = {slice("b"), slice("c")}, values[2] = {slice("v"), slice("")}, tag = slice("t");
    return yc_set_many(cache, keys, values, 2, YC_TTL_DEFAULT, &tag, 1, NULL, err);
}

static yc_status every_delete_many(yc_cache *cache, yc_error **err) {
    yc_slice keys[2] = {slice("d"), slice("e")};
    yc_status statuses[2];
    return yc_delete_many(cache, keys, 2, statuses, err);
}

static yc_status every_batch(yc_cache *cache, yc_error **err) {
    yc_op ops[2] = {{.kind = YC_OP_SET, .key = "f", .key_len = 1, .ttl_ms = 60000}, {.kind = YC_OP_GET, .key = "f", .key_len = 1}};
    yc_status status = yc_batch(cache, ops, 2, sizeof(yc_op), err);
    yc_value_free(ops[1].result);
    yc_error_free(ops[0].error);
    yc_error_free(ops[1].error);
    return status;
}

static yc_status every_stats(yc_cache *cache, yc_error **err) {
    yc_value *json = NULL;
    yc_status status = yc_stats(cache, &json, err);
    yc_value_free(json);
    return status;
}

static yc_status every_health(yc_cache *cache, yc_error **err) {
    yc_value *json = NULL;
    yc_status status = yc_health(cache, &json, err);
    yc_value_free(json);
    return status;
}

static yc_status every_explain(yc_cache *cache, yc_error **err) {
    yc_value *json = NULL;
    yc_slice tag = slice("t");
    yc_status status = yc_explain(cache, "a", 1, &tag, 1, &json, err);
    yc_value_free(json);
    return status;
}

static yc_status every_metrics(yc_cache *cache, yc_error **err) {
    yc_value *text = NULL;
    yc_status status = yc_metrics(cache, &text, err);
    yc_value_free(text);
    return status;
}

/* A cache that is closed is left out of the text: that is no error. NULL is one. */
static yc_status every_metrics_many(yc_cache *cache, yc_error **err) {
    yc_value *text = NULL;
    const char *name = "a";
    yc_status status = yc_metrics_many(&cache, &name, 1, &text, err);
    yc_value_free(text);
    return status;
}

static yc_status every_size(yc_cache *cache, yc_error **err) {
    uint64_t keys, bytes;
    return yc_size(cache, &keys, &bytes, err);
}

static yc_status every_ping(yc_cache *cache, yc_error **err) { return yc_ping(cache, err); }

static yc_status every_capabilities(yc_cache *cache, yc_error **err) {
    uint64_t flags;
    return yc_capabilities(cache, &flags, err);
}

/* A queue from its opening to its end, with what is done at once and what is not. */
static yc_status every_queue(yc_cache *cache, yc_error **err) {
    yc_queue *queue = NULL;
    yc_op ops[2] = {{.kind = YC_OP_GET, .key = "a", .key_len = 1}, {.kind = YC_OP_INVALIDATE_PATTERN, .key = "none", .key_len = 4}};
    yc_completion came[2];
    size_t accepted = 0, count = 0;
    yc_status status = yc_queue_open(cache, 8, NULL, NULL, NULL, &queue, err);
    if (status == YC_OK) status = yc_queue_submit(queue, ops, 2, sizeof *ops, NULL, &accepted, err);
    for (size_t taken = 0; taken < accepted; taken += count) {
        count = 0;
        if (!CHECK(yc_queue_wait(queue, came, 2, sizeof *came, 20000, &count, NULL) == YC_OK)) break;
        for (size_t at = 0; at < count; at++) yc_completion_clear(&came[at]);
    }
    if (status == YC_OK) CHECK(yc_queue_close(queue, -1, NULL) == YC_OK);
    yc_queue_free(queue);
    return status;
}

static void supply_none(void *data, yc_credentials_request *request) {
    (void)data;
    CHECK_STATUS(yc_credentials_fail(request, "none", 4, NULL), YC_OK);
}

/* The caches of tests leave their credentials to no callback. */
static yc_status every_set_credentials(yc_cache *cache, yc_error **err) {
    return unless_unsupported(yc_set_credentials(cache, supply_none, NULL, NULL, err), err);
}

/* A view, from its opening to its end, with a read through it. */
static yc_status every_view(yc_cache *cache, yc_error **err) {
    yc_cache *view = NULL;
    yc_status status = yc_view(cache, "{namespace: n, timeout: 30s, tags: [t]}", &view, err);
    if (status == YC_OK) status = every_get(view, err);
    yc_cache_free(view);
    return status;
}

static void ignore_span(void *data, int32_t phase, const yc_span *span) { (void)data, (void)phase, (void)span; }

static yc_status every_set_trace(yc_cache *cache, yc_error **err) {
    yc_status status = yc_set_trace(cache, NULL, ignore_span, NULL, NULL, err);
    /* Another thread may close the cache in between. */
    return status == YC_OK ? yc_set_trace(cache, NULL, NULL, NULL, NULL, err) : status;
}

static const every_call EVERY[] = {
    {"yc_set", every_set},
    {"yc_set_many", every_set_many},
    {"yc_get", every_get},
    {"yc_get_into", every_get_into},
    {"yc_get_near", every_get_near},
    {"yc_delete", every_delete},
    {"yc_exists", every_exists},
    {"yc_expire", every_expire},
    {"yc_ttl", every_ttl},
    {"yc_get_info", every_get_info},
    {"yc_get_versioned", every_get_versioned},
    {"yc_set_if", every_set_if},
    {"yc_delete_if", every_delete_if},
    {"yc_get_and_expire", every_get_and_expire},
    {"yc_counter_add", every_counter_add},
    {"yc_redis_command", every_redis_command},
    {"yc_publish", every_publish},
    {"yc_subscribe", every_subscribe},
    {"yc_events_open", every_events_open},
    {"yc_redis_name", every_redis_name},
    {"yc_invalidate_tag", every_invalidate_tag},
    {"yc_invalidate_tags", every_invalidate_tags},
    {"yc_invalidate_pattern", every_invalidate_pattern},
    {"yc_keys_open", every_keys},
    {"yc_keys_open_tagged", every_keys_tagged},
    {"yc_search", every_search},
    {"yc_get_many", every_get_many},
    {"yc_delete_many", every_delete_many},
    {"yc_batch", every_batch},
    {"yc_stats", every_stats},
    {"yc_health", every_health},
    {"yc_explain", every_explain},
    {"yc_metrics", every_metrics},
    {"yc_metrics_many", every_metrics_many},
    {"yc_size", every_size},
    {"yc_ping", every_ping},
    {"yc_capabilities", every_capabilities},
    {"yc_queue_open", every_queue},
    {"yc_view", every_view},
    {"yc_set_trace", every_set_trace},
    {"yc_set_credentials", every_set_credentials},
    {"yc_clear", every_clear},
    {"yc_flush", every_flush},
};

enum { EVERY_COUNT = sizeof EVERY / sizeof *EVERY };

#endif
