/* The last milliseconds of entries: what yc_ttl writes for an entry that ends is never 0 or -1, for a caller that sets it
   again would make an entry of it that never expires. */
#include "calls.h"

enum { LIFE_MS = 12, ROUNDS = 60, COPIES = 400 };

static bool is_left_of_an_end(int64_t left, int64_t most) { return left >= 1 && left <= most; }

static void set_for(yc_cache *cache, const char *key, int64_t ttl_ms) {
    CHECK_STATUS(yc_set(cache, key, strlen(key), "v", 1, ttl_ms, NULL, 0, NULL), YC_OK);
}

/* Asks as fast as it can until the entry is gone. */
static void check_until_gone(yc_cache *cache) {
    yc_status status = YC_OK;
    set_for(cache, "one", LIFE_MS);
    for (int64_t left = 0; status == YC_OK; left = 0) {
        status = yc_ttl(cache, "one", 3, &left, NULL);
        CHECK(status == YC_MISS || (status == YC_OK && is_left_of_an_end(left, LIFE_MS)));
    }
}

static void check_in_a_batch_until_gone(yc_cache *cache) {
    yc_op op = {.kind = YC_OP_TTL, .key = "two", .key_len = 3};
    set_for(cache, "two", LIFE_MS);
    do {
        op.remaining_ms = 0;
        CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
        CHECK(op.status == YC_MISS || (op.status == YC_OK && is_left_of_an_end(op.remaining_ms, LIFE_MS)));
    } while (op.status == YC_OK);
}

/* Copies of entries that are about to end. */
static void check_copies(yc_cache *cache) {
    yc_cache *target = open_cache("memory://");
    char key[32];
    for (int at = 0; at < COPIES; at++) {
        sprintf(key, "copy:%d", at);
        set_for(cache, key, 1 + at % 40);
    }
    CHECK_STATUS(yc_migrate(cache, target, "{pattern: 'copy:*'}", NULL, NULL, NULL, NULL, NULL), YC_OK);
    for (int at = 0; at < COPIES; at++) {
        int64_t left = 0;
        sprintf(key, "copy:%d", at);
        yc_status status = yc_ttl(target, key, strlen(key), &left, NULL);
        CHECK(status == YC_MISS || (status == YC_OK && is_left_of_an_end(left, 40)));
    }
    close_cache(target);
}

int main(void) {
    yc_cache *cache = open_cache(test_url());
    for (int round = 0; round < ROUNDS; round++) {
        check_until_gone(cache);
        check_in_a_batch_until_gone(cache);
    }
    check_copies(cache);
    close_cache(cache);
    return check_result();
}
