/* Every operation, opening and closing too, runs on a thread with a stack of 64 KiB. */
#include "every.h"

#include <pthread.h>

enum { STACK = 64 * 1024 };

static void open_all_ways(void) {
    static const char *const configs[] = {
        "memory://?max_size=100",
        "{backend: memory, memory: {max_size: 100}}",
        "cache: {development: {backend: memory}}",
    };
    for (size_t at = 0; at < 3; at++) close_cache(open_cache(configs[at]));
    yc_cache *cache = NULL;
    CHECK_CALL(yc_open("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", &cache, err), YC_E_CONFIG);
    CHECK_CALL(yc_open("memory://?max_sise=1", &cache, err), YC_E_CONFIG);
}

static void use_large_keys(yc_cache *cache) {
    char *large = filled('a', 65536);
    yc_matches *matches = NULL;
    CHECK_STATUS(yc_set(cache, large, 65536, large, 65536, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_search(cache, large, 1000, NULL, &matches, NULL), YC_OK);
    yc_matches_free(matches);
    memcpy(large, "*a*a*a*a", 8);
    CHECK_STATUS(yc_invalidate_pattern(cache, large, 65536, NULL, NULL), YC_OK);
    free(large);
}

static void *run_all(void *unused) {
    open_all_ways();
    yc_cache *cache = open_cache(test_url());
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(cache, NULL) >= 0);
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK_CALL(EVERY[at].run(NULL, err), YC_E_INVALID);
    use_large_keys(cache);
    close_cache(cache);
    return unused;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, run_all, NULL) == 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return check_result();
}
