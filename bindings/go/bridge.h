/* Calls of the C ABI in forms that suit Go: many operations in one crossing, without a Go pointer in C memory. */
#ifndef YOKED_GO_BRIDGE_H
#define YOKED_GO_BRIDGE_H

#include <stdbool.h>
#include <yokedcache.h>

/*
 * An operation as Go writes it: this record, its payload, and padding to a multiple of 8 bytes. Records follow
 * each other in one block of bytes. The payload is n_list lengths (uint64_t), the key, the value, and
 * the strings of the list. The list is the tags; of a YC_OP_REDIS_COMMAND the arguments; of a YC_OP_GET_MANY or YC_OP_DELETE_MANY the keys; of a
 * YC_OP_SET_MANY n_keys keys, as many values, and the tags.
 */
typedef struct yoked_go_record {
    uint64_t size; /* Of the whole, padding included. */
    int32_t kind;
    uint32_t flags;
    int64_t ttl_ms;
    uint64_t user_data;
    uint64_t key_len, value_len;
    uint64_t n_list, n_keys;
    uint64_t limit; /* For a search or a page. */
    int32_t condition; /* As in yc_op, and so are the next three. */
    uint64_t version;
    int64_t number;  /* Also the lease_ms of a YC_OP_GET_OR_LEASE, and the stale_for_ms of a YC_OP_LEASE_FILL. */
    int64_t initial; /* Also the wait_ms of a YC_OP_GET_OR_LEASE. */
    double threshold;
    uintptr_t outside; /* The payload, if it does not follow: from yoked_go_allocate(), released once submitted. */
    uintptr_t handle;  /* The yc_cursor of a YC_OP_KEYS_NEXT, the yc_subscription of a YC_OP_SUBSCRIPTION_NEXT, the yc_events of a YC_OP_EVENTS_NEXT, or the yc_lease to fill or to abandon. */
} yoked_go_record;

/* Allocates memory for a payload. Ends the program if the system has no memory, as Go does. */
void *yoked_go_allocate(size_t size);

/*
 * Submits all the records of a block, with a context for their spans. tickets[i] becomes the ticket of record i, or 0 if it was refused;
 * *refusal is then the last reason, to be released with yc_error_free().
 */
void yoked_go_submit(yc_queue *queue, const uint8_t *block, size_t size, uint64_t *tickets, uint64_t context, yc_error **refusal);

/* The result of a call on the calling thread. */
typedef struct yoked_go_answer {
    yc_status status;
    size_t len;
    yc_error *error;
} yoked_go_answer;

/* yc_get_into() or, for what is in the memory of this process only, yc_get_near(); yc_set() without tags. */
yoked_go_answer yoked_go_get(yc_cache *cache, bool near, const uint8_t *key, size_t key_len, uint8_t *buffer, size_t cap);
yoked_go_answer yoked_go_set(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *value,
                             size_t value_len, int64_t ttl_ms);

/* The result of a read for loading on the calling thread. */
typedef struct yoked_go_found {
    yc_status status;
    size_t len;
    yc_value *value; /* A value that is longer than the buffer, else NULL. */
    yc_lease *lease;
    yc_error *error;
} yoked_go_found;

/* yc_get_or_lease() without a wait. tags has n_tags lengths (uint64_t), then the tags. */
yoked_go_found yoked_go_get_or_lease(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *tags,
                                     size_t n_tags, int64_t lease_ms, uint8_t *buffer, size_t cap);

/* tags: see yoked_go_get_or_lease(). */
yc_status yoked_go_keys_open(yc_cache *cache, const uint8_t *pattern, size_t pattern_len, const uint8_t *tags,
                             size_t n_tags, yc_cursor **out, yc_error **error);

yc_status yoked_go_redis_name(yc_cache *cache, const uint8_t *key, size_t key_len, yc_value **name, yc_error **error);

/* A reply as Go reads it: this record, then the bytes of a text or the elements of an array. */
typedef struct yoked_go_reply {
    uint64_t kind;
    int64_t number; /* The integer, the number of elements, or the length of the text. */
} yoked_go_reply;

/* The bytes that yoked_go_reply_write() writes. */
size_t yoked_go_reply_size(const yc_reply *reply);
void yoked_go_reply_write(const yc_reply *reply, uint8_t *block);

/* yc_subscribe(). The block has n_channels + n_patterns lengths (uint64_t), then the channels and the patterns. */
yc_status yoked_go_subscribe(yc_cache *cache, const uint8_t *block, size_t n_channels, size_t n_patterns, uint64_t max_bytes,
                             yc_subscription **subscription, yc_error **error);

/* Takes a message that waits. Returns NULL without one, and if the subscription has ended. */
yc_message *yoked_go_waiting(yc_subscription *subscription);

/* The parts of a message, which point into it. Those of a gap are empty. */
typedef struct yoked_go_parts {
    const uint8_t *channel, *data;
    size_t channel_len, len;
    uint64_t lost;
} yoked_go_parts;

yoked_go_parts yoked_go_message(const yc_message *message);

/* yc_events_open(). The block has n_tags + n_keys lengths (uint64_t), then the tags and the globs of keys. */
yc_status yoked_go_events_open(yc_cache *cache, const uint8_t *block, size_t n_tags, size_t n_keys, uint64_t kinds, bool own,
                               uint64_t max_bytes, yc_events **events, yc_error **error);

/* Takes an event that waits. Returns NULL without one, and if the reader has ended. */
yc_event *yoked_go_event_waiting(yc_events *events);

/* The parts of an event. The name points into it. */
typedef struct yoked_go_event {
    const uint8_t *name;
    size_t name_len;
    uint64_t kind, origin, sequence, lost;
    int64_t time_ms;
    int is_own;
} yoked_go_event;

yoked_go_event yoked_go_event_parts(const yc_event *event);

/* The completion of an operation. */
typedef struct yoked_go_done {
    uint64_t user_data;
    yc_status status;
    int32_t retryable;
    const char *message; /* The message of its error, or NULL. */
    const uint8_t *data; /* A short value that names no tags. */
    size_t len;
    void *handle; /* Owned by the caller: another yc_value, yc_results, yc_keys, yc_matches, yc_reply, yc_message or yc_event; else NULL. */
    int64_t remaining_ms;
    uint64_t removed;
    uint64_t version; /* Of an entry that was read or stored. */
    int64_t number;   /* The value of a counter, the receivers of a message, or the age of an entry. */
    uint64_t tag_count;
    yc_lease *lease;  /* Owned by the caller. */
} yoked_go_done;

/* The number of completions that one call takes. */
enum { YOKED_GO_BATCH = 128 };

/* The longest value that is passed as bytes; a longer one is passed as a handle. */
enum { YOKED_GO_SHORT = 4096 };

/* The completions that were taken last; done points into them. */
typedef struct yoked_go_reader {
    yoked_go_done done[YOKED_GO_BATCH];
    yc_completion held[YOKED_GO_BATCH];
    size_t n_held;
} yoked_go_reader;

yoked_go_reader *yoked_go_reader_new(void);
void yoked_go_reader_free(yoked_go_reader *reader);

/* Releases the previous completions and takes the next. Returns their number, or -1 if the queue is closed. */
int yoked_go_take(yc_queue *queue, yoked_go_reader *reader);

/*
 * Runs the one record of a block on the calling thread, until the token is cancelled if it is not NULL. A value of any
 * length is passed as a handle.
 */
void yoked_go_run(yc_cache *cache, yc_cancel_token *token, const uint8_t *block, yoked_go_done *done, yc_error **error);

/* One key of a read of many. */
typedef struct yoked_go_read {
    const uint8_t *data; /* NULL without a value. */
    size_t len;
    yc_value *value; /* Holds the data. */
    yc_status status;
} yoked_go_read;

/* A read of many keys: each of them, and the error of the first that failed. */
typedef struct yoked_go_reads {
    yc_status status;      /* Of the call. Unless it is YC_OK, there are no reads. */
    yoked_go_read *reads;  /* To be released with yoked_go_free_reads(). */
    yc_error *error;
} yoked_go_reads;

/*
 * Reads n keys on the calling thread, until the token is cancelled if it is not NULL. The block has n lengths (uint64_t),
 * then the keys. flags is that of each YC_OP_GET.
 */
yoked_go_reads yoked_go_get_many(yc_cache *cache, yc_cancel_token *token, const uint8_t *block, size_t n, uint32_t flags);
void yoked_go_free_reads(yoked_go_read *reads, size_t n);

/* Writes the value and status of each key of results, at most n. */
void yoked_go_values(const yc_results *results, yc_slice *values, yc_status *statuses, size_t n);

/* Returns a second descriptor for the queue's event, which Go owns and closes. */
yc_status yoked_go_fd(yc_queue *queue, int *fd, yc_error **error);

#endif
