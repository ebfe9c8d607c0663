/* Wrong calls return a status and an error, and write nothing. */
#include "every.h"
#include "queues.h"

static const size_t TOO_LONG[] = {SIZE_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX / 2 + 7};

/* Every function with the cache NULL, with `run` of every.h, and with its error wanted or not. */
static void check_null_cache(void) {
    for (size_t at = 0; at < EVERY_COUNT; at++) {
        CHECK_CALL(EVERY[at].run(NULL, err), YC_E_INVALID);
    }
    CHECK_CALL(yc_close(NULL, -1, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_next(NULL, 0, (yc_keys *[]){NULL}, err), YC_E_INVALID);
}

static void check_null_frees(void) {
    yc_error_free(NULL);
    yc_value_free(NULL);
    yc_keys_free(NULL);
    yc_cursor_free(NULL);
    yc_matches_free(NULL);
    yc_results_free(NULL);
    yc_completion_clear(NULL);
    yc_queue_free(NULL);
    yc_cache_free(NULL);
    CHECK(yc_value_clone(NULL) == NULL);
}

/* Functions that read an object treat NULL as an empty one. */
static void check_null_objects(void) {
    size_t len = 7, count = 7;
    CHECK(yc_error_status(NULL) == YC_OK);
    CHECK(strcmp(yc_error_message(NULL), "") == 0);
    CHECK(yc_error_retryable(NULL) == 0);
    CHECK(yc_value_data(NULL, &len) == NULL && len == 0);
    CHECK(yc_value_data(NULL, NULL) == NULL);
    len = 7;
    CHECK(yc_value_tag(NULL, 0, &len) == NULL && len == 0);
    CHECK(yc_value_tag(NULL, SIZE_MAX, NULL) == NULL);
    CHECK(yc_keys_data(NULL, &count) == NULL && count == 0);
    CHECK(yc_keys_data(NULL, NULL) == NULL);
    CHECK(yc_matches_count(NULL) == 0);
    CHECK(yc_matches_at(NULL, 0) == NULL);
    len = count = 7;
    CHECK(yc_results_statuses(NULL, &count) == NULL && count == 0);
    CHECK(yc_results_values(NULL, &len) == NULL && len == 0);
    CHECK(yc_results_statuses(NULL, NULL) == NULL && yc_results_values(NULL, NULL) == NULL);
}

/* A key of each function: NULL with a length, and lengths that no process holds. */
static void check_keys_with(yc_cache *cache, const void *key, size_t len) {
    yc_value *value = (yc_value *)&value;
    char buffer[8] = "before";
    size_t found = 7;
    int64_t left = 7;
    uint64_t removed = 7;
    yc_cursor *cursor = (yc_cursor *)&cursor;
    yc_matches *matches = (yc_matches *)&matches;
    CHECK_CALL(yc_explain(cache, key, len, NULL, 0, &value, err), YC_E_INVALID);
    CHECK_CALL(yc_explain(cache, "k", 1, &(yc_slice){key, len}, 1, &value, err), YC_E_INVALID);
    CHECK_CALL(yc_get(cache, key, len, &value, err), YC_E_INVALID);
    CHECK_CALL(yc_get_info(cache, key, len, 0, &value, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_into(cache, key, len, buffer, sizeof buffer, &found, err), YC_E_INVALID);
    CHECK_CALL(yc_set(cache, key, len, "v", 1, 0, NULL, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_set(cache, "k", 1, key, len, 0, NULL, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_set(cache, "k", 1, "v", 1, 0, &(yc_slice){key, len}, 1, err), YC_E_INVALID);
    CHECK_CALL(yc_delete(cache, key, len, err), YC_E_INVALID);
    CHECK_CALL(yc_exists(cache, key, len, err), YC_E_INVALID);
    CHECK_CALL(yc_expire(cache, key, len, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_ttl(cache, key, len, &left, err), YC_E_INVALID);
    CHECK_CALL(yc_invalidate_tag(cache, key, len, &removed, err), YC_E_INVALID);
    CHECK_CALL(yc_invalidate_tags(cache, &(yc_slice){key, len}, 1, &removed, err), YC_E_INVALID);
    CHECK_CALL(yc_invalidate_pattern(cache, key, len, &removed, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_open(cache, key, len, &cursor, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_open_tagged(cache, key, len, NULL, 0, &cursor, err), YC_E_INVALID);
    CHECK_CALL(yc_search(cache, key, len, NULL, &matches, err), YC_E_INVALID);
    CHECK(value == (yc_value *)&value && cursor == (yc_cursor *)&cursor && matches == (yc_matches *)&matches);
    CHECK(strcmp(buffer, "before") == 0 && found == 7 && left == 7 && removed == 7);
}

static void check_many_with(yc_cache *cache, const yc_slice *list, size_t n) {
    yc_value *values[1] = {(yc_value *)&values};
    yc_status statuses[1] = {77};
    yc_slice one = slice("k");
    uint64_t removed = 7;
    CHECK_CALL(yc_get_many(cache, list, n, values, statuses, err), YC_E_INVALID);
    CHECK_CALL(yc_set_many(cache, list, &one, n, 0, NULL, 0, statuses, err), YC_E_INVALID);
    CHECK_CALL(yc_delete_many(cache, list, n, statuses, err), YC_E_INVALID);
    /* A refused call says so for each key, unless no list can be that long. */
    bool is_possible = n == 1;
    CHECK(values[0] == (is_possible ? NULL : (yc_value *)&values) && statuses[0] == (is_possible ? YC_E_INVALID : 77));
    CHECK_CALL(yc_invalidate_tags(cache, list, n, &removed, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_open_tagged(cache, "*", 1, list, n, (yc_cursor *[]){NULL}, err), YC_E_INVALID);
    CHECK_CALL(yc_explain(cache, "k", 1, list, n, (yc_value *[]){NULL}, err), YC_E_INVALID);
    CHECK_CALL(yc_set(cache, "k", 1, "v", 1, 0, list, n, err), YC_E_INVALID);
    statuses[0] = 77;
    CHECK_CALL(yc_set_many(cache, &one, &one, 1, 0, list, n, statuses, err), YC_E_INVALID);
    CHECK(statuses[0] == YC_E_INVALID && removed == 7);
}

static void check_many(yc_cache *cache) {
    yc_slice good = slice("k"), bad = {NULL, 3};
    yc_value *value = NULL;
    check_many_with(cache, NULL, 1);
    check_many_with(cache, &bad, 1);
    for (size_t at = 0; at < 3; at++) check_many_with(cache, &good, TOO_LONG[at]);
    CHECK_CALL(yc_get_many(cache, &good, 1, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_many(cache, &good, NULL, 1, 0, NULL, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_many(cache, &good, &bad, 1, 0, NULL, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_many(cache, &good, 1, &value, NULL, err), YC_OK);
    CHECK_CALL(yc_get_many(cache, NULL, 0, NULL, NULL, err), YC_OK);
    CHECK_CALL(yc_set_many(cache, NULL, NULL, 0, 0, NULL, 0, NULL, err), YC_OK);
    CHECK_CALL(yc_delete_many(cache, NULL, 0, NULL, err), YC_OK);
    CHECK_CALL(yc_delete_many(cache, &good, 1, NULL, err), YC_OK);
}

/* Arrays, caches and names that are NULL; names that are empty, long, no UTF-8 or given twice. Nothing is written. */
static void check_metrics_many(yc_cache *cache) {
    yc_cache *two[] = {cache, cache}, *none[] = {cache, NULL};
    const char *good[] = {"a", "b"}, *same[] = {"a", "a"}, *empty[] = {"a", ""}, *missing[] = {NULL, "b"}, *broken[] = {"a", "\xff"};
    char name[258];
    memset(name, 'n', 257);
    name[257] = '\0';
    const char *long_ones[] = {"a", name};
    yc_value *text = (yc_value *)&two;
    CHECK_CALL(yc_metrics_many(two, good, 2, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(NULL, good, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, NULL, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, good, SIZE_MAX, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(none, good, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, same, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, empty, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, missing, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, broken, 2, &text, err), YC_E_INVALID);
    CHECK_CALL(yc_metrics_many(two, long_ones, 2, &text, err), YC_E_INVALID);
    CHECK(text == (yc_value *)&two);
    name[256] = '\0';
    CHECK_STATUS(yc_metrics_many(two, long_ones, 2, &text, NULL), YC_OK);
    yc_value_free(text);
}

/* As many tags as an entry may have are reported by name, and no more. */
static void check_many_tags(yc_cache *cache) {
    enum { MOST = 128 };
    yc_slice tags[MOST + 1];
    char names[MOST + 1][8];
    yc_value *json = NULL;
    size_t len, current = 0;
    for (size_t at = 0; at <= MOST; at++) tags[at] = (yc_slice){names[at], (size_t)snprintf(names[at], 8, "%zu", at)};
    CHECK_STATUS(yc_set(cache, "many", 4, "v", 1, 0, tags, MOST, NULL), YC_OK);
    CHECK_CALL(yc_explain(cache, "many", 4, tags, MOST + 1, &json, err), YC_E_TOO_LARGE);
    CHECK(json == NULL);
    CHECK_STATUS(yc_explain(cache, "many", 4, tags, MOST, &json, NULL), YC_OK);
    const char *data = yc_value_data(json, &len), *end = data + len;
    while ((data = memmem(data, (size_t)(end - data), "\",\"status\":\"current\"", 20)) != NULL) data += 20, current++;
    CHECK(current == MOST);
    yc_value_free(json);
}

static void check_null_outputs(yc_cache *cache) {
    char buffer[8];
    size_t len;
    CHECK_STATUS(yc_set(cache, "a", 1, "v", 1, 0, NULL, 0, NULL), YC_OK);
    CHECK_CALL(yc_get(cache, "a", 1, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_into(cache, "a", 1, buffer, sizeof buffer, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_into(cache, "a", 1, NULL, 8, &len, err), YC_E_INVALID);
    CHECK_CALL(yc_get_into(cache, "a", 1, NULL, 0, &len, err), YC_E_BUFFER_TOO_SMALL);
    CHECK_CALL(yc_get_near(cache, "a", 1, buffer, sizeof buffer, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_get_near(cache, "a", 1, NULL, 8, &len, err), YC_E_INVALID);
    CHECK_CALL(yc_get_near(cache, NULL, 1, buffer, sizeof buffer, &len, err), YC_E_INVALID);
    CHECK_CALL(yc_get_near(cache, "", 0, buffer, sizeof buffer, &len, err), YC_E_INVALID);
    uint64_t can = 0;
    CHECK_STATUS(yc_capabilities(cache, &can, NULL), YC_OK);
    /* A shared backend may have no copy. */
    if (!(can & YC_CAN_SHARE)) CHECK_CALL(yc_get_near(cache, "a", 1, NULL, 0, &len, err), YC_E_BUFFER_TOO_SMALL);
    CHECK_STATUS(yc_get_near(cache, "none", 4, buffer, sizeof buffer, &len, NULL), YC_MISS);
    yc_op op = {.kind = YC_OP_SET, .flags = YC_OP_FRESH, .key = "a", .key_len = 1};
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    CHECK_STATUS(op.status, YC_E_INVALID);
    yc_error_free(op.error);
    CHECK_CALL(yc_ttl(cache, "a", 1, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_open(cache, "*", 1, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_search(cache, "a", 1, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_stats(cache, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_health(cache, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_explain(cache, "a", 1, NULL, 0, NULL, err), YC_E_INVALID);
    check_many_tags(cache);
    CHECK_CALL(yc_metrics(cache, NULL, err), YC_E_INVALID);
    check_metrics_many(cache);
    CHECK_CALL(yc_capabilities(cache, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_size(cache, NULL, NULL, err), YC_OK);
    CHECK_CALL(yc_invalidate_tag(cache, "none", 4, NULL, err), YC_OK);
    CHECK_CALL(yc_invalidate_tags(cache, NULL, 0, NULL, err), YC_OK);
    CHECK_CALL(yc_invalidate_pattern(cache, "none", 4, NULL, err), YC_OK);
    CHECK_CALL(yc_clear(cache, NULL, err), YC_E_UNSUPPORTED);
    CHECK_CALL(yc_flush(cache, NULL, err), YC_OK);
}

/* NULL is an empty value, an empty pattern and no tags where the length is 0; an empty key is refused. */
static void check_null_with_nothing(yc_cache *cache) {
    yc_value *value = NULL;
    yc_cursor *cursor = NULL;
    CHECK_CALL(yc_set(cache, "empty", 5, NULL, 0, 0, NULL, 0, err), YC_OK);
    CHECK_STATUS(yc_get(cache, "empty", 5, &value, NULL), YC_OK);
    CHECK(yc_value_data(value, NULL) != NULL);
    yc_value_free(value);
    CHECK_CALL(yc_set(cache, NULL, 0, "v", 1, 0, NULL, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_get(cache, NULL, 0, &value, err), YC_E_INVALID);
    CHECK_CALL(yc_invalidate_tag(cache, NULL, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_invalidate_pattern(cache, NULL, 0, NULL, err), YC_OK);
    CHECK_STATUS(yc_keys_open(cache, NULL, 0, &cursor, NULL), YC_OK);
    CHECK_CALL(yc_keys_next(cursor, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_keys_next(cursor, SIZE_MAX, (yc_keys *[]){NULL}, err), YC_END);
    yc_cursor_free(cursor);
}

/* A buffer of a length that no process holds. */
static void check_buffer_lengths(yc_cache *cache) {
    char buffer[8];
    size_t len = 7;
    CHECK_STATUS(yc_set(cache, "a", 1, "v", 1, 0, NULL, 0, NULL), YC_OK);
    for (size_t at = 0; at < 3; at++) {
        CHECK_CALL(yc_get_into(cache, "a", 1, buffer, TOO_LONG[at], &len, err), YC_E_INVALID);
    }
    CHECK(len == 7);
}

/* Pages of any number; an enormous one is only the most. */
static void check_page_limits(yc_cache *cache) {
    static const size_t limits[] = {0, 1, SIZE_MAX, (size_t)PTRDIFF_MAX + 1};
    for (size_t at = 0; at < 4; at++) {
        yc_cursor *cursor = NULL;
        yc_keys *page = NULL;
        size_t count = 0;
        CHECK_STATUS(yc_keys_open(cache, "a", 1, &cursor, NULL), YC_OK);
        CHECK_STATUS(yc_keys_next(cursor, limits[at], &page, NULL), YC_OK);
        CHECK(yc_keys_data(page, &count) && count == 1);
        yc_keys_free(page);
        CHECK_CALL(yc_keys_next(cursor, limits[at], &page, err), YC_END);
        yc_cursor_free(cursor);
    }
}

static void check_search_with(yc_cache *cache, yc_search_options options, yc_status wanted) {
    yc_matches *matches = NULL;
    CHECK_CALL(yc_search(cache, "q", 1, &options, &matches, err), wanted);
    CHECK(matches == NULL);
}

static void check_search_options(yc_cache *cache) {
    const yc_search_options good = YC_SEARCH_OPTIONS_INIT;
    static const size_t sizes[] = {0, 1, sizeof(yc_search_options) - 1};
    yc_slice tags[2] = {slice("t"), {NULL, 1}};
    for (size_t at = 0; at < 3; at++) {
        yc_search_options options = good;
        options.struct_size = sizes[at];
        check_search_with(cache, options, YC_E_INVALID);
    }
    check_search_with(cache, (yc_search_options){sizeof good, 100.5, 10, NULL, 0, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, -0.5, 10, NULL, 0, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, strtod("nan", NULL), 10, NULL, 0, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, 80, 0, NULL, 0, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, 80, 10, NULL, 1, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, 80, 10, tags, 2, {0}}, YC_E_INVALID);
    check_search_with(cache, (yc_search_options){sizeof good, 80, 10, tags, SIZE_MAX, {0}}, YC_E_INVALID);
}

/* The most matches may be any number: nothing is reserved for it. */
static void check_search_limits(yc_cache *cache) {
    yc_search_options options = {sizeof options, 0, SIZE_MAX, NULL, 0, {0}};
    yc_matches *matches = NULL;
    CHECK_STATUS(yc_search(cache, "q", 1, &options, &matches, NULL), YC_OK);
    CHECK(yc_matches_at(matches, yc_matches_count(matches)) == NULL);
    CHECK(yc_matches_at(matches, SIZE_MAX) == NULL);
    yc_matches_free(matches);
}

/* Options of a longer, later struct are served. */
static void check_longer_search_options(yc_cache *cache) {
    struct {
        yc_search_options known;
        uint64_t later[4];
    } options = {{sizeof options, 80, 10, NULL, 0, {0}}, {0}};
    yc_matches *matches = NULL;
    CHECK_STATUS(yc_search(cache, "q", 1, &options.known, &matches, NULL), YC_OK);
    yc_matches_free(matches);
}

static void check_batch_strides(yc_cache *cache) {
    yc_op op = {.kind = YC_OP_PING, .status = 77};
    static const size_t strides[] = {0, 1, sizeof(yc_op) - 1, sizeof(yc_op) + 1, SIZE_MAX};
    for (size_t at = 0; at < 5; at++) CHECK_CALL(yc_batch(cache, &op, 1, strides[at], err), YC_E_INVALID);
    for (size_t at = 0; at < 3; at++) CHECK_CALL(yc_batch(cache, &op, TOO_LONG[at], sizeof op, err), YC_E_INVALID);
    CHECK_CALL(yc_batch(cache, NULL, 1, sizeof op, err), YC_E_INVALID);
    CHECK_CALL(yc_batch(cache, NULL, 0, sizeof op, err), YC_OK);
    CHECK(op.status == 77);
}

/* A longer, later yc_op: the library steps over what it does not know. */
static void check_longer_operations(yc_cache *cache) {
    struct {
        yc_op known;
        uint64_t later[3];
    } ops[2] = {{{.kind = YC_OP_SET, .key = "l", .key_len = 1, .value = "v", .value_len = 1, .user_data = 41}, {5, 6, 7}},
                {{.kind = YC_OP_EXISTS, .key = "l", .key_len = 1, .user_data = 42}, {8, 9, 10}}};
    CHECK_STATUS(yc_batch(cache, &ops[0].known, 2, sizeof ops[0], NULL), YC_OK);
    CHECK(ops[0].known.status == YC_OK && ops[1].known.status == YC_OK);
    CHECK(ops[0].known.user_data == 41 && ops[1].known.user_data == 42);
    CHECK(ops[0].later[0] == 5 && ops[0].later[2] == 7 && ops[1].later[0] == 8 && ops[1].later[2] == 10);
}

/* An operation that is wrong has its own status and error; the others run. */
static void check_operation(yc_cache *cache, yc_op op) {
    yc_op ops[2] = {op, {.kind = YC_OP_PING, .status = 77}};
    CHECK_STATUS(yc_batch(cache, ops, 2, sizeof op, NULL), YC_OK);
    CHECK_STATUS(ops[0].status, YC_E_INVALID);
    CHECK(yc_error_status(ops[0].error) == YC_E_INVALID && ops[0].result == NULL);
    CHECK(ops[1].status == YC_OK && ops[1].error == NULL);
    yc_error_free(ops[0].error);
}

static void check_operations(yc_cache *cache) {
    yc_slice bad = {NULL, 2};
    check_operation(cache, (yc_op){.kind = 0});
    check_operation(cache, (yc_op){.kind = YC_OP_GET_MANY});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPLAIN});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPLAIN, .key_len = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPLAIN, .key = "k", .key_len = 1, .n_tags = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPLAIN, .key = "k", .key_len = 1, .tags = &bad, .n_tags = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPLAIN + 1});
    check_operation(cache, (yc_op){.kind = 1000});
    check_operation(cache, (yc_op){.kind = INT32_MIN});
    check_operation(cache, (yc_op){.kind = YC_OP_FLUSH, .flags = 2});
    check_operation(cache, (yc_op){.kind = YC_OP_PING, .flags = UINT32_MAX});
    check_operation(cache, (yc_op){.kind = YC_OP_GET});
    check_operation(cache, (yc_op){.kind = YC_OP_GET, .key_len = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_GET, .key = "k", .key_len = SIZE_MAX});
    check_operation(cache, (yc_op){.kind = YC_OP_SET, .key = "k", .key_len = 1, .value_len = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_SET, .key = "k", .key_len = 1, .n_tags = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_SET, .key = "k", .key_len = 1, .tags = &bad, .n_tags = 1});
    check_operation(cache, (yc_op){.kind = YC_OP_SET, .key = "k", .key_len = 1, .ttl_ms = INT64_MIN});
    check_operation(cache, (yc_op){.kind = YC_OP_EXPIRE, .key = "k", .key_len = 1, .ttl_ms = INT64_MAX});
    check_operation(cache, (yc_op){.kind = YC_OP_INVALIDATE_TAGS, .tags = &bad, .n_tags = 1});
}

/* All that an operation writes is written, whatever stood there. */
static void check_operation_results(yc_cache *cache) {
    yc_op op = {.kind = YC_OP_GET, .key = "none", .key_len = 4, .status = 77, .remaining_ms = 7};
    op.result = (yc_value *)&op;
    op.error = (yc_error *)&op;
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    CHECK(op.status == YC_MISS && op.result == NULL && op.error == NULL && op.remaining_ms == 0);
}

/* Every function of a queue, on one or on NULL. */
static void check_queue_functions(yc_queue *queue, yc_cursor *cursor, yc_status wanted) {
    yc_op op = op_get("a", 1);
    yc_slice key = slice("a");
    yc_completion came = {.ticket = 77};
    size_t count = 7, accepted = 7;
    yc_ticket ticket = 7;
    CHECK_CALL(yc_queue_submit(queue, &op, 1, sizeof op, &ticket, &accepted, err), wanted);
    CHECK_CALL(yc_queue_get_many(queue, &key, 1, 1, &ticket, err), wanted);
    CHECK_CALL(yc_queue_set_many(queue, &key, &key, 1, 0, NULL, 0, 1, &ticket, err), wanted);
    CHECK_CALL(yc_queue_delete_many(queue, &key, 1, 1, &ticket, err), wanted);
    CHECK_CALL(yc_queue_keys_next(queue, cursor, 0, 1, &ticket, err), wanted);
    CHECK_CALL(yc_queue_search(queue, "q", 1, NULL, 1, &ticket, err), wanted);
    CHECK_CALL(yc_queue_poll(queue, &came, 1, sizeof came, &count, err), wanted);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, -1, &count, err), wanted);
    CHECK(came.ticket == 77 && count == 7 && accepted == 7 && ticket == 7);
}

static void check_null_queue(yc_cursor *cursor) {
    int fd = 7;
    check_queue_functions(NULL, cursor, YC_E_INVALID);
    CHECK_CALL(yc_queue_fd(NULL, &fd, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_cancel(NULL, 1, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_close(NULL, -1, err), YC_E_INVALID);
    CHECK(fd == 7);
}

static void check_submissions(yc_queue *queue) {
    static const size_t strides[] = {0, 1, sizeof(yc_op) - 1, sizeof(yc_op) + 1, SIZE_MAX};
    yc_op op = op_get("a", 1);
    yc_ticket ticket = 7;
    size_t accepted = 7;
    for (size_t at = 0; at < 5; at++) {
        CHECK_CALL(yc_queue_submit(queue, &op, 1, strides[at], &ticket, &accepted, err), YC_E_INVALID);
    }
    for (size_t at = 0; at < 3; at++) {
        CHECK_CALL(yc_queue_submit(queue, &op, TOO_LONG[at], sizeof op, &ticket, &accepted, err), YC_E_INVALID);
    }
    CHECK_CALL(yc_queue_submit(queue, NULL, 1, sizeof op, &ticket, &accepted, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_submit(queue, &op, 1, sizeof op, &ticket, NULL, err), YC_E_INVALID);
    CHECK(ticket == 7 && accepted == 7);
    CHECK_CALL(yc_queue_submit(queue, NULL, 0, sizeof op, NULL, &accepted, err), YC_OK);
    CHECK(accepted == 0);
}

static void check_takers(yc_queue *queue) {
    static const size_t strides[] = {0, 1, sizeof(yc_completion) - 1, sizeof(yc_completion) + 1, SIZE_MAX};
    yc_completion came = {.ticket = 77};
    size_t count = 7;
    for (size_t at = 0; at < 5; at++) {
        CHECK_CALL(yc_queue_poll(queue, &came, 1, strides[at], &count, err), YC_E_INVALID);
        CHECK_CALL(yc_queue_wait(queue, &came, 1, strides[at], -1, &count, err), YC_E_INVALID);
    }
    for (size_t at = 0; at < 3; at++) {
        CHECK_CALL(yc_queue_poll(queue, &came, TOO_LONG[at], sizeof came, &count, err), YC_E_INVALID);
        CHECK_CALL(yc_queue_wait(queue, &came, TOO_LONG[at], sizeof came, -1, &count, err), YC_E_INVALID);
    }
    CHECK_CALL(yc_queue_poll(queue, NULL, 1, sizeof came, &count, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_poll(queue, &came, 1, sizeof came, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, -1, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, -2, &count, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, INT64_MIN, &count, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_wait(queue, &came, 0, sizeof came, -1, &count, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_wait(queue, &came, 1, sizeof came, 1, &count, err), YC_E_TIMEOUT);
    CHECK(came.ticket == 77 && count == 7);
    CHECK_CALL(yc_queue_poll(queue, NULL, 0, sizeof came, &count, err), YC_OK);
    CHECK(count == 0);
}

static void check_queue_arguments(yc_cache *cache) {
    yc_queue *queue = (yc_queue *)&queue;
    yc_cursor *cursor = NULL, *foreign = NULL;
    yc_cache *other = open_cache(test_url());
    yc_ticket ticket = 7;
    CHECK_CALL(yc_queue_open(cache, 0, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_open(cache, SIZE_MAX, NULL, NULL, NULL, &queue, err), YC_E_INVALID);
    CHECK(queue == (yc_queue *)&queue);
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_STATUS(yc_keys_open(other, "*", 1, &foreign, NULL), YC_OK);
    queue = open_queue(cache, 1000000);
    check_null_queue(cursor);
    check_submissions(queue);
    check_takers(queue);
    CHECK_CALL(yc_queue_keys_next(queue, NULL, 0, 1, &ticket, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_keys_next(queue, foreign, 0, 1, &ticket, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_fd(queue, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_close(queue, -2, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_close(queue, INT64_MIN, err), YC_E_INVALID);
    CHECK(ticket == 7);
    CHECK_CALL(yc_queue_close(queue, INT64_MAX, err), YC_OK);
    check_queue_functions(queue, cursor, YC_E_CLOSED);
    yc_queue_free(queue);
    yc_cursor_free(cursor);
    yc_cursor_free(foreign);
    close_cache(other);
}

/* A closed cache has closed its queues. */
static void check_queue_of_closed_cache(void) {
    yc_cache *cache = open_cache(test_url());
    yc_queue *queue = open_queue(cache, 0), *later = NULL;
    yc_cursor *cursor = NULL;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    check_queue_functions(queue, cursor, YC_E_CLOSED);
    CHECK_CALL(yc_queue_open(cache, 0, NULL, NULL, NULL, &later, err), YC_E_CLOSED);
    yc_cache_free(cache);
    check_queue_functions(queue, cursor, YC_E_CLOSED);
    yc_cursor_free(cursor);
    close_queue(queue);
}

static void check_open_arguments(void) {
    yc_cache *cache = (yc_cache *)&cache;
    CHECK_CALL(yc_open(NULL, &cache, err), YC_E_INVALID);
    CHECK_CALL(yc_open("memory://", NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_open_file(NULL, NULL, &cache, err), YC_E_INVALID);
    CHECK_CALL(yc_open_file("none.yaml", NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_open_env(NULL, err), YC_E_INVALID);
    CHECK(cache == (yc_cache *)&cache);
}

static void check_log_arguments(void) {
    CHECK_CALL(yc_set_log(-1, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_log(6, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_log(INT32_MIN, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, err), YC_OK);
}

static void check_trace_arguments(yc_cache *cache) {
    yc_trace_options options;
    memset(&options, 0, sizeof options);
    CHECK_CALL(yc_set_trace(NULL, NULL, NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_set_trace(cache, &options, NULL, NULL, NULL, err), YC_E_INVALID);
    options.struct_size = sizeof options - 1;
    CHECK_CALL(yc_set_trace(cache, &options, NULL, NULL, NULL, err), YC_E_INVALID);
    options.struct_size = sizeof options;
    options.flags = 2;
    CHECK_CALL(yc_set_trace(cache, &options, NULL, NULL, NULL, err), YC_E_INVALID);
    options.flags = YC_TRACE_KEYS;
    options.interval = UINT64_MAX;
    CHECK_CALL(yc_set_trace(cache, &options, NULL, NULL, NULL, err), YC_OK);
    CHECK_CALL(yc_set_trace(cache, NULL, NULL, NULL, NULL, err), YC_OK);
    CHECK(yc_set_trace_context(UINT64_MAX) == 0 && yc_set_trace_context(0) == UINT64_MAX);
}

static void check_credentials_arguments(void) {
    CHECK_CALL(yc_credentials_give(NULL, "u", 1, "p", 1, 0, err), YC_E_INVALID);
    CHECK_CALL(yc_credentials_fail(NULL, "r", 1, err), YC_E_INVALID);
}

static void check_status_names(void) {
    CHECK(strcmp(yc_status_name(YC_OK), "YC_OK") == 0);
    CHECK(strcmp(yc_status_name(YC_E_PANIC), "YC_E_PANIC") == 0);
    CHECK(strcmp(yc_status_name(12345), "YC_E_UNKNOWN") == 0);
    CHECK(strcmp(yc_status_name(INT32_MIN), "YC_E_UNKNOWN") == 0);
}

/* A mistake of the program is no reason to try again. */
static void check_retryable(yc_cache *cache) {
    yc_error *error = NULL;
    CHECK_STATUS(yc_delete(cache, "", 0, &error), YC_E_INVALID);
    CHECK(yc_error_retryable(error) == 0);
    yc_error_free(error);
}

static void check_closed(void) {
    yc_cache *cache = open_cache(test_url());
    yc_cursor *cursor = NULL;
    yc_keys *page = (yc_keys *)&page;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_CALL(yc_close(cache, -2, err), YC_E_INVALID);
    CHECK_CALL(yc_close(cache, INT64_MIN, err), YC_E_INVALID);
    CHECK_CALL(yc_ping(cache, err), YC_OK);
    CHECK_CALL(yc_close(cache, 1000, err), YC_OK);
    CHECK_CALL(yc_close(cache, 0, err), YC_OK);
    for (size_t at = 0; at < EVERY_COUNT; at++) {
        /* The metrics of many leave a closed cache out. */
        CHECK_CALL(EVERY[at].run(cache, err), strcmp(EVERY[at].name, "yc_metrics_many") ? YC_E_CLOSED : YC_OK);
    }
    CHECK_CALL(yc_keys_next(cursor, 0, &page, err), YC_E_CLOSED);
    CHECK(page == (yc_keys *)&page);
    yc_cache_free(cache);
    CHECK_CALL(yc_keys_next(cursor, 0, &page, err), YC_E_CLOSED);
    yc_cursor_free(cursor);
}

/* Freed without being closed. */
static void check_free_without_close(void) {
    yc_cache *cache = open_cache(test_url());
    CHECK_STATUS(every_set(cache, NULL), YC_OK);
    yc_cache_free(cache);
}

static void check_arguments(yc_cache *cache) {
    check_keys_with(cache, NULL, 1);
    check_keys_with(cache, NULL, SIZE_MAX);
    for (size_t at = 0; at < 3; at++) check_keys_with(cache, "k", TOO_LONG[at]);
    check_many(cache);
    check_null_outputs(cache);
    check_null_with_nothing(cache);
    check_buffer_lengths(cache);
    check_page_limits(cache);
}

/* Only a value of yc_get_info() names tags, each under its index; also a clone, after the cache is freed. */
static void check_tag_names(void) {
    static const yc_slice tags[] = {{"a", 1}, {"\0b", 2}};
    yc_cache *cache = NULL;
    yc_value *plain = NULL, *named = NULL, *clone;
    size_t len = 7;
    CHECK_STATUS(yc_open("memory://?tag_names=true", &cache, NULL), YC_OK);
    CHECK_STATUS(yc_set(cache, "key", 3, "v", 1, 60000, tags, 2, NULL), YC_OK);
    CHECK_STATUS(yc_get(cache, "key", 3, &plain, NULL), YC_OK);
    CHECK_STATUS(yc_get_info(cache, "key", 3, 0, &named, NULL, NULL), YC_OK);
    clone = yc_value_clone(named);
    yc_value_free(named);
    yc_cache_free(cache);
    CHECK(yc_value_tag(plain, 0, &len) == NULL && len == 0);
    const char *first = yc_value_tag(clone, 0, &len);
    CHECK(first && len == 1 && *first == 'a');
    const char *second = yc_value_tag(clone, 1, &len);
    CHECK(second && len == 2 && memcmp(second, "\0b", 2) == 0);
    CHECK(yc_value_tag(clone, 1, NULL) == second);
    CHECK(yc_value_tag(clone, 2, &len) == NULL && len == 0);
    CHECK(yc_value_tag(clone, SIZE_MAX, &len) == NULL);
    const char *value = yc_value_data(clone, &len);
    CHECK(len == 1 && *value == 'v');
    yc_value_free(plain);
    yc_value_free(clone);
}

/* A refused call and a miss write nothing; a longer struct of a later header is written up to the end of this one. */
static void check_entry_info(yc_cache *cache) {
    static const size_t sizes[] = {0, 1, sizeof(yc_entry_info) - 1};
    struct {
        yc_entry_info info;
        uint64_t later;
    } longer = {YC_ENTRY_INFO_INIT, 7};
    yc_value *value = NULL;
    CHECK_STATUS(yc_set(cache, "info", 4, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    for (size_t at = 0; at < 3; at++) {
        yc_entry_info info = {.struct_size = sizes[at], .version = 7};
        CHECK_CALL(yc_get_info(cache, "info", 4, 0, &value, &info, err), YC_E_INVALID);
        CHECK(value == NULL && info.version == 7 && info.struct_size == sizes[at]);
    }
    yc_entry_info info = YC_ENTRY_INFO_INIT;
    info.version = 7;
    CHECK_CALL(yc_get_info(cache, "info", 4, 0, NULL, &info, err), YC_E_INVALID);
    CHECK_CALL(yc_get_info(cache, "info", 4, -1, &value, &info, err), YC_E_INVALID);
    CHECK_CALL(yc_get_info(cache, "none", 4, 0, &value, &info, err), YC_MISS);
    CHECK(value == NULL && info.version == 7);
    CHECK_STATUS(yc_get_info(cache, "info", 4, INT64_MAX, &value, NULL, NULL), YC_OK);
    yc_value_free(value);
    longer.info.struct_size = sizeof longer;
    CHECK_STATUS(yc_get_info(cache, "info", 4, 0, &value, &longer.info, NULL), YC_OK);
    CHECK(longer.info.struct_size == sizeof longer && longer.info.remaining_ms > 0 && longer.later == 7);
    yc_value_free(value);
    CHECK_STATUS(yc_delete(cache, "info", 4, NULL), YC_OK);
}

static void check_structs(yc_cache *cache) {
    check_entry_info(cache);
    check_tag_names();
    check_search_options(cache);
    check_search_limits(cache);
    check_longer_search_options(cache);
    check_batch_strides(cache);
    check_longer_operations(cache);
    check_operations(cache);
    check_operation_results(cache);
}

/* After all of that the cache works. */
static void check_still_works(yc_cache *cache) {
    for (size_t at = 0; at < EVERY_COUNT; at++) {
        yc_status status = EVERY[at].run(cache, NULL);
        if (!CHECK(status == YC_OK || status == YC_MISS || status == YC_UNMET)) printf("  %s\n", EVERY[at].name);
    }
}

int main(void) {
    yc_cache *cache = open_cache(test_url());
    check_null_cache();
    check_null_frees();
    check_null_objects();
    check_arguments(cache);
    check_structs(cache);
    check_queue_arguments(cache);
    check_queue_of_closed_cache();
    check_open_arguments();
    check_log_arguments();
    check_trace_arguments(cache);
    check_credentials_arguments();
    check_status_names();
    check_retryable(cache);
    check_closed();
    check_free_without_close();
    check_still_works(cache);
    close_cache(cache);
    return check_result();
}
