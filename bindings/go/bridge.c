/* Implements bridge.h. */
#include "bridge.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number of operations submitted together; their array is on the stack. */
enum { CHUNK = 64 };

void *yoked_go_allocate(size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        fputs("yokedcache: out of memory\n", stderr);
        abort();
    }
    return memory;
}

/* ---- Reading records ---- */

/* A reader of the payload. */
typedef struct payload {
    const uint64_t *lengths;
    const uint8_t *at;
} payload;

static const uint8_t *next_bytes(payload *rest, size_t len)
{
    const uint8_t *bytes = rest->at;
    rest->at += len;
    return bytes;
}

static payload payload_of(const yoked_go_record *record)
{
    const void *start = record->outside ? (const void *)record->outside : record + 1;
    payload rest = {start, (const uint8_t *)start + record->n_list * sizeof(uint64_t)};
    return rest;
}

/* Reads the strings of the list into an array of n places. */
static void read_list(payload *rest, yc_slice *places, size_t n)
{
    for (size_t at = 0; at < n; at++) {
        places[at].len = rest->lengths[at];
        places[at].data = next_bytes(rest, places[at].len);
    }
}

/* Returns an array that the caller releases, or NULL for an empty list. */
static yc_slice *read_new_list(const yoked_go_record *record, payload *rest)
{
    if (record->n_list == 0) return NULL;
    yc_slice *list = yoked_go_allocate(record->n_list * sizeof *list);
    read_list(rest, list, record->n_list);
    return list;
}

/* The struct that an operation on a lease has in place of a value. */
typedef union argument {
    yc_lease_options options;
    yc_fill fill;
} argument;

static void make_lease_options(const yoked_go_record *record, const yc_op *op, yc_lease_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->lease_ms = record->number;
    options->wait_ms = record->initial;
    options->tags = op->tags;
    options->n_tags = op->n_tags;
}

static void make_fill(const yoked_go_record *record, const yc_op *op, yc_fill *fill)
{
    memset(fill, 0, sizeof *fill);
    fill->struct_size = sizeof *fill;
    fill->flags = record->flags;
    fill->value = op->value;
    fill->value_len = op->value_len;
    fill->ttl_ms = record->ttl_ms;
    fill->stale_for_ms = record->number;
    fill->tags = op->tags;
    fill->n_tags = op->n_tags;
}

/* Makes an operation on a lease of one that was read as the others are. */
static void make_lease_op(const yoked_go_record *record, yc_op *op, argument *argument)
{
    if (record->kind == YC_OP_GET_OR_LEASE) {
        make_lease_options(record, op, &argument->options);
        op->value = &argument->options;
        op->value_len = sizeof argument->options;
    } else if (record->kind == YC_OP_LEASE_FILL) {
        make_fill(record, op, &argument->fill);
        op->value = &argument->fill;
        op->value_len = sizeof argument->fill;
    }
    op->lease = (yc_lease *)record->handle;
    op->flags = record->kind == YC_OP_GET_OR_LEASE ? record->flags : 0;
    op->tags = NULL;
    op->n_tags = 0;
    op->number = op->initial = 0;
}

static bool is_lease_op(const yoked_go_record *record)
{
    return record->kind >= YC_OP_GET_OR_LEASE && record->kind <= YC_OP_LEASE_ABANDON;
}

/*
 * Reads an operation, which points to the argument and to the record. Returns its tags in an array that the
 * caller releases.
 */
static yc_slice *read_op(const yoked_go_record *record, yc_op *op, argument *argument)
{
    payload rest = payload_of(record);
    memset(op, 0, sizeof *op);
    op->kind = record->kind;
    op->flags = record->flags;
    op->ttl_ms = record->ttl_ms;
    op->user_data = record->user_data;
    op->condition = record->condition;
    op->version = record->version;
    op->number = record->number;
    op->initial = record->initial;
    op->key_len = record->key_len;
    op->key = next_bytes(&rest, record->key_len);
    op->value_len = record->value_len;
    op->value = next_bytes(&rest, record->value_len);
    yc_slice *tags = read_new_list(record, &rest);
    op->tags = tags;
    op->n_tags = record->n_list;
    if (is_lease_op(record)) make_lease_op(record, op, argument);
    return tags;
}

/* ---- Submitting ---- */

typedef struct submission {
    yc_queue *queue;
    uint64_t *tickets; /* Of the records that follow. */
    yc_error **refusal;
    const yoked_go_record *records[CHUNK];
    yc_op ops[CHUNK];
    argument arguments[CHUNK];
    yc_slice *lists[CHUNK];
    size_t n;
} submission;

/* Keeps the last refusal. */
static void refuse(submission *to, yc_error *why)
{
    yc_error_free(*to->refusal);
    *to->refusal = why;
}

/* A refused operation gets ticket 0; those after it are submitted again. */
static void submit_ops(submission *to)
{
    size_t at = 0, accepted;
    memset(to->tickets, 0, to->n * sizeof *to->tickets);
    while (at < to->n) {
        yc_error *error;
        yc_status status = yc_queue_submit(to->queue, to->ops + at, to->n - at, sizeof *to->ops, to->tickets + at, &accepted, &error);
        if (status == YC_OK) return;
        refuse(to, error);
        if (status != YC_E_BUSY) return;
        at += accepted + 1;
    }
}

static void flush(submission *to)
{
    if (to->n) submit_ops(to);
    to->tickets += to->n;
    for (size_t at = 0; at < to->n; at++) {
        free(to->lists[at]);
        free((void *)to->records[at]->outside);
    }
    to->n = 0;
}

static void add_op(submission *to, const yoked_go_record *record)
{
    if (to->n == CHUNK) flush(to);
    to->records[to->n] = record;
    to->lists[to->n] = read_op(record, &to->ops[to->n], &to->arguments[to->n]);
    to->n++;
}

static yc_status submit_search(yc_queue *queue, const yoked_go_record *record, payload *rest, uint64_t *ticket, yc_error **error)
{
    const uint8_t *query = next_bytes(rest, record->key_len);
    yc_slice *tags = read_new_list(record, rest);
    yc_search_options options = YC_SEARCH_OPTIONS_INIT;
    options.threshold = record->threshold;
    options.limit = record->limit;
    options.tags = tags;
    options.n_tags = record->n_list;
    yc_status status = yc_queue_search(queue, query, record->key_len, &options, record->user_data, ticket, error);
    free(tags);
    return status;
}

static yc_status submit_many(yc_queue *queue, const yoked_go_record *record, payload *rest, uint64_t *ticket, yc_error **error)
{
    size_t n = record->n_keys;
    yc_slice *list = read_new_list(record, rest);
    yc_status status;
    if (record->kind == YC_OP_GET_MANY)
        status = yc_queue_get_many(queue, list, n, record->user_data, ticket, error);
    else if (record->kind == YC_OP_DELETE_MANY)
        status = yc_queue_delete_many(queue, list, n, record->user_data, ticket, error);
    else
        status = yc_queue_set_many(queue, list, list ? list + n : NULL, n, record->ttl_ms, list ? list + 2 * n : NULL,
                                   record->n_list - 2 * n, record->user_data, ticket, error);
    free(list);
    return status;
}

/* Submits an operation that has a function of its own. */
static void submit_other(submission *to, const yoked_go_record *record)
{
    payload rest = payload_of(record);
    uint64_t *ticket = to->tickets++;
    yc_error *error;
    yc_status status;
    *ticket = 0;
    if (record->kind == YC_OP_KEYS_NEXT)
        status = yc_queue_keys_next(to->queue, (yc_cursor *)record->handle, record->limit, record->user_data, ticket, &error);
    else if (record->kind == YC_OP_SUBSCRIPTION_NEXT)
        status = yc_queue_subscription_next(to->queue, (yc_subscription *)record->handle, record->user_data, ticket, &error);
    else if (record->kind == YC_OP_EVENTS_NEXT)
        status = yc_queue_events_next(to->queue, (yc_events *)record->handle, record->user_data, ticket, &error);
    else if (record->kind == YC_OP_SEARCH)
        status = submit_search(to->queue, record, &rest, ticket, &error);
    else
        status = submit_many(to->queue, record, &rest, ticket, &error);
    if (status != YC_OK) {
        *ticket = 0;
        refuse(to, error);
    }
    free((void *)record->outside);
}

static bool is_op(const yoked_go_record *record)
{
    return record->kind <= YC_OP_METRICS || (record->kind >= YC_OP_GET_VERSIONED && record->kind <= YC_OP_PUBLISH) ||
           record->kind == YC_OP_GET_INFO || record->kind == YC_OP_CLEAR;
}

void yoked_go_submit(yc_queue *queue, const uint8_t *block, size_t size, uint64_t *tickets, uint64_t context, yc_error **refusal)
{
    submission to;
    uint64_t before = yc_set_trace_context(context);
    to.queue = queue;
    to.tickets = tickets;
    to.refusal = refusal;
    to.n = 0;
    *refusal = NULL;
    for (size_t at = 0; at < size;) {
        const yoked_go_record *record = (const yoked_go_record *)(block + at);
        at += record->size;
        if (is_op(record)) {
            add_op(&to, record);
        } else {
            flush(&to);
            submit_other(&to, record);
        }
    }
    flush(&to);
    yc_set_trace_context(before);
}

/* ---- Calls on the calling thread ---- */

yoked_go_answer yoked_go_get(yc_cache *cache, bool near, const uint8_t *key, size_t key_len, uint8_t *buffer, size_t cap)
{
    yoked_go_answer answer = {0, 0, NULL};
    answer.status = near ? yc_get_near(cache, key, key_len, buffer, cap, &answer.len, &answer.error)
                         : yc_get_into(cache, key, key_len, buffer, cap, &answer.len, &answer.error);
    return answer;
}

yoked_go_answer yoked_go_set(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *value,
                             size_t value_len, int64_t ttl_ms)
{
    yoked_go_answer answer = {0, 0, NULL};
    answer.status = yc_set(cache, key, key_len, value, value_len, ttl_ms, NULL, 0, &answer.error);
    return answer;
}

/* The number of tags whose slices are on the stack. */
enum { FEW_TAGS = 8 };

/* Copies a value that fits into the buffer, and releases it. */
static void copy_short_value(yoked_go_found *found, uint8_t *buffer, size_t cap)
{
    const void *data = yc_value_data(found->value, &found->len);
    if (found->len > cap) return;
    memcpy(buffer, data, found->len);
    yc_value_free(found->value);
    found->value = NULL;
}

yoked_go_found yoked_go_get_or_lease(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *tags,
                                     size_t n_tags, int64_t lease_ms, uint8_t *buffer, size_t cap)
{
    yoked_go_found found = {0, 0, NULL, NULL, NULL};
    yc_slice few[FEW_TAGS];
    yc_slice *list = n_tags <= FEW_TAGS ? few : yoked_go_allocate(n_tags * sizeof *list);
    payload rest = {(const uint64_t *)tags, tags + n_tags * sizeof(uint64_t)};
    read_list(&rest, list, n_tags);
    yc_lease_options options = {.struct_size = sizeof options, .lease_ms = lease_ms, .wait_ms = -1};
    options.tags = list;
    options.n_tags = n_tags;
    found.status = yc_get_or_lease(cache, key, key_len, &options, &found.value, &found.lease, &found.error);
    if (list != few) free(list);
    if (found.status >= 0 && found.value) copy_short_value(&found, buffer, cap);
    return found;
}

yc_status yoked_go_keys_open(yc_cache *cache, const uint8_t *pattern, size_t pattern_len, const uint8_t *tags,
                             size_t n_tags, yc_cursor **out, yc_error **error)
{
    yc_slice few[FEW_TAGS];
    yc_slice *list = n_tags <= FEW_TAGS ? few : yoked_go_allocate(n_tags * sizeof *list);
    payload rest = {(const uint64_t *)tags, tags + n_tags * sizeof(uint64_t)};
    read_list(&rest, list, n_tags);
    yc_status status = yc_keys_open_tagged(cache, pattern, pattern_len, list, n_tags, out, error);
    if (list != few) free(list);
    return status;
}

void yoked_go_run(yc_cache *cache, yc_cancel_token *token, const uint8_t *block, yoked_go_done *done, yc_error **error)
{
    const yoked_go_record *record = (const yoked_go_record *)block;
    yc_op op;
    argument argument;
    yc_slice *tags = read_op(record, &op, &argument);
    done->status = token ? yc_batch_cancellable(cache, &op, 1, sizeof op, token, error)
                         : yc_batch(cache, &op, 1, sizeof op, error);
    if (done->status == YC_OK) {
        done->status = op.status;
        done->remaining_ms = op.remaining_ms;
        done->removed = op.removed;
        done->version = op.version;
        done->number = op.number;
        done->tag_count = op.tag_count;
        done->handle = op.reply ? (void *)op.reply : op.result;
        done->lease = record->kind == YC_OP_GET_OR_LEASE ? op.lease : NULL;
        *error = op.error;
    }
    free(tags);
    free((void *)record->outside);
}

/* Records one key, and the error of the first that failed. */
static void describe_read(const yc_op *op, yoked_go_read *read, yc_error **first)
{
    read->status = op->status;
    read->value = op->result;
    read->len = 0;
    read->data = op->result ? yc_value_data(op->result, &read->len) : NULL;
    if (*first) yc_error_free(op->error);
    else *first = op->error;
}

yoked_go_reads yoked_go_get_many(yc_cache *cache, yc_cancel_token *token, const uint8_t *block, size_t n, uint32_t flags)
{
    yoked_go_reads all = {YC_OK, NULL, NULL};
    payload rest = {(const uint64_t *)block, block + n * sizeof(uint64_t)};
    yc_op *ops = yoked_go_allocate(n * sizeof *ops);
    memset(ops, 0, n * sizeof *ops);
    for (size_t at = 0; at < n; at++) {
        ops[at].kind = YC_OP_GET;
        ops[at].flags = flags;
        ops[at].key_len = rest.lengths[at];
        ops[at].key = next_bytes(&rest, ops[at].key_len);
    }
    all.status = token ? yc_batch_cancellable(cache, ops, n, sizeof *ops, token, &all.error)
                       : yc_batch(cache, ops, n, sizeof *ops, &all.error);
    if (all.status == YC_OK) {
        all.reads = yoked_go_allocate(n * sizeof *all.reads);
        all.error = NULL;
        for (size_t at = 0; at < n; at++) describe_read(&ops[at], &all.reads[at], &all.error);
    }
    free(ops);
    return all;
}

void yoked_go_free_reads(yoked_go_read *reads, size_t n)
{
    for (size_t at = 0; at < n; at++) yc_value_free(reads[at].value);
    free(reads);
}

/* ---- Taking completions ---- */

yoked_go_reader *yoked_go_reader_new(void)
{
    yoked_go_reader *reader = yoked_go_allocate(sizeof *reader);
    reader->n_held = 0;
    return reader;
}

static void release(yoked_go_reader *reader)
{
    for (size_t at = 0; at < reader->n_held; at++) yc_completion_clear(&reader->held[at]);
    reader->n_held = 0;
}

void yoked_go_reader_free(yoked_go_reader *reader)
{
    release(reader);
    free(reader);
}

/* Passes ownership of a handle to the caller. */
static void *hand_over(yc_completion *completion)
{
    void *handle = NULL;
    if (completion->results) handle = completion->results;
    if (completion->keys) handle = completion->keys;
    if (completion->matches) handle = completion->matches;
    if (completion->reply) handle = completion->reply;
    if (completion->message) handle = completion->message;
    if (completion->event) handle = completion->event;
    completion->results = NULL;
    completion->keys = NULL;
    completion->matches = NULL;
    completion->reply = NULL;
    completion->message = NULL;
    completion->event = NULL;
    return handle;
}

static void describe_value(yc_completion *completion, yoked_go_done *done)
{
    done->data = yc_value_data(completion->result, &done->len);
    if (done->len > YOKED_GO_SHORT || yc_value_tag(completion->result, 0, NULL)) {
        done->handle = completion->result;
        completion->result = NULL;
    }
}

static void describe(yc_completion *completion, yoked_go_done *done)
{
    done->user_data = completion->user_data;
    done->status = completion->status;
    done->message = NULL;
    done->data = NULL;
    done->handle = hand_over(completion);
    done->remaining_ms = completion->remaining_ms;
    done->removed = completion->removed;
    done->version = completion->version;
    done->number = completion->number;
    done->tag_count = completion->tag_count;
    done->lease = completion->lease;
    completion->lease = NULL;
    if (completion->result) describe_value(completion, done);
    if (completion->error) {
        done->message = yc_error_message(completion->error);
        done->retryable = yc_error_retryable(completion->error);
    }
}

int yoked_go_take(yc_queue *queue, yoked_go_reader *reader)
{
    size_t count = 0;
    release(reader);
    if (yc_queue_poll(queue, reader->held, YOKED_GO_BATCH, sizeof *reader->held, &count, NULL) != YC_OK) return -1;
    reader->n_held = count;
    for (size_t at = 0; at < count; at++) describe(&reader->held[at], &reader->done[at]);
    return (int)count;
}

/* ---- Replies ---- */

yc_status yoked_go_redis_name(yc_cache *cache, const uint8_t *key, size_t key_len, yc_value **name, yc_error **error)
{
    return yc_redis_name(cache, key, key_len, name, error);
}

size_t yoked_go_reply_size(const yc_reply *reply)
{
    size_t size = 0;
    yc_reply_string(reply, &size);
    size += sizeof(yoked_go_reply);
    for (size_t at = 0; at < yc_reply_count(reply); at++) size += yoked_go_reply_size(yc_reply_at(reply, at));
    return size;
}

static uint8_t *write_reply(const yc_reply *reply, uint8_t *to)
{
    size_t len, count = yc_reply_count(reply);
    const void *text = yc_reply_string(reply, &len);
    yoked_go_reply record = {(uint64_t)yc_reply_kind(reply), (int64_t)(len + count) + yc_reply_integer(reply)};
    memcpy(to, &record, sizeof record);
    to += sizeof record;
    if (len) memcpy(to, text, len);
    to += len;
    for (size_t at = 0; at < count; at++) to = write_reply(yc_reply_at(reply, at), to);
    return to;
}

void yoked_go_reply_write(const yc_reply *reply, uint8_t *block)
{
    write_reply(reply, block);
}

/* ---- Messages ---- */

yc_status yoked_go_subscribe(yc_cache *cache, const uint8_t *block, size_t n_channels, size_t n_patterns, uint64_t max_bytes,
                             yc_subscription **subscription, yc_error **error)
{
    size_t n = n_channels + n_patterns;
    payload rest = {(const uint64_t *)block, block + n * sizeof(uint64_t)};
    yc_slice *list = yoked_go_allocate(n * sizeof *list);
    read_list(&rest, list, n);
    yc_filter filter = {.struct_size = sizeof filter, .max_bytes = max_bytes};
    filter.channels = list;
    filter.n_channels = n_channels;
    filter.patterns = list + n_channels;
    filter.n_patterns = n_patterns;
    yc_status status = yc_subscribe(cache, &filter, subscription, error);
    free(list);
    return status;
}

yc_message *yoked_go_waiting(yc_subscription *subscription)
{
    yc_message *message = NULL;
    yc_subscription_next(subscription, 0, &message, NULL);
    return message;
}

yoked_go_parts yoked_go_message(const yc_message *message)
{
    yoked_go_parts parts;
    parts.channel = yc_message_channel(message, &parts.channel_len);
    parts.data = yc_message_data(message, &parts.len);
    parts.lost = yc_message_lost(message);
    /* Go takes only pointers into memory: the library's to no bytes may be any number. */
    if (parts.channel_len == 0) parts.channel = NULL;
    if (parts.len == 0) parts.data = NULL;
    return parts;
}

/* ---- Events ---- */

yc_status yoked_go_events_open(yc_cache *cache, const uint8_t *block, size_t n_tags, size_t n_keys, uint64_t kinds, bool own,
                               uint64_t max_bytes, yc_events **events, yc_error **error)
{
    size_t n = n_tags + n_keys;
    payload rest = {(const uint64_t *)block, block + n * sizeof(uint64_t)};
    yc_slice *list = yoked_go_allocate(n * sizeof *list);
    read_list(&rest, list, n);
    yc_events_filter filter = {.struct_size = sizeof filter, .kinds = kinds, .max_bytes = max_bytes};
    filter.flags = own ? YC_EVENTS_OWN : 0;
    filter.tags = list;
    filter.n_tags = n_tags;
    filter.keys = list + n_tags;
    filter.n_keys = n_keys;
    yc_status status = yc_events_open(cache, &filter, events, error);
    free(list);
    return status;
}

yc_event *yoked_go_event_waiting(yc_events *events)
{
    yc_event *event = NULL;
    yc_events_next(events, 0, &event, NULL);
    return event;
}

yoked_go_event yoked_go_event_parts(const yc_event *event)
{
    yoked_go_event parts;
    parts.name = yc_event_name(event, &parts.name_len);
    /* As in yoked_go_message(). */
    if (parts.name_len == 0) parts.name = NULL;
    parts.kind = yc_event_kind(event);
    parts.origin = yc_event_origin(event);
    parts.sequence = yc_event_sequence(event);
    parts.lost = yc_event_lost(event);
    parts.time_ms = yc_event_time_ms(event);
    parts.is_own = yc_event_is_own(event);
    return parts;
}

/* ---- Results of many keys ---- */

void yoked_go_values(const yc_results *results, yc_slice *values, yc_status *statuses, size_t n)
{
    size_t count;
    const yc_status *found = yc_results_statuses(results, &count);
    const yc_value *const *data = yc_results_values(results, NULL);
    for (size_t at = 0; at < n && at < count; at++) {
        statuses[at] = found[at];
        if (values) values[at].data = yc_value_data(data[at], &values[at].len);
    }
}

/* Go closes the descriptors of its poller, so this must not be the queue's own. */
yc_status yoked_go_fd(yc_queue *queue, int *fd, yc_error **error)
{
    int own;
    yc_status status = yc_queue_fd(queue, &own, error);
    if (status != YC_OK) return status;
    *fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
    return *fd < 0 ? YC_E_BUSY : YC_OK;
}
