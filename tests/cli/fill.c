/* Stores many entries, for what takes a while: fill NUMBER, in the cache of the environment variables. */

#include <stdio.h>
#include <stdlib.h>

#include <yokedcache.h>

static int failed(yc_error *err) {
    fprintf(stderr, "fill: %s\n", yc_error_message(err));
    return 1;
}

int main(int argc, char **argv) {
    yc_cache *cache;
    yc_error *err;
    char key[32];
    if (argc != 2 || yc_open_env(&cache, &err) != YC_OK)
        return argc != 2 ? 2 : failed(err);
    for (long number = strtol(argv[1], NULL, 10); number > 0; number--) {
        size_t len = (size_t)snprintf(key, sizeof key, "filled:%ld", number);
        if (yc_set(cache, key, len, key, len, 300000, NULL, 0, &err) != YC_OK)
            return failed(err);
    }
    yc_close(cache, -1, NULL);
    yc_cache_free(cache);
    return 0;
}
