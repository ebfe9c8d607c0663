/* The library is loaded, used and unloaded a hundred times; the path of the library is the argument. */
#include "check.h"

#include <dlfcn.h>
#include <yokedcache.h>

typedef yc_status open_fn(const char *, yc_cache **, yc_error **);
typedef yc_status set_fn(yc_cache *, const void *, size_t, const void *, size_t, int64_t, const yc_slice *, size_t, yc_error **);
typedef yc_status get_fn(yc_cache *, const void *, size_t, yc_value **, yc_error **);
typedef yc_status close_fn(yc_cache *, int64_t, yc_error **);

/* ISO C has no cast from an object's address to a function's; POSIX copies it. */
static void find(void *library, const char *name, void *place) {
    void *address = dlsym(library, name);
    if (!CHECK(address != NULL)) exit(check_result());
    memcpy(place, &address, sizeof address);
}

static void use(void *library, bool close) {
    open_fn *open;
    set_fn *set;
    get_fn *get;
    close_fn *end;
    void (*release)(yc_value *), (*free_cache)(yc_cache *);
    yc_cache *cache = NULL;
    yc_value *value = NULL;
    find(library, "yc_open", &open), find(library, "yc_set", &set), find(library, "yc_get", &get);
    find(library, "yc_close", &end), find(library, "yc_value_free", &release), find(library, "yc_cache_free", &free_cache);
    CHECK(open("memory://", &cache, NULL) == YC_OK);
    CHECK(set(cache, "k", 1, "v", 1, 1, NULL, 0, NULL) == YC_OK);
    yc_status status = get(cache, "k", 1, &value, NULL);
    CHECK(status == YC_OK || status == YC_MISS);
    release(value);
    if (close) CHECK(end(cache, -1, NULL) == YC_OK);
    free_cache(cache);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    for (int repeat = 0; repeat < 100; repeat++) {
        void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        if (!CHECK(library != NULL)) return printf("%s\n", dlerror()), check_result();
        /* Every other time a thread of the library is still there when it is unloaded. */
        use(library, repeat % 2);
        CHECK(dlclose(library) == 0);
    }
    return check_result();
}
