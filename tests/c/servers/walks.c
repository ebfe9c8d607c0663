/* Listings and what goes through them, while the server restarts, and on a server whose listing never ends. */
#include "listed.h"
#include "resp.h"
#include "scripted.h"
#include "server.h"

#include <pthread.h>

enum { NUMBERS = 20000, RECOVERY_MS = 20000, ENDLESS_MS = 60000 };

static server redis;

/* ---- A restart that keeps the data, and gives every cursor another meaning ---- */

static void restart_with_data(void) {
    CHECK(tell(redis.port, "SAVE"));
    server_kill(&redis);
    server_restart(&redis);
}

static void check_listing(yc_cache *cache) {
    listed all = listed_open(cache, NUMBERS);
    for (int page = 0; page < 5; page++) CHECK_STATUS(listed_next(&all), YC_OK);
    restart_with_data();
    listed_finish(&all, RECOVERY_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
}

static void check_quiet_listing(yc_cache *cache) {
    listed all = listed_open(cache, NUMBERS);
    listed_finish(&all, RECOVERY_MS);
    CHECK(listed_missing(&all) == 0);
    listed_close(&all);
}

typedef struct removal {
    yc_cache *cache;
    bool flushes;
    yc_status status;
} removal;

static void *remove_all(void *argument) {
    removal *self = argument;
    self->status = self->flushes ? yc_flush(self->cache, NULL, NULL)
                                 : yc_invalidate_pattern(self->cache, "key-*", 5, NULL, NULL);
    return NULL;
}

/* It removed all, or it says that it did not. A server dies with the thread that started it: this one restarts it. */
static void check_removal(yc_cache *cache, bool flushes) {
    pthread_t removing;
    removal all = {.cache = cache, .flushes = flushes};
    set_many_numbers(cache, NUMBERS);
    pthread_create(&removing, NULL, remove_all, &all);
    sleep_ms(20);
    restart_with_data();
    pthread_join(removing, NULL);
    CHECK_ONE_OF(all.status, YC_OK, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_BUSY, YC_E_SERVER);
    if (!CHECK(recovers(cache, 1, RECOVERY_MS))) return;
    if (all.status == YC_OK) CHECK(count_readable(cache, NUMBERS) == 0);
}

static void check_restarts(const char *query) {
    yc_cache *cache = open_cache(server_url(&redis, query));
    set_many_numbers(cache, NUMBERS);
    check_quiet_listing(cache);
    check_listing(cache);
    check_removal(cache, false);
    check_removal(cache, true);
    close_cache(cache);
}

/* A user who may not ask who the server is gets whole listings all the same. */
static void check_without_info(void) {
    char url[MAX_SERVER_URL];
    CHECK(tell(redis.port, "ACL SETUSER plain on >word ~* &* +@all -info"));
    snprintf(url, sizeof url, "redis://plain:word@127.0.0.1:%d/0?key_prefix=plain&pool_size=3", redis.port);
    yc_cache *cache = open_cache(url);
    set_many_numbers(cache, NUMBERS);
    check_quiet_listing(cache);
    close_cache(cache);
}

/* ---- A listing without an end ---- */

static atomic_uint scans;

static size_t answer_endless(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    char *text = out;
    (void)data;
    if (is_command(words, count, "PING")) return say(out, "+PONG\r\n");
    if (is_command(words, count, "DBSIZE")) return say(out, ":3\r\n");
    if (!is_command(words, count, "SCAN")) return say(out, "+OK\r\n");
    unsigned number = atomic_fetch_add(&scans, 1) + 1;
    return (size_t)sprintf(text, "*2\r\n$%d\r\n%u\r\n*0\r\n", snprintf(NULL, 0, "%u", number), number);
}

static void check_endless(void) {
    scripted *endless = scripted_start(NULL, answer_endless, NULL);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, scripted_port(endless), "key_prefix=walks"));
    double begun = now_ms();
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    CHECK_STATUS(yc_keys_next(cursor, 0, &page, NULL), YC_E_PROTOCOL);
    yc_cursor_free(cursor);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_E_PROTOCOL);
    CHECK_STATUS(yc_invalidate_pattern(cache, "*", 1, NULL, NULL), YC_E_PROTOCOL);
    CHECK(now_ms() - begun < ENDLESS_MS);
    close_cache(cache);
    scripted_stop(endless);
}

int main(void) {
    server_start(&redis, SERVER_REDIS, NULL);
    check_restarts("key_prefix=walks");
    check_without_info();
    check_endless();
    server_stop(&redis);
    return check_result();
}
