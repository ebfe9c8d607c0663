/* One operation on a shared cache, from C: share set KEY VALUE TAG | get KEY | invalidate TAG. Prints what came back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yokedcache.h>

static int failed(yc_error *error) {
    printf("%s\n", yc_error_message(error));
    yc_error_free(error);
    return 1;
}

static int run(yc_cache *cache, char **words, yc_error **error) {
    const char *key = words[1];
    if (strcmp(words[0], "set") == 0) {
        yc_slice tag = {words[3], strlen(words[3])};
        return yc_set(cache, key, strlen(key), words[2], strlen(words[2]), YC_TTL_DEFAULT, &tag, 1, error);
    }
    if (strcmp(words[0], "invalidate") == 0) return yc_invalidate_tag(cache, key, strlen(key), NULL, error);
    yc_value *value = NULL;
    yc_status status = yc_get(cache, key, strlen(key), &value, error);
    if (status == YC_MISS) puts("miss");
    if (status == YC_OK) {
        size_t len = 0;
        const void *bytes = yc_value_data(value, &len);
        printf("%.*s\n", (int)len, (const char *)bytes);
        yc_value_free(value);
    }
    return status;
}

int main(int argc, char **argv) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    const char *url = getenv("YC_TEST_URL");
    if (argc < 3 || url == NULL) return 2;
    if (yc_open(url, &cache, &error) != YC_OK) return failed(error);
    if (run(cache, argv + 1, &error) < 0) return failed(error);
    yc_close(cache, -1, NULL);
    yc_cache_free(cache);
    return 0;
}
