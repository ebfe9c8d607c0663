/* From the library to JavaScript: writes short values into the slab of JavaScript, and creates objects for the others. */
#include "binding.h"

#include <string.h>

/* The replies of one call of drain() or run(), and the places that they are written to. */
typedef struct turn {
    napi_env env;
    handle *cache;
    span slab;
    size_t slab_at;
    napi_value objects; /* Two places for each reply: the result, and the text of its error. */
    uint32_t count;
    size_t taken;
} turn;

static bool put(turn *turn, uint32_t place, napi_value object) {
    return check(turn->env, napi_set_element(turn->env, turn->objects, 2 * turn->count + place, object));
}

/* ---- Values ---- */

static bool put_large(turn *turn, reply *to, const void *data, size_t len) {
    napi_value copy;
    to->shape = SHAPE_OBJECT;
    return check(turn->env, napi_create_buffer_copy(turn->env, len, data, NULL, &copy)) && put(turn, 0, copy);
}

static bool fits(const turn *turn, const yc_value *value) {
    size_t len = 0;
    yc_value_data(value, &len);
    return len > SMALL_VALUE || len <= turn->slab.len - turn->slab_at;
}

static bool put_value(turn *turn, reply *to, const yc_value *value) {
    size_t len = 0;
    const void *data = yc_value_data(value, &len);
    if (len > SMALL_VALUE || !fits(turn, value)) return put_large(turn, to, data, len);
    memcpy(turn->slab.data + turn->slab_at, data, len);
    to->shape = SHAPE_SLAB;
    to->at = (uint32_t)turn->slab_at;
    to->len = (uint32_t)len;
    turn->slab_at += len;
    return true;
}

/* ---- Lists: one block of fixed records, then the bytes one after another ---- */

static uint8_t *put_block(turn *turn, reply *to, size_t records, size_t bytes) {
    napi_value block;
    void *data = NULL;
    to->shape = SHAPE_OBJECT;
    bool made = check(turn->env, napi_create_arraybuffer(turn->env, records + bytes, &data, &block)) && put(turn, 0, block);
    return made ? data : NULL;
}

typedef struct result_record {
    int32_t status;
    uint32_t len;
} result_record;

static bool put_results(turn *turn, reply *to, const yc_results *results) {
    size_t count, total = 0, len;
    const yc_status *statuses = yc_results_statuses(results, &count);
    const yc_value *const *values = yc_results_values(results, NULL);
    for (size_t at = 0; at < count; at++) total += (yc_value_data(values[at], &len), len);
    to->number = (double)count;
    if (!count) return true;
    uint8_t *block = put_block(turn, to, count * sizeof(result_record), total);
    if (!block) return false;
    uint8_t *bytes = block + count * sizeof(result_record);
    for (size_t at = 0; at < count; at++) {
        const void *data = yc_value_data(values[at], &len);
        memcpy(block + at * sizeof(result_record), &(result_record){statuses[at], (uint32_t)len}, sizeof(result_record));
        if (len) memcpy(bytes, data, len);
        bytes += len;
    }
    return true;
}

static bool put_keys(turn *turn, reply *to, const yc_keys *keys) {
    size_t count, total = 0;
    const yc_slice *slices = yc_keys_data(keys, &count);
    for (size_t at = 0; at < count; at++) total += slices[at].len;
    uint8_t *block = put_block(turn, to, count * sizeof(uint32_t), total);
    if (!block) return false;
    uint8_t *bytes = block + count * sizeof(uint32_t);
    for (size_t at = 0; at < count; at++) {
        memcpy(block + at * sizeof(uint32_t), &(uint32_t){(uint32_t)slices[at].len}, sizeof(uint32_t));
        memcpy(bytes, slices[at].data, slices[at].len);
        bytes += slices[at].len;
    }
    to->number = (double)count;
    return true;
}

typedef struct match_record {
    double score;
    uint32_t len, zero;
} match_record;

static bool put_matches(turn *turn, reply *to, const yc_matches *matches) {
    size_t count = yc_matches_count(matches), total = 0;
    for (size_t at = 0; at < count; at++) total += yc_matches_at(matches, at)->key.len;
    to->number = (double)count;
    if (!count) return true;
    uint8_t *block = put_block(turn, to, count * sizeof(match_record), total);
    if (!block) return false;
    uint8_t *bytes = block + count * sizeof(match_record);
    for (size_t at = 0; at < count; at++) {
        const yc_match *match = yc_matches_at(matches, at);
        memcpy(block + at * sizeof(match_record), &(match_record){match->score, (uint32_t)match->key.len, 0}, sizeof(match_record));
        memcpy(bytes, match->key.data, match->key.len);
        bytes += match->key.len;
    }
    return true;
}

/* A reply to a command, or an element of one: this record, then the bytes of a text or the elements of an array. */
typedef struct reply_record {
    int32_t kind;
    uint32_t len; /* Of the text or the array. */
    int64_t number;
} reply_record;

static size_t reply_size(const yc_reply *reply) {
    size_t size = 0;
    yc_reply_string(reply, &size);
    size += sizeof(reply_record);
    for (size_t at = 0; at < yc_reply_count(reply); at++) size += reply_size(yc_reply_at(reply, at));
    return size;
}

static uint8_t *write_reply(const yc_reply *reply, uint8_t *to) {
    size_t len, count = yc_reply_count(reply);
    const void *text = yc_reply_string(reply, &len);
    memcpy(to, &(reply_record){yc_reply_kind(reply), (uint32_t)(len + count), yc_reply_integer(reply)}, sizeof(reply_record));
    to += sizeof(reply_record);
    if (len) memcpy(to, text, len);
    to += len;
    for (size_t at = 0; at < count; at++) to = write_reply(yc_reply_at(reply, at), to);
    return to;
}

static bool put_command_reply(turn *turn, reply *to, const yc_reply *reply) {
    uint8_t *block = put_block(turn, to, reply_size(reply), 0);
    if (block) write_reply(reply, block);
    return block;
}

/* ---- Replies ---- */

static bool put_error(turn *turn, reply *to, const yc_error *error) {
    napi_value text;
    const char *message = yc_error_message(error);
    to->number = yc_error_retryable(error);
    return check(turn->env, napi_create_string_utf8(turn->env, message, strlen(message), &text)) && put(turn, 1, text);
}

static void put_number(reply *to, const yc_completion *done) {
    if (done->kind == YC_OP_TTL) {
        to->number = (double)done->remaining_ms;
    } else if (done->kind == YC_OP_GET_VERSIONED || done->kind == YC_OP_SET_IF) {
        to->whole = done->version;
    } else if (done->kind == YC_OP_COUNTER_ADD) {
        to->whole = (uint64_t)done->number;
    } else if (done->kind == YC_OP_PUBLISH) {
        to->number = (double)done->number;
    } else {
        to->number = done->removed == YC_COUNT_UNKNOWN ? -1 : (double)done->removed;
    }
}

/* Writes version, age, remaining time and number of tags, which JavaScript reads as integers of 64 bits; behind them the names of the tags,
   each with its length in 32 bits. */
static bool put_info(turn *turn, const yc_completion *done) {
    napi_value block;
    void *data = NULL;
    int64_t words[] = {(int64_t)done->version, done->number, done->remaining_ms, (int64_t)done->tag_count};
    size_t size = sizeof words, len;
    for (size_t at = 0; yc_value_tag(done->result, at, &len); at++) size += sizeof(uint32_t) + len;
    if (!check(turn->env, napi_create_arraybuffer(turn->env, size, &data, &block))) return false;
    memcpy(data, words, sizeof words);
    uint8_t *to = (uint8_t *)data + sizeof words;
    const void *tag;
    for (size_t at = 0; (tag = yc_value_tag(done->result, at, &len)); at++) {
        uint32_t length = (uint32_t)len;
        memcpy(to, &length, sizeof length);
        memcpy(to + sizeof length, tag, len);
        to += sizeof length + len;
    }
    return put(turn, 1, block);
}

/* Moves a lease into the table. It is last, so that a reply that failed leaves it to yc_completion_clear(). */
static bool put_lease(turn *turn, reply *to, yc_completion *done) {
    to->lease = keep_lease(turn->cache, done->lease);
    if (!to->lease) return throw_text(turn->env, "out of memory"), false;
    done->lease = NULL;
    return true;
}

static bool put_reply(turn *turn, yc_completion *done) {
    reply *to = &turn->cache->replies[turn->count];
    *to = (reply){.slot = (uint32_t)done->user_data, .status = done->status};
    put_number(to, done);
    bool has_info = done->kind == YC_OP_GET_INFO && done->status == YC_OK;
    bool put = (!has_info || put_info(turn, done)) && (!done->result || put_value(turn, to, done->result)) && (!done->results || put_results(turn, to, done->results)) &&
               (!done->keys || put_keys(turn, to, done->keys)) && (!done->matches || put_matches(turn, to, done->matches)) &&
               (!done->reply || put_command_reply(turn, to, done->reply)) && (!done->error || put_error(turn, to, done->error)) && (!done->lease || put_lease(turn, to, done));
    turn->count += put;
    return put;
}

/* Takes completions if none is left; returns true if there is one. */
static bool refill(handle *cache) {
    if (cache->done_at < cache->done_count) return true;
    cache->done_at = cache->done_count = 0;
    yc_queue_poll(cache->queue, cache->done, BATCH, sizeof(yc_completion), &cache->done_count, NULL);
    return cache->done_count > 0;
}

static bool reply_once(turn *turn) {
    handle *cache = turn->cache;
    yc_completion *done = &cache->done[cache->done_at];
    if (done->result && !fits(turn, done->result)) return false;
    bool replied = put_reply(turn, done);
    /* A reply that failed for lack of memory is dropped with an exception, so that it is never delivered twice. */
    cache->done_at += 1;
    turn->taken += 1;
    yc_completion_clear(done);
    return replied;
}

static bool begin_turn(napi_env env, napi_value *given, turn *turn) {
    uint32_t at = 0;
    handle *cache = handle_of(env, given[0]);
    span slab = bytes_of(env, given[1]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[2], &at))) return false;
    /* If a user detached the slab, only its remaining room is lost. */
    *turn = (struct turn){.env = env, .cache = cache, .slab = slab, .slab_at = at < slab.len ? at : slab.len, .objects = given[3]};
    return true;
}

/* drain(handle, slab, at, objects) returns the number of replies, plus 65536 if there may be more. */
napi_value drain(napi_env env, napi_callback_info info) {
    napi_value given[4], result = NULL;
    turn turn;
    if (!arguments(env, info, 4, given) || !begin_turn(env, given, &turn)) return NULL;
    bool more = refill(turn.cache);
    while (more && reply_once(&turn)) more = turn.cache->done_at < turn.cache->done_count;
    more = more || turn.cache->done_count == BATCH;
    flights_ended(turn.cache, turn.taken);
    check(env, napi_create_uint32(env, turn.count + (more ? 65536 : 0), &result));
    return result;
}

static yc_completion completion_of(const yc_op *op) {
    return (yc_completion){.user_data = op->user_data, .status = op->status, .kind = op->kind, .result = op->result,
                           .error = op->error, .remaining_ms = op->remaining_ms, .removed = op->removed,
                           .version = op->version, .number = op->number, .tag_count = op->tag_count, .reply = op->reply,
                           .lease = op->kind == YC_OP_GET_OR_LEASE ? op->lease : NULL};
}

/* run(handle, slab, at, objects, arena) runs the first request and writes its reply, or returns an error. */
napi_value run(napi_env env, napi_callback_info info) {
    napi_value given[5];
    turn turn;
    span arena;
    yc_op op;
    yc_error *error = NULL;
    if (!arguments(env, info, 5, given) || !begin_turn(env, given, &turn) || !arena_of(env, turn.cache, given[4], &arena)) return NULL;
    yc_status status = run_first(turn.cache, arena, &op, &error);
    if (status < 0) return error ? error_of(env, error) : throw_text(env, "the request is malformed");
    yc_completion done = completion_of(&op);
    put_reply(&turn, &done);
    yc_completion_clear(&done);
    return NULL;
}
