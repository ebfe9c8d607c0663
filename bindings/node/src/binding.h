/* Shared by the parts of the Node binding: one open cache, and the memory that it exchanges with JavaScript. */
#ifndef BINDING_H
#define BINDING_H

#define NAPI_VERSION 8

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <node_api.h>
#include <uv.h>
#include <yokedcache.h>

enum {
    BATCH = 256,           /* Requests of one submission, replies of one turn. */
    QUEUE_CAPACITY = 65536, /* An upper bound only: users set the limit with the backend's max_pending. */
    SMALL_VALUE = 4096     /* Longer values have memory of their own, so that a short one keeps little else alive. */
};

typedef struct span {
    uint8_t *data;
    size_t len;
} span;

/* One operation as lib/exchange.js writes it. Places are offsets into the arena. */
typedef struct request {
    int32_t kind;
    uint32_t flags;
    uint32_t slot;              /* Identifies the promise. */
    uint32_t key_at, key_len;   /* With many keys: the place of their list, and their number. */
    uint32_t value_at, value_len;
    uint32_t tags_at, n_tags;
    uint32_t limit;             /* Of a search. Of a YC_OP_SET_IF its condition. Of a YC_OP_GET_OR_LEASE its wait_ms. Else the lease. */
    double number;              /* A time in milliseconds (TTL, lease_ms, retry_after_ms, max_age_ms), or the threshold of a search. */
    int64_t first, second;      /* The version of a condition; the delta and the initial value of a counter; stale_for_ms. */
} request;

/* What an operation of a lease points to. */
typedef union lease_part {
    yc_lease_options options;
    yc_fill fill;
} lease_part;

/* A place of the table of leases. JavaScript knows a lease by its number, the place plus 1. */
typedef struct lease_place {
    yc_lease *lease;
    uint32_t next_free;         /* The number of the next free place; 0: none. */
} lease_place;

enum reply_shape { SHAPE_NONE, SHAPE_SLAB, SHAPE_OBJECT };

/* The result of an operation, as lib/exchange.js reads it. */
typedef struct reply {
    uint32_t slot;
    int32_t status;
    int32_t shape;              /* The place of the result: in the slab at `at`, or objects[2 * index]. */
    uint32_t at, len;
    uint32_t lease;             /* The number of the lease that the caller holds now; 0: none. */
    union {
        double number;          /* A count (-1: unknown), a TTL, a number of keys; of an error: 1 if it is retryable. */
        uint64_t whole;         /* A version, or the value of a counter. */
    };
} reply;

/* A descriptor that Node's loop watches. */
typedef struct watch watch;

/* One open cache. Its owners are its JavaScript objects, each call on the thread pool, and each migration. All of them
   release it on the loop's thread, and the last one frees it. */
typedef struct handle {
    unsigned owners;
    napi_env env;
    yc_cache *cache;
    yc_queue *queue;
    yc_error *refusal;          /* The error of the last submission that was not accepted. */

    watch *watch;               /* Calls the exchange. NULL before it, and after the end. */
    size_t in_flight;
    atomic_bool closing;        /* Stops its migrations, whose threads read it. */

    /* Parts of one ArrayBuffer, which is internal. */
    const request *requests;
    reply *replies;
    const uint8_t *arena;
    size_t arena_len;

    span slab;                  /* The memory that readers write short values to. JavaScript keeps it, and names its successor. */
    span room;                  /* The memory that copies of a near cache are read to. It grows with the longest one. */

    yc_completion done[BATCH];
    size_t done_at, done_count;
    yc_op ops[BATCH];
    yc_ticket new_tickets[BATCH];
    yc_ticket *tickets;         /* Of each slot. */
    size_t n_tickets;
    yc_slice *slices;
    size_t slices_room;
    lease_part lease_parts[BATCH];
    lease_place *leases;
    uint32_t n_leases, free_lease;
} handle;

/* A call on the thread pool. */
typedef struct work {
    napi_async_work work;
    napi_deferred deferred;
    handle *cache;              /* To close, or to open an inbox at; held meanwhile. */
    int32_t how;
    char *text, *environment;
    int64_t timeout_ms;
    yc_cache *opened;
    yc_value *summary;          /* Of a configuration, or the metrics of many caches. */
    handle **many;              /* The caches of these; held. */
    char **names;
    size_t n_many;
    yc_filter filter;
    yc_events_filter events_filter;
    uint8_t *bytes;             /* Of the names of a filter. */
    yc_slice *slices;
    yc_subscription *subscription;
    yc_events *events;
    yc_error *error;
} work;

/* What waits to be taken: messages or events. The other pointer is NULL; both are after the end. */
typedef struct inbox {
    yc_subscription *messages;
    yc_events *events;
    int fd;
    watch *watch;
} inbox;

/* values.c: JavaScript values. */
bool check(napi_env env, napi_status status);
napi_value throw_text(napi_env env, const char *text);
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);
handle *handle_of(napi_env env, napi_value value);
span bytes_of(napi_env env, napi_value value);
napi_value error_of(napi_env env, yc_error *error);
char *text_of(napi_env env, napi_value value);

/* watch.c: descriptors in Node's loop. */
bool watch_begin(napi_env env, int fd, napi_value object, napi_value on_readable, watch **place);
void watch_listen(watch *watch, bool on);
void watch_keep(watch *watch, bool on);
void watch_end(watch *watch);

/* lifecycle.c: opening, closing, and calls on the thread pool. */
void hold(handle *cache);
void let_go(handle *cache);
napi_value open_cache(napi_env env, napi_callback_info info);
napi_value view(napi_env env, napi_callback_info info);
napi_value check_config(napi_env env, napi_callback_info info);
napi_value start(napi_env env, napi_callback_info info);
napi_value close_cache(napi_env env, napi_callback_info info);
napi_value release(napi_env env, napi_callback_info info);
void flights_began(handle *cache, size_t count);
void flights_ended(handle *cache, size_t count);
napi_value begin_work(napi_env env, work *call, napi_async_execute_callback execute, napi_async_complete_callback finish);
void resolve(napi_env env, work *call, napi_value value);
void finish_text(napi_env env, napi_status status, void *data);
void free_work(napi_env env, work *call);

/* requests.c: from JavaScript to the library. */
napi_value submit(napi_env env, napi_callback_info info);
napi_value submit_one(napi_env env, napi_callback_info info);
napi_value cancel(napi_env env, napi_callback_info info);
napi_value keys_open(napi_env env, napi_callback_info info);
napi_value keys_next(napi_env env, napi_callback_info info);
yc_status run_first(handle *cache, span arena, yc_op *op, yc_error **error);
bool arena_of(napi_env env, handle *cache, napi_value value, span *arena);
bool read_list(span arena, size_t at, size_t count, yc_slice *slices);

/* readers.c: reads that the memory of this process answers at once. */
napi_value readers(napi_env env, napi_callback_info info);
napi_value use_slab(napi_env env, napi_callback_info info);

/* leases.c: the leases that JavaScript holds. */
uint32_t keep_lease(handle *cache, yc_lease *lease);
yc_lease *lease_of(const handle *cache, uint32_t number);
void free_leases(handle *cache);
napi_value free_lease(napi_env env, napi_callback_info info);

/* replies.c: from the library to JavaScript. */
napi_value drain(napi_env env, napi_callback_info info);
napi_value run(napi_env env, napi_callback_info info);

/* inboxes.c: what messages and events have in common. */
work *new_inbox_work(napi_env env, handle *cache, span list, size_t count);
napi_value open_inbox(napi_env env, work *call, napi_async_execute_callback open);
napi_value listen_to(napi_env env, napi_callback_info info);
napi_value take(napi_env env, napi_callback_info info);
napi_value wait_for(napi_env env, napi_callback_info info);
napi_value end_inbox(napi_env env, napi_callback_info info);
bool put_found(napi_env env, napi_value found, uint32_t place, napi_value value);
bool put_bytes(napi_env env, napi_value found, uint32_t place, const void *data, size_t len, bool as_text);
bool put_count(napi_env env, napi_value found, uint32_t place, uint64_t count);
bool put_flag(napi_env env, napi_value found, uint32_t place, bool flag);

/* subscriptions.c: messages of channels. */
napi_value subscribe(napi_env env, napi_callback_info info);
bool put_message(napi_env env, napi_value found, const yc_message *message, bool as_text);

/* events.c: events of removals. */
napi_value events(napi_env env, napi_callback_info info);
bool put_event(napi_env env, napi_value found, const yc_event *event, bool as_text);

/* migrate.c: replacing a backend, and copying one cache into another. */
napi_value migrate(napi_env env, napi_callback_info info);
napi_value switch_to(napi_env env, napi_callback_info info);

/* credentials.c: credentials that a JavaScript function supplies. */
napi_value supply(napi_env env, napi_callback_info info);
napi_value give_credentials(napi_env env, napi_callback_info info);
napi_value fail_credentials(napi_env env, napi_callback_info info);

/* metrics.c: the metrics of many caches. */
napi_value metrics_of(napi_env env, napi_callback_info info);
void release_many(work *call);

/* log.c: the log of the process. */
napi_value set_log(napi_env env, napi_callback_info info);
napi_value take_line(napi_env env, napi_callback_info info);
napi_value end_of_log(napi_env env, napi_callback_info info);

#endif
