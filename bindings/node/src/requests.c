/* From JavaScript to the library: turns requests into operations, alone, in batches, or of many keys. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* ---- Places in the arena ---- */

/* Finds the arena that a call passes, or else the cache's own. */
bool arena_of(napi_env env, handle *cache, napi_value value, span *arena) {
    *arena = bytes_of(env, value);
    if (!arena->data) *arena = (span){(uint8_t *)(uintptr_t)cache->arena, cache->arena_len};
    return true;
}

static bool inside(span arena, size_t at, size_t len) { return at <= arena.len && len <= arena.len - at; }

/* Reads a list: each item is a 32-bit length and its bytes. */
bool read_list(span arena, size_t at, size_t count, yc_slice *slices) {
    for (size_t item = 0; item < count; item++) {
        uint32_t len;
        if (!inside(arena, at, sizeof len)) return false;
        memcpy(&len, arena.data + at, sizeof len);
        at += sizeof len;
        if (!inside(arena, at, len)) return false;
        slices[item] = (yc_slice){arena.data + at, len};
        at += len;
    }
    return true;
}

static bool ensure_slices(handle *cache, size_t count) {
    if (count <= cache->slices_room) return true;
    yc_slice *grown = realloc(cache->slices, count * sizeof *grown);
    if (!grown) return false;
    cache->slices = grown;
    cache->slices_room = count;
    return true;
}

static bool ensure_ticket(handle *cache, size_t slot) {
    size_t count = cache->n_tickets ? cache->n_tickets : BATCH;
    if (slot < cache->n_tickets) return true;
    while (count <= slot) count *= 2;
    yc_ticket *grown = realloc(cache->tickets, count * sizeof *grown);
    if (!grown) return false;
    cache->tickets = grown;
    cache->n_tickets = count;
    return true;
}

/* ---- Operations ---- */

/* Reads the fields that only conditional operations and counters have. */
static void fill_condition(const request *from, yc_op *op) {
    if (from->kind == YC_OP_SET_IF) op->condition = (int32_t)from->limit;
    if (from->kind == YC_OP_SET_IF || from->kind == YC_OP_DELETE_IF) op->version = (uint64_t)from->first;
    if (from->kind == YC_OP_COUNTER_ADD) {
        op->number = from->first;
        op->initial = from->second;
    }
    if (from->kind == YC_OP_REDIS_COMMAND || from->kind == YC_OP_GET_INFO) op->number = (int64_t)from->number;
}

/* Reads the fields that only operations of leases have: op->value points to a struct, which has the tags. */
static bool fill_lease(const handle *cache, const request *from, lease_part *part, yc_op *op) {
    if (from->kind == YC_OP_GET_OR_LEASE) {
        part->options = (yc_lease_options){.struct_size = sizeof part->options, .lease_ms = (int64_t)from->number,
                                           .wait_ms = (int32_t)from->limit, .tags = op->tags, .n_tags = op->n_tags};
        op->value = &part->options;
        op->value_len = sizeof part->options;
        return true;
    }
    op->lease = lease_of(cache, from->limit);
    if (from->kind == YC_OP_LEASE_FILL) {
        part->fill = (yc_fill){.struct_size = sizeof part->fill, .flags = from->flags, .value = op->value, .value_len = op->value_len,
                               .ttl_ms = op->ttl_ms, .stale_for_ms = from->first, .tags = op->tags, .n_tags = op->n_tags};
        op->flags = 0;
        op->value = &part->fill;
        op->value_len = sizeof part->fill;
    }
    return op->lease != NULL;
}

static bool fill(handle *cache, size_t at, span arena, yc_slice *tags) {
    const request *from = &cache->requests[at];
    yc_op *op = &cache->ops[at];
    if (!inside(arena, from->key_at, from->key_len) || !inside(arena, from->value_at, from->value_len)) return false;
    memset(op, 0, sizeof *op);
    op->kind = from->kind;
    op->flags = from->flags;
    op->key = arena.data + from->key_at;
    op->key_len = from->key_len;
    op->value = arena.data + from->value_at;
    op->value_len = from->value_len;
    op->tags = tags;
    op->n_tags = from->n_tags;
    op->ttl_ms = (int64_t)from->number;
    op->user_data = from->slot;
    fill_condition(from, op);
    if (from->n_tags && !read_list(arena, from->tags_at, from->n_tags, tags)) return false;
    bool leases = from->kind >= YC_OP_GET_OR_LEASE && from->kind <= YC_OP_LEASE_ABANDON;
    return !leases || fill_lease(cache, from, &cache->lease_parts[at], op);
}

static bool fill_all(handle *cache, span arena, size_t count) {
    size_t tags = 0, at_tag = 0;
    for (size_t at = 0; at < count; at++) tags += cache->requests[at].n_tags;
    if (!ensure_slices(cache, tags)) return false;
    for (size_t at = 0; at < count; at++) {
        const request *from = &cache->requests[at];
        if (!fill(cache, at, arena, cache->slices + at_tag) || !ensure_ticket(cache, from->slot)) return false;
        at_tag += from->n_tags;
    }
    return true;
}

static napi_value number(napi_env env, double value) {
    napi_value result = NULL;
    check(env, napi_create_double(env, value, &result));
    return result;
}

/* submit(handle, count, arena) returns the number of accepted requests, counted from the first; refusal() has the reason. */
napi_value submit(napi_env env, napi_callback_info info) {
    napi_value given[3];
    uint32_t count = 0;
    span arena;
    size_t accepted = 0;
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[1], &count)) || !arena_of(env, cache, given[2], &arena)) return NULL;
    if (count > BATCH || !fill_all(cache, arena, count)) return throw_text(env, "the requests are malformed");
    yc_queue_submit(cache->queue, cache->ops, count, sizeof(yc_op), cache->new_tickets, &accepted, &error);
    for (size_t at = 0; at < accepted; at++) cache->tickets[cache->requests[at].slot] = cache->new_tickets[at];
    flights_began(cache, accepted);
    yc_error_free(cache->refusal);
    cache->refusal = error;
    return number(env, (double)accepted);
}

/* Runs the first request on the caller's thread, for a cache that answers at once. Reads have calls of their own, which cost less than
   a batch of one. */
yc_status run_first(handle *cache, span arena, yc_op *op, yc_error **error) {
    if (!fill_all(cache, arena, 1)) return YC_E_PANIC;
    *op = cache->ops[0];
    if (op->kind == YC_OP_GET) {
        op->status = yc_get(cache->cache, op->key, op->key_len, &op->result, &op->error);
        return YC_OK;
    }
    if (op->kind == YC_OP_GET_OR_LEASE) {
        op->status = yc_get_or_lease(cache->cache, op->key, op->key_len, op->value, &op->result, &op->lease, &op->error);
        return YC_OK;
    }
    return yc_batch(cache->cache, op, 1, sizeof *op, error);
}

/* ---- Operations of many keys, and searches ---- */

static yc_status submit_many(handle *cache, const request *from, span arena, yc_ticket *ticket, yc_error **error) {
    bool sets = from->kind == YC_OP_SET_MANY;
    size_t n = from->key_len, n_values = sets ? n : 0;
    yc_slice *keys = cache->slices, *values = keys + n, *tags = values + n_values;
    if (!read_list(arena, from->key_at, n, keys) || !read_list(arena, from->value_at, n_values, values) ||
        !read_list(arena, from->tags_at, from->n_tags, tags)) {
        return YC_E_PANIC;
    }
    if (sets) {
        return yc_queue_set_many(cache->queue, keys, values, n, (int64_t)from->number, tags, from->n_tags, from->slot, ticket, error);
    }
    if (from->kind == YC_OP_DELETE_MANY) return yc_queue_delete_many(cache->queue, keys, n, from->slot, ticket, error);
    return yc_queue_get_many(cache->queue, keys, n, from->slot, ticket, error);
}

static yc_status submit_search(handle *cache, const request *from, span arena, yc_ticket *ticket, yc_error **error) {
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    if (!inside(arena, from->key_at, from->key_len) || !read_list(arena, from->tags_at, from->n_tags, cache->slices)) {
        return YC_E_PANIC;
    }
    options.threshold = from->number;
    options.limit = from->limit;
    options.tags = cache->slices;
    options.n_tags = from->n_tags;
    return yc_queue_search(cache->queue, arena.data + from->key_at, from->key_len, &options, from->slot, ticket, error);
}

/* Returns the result of a submission: undefined, or the error. */
static napi_value accepted_or_error(napi_env env, handle *cache, uint32_t slot, yc_status status, yc_ticket ticket, yc_error *error) {
    if (status == YC_OK) {
        cache->tickets[slot] = ticket;
        flights_began(cache, 1);
        return NULL;
    }
    return error ? error_of(env, error) : throw_text(env, "the request is malformed");
}

/* submitOne(handle, arena) submits the first request, of many keys or a search; returns undefined or an error. */
napi_value submit_one(napi_env env, napi_callback_info info) {
    napi_value given[2];
    span arena;
    yc_ticket ticket = 0;
    yc_error *error = NULL;
    if (!arguments(env, info, 2, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !arena_of(env, cache, given[1], &arena)) return NULL;
    const request *from = cache->requests;
    bool searches = from->kind == YC_OP_SEARCH;
    size_t slices = (size_t)from->n_tags + (searches ? 0 : 2 * (size_t)from->key_len);
    if (!ensure_slices(cache, slices + 1) || !ensure_ticket(cache, from->slot)) return throw_text(env, "out of memory");
    yc_status status = (searches ? submit_search : submit_many)(cache, from, arena, &ticket, &error);
    return accepted_or_error(env, cache, from->slot, status, ticket, error);
}

/* ---- Listing ---- */

static void free_cursor(napi_env env, void *cursor, void *hint) {
    (void)env, (void)hint;
    yc_cursor_free(cursor);
}

/* keysOpen(handle, pattern, list, nTags) returns a cursor or an error. The list has so many tags. */
napi_value keys_open(napi_env env, napi_callback_info info) {
    napi_value given[4], external = NULL;
    uint32_t n_tags = 0;
    yc_cursor *cursor = NULL;
    yc_error *error = NULL;
    if (!arguments(env, info, 4, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[3], &n_tags))) return NULL;
    span pattern = bytes_of(env, given[1]);
    if (!ensure_slices(cache, n_tags) || !read_list(bytes_of(env, given[2]), 0, n_tags, cache->slices)) {
        return throw_text(env, "there is no memory for the tags of a listing");
    }
    yc_status status = yc_keys_open_tagged(cache->cache, pattern.data, pattern.len, cache->slices, n_tags, &cursor, &error);
    if (status < 0) return error_of(env, error);
    if (!check(env, napi_create_external(env, cursor, free_cursor, NULL, &external))) yc_cursor_free(cursor);
    return external;
}

/* keysNext(handle, cursor, limit, slot) returns undefined or an error. */
napi_value keys_next(napi_env env, napi_callback_info info) {
    napi_value given[4];
    uint32_t limit = 0, slot = 0;
    void *cursor = NULL;
    yc_ticket ticket = 0;
    yc_error *error = NULL;
    if (!arguments(env, info, 4, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_external(env, given[1], &cursor)) ||
        !check(env, napi_get_value_uint32(env, given[2], &limit)) || !check(env, napi_get_value_uint32(env, given[3], &slot))) {
        return NULL;
    }
    if (!ensure_ticket(cache, slot)) return throw_text(env, "out of memory");
    yc_status status = yc_queue_keys_next(cache->queue, cursor, limit, slot, &ticket, &error);
    return accepted_or_error(env, cache, slot, status, ticket, error);
}

/* cancel(handle, slot) cancels an operation, which still has its completion. */
napi_value cancel(napi_env env, napi_callback_info info) {
    napi_value given[2];
    uint32_t slot = 0;
    if (!arguments(env, info, 2, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[1], &slot))) return NULL;
    if (slot < cache->n_tickets) yc_queue_cancel(cache->queue, cache->tickets[slot], NULL);
    return NULL;
}
