/* measure.c - clients of a Redis server, measured; see ../servers/driver.c. */

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

const char *yoked_url = "redis://127.0.0.1:%d?key_prefix=%s&socket_timeout=10s";

/* ---- hiredis, a connection for each thread. ---- */

static redisContext *hiredis(void)
{
    redisContext *connection = redisConnect("127.0.0.1", port);
    if (connection == NULL || connection->err) {
        give_up("hiredis: %s", connection ? connection->errstr : "no memory");
    }
    return connection;
}

static void hiredis_enter(struct worker *worker)
{
    worker->connection = hiredis();
}

static void *usable(redisContext *connection, redisReply *reply)
{
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        give_up("hiredis: %s", reply ? reply->str : connection->errstr);
    }
    return reply;
}

static redisReply *ask(redisContext *connection, int n, const char **parts, const size_t *lengths)
{
    return usable(connection, redisCommandArgv(connection, n, parts, lengths));
}

static const size_t LENGTHS[] = { 3, KEY, VALUE };

static void hiredis_get(struct worker *worker)
{
    const char *parts[] = { "GET", bench_key(worker) };
    uint64_t since = bench_now();
    redisReply *reply = ask(worker->connection, 2, parts, LENGTHS);
    bench_check(parts[1], reply->str, reply->len);
    freeReplyObject(reply);
    bench_finished(worker, since);
}

static void hiredis_set(struct worker *worker)
{
    char value[VALUE];
    const char *parts[] = { "SET", bench_key(worker), value };
    bench_value(parts[1], value);
    uint64_t since = bench_now();
    freeReplyObject(ask(worker->connection, 3, parts, LENGTHS));
    bench_finished(worker, since);
}

static void hiredis_mget(struct worker *worker)
{
    const char *parts[MANY + 1] = { "MGET" };
    size_t lengths[MANY + 1] = { 4 };
    uint64_t since = bench_now();
    for (int i = 1; i <= MANY; i++) {
        parts[i] = bench_key(worker);
        lengths[i] = KEY;
    }
    redisReply *reply = ask(worker->connection, MANY + 1, parts, lengths);
    for (int i = 0; i < MANY; i++) {
        bench_check(parts[i + 1], reply->element[i]->str, reply->element[i]->len);
    }
    freeReplyObject(reply);
    bench_finished(worker, since);
}

/* ---- Counters: names of their own, since the keys have values that are no numbers. ---- */

static size_t counter_name(struct worker *worker, char name[KEY + 8])
{
    memcpy(name, "hiredis:", 8);
    memcpy(name + 8, bench_counter(worker), KEY);
    return KEY + 8;
}

static void hiredis_counter(struct worker *worker)
{
    char name[KEY + 8];
    const char *parts[] = { "INCRBY", name, "1" };
    const size_t lengths[] = { 6, counter_name(worker, name), 1 };
    uint64_t since = bench_now();
    freeReplyObject(ask(worker->connection, 3, parts, lengths));
    bench_finished(worker, since);
}

static void hiredis_flush(redisContext *connection)
{
    int all_sent = 0;
    while (!all_sent) {
        if (redisBufferWrite(connection, &all_sent) != REDIS_OK) {
            give_up("hiredis: %s", connection->errstr);
        }
    }
}

static void hiredis_pipeline_counter(struct worker *worker)
{
    redisContext *connection = worker->connection;
    void *next;
    for (int n = missing(worker); n > 0; n--) {
        char name[KEY + 8];
        const char *parts[] = { "INCRBY", name, "1" };
        const size_t lengths[] = { 6, counter_name(worker, name), 1 };
        sending(worker);
        redisAppendCommandArgv(connection, 3, parts, lengths);
    }
    hiredis_flush(connection);
    if (redisBufferRead(connection) != REDIS_OK) {
        give_up("hiredis: %s", connection->errstr);
    }
    while (redisReaderGetReply(connection->reader, &next) == REDIS_OK && next != NULL) {
        freeReplyObject(usable(connection, next));
        replied(worker, NULL, 0);
    }
}

static void hiredis_fill(struct worker *worker, int n_parts)
{
    redisContext *connection = worker->connection;
    char value[VALUE];
    for (int n = missing(worker); n > 0; n--) {
        const char *parts[] = { n_parts == 2 ? "GET" : "SET", sending(worker), value };
        if (n_parts == 3) {
            bench_value(parts[1], value);
        }
        redisAppendCommandArgv(connection, n_parts, parts, LENGTHS);
    }
    hiredis_flush(connection);
}

static void hiredis_pipeline(struct worker *worker, int n_parts)
{
    redisContext *connection = worker->connection;
    void *next;
    hiredis_fill(worker, n_parts);
    if (redisBufferRead(connection) != REDIS_OK) {
        give_up("hiredis: %s", connection->errstr);
    }
    while (redisReaderGetReply(connection->reader, &next) == REDIS_OK && next != NULL) {
        redisReply *reply = usable(connection, next);
        replied(worker, n_parts == 2 ? reply->str : NULL, reply->len);
        freeReplyObject(reply);
    }
}

static void hiredis_pipeline_get(struct worker *worker)
{
    hiredis_pipeline(worker, 2);
}

static void hiredis_pipeline_set(struct worker *worker)
{
    hiredis_pipeline(worker, 3);
}

/* ---- A raw socket. ---- */

static char *raw_request(char *end, const char *key, int set)
{
    end = set ? put(end, "*3\r\n$3\r\nSET\r\n$16\r\n", 18) : put(end, "*2\r\n$3\r\nGET\r\n$16\r\n", 18);
    end = put(end, key, KEY);
    if (set) {
        end = put(end, "\r\n$100\r\n", 8);
        bench_value(key, end);
        end += VALUE;
    }
    return put(end, "\r\n", 2);
}

static size_t raw_reply(const char *from, size_t len, const char **value, size_t *value_len)
{
    const char *line_end = memchr(from, '\n', len);
    if (line_end == NULL) {
        return 0;
    }
    size_t line = (size_t)(line_end - from) + 1;
    *value = NULL;
    if (*from == '+') {
        return line;
    }
    if (*from != '$' || from[1] == '-') {
        give_up("raw socket: %.*s", (int)line, from);
    }
    *value_len = strtoul(from + 1, NULL, 10);
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

/* ---- The redis crate; see crate/. ---- */

static void crate_open_current(void)
{
    crate_open(port, 0);
}

static void crate_open_multi(void)
{
    crate_open(port, 1);
}

static void crate_tasks_get(struct worker *worker)
{
    crate_tasks(worker->in_flight, 0);
}

static void crate_tasks_set(struct worker *worker)
{
    crate_tasks(worker->in_flight, 1);
}

/* ---- Who there is. ---- */

static const struct contender CONTENDERS[] = {
    YOKED_CONTENDERS,
    { "hiredis", "get", 0, open_nothing, hiredis_enter, hiredis_get },
    { "hiredis", "set", 0, open_nothing, hiredis_enter, hiredis_set },
    { "hiredis", "mget", 0, open_nothing, hiredis_enter, hiredis_mget },
    { "hiredis-pipeline", "get", 1, open_nothing, hiredis_enter, hiredis_pipeline_get },
    { "hiredis-pipeline", "set", 1, open_nothing, hiredis_enter, hiredis_pipeline_set },
    { "hiredis", "counter", 0, open_nothing, hiredis_enter, hiredis_counter },
    { "hiredis-pipeline", "counter", 1, open_nothing, hiredis_enter, hiredis_pipeline_counter },
    { "raw", "get", 1, open_nothing, raw_enter, raw_get },
    { "raw", "set", 1, open_nothing, raw_enter, raw_set },
    { "crate-current", "get", 0, crate_open_current, enter_nothing, crate_get },
    { "crate-current", "set", 0, crate_open_current, enter_nothing, crate_set },
    { "crate-current", "mget", 0, crate_open_current, enter_nothing, crate_mget },
    { "crate-multi", "get", 0, crate_open_multi, enter_nothing, crate_get },
    { "crate-multi", "set", 0, crate_open_multi, enter_nothing, crate_set },
    { "crate-multi", "mget", 0, crate_open_multi, enter_nothing, crate_mget },
    { "crate-current-tasks", "get", 1, crate_open_current, enter_nothing, crate_tasks_get },
    { "crate-current-tasks", "set", 1, crate_open_current, enter_nothing, crate_tasks_set },
    { "crate-multi-tasks", "get", 1, crate_open_multi, enter_nothing, crate_tasks_get },
    { "crate-multi-tasks", "set", 1, crate_open_multi, enter_nothing, crate_tasks_set },
};

static void fill_plain(void)
{
    redisContext *connection = hiredis();
    for (int i = 0; i < KEYS; i++) {
        char value[VALUE];
        const char *parts[] = { "SET", keys[i], value };
        bench_value(keys[i], value);
        freeReplyObject(ask(connection, 3, parts, LENGTHS));
    }
    redisFree(connection);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, CONTENDERS, sizeof CONTENDERS / sizeof *CONTENDERS, fill_plain);
}
