/* yc_get_into() of the memory backend allocates nothing: this program's own malloc counts. */
#include "calls.h"

/* glibc's own, under the names it exports for programs that put theirs in front. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

/* Of this thread: the library's own thread may begin meanwhile. */
static _Thread_local long allocations;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    allocations++;
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    allocations++;
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : 12;
}

void free(void *block) { __libc_free(block); }

static long allocated_by_reads(yc_cache *cache, const char *key, int times) {
    char buffer[2048];
    size_t len = 0;
    yc_error *error = NULL;
    long before = allocations;
    for (int at = 0; at < times; at++) yc_get_into(cache, key, strlen(key), buffer, sizeof buffer, &len, &error);
    return allocations - before;
}

static long allocated_by_sets(yc_cache *cache, int times) {
    long before = allocations;
    for (int at = 0; at < times; at++) yc_set(cache, &at, sizeof at, "v", 1, YC_TTL_NEVER, NULL, 0, NULL);
    return allocations - before;
}

int main(void) {
    yc_cache *cache = open_cache("memory://");
    char *large = filled('x', 1500);
    CHECK_STATUS(yc_set(cache, "key", 3, large, 1500, 60000, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_set(cache, "small", 5, "v", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    allocated_by_reads(cache, "key", 1000);
    CHECK(allocated_by_reads(cache, "key", 10000) == 0);
    CHECK(allocated_by_reads(cache, "small", 10000) == 0);
    CHECK(allocated_by_reads(cache, "none", 10000) == 0);
    /* That the counter sees the library: an entry takes memory. */
    CHECK(allocated_by_sets(cache, 100) >= 100);
    free(large);
    close_cache(cache);
    return check_result();
}
