/* A server that comes back without its latest writes: what was invalidated, deleted or flushed is not read again.
   Starts servers of its own. */
#include "numbered.h"
#include "ports.h"
#include "server.h"

enum { NUMBERS = 100, RECOVERY_MS = 10000 };

static server redis;

static yc_cache *open_with(const char *more) {
    char query[160];
    snprintf(query, sizeof query, "key_prefix=r%s", more);
    return open_cache(server_url(&redis, query));
}

static yc_status set(yc_cache *cache, const char *key, const char *value, const char *tag) {
    yc_slice tags[] = {slice(tag ? tag : "")};
    return yc_set(cache, key, strlen(key), value, strlen(value), YC_TTL_NEVER, tags, tag ? 1 : 0, NULL);
}

/* The status; a hit has to be this value. */
static yc_status get(yc_cache *cache, const char *key, const char *wanted) {
    char value[64];
    size_t len = 0;
    yc_status status = yc_get_into(cache, key, strlen(key), value, sizeof value, &len, NULL);
    if (status == YC_OK) CHECK(len == strlen(wanted) && memcmp(value, wanted, len) == 0);
    return status;
}

static const char *key_of(const char *kind, unsigned number) {
    static char key[64];
    snprintf(key, sizeof key, "%s:%u", kind, number);
    return key;
}

static void set_all(yc_cache *cache, const char *kind, const char *value, const char *tag) {
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(set(cache, key_of(kind, number), value, tag), YC_OK);
}

static unsigned hits(yc_cache *cache, const char *kind, const char *value) {
    unsigned hits = 0;
    for (unsigned number = 0; number < NUMBERS; number++) {
        yc_status status = get(cache, key_of(kind, number), value);
        CHECK_ONE_OF(status, YC_OK, YC_MISS);
        hits += status == YC_OK;
    }
    return hits;
}

static void invalidate(yc_cache *cache, const char *tag) {
    CHECK_STATUS(yc_invalidate_tag(cache, tag, strlen(tag), NULL, NULL), YC_OK);
}

static void delete_all(yc_cache *cache, const char *kind) {
    for (unsigned number = 0; number < NUMBERS; number++) {
        const char *key = key_of(kind, number);
        CHECK_STATUS(yc_delete(cache, key, strlen(key), NULL), YC_OK);
    }
}

/* It loads the snapshot that was saved last. */
static void restart(yc_cache *cache) {
    server_kill(&redis);
    server_restart(&redis);
    UNTIL(yc_ping(cache, NULL) == YC_OK, RECOVERY_MS);
}

/* ---- An old snapshot ---- */

static void check_old_snapshot(const char *more) {
    yc_cache *cache = open_with(more);
    set_all(cache, "tagged", "old", "tag");
    set_all(cache, "deleted", "old", NULL);
    set_all(cache, "again", "old", NULL);
    set_all(cache, "pattern", "old", NULL);
    set_all(cache, "stays", "old", "other");
    CHECK(tell(redis.port, "SAVE"));
    invalidate(cache, "tag");
    delete_all(cache, "deleted");
    delete_all(cache, "again");
    CHECK_STATUS(yc_invalidate_pattern(cache, "pattern:*", 9, NULL, NULL), YC_OK);
    set_all(cache, "again", "new", NULL);
    restart(cache);
    CHECK(hits(cache, "tagged", "") == 0);
    CHECK(hits(cache, "deleted", "") == 0);
    CHECK(hits(cache, "again", "new") == 0);
    CHECK(hits(cache, "pattern", "") == 0);
    CHECK(hits(cache, "stays", "old") == NUMBERS);
    close_cache(cache);
}

static void check_flushed(void) {
    yc_cache *cache = open_with("");
    set_all(cache, "flushed", "old", "tag");
    CHECK(tell(redis.port, "SAVE"));
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK_STATUS(set(cache, "after", "new", NULL), YC_OK);
    restart(cache);
    CHECK(hits(cache, "flushed", "") == 0);
    close_cache(cache);
}

/* ---- Nothing lost ---- */

/* What was set after all this is valid, and stays. */
static void check_clean_restart(void) {
    yc_cache *cache = open_with("");
    set_all(cache, "gone", "old", "tag");
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    set_all(cache, "tagged", "old", "tag");
    set_all(cache, "deleted", "old", NULL);
    set_all(cache, "kept", "value", "other");
    invalidate(cache, "tag");
    delete_all(cache, "deleted");
    set_all(cache, "tagged", "new", "tag");
    set_all(cache, "deleted", "new", NULL);
    set_all(cache, "gone", "new", "tag");
    CHECK(tell(redis.port, "SAVE"));
    for (int times = 0; times < 2; times++) {
        restart(cache);
        CHECK(hits(cache, "tagged", "new") == NUMBERS);
        CHECK(hits(cache, "deleted", "new") == NUMBERS);
        CHECK(hits(cache, "gone", "new") == NUMBERS);
        CHECK(hits(cache, "kept", "value") == NUMBERS);
    }
    close_cache(cache);
}

/* A removal that the server refused is not made up for, and nothing that is removed already needs a write. */
static void check_refused_removals(void) {
    yc_cache *cache = open_with("");
    yc_error *error = NULL;
    CHECK_STATUS(set(cache, "kept", "value", "tag"), YC_OK);
    CHECK_STATUS(set(cache, "gone", "value", NULL), YC_OK);
    CHECK_STATUS(yc_delete(cache, "gone", 4, NULL), YC_OK);
    CHECK(tell(redis.port, "CONFIG SET min-replicas-to-write 1"));
    CHECK_STATUS(yc_delete(cache, "kept", 4, &error), YC_E_SERVER);
    CHECK(yc_error_retryable(error) == 1);
    yc_error_free(error);
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_E_SERVER);
    CHECK_STATUS(yc_invalidate_pattern(cache, "k*", 2, NULL, NULL), YC_E_SERVER);
    CHECK(tell(redis.port, "CONFIG SET min-replicas-to-write 0") && tell(redis.port, "SAVE"));
    restart(cache);
    CHECK(tell(redis.port, "CONFIG SET min-replicas-to-write 1"));
    CHECK_STATUS(get(cache, "kept", "value"), YC_OK);
    CHECK_STATUS(get(cache, "gone", ""), YC_MISS);
    CHECK(tell(redis.port, "CONFIG SET min-replicas-to-write 0"));
    close_cache(cache);
}

/* ---- Renewed ---- */

static void check_renewed(void) {
    CHECK(tell(redis.port, "FLUSHALL"));
    yc_cache *cache = open_with("&on_restart=renew");
    set_all(cache, "key", "old", NULL);
    set_all(cache, "tagged", "old", "tag");
    CHECK(tell(redis.port, "SET another:e:key foreign") && tell(redis.port, "SAVE"));
    restart(cache);
    CHECK(hits(cache, "key", "") == 0);
    CHECK(hits(cache, "tagged", "") == 0);
    reply *foreign = ask(redis.port, "GET another:e:key");
    CHECK(foreign && foreign->text && strcmp(foreign->text, "foreign") == 0);
    reply_free(foreign);
    /* Once for all processes, also after a flush. */
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    set_all(cache, "key", "new", NULL);
    yc_cache *other = open_with("&on_restart=renew");
    CHECK(hits(other, "key", "new") == NUMBERS);
    close_cache(other);
    close_cache(cache);
}

/* ---- Replicas that have to receive it ---- */

static void check_replicas(void) {
    server replica;
    char port[16];
    yc_cache *cache = open_with("&invalidation_replicas=1&socket_timeout=3s"), *plain = open_with("");
    CHECK_STATUS(set(cache, "a", "value", "tag"), YC_OK);
    yc_error *error = NULL;
    CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, &error), YC_E_TIMEOUT);
    CHECK(error && strstr(yc_error_message(error), "0 of 1 replicas"));
    yc_error_free(error);
    CHECK_STATUS(get(plain, "a", ""), YC_MISS);
    CHECK_STATUS(yc_delete(cache, "a", 1, NULL), YC_E_TIMEOUT);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_E_TIMEOUT);
    CHECK_STATUS(set(cache, "a", "value", "tag"), YC_OK);
    snprintf(port, sizeof port, "%d", redis.port);
    server_start(&replica, SERVER_REDIS, (const char *const[]){"--replicaof", "127.0.0.1", port, NULL});
    UNTIL(yc_invalidate_tag(cache, "tag", 3, NULL, NULL) == YC_OK, RECOVERY_MS * 2);
    CHECK_STATUS(get(cache, "a", ""), YC_MISS);
    CHECK_STATUS(set(cache, "a", "value", "tag"), YC_OK);
    CHECK_STATUS(yc_delete(cache, "a", 1, NULL), YC_OK);
    reply *left = ask(replica.port, "EXISTS r:e:a");
    CHECK(left && left->kind == ':' && left->number == 0);
    reply_free(left);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    server_stop(&replica);
    close_cache(plain);
    close_cache(cache);
}

/* ---- Removals of two processes ---- */

/* Both invalidated the tag, and each remembers its own version: what was set before is read by neither, and what was set
   since is right or a miss. */
static void check_two_processes(void) {
    CHECK(tell(redis.port, "FLUSHALL"));
    yc_cache *one = open_with(""), *two = open_with("");
    set_all(one, "tagged", "old", "tag");
    CHECK(tell(redis.port, "SAVE"));
    for (int times = 0; times < 2; times++) {
        invalidate(one, "tag");
        invalidate(two, "tag");
        restart(one);
        UNTIL(yc_ping(two, NULL) == YC_OK, RECOVERY_MS);
        CHECK(hits(one, "tagged", "") == 0);
        CHECK(hits(two, "tagged", "") == 0);
        /* The second time, the snapshot lies between the two. */
        if (times == 0) {
            invalidate(one, "tag");
            set_all(two, "tagged", "old", "tag");
            CHECK(tell(redis.port, "SAVE"));
        }
    }
    set_all(two, "tagged", "new", "tag");
    CHECK(tell(redis.port, "SAVE"));
    restart(one);
    UNTIL(yc_ping(two, NULL) == YC_OK, RECOVERY_MS);
    hits(one, "tagged", "new");
    hits(two, "tagged", "new");
    set_all(one, "tagged", "newer", "tag");
    CHECK(hits(one, "tagged", "newer") == NUMBERS);
    CHECK(hits(two, "tagged", "newer") == NUMBERS);
    close_cache(two);
    close_cache(one);
}

/* ---- Demoted and promoted again, on connections that stay open ---- */

static bool is_stored(int port, const char *kind) {
    reply *found = ask(port, "EXISTS r:e:%s", key_of(kind, NUMBERS - 1));
    bool is_stored = found && found->number == 1;
    reply_free(found);
    return is_stored;
}

/* It gets the data of a replica that had not received the latest removals. */
static void lose_removals(yc_cache *cache) {
    server other;
    char port[16];
    snprintf(port, sizeof port, "%d", redis.port);
    server_start(&other, SERVER_REDIS, (const char *const[]){"--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", port, NULL});
    UNTIL(is_stored(other.port, "kept"), RECOVERY_MS * 2);
    CHECK(tell(other.port, "REPLICAOF NO ONE"));
    invalidate(cache, "tag");
    delete_all(cache, "deleted");
    CHECK(tell(redis.port, "REPLICAOF 127.0.0.1 %d", other.port));
    UNTIL(is_stored(redis.port, "deleted"), RECOVERY_MS * 2);
    CHECK(tell(redis.port, "REPLICAOF NO ONE"));
    server_stop(&other);
}

static void check_promoted_again(const char *more, unsigned kept) {
    CHECK(tell(redis.port, "FLUSHALL") && tell(redis.port, "CONFIG SET repl-diskless-sync-delay 0"));
    yc_cache *cache = open_with(more);
    set_all(cache, "tagged", "old", "tag");
    set_all(cache, "deleted", "old", NULL);
    set_all(cache, "kept", "value", "other");
    lose_removals(cache);
    UNTIL(get(cache, key_of("deleted", 0), "old") == YC_MISS, RECOVERY_MS);
    CHECK(hits(cache, "tagged", "") == 0);
    CHECK(hits(cache, "deleted", "") == 0);
    CHECK(hits(cache, "kept", "value") == kept);
    close_cache(cache);
}

/* The first call of a cache makes the connection. What it removes itself is not removed before it looks. */
static void check_first_delete(void) {
    yc_cache *other = open_with("");
    for (unsigned number = 0; number < 20; number++) {
        CHECK_STATUS(set(other, "first", "v", NULL), YC_OK);
        yc_cache *cache = open_with("&connect=lazy");
        CHECK_STATUS(yc_delete(cache, "first", 5, NULL), YC_OK);
        CHECK_STATUS(yc_delete(cache, "first", 5, NULL), YC_MISS);
        close_cache(cache);
    }
    close_cache(other);
}

int main(void) {
    server_start(&redis, SERVER_REDIS, NULL);
    check_first_delete();
    check_old_snapshot("");
    CHECK(tell(redis.port, "FLUSHALL"));
    check_old_snapshot("&tag_index=true&pool_size=1");
    check_flushed();
    check_clean_restart();
    check_refused_removals();
    check_renewed();
    check_replicas();
    check_two_processes();
    check_promoted_again("", NUMBERS);
    check_promoted_again("&on_restart=renew", 0);
    server_stop(&redis);
    return check_result();
}
