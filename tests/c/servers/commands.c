/* Commands of Redis on a server that fails, in a cluster, and with replies of any shape.
   commands */
#include "numbered.h"
#include "proxy.h"
#include "resp.h"
#include "server.h"

#include <inttypes.h>
#include <unistd.h>

/* Runs a command of words that spaces separate; the second is a key. */
static yc_status run(yc_cache *cache, const char *text, yc_reply **reply) {
    char copy[512];
    yc_slice args[16];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) args[count++] = slice(word);
    return yc_redis_command(cache, args, count, count > 1 ? 1 : YC_NO_KEY, reply, NULL);
}

static yc_status status_of(yc_cache *cache, const char *text) {
    yc_reply *reply = NULL;
    yc_status status = run(cache, text, &reply);
    yc_reply_free(reply);
    return status;
}

static int64_t number_of(yc_cache *cache, const char *text) {
    yc_reply *reply = NULL;
    int64_t number = -99;
    if (CHECK_STATUS(run(cache, text, &reply), YC_OK)) number = yc_reply_integer(reply);
    yc_reply_free(reply);
    return number;
}

/* ---- Accessors ---- */

static void check_accessors(yc_cache *cache) {
    yc_reply *reply = NULL;
    size_t len = 9;
    CHECK(yc_reply_kind(NULL) == YC_REPLY_NIL && yc_reply_integer(NULL) == 0 && yc_reply_count(NULL) == 0);
    CHECK(!yc_reply_string(NULL, &len) && len == 0 && !yc_reply_at(NULL, 0));
    yc_reply_free(NULL);
    yc_slice args[] = {slice("EVAL"), slice("return {7, 'text', redis.error_reply('ERR own'), {}}"), slice("0")};
    CHECK_STATUS(yc_redis_command(cache, args, 3, YC_NO_KEY, &reply, NULL), YC_OK);
    CHECK(yc_reply_kind(reply) == YC_REPLY_ARRAY && yc_reply_count(reply) == 4 && !yc_reply_at(reply, 4));
    CHECK(!yc_reply_string(reply, NULL) && yc_reply_integer(reply) == 0);
    CHECK(yc_reply_integer(yc_reply_at(reply, 0)) == 7 && yc_reply_count(yc_reply_at(reply, 0)) == 0);
    const char *text = yc_reply_string(yc_reply_at(reply, 1), &len);
    CHECK(len == 4 && memcmp(text, "text", 4) == 0);
    CHECK(yc_reply_kind(yc_reply_at(reply, 2)) == YC_REPLY_ERROR && yc_reply_string(yc_reply_at(reply, 2), NULL));
    CHECK(yc_reply_kind(yc_reply_at(reply, 3)) == YC_REPLY_ARRAY && yc_reply_count(yc_reply_at(reply, 3)) == 0);
    yc_reply_free(reply);
}

static void check_arguments(yc_cache *cache) {
    yc_slice args[] = {slice("GET"), slice("a")};
    yc_reply *reply = NULL;
    CHECK_STATUS(yc_redis_command(cache, NULL, 2, YC_NO_KEY, &reply, NULL), YC_E_INVALID);
    CHECK_STATUS(yc_redis_command(cache, args, 2, 2, &reply, NULL), YC_E_INVALID);
    CHECK_STATUS(yc_redis_command(cache, args, 2, -2, &reply, NULL), YC_E_INVALID);
    CHECK_STATUS(yc_redis_command(cache, args, 2, 1, NULL, NULL), YC_E_INVALID);
    CHECK_STATUS(yc_redis_command(cache, args, 0, YC_NO_KEY, &reply, NULL), YC_E_INVALID);
    CHECK(!reply);
}

/* ---- Batch and queue ---- */

static void check_batch_and_queue(yc_cache *cache) {
    yc_slice incr[] = {slice("INCR"), slice("n")}, get[] = {slice("GET"), slice("n")};
    yc_op ops[3];
    memset(ops, 0, sizeof ops);
    for (size_t at = 0; at < 3; at++) {
        ops[at] = (yc_op){.kind = YC_OP_REDIS_COMMAND, .tags = at < 2 ? incr : get, .n_tags = 2, .number = 1, .user_data = at};
    }
    ops[2].flags = YC_OP_IDEMPOTENT;
    CHECK_STATUS(status_of(cache, "DEL n"), YC_OK);
    CHECK_STATUS(yc_batch(cache, ops, 3, sizeof *ops, NULL), YC_OK);
    CHECK(yc_reply_integer(ops[0].reply) == 1 && yc_reply_integer(ops[1].reply) == 2);
    CHECK(yc_reply_kind(ops[2].reply) == YC_REPLY_STRING && *(const char *)yc_reply_string(ops[2].reply, NULL) == '2');
    for (size_t at = 0; at < 3; at++) yc_reply_free(ops[at].reply);

    yc_queue *queue = NULL;
    yc_completion done[2];
    size_t count = 0, taken;
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(yc_queue_submit(queue, ops, 2, sizeof *ops, NULL, &taken, NULL), YC_OK);
    while (count < 2 && yc_queue_wait(queue, done + count, 2 - count, sizeof *done, 5000, &taken, NULL) == YC_OK) count += taken;
    int64_t sum = count == 2 ? yc_reply_integer(done[0].reply) + yc_reply_integer(done[1].reply) : -1;
    if (!CHECK(sum == 3 + 4)) printf("  %zu completions, the sum is %" PRId64 "\n", count, sum);
    for (size_t at = 0; at < count; at++) yc_completion_clear(&done[at]);
    ops[0].flags = YC_OP_COUNT;
    CHECK_STATUS(yc_batch(cache, ops, 1, sizeof *ops, NULL), YC_OK);
    CHECK_STATUS(ops[0].status, YC_E_INVALID);
    yc_error_free(ops[0].error);
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    yc_queue_free(queue);
}

/* ---- Replies that are too long, and errors of scripts ---- */

/* Neither ends the connection, which other calls share, nor runs a script twice. */
static void check_scripts(yc_cache *cache) {
    yc_slice load[] = {slice("SCRIPT"), slice("LOAD"), slice("local t = {} for i = 1, 3000000 do t[i] = 'abcd' end return t")};
    yc_slice twice[] = {slice("EVAL"), slice("redis.call('incr', KEYS[1]) return redis.error_reply('READONLY account')"),
                        slice("1"), slice("ran")};
    yc_reply *sha = NULL, *reply = NULL;
    CHECK_STATUS(yc_redis_command(cache, load, 3, YC_NO_KEY, &sha, NULL), YC_OK);
    size_t len = 0;
    const void *text = yc_reply_string(sha, &len);
    yc_slice run_it[] = {slice("EVALSHA"), {text, len}, slice("0")};
    CHECK_STATUS(yc_redis_command(cache, run_it, 3, YC_NO_KEY, &reply, NULL), YC_OK);
    CHECK(yc_reply_count(reply) == 3000000);
    yc_reply_free(reply);
    yc_reply_free(sha);
    CHECK_STATUS(status_of(cache, "DEL ran"), YC_OK);
    CHECK_STATUS(yc_redis_command(cache, twice, 4, 3, &reply, NULL), YC_E_SERVER);
    CHECK(number_of(cache, "INCRBY ran 0") == 1);
    CHECK(stat_of(cache, "reconnects") == 0);
}

/* ---- Failures ---- */

/* A command whose reply was lost is not sent again, unless it may be. */
static void check_lost_replies(const server *redis) {
    proxy *between = proxy_start(redis->port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), "pool_size=1&socket_timeout=2s"));
    yc_slice args[] = {slice("INCR"), slice("lost")};
    yc_op op = {.kind = YC_OP_REDIS_COMMAND, .flags = YC_OP_IDEMPOTENT, .tags = args, .n_tags = 2, .number = 1};
    CHECK(number_of(cache, "INCR lost") == 1);
    proxy_set(between, (proxy_fault){.mode = PROXY_CUT, .offset = 1});
    yc_reply *reply = NULL;
    yc_error *error = NULL;
    CHECK_STATUS(yc_redis_command(cache, args, 2, 1, &reply, &error), YC_E_TIMEOUT);
    CHECK(!yc_error_retryable(error) && !reply);
    yc_error_free(error);
    CHECK(proxy_is_done(between) && recovers(cache, 1, 5000));
    CHECK(number_of(cache, "INCRBY lost 0") == 2);
    proxy_set(between, (proxy_fault){.mode = PROXY_CUT, .offset = 1});
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    CHECK(op.status == YC_OK && yc_reply_integer(op.reply) == 4);
    yc_reply_free(op.reply);
    yc_error_free(op.error);
    close_cache(cache);
    proxy_stop(between);
}

static void check_server_that_dies(server *redis) {
    yc_cache *cache = open_cache(server_url(redis, "socket_timeout=500ms&fallback=memory"));
    CHECK_STATUS(status_of(cache, "SET a b"), YC_OK);
    server_kill(redis);
    CHECK_STATUS(status_of(cache, "GET a"), YC_E_CONNECT);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(status_of(cache, "GET a"), YC_E_CONNECT);
    close_cache(cache);
}

int main(void) {
    server redis;
    server_start(&redis, SERVER_REDIS, NULL);
    /* Time enough for a long reply on a machine that is busy. */
    yc_cache *cache = open_cache(server_url(&redis, "pool_size=2&socket_timeout=30s"));
    check_accessors(cache);
    check_arguments(cache);
    check_batch_and_queue(cache);
    check_scripts(cache);
    close_cache(cache);
    check_lost_replies(&redis);
    check_server_that_dies(&redis);
    server_stop(&redis);
    return check_result();
}
