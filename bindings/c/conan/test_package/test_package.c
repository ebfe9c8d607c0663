// Stores an entry and reads it back. The exit status is 0 if that works.
#include <stdio.h>

#include <yokedcache.h>

int main(void)
{
    yc_error *error = NULL;
    struct yc_cache *cache = NULL;
    char value[5];
    size_t length = 0;

    if (yc_check_abi(YC_VERSION_NUMBER, &error) != YC_OK || yc_open("memory://", &cache, &error) != YC_OK ||
        yc_set(cache, "key", 3, "value", 5, 0, NULL, 0, &error) != YC_OK ||
        yc_get_into(cache, "key", 3, value, sizeof value, &length, &error) != YC_OK || yc_close(cache, -1, &error) != YC_OK) {
        fprintf(stderr, "%s\n", yc_error_message(error));
        return 1;
    }
    printf("read %.*s with YokedCache %s\n", (int)length, value, yc_version());
    yc_cache_free(cache);
    return length == sizeof value ? 0 : 1;
}
