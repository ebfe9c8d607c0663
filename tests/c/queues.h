/* Queues as the tests use them. */
#ifndef QUEUES_H
#define QUEUES_H

#include "calls.h"

/* A queue without a wake-up, or the end of the test. */
static inline yc_queue *open_queue(yc_cache *cache, size_t capacity) {
    yc_queue *queue = NULL;
    if (!CHECK_STATUS(yc_queue_open(cache, capacity, NULL, NULL, NULL, &queue, NULL), YC_OK)) exit(check_result());
    return queue;
}

static inline void close_queue(yc_queue *queue) {
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    yc_queue_free(queue);
}

static inline yc_op op_get(const char *key, uint64_t user_data) {
    return (yc_op){.kind = YC_OP_GET, .key = key, .key_len = strlen(key), .user_data = user_data};
}

static inline yc_op op_set(const char *key, const char *value, uint64_t user_data) {
    return (yc_op){.kind = YC_OP_SET, .key = key, .key_len = strlen(key), .value = value, .value_len = strlen(value),
                   .ttl_ms = 60000, .user_data = user_data};
}

/* An operation that takes a thread of the library also on memory. */
static inline yc_op op_pattern(const char *pattern, uint64_t user_data) {
    return (yc_op){.kind = YC_OP_INVALIDATE_PATTERN, .key = pattern, .key_len = strlen(pattern), .user_data = user_data};
}

/* Submits one; its status. */
static inline yc_status submit(yc_queue *queue, yc_op op, yc_ticket *ticket) {
    size_t accepted = 0;
    yc_status status = yc_queue_submit(queue, &op, 1, sizeof op, ticket, &accepted, NULL);
    CHECK(status != YC_OK || accepted == 1);
    return status;
}

/* Takes one, waiting for it; to be cleared. */
static inline yc_completion take(yc_queue *queue) {
    yc_completion completion;
    size_t count = 0;
    memset(&completion, 0xAB, sizeof completion);
    if (!CHECK_STATUS(yc_queue_wait(queue, &completion, 1, sizeof completion, 20000, &count, NULL), YC_OK)) exit(check_result());
    CHECK(count == 1 && completion.ticket != 0);
    CHECK((completion.status < 0) == (completion.error != NULL));
    return completion;
}

#endif
