/* measure.c - clients of a Memcached server, measured; see ../servers/driver.c. */

#include <libmemcached/memcached.h>
#include <stdlib.h>
#include <string.h>

#include "../servers/driver.h"

const char *yoked_url = "memcached://127.0.0.1:%d?key_prefix=%s&socket_timeout=10s";

/* ---- libmemcached, a connection for each thread. ---- */

static memcached_st *libmemcached(int binary)
{
    memcached_st *client = memcached_create(NULL);
    memcached_behavior_set(client, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
    memcached_behavior_set(client, MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, (uint64_t)binary);
    if (memcached_server_add(client, "127.0.0.1", (in_port_t)port) != MEMCACHED_SUCCESS) {
        give_up("libmemcached: no server");
    }
    return client;
}

static void enter_text(struct worker *worker)
{
    worker->connection = libmemcached(0);
}

static void enter_binary(struct worker *worker)
{
    worker->connection = libmemcached(1);
}

static void must(memcached_st *client, memcached_return_t status)
{
    if (status != MEMCACHED_SUCCESS) {
        give_up("libmemcached: %s", memcached_strerror(client, status));
    }
}

static void get(struct worker *worker)
{
    const char *key = bench_key(worker);
    size_t len;
    uint32_t flags;
    memcached_return_t status;
    uint64_t since = bench_now();
    char *value = memcached_get(worker->connection, key, KEY, &len, &flags, &status);
    must(worker->connection, status);
    bench_check(key, value, len);
    free(value);
    bench_finished(worker, since);
}

static void store(memcached_st *client, const char *key)
{
    char value[VALUE];
    bench_value(key, value);
    must(client, memcached_set(client, key, KEY, value, VALUE, 0, 0));
}

static void set(struct worker *worker)
{
    const char *key = bench_key(worker);
    uint64_t since = bench_now();
    store(worker->connection, key);
    bench_finished(worker, since);
}

static void mget(struct worker *worker)
{
    const char *asked[MANY];
    size_t lengths[MANY];
    memcached_return_t status;
    memcached_result_st *result;
    int came = 0;
    uint64_t since = bench_now();
    for (int i = 0; i < MANY; i++) {
        asked[i] = bench_key(worker);
        lengths[i] = KEY;
    }
    must(worker->connection, memcached_mget(worker->connection, asked, lengths, MANY));
    while ((result = memcached_fetch_result(worker->connection, NULL, &status)) != NULL) {
        bench_check(memcached_result_key_value(result), memcached_result_value(result), memcached_result_length(result));
        memcached_result_free(result);
        came++;
    }
    if (came != MANY) {
        give_up("libmemcached: %d of %d keys: %s", came, MANY, memcached_strerror(worker->connection, status));
    }
    bench_finished(worker, since);
}

/* ---- A raw socket: the meta protocol, without number and name in the replies. ---- */

static char *raw_request(char *end, const char *key, int is_set)
{
    end = put(end, is_set ? "ms " : "mg ", 3);
    end = put(end, key, KEY);
    if (!is_set) {
        return put(end, " v\r\n", 4);
    }
    end = put(end, " 100 T0\r\n", 9);
    bench_value(key, end);
    return put(end + VALUE, "\r\n", 2);
}

static size_t raw_reply(const char *from, size_t len, const char **value, size_t *value_len)
{
    const char *line_end = memchr(from, '\n', len);
    if (line_end == NULL) {
        return 0;
    }
    size_t line = (size_t)(line_end - from) + 1;
    *value = NULL;
    if (memcmp(from, "HD", 2) == 0) {
        return line;
    }
    if (memcmp(from, "VA ", 3) != 0) {
        give_up("raw socket: %.*s", (int)line, from);
    }
    *value_len = strtoul(from + 3, NULL, 10);
    *value = from + line;
    return len < line + *value_len + 2 ? 0 : line + *value_len + 2;
}

static const struct raw_protocol RAW = { raw_request, raw_reply };

static void raw_get(struct worker *worker)
{
    raw_turn(worker, &RAW, 0);
}

static void raw_set(struct worker *worker)
{
    raw_turn(worker, &RAW, 1);
}

/* ---- Who there is. ---- */

static const struct contender CONTENDERS[] = {
    YOKED_CONTENDERS,
    { "libmemcached", "get", 0, open_nothing, enter_text, get },
    { "libmemcached", "set", 0, open_nothing, enter_text, set },
    { "libmemcached", "mget", 0, open_nothing, enter_text, mget },
    { "libmemcached-binary", "get", 0, open_nothing, enter_binary, get },
    { "libmemcached-binary", "set", 0, open_nothing, enter_binary, set },
    { "libmemcached-binary", "mget", 0, open_nothing, enter_binary, mget },
    { "raw", "get", 1, open_nothing, raw_enter, raw_get },
    { "raw", "set", 1, open_nothing, raw_enter, raw_set },
};

static void fill_plain(void)
{
    memcached_st *client = libmemcached(0);
    for (int i = 0; i < KEYS; i++) {
        store(client, keys[i]);
    }
    memcached_free(client);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, CONTENDERS, sizeof CONTENDERS / sizeof *CONTENDERS, fill_plain);
}
