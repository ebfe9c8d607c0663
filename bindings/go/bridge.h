/* What Go cannot say to the C ABI itself: many operations in one crossing, without a Go pointer in C memory. */
#ifndef YOKED_GO_BRIDGE_H
#define YOKED_GO_BRIDGE_H

#include <yokedcache.h>

/*
 * An operation as Go writes it: this, then its payload, then padding to a multiple of 8 bytes. Records stand
 * one behind another in one block of bytes. The payload is n_list lengths (uint64_t), the key, the value, and
 * the strings of the list. The list is the tags; of a YC_OP_GET_MANY or YC_OP_DELETE_MANY the keys; of a
 * YC_OP_SET_MANY n_keys keys, as many values, and the tags.
 */
typedef struct yoked_go_record {
    uint64_t size; /* Of all of it, also the padding. */
    int32_t kind;
    uint32_t flags;
    int64_t ttl_ms;
    uint64_t user_data;
    uint64_t key_len, value_len;
    uint64_t n_list, n_keys;
    uint64_t limit; /* Of a search, or of a page. */
    double threshold;
    uintptr_t outside; /* The payload, where it is not behind this: from yoked_go_allocate(), released once submitted. */
    uintptr_t cursor;  /* The yc_cursor of a YC_OP_KEYS_NEXT. */
} yoked_go_record;

/* Memory for a payload. Ends the program when there is none, as Go does. */
void *yoked_go_allocate(size_t size);

/*
 * Submits all the records of a block. tickets[i] becomes the ticket of record i, or 0 where it was refused;
 * *refusal is why then, to be released with yc_error_free().
 */
void yoked_go_submit(yc_queue *queue, const uint8_t *block, size_t size, uint64_t *tickets, yc_error **refusal);

/* What a call came to that was made at once. */
typedef struct yoked_go_answer {
    yc_status status;
    size_t len;
    yc_error *error;
} yoked_go_answer;

/* yc_get_into(), yc_set() without tags. */
yoked_go_answer yoked_go_get(yc_cache *cache, const uint8_t *key, size_t key_len, uint8_t *buffer, size_t cap);
yoked_go_answer yoked_go_set(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *value,
                             size_t value_len, int64_t ttl_ms);

yc_status yoked_go_keys_open(yc_cache *cache, const uint8_t *pattern, size_t pattern_len, yc_cursor **out,
                             yc_error **error);

/* What an operation came to. */
typedef struct yoked_go_done {
    uint64_t user_data;
    yc_status status;
    int32_t retryable;
    const char *message; /* Of its error, or NULL. */
    const uint8_t *data; /* A value that is short. */
    size_t len;
    void *handle; /* Now the caller's: a yc_value that is long, yc_results, yc_keys or yc_matches; else NULL. */
    int64_t remaining_ms;
    uint64_t removed;
} yoked_go_done;

/* How many completions are taken at a time. */
enum { YOKED_GO_BATCH = 128 };

/* The longest value that is handed out as bytes; a longer one is handed out as a handle. */
enum { YOKED_GO_SHORT = 4096 };

/* The completions that were taken last, which done points into. */
typedef struct yoked_go_reader {
    yoked_go_done done[YOKED_GO_BATCH];
    yc_completion held[YOKED_GO_BATCH];
    size_t n_held;
} yoked_go_reader;

yoked_go_reader *yoked_go_reader_new(void);
void yoked_go_reader_free(yoked_go_reader *reader);

/* Releases what was taken before and takes more; how many, or -1 once there will be none. */
int yoked_go_take(yc_queue *queue, yoked_go_reader *reader);

/* Runs the one record of a block at once: a yc_op operation without a value. */
void yoked_go_run(yc_cache *cache, const uint8_t *block, yoked_go_done *done, yc_error **error);

/* The value of each key of results, no more than n. */
void yoked_go_values(const yc_results *results, yc_slice *values, yc_status *statuses, size_t n);

/* A second descriptor for the queue's event, which Go may own and close. */
yc_status yoked_go_fd(yc_queue *queue, int *fd, yc_error **error);

#endif
