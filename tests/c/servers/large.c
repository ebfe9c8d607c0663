/* Values that are too long together for one reply: each arrives, in one call. Arguments: how many, and their length. */
#include "numbered.h"
#include "server.h"

enum { MOST = 1000 };

static char *value_of(unsigned number, size_t len) {
    char *value = filled((char)('a' + number % 26), len);
    memcpy(value, &number, sizeof number);
    return value;
}

static void set_all(yc_cache *cache, unsigned count, size_t len) {
    for (unsigned number = 0; number < count; number++) {
        char key[NUMBERED_KEY], *value = value_of(number, len);
        CHECK_STATUS(yc_set(cache, key, numbered_key(key, number), value, len, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
        free(value);
    }
}

static bool is_right(const yc_value *came, unsigned number, size_t len) {
    size_t came_len;
    const char *bytes = yc_value_data(came, &came_len);
    char *wanted = value_of(number, len);
    bool same = came_len == len && memcmp(bytes, wanted, len) == 0;
    free(wanted);
    return same;
}

int main(int argc, char **argv) {
    static char texts[MOST][NUMBERED_KEY];
    static yc_slice keys[MOST];
    static yc_value *values[MOST];
    static yc_status statuses[MOST];
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    size_t len = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    if (count > MOST) return 2;
    server redis;
    server_start(&redis, SERVER_REDIS, (const char *const[]){NULL});
    yc_cache *cache = open_cache(server_url(&redis, "socket_timeout=100s&max_value_bytes=8MiB"));
    set_all(cache, count, len);
    for (unsigned number = 0; number < count; number++) keys[number] = (yc_slice){texts[number], numbered_key(texts[number], number)};
    CHECK_STATUS(yc_get_many(cache, keys, count, values, statuses, NULL), YC_OK);
    for (unsigned number = 0; number < count; number++) {
        CHECK_STATUS(statuses[number], YC_OK);
        CHECK(values[number] && is_right(values[number], number, len));
        yc_value_free(values[number]);
    }
    close_cache(cache);
    server_stop(&redis);
    return check_result();
}
