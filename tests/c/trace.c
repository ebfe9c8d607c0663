/* Spans of calls: their beginnings and ends, what they have, which calls have them, and the end of the listener. */
#include "every.h"

#include <pthread.h>

enum { MOST = 4096 };

typedef struct record {
    uint64_t id, context, user_data, keys, bytes;
    int32_t kind;
    yc_status status;
    uint32_t flags;
    pthread_t begun_on, ended_on;
    bool has_begun, has_ended;
    char backend[16], server[64], key_prefix[16], name_space[16], key[16];
} record;

typedef struct journal {
    pthread_mutex_t lock;
    record records[MOST];
    size_t count;
    atomic_uint begins, ends, finalised, faults;
    yc_cache *used;
} journal;

static void copy_text(char *to, size_t room, yc_slice text) {
    size_t len = text.len < room ? text.len : room - 1;
    if (len) memcpy(to, text.data, len);
    to[len] = '\0';
}

static record *find(journal *log, uint64_t id) {
    for (size_t at = 0; at < log->count; at++)
        if (log->records[at].id == id) return &log->records[at];
    if (log->count == MOST) return NULL;
    log->records[log->count].id = id;
    return &log->records[log->count++];
}

static void write_record(record *at, int32_t phase, const yc_span *span) {
    bool *is_known = phase == YC_SPAN_BEGIN ? &at->has_begun : &at->has_ended;
    CHECK(!*is_known && (phase == YC_SPAN_BEGIN || at->has_begun));
    *is_known = true;
    if (phase == YC_SPAN_BEGIN) {
        at->begun_on = pthread_self();
        CHECK(span->status == YC_OK && span->bytes == 0 && span->duration_ns == 0);
    } else {
        at->ended_on = pthread_self();
        CHECK(at->kind == span->kind && at->context == span->context && at->user_data == span->user_data);
    }
    at->kind = span->kind, at->status = span->status, at->flags = span->flags;
    at->context = span->context, at->user_data = span->user_data;
    at->keys = span->keys, at->bytes = span->bytes;
    copy_text(at->backend, sizeof at->backend, span->backend);
    copy_text(at->server, sizeof at->server, span->server);
    copy_text(at->key_prefix, sizeof at->key_prefix, span->key_prefix);
    copy_text(at->name_space, sizeof at->name_space, span->name_space);
    copy_text(at->key, sizeof at->key, span->key);
}

static void on_span(void *data, int32_t phase, const yc_span *span) {
    journal *log = data;
    atomic_fetch_add(phase == YC_SPAN_BEGIN ? &log->begins : &log->ends, 1);
    CHECK(span->struct_size == sizeof *span && span->id != 0);
    pthread_mutex_lock(&log->lock);
    record *at = find(log, span->id);
    if (at) write_record(at, phase, span);
    pthread_mutex_unlock(&log->lock);
}

static void finalise(void *data) { atomic_fetch_add(&((journal *)data)->finalised, 1); }

static journal *fresh(void) {
    journal *log = calloc(1, sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

static void release(journal *log) {
    CHECK(atomic_load(&log->begins) == atomic_load(&log->ends));
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static void trace(yc_cache *cache, journal *log, uint32_t flags, uint64_t interval) {
    yc_trace_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = flags;
    options.interval = interval;
    CHECK_STATUS(yc_set_trace(cache, &options, on_span, log, finalise, NULL), YC_OK);
}

static void end_trace(yc_cache *cache) { CHECK_STATUS(yc_set_trace(cache, NULL, NULL, NULL, NULL, NULL), YC_OK); }

/* Returns the only new span since so many. */
static record last(const journal *log, size_t before) {
    static const record none;
    if (!CHECK(log->count == before + 1)) return none;
    record at = log->records[before];
    CHECK(at.has_begun && at.has_ended && pthread_equal(at.begun_on, at.ended_on));
    return at;
}

static void check_span(const journal *log, size_t before, int32_t kind, yc_status status, uint64_t bytes) {
    record at = last(log, before);
    if (!CHECK(at.kind == kind && at.status == status && at.bytes == bytes))
        printf("  kind %d, %s, %llu bytes\n", at.kind, yc_status_name(at.status), (unsigned long long)at.bytes);
}

static void check_results(void) {
    yc_cache *cache = open_cache("memory://?key_prefix=app");
    journal *log = fresh();
    char buffer[8];
    size_t len;
    yc_value *value = NULL;
    trace(cache, log, 0, 0);
    yc_set(cache, "a", 1, "value", 5, YC_TTL_NEVER, NULL, 0, NULL);
    check_span(log, 0, YC_OP_SET, YC_OK, 5);
    yc_get_into(cache, "a", 1, buffer, sizeof buffer, &len, NULL);
    check_span(log, 1, YC_OP_GET, YC_OK, 5);
    yc_get(cache, "missing", 7, &value, NULL);
    check_span(log, 2, YC_OP_GET, YC_MISS, 0);
    yc_get(cache, "a", 1, &value, NULL);
    check_span(log, 3, YC_OP_GET, YC_OK, 5);
    yc_value_free(value);
    yc_slice keys[2] = {slice("a"), slice("b")};
    yc_value *values[2];
    yc_get_many(cache, keys, 2, values, NULL, NULL);
    check_span(log, 4, YC_OP_GET_MANY, YC_OK, 5);
    CHECK(log->records[4].keys == 2);
    yc_value_free(values[0]);
    yc_value_free(values[1]);
    yc_get(cache, "", 0, &value, NULL);
    check_span(log, 5, YC_OP_GET, YC_E_INVALID, 0);
    yc_set_if(cache, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, YC_IF_ABSENT, 0, NULL, NULL);
    check_span(log, 6, YC_OP_SET_IF, YC_UNMET, 1);
    yc_lease *lease = NULL;
    yc_get_or_lease(cache, "a", 1, NULL, &value, &lease, NULL);
    check_span(log, 7, YC_OP_GET_OR_LEASE, YC_OK, 5);
    yc_value_free(value);
    yc_get_or_lease(cache, "l", 1, NULL, &value, &lease, NULL);
    check_span(log, 8, YC_OP_GET_OR_LEASE, YC_LEASED, 0);
    yc_lease_abandon(lease, 0, NULL);
    check_span(log, 9, YC_OP_LEASE_ABANDON, YC_OK, 0);
    yc_lease_free(lease);
    yc_delete(cache, "a", 1, NULL);
    check_span(log, 10, YC_OP_DELETE, YC_OK, 0);
    yc_flush(cache, NULL, NULL);
    check_span(log, 11, YC_OP_FLUSH, YC_OK, 0);
    record at = log->records[0];
    CHECK(!strcmp(at.backend, "memory") && !strcmp(at.key_prefix, "app") && at.flags == 0 && at.context == 0);
    for (size_t each = 0; each < log->count; each++)
        CHECK(log->records[each].key[0] == '\0' && log->records[each].server[0] == '\0');
    end_trace(cache);
    close_cache(cache);
    release(log);
}

static void check_keys_and_context(void) {
    yc_cache *cache = open_cache("memory://"), *view = NULL, *later = NULL;
    journal *log = fresh();
    CHECK_STATUS(yc_view(cache, "{namespace: n}", &view, NULL), YC_OK);
    trace(cache, log, YC_TRACE_KEYS, 1);
    CHECK_STATUS(yc_view(cache, "{namespace: later}", &later, NULL), YC_OK);
    CHECK(yc_set_trace_context(7) == 0);
    yc_set(view, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, NULL);
    CHECK(yc_set_trace_context(0) == 7);
    char buffer[8];
    size_t len;
    CHECK_STATUS(yc_get_into(view, "a", 1, buffer, sizeof buffer, &len, NULL), YC_OK);
    CHECK_STATUS(yc_get_into(later, "a", 1, buffer, sizeof buffer, &len, NULL), YC_MISS);
    yc_exists(cache, "b", 1, NULL);
    if (CHECK(log->count == 4)) {
        const record *all = log->records;
        CHECK(all[0].context == 7 && all[1].context == 0);
        CHECK(!strcmp(all[0].key, "a") && !strcmp(all[1].key, "a") && !strcmp(all[3].key, "b"));
        CHECK(!strcmp(all[0].name_space, "n") && !strcmp(all[1].name_space, "n"));
        CHECK(!strcmp(all[2].name_space, "later") && !all[3].name_space[0]);
        CHECK(all[1].status == YC_OK && all[2].status == YC_MISS);
    }
    end_trace(view);
    yc_get_into(cache, "b", 1, buffer, sizeof buffer, &len, NULL);
    yc_get_into(view, "b", 1, buffer, sizeof buffer, &len, NULL);
    CHECK(log->count == 4 && atomic_load(&log->finalised) == 1);
    yc_cache_free(later);
    yc_cache_free(view);
    close_cache(cache);
    release(log);
}

/* Every call, on a cache and in a view: the beginnings and ends come in pairs. */
static void check_every_call(void) {
    yc_cache *cache = open_cache(test_url());
    journal *log = fresh();
    trace(cache, log, YC_TRACE_KEYS, 1);
    for (size_t at = 0; at < EVERY_COUNT; at++) {
        if (strcmp(EVERY[at].name, "yc_set_trace")) CHECK(EVERY[at].run(cache, NULL) >= 0);
    }
    for (size_t at = 0; at < log->count; at++) CHECK(log->records[at].has_begun && log->records[at].has_ended);
    CHECK(log->count > 25);
    end_trace(cache);
    close_cache(cache);
    release(log);
}

static void check_batch(void) {
    yc_cache *cache = open_cache("memory://");
    journal *log = fresh();
    yc_op ops[3];
    memset(ops, 0, sizeof ops);
    for (int at = 0; at < 3; at++) {
        ops[at].kind = at == 0 ? YC_OP_SET : YC_OP_GET;
        ops[at].key = at == 2 ? "b" : "a", ops[at].key_len = 1;
        ops[at].user_data = 10 + (uint64_t)at;
    }
    ops[0].value = "value", ops[0].value_len = 5;
    trace(cache, log, 0, 1);
    CHECK_STATUS(yc_batch(cache, ops, 3, sizeof *ops, NULL), YC_OK);
    yc_value_free(ops[1].result);
    if (CHECK(log->count == 3)) {
        static const yc_status statuses[] = {YC_OK, YC_OK, YC_MISS};
        for (size_t at = 0; at < 3; at++) {
            const record *each = &log->records[at];
            CHECK(each->has_ended && each->status == statuses[at] && each->user_data == 10 + at);
            CHECK(each->kind == ops[at].kind && each->bytes == (at < 2 ? 5u : 0u));
        }
    }
    /* All of the call, cancelled before it began. */
    yc_cancel_token *token = yc_cancel_token_new();
    yc_cancel_token_cancel(token);
    CHECK_STATUS(yc_batch_cancellable(cache, ops, 1, sizeof *ops, token, NULL), YC_E_CANCELLED);
    yc_cancel_token_free(token);
    CHECK(log->count == 4 && log->records[3].has_ended && log->records[3].status == YC_E_CANCELLED);
    end_trace(cache);
    close_cache(cache);
    release(log);
}

static void *take(void *data) {
    yc_completion done;
    size_t count = 0;
    if (CHECK(yc_queue_wait(data, &done, 1, sizeof done, 20000, &count, NULL) == YC_OK)) yc_completion_clear(&done);
    return NULL;
}

/* Waits for the lease of another caller, so that it is in flight until it is cancelled. */
static void submit_waiting(yc_queue *queue, yc_ticket *ticket) {
    yc_op op;
    memset(&op, 0, sizeof op);
    yc_lease_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.wait_ms = 60000;
    op.kind = YC_OP_GET_OR_LEASE;
    op.key = "held", op.key_len = 4;
    op.value = &options, op.value_len = sizeof options;
    op.user_data = 99;
    size_t accepted;
    CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, ticket, &accepted, NULL), YC_OK);
}

static void check_queue(void) {
    yc_cache *cache = open_cache("memory://");
    journal *log = fresh();
    yc_queue *queue = NULL;
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_ticket ticket;
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(yc_get_or_lease(cache, "held", 4, NULL, &value, &lease, NULL), YC_LEASED);
    trace(cache, log, 0, 1);
    yc_slice keys[2] = {slice("a"), slice("b")};
    yc_set_trace_context(3);
    CHECK_STATUS(yc_queue_get_many(queue, keys, 2, 42, NULL, NULL), YC_OK);
    yc_set_trace_context(0);
    CHECK(log->count == 1 && log->records[0].has_begun && !log->records[0].has_ended);
    pthread_t taker;
    pthread_create(&taker, NULL, take, queue);
    pthread_join(taker, NULL);
    const record *at = log->records;
    CHECK(at->has_ended && at->user_data == 42 && at->context == 3 && at->kind == YC_OP_GET_MANY && at->keys == 2);
    CHECK(pthread_equal(at->begun_on, pthread_self()) && !pthread_equal(at->ended_on, pthread_self()));

    submit_waiting(queue, &ticket);
    CHECK(log->count == 2 && !log->records[1].has_ended);
    CHECK_STATUS(yc_queue_cancel(queue, ticket, NULL), YC_OK);
    CHECK(!log->records[1].has_ended);
    take(queue);
    CHECK(log->records[1].has_ended && log->records[1].status == YC_E_CANCELLED && log->records[1].user_data == 99);

    /* Not taken: a completion, and an operation in flight. */
    CHECK_STATUS(yc_queue_delete_many(queue, keys, 2, 43, NULL, NULL), YC_OK);
    submit_waiting(queue, &ticket);
    end_trace(cache);
    CHECK(log->count == 4 && !log->records[2].has_ended && !log->records[3].has_ended);
    CHECK(atomic_load(&log->finalised) == 0);
    yc_queue_free(queue);
    CHECK(log->records[2].has_ended && log->records[2].status == YC_OK);
    CHECK(log->records[3].has_ended && log->records[3].status == YC_E_CANCELLED);
    CHECK(atomic_load(&log->finalised) == 1);
    yc_lease_free(lease);
    close_cache(cache);
    release(log);
}

/* An operation that a full queue refuses has no beginning without an end. */
static void check_full_queue(void) {
    yc_cache *cache = open_cache("memory://");
    journal *log = fresh();
    yc_queue *queue = NULL;
    CHECK_STATUS(yc_queue_open(cache, 1, NULL, NULL, NULL, &queue, NULL), YC_OK);
    trace(cache, log, 0, 1);
    yc_slice key = slice("a");
    CHECK_STATUS(yc_queue_get_many(queue, &key, 1, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_queue_get_many(queue, &key, 1, 2, NULL, NULL), YC_E_BUSY);
    take(queue);
    CHECK(atomic_load(&log->begins) == 1 && atomic_load(&log->ends) == 1);
    yc_queue_free(queue);
    end_trace(cache);
    close_cache(cache);
    release(log);
}

static unsigned sampled(uint64_t interval, unsigned calls, bool sets) {
    yc_cache *cache = open_cache("memory://");
    journal *log = fresh();
    char buffer[8];
    size_t len;
    yc_set(cache, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, NULL);
    trace(cache, log, 0, interval);
    for (unsigned call = 0; call < calls; call++) {
        if (sets) CHECK(yc_set(cache, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, NULL) == YC_OK);
        else CHECK(yc_get_into(cache, "a", 1, buffer, sizeof buffer, &len, NULL) == YC_OK);
    }
    unsigned seen = atomic_load(&log->begins);
    CHECK(seen == atomic_load(&log->ends));
    end_trace(cache);
    close_cache(cache);
    release(log);
    return seen;
}

/* One call in so many, within six standard deviations. */
static void check_interval(void) {
    CHECK(sampled(1, 1000, false) == 1000 && sampled(0, 1000, true) == 1000);
    for (int sets = 0; sets < 2; sets++) {
        unsigned of_4 = sampled(4, 40000, sets), of_64 = sampled(64, 64000, sets), of_256 = sampled(256, 256000, sets);
        if (!CHECK(of_4 > 9450 && of_4 < 10550 && of_64 > 800 && of_64 < 1200 && of_256 > 800 && of_256 < 1200))
            printf("  %u of 10000, %u of 1000, %u of 1000\n", of_4, of_64, of_256);
    }
    CHECK(sampled(UINT64_MAX, 10000, false) <= 1);
}

static void use_library(void *data, int32_t phase, const yc_span *span) {
    journal *log = data;
    on_span(data, phase, span);
    for (size_t at = 0; at < EVERY_COUNT; at++)
        if (strcmp(EVERY[at].name, "yc_set_trace")) CHECK(EVERY[at].run(log->used, NULL) >= 0);
}

/* The function may call the library, and its own calls have no spans. */
static void check_reentrance(void) {
    yc_cache *cache = open_cache(test_url());
    journal *log = fresh();
    log->used = cache;
    CHECK_STATUS(yc_set_trace(cache, NULL, use_library, log, finalise, NULL), YC_OK);
    CHECK(yc_exists(cache, "a", 1, NULL) >= 0);
    CHECK(atomic_load(&log->begins) == 1 && atomic_load(&log->ends) == 1);
    end_trace(cache);
    close_cache(cache);
    release(log);
}

static void check_finaliser(void) {
    yc_cache *cache = open_cache("memory://");
    journal *first = fresh(), *second = fresh();
    yc_trace_options unknown;
    memset(&unknown, 0, sizeof unknown);
    unknown.struct_size = sizeof unknown;
    unknown.flags = 8;
    CHECK_STATUS(yc_set_trace(cache, &unknown, on_span, first, finalise, NULL), YC_E_INVALID);
    CHECK_STATUS(yc_set_trace(NULL, NULL, on_span, first, finalise, NULL), YC_E_INVALID);
    CHECK(atomic_load(&first->finalised) == 0);
    CHECK_STATUS(yc_set_trace(cache, NULL, NULL, first, finalise, NULL), YC_OK);
    CHECK(atomic_load(&first->finalised) == 1);
    trace(cache, first, 0, 1);
    trace(cache, second, 0, 1);
    CHECK(atomic_load(&first->finalised) == 2 && atomic_load(&second->finalised) == 0);
    yc_exists(cache, "a", 1, NULL);
    CHECK(atomic_load(&first->begins) == 0 && atomic_load(&second->begins) == 1);
    close_cache(cache);
    CHECK(atomic_load(&second->finalised) == 1);
    release(first);
    release(second);
}

/* The listener of a cache goes with it to another backend. */
static void check_switch(void) {
    yc_cache *cache = open_cache("memory://");
    journal *log = fresh();
    char buffer[8];
    size_t len;
    trace(cache, log, 0, 1);
    CHECK_STATUS(yc_switch(cache, "memory://?max_size=10", NULL, NULL, NULL), YC_OK);
    size_t before = log->count;
    yc_get_into(cache, "a", 1, buffer, sizeof buffer, &len, NULL);
    check_span(log, before, YC_OP_GET, YC_MISS, 0);
    end_trace(cache);
    close_cache(cache);
    release(log);
}

typedef struct scene {
    yc_cache *cache;
    atomic_bool stop;
} scene;

static void *keep_calling(void *data) {
    scene *of = data;
    for (size_t turn = 0; !atomic_load(&of->stop); turn++)
        if (strcmp(EVERY[turn % EVERY_COUNT].name, "yc_set_trace")) EVERY[turn % EVERY_COUNT].run(of->cache, NULL);
    return NULL;
}

/* Listeners come and go while threads call: each span ends where it began, before the finaliser. */
static void check_replacement_in_use(void) {
    enum { THREADS = 4, TURNS = 200 };
    scene of = {.cache = open_cache(test_url())};
    pthread_t threads[THREADS];
    journal **logs = calloc(TURNS, sizeof *logs);
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, keep_calling, &of);
    for (int turn = 0; turn < TURNS; turn++) {
        trace(of.cache, logs[turn] = fresh(), 0, turn % 2 ? 1 : 64);
        sleep_ms(1);
    }
    end_trace(of.cache);
    atomic_store(&of.stop, true);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    close_cache(of.cache);
    unsigned spans = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        CHECK(atomic_load(&logs[turn]->finalised) == 1);
        spans += atomic_load(&logs[turn]->ends);
        release(logs[turn]);
    }
    CHECK(spans > 0);
    free(logs);
}

int main(void) {
    check_results();
    check_keys_and_context();
    check_every_call();
    check_batch();
    check_queue();
    check_full_queue();
    check_interval();
    check_reentrance();
    check_finaliser();
    check_switch();
    check_replacement_in_use();
    return check_result();
}
