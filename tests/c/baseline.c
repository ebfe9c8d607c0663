/* Threads and files of the process: none more while a memory cache is only read, and all gone after yc_close. */
#include "every.h"

static void read_much(yc_cache *cache) {
    char buffer[8];
    size_t len;
    for (int at = 0; at < 1000; at++) {
        yc_status status = yc_get_into(cache, "a", 1, buffer, sizeof buffer, &len, NULL);
        CHECK(status == YC_OK || status == YC_MISS);
    }
    CHECK(every_get(cache, NULL) >= 0 && every_exists(cache, NULL) >= 0 && every_keys(cache, NULL) >= 0);
}

/* Entries that never expire need no thread either. */
static void check_reading(int threads, int files) {
    yc_cache *cache = open_cache("memory://?max_size=100");
    CHECK(threads_are(threads));
    read_much(cache);
    CHECK_STATUS(yc_set(cache, "a", 1, "v", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    read_much(cache);
    CHECK(threads_are(threads) && count_files() == files);
    close_cache(cache);
}

static void check_everything(const char *config, int threads, int files) {
    yc_cache *cache = open_cache(config);
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(cache, NULL) >= 0);
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    CHECK(threads_are(threads));
    CHECK(count_files() == files);
    yc_cache_free(cache);
}

static void check_many_caches(int threads, int files) {
    yc_cache *caches[20];
    for (int at = 0; at < 20; at++) {
        caches[at] = open_cache(test_url());
        CHECK_STATUS(every_set(caches[at], NULL), YC_OK);
    }
    for (int at = 0; at < 20; at++) close_cache(caches[at]);
    CHECK(threads_are(threads) && count_files() == files);
}

/* Freed without a close: its threads end by themselves soon. */
static void check_freed(int threads) {
    yc_cache *cache = open_cache(test_url());
    CHECK_STATUS(every_set(cache, NULL), YC_OK);
    yc_cache_free(cache);
    for (int tries = 0; tries < 500 && count_threads() != threads; tries++) sleep_ms(10);
    CHECK(threads_are(threads));
}

int main(void) {
    int threads = count_threads(), files = count_files();
    check_reading(threads, files);
    for (int repeat = 0; repeat < 50; repeat++) check_everything(test_url(), threads, files);
    check_everything("{backend: memory, memory: {cleanup_interval: 1ms}}", threads, files);
    check_many_caches(threads, files);
    check_freed(threads);
    return check_result();
}
